//! `request N interpreter|aot [FILTERS [MODULE [BYTES [CONFIGURATION]]]]`: N whole requests
//! through the proxy and one header filter, or that many, each in a VM of its own; one after
//! the other on one connection, in one process. The filter is a plain one of its own, or any
//! other module; bodies have 0 and 13 bytes, or BYTES both ways. Nothing is timed: this is what
//! `make bench-instructions` counts instructions of. Client and upstream are as plain as they
//! can be, so that what is counted is the proxy.

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

/// What goes over the wire.
#[derive(Clone)]
struct Messages {
    request: Vec<u8>,
    response: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments
        .next()
        .ok_or("usage: request N interpreter|aot [FILTERS [MODULE [BYTES [CONFIGURATION]]]]")?
        .parse()?;
    let engine = arguments.next().ok_or("give an engine")?;
    let filters: usize = arguments.next().map_or(Ok(1), |count| count.parse())?;
    let wasm = match arguments.next() {
        Some(file) => std::fs::read(file)?,
        None => wat::parse_str(FILTER)?,
    };
    let bytes = arguments.next().map(|count| count.parse()).transpose()?;
    let configuration = arguments.next().unwrap_or_default();
    let messages = Messages::new(bytes);
    let upstream = TcpListener::bind("127.0.0.1:0")?;
    let folder = std::env::temp_dir().join(format!("cofferdam-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let named =
        |row: &dyn Fn(usize) -> String| (0..filters).map(row).collect::<Vec<_>>().join(", ");
    let names = named(&|number| format!("f{number}"));
    let rows = named(&|number| {
        format!(
            "{{ name: f{number}, module: {{ file: f.wasm }}, vm_id: v{number}, engine: {engine}, \
             configuration: '{configuration}' }}"
        )
    });
    let yaml = format!(
        "workers: 1\nlisteners: [{{ name: bench, address: '127.0.0.1:0', filters: [{names}], routes: [{{ cluster: up }}] }}]\n\
         filters: [{rows}]\n\
         clusters: [{{ name: up, endpoints: ['{}'] }}]\nartifacts: {{ directory: native }}\n",
        upstream.local_addr()?
    );
    std::fs::write(folder.join("f.wasm"), &wasm)?;
    #[cfg(feature = "compiler")]
    if engine == "aot" {
        compile(wasm, &folder.join("native"))?;
    }
    let config = config::check::load_str(&yaml, "bench.yaml", &folder)
        .map_err(|problems| format!("{problems:?}"))?;

    let answers = messages.clone();
    thread::spawn(move || serve(&upstream, &answers));
    let prepared = app::Prepared::new(config).map_err(|problems| format!("{problems:?}"))?;
    std::fs::remove_dir_all(&folder)?;
    app::run(prepared, app::Terminations::watch()?, move |listening| {
        let address = listening
            .first()
            .and_then(|line| line.rsplit(' ').next())
            .and_then(|text| text.parse().ok());
        thread::spawn(move || {
            if let Err(error) = address
                .ok_or_else(|| "no address".into())
                .and_then(|address| ask(address, count, &messages))
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
fn serve(listener: &TcpListener, messages: &Messages) {
    while let Ok((mut stream, _)) = listener.accept() {
        let messages = messages.clone();
        thread::spawn(move || {
            let (mut buffer, mut whole) = (vec![0; 64 << 10], None);
            while read_message(&mut stream, &mut buffer, &mut whole).is_ok_and(|length| length > 0)
            {
                if stream.write_all(&messages.response).is_err() {
                    return;
                }
            }
        });
    }
}

fn ask(address: SocketAddr, count: u64, messages: &Messages) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    let (mut buffer, mut whole) = (vec![0; 64 << 10], None);
    for _ in 0..count {
        stream.write_all(&messages.request)?;
        let length = read_message(&mut stream, &mut buffer, &mut whole)?;
        if !buffer[..length].starts_with(b"HTTP/1.1 200") {
            let answer = String::from_utf8_lossy(&buffer[..length]);
            return Err(format!("no good answer: {answer}").into());
        }
    }
    Ok(())
}

/// One message with its body; 0 when the connection has ended before it. All that come one
/// way are as long as the first one, which alone is looked at.
fn read_message(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    whole: &mut Option<usize>,
) -> std::io::Result<usize> {
    let mut length = 0;
    while whole.is_none_or(|whole| length < whole) {
        match stream.read(&mut buffer[length..])? {
            0 => return Ok(0),
            read => length += read,
        }
        if whole.is_none() {
            *whole = whole_length(&buffer[..length]);
        }
    }
    Ok(length)
}

/// How long the message is that begins so, once its head is there.
fn whole_length(begin: &[u8]) -> Option<usize> {
    let head = begin.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&begin[..head]).ok()?;
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    Some(head + body.unwrap_or(0))
}

// === impl Messages ===

impl Messages {
    fn new(bytes: Option<usize>) -> Self {
        let length = |bytes: usize| format!("content-length: {bytes}\r\n");
        let request = match bytes {
            None => "GET /bench HTTP/1.1\r\n".to_owned(),
            Some(bytes) => format!("POST /bench HTTP/1.1\r\n{}", length(bytes)),
        };
        let request = format!(
            "{request}host: bench.test\r\nuser-agent: bench\r\naccept: */*\r\n\
             x-request-id: 11111111-1111-4111-8111-111111111111\r\n\r\n"
        );
        let body = vec![b'b'; bytes.unwrap_or(13)];
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{}\
             date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
            length(body.len())
        );
        let sent = if bytes.is_some() { &body[..] } else { &[] };
        Self {
            request: [request.as_bytes(), sent].concat(),
            response: [response.as_bytes(), &body].concat(),
        }
    }
}
