//! Malformed and ambiguous HTTP/1 requests over raw sockets, with a recording upstream.
//!
//! Request smuggling lives in the bytes two parsers read differently, so neither an HTTP
//! client nor an HTTP server can test for it: [`exchange`] writes bytes, [`upstream`]
//! keeps the bytes that came through, and [`smuggled`] judges what it kept.

use std::net::SocketAddr;

use crate::Result;

pub mod case;
pub mod exchange;
mod framing;
pub mod report;
mod syntax;
mod tricks;
pub mod upstream;
pub mod wire;

use case::Case;
use exchange::Answer;
use upstream::{Record, Upstream};

/// What a proxy did with one case.
#[derive(Debug)]
pub struct Outcome {
    /// What the client saw.
    pub answer: Answer,
    /// What reached the upstream.
    pub record: Record,
    /// Whether this is a hole, by [`smuggled`].
    pub smuggled: bool,
}

/// Sends one case to a proxy in front of `upstream`.
///
/// # Errors
/// The proxy takes no connection.
pub fn run(case: &Case, proxy: SocketAddr, upstream: &Upstream) -> Result<Outcome> {
    upstream.settle();
    let answer = exchange::send(proxy, &case.bytes)?;
    // The client is gone now: what a proxy still held back has been sent or dropped.
    let record = upstream.settle();
    let smuggled = smuggled(case.lawful, &record);
    Ok(Outcome {
        answer,
        record,
        smuggled,
    })
}

/// Whether something came through that may be read as other requests than were sent:
/// more whole requests than the sender lawfully sent, or one whose head two servers can
/// understand differently (content-length beside transfer-encoding, and its kin).
pub fn smuggled(lawful: usize, record: &Record) -> bool {
    let whole = record.requests.iter().filter(|seen| seen.complete).count();
    whole > lawful || record.requests.iter().any(|seen| seen.flaw().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::upstream::Seen;

    fn record(heads: &[&str]) -> Record {
        let requests = heads
            .iter()
            .map(|head| Seen {
                connection: 0,
                head: head.as_bytes().to_vec(),
                complete: true,
            })
            .collect();
        Record {
            requests,
            bytes: Vec::new(),
        }
    }

    #[test]
    fn more_requests_than_were_sent_are_a_hole() {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert!(!smuggled(1, &record(&[get])));
        assert!(smuggled(1, &record(&[get, get])));
        assert!(smuggled(0, &record(&[get])));
    }

    #[test]
    fn two_framings_are_a_hole() {
        let both = "POST / HTTP/1.1\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(smuggled(1, &record(&[both])));
    }

    #[test]
    fn without_a_proxy_between_every_hole_is_seen() {
        let upstream = Upstream::start().unwrap();
        for name in ["cl-te-hidden", "cl-differing", "plain"] {
            let case = case::all()
                .into_iter()
                .find(|case| case.name == name)
                .unwrap();
            let outcome = run(&case, upstream.address(), &upstream).unwrap();
            assert_eq!(outcome.smuggled, name != "plain", "{name}");
            assert_eq!(outcome.answer.statuses.first(), Some(&200), "{name}");
        }
    }
}
