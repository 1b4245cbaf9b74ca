//! What a filter's machine asks of its VM and of its exchange, whatever travels through
//! it. Each borrow ends before the next call into a guest.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use crate::callbacks::Callback;
use crate::error::Trap;
use crate::exchange::{Effect, SharedExchange};
use crate::headers::Headers;
use crate::plugin::Plugin;
use crate::state::{Access, Stream};
use crate::types::{MapType, Way};
use crate::vm::{Account, RootId, StreamId, Vm};
use crate::window::Window;

/// A stream context of a guest, as the host holds it.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) vm: Rc<RefCell<Vm>>,
    pub(crate) plugin: Rc<Plugin>,
    pub(super) id: StreamId,
    account: Account,
    pub(crate) exchange: SharedExchange,
    position: usize,
    /// Its VM is gone for it: no callback of any kind any more.
    pub(crate) dead: bool,
    /// The VM counts it among those that wait for their guest.
    held: bool,
}

/// See [`Context::asked`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// An answer of its own, or the end.
    pub(crate) stop: bool,
    /// Bytes in the response.
    pub(crate) inject: bool,
}

// === impl Context ===

impl Context {
    /// Opens one for the filter at `position` of its chain.
    pub(crate) fn create(
        vm: Rc<RefCell<Vm>>,
        root: RootId,
        plugin: Rc<Plugin>,
        exchange: SharedExchange,
        position: usize,
    ) -> Result<Self, Box<Trap>> {
        let (id, account) = vm
            .borrow_mut()
            .create_stream(root, exchange.clone(), position)?;
        Ok(Self {
            vm,
            plugin,
            id,
            account,
            exchange,
            position,
            dead: false,
            held: false,
        })
    }

    /// Whose its calls are.
    pub(crate) const fn account(&self) -> &Account {
        &self.account
    }

    /// `proxy_on_log`.
    pub(crate) fn log(&self) -> Result<(), Box<Trap>> {
        self.call(Callback::Log, [0; 2]).map(drop)
    }

    /// `proxy_on_done`; for a stream its answer does not matter.
    pub(crate) fn done(&self) -> Result<(), Box<Trap>> {
        self.call(Callback::Done, [0; 2]).map(drop)
    }

    /// `proxy_on_delete`; nothing may be called after it.
    pub(crate) fn delete(&mut self) -> Result<(), Box<Trap>> {
        let result = self.call(Callback::Delete, [0; 2]).map(drop);
        self.forget();
        result
    }

    /// It broke and is to be heard of no more. A guest that can be called is told that it has
    /// ended: it was stopped before a call, not in the midst of one.
    pub(crate) fn give_up(&mut self) {
        if !self.vm.borrow().is_failed() {
            // A crash on the way marks the VM, and there is nothing else to be done.
            let _ = self.done();
            let _ = self.delete();
        }
        self.forget();
    }

    /// The host's side of the context goes, without a word to the guest.
    pub(crate) fn forget(&mut self) {
        self.dead = true;
        self.count_held(false);
        self.vm.borrow_mut().forget_stream(self.id);
    }

    /// Whether the guest holds any of it back, after a step in which something has come, or
    /// gone on, that way: what it holds counts, and may be too much.
    pub(crate) fn set_held(&mut self, held: bool, way: Way) {
        // Most streams only pass.
        if !held && !self.held {
            return;
        }
        self.count_held(held);
        let has_room = self.vm.borrow_mut().state().settle(self.id);
        if !has_room {
            let callback = self.body_too_large(way);
            let effect = Effect::TooLarge(way, callback);
            let mut exchange = self.exchange.borrow_mut();
            exchange.push_effect(self.position, effect, false);
        }
    }

    /// A VM that has been replaced goes on ticking for streams that are held.
    fn count_held(&mut self, held: bool) {
        if std::mem::replace(&mut self.held, held) != held {
            self.vm.borrow_mut().count_held(held);
        }
    }

    /// Nothing of that body is needed any more.
    pub(crate) fn drop_body(&self, way: Way) {
        self.with_window(way, std::mem::take);
        self.vm.borrow_mut().state().settle(self.id);
    }

    /// The guest has answered or closed the stream itself: its return value does not count
    /// (section 3.1, forced stop).
    pub(crate) fn is_stopped(&self) -> bool {
        self.asked().stop
    }

    /// What the guest has asked of this stream in the call that is just over.
    pub(crate) fn asked(&self) -> Asked {
        let exchange = self.exchange.borrow();
        let mut asked = Asked::default();
        // Most calls ask for nothing.
        if exchange.effects.is_empty() {
            return asked;
        }
        for (position, effect) in &exchange.effects {
            if *position == self.position {
                asked.stop |= effect.is_stop();
                asked.inject |= matches!(effect, Effect::Inject);
            }
        }
        asked
    }

    pub(crate) fn call(&self, callback: Callback, args: [u32; 2]) -> Result<u32, Box<Trap>> {
        if self.dead {
            return Ok(0);
        }
        let args = [self.id.id, args[0], args[1], 0, 0];
        self.vm
            .borrow_mut()
            .call_stream(callback, self.id, &args, &self.account)
    }

    /// Shows a map that is there to be changed: what the guest answers.
    pub(crate) fn show_map(
        &self,
        callback: Callback,
        map: MapType,
        end: bool,
    ) -> Result<u32, Box<Trap>> {
        let count = self.map_len(map);
        let mut vm = self.vm.borrow_mut();
        if let Some(stream) = vm.state().streams.at(self.id) {
            stream.access[map as usize] = Access::Write;
        }
        if self.dead {
            return Ok(0);
        }
        let args = [self.id.id, count, u32::from(end), 0, 0];
        vm.call_stream(callback, self.id, &args, &self.account)
    }

    /// Shows what the window of that way has: what the guest answers, 0 if it does not look.
    pub(crate) fn show_body(
        &self,
        callback: Callback,
        way: Way,
        end: bool,
    ) -> Result<u32, Box<Trap>> {
        let slot = way as usize;
        let mut vm = self.vm.borrow_mut();
        if self.dead || !vm.exports(callback) {
            return Ok(0);
        }
        let Some(stream) = vm.state().streams.at(self.id) else {
            return Ok(0);
        };
        stream.windows[slot].open = true;
        stream.may_create_trailers[slot] = end;
        let size = stream.windows[slot].visible_len();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let args = [self.id.id, size, u32::from(end), 0, 0];
        let value = vm.call_stream(callback, self.id, &args, &self.account);
        if let Some(stream) = vm.state().streams.at(self.id) {
            stream.windows[slot].open = false;
            stream.may_create_trailers[slot] = false;
        }
        value
    }

    /// `proxy_on_foreign_function`.
    pub(crate) fn foreign_function(&self, function: u32, args: Bytes) -> Result<(), Trap> {
        if self.dead {
            return Ok(());
        }
        let id = self.id.id;
        let account = Some(&self.account);
        self.vm
            .borrow_mut()
            .call_foreign(id, function, args, account)
    }

    /// Largest body that may be held that way, in bytes.
    pub(crate) fn body_limit(&self, way: Way) -> usize {
        self.with_stream(|stream| stream.body_limits[way as usize])
            .flatten()
            .unwrap_or(self.plugin.body_limit)
    }

    /// More is held that way than may be; the callback that it was shown in.
    pub(crate) fn body_too_large(&self, way: Way) -> &'static str {
        let tcp = self.with_stream(|stream| stream.tcp).unwrap_or(false);
        let callback = match (way, tcp) {
            (Way::Request, false) => Callback::RequestBody,
            (Way::Request, true) => Callback::DownstreamData,
            (Way::Response, false) => Callback::ResponseBody,
            (Way::Response, true) => Callback::UpstreamData,
        };
        let mut vm = self.vm.borrow_mut();
        vm.state().body_too_large(self.id.id, callback);
        callback.name()
    }

    pub(crate) fn close_map(&self, map: MapType) {
        let request = matches!(map, MapType::RequestHeaders | MapType::RequestTrailers);
        let mut vm = self.vm.borrow_mut();
        let state = vm.state();
        let readable = request && state.settings.compat.response_phase_request_maps;
        if let Some(stream) = state.streams.at(self.id) {
            stream.access[map as usize] = if readable { Access::Read } else { Access::None };
        }
    }

    pub(crate) fn with_access(&self, apply: impl FnOnce(&mut [Access; 4])) {
        self.with_stream(|stream| apply(&mut stream.access));
    }

    pub(crate) fn with_stream<R>(&self, apply: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        self.vm.borrow_mut().state().streams.at(self.id).map(apply)
    }

    pub(crate) fn with_window<R>(
        &self,
        way: Way,
        apply: impl FnOnce(&mut Window) -> R,
    ) -> Option<R> {
        self.with_stream(|stream| apply(stream.window(way)))
    }

    pub(crate) fn map_len(&self, map: MapType) -> u32 {
        let length = self.exchange.borrow().map(map).map_or(0, Headers::len);
        u32::try_from(length).unwrap_or(u32::MAX)
    }
}
