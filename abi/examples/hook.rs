//! One request through one header filter, N times, for instruction counts: run it under
//! callgrind with two values of N, and the difference is the cost of the calls alone.
//! Nothing here looks at a clock.
//!
//! `hook N [wasmi|wasmtime]` prints nothing and answers 0 when every request went as it
//! should.

use std::process::ExitCode;

use cofferdam_abi::testing::{Engine, Guest, map};
use cofferdam_abi::{Chain, Exchange, Headers, Part, Way};

/// A filter that adds a request header and exports every callback an HTTP filter has.
const FILTER: &str = r#"(module
    (import "env" "proxy_add_header_map_value"
        (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "x-hook")
    (data (i32.const 80) "added")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $add
            (i32.const 0) (i32.const 64) (i32.const 6) (i32.const 80) (i32.const 5)))
        (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_delete") (param i32)))"#;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|count| count.parse::<u32>().ok());
    let engine = match arguments.next().as_deref() {
        None | Some("wasmi") => Some(Engine::Wasmi),
        #[cfg(feature = "compiler")]
        Some("wasmtime") => Some(Engine::Wasmtime),
        Some(_) => None,
    };
    let (Some(count), Some(engine)) = (count, engine) else {
        eprintln!("usage: hook N [wasmi|wasmtime]");
        return ExitCode::from(64);
    };
    let guest = match Guest::wat_on(engine, FILTER) {
        Ok(guest) => guest,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (request, response) = (request(), response());
    if (0..count).all(|_| serve(&guest, &request, &response)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One exchange; whether both headers came out and the filter did its work.
fn serve(guest: &Guest, request: &Headers, response: &Headers) -> bool {
    let exchange = Exchange::new(request.clone(), Box::new(())).share();
    let mut chain = Chain::begin(exchange.clone(), [guest.handle()], false);
    chain.push(Way::Request, Part::Headers { end: true });
    let sent = chain.pop(Way::Request);
    let added = exchange
        .borrow()
        .request_headers
        .as_ref()
        .is_some_and(|map| map.len() == 13);
    exchange.borrow_mut().response_headers = Some(response.clone());
    chain.push(Way::Response, Part::Headers { end: true });
    let answered = chain.pop(Way::Response);
    added && sent.is_some() && answered.is_some() && chain.end().is_empty()
}

fn request() -> Headers {
    map(&[
        (":authority", "demo.example.com"),
        (":path", "/api/items?page=2&per_page=50"),
        (":method", "GET"),
        (":scheme", "https"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        ("accept", "application/json"),
        ("accept-language", "en-GB,en;q=0.8"),
        ("accept-encoding", "gzip, deflate, br"),
        ("cookie", "session=0123456789abcdef0123456789abcdef"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "2b7e1516-28ae-4d2a-abf7-158809cf4f3c"),
    ])
}

fn response() -> Headers {
    map(&[
        (":status", "200"),
        ("content-type", "application/json"),
        ("content-length", "1234"),
        ("cache-control", "no-store"),
        ("vary", "accept-encoding"),
    ])
}
