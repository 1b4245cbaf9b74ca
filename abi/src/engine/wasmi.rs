//! The interpreter (wasmi): starts in a millisecond, needs no executable memory.
//!
//! Time is bounded by fuel and by the thread's clock ([`meter`]): an engine is calibrated
//! once ([`Wasmi::calibrate`]), a call gets as much fuel as its time buys, and when that is
//! gone the clock is asked. There is no backtrace: wasmi does not keep one.

mod calibrate;
#[path = "caller.rs"]
#[allow(clippy::duplicate_mod, reason = "one text for both engines")]
mod caller;
#[path = "exports.rs"]
#[allow(clippy::duplicate_mod, reason = "one text for both engines")]
mod exports;
#[path = "link.rs"]
#[allow(clippy::duplicate_mod, reason = "one text for both engines")]
mod link;
mod mend;
mod meter;

use std::time::Duration;

// What the modules above are written for.
use ::wasmi as backend;
use backend::errors::{ErrorKind, InstantiationError, TableError};
use backend::{
    Caller, CompilationMode, Config, CustomFuelCosts, Engine, FuncType, Linker, Memory,
    Module as Compiled, ResourceLimiter, Store, TrapCode, TypedFunc, TypedResumableCall, Val,
    ValType, WasmParams, WasmResults,
};
use exports::{Export, entry_functions};
use meter::Meter;
use wasmi_core::LimiterError;

use crate::callbacks::Callback;
use crate::engine::{Code, Instance, Spent, Tier, trim};
use crate::error::{LoadError, Trap, TrapKind};
use crate::guest::{GuestCaller, HostTrap};
use crate::limits::{FUEL_PER_MS, Limits};
use crate::module::{Entry, Import, Module, Shape};
use crate::state::{HostState, Turn};

/// An interpreter with its settings. Modules compiled by one cannot run on another.
#[derive(Debug, Clone)]
pub struct Wasmi {
    engine: Engine,
    fuel_per_ms: u64,
    /// Whether the host's clock is asked how long a call has taken.
    clocked: bool,
    /// Whether what goes over the border is counted.
    #[cfg(feature = "harness")]
    counting: bool,
}

/// A module translated for [`Wasmi`].
#[derive(Debug)]
struct WasmiCode {
    compiled: Compiled,
    imports: Vec<Import>,
    shape: Shape,
    fuel_per_ms: u64,
    clocked: bool,
    #[cfg(feature = "harness")]
    counting: bool,
}

/// What wasmi keeps for us in its store.
struct Data {
    state: HostState,
    bounds: Bounds,
    meter: Meter,
    clocked: bool,
    memory: Option<Memory>,
    allocator: Option<TypedFunc<u32, u32>>,
}

/// Where memory and tables end.
struct Bounds {
    memory: usize,
    table: usize,
    /// What was to grow past its end, or was past it from the start.
    passed: Option<HostTrap>,
}

struct WasmiInstance {
    /// What its start took.
    start_fuel: u64,
    store: Store<Data>,
    exports: [Option<Export>; Callback::COUNT],
}

// === impl Wasmi ===

impl Wasmi {
    /// An interpreter whose guests recurse as deep as `stack` bytes of native stack would
    /// let them ([`Limits::stack`]).
    #[must_use]
    pub fn new(stack: usize) -> Self {
        let mut config = Config::default();
        config
            .consume_fuel(true)
            .ignore_custom_sections(true)
            // Validated before: what is never called is never looked at again.
            .compilation_mode(CompilationMode::Lazy)
            .wasm_multi_memory(false)
            .wasm_custom_page_sizes(false)
            .wasm_wide_arithmetic(false)
            .set_max_recursion_depth(Limits::frames(stack))
            .set_max_stack_height(Limits::values(stack))
            // A slice must not end where wasmi cannot go on: in the midst of a function's
            // translation. The clock sees the time that takes.
            .fuel_cost(CustomFuelCosts {
                bytes_copied_per_fuel: 64,
                fuel_per_bytes_translated: 0,
                fuel_per_bytes_validated: 0,
            })
            // Every nested entry (the guest's allocator) takes another stack.
            .set_max_cached_stacks(8);
        Self {
            engine: Engine::new(&config),
            fuel_per_ms: FUEL_PER_MS,
            clocked: false,
            #[cfg(feature = "harness")]
            counting: false,
        }
    }

    /// Measures how much fuel this machine burns in a millisecond, by a loop such as
    /// guests run. Takes a few milliseconds. `clock` should be the thread's CPU time, so
    /// that a busy machine does not look like a slow one. From then on long calls are judged
    /// by [`crate::Host::cpu_time`].
    #[must_use]
    pub fn calibrate(mut self, clock: impl Fn() -> Duration) -> Self {
        if let Some(rate) = calibrate::measure(&self.engine, clock) {
            self.fuel_per_ms = rate;
        }
        self.clocked = true;
        self
    }

    /// Sets what a millisecond is worth, for tests that must not depend on a clock.
    #[must_use]
    pub const fn with_fuel_per_ms(mut self, fuel: u64) -> Self {
        self.fuel_per_ms = fuel;
        self.clocked = false;
        self
    }

    /// Counts what goes over the border between host and guest
    /// ([`Call::border`](crate::harness::Call::border)).
    #[cfg(feature = "harness")]
    #[must_use]
    pub const fn counting(mut self) -> Self {
        self.counting = true;
        self
    }

    /// Fuel a millisecond is worth now.
    #[must_use]
    pub const fn fuel_per_ms(&self) -> u64 {
        self.fuel_per_ms
    }

    /// Translates a module for this engine. Functions are validated now, translated when
    /// first called.
    ///
    /// # Errors
    /// When the module is invalid.
    pub fn compile(
        &self,
        module: &Module,
        compat: &crate::Compat,
    ) -> Result<Box<dyn Code>, LoadError> {
        module.validate()?;
        let compiled = Compiled::new(&self.engine, mend::mended(&module.bytes))
            .map_err(|error| LoadError::Module(error.to_string()))?;
        Ok(Box::new(WasmiCode {
            compiled,
            imports: module.imports.clone(),
            shape: module.shape(compat),
            fuel_per_ms: self.fuel_per_ms,
            clocked: self.clocked,
            #[cfg(feature = "harness")]
            counting: self.counting,
        }))
    }
}

// === impl WasmiCode ===

impl Code for WasmiCode {
    fn instantiate(
        &self,
        state: HostState,
        limits: &Limits,
    ) -> Result<Box<dyn Instance>, LoadError> {
        let engine = self.compiled.engine();
        let data = Data {
            state,
            bounds: Bounds {
                memory: limits.memory,
                table: limits.table,
                passed: None,
            },
            meter: Meter::new(limits, self.fuel_per_ms),
            clocked: self.clocked,
            memory: None,
            allocator: None,
        };
        let mut store = Store::new(engine, data);
        store.limiter(|data| &mut data.bounds);
        let mut linker = Linker::<Data>::new(engine);
        for import in &self.imports {
            #[cfg(feature = "harness")]
            if self.counting {
                link::define::<true>(&mut linker, import)?;
                continue;
            }
            link::define::<false>(&mut linker, import)?;
        }
        let fuel = store.data_mut().meter.begin_whole();
        refuel(&mut store, fuel);
        let instance = linker
            .instantiate_and_start(&mut store, &self.compiled)
            .map_err(|error| start_error(&error, store.data()))?;
        let start_fuel = used(&store);
        let memory = instance.get_memory(&store, "memory");
        store.data_mut().memory = memory;
        let allocator = self
            .shape
            .allocator
            .and_then(|name| instance.get_typed_func(&store, name).ok());
        store.data_mut().allocator = allocator;

        let mut exports = [const { None }; Callback::COUNT];
        for (callback, params) in &self.shape.callbacks {
            let func = instance.get_func(&store, callback.name());
            exports[*callback as usize] =
                func.and_then(|func| Export::new(func, &store, *params, callback.returns()));
        }
        let mut running = WasmiInstance {
            start_fuel,
            store,
            exports,
        };
        running.start(&instance, self.shape.entry)?;
        Ok(Box::new(running))
    }

    fn engine(&self) -> &'static str {
        "wasmi"
    }

    fn tier(&self) -> Tier {
        Tier::Interpreter
    }
}

// === impl WasmiInstance ===

impl WasmiInstance {
    /// Section 1.4; return values do not matter, `proc_exit(0)` is an orderly end.
    fn start(&mut self, instance: &backend::Instance, entry: Entry) -> Result<(), LoadError> {
        for (name, main) in entry_functions(entry) {
            let Some(func) = instance.get_func(&self.store, name) else {
                continue;
            };
            let arguments: &[Val] = if main {
                &[Val::I32(0), Val::I32(0)]
            } else {
                &[]
            };
            let mut results = [Val::I32(0)];
            let results = &mut results[..func.ty(&self.store).results().len().min(1)];
            let fuel = self.store.data_mut().meter.begin_whole();
            refuel(&mut self.store, fuel);
            self.store.data_mut().state.exit_code = None;
            let called = func.call(&mut self.store, arguments, results);
            self.start_fuel = self.start_fuel.saturating_add(used(&self.store));
            if let Err(error) = called {
                let trap = to_trap(&error, name, self.store.data());
                if trap.kind != TrapKind::Exit || self.store.data().state.exit_code != Some(0) {
                    return Err(trap.into());
                }
            }
        }
        Ok(())
    }
}

impl Instance for WasmiInstance {
    fn call(&mut self, turn: Turn, args: &[u32; 5], spent: &mut Spent) -> Result<u32, Box<Trap>> {
        let Some(export) = &self.exports[turn.callback as usize] else {
            *spent = Spent::default();
            return Ok(0);
        };
        let data = self.store.data_mut();
        data.state.begin(turn);
        let fuel = data.meter.begin();
        refuel(&mut self.store, fuel);
        let result = export.call(&mut self.store, args);
        let fuel = used(&self.store);
        let data = self.store.data_mut();
        *spent = Spent {
            fuel,
            ticks: 0,
            time: fuel,
        };
        match result {
            Ok(value) => {
                data.state.finish();
                Ok(value)
            }
            Err(error) => Err(to_trap(&error, turn.callback.name(), data).into()),
        }
    }

    fn units(&self, time: Duration) -> u64 {
        self.store.data().meter.fuel_of(time)
    }

    fn shorten(&mut self, time: u64) {
        self.store.data_mut().meter.shorten(time);
    }

    fn start_fuel(&self) -> u64 {
        self.start_fuel
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

    fn trim(&mut self) {
        if let Some(memory) = self.store.data().memory {
            trim::give_back_zeros(memory.data_mut(&mut self.store));
        }
    }
}

// === impl ResourceLimiter for Bounds ===

impl Bounds {
    /// Growth past a limit ends the call; past what the module itself has set, it only does
    /// not happen.
    fn within(
        &mut self,
        kind: TrapKind,
        desired: usize,
        limit: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if desired <= limit {
            return Ok(true);
        }
        self.refuse(HostTrap::outgrown(kind, desired))
            .map(|()| false)
    }

    fn refuse(&mut self, why: HostTrap) -> Result<(), LimiterError> {
        self.passed = Some(why);
        Err(LimiterError::ResourceLimiterDeniedAllocation)
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        self.within(TrapKind::Memory, desired, self.memory, maximum)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        self.within(TrapKind::Table, desired, self.table, maximum)
    }

    fn table_grow_failed(&mut self, error: &TableError) -> Result<(), LimiterError> {
        match error {
            // wasmi does not note where it was, so that it must not go on from there.
            TableError::OutOfFuel { .. } => self.refuse(in_its_code(TrapKind::Deadline)),
            _ => Ok(()),
        }
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        1
    }
}

// === impl GuestCaller for wasmi ===

impl GuestCaller for Caller<'_, Data> {
    fn split(&mut self) -> (&mut [u8], &mut HostState) {
        caller::split(self)
    }

    fn state(&mut self) -> &mut HostState {
        &mut self.data_mut().state
    }

    fn allocate(&mut self, size: u32) -> Result<u32, HostTrap> {
        let Some(allocator) = self.data().allocator else {
            return Ok(0);
        };
        let before = self.data_mut().state.enter_allocator();
        let slice = self.get_fuel().unwrap_or(0);
        let whole = self.data_mut().meter.whole(slice);
        // Fails only on engines without fuel; ours have it.
        let _ = self.set_fuel(whole);
        let pointer = allocator.call(&mut *self, size);
        let left = self.get_fuel().unwrap_or(0);
        let slice = self.data_mut().meter.back(whole, left, slice);
        let _ = self.set_fuel(slice);
        self.data_mut().state.leave_allocator(before);
        pointer
            .map_err(|error| HostTrap::in_allocator(to_trap(&error, "its allocator", self.data())))
    }

    fn charge(&mut self, instructions: u64) -> Result<(), HostTrap> {
        let left = self.get_fuel().unwrap_or(0);
        let Data {
            state,
            meter,
            clocked,
            ..
        } = self.data_mut();
        let clock = || clocked.then(|| state.host.cpu_time()).flatten();
        let charged = meter.charge(left, instructions, clock);
        // Fails only on engines without fuel; ours have it.
        let _ = self.set_fuel(charged.unwrap_or(0));
        charged.map(drop).map_err(|kind| HostTrap {
            kind,
            message: "in a hostcall".to_owned(),
        })
    }
}

impl backend::errors::HostError for HostTrap {}

/// Calls a function of the guest's, a slice at a time.
fn enter<P: WasmParams, R: WasmResults>(
    func: &TypedFunc<P, R>,
    store: &mut Store<Data>,
    params: P,
) -> Result<R, backend::Error> {
    let mut call = func.call_resumable(&mut *store, params)?;
    loop {
        call = match call {
            TypedResumableCall::Finished(results) => return Ok(results),
            TypedResumableCall::OutOfFuel(stopped) => {
                next_slice(store, stopped.required_fuel())?;
                stopped.resume(&mut *store)?
            }
            TypedResumableCall::HostTrap(ended) => {
                let error = ended.host_error();
                return Err(match error.downcast_ref::<HostTrap>() {
                    Some(trap) => fail(trap.clone()),
                    None => backend::Error::new(error.to_string()),
                });
            }
        }
    }
}

#[cold]
fn next_slice(store: &mut Store<Data>, needed: u64) -> Result<(), backend::Error> {
    let left = store.get_fuel().unwrap_or(0);
    let data = store.data_mut();
    let clock = data.clocked.then(|| data.state.host.cpu_time()).flatten();
    let next = data.meter.next_slice(left, needed, clock);
    refuel(store, next.map_err(|kind| fail(in_its_code(kind)))?);
    Ok(())
}

fn in_its_code(kind: TrapKind) -> HostTrap {
    HostTrap {
        kind,
        message: "in its own code".to_owned(),
    }
}

fn fail(trap: HostTrap) -> backend::Error {
    backend::Error::host(trap)
}

fn func_type(
    _linker: &Linker<Data>,
    params: impl ExactSizeIterator<Item = ValType>,
    results: impl ExactSizeIterator<Item = ValType>,
) -> FuncType {
    FuncType::new(params, results)
}

/// What the running call has used.
fn used(store: &Store<Data>) -> u64 {
    store.data().meter.used(store.get_fuel().unwrap_or(0))
}

fn refuel(store: &mut Store<Data>, fuel: u64) {
    // Fails only on engines without fuel; ours have it.
    let _ = store.set_fuel(fuel);
}

fn start_error(error: &backend::Error, data: &Data) -> LoadError {
    // Traps by the specification, which wasmi has no code for; and what begins past a limit.
    let does_not_fit = matches!(
        error.kind(),
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. })
    );
    let is_trap = does_not_fit
        || data.bounds.passed.is_some()
        || error.as_trap_code().is_some()
        || error.downcast_ref::<HostTrap>().is_some();
    match is_trap {
        true => to_trap(error, "its start section", data).into(),
        false => LoadError::Module(error.to_string()),
    }
}

fn to_trap(error: &backend::Error, callback: &'static str, data: &Data) -> Trap {
    let code = error.as_trap_code();
    let passed = || data.bounds.passed.as_ref();
    let by_host = match code {
        Some(TrapCode::GrowthOperationLimited) => passed(),
        // At its start, where that is no trap.
        None => error.downcast_ref::<HostTrap>().or_else(passed),
        Some(_) => None,
    };
    let HostTrap { kind, message } = match (by_host, code) {
        (Some(trap), _) => trap.clone(),
        (None, Some(TrapCode::OutOfFuel)) => in_its_code(data.meter.end()),
        (None, code) => HostTrap {
            kind: match code {
                Some(TrapCode::UnreachableCodeReached) => TrapKind::Unreachable,
                Some(TrapCode::GrowthOperationLimited) => TrapKind::Memory,
                Some(TrapCode::StackOverflow) => TrapKind::Stack,
                _ => TrapKind::Fault,
            },
            message: error.to_string(),
        },
    };
    Trap {
        kind,
        callback,
        message,
        tier: Tier::Interpreter,
        frames: Vec::new(),
    }
}
