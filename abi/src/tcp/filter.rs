//! One filter's part in one connection: what it is shown, what it holds, what goes on.

use super::Chunk;
use crate::callbacks::Callback;
use crate::error::Trap;
use crate::stream::Context;
use crate::types::{Peer, Way};
use crate::window::Window;

/// A filter in a chain.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) context: Context,
    /// `proxy_on_new_connection` said stop: it is shown no data until it goes on.
    holds_connection: bool,
    ways: [Direction; 2],
}

/// One way of one filter. Bytes that it holds wait in the context's window.
#[derive(Debug, Default)]
struct Direction {
    /// A data callback said stop.
    paused: bool,
    /// The end has come in.
    ended: bool,
}

// === impl Filter ===

impl Filter {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            holds_connection: false,
            ways: [Direction::default(), Direction::default()],
        }
    }

    /// `proxy_on_new_connection`.
    pub(super) fn open(&mut self) -> Result<(), Trap> {
        let value = self.context.call(Callback::NewConnection, [0; 2])?;
        self.holds_connection = value != 0;
        self.context.set_held(self.holds_connection, Way::Request);
        Ok(())
    }

    /// Takes what comes from the filter before and shows it, with all that is held already;
    /// answers what may go on.
    pub(super) fn feed(&mut self, way: Way, chunk: Chunk) -> Result<Option<Chunk>, Trap> {
        self.context
            .with_window(way, |window| window.append(chunk.bytes));
        self.way(way).ended = chunk.end;
        if self.holds_connection {
            return Ok(None);
        }
        let shown = self.show(way);
        self.context.set_held(self.holds(), way);
        shown
    }

    /// `proxy_continue_stream`; there is no such thing for what the upstream sends.
    pub(super) fn resume(&mut self) -> Result<Option<Chunk>, Trap> {
        let resumed = self.let_go();
        self.context.set_held(self.holds(), Way::Request);
        resumed
    }

    fn let_go(&mut self) -> Result<Option<Chunk>, Trap> {
        let way = Way::Request;
        if std::mem::take(&mut self.holds_connection) {
            // What came meanwhile it has not seen yet.
            return if self.way(way).ended || self.held(way) > 0 {
                self.show(way)
            } else {
                Ok(None)
            };
        }
        Ok(if self.way(way).paused {
            self.release(way)
        } else {
            None
        })
    }

    pub(super) const fn holds_connection(&self) -> bool {
        self.holds_connection && !self.context.dead
    }

    /// Whether the guest holds anything back.
    pub(super) fn holds(&self) -> bool {
        !self.context.dead && (self.holds_connection || self.ways.iter().any(|way| way.paused))
    }

    /// Whether it may be given more.
    pub(super) fn wants_more(&self, way: Way) -> bool {
        self.held(way) <= self.context.plugin.body_limit
    }

    /// The connection is closed: the guest is told, and its context ends. For TCP this
    /// order holds in every profile.
    pub(super) fn end(&mut self, by: Peer) -> Result<(), Trap> {
        let args = [by as u32, 0];
        self.context
            .call(Callback::DownstreamConnectionClose, args)?;
        let done = self.context.done();
        if done.is_err() && self.context.vm.borrow().is_failed() {
            return Ok(done?);
        }
        self.context.log()?;
        self.context.delete()?;
        Ok(done?)
    }

    fn show(&mut self, way: Way) -> Result<Option<Chunk>, Trap> {
        let end = self.way(way).ended;
        let size = self.context.with_window(way, |window| {
            window.open = true;
            window.visible_len()
        });
        let size = u32::try_from(size.unwrap_or(0)).unwrap_or(u32::MAX);
        let shown = self
            .context
            .call(data_callback(way), [size, u32::from(end)]);
        self.context.with_window(way, |window| window.open = false);
        // Read off the end of its data, so whose doing it was is not known (section 6.10).
        if way == Way::Response && end && shown.is_ok() {
            let args = [Peer::Unknown as u32, 0];
            self.context.call(Callback::UpstreamConnectionClose, args)?;
        }
        // What it closes it does not let through as well.
        if shown? != 0 || self.context.is_stopped() {
            self.way(way).paused = true;
            return Ok(None);
        }
        Ok(self.release(way))
    }

    /// Everything held that way goes on, if there is anything.
    fn release(&mut self, way: Way) -> Option<Chunk> {
        let bytes = self.context.with_window(way, Window::take);
        let bytes = bytes.unwrap_or_default();
        let direction = self.way(way);
        direction.paused = false;
        let end = direction.ended;
        (end || !bytes.is_empty()).then_some(Chunk { bytes, end })
    }

    fn held(&self, way: Way) -> usize {
        let held = self.context.with_window(way, |window| window.len());
        held.unwrap_or(0)
    }

    const fn way(&mut self, way: Way) -> &mut Direction {
        &mut self.ways[way as usize]
    }
}

const fn data_callback(way: Way) -> Callback {
    match way {
        Way::Request => Callback::DownstreamData,
        Way::Response => Callback::UpstreamData,
    }
}
