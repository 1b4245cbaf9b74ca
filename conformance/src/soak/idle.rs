//! What ten thousand clients cost that say nothing.

use std::path::Path;

use super::world::Upstream;
use crate::Result;
use crate::bench::idle;
use crate::peer::{Proxy, Setup};
use crate::scratch::Scratch;

/// How many connections, unless another number is asked for.
pub const MANY: usize = 10_000;
/// The most that one may take, KiB.
const MOST: f64 = 14.0;

/// Opens `count` connections to the proxy at `program`, each of which asks for something once,
/// and prints what they take. Returns whether those of HTTP/1 keep to their bound.
///
/// # Errors
/// The proxy does not start, or closes one of them.
pub fn run(program: &Path, count: usize) -> Result<bool> {
    let scratch = Scratch::new("soak-idle")?;
    let upstream = Upstream::start()?;
    let proxy = Proxy::Cofferdam(program.to_owned());
    let [http1, http2] = idle::held(
        &proxy,
        upstream.address(),
        count,
        &Setup::default(),
        &scratch,
    )?;
    let kept = http1 <= MOST;
    println!(
        "{count} idle HTTP/1.1 connections: {http1:.1} KiB each (at most {MOST}): {}",
        if kept { "kept" } else { "TOO MUCH" }
    );
    println!("{count} idle HTTP/2 connections: {http2:.1} KiB each");
    Ok(kept)
}
