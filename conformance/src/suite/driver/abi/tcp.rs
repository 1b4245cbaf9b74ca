//! One TCP connection in process: a scripted client, the chain, a scripted upstream.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::harness::{TestHost, World};
use cofferdam_abi::tcp::Chunk;
use cofferdam_abi::{Exchange, Peer, TcpChain, Way};

use crate::suite::outcome::Seen;
use crate::suite::step::{Side, TcpAction};

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// A connection and both its ends.
struct Connection {
    chain: TcpChain,
    client: End,
    upstream: End,
    over: bool,
}

/// One end.
#[derive(Default)]
struct End {
    /// What it has sent and nobody has read yet.
    sent: VecDeque<Chunk>,
    got: Vec<u8>,
    /// How much of what it got was looked at.
    seen: usize,
    /// It has seen the end of what the other sends.
    ended: bool,
    /// It sends nothing more.
    closed: bool,
}

/// Makes a connection and lets the actions happen on it.
pub(super) fn run(world: &mut World, host: &TestHost, actions: &[TcpAction]) -> Seen {
    let Some((handles, _)) = world.handles() else {
        return Seen::Connection(vec![None; actions.len()]);
    };
    let exchange = Exchange::connection(Box::new(())).share();
    let mut connection = Connection::new(TcpChain::begin(exchange, handles));
    let mut seen = Vec::new();
    for action in actions {
        connection.act(action);
        let until = host.time() + PATIENCE;
        seen.push(loop {
            world.settle();
            while connection.pump() {
                world.settle();
            }
            let sees = connection.sees(action);
            let waits = matches!(
                action,
                TcpAction::ClientSees(_) | TcpAction::UpstreamSees(_) | TcpAction::SeesEnd(_)
            );
            if sees.is_some() || !waits || host.time() >= until {
                break sees;
            }
            world.advance(until);
        });
        if let TcpAction::Wait(wait) = action {
            let until = host.time() + wait.0;
            while host.time() < until {
                world.advance(until);
                connection.pump();
                world.settle();
            }
        }
    }
    connection.finish();
    world.settle();
    Seen::Connection(seen)
}

// === impl Connection ===

impl Connection {
    fn new(chain: TcpChain) -> Self {
        Self {
            chain,
            client: End::default(),
            upstream: End::default(),
            over: false,
        }
    }

    /// Lets it happen, as far as it happens at once. What `…_sees` waits for is asked by
    /// [`Connection::sees`].
    fn act(&mut self, action: &TcpAction) {
        match action {
            TcpAction::ClientSends(bytes) => self.client.send(bytes.0.clone()),
            TcpAction::UpstreamSends(bytes) => self.upstream.send(bytes.0.clone()),
            TcpAction::HalfClose(side) | TcpAction::Close(side) => self.end(*side).close(),
            _ => {}
        }
    }

    /// What the action waits for, if that is there.
    fn sees(&mut self, action: &TcpAction) -> Option<Bytes> {
        match action {
            TcpAction::ClientSees(wanted) => self.client.take(wanted.0.len()),
            TcpAction::UpstreamSees(wanted) => self.upstream.take(wanted.0.len()),
            TcpAction::SeesEnd(side) => self.end(*side).ended.then(Bytes::new),
            _ => None,
        }
    }

    /// Moves whatever can move now.
    fn pump(&mut self) -> bool {
        let mut moved = false;
        while !self.over && self.step() {
            moved = true;
        }
        moved
    }

    /// The script is over: who has not closed does.
    fn finish(&mut self) {
        self.upstream.close();
        self.client.close();
        self.pump();
        if !self.over {
            self.end_by(Peer::Local);
        }
    }

    fn step(&mut self) -> bool {
        self.chain.poll();
        for way in [Way::Request, Way::Response] {
            if let Some(chunk) = self.chain.pop(way) {
                let (receiver, last) = match way {
                    Way::Request => (&mut self.upstream, Peer::Remote),
                    Way::Response => (&mut self.client, Peer::Local),
                };
                receiver.got.extend_from_slice(&chunk.bytes);
                receiver.ended |= chunk.end;
                // Both ways have ended: the one that was last has closed it.
                if self.client.ended && self.upstream.ended {
                    self.end_by(last);
                }
                return true;
            }
        }
        if self.chain.closing().is_some() {
            self.end_by(Peer::Local);
            return true;
        }
        for way in [Way::Request, Way::Response] {
            let sender = match way {
                Way::Request => &mut self.client,
                Way::Response => &mut self.upstream,
            };
            if self.chain.wants_more(way)
                && let Some(chunk) = sender.sent.pop_front()
            {
                self.chain.push(way, chunk);
                return true;
            }
        }
        false
    }

    fn end_by(&mut self, by: Peer) {
        // What traps at the end harms nobody any more.
        let _ = self.chain.end(by);
        self.client.ended = true;
        self.upstream.ended = true;
        self.over = true;
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }
}

// === impl End ===

impl End {
    fn send(&mut self, bytes: Bytes) {
        self.sent.push_back(Chunk { bytes, end: false });
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            let bytes = Bytes::new();
            self.sent.push_back(Chunk { bytes, end: true });
        }
    }

    /// All it has got since the last time, if that is as much.
    fn take(&mut self, wanted: usize) -> Option<Bytes> {
        let fresh = self.got.get(self.seen..)?;
        if fresh.len() < wanted {
            return None;
        }
        let fresh = Bytes::copy_from_slice(fresh);
        self.seen = self.got.len();
        Some(fresh)
    }
}
