//! Property paths: any bytes, read and written, from a stream with everything in it.

#![no_main]

use std::cell::RefCell;

use bytes::Bytes;
use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{Attributes, Exchange, Part, Value, Way};
use libfuzzer_sys::fuzz_target;

/// Gets the property that `x-path` names, sets it, gets it again.
const GUEST: &str = r#"(module
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16 64)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 0) "x-path")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $heap (i32.const 4096))
    (drop (call $value (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 16) (i32.const 20)))
    (drop (call $get (i32.load (i32.const 16)) (i32.load (i32.const 20)) (i32.const 24) (i32.const 28)))
    (drop (call $set (i32.load (i32.const 16)) (i32.load (i32.const 20))
                     (i32.load (i32.const 16)) (i32.load (i32.const 20))))
    (drop (call $get (i32.load (i32.const 16)) (i32.load (i32.const 20)) (i32.const 24) (i32.const 28)))
    (i32.const 0)))"#;

/// Something of every type under every path.
struct Everything;

impl Attributes for Everything {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        Some(match path.concat().len() % 6 {
            0 => Value::text("text"),
            1 => Value::Int(-1),
            2 => Value::Bool(true),
            3 => Value::Map(vec![(Bytes::from_static(b"k"), Bytes::from_static(b"v"))]),
            4 => Value::Unserialisable,
            _ => return None,
        })
    }
}

thread_local! {
    static HOST: RefCell<Guest> = RefCell::new(Guest::wat(GUEST).expect("the guest loads"));
}

fuzz_target!(|input: &[u8]| {
    HOST.with_borrow(|guest| {
        cofferdam_fuzz::without_leak(|| {
            let mut headers = testing::map(&[(":path", "/"), ("x-a", "1")]);
            headers.add(b"x-path", Bytes::copy_from_slice(input));
            let exchange = Exchange::new(headers, Box::new(Everything)).share();
            let mut chain = cofferdam_abi::Chain::begin(exchange, [guest.handle()], false);
            chain.push(Way::Request, Part::Headers { end: true });
            assert_eq!(chain.failure(), None, "a path is never a reason to fail");
            chain.end();
            guest.host.take_logs();
        });
    });
});
