//! A connection that is not HTTP, through the filter under test.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::tcp::Chunk;
use cofferdam_abi::{Exchange, Peer, TcpChain, Way};

use super::exchange::Values;
use super::host::Tester;

/// For what waits longer, in the tester's time, nobody waits.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What came out of a connection, at either end.
///
/// ```
/// # use cofferdam_sdk::prelude::*;
/// # use cofferdam_sdk::testing::Tester;
/// # #[filter] async fn pass(connection: Connection) -> Result<()> { Ok(()) }
/// let mut tester = Tester::of::<pass>("");
/// let wire = tester.connect(["he", "llo"], ["ok"]);
/// assert_eq!((wire.server(), wire.client()), (&b"hello"[..], &b"ok"[..]));
/// assert!(!wire.is_closed() && !wire.is_stuck());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wire {
    pub(super) out: [Vec<u8>; 2],
    pub(super) closed: bool,
    pub(super) stuck: bool,
}

impl Wire {
    /// What reached the server.
    ///
    /// The [type](Self) has an example of this and the others.
    #[must_use]
    pub fn server(&self) -> &[u8] {
        let [server, _] = &self.out;
        server
    }

    /// What reached the client.
    #[must_use]
    pub fn client(&self) -> &[u8] {
        let [_, client] = &self.out;
        client
    }

    /// Whether the filter has closed it.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether it came to a stand: the filter waits for what will never come.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.stuck
    }
}

impl Tester {
    /// A connection, over which the client and the server send these pieces, and then
    /// nothing more; each as soon as it may. Around a process the server's end waits for the
    /// client's.
    ///
    /// [`Wire`] has an example.
    pub fn connect<C: Into<Vec<u8>>, S: Into<Vec<u8>>>(
        &mut self,
        client: impl IntoIterator<Item = C>,
        server: impl IntoIterator<Item = S>,
    ) -> Wire {
        let client = client.into_iter().map(Into::into).collect();
        let server = server.into_iter().map(Into::into).collect();
        if let Some(mut live) = self.live.take() {
            let wire = live.connect(self, client, server);
            self.live = Some(live);
            return wire;
        }
        let values = Values(self.properties.clone());
        let exchange = Exchange::connection(Box::new(values)).share();
        let mut chain = TcpChain::begin(exchange, vec![self.handle()]);
        let [mut client, mut server] = [pieces(client), pieces(server)];
        let mut wire = Wire::default();
        let mut ended = 0;
        let until = self.host.now.get() + PATIENCE;
        while ended < 2 && chain.closing().is_none() {
            let mut moved = self.settle();
            chain.poll();
            let [to_server, to_client] = &mut wire.out;
            for (way, out) in [(Way::Request, to_server), (Way::Response, to_client)] {
                while let Some(Chunk { bytes, end }) = chain.pop(way) {
                    out.extend_from_slice(&bytes);
                    ended += u32::from(end);
                    moved = true;
                }
            }
            for (way, pieces) in [(Way::Request, &mut client), (Way::Response, &mut server)] {
                if chain.wants_more(way)
                    && let Some(piece) = pieces.pop_front()
                {
                    chain.push(way, piece);
                    moved = true;
                }
            }
            if !moved && !self.step(until) {
                wire.stuck = true;
                break;
            }
        }
        wire.closed = chain.closing().is_some();
        chain.end(Peer::Remote);
        drop(chain);
        self.settle();
        wire
    }
}

fn pieces(bytes: Vec<Vec<u8>>) -> VecDeque<Chunk> {
    let piece = |bytes: Vec<u8>| Chunk {
        bytes: Bytes::from(bytes),
        end: false,
    };
    let mut pieces: VecDeque<Chunk> = bytes.into_iter().map(piece).collect();
    pieces.push_back(Chunk {
        bytes: Bytes::new(),
        end: true,
    });
    pieces
}
