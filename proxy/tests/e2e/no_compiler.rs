//! A build without the compiler (`cargo test --workspace --no-default-features`).

use crate::support::{Dir, Proxy, Setup, Upstream, guest, proxy};

#[test]
fn compile_says_that_it_cannot_and_is_status_69() {
    let dir = Dir::new();
    let module = guest::write(&dir, "one", &guest::with("", ""));
    let output = proxy::run(&["compile", module.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(69), 0));
    assert!(said.contains("built without its compiler"), "{said}");
}

#[test]
fn modules_that_nobody_has_compiled_are_interpreted_and_the_log_says_so_once() {
    for engine in ["auto", "aot"] {
        let upstream = Upstream::named("ok");
        let setup = Setup::new();
        guest::write(&setup.dir, "one", &guest::transparent());
        guest::write(&setup.dir, "two", &guest::with("", ""));
        let yaml = proxy::filtered(upstream.address, "one.wasm")
            .replace("filters: [guest]", "filters: [guest, other]")
            .replace(
                "filters: [{ name: guest,",
                &format!(
                    "filters: [{{ name: other, engine: {engine}, module: {{ file: two.wasm }} }}, \
                     {{ name: guest, engine: {engine},"
                ),
            );
        let mut proxy: Proxy = setup.start(&yaml);
        for _ in 0..20 {
            assert_eq!(proxy.get("/").status(), 200);
        }
        assert!(proxy.drain().success());
        let log = proxy.log.all();
        let said = log.iter().filter(|line| line.contains("WARN"));
        let said: Vec<_> = said.collect();
        assert_eq!(said.len(), 1, "{engine}: {said:?}");
        assert!(said[0].contains("built without its compiler"), "{said:?}");
    }
}
