//! VMs in whose place another is put while the proxy runs: what moves at once, what
//! finishes where it began, and what nobody notices.

mod drains;
mod ends;
mod isolated;
mod load;
mod recovery;
mod refused;
mod reload;
mod settings;
mod tiers;

use std::time::{Duration, Instant};

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::{Client, Config, Filter, PATIENCE, Proxy, Upstream, get};

const ADMIN: &str = "admin: { address: \"127.0.0.1:0\" }";

/// A guest that says `version` in a response header, and does what `more` says.
fn version(version: &str, more: &str) -> Vec<u8> {
    terse(&format!(
        "on response_headers (drop (!add_header_map_value #2 {{\"x-version\"}} {{\"{version}\"}}))\n{more}"
    ))
}

/// As [`guest::module`] has it; code may begin on the line of its `on NAME`.
fn terse(source: &str) -> Vec<u8> {
    let split = |line: &str| match line.trim().strip_prefix("on ") {
        Some(callback) => match callback.split_once(' ') {
            Some((name, code)) => format!("on {name}\n{code}\n"),
            None => format!("on {callback}\n"),
        },
        None => format!("{line}\n"),
    };
    let source: String = source.lines().map(split).collect();
    let wat = guest::module(&source, Shape::default());
    wat::parse_str(wat).expect("WAT")
}

/// The version that answers a new request.
async fn answers(client: &mut Client) -> String {
    let answer = client.send(get("/now")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("x-version").expect("a version").to_owned()
}

/// Waits until new requests are answered by that version.
async fn answered_by(proxy: &Proxy, version: &str) {
    let mut client = proxy.client(crate::support::Http::One).await;
    let deadline = Instant::now() + PATIENCE;
    while answers(&mut client).await != version {
        assert!(Instant::now() < deadline, "never {version}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A configuration whose only route answers by itself.
fn answering() -> Config {
    Config::new(Upstream::nowhere())
        .routes(&["{ match: { prefix: / }, respond: { status: 200, body: hello } }"])
        .with(ADMIN)
}

/// The value of a metric on the operator's page; 0 where it is not there.
async fn metric(proxy: &Proxy, name: &str) -> u64 {
    let page = proxy.admin("/metrics").await.text().to_owned();
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.trim().parse().expect("a number"))
}

/// Both engines, where a test is about each.
const ENGINES: [&str; 2] = ["interpreter", "aot"];
/// Workers of a proxy under load.
const WORKERS: u64 = 2;
/// Longer than any test: whoever begins a load also ends it.
const LONG: u32 = 120;
const CHANGED: &str =
    "cofferdam_filter_vm_replacements_total{filter=\"f\",reason=\"changed_module\"} ";

/// A filter on an engine, whose every record is in the log.
fn filter(engine: &str, module: &[u8]) -> Filter {
    Filter::wasm("f", module.to_vec())
        .with(format!("engine: {engine}"))
        .with("limits: { log: none }")
}

/// Puts another module in the place of the filter's, and waits until every worker runs it.
async fn replace_on_all(proxy: &Proxy, module: &[u8]) {
    let before = metric(proxy, CHANGED).await;
    proxy.replace_module("f", module);
    proxy.reload();
    let all = format!("{CHANGED}{}", before + WORKERS);
    proxy.measured(&all).await;
}

/// Waits until a good many requests more have been served.
async fn traffic_flows(proxy: &Proxy) {
    let served = async || {
        let page = proxy.admin("/metrics").await.text().to_owned();
        let of = |line: &str| {
            let rest = line.strip_prefix("cofferdam_downstream_requests_total{listener=\"web\"")?;
            let (labels, value) = rest.split_once("} ")?;
            let good = labels.ends_with("class=\"2xx\"");
            good.then(|| value.parse::<u64>().expect("a number"))
        };
        page.lines().filter_map(of).sum::<u64>()
    };
    let before = served().await;
    eventually("traffic flows", async || served().await > before + 200).await;
}

async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
