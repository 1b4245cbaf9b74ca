//! One running guest on native code.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{
    Caller, InstancePre, Memory, ResourceLimiter, Store, Trap as TrapCode, TypedFunc,
    UpdateDeadline, Val, WasmBacktrace,
};

use super::exports::{Export, entry_functions};
use super::service::{Service, Taken};
use super::{Native, caller};
use crate::callbacks::Callback;
use crate::engine::ticks::Pulse;
use crate::engine::{Instance, Spent, Tier};
use crate::error::{LoadError, Trap, TrapKind};
use crate::guest::{GuestCaller, HostTrap};
use crate::limits::Limits;
use crate::module::Shape;
use crate::state::{HostState, Turn};

/// What wasmtime keeps for us in its store.
pub(super) struct Data {
    pub(super) state: HostState,
    bounds: Bounds,
    pub(super) memory: Option<Memory>,
    allocator: Option<TypedFunc<u32, u32>>,
    deadline: Deadline,
    metered: bool,
    service: Service,
}

/// Where memory and tables end.
struct Bounds {
    memory: usize,
    table: usize,
}

/// The end of the running call.
struct Deadline {
    /// Of each call.
    time: Duration,
    /// Of the running one, or the next, where it is shorter.
    shortened: Option<Duration>,
    period: Duration,
    /// Ticks that have fallen into the call. Most calls see none, so that the rest of this is
    /// looked at when one comes.
    seen: u32,
    /// The thread's CPU time at the first of them.
    since: Option<Duration>,
}

struct NativeInstance {
    store: Store<Data>,
    exports: [Option<Export>; Callback::COUNT],
    allowance: Allowance,
}

/// What each call is given.
struct Allowance {
    pulse: Option<Arc<Pulse>>,
    /// Where it is counted.
    fuel: Option<u64>,
}

/// Makes an instance and runs the module's own start.
pub(super) fn start(
    linked: &InstancePre<Data>,
    shape: &Shape,
    native: &Native,
    state: HostState,
    limits: &Limits,
) -> Result<impl Instance + use<>, LoadError> {
    let allowance = Allowance {
        pulse: state.host.pulse(),
        fuel: native.config.fuel.then(|| limits.fuel.unwrap_or(u64::MAX)),
    };
    let data = Data {
        state,
        bounds: Bounds {
            memory: limits.memory,
            table: limits.table,
        },
        memory: None,
        allocator: None,
        deadline: Deadline {
            time: limits.callback,
            shortened: None,
            period: native.ticks.period(),
            seen: 0,
            since: None,
        },
        metered: native.config.fuel,
        service: Service::new(
            limits.fuel(native.service_per_ms),
            native.clocked.then_some(native.service_per_ms),
        ),
    };
    let mut store = Store::new(linked.module().engine(), data);
    store.limiter(|data| &mut data.bounds);
    store.epoch_deadline_callback(|mut context| {
        let data = context.data_mut();
        if data.deadline.is_over(|| data.state.host.cpu_time()) {
            Ok(UpdateDeadline::Interrupt)
        } else {
            Ok(UpdateDeadline::Continue(1))
        }
    });
    let instance = guarded(&mut store, &allowance, |store| linked.instantiate(store))
        .map_err(|error| start_error(&error))?;
    let memory = instance.get_memory(&mut store, "memory");
    store.data_mut().memory = memory;
    let allocator = shape
        .allocator
        .and_then(|name| instance.get_typed_func(&mut store, name).ok());
    store.data_mut().allocator = allocator;
    let mut exports = [const { None }; Callback::COUNT];
    for (callback, params) in &shape.callbacks {
        let func = instance.get_func(&mut store, callback.name());
        exports[*callback as usize] =
            func.and_then(|func| Export::new(func, &store, *params, callback.returns()));
    }
    for (name, main) in entry_functions(shape.entry) {
        let Some(func) = instance.get_func(&mut store, name) else {
            continue;
        };
        let arguments: &[Val] = if main {
            &[Val::I32(0), Val::I32(0)]
        } else {
            &[]
        };
        let mut results = [Val::I32(0)];
        let count = func.ty(&store).results().len().min(1);
        store.data_mut().state.exit_code = None;
        let started = guarded(&mut store, &allowance, |store| {
            func.call(store, arguments, &mut results[..count])
        });
        if let Err(error) = started {
            let trap = to_trap(&error, name);
            if trap.kind != TrapKind::Exit || store.data().state.exit_code != Some(0) {
                return Err(trap.into());
            }
        }
    }
    Ok(NativeInstance {
        store,
        exports,
        allowance,
    })
}

/// Runs guest code within its limits.
fn guarded<R>(
    store: &mut Store<Data>,
    allowance: &Allowance,
    run: impl FnOnce(&mut Store<Data>) -> Result<R, wasmtime::Error>,
) -> Result<R, wasmtime::Error> {
    store.set_epoch_deadline(1);
    let data = store.data_mut();
    data.deadline.seen = 0;
    data.service.begin();
    if let Some(fuel) = allowance.fuel {
        store.set_fuel(fuel)?;
    }
    if let Some(pulse) = &allowance.pulse {
        pulse.enter();
    }
    let result = run(store);
    if let Some(pulse) = &allowance.pulse {
        pulse.leave();
    }
    result
}

// === impl NativeInstance ===

impl NativeInstance {
    /// What the call that is just over took.
    fn spent(&self) -> Spent {
        let fuel = self.allowance.fuel.map_or(0, |given| {
            given.saturating_sub(self.store.get_fuel().unwrap_or(0))
        });
        let Data {
            deadline, state, ..
        } = self.store.data();
        if deadline.seen == 0 {
            return Spent {
                fuel,
                ..Spent::default()
            };
        }
        let time = deadline.took(|| state.host.cpu_time());
        Spent {
            fuel,
            ticks: deadline.seen,
            time: nanos(time),
        }
    }
}

impl Instance for NativeInstance {
    fn call(&mut self, turn: Turn, args: &[u32; 5], spent: &mut Spent) -> Result<u32, Box<Trap>> {
        let Some(export) = &self.exports[turn.callback as usize] else {
            *spent = Spent::default();
            return Ok(0);
        };
        self.store.data_mut().state.begin(turn);
        let result = guarded(&mut self.store, &self.allowance, |store| {
            export.call(store, args)
        });
        *spent = self.spent();
        self.store.data_mut().deadline.shortened = None;
        match result {
            Ok(value) => {
                self.store.data_mut().state.finish();
                Ok(value)
            }
            Err(error) => Err(to_trap(&error, turn.callback.name()).into()),
        }
    }

    fn units(&self, time: Duration) -> u64 {
        nanos(time)
    }

    fn shorten(&mut self, time: u64) {
        let time = Duration::from_nanos(time);
        self.store.data_mut().deadline.shortened = Some(time);
    }

    fn exports(&self, callback: Callback) -> bool {
        self.exports[callback as usize].is_some()
    }

    fn state(&mut self) -> &mut HostState {
        &mut self.store.data_mut().state
    }

    fn memory(&self) -> &[u8] {
        match &self.store.data().memory {
            Some(memory) => memory.data(&self.store),
            None => &[],
        }
    }
}

// === impl Deadline ===

impl Deadline {
    /// What the running call, or the next, may take.
    fn limit(&self) -> Duration {
        self.shortened.map_or(self.time, |time| time.min(self.time))
    }

    /// The running call, by the clock and by ticks.
    fn taken(&self, now: Duration) -> Taken {
        Taken {
            now,
            ticks: self.took(|| Some(now)),
            limit: self.limit(),
        }
    }

    /// How long the call that is over took: as many periods as ticks have fallen into it,
    /// which is right in the mean; but for what the thread did not run since the first.
    fn took(&self, cpu_time: impl FnOnce() -> Option<Duration>) -> Duration {
        let ticks = self.period.saturating_mul(self.seen);
        match (self.since, self.seen) {
            (_, 0) => Duration::ZERO,
            (Some(since), _) => match cpu_time() {
                Some(now) => ticks.min(now.saturating_sub(since) + self.period),
                None => ticks,
            },
            (None, _) => ticks,
        }
    }

    /// Another tick has fallen into the call: whether it has had its time. The first may
    /// come at once, so that one more than the limit's are needed; then the thread's own
    /// clock decides, where there is one, because a thread that did not run lost nothing.
    fn is_over(&mut self, cpu_time: impl Fn() -> Option<Duration>) -> bool {
        self.seen = self.seen.saturating_add(1);
        if self.seen == 1 {
            self.since = cpu_time();
        }
        let limit = self.limit();
        let passed = self.period.saturating_mul(self.seen - 1);
        if passed < limit {
            return false;
        }
        match (self.since, cpu_time()) {
            // A call may have run up to a tick before the first one came.
            (Some(since), Some(now)) => now.saturating_sub(since) + self.period >= limit,
            _ => true,
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

// === impl ResourceLimiter for Bounds ===

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        // What 32 bits cannot have has an end of its own; the last byte counts.
        let possible = u32::try_from(desired.saturating_sub(1)).is_ok();
        within(TrapKind::Memory, desired, self.memory, maximum, possible)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        let possible = u32::try_from(desired).is_ok();
        within(TrapKind::Table, desired, self.table, maximum, possible)
    }

    fn instances(&self) -> usize {
        1
    }
}

/// Growth past a limit ends the call; past what the module itself has set, and past what
/// is possible at all, it only does not happen. As on the interpreter.
fn within(
    kind: TrapKind,
    desired: usize,
    limit: usize,
    maximum: Option<usize>,
    possible: bool,
) -> Result<bool, wasmtime::Error> {
    if !possible || maximum.is_some_and(|maximum| desired > maximum) {
        return Ok(false);
    }
    if desired <= limit {
        return Ok(true);
    }
    Err(super::fail(HostTrap::outgrown(kind, desired)))
}

// === impl GuestCaller for wasmtime ===

impl GuestCaller for Caller<'_, Data> {
    fn split(&mut self) -> (&mut [u8], &mut HostState) {
        caller::split(self)
    }

    fn state(&mut self) -> &mut HostState {
        &mut self.data_mut().state
    }

    fn allocate(&mut self, size: u32) -> Result<u32, HostTrap> {
        let Some(allocator) = self.data().allocator.clone() else {
            return Ok(0);
        };
        let before = self.data_mut().state.enter_allocator();
        let pointer = allocator.call(&mut *self, size);
        self.data_mut().state.leave_allocator(before);
        pointer.map_err(|error| HostTrap::in_allocator(to_trap(&error, "its allocator")))
    }

    fn charge(&mut self, instructions: u64) -> Result<(), HostTrap> {
        // Time passes by itself here. But what a guest has the host keep for it (records,
        // things it asks for) is taken from its time as on the interpreter.
        let data = self.data_mut();
        let Data {
            service,
            deadline,
            state,
            ..
        } = &mut *data;
        let taken = || Some(deadline.taken(state.host.cpu_time()?));
        if !service.take(instructions, taken) {
            return Err(out_of(TrapKind::Deadline));
        }
        if data.metered {
            let left = self.get_fuel().unwrap_or(0).checked_sub(instructions);
            // Fails only on engines without fuel.
            let _ = self.set_fuel(left.unwrap_or(0));
            if left.is_none() {
                return Err(out_of(TrapKind::Fuel));
            }
        }
        Ok(())
    }
}

fn out_of(kind: TrapKind) -> HostTrap {
    HostTrap {
        kind,
        message: "in a hostcall".to_owned(),
    }
}

fn start_error(error: &wasmtime::Error) -> LoadError {
    if error.is::<TrapCode>() || error.is::<HostTrap>() {
        to_trap(error, "its start section").into()
    } else {
        super::unusable(error)
    }
}

fn to_trap(error: &wasmtime::Error, callback: &'static str) -> Trap {
    let (kind, message) = if let Some(trap) = error.downcast_ref::<HostTrap>() {
        (trap.kind, trap.message.clone())
    } else {
        let code = error.downcast_ref::<TrapCode>();
        let kind = match code {
            Some(TrapCode::UnreachableCodeReached) => TrapKind::Unreachable,
            Some(TrapCode::Interrupt) => TrapKind::Deadline,
            Some(TrapCode::OutOfFuel) => TrapKind::Fuel,
            Some(TrapCode::StackOverflow) => TrapKind::Stack,
            _ => TrapKind::Fault,
        };
        let message = code.map_or_else(|| error.root_cause().to_string(), ToString::to_string);
        (kind, message.trim_start_matches("wasm trap: ").to_owned())
    };
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map(|backtrace| backtrace.frames().iter().map(frame).collect())
        .unwrap_or_default();
    Trap {
        kind,
        callback,
        message,
        tier: Tier::Native,
        frames,
    }
}

/// A function of the guest, for people.
fn frame(frame: &wasmtime::FrameInfo) -> String {
    let symbol = frame.symbols().first();
    let name = symbol
        .and_then(wasmtime::FrameSymbol::name)
        .or_else(|| frame.func_name())
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
        .unwrap_or_else(|| format!("function {}", frame.func_index()));
    match symbol.and_then(|symbol| Some((symbol.file()?, symbol.line()?))) {
        Some((file, line)) => format!("{name} ({file}:{line})"),
        None => name,
    }
}
