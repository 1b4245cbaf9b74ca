//! The file of the access log, as whoever rotates logs meets it.

mod noted;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{LONGEST, Proxy, Setup, Upstream, client, guest, proxy};

/// Two workers that answer by themselves, and a line for each request in `log/access.log`.
fn logging() -> Proxy {
    let setup = Setup::new().with(&["--log", "info"]);
    std::fs::create_dir(setup.dir.join("log")).unwrap();
    let yaml = format!(
        "listeners:\n\
         - name: web\n\
         \x20 address: 127.0.0.1:0\n\
         \x20 routes: [{{ respond: {{ body: ok }} }}]\n\
         workers: 2\n\
         access_log: {{ file: '{}', format: '%REQ(:PATH)%' }}\n",
        setup.dir.join("log/access.log").display()
    );
    setup.start(&yaml)
}

/// Has it open its log anew, and waits for `told`.
fn rotated(proxy: &Proxy, told: &str) {
    let before = proxy.log.count(told);
    proxy.signal(Signal::USR1);
    let until = Instant::now() + LONGEST;
    while proxy.log.count(told) == before {
        assert!(Instant::now() < until, "not told:\n{}", proxy.log.text());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_line_is_lost_when_a_log_is_rotated_under_load() {
    const ROTATIONS: usize = 20;
    let mut proxy = logging();
    let (enough, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut kept = proxy.client();
                while !enough.load(Ordering::Relaxed) {
                    assert_eq!(kept.get("/kept").status(), 200);
                    assert_eq!(client::get(proxy.web(), "/new").status(), 200);
                    asked.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..ROTATIONS {
            let before = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < before + 20 {
                std::thread::yield_now();
            }
            let from = proxy.dir.join("log/access.log");
            std::fs::rename(from, proxy.dir.join(&format!("log/{turn}"))).unwrap();
            rotated(&proxy, "the access log was opened anew: ");
            // It is there without a request.
            assert!(proxy.dir.join("log/access.log").is_file());
        }
        enough.store(true, Ordering::Relaxed);
    });
    assert_eq!(proxy.drain().code(), Some(0));
    let mut lines = 0;
    for entry in std::fs::read_dir(proxy.dir.join("log")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.lines().all(|line| line == "/kept" || line == "/new"));
        lines += text.lines().count();
    }
    assert_eq!(lines, asked.into_inner());
}

#[test]
fn a_log_that_cannot_be_opened_anew_is_written_on() {
    let mut proxy = logging();
    let moved = proxy.dir.join("moved");
    std::fs::rename(proxy.dir.join("log"), &moved).unwrap();
    let told = "the access log cannot be opened anew, the open file is written on: ";
    rotated(&proxy, told);
    assert!(proxy.log.wait_for(told).contains("log/access.log: No such"));
    assert_eq!(proxy.get("/on").status(), 200);
    assert_eq!(proxy.drain().code(), Some(0));
    let text = std::fs::read_to_string(moved.join("access.log")).unwrap();
    assert_eq!(text, "/on\n");
}

#[test]
fn without_a_file_there_is_nothing_to_open() {
    let setup = Setup::new().with(&["--log", "info"]);
    let proxy = setup
        .start("listeners:\n- name: web\n  address: 127.0.0.1:0\n  routes: [{ respond: {} }]\n");
    rotated(&proxy, "the access log goes to no file");
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn a_line_says_which_filter_answered_and_how_long_things_took() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let setup = Setup::new();
    // `/d…` it answers itself; for all others it stores a word.
    let source = "on request_headers
            (drop (!get_header_map_value #0 {\":path\"} @out))
            (if (i32.eq (i32.load8_u (i32.add (i32.load #16) #1)) #100) (then
                (drop (!send_local_response #403 {\"told\"} #0 #0 #0 #0 #-1))
                (return #1)))
            (drop (!set_property {\"word\"} {\"from a \\22filter\\22\"}))
            (return #0)";
    let wat = cofferdam_abi::testing::guest::module(source, Default::default());
    let file = guest::write(&setup.dir, "f", &wat);
    let format = "%REQ(:PATH)%|%RESPONSE_CODE%|%FILTER%|%RESPONSE_CODE_DETAILS%|%FILTER_STATE(wasm.word:PLAIN)%|\
                  %FILTER_STATE(word):4%|%UPSTREAM_PROTOCOL%|%REQUEST_DURATION%|%RESPONSE_DURATION%|\
                  %RESPONSE_TX_DURATION%|%COMMON_DURATION(US_TX_BEG:DS_TX_END:ns)%|%REQUEST_HEADERS_BYTES%|\
                  %UPSTREAM_CONNECTION_POOL_READY_DURATION%";
    let yaml = proxy::filtered(upstream.address, file.to_str().unwrap());
    let start = yaml.find("access_log: ").unwrap();
    let end = start + yaml[start..].find('\n').unwrap();
    let log = format!("access_log: {{ format: '{format}' }}");
    let proxy = setup.start(&format!("{}{log}{}", &yaml[..start], &yaml[end..]));
    assert_eq!(proxy.get("/denied").status(), 403);
    let line = proxy.stdout.wait_for("/denied|");
    let fields: Vec<&str> = line.split('|').collect();
    assert_eq!(fields[1], "403");
    assert_eq!(fields[2], "guest/proxy_on_request_headers");
    assert_eq!(fields[4..7], ["-", "-", "-"], "{line}");
    assert_eq!(proxy.get("/passed").status(), 200);
    let line = proxy.stdout.wait_for("/passed|");
    let fields: Vec<&str> = line.split('|').collect();
    assert_eq!(fields[1..3], ["200", "-"], "{line}");
    assert_eq!(
        fields[4..7],
        ["from a \\x22filter\\x22", "from", "HTTP/1.1"],
        "{line}"
    );
    for number in &fields[7..] {
        assert!(number.parse::<u64>().is_ok(), "{number} in {line}");
    }
}
