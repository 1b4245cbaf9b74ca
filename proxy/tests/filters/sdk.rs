//! Filters written with `cofferdam-sdk`, as its users build them: what is in the modules,
//! and what they do in the real binary.

use cofferdam_abi::Module;

use crate::support::{BOTH, Config, Filter, Proxy, Upstream, built_guest, get, run};

/// Names of a module's callbacks and imports, in order, and its size.
fn inside(name: &str) -> Option<(Vec<&'static str>, Vec<String>, usize)> {
    let file = built_guest(name)?;
    let bytes = std::fs::read(file).expect("a module");
    let size = bytes.len();
    let module = Module::parse(bytes.into()).expect("a module that loads");
    let mut callbacks: Vec<_> = module.callbacks.iter().map(|c| c.name()).collect();
    callbacks.sort_unstable();
    let mut imports: Vec<_> = module
        .imports
        .iter()
        .map(|import| import.full_name())
        .collect();
    imports.sort_unstable();
    Some((callbacks, imports, size))
}

/// What std brings along for a panic that nobody has hooked; Envoy links all of it.
const STD: [&str; 4] = ["environ_get", "environ_sizes_get", "fd_write", "proc_exit"];

/// Imports that are not std's.
fn own(imports: &[String]) -> Vec<&str> {
    let names = imports.iter().filter_map(|import| {
        let wasi = import.strip_prefix("wasi_snapshot_preview1.");
        assert!(wasi.is_none_or(|name| STD.contains(&name)), "{import}");
        import.strip_prefix("env.")
    });
    names.collect()
}

#[test]
fn the_callback_layer_exports_what_is_written_and_imports_what_is_used() {
    let Some((callbacks, imports, size)) = inside("sdk_callbacks") else {
        return;
    };
    assert_eq!(
        callbacks,
        [
            "proxy_on_configure",
            "proxy_on_context_create",
            "proxy_on_delete",
            "proxy_on_request_headers",
            "proxy_on_response_headers",
        ]
    );
    assert_eq!(
        own(&imports),
        [
            "proxy_get_buffer_bytes",
            "proxy_get_header_map_pairs",
            "proxy_get_header_map_value",
            "proxy_get_log_level",
            "proxy_log",
            "proxy_replace_header_map_value",
        ]
    );
    assert!(size <= 53_000, "{size} bytes");
}

#[test]
fn a_filter_of_callbacks_stamps_both_ways() {
    let Some(module) = built_guest("sdk_callbacks") else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::file("guest", &module).with("configuration: hello");
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let answer = proxy.client(http).await.send(get("/a")).await;
            assert_eq!(answer.header("x-sdk-callbacks"), Some("hello"));
            let seen = upstream.only("/a");
            assert_eq!(seen.header("x-sdk-callbacks"), Some("hello"));
        }
    });
}

#[test]
fn a_panic_says_file_and_line() {
    let Some(module) = built_guest("sdk_callbacks") else {
        return;
    };
    run(async {
        let upstream = Upstream::start();
        let proxy =
            Proxy::start(&Config::new(upstream.address).filter(Filter::file("guest", &module)))
                .await;
        let mut request = get("/a");
        let headers = request.headers_mut();
        headers.insert("x-do", "panic".parse().expect("a value"));
        let answer = proxy.client(BOTH[0]).await.send(request).await;
        assert_eq!(answer.status, 503);
        proxy.logged(&["panicked at", "lib.rs:", "as asked"]).await;
    });
}
