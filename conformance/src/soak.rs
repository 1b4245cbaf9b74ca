//! Whether anything leaks: memory of one running proxy after much of the same, against what
//! it was after a little of it.
//!
//! Three ways to use it up: streams through a filter, callouts, VMs that crash and are
//! started again. For themselves are [`reload`], [`upgrade`], [`ending`], [`promote`] and [`long`], which take as long as one
//! likes, [`flood`] and [`idle`]. [`train`] is no soak, but traffic to build a release by.

pub mod ending;
pub mod flood;
mod frame;
pub mod idle;
pub mod long;
pub mod promote;
pub mod reload;
pub mod train;
pub mod upgrade;
mod world;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::client::Client;
use crate::scratch::Scratch;
use crate::{Error, Result, proc};
use world::{Proxy, Upstream};

/// The most that may be there after much, as a multiple of what was there after a little.
const MOST: f64 = 1.05;
/// Connections that clients use in turn.
const CLIENTS: usize = 8;

/// One way to use a proxy for long.
struct Phase {
    title: &'static str,
    /// The filter's module, as it is called in `target/guests`.
    guest: &'static str,
    request: &'static str,
    /// What a request is answered with.
    status: u16,
    /// How many requests it makes reach the upstream.
    reaching: usize,
    /// How many of `what` one request is.
    each: usize,
    what: &'static str,
    /// Of `what`: when the first look is taken, and when the last.
    looks: [usize; 2],
}

const PHASES: [Phase; 3] = [
    Phase {
        title: "streams through one filter",
        guest: "headers",
        request: "GET / HTTP/1.1\r\nhost: soak.test\r\nx-replaced: old\r\n\r\n",
        status: 200,
        reaching: 1,
        each: 1,
        what: "streams",
        looks: [1_000, 10_000],
    },
    Phase {
        title: "callouts, four to a request",
        guest: "callouts",
        request: "GET / HTTP/1.1\r\nhost: soak.test\r\nx-call: http up GET /a\r\nx-call: http up GET /b\r\n\
                  x-call: http up POST /c body=text t.x-t=1\r\nx-then: http gone GET /d\r\n\r\n",
        status: 200,
        reaching: 4,
        each: 4,
        what: "callouts",
        looks: [2_000, 20_000],
    },
    Phase {
        title: "VMs that crash and are started again",
        guest: "panic",
        request: "GET / HTTP/1.1\r\nhost: soak.test\r\nx-panic: request_headers:trap\r\n\r\n",
        status: 503,
        reaching: 0,
        each: 1,
        what: "restarts",
        looks: [100, 1_000],
    },
];

/// What a proxy has at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Resident memory, KiB.
    rss: u64,
    /// Open files and sockets.
    files: usize,
}

/// Runs all phases with the proxy at `program`, and prints what was measured. Returns
/// whether nothing leaked.
///
/// # Errors
/// The proxy, or a guest, is not there; a request is answered otherwise than it must be.
pub fn run(program: &Path) -> Result<bool> {
    let mut kept = true;
    for phase in &PHASES {
        kept &= phase.run(program)?;
    }
    Ok(kept)
}

impl Phase {
    fn run(&self, program: &Path) -> Result<bool> {
        let scratch = Scratch::new("soak")?;
        let upstream = Upstream::start()?;
        let proxy = Proxy::start(program, &guest(self.guest)?, upstream.address(), &scratch)?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Client::connect(proxy.address())?);
        }
        let [few, many] = self.looks;
        println!("{}:", self.title);
        let mut statuses = HashMap::new();
        let mut first = None;
        for done in (self.each..=many).step_by(self.each) {
            let turn = done / self.each;
            let count = clients.len();
            let status = clients[turn % count].send(self.request.as_bytes())?.status;
            *statuses.entry(status).or_insert(0) += 1;
            if done == few {
                first = Some(self.look(&proxy, few)?);
            }
        }
        let last = self.look(&proxy, many)?;
        let first = first.ok_or_else(|| Error::Failed("no first look was taken".to_owned()))?;
        let requests = many / self.each;
        let expected = HashMap::from([(self.status, requests)]);
        let (reached, reaching) = (upstream.requests(), requests * self.reaching);
        if (&statuses, reached) != (&expected, reaching) {
            return Err(Error::Failed(format!(
                "{}: answers {statuses:?}, not {expected:?}; {reached} requests reached the upstream, not {reaching}",
                self.title
            )));
        }
        drop(clients);
        let abandoned = proxy.end()?;
        let ratio = last.rss as f64 / first.rss as f64;
        let kept = ratio <= MOST && last.files <= first.files && abandoned == 0;
        println!(
            "  {ratio:.3} × the memory (at most {MOST}), {} calls left at the end: {}",
            abandoned,
            if kept { "kept" } else { "LEAKED" },
        );
        Ok(kept)
    }

    fn look(&self, proxy: &Proxy, done: usize) -> Result<Look> {
        let look = Look {
            rss: proc::rss_kib(proxy.pid())?,
            files: proxy.open_files()?,
        };
        println!(
            "  after {done} {}: {} KiB, {} open files",
            self.what, look.rss, look.files
        );
        Ok(look)
    }
}

/// A module of `target/guests`.
fn guest(name: &str) -> Result<PathBuf> {
    let file = crate::scratch::workspace()
        .join("target/guests")
        .join(format!("{name}.wasm"));
    if file.is_file() {
        return Ok(file);
    }
    let what = format!(
        "{} is not built; `make guests-rust` builds it",
        file.display()
    );
    Err(Error::Unavailable(what))
}
