//! The binary under test, its configuration and what it says.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Answer, Client, Http, PATIENCE, get};

/// A filter of a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    name: String,
    module: Module,
    sha256: String,
    more: String,
}

#[derive(Debug, Clone)]
enum Module {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// One listener `web`, a chain, one cluster `up`; what tests want otherwise they add.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    upstreams: Vec<SocketAddr>,
    protocol: String,
    filters: Vec<Filter>,
    chain: Option<String>,
    listener: String,
    routes: String,
    clusters: String,
    workers: usize,
    access_log: bool,
    more: String,
}

/// A running proxy. It is killed when this goes.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The program's log, and with it what guests say.
    log: Lines,
    /// The access log.
    access: Lines,
    folder: Folder,
}

#[derive(Debug)]
struct Folder(PathBuf);

type Lines = Arc<Mutex<Vec<String>>>;

// === impl Filter ===

impl Filter {
    pub(crate) fn file(name: &str, module: &Path) -> Self {
        Self {
            name: name.to_owned(),
            module: Module::File(module.to_owned()),
            sha256: String::new(),
            more: String::new(),
        }
    }

    pub(crate) fn wasm(name: &str, module: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            module: Module::Bytes(module),
            sha256: String::new(),
            more: String::new(),
        }
    }

    /// The digest its module must have.
    pub(crate) fn pinned(mut self, sha256: &str) -> Self {
        self.sha256 = format!(", sha256: \"{sha256}\"");
        self
    }

    /// Another key of the filter, as YAML on one line.
    pub(crate) fn with(mut self, yaml: impl AsRef<str>) -> Self {
        self.more.push_str("    ");
        self.more.push_str(yaml.as_ref());
        self.more.push('\n');
        self
    }
}

// === impl Config ===

impl Config {
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        let routes = "      - { match: { prefix: / }, cluster: up }\n".to_owned();
        Self {
            upstreams: vec![upstream],
            protocol: "http1".to_owned(),
            filters: Vec::new(),
            chain: None,
            listener: String::new(),
            routes,
            clusters: String::new(),
            workers: 1,
            access_log: true,
            more: String::new(),
        }
    }

    /// Another endpoint of the cluster.
    pub(crate) fn endpoint(mut self, upstream: SocketAddr) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// Another cluster, as YAML on one line.
    pub(crate) fn cluster(mut self, yaml: impl AsRef<str>) -> Self {
        self.clusters.push_str("  - ");
        self.clusters.push_str(yaml.as_ref());
        self.clusters.push('\n');
        self
    }

    /// What is spoken to the upstream.
    pub(crate) fn protocol(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.protocol);
        self
    }

    pub(crate) fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// The listener's chain, where it is not all filters in order.
    pub(crate) fn chain(mut self, names: &str) -> Self {
        self.chain = Some(names.to_owned());
        self
    }

    /// Another key of the listener.
    pub(crate) fn listener(mut self, yaml: &str) -> Self {
        self.listener = format!("    {yaml}\n");
        self
    }

    /// As many workers.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Takes the place of the one route.
    pub(crate) fn routes(mut self, routes: &[&str]) -> Self {
        self.routes = routes
            .iter()
            .map(|route| format!("      - {route}\n"))
            .collect();
        self
    }

    /// Nothing is written for a request.
    pub(crate) fn without_access_log(mut self) -> Self {
        self.access_log = false;
        self
    }

    /// Another top-level key.
    pub(crate) fn with(mut self, yaml: &str) -> Self {
        self.more.push_str(yaml);
        self.more.push('\n');
        self
    }

    fn write(&self) -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("cofferdam-filters-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        self.write_into(&folder);
        Folder(folder)
    }

    fn write_into(&self, folder: &Path) {
        let names: Vec<&str> = self.filters.iter().map(|filter| &filter.name[..]).collect();
        let chain = self.chain.clone().unwrap_or_else(|| names.join(", "));
        let mut yaml = format!(
            "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    filters: [{chain}]\n{}    routes:\n{}{}",
            self.listener,
            self.routes,
            if self.filters.is_empty() {
                ""
            } else {
                "filters:\n"
            }
        );
        for filter in &self.filters {
            let file = match &filter.module {
                Module::File(file) => file.clone(),
                Module::Bytes(bytes) => {
                    let file = folder.join(format!("{}.wasm", filter.name));
                    std::fs::write(&file, bytes).expect("a module");
                    file
                }
            };
            let (name, more, pin) = (&filter.name, &filter.more, &filter.sha256);
            yaml.push_str(&format!(
                "  - name: {name}\n    module: {{ file: \"{}\"{pin} }}\n{more}",
                file.display()
            ));
        }
        let endpoints = self.upstreams.iter();
        let endpoints: Vec<_> = endpoints.map(|address| format!("\"{address}\"")).collect();
        yaml.push_str(&format!(
            "clusters:\n  - name: up\n    endpoints: [{}]\n    protocol: {}\n{}workers: {}\n{}",
            endpoints.join(", "),
            self.protocol,
            self.clusters,
            self.workers,
            self.more
        ));
        if self.access_log {
            yaml.push_str(
                "access_log: { json: { path: \"%REQ(:PATH)%\", status: \"%RESPONSE_CODE%\", \
                 flags: \"%RESPONSE_FLAGS%\", details: \"%RESPONSE_CODE_DETAILS%\", span: \"%SPAN_ID%\" } }\n",
            );
        }
        std::fs::write(folder.join("proxy.yaml"), yaml).expect("a configuration");
    }
}

/// What a run that ends by itself leaves: its exit status and what it wrote to stderr.
pub(crate) fn check(config: &Config, command: &str) -> (Option<i32>, String) {
    let folder = config.write();
    let mut child = binary(&folder, command);
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("a status").is_none() {
        if deadline < Instant::now() {
            drop(child.kill());
            panic!("`{command}` goes on running");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("output");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn binary(folder: &Folder, command: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .args([command, "--log", "info,filter=trace", "--config"])
        .arg(folder.0.join("proxy.yaml"))
        .env_remove("COFFERDAM_LOG")
        .env_remove("COFFERDAM_LOG_FORMAT")
        // Never the machine's own cache.
        .env_remove("CACHE_DIRECTORY")
        .env("XDG_CACHE_HOME", folder.0.join("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary")
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn start(config: &Config) -> Self {
        let folder = config.write();
        let mut child = binary(&folder, "run");
        let log = collect(child.stderr.take().expect("stderr"));
        let access = collect(child.stdout.take().expect("stdout"));
        let address = ([127, 0, 0, 1], 0).into();
        let mut proxy = Self {
            child,
            address,
            log,
            access,
            folder,
        };
        let line = proxy.logged(&["listening: web "]).await;
        let address = line
            .rsplit(' ')
            .next()
            .and_then(|address| address.parse().ok());
        proxy.address = address.expect("an address in the log");
        proxy
    }

    /// What the operator sees at `path`; the configuration must have an `admin`.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let line = self.logged(&["listening: admin "]).await;
        let address = line.rsplit(' ').next().and_then(|text| text.parse().ok());
        let address = address.expect("an address in the log");
        let mut client = Client::connect(address, Http::One).await;
        client.send(get(path)).await
    }

    /// Waits until the metrics page has this line; the page.
    pub(crate) async fn measured(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.admin("/metrics").await.text().to_owned();
            if page.lines().any(|other| other == line) {
                return page;
            }
            assert!(Instant::now() < deadline, "no {line} in\n{page}");
            pause().await;
        }
    }

    pub(crate) async fn client(&self, http: Http) -> Client {
        Client::connect(self.address, http).await
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("log").clone()
    }

    /// Lines so far that contain all of `words`.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<String> {
        find(&self.log, words)
    }

    /// Waits for a line that contains all of `words`.
    pub(crate) async fn logged(&self, words: &[&str]) -> String {
        self.logged_times(words, 1).await.remove(0)
    }

    /// Waits for as many lines that contain all of `words`.
    pub(crate) async fn logged_times(&self, words: &[&str], times: usize) -> Vec<String> {
        wait(&self.log, words, times, &self.log).await
    }

    /// Waits for an access log line that contains all of `words`.
    pub(crate) async fn access(&self, words: &[&str]) -> String {
        wait(&self.access, words, 1, &self.log).await.remove(0)
    }

    /// Puts another module in the place of one that the test gave as bytes.
    pub(crate) fn replace_module(&self, filter: &str, module: &[u8]) {
        let file = self.folder.0.join(format!("{filter}.wasm"));
        let aside = file.with_extension("new");
        std::fs::write(&aside, module).expect("a file");
        std::fs::rename(aside, file).expect("in its place");
    }

    /// Gives it another configuration, and waits until that is served.
    pub(crate) async fn reconfigure(&self, config: &Config) {
        config.write_into(&self.folder.0);
        let words = ["reload: module files were read again"];
        let before = self.lines(&words).len();
        self.reload();
        self.logged_times(&words, before + 1).await;
    }

    /// The same with one that is refused.
    pub(crate) async fn refuses(&self, config: &Config) {
        config.write_into(&self.folder.0);
        let words = ["reload: nothing is changed"];
        let before = self.lines(&words).len();
        self.reload();
        self.logged_times(&words, before + 1).await;
    }

    /// Has it read its configuration and its modules again.
    pub(crate) fn reload(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Asks it to drain.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        let pid = rustix::process::Pid::from_raw(id).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it goes on running:\n{}",
                self.log().join("\n")
            );
            pause().await;
        }
    }

    /// Most memory it has had, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .expect("VmHWM");
        let number = line
            .split_whitespace()
            .nth(1)
            .and_then(|number| number.parse::<usize>().ok());
        number.expect("a number") * 1024
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- log\n{}", self.log().join("\n"));
            eprintln!(
                "--- access log\n{}",
                self.access.lock().expect("access log").join("\n")
            );
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn collect(from: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let into = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().expect("lines").push(line);
        }
    });
    lines
}

fn find(lines: &Lines, words: &[&str]) -> Vec<String> {
    let lines = lines.lock().expect("lines");
    lines
        .iter()
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .cloned()
        .collect()
}

async fn wait(lines: &Lines, words: &[&str], times: usize, log: &Lines) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find(lines, words);
        if found.len() >= times {
            return found;
        }
        if deadline < Instant::now() {
            let log = log.lock().expect("log").join("\n");
            panic!(
                "{} of {times} lines with {words:?}; the log:\n{log}",
                found.len()
            );
        }
        pause().await;
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}
