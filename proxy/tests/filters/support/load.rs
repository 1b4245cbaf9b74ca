//! Requests as fast as they come: `wrk`, and what it says of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Dir, installed};

/// Load on a proxy, from now until it is over.
#[derive(Debug)]
pub(crate) struct Load {
    wrk: Child,
    _script: Dir,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What `wrk` printed.
    pub(crate) report: String,
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
}

// === impl Load ===

impl Load {
    /// Sixteen connections for so many seconds. `None` where there is no `wrk`, as
    /// [`installed`].
    pub(crate) fn on(address: SocketAddr, seconds: u32) -> Option<Self> {
        Self::over(1, address, seconds)
    }

    /// Likewise, to `/0`, `/1` and so on in turn.
    pub(crate) fn over(paths: usize, address: SocketAddr, seconds: u32) -> Option<Self> {
        let wrk: PathBuf = installed("wrk")?;
        let dir = Dir::new();
        let script = dir.write(
            "paths.lua",
            format!(
                "local n = 0\n\
                 request = function()\n\
                 n = (n + 1) % {paths}\n\
                 return wrk.format('GET', '/' .. n)\n\
                 end\n"
            ),
        );
        let child = Command::new(wrk)
            .args(["-t1", "-c16", "--timeout", "5s"])
            .arg(format!("-d{seconds}s"))
            .arg("-s")
            .arg(script)
            .arg(format!("http://{address}/"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Some(Self {
            wrk: child.expect("wrk"),
            _script: dir,
        })
    }

    /// Whether it still goes on.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.wrk.try_wait().expect("a status").is_none()
    }

    /// Ends it now, before its time: as [`Load::end`].
    pub(crate) fn stop(mut self) -> Outcome {
        assert!(self.goes_on(), "the load has lasted");
        let id = i32::try_from(self.wrk.id()).expect("an id");
        let pid = rustix::process::Pid::from_raw(id).expect("a pid");
        // It prints what it has seen so far.
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
        self.end()
    }

    /// Waits for its end: every request must have been answered with 2xx.
    pub(crate) fn end(self) -> Outcome {
        let output = self.wrk.wait_with_output().expect("its output");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{report}");
        for wrong in ["Non-2xx", "Socket errors"] {
            assert!(!report.contains(wrong), "{report}");
        }
        let number = |before: &str| {
            let line = report.lines().find(|line| line.contains(before));
            let line = line.unwrap_or_else(|| panic!("no {before} in {report}"));
            let words = line.split_whitespace();
            let mut numbers = words.filter_map(|word| word.parse::<f64>().ok());
            numbers.next().expect("a number")
        };
        let (requests, per_second) = (number("requests in"), number("Requests/sec"));
        Outcome {
            requests: requests as u64,
            per_second,
            report,
        }
    }
}
