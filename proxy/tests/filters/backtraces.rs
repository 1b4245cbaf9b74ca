//! What a crash report says of a guest that a real toolchain has built: functions, and lines
//! of the source where the module carries them. (`native_limits` has guests without.)

use std::path::Path;

use crate::support::{Config, Filter, Http, Proxy, Upstream, built_guest, get, run};

const SOURCE: &str = include_str!("../../../examples/guests/backtrace/src/lib.rs");

/// The line of the guest's source that has this comment; lines are counted from 1.
fn line(comment: &str) -> usize {
    let lines = SOURCE.lines().zip(1..);
    let mut found = lines.filter(|(text, _)| text.ends_with(comment));
    found.next().expect("a line with that comment").1
}

/// A module without those custom sections that `leave_out` is true of.
fn without(wasm: &[u8], leave_out: impl Fn(&str) -> bool) -> Vec<u8> {
    /// The unsigned number at `at`, and where it ends.
    fn number(wasm: &[u8], mut at: usize) -> (usize, usize) {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = wasm[at];
            value |= usize::from(byte & 0x7f) << shift;
            (at, shift) = (at + 1, shift + 7);
            if byte < 0x80 {
                return (value, at);
            }
        }
    }
    let (mut out, mut at) = (wasm[..8].to_vec(), 8);
    while at < wasm.len() {
        let (size, content) = number(wasm, at + 1);
        let end = content + size;
        let (length, name) = number(wasm, content);
        let is_left_out =
            wasm[at] == 0 && std::str::from_utf8(&wasm[name..name + length]).is_ok_and(&leave_out);
        if !is_left_out {
            out.extend_from_slice(&wasm[at..end]);
        }
        at = end;
    }
    out
}

/// The log's line about the crash of this module as native code.
async fn report(wasm: Vec<u8>) -> String {
    let upstream = Upstream::start();
    let filter = Filter::wasm("f", wasm).with("engine: aot");
    let config = Config::new(upstream.address)
        .filter(filter)
        .with("artifacts: { directory: artifacts }");
    let proxy = Proxy::start(&config).await;
    let mut client = proxy.client(Http::One).await;
    for (visitors, status) in [("4", 200), ("0", 503)] {
        let mut request = get("/a");
        let value = visitors.parse().expect("a value");
        request.headers_mut().insert("x-visitors", value);
        let answer = client.send(request).await;
        assert_eq!(answer.status, status, "{visitors}");
        assert_eq!(answer.header("x-share"), (status == 200).then_some("25"));
    }
    let report = proxy.logged(&["filter crashed"]).await;
    assert!(report.contains("engine=\"aot\""), "{report}");
    report
}

fn guest() -> Option<Vec<u8>> {
    let file = built_guest("backtrace")?;
    Some(std::fs::read(file).expect("a file that is there"))
}

#[test]
fn a_crash_is_reported_with_the_lines_of_the_source_where_there_are_any() {
    let Some(wasm) = guest() else { return };
    run(async {
        let report = report(wasm).await;
        let file = Path::new("backtrace/src/lib.rs");
        for (function, comment) in [
            ("backtrace::share", "// crashes here"),
            ("on_http_request_headers", "// called here"),
        ] {
            let place = format!("{}:{})", file.display(), line(comment));
            let frames = report.split(" < ");
            let mut found =
                frames.filter(|frame| frame.contains(function) && frame.contains(&place));
            assert!(found.next().is_some(), "{function} at {place}: {report}");
        }
        let [share, caller] = ["backtrace::share", "on_http_request_headers"]
            .map(|function| report.find(function).expect("a function"));
        assert!(share < caller, "innermost first: {report}");
    });
}

#[test]
fn a_crash_is_reported_with_functions_alone_where_there_are_no_lines() {
    let Some(wasm) = guest() else { return };
    run(async {
        let stripped = without(&wasm, |name| name.starts_with(".debug_"));
        assert!(stripped.len() < wasm.len(), "it carried lines");
        let report = report(stripped).await;
        assert!(report.contains("backtrace::share <"), "{report}");
        assert!(!report.contains(".rs"), "{report}");
    });
}

#[test]
fn a_crash_is_reported_with_numbers_of_functions_where_they_have_no_names() {
    let Some(wasm) = guest() else { return };
    run(async {
        let stripped = without(&wasm, |_| true);
        let report = report(stripped).await;
        assert!(report.contains("backtrace=\"function "), "{report}");
        assert!(!report.contains("share"), "{report}");
    });
}
