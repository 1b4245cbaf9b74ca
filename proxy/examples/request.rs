//! `request N interpreter|aot`: N whole requests through the proxy and one header filter, one
//! after the other on one connection, in one process. Nothing is timed: this is what
//! `make bench-instructions` counts instructions of. Client and upstream are as plain as
//! they can be, so that what is counted is the proxy.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
#[cfg(feature = "compiler")]
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use cofferdam::{app, config};
#[cfg(feature = "compiler")]
use cofferdam_abi::engine::{
    artifact,
    ticks::Ticks,
    wasmtime::{Native, NativeConfig},
};
#[cfg(feature = "compiler")]
use cofferdam_abi::{Limits, Module};

const FILTER: &str = r#"(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-bench")
  (data (i32.const 32) "1")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 4096)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 0) (i32.const 16) (i32.const 7) (i32.const 32) (i32.const 1)))
    i32.const 0)
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 2) (i32.const 16) (i32.const 7) (i32.const 32) (i32.const 1)))
    i32.const 0)
  (func (export "proxy_on_done") (param i32) (result i32) i32.const 1)
  (func (export "proxy_on_log") (param i32))
  (func (export "proxy_on_delete") (param i32)))"#;

const REQUEST: &[u8] =
    b"GET /bench HTTP/1.1\r\nhost: bench.test\r\nuser-agent: bench\r\naccept: */*\r\n\
    x-request-id: 11111111-1111-4111-8111-111111111111\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\
    date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nHello, World!";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments
        .next()
        .ok_or("usage: request N interpreter|aot")?
        .parse()?;
    let engine = arguments.next().ok_or("give an engine")?;
    let upstream = TcpListener::bind("127.0.0.1:0")?;
    let folder = std::env::temp_dir().join(format!("cofferdam-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let yaml = format!(
        "workers: 1\nlisteners: [{{ name: bench, address: '127.0.0.1:0', filters: [f], routes: [{{ cluster: up }}] }}]\n\
         filters: [{{ name: f, module: {{ file: f.wasm }}, engine: {engine} }}]\n\
         clusters: [{{ name: up, endpoints: ['{}'] }}]\nartifacts: {{ directory: native }}\n",
        upstream.local_addr()?
    );
    let wasm = wat::parse_str(FILTER)?;
    std::fs::write(folder.join("f.wasm"), &wasm)?;
    #[cfg(feature = "compiler")]
    if engine == "aot" {
        compile(wasm, &folder.join("native"))?;
    }
    let config = config::check::load_str(&yaml, "bench.yaml", &folder)
        .map_err(|problems| format!("{problems:?}"))?;

    thread::spawn(move || serve(&upstream));
    let prepared = app::Prepared::new(config).map_err(|problems| format!("{problems:?}"))?;
    std::fs::remove_dir_all(&folder)?;
    app::run(prepared, move |listening| {
        let address = listening
            .first()
            .and_then(|line| line.rsplit(' ').next())
            .and_then(|text| text.parse().ok());
        thread::spawn(move || {
            if let Err(error) = address
                .ok_or_else(|| "no address".into())
                .and_then(|address| ask(address, count))
            {
                eprintln!("{error}");
            }
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::TERM,
            );
        });
    })
    .map_err(|error| format!("{error:?}").into())
}

/// Native code in this very process: callgrind shows a program another processor than its
/// children see, and code for that one would be refused here.
#[cfg(feature = "compiler")]
fn compile(wasm: Vec<u8>, folder: &Path) -> Result<(), Box<dyn Error>> {
    let config = NativeConfig {
        stack: Limits::default().stack,
        fuel: false,
        compact: false,
    };
    let native = Native::new(config, &Ticks::new(Duration::from_millis(10)))?;
    let module = Module::parse(wasm.into())?;
    DirBuilder::new().mode(0o700).create(folder)?;
    let file = folder.join(artifact::file_name(&module.digest, native.fingerprint()));
    Ok(std::fs::write(file, native.compile(&module)?)?)
}

/// Answers every request on every connection.
fn serve(listener: &TcpListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                // Requests have no body and are small: one read, one request.
                if !buffer[..read].ends_with(b"\r\n\r\n") || stream.write_all(RESPONSE).is_err() {
                    return;
                }
            }
        });
    }
}

fn ask(address: SocketAddr, count: u64) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = [0; 4096];
    for _ in 0..count {
        stream.write_all(REQUEST)?;
        let mut length = 0;
        while !buffer[..length].ends_with(b"Hello, World!") {
            match stream.read(&mut buffer[length..])? {
                0 => return Err("the proxy closed the connection".into()),
                read => length += read,
            }
        }
        if !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&buffer[..length])
                .into_owned()
                .into());
        }
    }
    Ok(())
}
