//! One header each way through the raw layer of `cofferdam-sdk`: what the smallest filter
//! looks like. It exports three callbacks, and a host calls no others.

use cofferdam_sdk::{Level, MapType, Status, raw};

cofferdam_sdk::abi!();

const CONTINUE: u32 = 0;

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, _end_of_stream: u32) -> u32 {
    report(raw::replace_header(
        MapType::RequestHeaders,
        "x-raw-sdk",
        b"request",
    ));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_context: u32, _count: u32, _end_of_stream: u32) -> u32 {
    report(raw::replace_header(
        MapType::ResponseHeaders,
        "x-raw-sdk",
        b"response",
    ));
    CONTINUE
}

fn report(result: Result<(), Status>) {
    if let Err(status) = result {
        // Nothing can be done about a log that does not take the line.
        let _ = raw::log(Level::Warn, &format!("raw-sdk: no header: {status}"));
    }
}
