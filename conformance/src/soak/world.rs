//! What is around the proxy: an upstream, clients, and the proxy as a program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::process::Server;
use crate::scratch::Scratch;
use crate::{Error, Result};

/// The longest any single step may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Answers every request with a short text, and counts them.
pub(super) struct Upstream {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

/// The proxy, with one filter.
pub(super) struct Proxy {
    server: Server,
    address: SocketAddr,
    log: PathBuf,
}

// === impl Upstream ===

impl Upstream {
    pub(super) fn start() -> Result<Self> {
        let failed = |error| Error::failed("an upstream", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let requests = Arc::<AtomicUsize>::default();
        let counted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = counted.clone();
                // A connection that ends is no matter.
                std::thread::spawn(move || drop(answer(stream, &counted)));
            }
        });
        Ok(Self { address, requests })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn answer(stream: TcpStream, requests: &AtomicUsize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let (mut chunked, mut length) = (false, 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            chunked |= line == "transfer-encoding: chunked\r\n";
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
        // The end of chunks and trailers is an empty line, as that of headers is.
        while chunked && line != "0\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        while chunked && line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        requests.fetch_add(1, Ordering::Relaxed);
        reader.get_mut().write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n",
        )?;
    }
}

// === impl Proxy ===

impl Proxy {
    pub(super) fn start(
        program: &Path,
        module: &Path,
        upstream: SocketAddr,
        scratch: &Scratch,
    ) -> Result<Self> {
        let free = |_| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.local_addr()
        };
        let ports: std::io::Result<Vec<SocketAddr>> = (0..2).map(free).collect();
        let ports = ports.map_err(|error| Error::failed("a port", error))?;
        let (address, gone) = (ports[0], ports[1]);
        let file = scratch.write(
            "soak.yaml",
            &format!(
                "workers: 1\n\
                 listeners:\n\
                 - {{ name: soak, address: '{address}', filters: [f], routes: [{{ match: {{ prefix: / }}, cluster: up }}] }}\n\
                 filters: [{{ name: f, module: {{ file: '{}' }}, limits: {{ callback: 1s }} }}]\n\
                 clusters:\n\
                 - {{ name: up, endpoints: ['{upstream}'] }}\n\
                 - {{ name: gone, endpoints: ['{gone}'] }}\n",
                module.display()
            ),
        )?;
        let log = scratch.path().join("soak.log");
        let arguments = ["--log", "warn,cofferdam::callout=debug", "run", "--config"]
            .map(std::ffi::OsStr::new)
            .into_iter()
            .chain([file.as_os_str()]);
        let mut server = Server::start("cofferdam", program, arguments, log.clone())?;
        server.wait_listening(address, LIMIT)?;
        Ok(Self {
            server,
            address,
            log,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(super) fn open_files(&self) -> Result<usize> {
        let folder = format!("/proc/{}/fd", self.pid());
        let entries = std::fs::read_dir(&folder).map_err(|error| Error::failed(folder, error))?;
        Ok(entries.count())
    }

    /// Has it drain, and says how many calls were under way then.
    pub(super) fn end(mut self) -> Result<usize> {
        let mut kill = Command::new("kill");
        kill.args(["-TERM", &self.pid().to_string()]);
        crate::process::run(kill, LIMIT)?;
        let until = Instant::now() + LIMIT;
        while self.server.check().is_ok() {
            if Instant::now() > until {
                return Err(Error::Failed("the proxy does not end".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = std::fs::read_to_string(&self.log)
            .map_err(|error| Error::failed(self.log.display(), error))?;
        let told = log.lines().find_map(|line| {
            let (_, rest) = line.split_once("calls of filters under way at the end: ")?;
            rest.split(' ').next()?.parse().ok()
        });
        told.ok_or_else(|| Error::Failed("the proxy did not tell of its calls".to_owned()))
    }
}
