//! On whose account a call goes: its plugin's ([`Tally`]), and its stream's, which has only so
//! much time ([`crate::Limits::stream_cpu`]).

use std::cell::Cell;
use std::rc::Rc;

use super::{StreamId, Vm};
use crate::callbacks::Callback;
use crate::engine::Tier;
use crate::error::{Trap, TrapKind};
use crate::state::{NOWHERE, Turn};
use crate::usage::{EVERY, Tally};

/// What all callbacks of one stream context together have used.
#[derive(Debug)]
pub(crate) struct Account {
    tally: Rc<Tally>,
    /// In the engine's units of time.
    spent: Cell<u64>,
}

// === impl Account ===

impl Account {
    pub(super) const fn new(tally: Rc<Tally>) -> Self {
        Self {
            tally,
            spent: Cell::new(0),
        }
    }

    /// Its plugin has made an answer itself.
    pub(crate) fn reply(&self) {
        self.tally.reply();
    }
}

// === impl Vm ===

impl Vm {
    /// Calls `callback` on behalf of context `id`, a root or whatever belongs to one. Exports
    /// that are missing, or that it has no capability for, answer 0.
    pub(crate) fn call(
        &mut self,
        callback: Callback,
        id: u32,
        args: &[u32; 5],
    ) -> Result<u32, Box<Trap>> {
        if !self.callbacks.contains(callback) {
            return Ok(0);
        }
        let state = self.instance.state();
        let tally = state.tally_of(id);
        let turn = Turn {
            callback,
            context: id,
            place: state
                .streams
                .find(id)
                .map_or(NOWHERE, |stream| stream.place),
        };
        self.enter(turn, args, tally.as_deref(), TrapKind::Deadline)
    }

    /// Likewise on behalf of a stream context. Once its time is used up, but for less than a
    /// millisecond, it is not called any more except for its end, and the VM is none the worse
    /// for it; a call that is under way then ends as one that is past any other limit.
    pub(crate) fn call_stream(
        &mut self,
        callback: Callback,
        stream: StreamId,
        args: &[u32; 5],
        account: &Account,
    ) -> Result<u32, Box<Trap>> {
        if !self.callbacks.contains(callback) {
            return Ok(0);
        }
        let turn = Turn {
            callback,
            context: stream.id,
            place: stream.place,
        };
        let mut over = TrapKind::Deadline;
        let left = self.time.stream.saturating_sub(account.spent.get());
        if left < self.time.callback && !is_end(callback) {
            if left < self.time.least {
                return Err(self.stream_is_over(turn).into());
            }
            self.instance.shorten(left);
            over = TrapKind::StreamCpu;
        }
        let result = self.enter(turn, args, Some(&account.tally), over);
        let spent = account.spent.get().saturating_add(self.last.time);
        account.spent.set(spent);
        result
    }

    /// Counts the call that has just been made, which began then if it was timed.
    #[inline]
    pub(super) fn count(
        &mut self,
        callback: Callback,
        tally: &Tally,
        begun: Option<std::time::Duration>,
    ) {
        let timed = begun.map_or(0, |begun| self.time_call(callback, tally, begun));
        let cost = match self.tier {
            Tier::Interpreter => self.last.fuel,
            Tier::Native if self.last.ticks > 1 => self.last.time,
            Tier::Native => timed,
        };
        tally.add(self.tier, callback, cost);
    }

    /// Writes down how long the call took that has just been made, for all that it stands for.
    #[cold]
    fn time_call(&mut self, callback: Callback, tally: &Tally, begun: std::time::Duration) -> u64 {
        let now = self.instance.state().host.monotonic();
        let nanos = now.saturating_sub(begun).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        tally.time(callback, nanos, EVERY);
        nanos.saturating_mul(EVERY.into())
    }

    #[cold]
    fn stream_is_over(&mut self, turn: Turn) -> Trap {
        let trap = Trap {
            kind: TrapKind::StreamCpu,
            callback: turn.callback.name(),
            message: "before it began".to_owned(),
            tier: self.tier,
            frames: Vec::new(),
        };
        let state = self.instance.state();
        state.begin(turn);
        state.trapped(&trap);
        state.finish();
        trap
    }
}

/// What a guest must be let do to forget a stream.
const fn is_end(callback: Callback) -> bool {
    matches!(callback, Callback::Log | Callback::Done | Callback::Delete)
}
