//! A build without the compiler (`cargo test --workspace --no-default-features`).

use crate::support::admin::Watched;
use crate::support::{Dir, Proxy, Setup, Upstream, guest, proxy, require};

/// Where a whole build has put native code for the guest [`COMPILED`]: this one cannot make any.
const FOLDER: &str = "COFFERDAM_COMPILED";
const COMPILED: &str = "add_header.wasm";

#[test]
fn what_a_whole_build_has_compiled_runs_natively() {
    let Some(module) = require::guest(COMPILED) else {
        return;
    };
    let Some(folder) = std::env::var_os(FOLDER) else {
        return require::skipped(&format!(
            "{FOLDER} does not say where `cofferdam compile --directory` of a whole build has put \
             the code of {COMPILED}; `.ci/run` has a step for that"
        ))
        .unwrap_or_default();
    };
    let folder = folder.to_str().unwrap();
    for engine in ["aot", "auto"] {
        let upstream = Upstream::named("ok");
        let yaml = proxy::filtered(upstream.address, module.to_str().unwrap())
            .replace("name: guest,", &format!("name: guest, engine: {engine},"));
        let yaml = format!("{yaml}artifacts: {{ directory: '{folder}' }}\n");
        let Watched { mut proxy, admin } = Watched::start(&yaml);
        assert_eq!(proxy.get("/").status(), 200);
        let page = admin.metrics();
        let family = "cofferdam_filter_vm_starts_total";
        let starts = |engine| {
            let series = format!("{family}{{filter=\"guest\",engine=\"{engine}\"}}");
            page.get(&series).unwrap_or(0.0)
        };
        assert_eq!(
            (starts("aot"), starts("interpreter")),
            (1.0, 0.0),
            "{engine}"
        );
        let called = "cofferdam_filter_calls_total{filter=\"guest\",\
            callback=\"proxy_on_request_headers\",engine=\"aot\"}";
        assert_eq!(page.get(called), Some(1.0), "{engine}");
        assert!(proxy.drain().success());
        let said = proxy.log.all();
        assert!(!said.iter().any(|line| line.contains("WARN")), "{said:?}");
    }
}

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
