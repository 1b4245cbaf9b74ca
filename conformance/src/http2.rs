//! HTTP/2 as RFC 9113 and RFC 7541 have it, frame by frame over real sockets: the sections of
//! h2spec as cases of our own, and what can be smuggled through HTTP/2 into HTTP/1.
//!
//! As [`crate::raw`] does it, bytes are written that no HTTP library would write, and the
//! recording upstream of that module keeps what came through.

pub mod case;
mod connection;
mod downgrade;
pub mod exchange;
mod frame;
mod frames;
mod hpack;
mod http;
pub mod report;

use std::net::SocketAddr;
use std::time::Duration;

use crate::Result;
use crate::raw::smuggled;
use crate::raw::upstream::{Record, Upstream};

use case::Case;
use exchange::Answer;

/// What a proxy did with one case.
#[derive(Debug)]
pub struct Outcome {
    /// What the client saw.
    pub answer: Answer,
    /// What reached the upstream.
    pub record: Record,
    /// Whether that is what may be seen.
    pub good: bool,
    /// Whether more reached the upstream than may.
    pub smuggled: bool,
}

/// Sends one case to a proxy in front of `upstream`; what must come is waited for so long.
///
/// # Errors
/// The proxy takes no connection.
pub fn run(
    case: &Case,
    proxy: SocketAddr,
    upstream: &Upstream,
    patience: Duration,
) -> Result<Outcome> {
    upstream.settle();
    let answer = exchange::send(proxy, case, patience)?;
    let record = upstream.settle();
    let good = case.allowed.iter().any(|allowed| answer.is(*allowed));
    let smuggled = case.lawful.is_some_and(|lawful| smuggled(lawful, &record));
    Ok(Outcome {
        answer,
        record,
        good,
        smuggled,
    })
}
