//! The same tests against the code, natively, and against the modules made of it
//! (`filters/build.sh`), in the interpreter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam_sdk::Reply;
use cofferdam_sdk::testing::{Tester, splits};

// The examples themselves, which are crates elsewhere.
#[allow(unreachable_pub, missing_docs, reason = "it is a crate elsewhere")]
#[path = "../../examples/guests/sdk-guard/src/lib.rs"]
mod sdk_guard;
#[allow(unreachable_pub, missing_docs, reason = "it is a crate elsewhere")]
#[path = "../../examples/guests/sdk-headers/src/lib.rs"]
mod sdk_headers;

/// A module, if it has been built. Where everything is to be tested it must have been.
fn built(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = root.join("target/guests").join(name);
    if file.exists() {
        return Some(file);
    }
    let why = format!("{} is not there: run filters/build.sh", file.display());
    cofferdam_abi::testing::require::skipped(&why);
    None
}

fn each(native: fn(&str) -> Tester, module: &str, configuration: &str, test: fn(&mut Tester)) {
    test(&mut native(configuration));
    if let Some(file) = built(module) {
        test(&mut Tester::of_module(file, configuration));
    }
}

#[test]
fn headers_change_both_ways() {
    let native = Tester::of::<sdk_headers::hello>;
    each(native, "sdk_headers.wasm", r#"{"who": "you"}"#, |tester| {
        let answer = tester.get("/").header("x-hello", [0xff]).send();
        assert_eq!(answer.header("x-filter"), Some("hello"));
        assert_eq!(answer.upstream().unwrap().header("x-hello"), Some("you"));
        tester.no_leaks();
    });
}

#[test]
fn a_guard_reads_asks_and_edits() {
    let native = Tester::of::<sdk_guard::guard>;
    let configuration = r#"{"cluster": "authz", "limit": 8}"#;
    each(native, "sdk_guard.wasm", configuration, |tester| {
        tester.cluster("authz", |asked| match (asked.path(), asked.body()) {
            ("/check", b"hello") => Reply::new(200),
            _ => Reply::new(401),
        });
        tester.upstream(|seen| Reply::new(200).body(seen.body()));
        let check = |tester: &mut Tester, path: &str, chunks: Vec<Vec<u8>>| {
            let ask = tester.request("POST", "/").header("x-check", path);
            ask.chunks(chunks).send()
        };
        for chunks in splits(b"hello") {
            let answer = check(tester, "/check", chunks);
            assert_eq!(answer.text(), "HELLO\n-- checked\n");
        }
        let denied = check(tester, "/other", vec![b"hello".to_vec()]);
        assert_eq!((denied.status(), denied.upstream()), (403, None));
        let large = check(tester, "/check", vec![b"hello".to_vec(), b"hello".to_vec()]);
        assert_eq!((large.status(), large.upstream()), (413, None));
        assert_eq!(tester.metric("sdk_guard_asked.status=200"), 16);
        tester.no_leaks();
    });
}

#[test]
fn a_guard_waits_no_longer_than_it_should() {
    let native = Tester::of::<sdk_guard::guard>;
    let configuration = r#"{"cluster": "slow", "timeout_ms": 20}"#;
    each(native, "sdk_guard.wasm", configuration, |tester| {
        let minute = Duration::from_secs(60);
        tester.slow_cluster("slow", minute, |_| Some(Reply::new(200)));
        for _ in 0..3 {
            assert_eq!(tester.get("/").send().status(), 504);
        }
        tester.advance(2 * minute);
        tester.no_leaks();
    });
}
