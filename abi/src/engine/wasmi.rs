//! The interpreter (wasmi): starts in a millisecond, needs no executable memory.
//!
//! Time is bounded by fuel: an engine is calibrated once ([`Wasmi::calibrate`]), a call
//! gets as much fuel as its time buys. Fuel is the same for the same call on every
//! machine, so a limit that is far off is far off everywhere.

mod calibrate;
mod link;

use std::time::Duration;

use wasmi::{
    Caller, Config, Engine, Func, Linker, Memory, Module as Compiled, Store, StoreLimits,
    StoreLimitsBuilder, TrapCode, TypedFunc, Val,
};

use crate::callbacks::Callback;
use crate::engine::{Code, Instance};
use crate::error::{LoadError, Trap, TrapKind};
use crate::guest::{GuestCaller, HostTrap};
use crate::limits::Limits;
use crate::module::{Entry, Import, Module};
use crate::state::HostState;

/// Fuel per millisecond when nobody has calibrated: a slow machine's.
const DEFAULT_FUEL_PER_MS: u64 = 200_000;
/// Bytes of value stack a guest may use; wasmi grows it as needed.
const MAX_STACK: usize = 4 << 20;

/// An interpreter with its settings. Modules compiled by one cannot run on another.
#[derive(Debug, Clone)]
pub struct Wasmi {
    engine: Engine,
    fuel_per_ms: u64,
}

/// A module translated for [`Wasmi`].
#[derive(Debug)]
struct WasmiCode {
    compiled: Compiled,
    imports: Vec<Import>,
    entry: Entry,
    allocator: Option<&'static str>,
    callbacks: Vec<(Callback, usize)>,
    fuel_per_ms: u64,
}

/// What wasmi keeps for us in its store.
struct Data {
    state: HostState,
    limits: StoreLimits,
    memory: Option<Memory>,
    allocator: Option<TypedFunc<u32, u32>>,
}

struct WasmiInstance {
    store: Store<Data>,
    exports: [Option<Export>; Callback::COUNT],
    fuel: u64,
}

/// An exported callback by its shape.
#[derive(Clone, Copy)]
enum Export {
    P1(TypedFunc<u32, ()>),
    P2(TypedFunc<(u32, u32), ()>),
    P3(TypedFunc<(u32, u32, u32), ()>),
    P4(TypedFunc<(u32, u32, u32, u32), ()>),
    P5(TypedFunc<(u32, u32, u32, u32, u32), ()>),
    R1(TypedFunc<u32, u32>),
    R2(TypedFunc<(u32, u32), u32>),
    R3(TypedFunc<(u32, u32, u32), u32>),
}

// === impl Wasmi ===

impl Wasmi {
    /// An interpreter whose guests recurse at most `frames` deep.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        let mut config = Config::default();
        config
            .consume_fuel(true)
            .ignore_custom_sections(true)
            .wasm_memory64(false)
            .wasm_multi_memory(false)
            .wasm_custom_page_sizes(false)
            .wasm_wide_arithmetic(false)
            .set_max_recursion_depth(frames)
            .set_max_stack_height(MAX_STACK)
            // Every nested entry (the guest's allocator) takes another stack.
            .set_max_cached_stacks(8);
        Self {
            engine: Engine::new(&config),
            fuel_per_ms: DEFAULT_FUEL_PER_MS,
        }
    }

    /// Measures how much fuel this machine burns in a millisecond, by a loop such as
    /// guests run. Takes a few milliseconds. `clock` should be the thread's CPU time, so
    /// that a busy machine does not look like a slow one.
    #[must_use]
    pub fn calibrate(mut self, clock: impl Fn() -> Duration) -> Self {
        if let Some(rate) = calibrate::measure(&self.engine, clock) {
            self.fuel_per_ms = rate;
        }
        self
    }

    /// Sets what a millisecond is worth, for tests that must not depend on a clock.
    #[must_use]
    pub const fn with_fuel_per_ms(mut self, fuel: u64) -> Self {
        self.fuel_per_ms = fuel;
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
        let compiled = Compiled::new(&self.engine, &module.bytes)
            .map_err(|error| LoadError::Module(error.to_string()))?;
        Ok(Box::new(WasmiCode {
            compiled,
            imports: module.imports.clone(),
            entry: module.entry,
            allocator: module.allocator(compat),
            callbacks: module
                .callbacks
                .iter()
                .map(|callback| (*callback, module.params(*callback)))
                .collect(),
            fuel_per_ms: self.fuel_per_ms,
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
            limits: StoreLimitsBuilder::new()
                .memory_size(limits.memory)
                .table_elements(limits.table)
                .instances(1)
                .trap_on_grow_failure(true)
                .build(),
            memory: None,
            allocator: None,
        };
        let mut store = Store::new(engine, data);
        store.limiter(|data| &mut data.limits);
        let mut linker = Linker::<Data>::new(engine);
        for import in &self.imports {
            link::define(&mut linker, import)?;
        }
        let fuel = limits.fuel(self.fuel_per_ms);
        refuel(&mut store, fuel);
        let instance = linker
            .instantiate_and_start(&mut store, &self.compiled)
            .map_err(|error| start_error(&error))?;
        let memory = instance.get_memory(&store, "memory");
        store.data_mut().memory = memory;
        let allocator = self
            .allocator
            .and_then(|name| instance.get_typed_func(&store, name).ok());
        store.data_mut().allocator = allocator;

        let mut exports = [const { None }; Callback::COUNT];
        for (callback, params) in &self.callbacks {
            let func = instance.get_func(&store, callback.name());
            exports[*callback as usize] =
                func.and_then(|func| Export::new(func, &store, *params, callback.returns()));
        }
        let mut running = WasmiInstance {
            store,
            exports,
            fuel,
        };
        running.start(&instance, self.entry)?;
        Ok(Box::new(running))
    }

    fn engine(&self) -> &'static str {
        "wasmi"
    }
}

// === impl WasmiInstance ===

impl WasmiInstance {
    /// Section 1.4; return values do not matter, `proc_exit(0)` is an orderly end.
    fn start(&mut self, instance: &wasmi::Instance, entry: Entry) -> Result<(), LoadError> {
        let calls: [Option<&'static str>; 2] = match entry {
            Entry::Initialize(main) => [Some("_initialize"), main],
            Entry::Start => [Some("_start"), None],
            Entry::None => [None, None],
        };
        for name in calls.into_iter().flatten() {
            let Some(func) = instance.get_func(&self.store, name) else {
                continue;
            };
            let arguments: &[Val] = if name == "main" {
                &[Val::I32(0), Val::I32(0)]
            } else {
                &[]
            };
            let mut results = [Val::I32(0)];
            let results: &mut [Val] = if name.contains("main") {
                &mut results
            } else {
                &mut []
            };
            refuel(&mut self.store, self.fuel);
            self.store.data_mut().state.exit_code = None;
            if let Err(error) = func.call(&mut self.store, arguments, results) {
                let trap = to_trap(&error, name);
                if trap.kind != TrapKind::Exit || self.store.data().state.exit_code != Some(0) {
                    return Err(trap.into());
                }
            }
        }
        Ok(())
    }
}

impl Instance for WasmiInstance {
    fn call(&mut self, callback: Callback, args: [u32; 5]) -> Result<u32, Trap> {
        let Some(export) = self.exports[callback as usize] else {
            return Ok(0);
        };
        refuel(&mut self.store, self.fuel);
        let [a, b, c, d, e] = args;
        let store = &mut self.store;
        match export {
            Export::P1(func) => func.call(store, a).map(|()| 0),
            Export::P2(func) => func.call(store, (a, b)).map(|()| 0),
            Export::P3(func) => func.call(store, (a, b, c)).map(|()| 0),
            Export::P4(func) => func.call(store, (a, b, c, d)).map(|()| 0),
            Export::P5(func) => func.call(store, (a, b, c, d, e)).map(|()| 0),
            Export::R1(func) => func.call(store, a),
            Export::R2(func) => func.call(store, (a, b)),
            Export::R3(func) => func.call(store, (a, b, c)),
        }
        .map_err(|error| to_trap(&error, callback.name()))
    }

    fn exports(&self, callback: Callback) -> bool {
        self.exports[callback as usize].is_some()
    }

    fn state(&mut self) -> &mut HostState {
        &mut self.store.data_mut().state
    }

    fn memory_size(&self) -> usize {
        self.store
            .data()
            .memory
            .map_or(0, |memory| memory.data_size(&self.store))
    }
}

impl Export {
    fn new(func: Func, store: &Store<Data>, params: usize, returns: bool) -> Option<Self> {
        match (params, returns) {
            (1, false) => func.typed(store).ok().map(Self::P1),
            (2, false) => func.typed(store).ok().map(Self::P2),
            (3, false) => func.typed(store).ok().map(Self::P3),
            (4, false) => func.typed(store).ok().map(Self::P4),
            (5, false) => func.typed(store).ok().map(Self::P5),
            (1, true) => func.typed(store).ok().map(Self::R1),
            (2, true) => func.typed(store).ok().map(Self::R2),
            (3, true) => func.typed(store).ok().map(Self::R3),
            _ => None,
        }
    }
}

// === impl GuestCaller for wasmi ===

impl GuestCaller for Caller<'_, Data> {
    fn split(&mut self) -> (&mut [u8], &mut HostState) {
        if self.data().memory.is_none() {
            // Inside the module's start section nobody has looked yet.
            self.data_mut().memory = self
                .get_export("memory")
                .and_then(wasmi::Extern::into_memory);
        }
        match self.data().memory {
            Some(memory) => {
                let (bytes, data) = memory.data_and_store_mut(&mut *self);
                (bytes, &mut data.state)
            }
            None => (&mut [], &mut self.data_mut().state),
        }
    }

    fn state(&mut self) -> &mut HostState {
        &mut self.data_mut().state
    }

    fn allocate(&mut self, size: u32) -> Result<u32, HostTrap> {
        let Some(allocator) = self.data().allocator else {
            return Ok(0);
        };
        let state = &mut self.data_mut().state;
        let before = (
            std::mem::replace(&mut state.allocating, true),
            state.current,
            state.effective,
        );
        let pointer = allocator.call(&mut *self, size);
        let state = &mut self.data_mut().state;
        (state.allocating, state.current, state.effective) = before;
        pointer.map_err(|error| {
            let trap = to_trap(&error, "its allocator");
            HostTrap {
                kind: trap.kind,
                message: format!("in its allocator: {}", trap.message),
            }
        })
    }

    fn charge(&mut self, instructions: u64) -> Result<(), HostTrap> {
        let left = self
            .get_fuel()
            .unwrap_or(u64::MAX)
            .checked_sub(instructions);
        // Fails only on engines without fuel; ours have it.
        let _ = self.set_fuel(left.unwrap_or(0));
        match left {
            Some(_) => Ok(()),
            None => Err(HostTrap {
                kind: TrapKind::Deadline,
                message: "in a hostcall".to_owned(),
            }),
        }
    }
}

impl wasmi::errors::HostError for HostTrap {}

impl std::fmt::Display for HostTrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

fn refuel(store: &mut Store<Data>, fuel: u64) {
    // Fails only on engines without fuel; ours have it.
    let _ = store.set_fuel(fuel);
}

fn start_error(error: &wasmi::Error) -> LoadError {
    if error.as_trap_code().is_some() || error.downcast_ref::<HostTrap>().is_some() {
        to_trap(error, "its start section").into()
    } else {
        LoadError::Module(error.to_string())
    }
}

fn to_trap(error: &wasmi::Error, callback: &'static str) -> Trap {
    if let Some(trap) = error.downcast_ref::<HostTrap>() {
        return Trap {
            kind: trap.kind,
            callback,
            message: trap.message.clone(),
        };
    }
    let kind = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => TrapKind::Unreachable,
        Some(TrapCode::OutOfFuel) => TrapKind::Deadline,
        Some(TrapCode::GrowthOperationLimited) => TrapKind::Memory,
        Some(TrapCode::StackOverflow) => TrapKind::Stack,
        _ => TrapKind::Fault,
    };
    Trap {
        kind,
        callback,
        message: error.to_string(),
    }
}
