//! Guests that are code of this process: tests of filters without wasm.
//!
//! Such a guest runs in the same state machine as any other; only its engine is the
//! processor itself. Its hostcalls ([`hostcall`]) lay out their arguments in a memory that
//! lasts as long as the call, so that everything behind it is what a module meets.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::callbacks::Callback;
use crate::engine::{Code, Instance, Spent, Tier};
use crate::error::{LoadError, Trap, TrapKind};
use crate::guest::{GuestCaller, HostTrap};
use crate::hostcalls::{
    self, Hostcall, When, buffers, callout, configuration, env, foreign, gateway, headers, log,
    metrics, properties, shared_data, shared_queue, stream,
};
use crate::limits::Limits;
use crate::state::{HostState, Turn};
use crate::types::Status;

/// A guest, as its host calls it.
pub trait Guest {
    /// Runs a callback with the arguments of its export; the others are 0. Where it returns
    /// nothing, the result does not matter. A panic is a trap.
    fn call(&mut self, callback: Callback, args: [u32; 5]) -> u32;
}

/// The "module" of a native guest.
pub struct Native {
    callbacks: Vec<Callback>,
    make: Box<dyn Fn() -> Box<dyn Guest> + Send + Sync>,
}

/// An argument of a hostcall, as the guest has it.
#[derive(Debug)]
pub enum Argument<'a> {
    /// A number.
    Number(u64),
    /// Pointer and length.
    Bytes(&'a [u8]),
    /// A place for a number of 4 bytes.
    U32(&'a mut u32),
    /// A place for a number of 8 bytes.
    U64(&'a mut u64),
    /// Places for the pointer and the length of a value.
    Value(&'a mut Vec<u8>),
}

thread_local! {
    /// What the guest that runs on this thread reaches its host by.
    static PORT: RefCell<Option<Box<Port>>> = const { RefCell::new(None) };
}

struct Port {
    /// Arguments and results of the hostcall that runs.
    memory: Vec<u8>,
    state: HostState,
}

struct NativeInstance {
    /// Lent to the thread while the guest runs.
    port: Option<Box<Port>>,
    guest: Box<dyn Guest>,
    callbacks: Vec<Callback>,
}

/// Answers a hostcall of the guest that runs on this thread: its name, and what it is
/// called with. Outside of guests it is UNIMPLEMENTED.
///
/// Where the host ends the call (as it ends a module's), this does not return.
pub fn hostcall(name: &str, arguments: &mut [Argument<'_>]) -> u32 {
    let Some(mut port) = PORT.take() else {
        return Status::Unimplemented as u32;
    };
    let answer = port.call(name, arguments);
    PORT.set(Some(port));
    match answer {
        Ok(status) => status,
        Err(trap) => resume_unwind(Box::new(trap)),
    }
}

// === impl Native ===

impl Native {
    /// A module that exports these callbacks; `make` makes each instance of it.
    pub fn new(
        callbacks: impl IntoIterator<Item = Callback>,
        make: impl Fn() -> Box<dyn Guest> + Send + Sync + 'static,
    ) -> Self {
        Self {
            callbacks: callbacks.into_iter().collect(),
            make: Box::new(make),
        }
    }
}

impl Code for Native {
    fn instantiate(&self, state: HostState, _: &Limits) -> Result<Box<dyn Instance>, LoadError> {
        let memory = Vec::new();
        Ok(Box::new(NativeInstance {
            port: Some(Box::new(Port { memory, state })),
            guest: (self.make)(),
            callbacks: self.callbacks.clone(),
        }))
    }

    fn engine(&self) -> &'static str {
        "none"
    }

    fn tier(&self) -> Tier {
        Tier::Interpreter
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").finish_non_exhaustive()
    }
}

// === impl NativeInstance ===

impl Instance for NativeInstance {
    fn call(&mut self, turn: Turn, args: &[u32; 5], spent: &mut Spent) -> Result<u32, Box<Trap>> {
        *spent = Spent::default();
        let callback = turn.callback;
        if !self.exports(callback) {
            return Ok(0);
        }
        self.state().begin(turn);
        PORT.set(self.port.take());
        let result = catch_unwind(AssertUnwindSafe(|| self.guest.call(callback, *args)));
        self.port = PORT.take();
        match result {
            Ok(value) => {
                self.state().finish();
                Ok(value)
            }
            Err(panic) => {
                let HostTrap { kind, message } = ended_by(&*panic);
                Err(Box::new(Trap {
                    kind,
                    callback: callback.name(),
                    message,
                    tier: Tier::Interpreter,
                    frames: Vec::new(),
                }))
            }
        }
    }

    /// Nobody measures, so that a debugger may take its time.
    fn units(&self, _time: Duration) -> u64 {
        u64::MAX
    }

    fn shorten(&mut self, _time: u64) {}

    fn exports(&self, callback: Callback) -> bool {
        self.callbacks.contains(&callback)
    }

    fn state(&mut self) -> &mut HostState {
        let port = self.port.as_mut();
        &mut port
            .expect("the host calls nobody while a guest runs")
            .state
    }

    fn memory(&self) -> &[u8] {
        &[]
    }
}

/// Why a guest's call did not return.
fn ended_by(panic: &(dyn Any + Send)) -> HostTrap {
    if let Some(trap) = panic.downcast_ref::<HostTrap>() {
        return trap.clone();
    }
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    HostTrap {
        kind: TrapKind::Unreachable,
        message: format!("panicked: {}", said.unwrap_or("no message")),
    }
}

// === impl Port ===

impl Port {
    fn call(&mut self, name: &str, arguments: &mut [Argument<'_>]) -> Result<u32, HostTrap> {
        self.memory.clear();
        // Address 0 is nobody's.
        self.reserve(8);
        let mut wire = Vec::with_capacity(12);
        for argument in &*arguments {
            match argument {
                Argument::Number(number) => wire.push(*number),
                Argument::Bytes(bytes) => {
                    let place = self.reserve(bytes.len());
                    self.memory[place..].copy_from_slice(bytes);
                    wire.extend([place as u64, bytes.len() as u64]);
                }
                Argument::U32(value) => {
                    let place = self.reserve(4);
                    self.memory[place..].copy_from_slice(&value.to_le_bytes());
                    wire.push(place as u64);
                }
                Argument::U64(value) => {
                    let place = self.reserve(8);
                    self.memory[place..].copy_from_slice(&value.to_le_bytes());
                    wire.push(place as u64);
                }
                Argument::Value(_) => {
                    let place = self.reserve(8) as u64;
                    wire.extend([place, place + 4]);
                }
            }
        }
        let status = dispatch(self, name, &wire)?;
        let mut places = wire.iter().map(|place| *place as usize);
        for argument in arguments {
            let place = places.next().unwrap_or(0);
            match argument {
                Argument::Number(_) => {}
                Argument::Bytes(_) => drop(places.next()),
                Argument::U32(value) => **value = self.u32_at(place),
                Argument::U64(value) => {
                    let bytes = self.memory[place..].first_chunk();
                    **value = bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
                }
                Argument::Value(value) => {
                    let (start, length) = (self.u32_at(place), self.u32_at(place + 4));
                    let end = start as usize + length as usize;
                    **value = self.memory[start as usize..end].to_vec();
                    places.next();
                }
            }
        }
        Ok(status)
    }

    /// Room for so many bytes at the end of the memory.
    fn reserve(&mut self, size: usize) -> usize {
        let place = self.memory.len();
        self.memory.resize(place + size, 0);
        place
    }

    fn u32_at(&self, place: usize) -> u32 {
        let bytes = self.memory[place..].first_chunk();
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

impl GuestCaller for Port {
    fn split(&mut self) -> (&mut [u8], &mut HostState) {
        (&mut self.memory, &mut self.state)
    }

    fn state(&mut self) -> &mut HostState {
        &mut self.state
    }

    fn allocate(&mut self, size: u32) -> Result<u32, HostTrap> {
        let place = self.reserve(size as usize);
        Ok(u32::try_from(place).unwrap_or(0))
    }

    fn charge(&mut self, _instructions: u64) -> Result<(), HostTrap> {
        Ok(())
    }
}

/// Whatever a hostcall answers, as the status it mostly is.
trait Answered {
    fn answered(self) -> u32;
}

impl Answered for u32 {
    fn answered(self) -> u32 {
        self
    }
}

impl Answered for () {
    fn answered(self) -> u32 {
        0
    }
}

impl Answered for f64 {
    fn answered(self) -> u32 {
        0
    }
}

macro_rules! define_dispatch {
    ($($name:literal ($($arg:ident: $ty:ident),*) -> $result:tt = $path:path, $when:ident;)*) => {
        fn dispatch(port: &mut Port, name: &str, wire: &[u64]) -> Result<u32, HostTrap> {
            match (name, wire) {
                $(($name, &[$($arg),*]) => {
                    const CALL: Hostcall = Hostcall::env($name, When::$when);
                    // What does not fit in 32 bits was none of the guest's to begin with.
                    $(let $arg = $arg as $ty;)*
                    let answer: $result =
                        hostcalls::enter(port, &CALL, |port| $path(port $(, $arg)*))?;
                    Ok(answer.answered())
                })*
                _ => Ok(Status::Unimplemented as u32),
            }
        }
    };
}
hostcalls::for_each_env_call!(define_dispatch);
