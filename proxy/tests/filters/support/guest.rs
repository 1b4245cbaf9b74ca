//! Guests in the text format, made of callbacks: every one writes a line (its name and its
//! arguments, the context's id first) and then does what the test wants of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Every callback a filter of HTTP has: name, parameters, and what it answers by itself.
const CALLBACKS: &[(&str, usize, Option<u32>)] = &[
    ("context_create", 2, None),
    ("vm_start", 2, Some(1)),
    ("configure", 2, Some(1)),
    ("tick", 1, None),
    ("request_headers", 3, Some(0)),
    ("request_body", 3, Some(0)),
    ("request_trailers", 2, Some(0)),
    ("response_headers", 3, Some(0)),
    ("response_body", 3, Some(0)),
    ("response_trailers", 2, Some(0)),
    ("http_call_response", 5, None),
    ("redis_call_response", 4, None),
    ("done", 1, Some(1)),
    ("log", 1, None),
    ("delete", 1, None),
];

const PRELUDE: &str = r#"
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue_stream (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close_stream (param i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick_period (param i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_done" (func $root_done (result i32)))
  (import "env" "proxy_send_local_response"
    (func $local_response (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 4)
  ;; 0..16: where hostcalls put pointers and lengths; 16..1024: a line being written;
  ;; 1024..: texts; from 65536: allocations, the oldest overwritten in the end.
  (global $heap (mut i32) (i32.const 65536))
  (func $allocate (param $size i32) (result i32)
    (local $at i32)
    (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 262144))
      (then (global.set $heap (i32.const 65536))))
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (local.get $at))
  ;; Writes a number at $to and answers where it ends.
  (func $number (param $to i32) (param $n i32) (result i32)
    (if (i32.ge_u (local.get $n) (i32.const 10))
      (then (local.set $to (call $number (local.get $to) (i32.div_u (local.get $n) (i32.const 10))))))
    (i32.store8 (local.get $to)
      (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
    (i32.add (local.get $to) (i32.const 1)))
  ;; Writes a text and numbers into the line and logs it.
  (func $note (param $text i32) (param $len i32) (param $count i32) (param $a i32) (param $b i32) (param $c i32)
    (local $to i32)
    (memory.copy (i32.const 16) (local.get $text) (local.get $len))
    (local.set $to (i32.add (i32.const 16) (local.get $len)))
    (block $done
      (br_if $done (i32.lt_u (local.get $count) (i32.const 1)))
      (local.set $to (call $gap (local.get $to) (local.get $a)))
      (br_if $done (i32.lt_u (local.get $count) (i32.const 2)))
      (local.set $to (call $gap (local.get $to) (local.get $b)))
      (br_if $done (i32.lt_u (local.get $count) (i32.const 3)))
      (local.set $to (call $gap (local.get $to) (local.get $c))))
    (i32.store8 (local.get $to) (i32.const 46))
    (drop (call $log (i32.const 2) (i32.const 16) (i32.sub (local.get $to) (i32.const 15)))))
  (func $gap (param $to i32) (param $n i32) (result i32)
    (i32.store8 (local.get $to) (i32.const 32))
    (call $number (i32.add (local.get $to) (i32.const 1)) (local.get $n)))
  ;; Lets a stream go on, from wherever.
  (func $resume (param $context i32) (param $stream i32)
    (drop (call $effective (local.get $context)))
    (drop (call $continue_stream (local.get $stream)))
    (drop (call $effective (i32.const 0))))
  ;; Answers with a status and a text.
  (func $reply (param $status i32) (param $body i32) (param $len i32)
    (drop (call $local_response (local.get $status) (local.get $body) (local.get $len)
      (local.get $body) (local.get $len) (i32.const 0) (i32.const 0) (i32.const -1))))
  ;; Replaces a whole body by a text.
  (func $body (param $buffer i32) (param $text i32) (param $len i32)
    (drop (call $set_buffer (local.get $buffer) (i32.const 0) (i32.const 0x7fffffff)
      (local.get $text) (local.get $len))))
  ;; Logs a property: its path with slashes, its status, its bytes in hexadecimal.
  (func $property (param $path i32) (param $path_len i32)
    (local $status i32) (local $from i32) (local $left i32) (local $to i32)
    (i32.store (i32.const 4) (i32.const 0))
    (local.set $status (call $get_property
      (local.get $path) (local.get $path_len) (i32.const 0) (i32.const 4)))
    (memory.copy (i32.const 16) (local.get $path) (local.get $path_len))
    (local.set $to (i32.const 16))
    (loop $part
      (if (i32.eqz (i32.load8_u (local.get $to))) (then (i32.store8 (local.get $to) (i32.const 47))))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (br_if $part (i32.lt_u (local.get $to) (i32.add (i32.const 16) (local.get $path_len)))))
    (i32.store8 (local.get $to) (i32.const 61))
    (local.set $to (call $gap (i32.add (local.get $to) (i32.const 1)) (local.get $status)))
    (i32.store8 (local.get $to) (i32.const 32))
    (local.set $to (i32.add (local.get $to) (i32.const 1)))
    (local.set $from (i32.load (i32.const 0)))
    (local.set $left (i32.load (i32.const 4)))
    (if (i32.gt_u (local.get $left) (i32.const 400)) (then (local.set $left (i32.const 400))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $left)))
      (call $digit (local.get $to) (i32.shr_u (i32.load8_u (local.get $from)) (i32.const 4)))
      (call $digit (i32.add (local.get $to) (i32.const 1))
        (i32.and (i32.load8_u (local.get $from)) (i32.const 15)))
      (local.set $to (i32.add (local.get $to) (i32.const 2)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next)))
    (i32.store8 (local.get $to) (i32.const 46))
    (drop (call $log (i32.const 2) (i32.const 16) (i32.sub (local.get $to) (i32.const 15)))))
  (func $digit (param $to i32) (param $n i32)
    (i32.store8 (local.get $to) (i32.add (local.get $n)
      (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $n) (i32.const 10))))))
"#;

/// A guest in the making.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    code: BTreeMap<&'static str, String>,
    imports: String,
    more: String,
    allocator: String,
    marker: &'static str,
}

/// Stands in code for a text: its address and its length.
pub(crate) fn text(text: &str) -> String {
    format!("«{text}»")
}

// === impl Guest ===

impl Guest {
    pub(crate) fn new() -> Self {
        let allocator = r#"(export "proxy_on_memory_allocate" (func $allocate))"#.to_owned();
        Self {
            code: BTreeMap::new(),
            imports: String::new(),
            more: String::new(),
            allocator,
            marker: "proxy_abi_version_0_2_1",
        }
    }

    /// Speaks another version.
    pub(crate) fn marker(mut self, marker: &'static str) -> Self {
        self.marker = marker;
        self
    }

    /// What a callback does after its line: `$0`, `$1`, `$2` are its arguments. It may
    /// `(return ...)`; otherwise it answers what lets everything pass.
    pub(crate) fn on(mut self, callback: &str, code: impl AsRef<str>) -> Self {
        let known = CALLBACKS.iter().find(|(name, ..)| *name == callback);
        let (name, ..) = known.unwrap_or_else(|| panic!("no callback {callback}"));
        self.code.entry(name).or_default().push_str(code.as_ref());
        self
    }

    /// One more hostcall.
    pub(crate) fn import(mut self, import: &str) -> Self {
        self.imports.push_str(import);
        self
    }

    /// More of a module: functions, globals, tables.
    pub(crate) fn define(mut self, code: &str) -> Self {
        self.more.push_str(code);
        self
    }

    /// Takes the place of the allocator; `code` answers an address.
    pub(crate) fn allocator(mut self, code: &str) -> Self {
        self.allocator = format!(
            r#"(func (export "proxy_on_memory_allocate") (param $0 i32) (result i32) {code})"#
        );
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut source = format!(
            "(module {} {PRELUDE} (func (export \"{}\")) {} {}",
            self.imports, self.marker, self.allocator, self.more
        );
        for (name, params, answer) in CALLBACKS {
            write!(source, "\n  (func (export \"proxy_on_{name}\")").expect("text");
            (0..*params).for_each(|n| write!(source, " (param ${n} i32)").expect("text"));
            if answer.is_some() {
                source.push_str(" (result i32)");
            }
            write!(source, " (call $note {} (i32.const {params})", text(name)).expect("text");
            for n in 0..3 {
                let argument = if n < *params {
                    format!("(local.get ${n})")
                } else {
                    "(i32.const 0)".to_owned()
                };
                source.push_str(&argument);
            }
            write!(source, ") {}", self.code.get(name).map_or("", |code| code)).expect("text");
            if let Some(answer) = answer {
                write!(source, " (i32.const {answer})").expect("text");
            }
            source.push(')');
        }
        source.push(')');
        let source = place_texts(&source);
        wat::parse_str(&source).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Puts every text into memory, and its address and length in its place.
fn place_texts(source: &str) -> String {
    let mut at = 1024;
    let mut out = String::new();
    let mut data = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once('«') {
        let (text, after) = after.split_once('»').expect("a closing mark");
        write!(out, "{before}(i32.const {at}) (i32.const {})", text.len()).expect("text");
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        write!(data, "(data (i32.const {at}) \"{bytes}\")").expect("text");
        at += text.len();
        rest = after;
    }
    out.push_str(rest);
    let end = out.rfind(')').expect("a module");
    out.insert_str(end, &data);
    out
}
