//! The file of the access log, as whoever rotates logs meets it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{LONGEST, Proxy, Setup, client};

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
