//! Guests written as text, for tests that need no wasm toolchain.

use std::path::PathBuf;

use super::Dir;

/// Puts the module `wat` into `dir` as `NAME.wasm`.
pub(crate) fn write(dir: &Dir, name: &str, wat: &str) -> PathBuf {
    let wasm = wat::parse_str(wat).unwrap_or_else(|error| panic!("{name}: {error}"));
    dir.write(&format!("{name}.wasm"), wasm)
}

/// A guest that does nothing but what `callbacks` (functions, globals, data) say; imports
/// stand in `imports`. Memory and allocator are there.
pub(crate) fn with(imports: &str, callbacks: &str) -> String {
    format!(
        r#"(module
  {imports}
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (global.get $free) (i32.const 131072)) (then (global.set $free (i32.const 65536)) (local.set $at (i32.const 65536))))
    (local.get $at))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))
  {callbacks}
)"#
    )
}

/// A guest that looks at everything and changes nothing.
pub(crate) fn transparent() -> String {
    with(
        "",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (i32.const 0))"#,
    )
}
