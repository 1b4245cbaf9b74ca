//! Nobody reads what is logged, or it cannot be written: a proxy goes on, and a command ends as it
//! would have. In a release a panic would end the process.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Client, Dir, LONGEST, Upstream, guest, proxy};

/// Crashes where there are many header fields, which makes a line of log.
const CRASHES: &str = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
  (if (i32.gt_u (local.get 1) (i32.const 40)) (then (unreachable)))
  (i32.const 0))";

/// Where nothing can be written.
fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// Where nobody reads.
fn gone() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_proxy_serves_though_its_log_cannot_be_written() {
    for format in ["text", "json"] {
        for log in [full, gone] {
            let upstream = Upstream::named("ok");
            let dir = Dir::new();
            let path = dir.join("web.sock");
            let module = guest::write(&dir, "crash", &guest::with("", CRASHES));
            let yaml = proxy::filtered(upstream.address, module.to_str().unwrap()).replace(
                "address: 127.0.0.1:0",
                &format!("address: 'unix:{}'", path.display()),
            );
            let config = dir.write("c.yaml", yaml);
            let mut child = Command::new(proxy::BINARY)
                .args(["--log-format", format, "run", "--config"])
                .arg(config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log())
                .spawn()
                .unwrap();
            let until = Instant::now() + LONGEST;
            while UnixStream::connect(&path).is_err() {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none() && Instant::now() < until, "{ended:?}");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            // A line for each of these is lost, and no more than that.
            for _ in 0..3 {
                let mut client = Client::connect_unix(&path);
                let many = "x: 1\r\n".repeat(40);
                let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
                assert_eq!(client.request(&head).status(), 503);
                assert_eq!(client.get("/").text(), "ok");
            }
            let pid = Pid::from_child(&child);
            kill_process(pid, Signal::TERM).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0));
        }
    }
}

#[test]
fn a_command_says_by_its_status_what_it_cannot_write() {
    let dir = Dir::new();
    let wrong = dir.write("wrong.yaml", "listeners: 3\n");
    let wrong = wrong.to_str().unwrap();
    for arguments in [
        &["check", "--config", wrong][..],
        &["run", "--config", wrong],
        &["--log", "loud", "run", "--config", wrong],
        &["inspect", wrong],
        &["compile", "--config", wrong],
        &["bench", wrong],
        &["test", wrong],
        &["new", "-"],
    ] {
        for log in [full, gone] {
            let status = Command::new(proxy::BINARY)
                .args(arguments)
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log())
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(64), "{arguments:?}");
        }
    }
}
