//! Filters that call other services: HTTP and gRPC, through clusters and by URL, over real
//! sockets to real servers.

mod failures;
mod grpc;
mod http;
mod lives;
mod raw_grpc;
mod redis;
mod url;

use crate::support::{Answer, Config, Filter, Http, Proxy, Upstream, built_guest, get};

/// A proxy whose one filter makes the calls that requests name.
struct World {
    upstream: Upstream,
    proxy: Proxy,
}

/// The guest that calls what it is told to; `None` where it is not built.
fn guest() -> Option<Filter> {
    let module = built_guest("callouts")?;
    Some(Filter::file("f", &module))
}

// === impl World ===

impl World {
    async fn start(filter: Filter, more: impl FnOnce(Config) -> Config) -> Self {
        let upstream = Upstream::start();
        let config = more(Config::new(upstream.address).filter(filter));
        let proxy = Proxy::start(&config).await;
        Self { upstream, proxy }
    }

    /// Sends a request that has these calls made.
    async fn call(&self, calls: &[&str]) -> Answer {
        let headers: Vec<_> = calls.iter().map(|call| ("x-call", *call)).collect();
        self.send(&headers).await
    }

    async fn send(&self, headers: &[(&str, &str)]) -> Answer {
        let mut request = get("/asked");
        for (name, value) in headers {
            let name: ::http::HeaderName = name.parse().expect("a name");
            let value = value.parse().expect("a value");
            request.headers_mut().append(name, value);
        }
        const OVER: [&str; 2] = [" filter: stream ", ": over"];
        let before = self.proxy.lines(&OVER).len();
        let answer = self.proxy.client(Http::One).await.send(request).await;
        assert_eq!(answer.status, 200, "the request itself");
        // All that was said of it is in the log by then.
        self.proxy.logged_times(&OVER, before + 1).await;
        answer
    }

    /// The one line that tells what came of `call`, made alone.
    async fn outcome(&self, call: &str) -> String {
        let before = self.answers().len();
        self.call(&[call]).await;
        let mut answers = self.answers();
        assert_eq!(answers.len(), before + 1, "{call}: {answers:#?}");
        answers.remove(before)
    }

    /// What guests have told of answers so far: `PLACE: TOKEN WHAT`.
    fn answers(&self) -> Vec<String> {
        let lines = self.proxy.lines(&[" filter: "]);
        let told = lines.iter().filter_map(|line| {
            let (_, told) = line.split_once(" filter: ")?;
            let (place, what) = told.split_once(": ")?;
            // `filter: stream 3 request: 4 :status=200 ...`
            what.starts_with(|c: char| c.is_ascii_digit())
                .then(|| format!("{place}: {}", cut(what)))
        });
        told.collect()
    }
}

/// Without what the log puts behind a message.
fn cut(line: &str) -> String {
    line.split(" filter=").next().unwrap_or(line).to_owned()
}
