//! How much of bodies the host keeps for a guest: for each stream and way what its plugin may
//! (`body_limit`), and for all streams of a VM together what the guest itself could hold.
//!
//! What passes through is not counted. What a callback adds is bounded while it runs, and
//! what is left when it is over is counted until it leaves.

use super::HostState;
use crate::callbacks::Callback;
use crate::exchange::Effect;
use crate::limits::Limit;
use crate::types::Way;
use crate::vm::StreamId;

impl HostState {
    /// Most that may be held that way for the stream hostcalls act on.
    pub(crate) fn body_limit(&mut self, way: Way) -> usize {
        let of_stream = self
            .stream()
            .and_then(|stream| stream.body_limits[way as usize]);
        let id = self.context();
        let of_plugin = || self.plugin_of(id).map(|plugin| plugin.body_limit);
        of_stream.or_else(of_plugin).unwrap_or(usize::MAX)
    }

    /// Whether the guest may add so much to the body it acts on that it has added `grown`
    /// in all; if it may, that counts.
    pub(crate) fn has_room(&mut self, way: Way, grown: usize, added: usize) -> bool {
        if added == 0 {
            return true;
        }
        let most = self.settings.limits.memory;
        if grown > self.body_limit(way).min(most) || self.held.saturating_add(added) > most {
            return false;
        }
        // What is shown is counted once its callback is over, if it is still held then.
        let held = self
            .stream()
            .filter(|stream| !stream.windows[way as usize].open);
        if let Some(stream) = held {
            stream.held += added;
            self.held += added;
        }
        true
    }

    /// Counts what a stream holds now; whether there is room for it.
    pub(crate) fn settle(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.at(id) else {
            return true;
        };
        let [request, response] = &stream.windows;
        let now = request.len() + response.len();
        let before = std::mem::replace(&mut stream.held, now);
        self.held = self.held - before + now;
        now <= before || self.held <= self.settings.limits.memory
    }

    /// Forgets a stream and what it holds.
    pub(crate) fn remove_stream(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.at(id) {
            self.held -= stream.held;
        }
        self.streams.remove(id);
    }

    /// The guest wants more kept than may be, in the stream it acts on: that ends, like one
    /// it has answered. The call itself is not refused, because many guests abort then, and
    /// take others with them.
    #[cold]
    pub(crate) fn too_large(&mut self, way: Way) {
        let told = |stream: &mut super::Stream| std::mem::replace(&mut stream.too_large, true);
        if self.stream().map(told) == Some(false) {
            self.limited(Limit::Body);
            let callback = self.callback.map_or("", Callback::name);
            self.push_effect(Effect::TooLarge(way, callback));
        }
    }
}
