//! A guest that does what its configuration says: an interpreter of random bytes that calls
//! any import with any arguments from any callback, answers anything, and hands out memory
//! it does not have.
//!
//! Written once as WAT and compiled once, so that an input costs an instance, not a module.

use std::fmt::Write as _;

use super::guest::{ENV, WASI};
use crate::callbacks::Callback;
use crate::version::AbiVersion;

/// Bytes at which a callback of the guest ends; the next byte is what it answers.
const END: u8 = 200;
const _: () = assert!(END < u8::MAX, "there are bytes that end a callback");

/// The module.
///
/// # Panics
/// When the generated text is wrong, which the first run shows.
#[must_use]
pub fn wasm() -> Vec<u8> {
    wat::parse_str(text()).expect("the generated guest is valid")
}

fn text() -> String {
    let calls = || {
        let env = ENV.iter().map(|row| ("env", "proxy_", row));
        let wasi = WASI.iter().map(|row| ("wasi_snapshot_preview1", "", row));
        env.chain(wasi)
            .filter(|(_, _, (name, _))| *name != "proc_exit")
    };
    let mut text = String::from("(module\n");
    for (index, (module, prefix, (name, params))) in calls().enumerate() {
        let params: String = params.chars().map(|of| format!(" {}", wire(of))).collect();
        let _ = writeln!(
            text,
            "(import \"{module}\" \"{prefix}{name}\" (func $h{index} (param{params}) (result i32)))"
        );
    }
    text.push_str(&BODY.replace("END", &END.to_string()));
    let mut table = String::new();
    for (index, (_, _, (_, params))) in calls().enumerate() {
        let args: String = params.chars().map(argument).collect();
        let _ = writeln!(text, "(func $do{index} (drop (call $h{index} {args})))");
        let _ = write!(table, " $do{index}");
    }
    let count = calls().count() + 3;
    let _ = writeln!(
        text,
        "(table funcref (elem{table} $grow $trap $recurse))
         (func $step (param $op i32)
           (call_indirect (type $void) (i32.rem_u (local.get $op) (i32.const {count}))))"
    );
    for callback in Callback::ALL {
        text.push_str(&export(*callback));
    }
    text.push(')');
    text
}

fn export(callback: Callback) -> String {
    let params = " i32".repeat(callback.params(AbiVersion::V0_2_1));
    let name = callback.name();
    let (result, body) = match callback {
        Callback::Configure => (
            " (result i32)",
            "(call $load) (drop (call $run)) i32.const 1",
        ),
        Callback::VmStart => (" (result i32)", "i32.const 1"),
        Callback::ContextCreate => ("", ""),
        _ if callback.returns() => (" (result i32)", "(call $run)"),
        _ => ("", "(drop (call $run))"),
    };
    format!("(func (export \"{name}\") (param{params}){result} {body})\n")
}

const fn wire(of: char) -> &'static str {
    if of == 'l' { "i64" } else { "i32" }
}

const fn argument(of: char) -> &'static str {
    if of == 'l' {
        "(call $long) "
    } else {
        "(call $argument) "
    }
}

/// Memory: outputs below 1024, then what the allocator hands out, the script first.
///
/// `$argument` makes small numbers, places in memory, places in the script and anything at
/// all equally likely: random words alone would hardly ever be a pointer.
const BODY: &str = r#"
(import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
(type $void (func))
(memory (export "memory") 2 20)
(global $script (mut i32) (i32.const 0))
(global $length (mut i32) (i32.const 0))
(global $cursor (mut i32) (i32.const 0))
(global $heap (mut i32) (i32.const 4096))
(func (export "proxy_abi_version_0_2_1"))
(func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)
  (local.set $at (global.get $heap))
  (if (i32.and (i32.ne (global.get $length) (i32.const 0))
               (i32.eq (i32.and (local.get $at) (i32.const 240)) (i32.const 240)))
    (then (global.set $heap (i32.add (local.get $at) (i32.const 16)))
          (return (i32.sub (i32.const 0) (local.get $size)))))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (local.get $at))
(func $load
  (drop (call $buffer (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 16) (i32.const 20)))
  (global.set $script (i32.load (i32.const 16)))
  (global.set $length (i32.load (i32.const 20))))
(func $byte (result i32)
  (if (i32.ge_u (global.get $cursor) (global.get $length)) (then (return (i32.const 255))))
  (global.set $cursor (i32.add (global.get $cursor) (i32.const 1)))
  (i32.load8_u (i32.add (global.get $script) (i32.sub (global.get $cursor) (i32.const 1)))))
(func $word (result i32)
  (i32.or (call $byte) (i32.or (i32.shl (call $byte) (i32.const 8))
    (i32.or (i32.shl (call $byte) (i32.const 16)) (i32.shl (call $byte) (i32.const 24))))))
(func $argument (result i32) (local $kind i32)
  (local.set $kind (i32.and (call $byte) (i32.const 3)))
  (if (i32.eqz (local.get $kind)) (then (return (call $byte))))
  (if (i32.eq (local.get $kind) (i32.const 1))
    (then (return (i32.shl (call $byte) (i32.const 2)))))
  (if (i32.eq (local.get $kind) (i32.const 2))
    (then (return (i32.add (global.get $script) (call $byte)))))
  (call $word))
(func $long (result i64)
  (i64.or (i64.extend_i32_s (call $argument)) (i64.shl (i64.extend_i32_u (call $byte)) (i64.const 56))))
(func $grow (drop (memory.grow (i32.and (call $byte) (i32.const 7)))))
(func $trap unreachable)
(func $recurse (drop (call $run)))
(func $run (result i32) (local $op i32)
  (loop $next
    (local.set $op (call $byte))
    (if (i32.ge_u (local.get $op) (i32.const END)) (then (return (call $byte))))
    (call $step (local.get $op))
    (br $next))
  unreachable)
"#;

#[cfg(test)]
mod tests {
    #[test]
    fn the_guest_is_a_module_that_loads() {
        let module = crate::Module::parse(super::wasm().into()).expect("parses");
        assert_eq!(module.problems(&crate::Compat::SUPERSET), []);
    }
}
