//! A proxy with the operator's page, and what it says there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::openmetrics::Page;
use super::{LONGEST, Proxy, Setup, client};

/// A proxy, and where its page is.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) proxy: Proxy,
    pub(crate) admin: Admin,
}

/// The operator's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admin(pub(crate) SocketAddr);

// === impl Watched ===

impl Watched {
    /// As configured, with a page.
    pub(crate) fn start(yaml: &str) -> Self {
        Self::of(Setup::new(), yaml)
    }

    pub(crate) fn of(setup: Setup, yaml: &str) -> Self {
        let yaml = format!("{yaml}admin: {{ address: '127.0.0.1:0' }}\n");
        let proxy = setup.with(&["--log", "info"]).start(&yaml);
        let line = proxy.log.wait_for("listening: admin ");
        let admin = Admin(line.rsplit(' ').next().unwrap().parse().unwrap());
        Self { proxy, admin }
    }
}

// === impl Admin ===

impl Admin {
    pub(crate) fn metrics(self) -> Page {
        let page = client::get(self.0, "/metrics");
        assert_eq!(page.status(), 200);
        Page::parse(&page.text())
    }

    /// Waits until the value of a series is as it should be: what is over is counted a little
    /// later than it is heard of.
    pub(crate) fn becomes(self, series: &str, is: impl Fn(f64) -> bool) {
        let until = Instant::now() + LONGEST;
        loop {
            let page = self.metrics();
            // What has never happened is no series.
            let value = page.get(series).unwrap_or(0.0);
            if is(value) {
                return;
            }
            assert!(Instant::now() < until, "{series} is {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many connections of `web` have been cut for that.
    pub(crate) fn becomes_cut(self, why: &str, count: usize) {
        let family = "cofferdam_downstream_connection_events_total";
        let series = format!("{family}{{listener=\"web\",event=\"{why}\"}}");
        self.becomes(&series, |value| value == count as f64);
    }
}
