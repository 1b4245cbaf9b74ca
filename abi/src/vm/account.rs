//! On whose account a call goes: its plugin's ([`Tally`]), and its stream's, which has only so
//! much time ([`crate::Limits::stream_cpu`]).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{StreamId, Vm};
use crate::callbacks::Callback;
use crate::engine::Tier;
use crate::error::{Trap, TrapKind};
use crate::host::Host;
use crate::state::{NOWHERE, Turn};
use crate::usage::{EVERY, EVERY_CPU, Tally};

/// When a call began that is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    /// By the monotonic clock.
    at: Duration,
    /// By the thread's CPU clock, if that is read for this one, which it was twice: the clock
    /// itself takes as long as a short call.
    cpu: Option<[Duration; 2]>,
    /// It stands for itself, and no others.
    alone: bool,
}

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
    pub(super) fn count(&mut self, callback: Callback, tally: &Tally, begun: Option<Begun>) {
        let timed = begun.map_or(0, |begun| self.time_call(callback, tally, begun));
        let cost = match self.tier {
            Tier::Interpreter => self.last.fuel,
            Tier::Native if self.last.ticks > 1 => self.last.time,
            Tier::Native => timed,
        };
        tally.add(self.tier, callback, cost);
    }

    /// Looks at the clocks before a call: at both if it is one that stands for itself `alone`.
    #[cold]
    pub(super) fn clocks(&mut self, alone: bool) -> Begun {
        let measured = self.tier == Tier::Native && (alone || self.sampler.measures());
        let host = &self.instance.state().host;
        let at = host.monotonic();
        let cpu = || cpu_time(&**host);
        Begun {
            at,
            cpu: measured.then(|| [cpu(), cpu()]),
            alone,
        }
    }

    /// Writes down how long the call took that has just been made, for all that it stands for.
    /// Returns the CPU time of those it stands for, in nanoseconds; 0 if that was not measured.
    #[cold]
    fn time_call(&mut self, callback: Callback, tally: &Tally, begun: Begun) -> u64 {
        let host = &self.instance.state().host;
        let [timed, measured] = match begun.alone {
            true => [1, 1],
            false => [EVERY, EVERY_CPU],
        };
        let cost = begun.cpu.map_or(0, |[before, since]| {
            let clock = since.saturating_sub(before);
            nanos(
                cpu_time(&**host)
                    .saturating_sub(since)
                    .saturating_sub(clock),
            )
            .saturating_mul(measured.into())
        });
        let took = host.monotonic().saturating_sub(begun.at);
        tally.time(callback, nanos(took), timed);
        cost
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

/// By the thread's CPU clock; a host without one has but the other.
pub(super) fn cpu_time(host: &dyn Host) -> Duration {
    host.cpu_time().unwrap_or_else(|| host.monotonic())
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
