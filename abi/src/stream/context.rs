//! What a filter's machine asks of its VM and of its exchange. Each borrow ends before the
//! next call into a guest.

use super::{Direction, StreamContext};
use crate::callbacks::Callback;
use crate::error::Trap;
use crate::exchange::Effect;
use crate::headers::Headers;
use crate::state::{Access, Stream};
use crate::types::{MapType, Way};
use crate::window::Window;

impl StreamContext {
    /// The guest has answered or closed the stream itself: its return value does not count
    /// (section 3.1, forced stop).
    pub(super) fn is_stopped(&self) -> bool {
        self.exchange
            .borrow()
            .effects
            .iter()
            .any(|(position, effect)| {
                *position == self.position
                    && matches!(effect, Effect::LocalReply(_) | Effect::Close(_))
            })
    }

    pub(super) fn call(&self, callback: Callback, args: [u32; 2]) -> Result<u32, Trap> {
        if self.dead {
            return Ok(0);
        }
        let id = self.id.0;
        self.vm
            .borrow_mut()
            .call(callback, id, [id, args[0], args[1], 0, 0])
    }

    pub(super) fn close_map(&self, map: MapType) {
        let request = matches!(map, MapType::RequestHeaders | MapType::RequestTrailers);
        let mut vm = self.vm.borrow_mut();
        let state = vm.state();
        let readable = request && state.settings.compat.response_phase_request_maps;
        if let Some(stream) = state.streams.get_mut(&self.id.0) {
            stream.access[map as usize] = if readable { Access::Read } else { Access::None };
        }
    }

    pub(super) fn set_access(&self, map: MapType, access: Access) {
        self.with_access(|maps| maps[map as usize] = access);
    }

    pub(super) fn with_access(&self, apply: impl FnOnce(&mut [Access; 4])) {
        self.with_stream(|stream| apply(&mut stream.access));
    }

    pub(super) fn with_stream<R>(&self, apply: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        self.vm
            .borrow_mut()
            .state()
            .streams
            .get_mut(&self.id.0)
            .map(apply)
    }

    pub(super) fn with_window<R>(
        &self,
        way: Way,
        apply: impl FnOnce(&mut Window) -> R,
    ) -> Option<R> {
        self.with_stream(|stream| apply(stream.window(way)))
    }

    pub(super) fn map_len(&self, map: MapType) -> u32 {
        let length = self.exchange.borrow().map(map).map_or(0, Headers::len);
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    pub(super) const fn way(&mut self, way: Way) -> &mut Direction {
        &mut self.ways[way as usize]
    }
}
