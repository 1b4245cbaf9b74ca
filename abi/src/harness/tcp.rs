//! One TCP connection: what a client and an upstream send, and what each of them gets.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::world::World;
use crate::exchange::Exchange;
use crate::tcp::{Chunk, TcpChain};
use crate::types::{Peer, Way};

/// What a connection has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connected {
    /// What the upstream got of the client's.
    pub upstream: Bytes,
    /// What the client got of the upstream's.
    pub client: Bytes,
    /// A filter closed it before both had sent everything.
    pub closed: bool,
    /// A filter failed, or could not run.
    pub failed: bool,
}

/// Between pieces, which arrive apart from each other.
const PACE: Duration = Duration::from_millis(10);

// === impl World ===

impl World {
    /// Runs a connection: first all of the client's pieces, then all of the upstream's; then
    /// both say that they have no more.
    pub fn connection(&mut self, client: &[Bytes], upstream: &[Bytes]) -> Connected {
        let Some((handles, _)) = self.handles() else {
            return Connected {
                failed: true,
                ..Connected::default()
            };
        };
        let exchange = Exchange::connection(Box::new(())).share();
        let mut chain = TcpChain::begin(exchange, handles);
        self.settle();
        let mut out = [Vec::new(), Vec::new()];
        let piece = |bytes: &Bytes| Chunk {
            bytes: bytes.clone(),
            end: false,
        };
        let last = || Chunk {
            bytes: Bytes::new(),
            end: true,
        };
        let mut events: VecDeque<(Way, Chunk)> = VecDeque::new();
        events.extend(client.iter().map(|bytes| (Way::Request, piece(bytes))));
        events.extend(upstream.iter().map(|bytes| (Way::Response, piece(bytes))));
        let said = events.len();
        events.extend([(Way::Request, last()), (Way::Response, last())]);
        let mut closed = false;
        for (index, (way, chunk)) in events.into_iter().enumerate() {
            chain.push(way, chunk);
            // What was asked of others in the meantime is answered.
            self.wait(PACE);
            self.settle();
            chain.poll();
            drain(&mut chain, &mut out);
            if chain.closing().is_some() || chain.failure().is_some() {
                closed = index < said;
                break;
            }
        }
        let failed = chain.failure().is_some();
        // What traps at the end harms nobody any more.
        let _ = chain.end(if closed { Peer::Local } else { Peer::Remote });
        self.settle();
        let [upstream, client] = out.map(Bytes::from);
        Connected {
            upstream,
            client,
            closed,
            failed,
        }
    }
}

fn drain(chain: &mut TcpChain, out: &mut [Vec<u8>; 2]) {
    for way in [Way::Request, Way::Response] {
        while let Some(chunk) = chain.pop(way) {
            out[way as usize].extend_from_slice(&chunk.bytes);
        }
    }
}
