//! The proxy and native code: what it finds, what it makes, and what it does without.

mod ending;
mod given;
mod kept;
mod made;

use std::path::{Path, PathBuf};

use crate::compile::bomb;
use crate::support::{Dir, Proxy, Setup, guest, proxy};

/// A guest with a header that shows it was there.
fn hello() -> String {
    guest::with(
        r#"(import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 16) "x-filteryes")
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          (drop (call $add (i32.const 2) (i32.const 16) (i32.const 8) (i32.const 24) (i32.const 3)))
          (i32.const 0))"#,
    )
}

/// Every request is answered through the filter `guest`, which has also what `filter` says;
/// `rest` stands at the top.
fn yaml(module: &str, filter: &str, rest: &str) -> String {
    format!(
        "listeners:\n\
         - name: web\n\
         \x20 address: 127.0.0.1:0\n\
         \x20 filters: [guest]\n\
         \x20 routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200 }} }}]\n\
         filters: [{{ name: guest, module: {{ {module} }}, {filter} }}]\n\
         workers: 1\n\
         {rest}\n"
    )
}

/// A folder with the module `hello.wasm`.
fn setup() -> Setup {
    let setup = Setup::new();
    guest::write(&setup.dir, "hello", &hello());
    setup
}

/// Where a proxy keeps native code when nothing says where.
fn cache(dir: &Dir) -> PathBuf {
    dir.join("cache/cofferdam/artifacts")
}

/// Has `hello.wasm` compiled; where its code is.
fn compile(dir: &Dir) -> PathBuf {
    let (module, cache) = (dir.join("hello.wasm"), cache(dir));
    let arguments = ["compile", "--directory", text(&cache), text(&module)];
    assert!(proxy::run(&arguments).status.success());
    kept(dir).remove(0)
}

fn kept(dir: &Dir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache(dir)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Worth compiling: what it does with a request takes a while.
const BUSY: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (local $left i32)
        (local.set $left (i32.const 400000))
        (loop $again
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $again (local.get $left)))
        (i32.const 0))
      (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))"#;

/// A bomb that is worth compiling.
fn busy_bomb(dir: &Dir) {
    bomb(dir, BUSY);
}

/// Whether it has memory of its own that it may run: an interpreter has none.
fn is_native(proxy: &Proxy) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", proxy.id())).unwrap();
    maps.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].contains('x') && fields.len() == 5
    })
}

fn serves(proxy: &Proxy) {
    let answer = proxy.get("/");
    assert_eq!(
        (answer.status(), answer.field("x-filter")),
        (200, Some("yes"))
    );
}

/// The lines at WARN or worse.
fn warnings(proxy: &Proxy) -> Vec<String> {
    let lines = proxy.log.all().into_iter();
    lines
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect()
}
