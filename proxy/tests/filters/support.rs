//! What these tests are made of: the real binary, an upstream that does as it is told,
//! clients of both protocols, and guests written in the text format.

mod client;
#[path = "../support/dir.rs"]
#[expect(dead_code, reason = "tests here use a part of it")]
mod dir;
#[path = "../support/dns.rs"]
#[expect(dead_code, reason = "tests here use a part of it")]
pub(crate) mod dns;
mod grpc;
mod guest;
#[path = "../support/h2.rs"]
#[expect(dead_code, reason = "tests here use a part of it")]
pub(crate) mod h2;
mod load;
#[path = "../support/openmetrics.rs"]
pub(crate) mod openmetrics;
#[path = "../support/pki.rs"]
#[expect(dead_code, reason = "tests here use a part of it")]
pub(crate) mod pki;
mod proxy;
#[path = "../support/require.rs"]
mod require;
mod upstream;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use client::{Answer, BOTH, Body, Client, Feeder, Http, get, post};
pub(crate) use dir::Dir;
pub(crate) use grpc::Grpc;
pub(crate) use guest::{Guest, text};
pub(crate) use load::Load;
pub(crate) use proxy::{Config, Filter, Proxy, check};
pub(crate) use upstream::{Seen, Upstream};

/// The longest any test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The same, as modules that other tests share call it.
const LONGEST: Duration = PATIENCE;

/// Runs a test's future on a thread of its own making.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A guest that another toolchain builds; without it the test says so and is skipped,
/// unless everything must be there.
pub(crate) fn built_guest(name: &str) -> Option<PathBuf> {
    require::guest(&format!("{name}.wasm"))
}

/// A program that tests talk to, as [`built_guest`].
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    require::tool(name)
}
