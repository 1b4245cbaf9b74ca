//! VMs in whose place another is put while the proxy runs: what moves at once, what
//! finishes where it began, and what nobody notices.

mod drains;
mod ends;
mod isolated;
mod load;
mod recovery;
mod reload;
mod settings;
mod tiers;

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::{Client, Config, Proxy, Upstream, get};

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
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while answers(&mut client).await != version {
        assert!(std::time::Instant::now() < deadline, "never {version}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
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
