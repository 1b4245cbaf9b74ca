//! What each call into a guest takes, by callback: a clock around an engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::border::{self, Border};
use crate::callbacks::Callback;
use crate::engine::{Code, Instance, Spent, Tier};
use crate::error::{LoadError, Trap};
use crate::state::{HostState, Turn};

/// Code whose calls are measured; otherwise the code it was made of.
#[derive(Debug)]
pub struct Metered {
    code: Box<dyn Code>,
    taken: Arc<Mutex<Taken>>,
}

/// What calls took, by callback and in the order of calls.
pub type Taken = BTreeMap<&'static str, Vec<Call>>;

/// What one call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// On the clock, hostcalls included.
    pub time: Duration,
    /// In the engine's units: of the interpreter about one for each instruction; 0 where none
    /// is counted.
    pub fuel: u64,
    /// By how much the guest's memory has grown, in bytes.
    pub growth: usize,
    /// What its hostcalls carried, where the engine counts that.
    pub border: Border,
}

struct Clocked {
    instance: Box<dyn Instance>,
    taken: Arc<Mutex<Taken>>,
}

// === impl Metered ===

impl Metered {
    /// Measures the calls of that code from now on.
    #[must_use]
    pub fn new(code: Box<dyn Code>) -> (Self, Arc<Mutex<Taken>>) {
        let taken = Arc::<Mutex<Taken>>::default();
        let metered = Self {
            code,
            taken: taken.clone(),
        };
        (metered, taken)
    }
}

impl Code for Metered {
    fn instantiate(
        &self,
        state: HostState,
        limits: &crate::Limits,
    ) -> Result<Box<dyn Instance>, LoadError> {
        Ok(Box::new(Clocked {
            instance: self.code.instantiate(state, limits)?,
            taken: self.taken.clone(),
        }))
    }

    fn engine(&self) -> &'static str {
        self.code.engine()
    }

    fn tier(&self) -> Tier {
        self.code.tier()
    }
}

// === impl Clocked ===

impl Instance for Clocked {
    fn call(&mut self, turn: Turn, args: &[u32; 5], spent: &mut Spent) -> Result<u32, Box<Trap>> {
        let callback = turn.callback;
        let before = self.instance.memory().len();
        border::take();
        let begun = Instant::now();
        let ended = self.instance.call(turn, args, spent);
        let time = begun.elapsed();
        let call = Call {
            time,
            fuel: spent.fuel,
            growth: self.instance.memory().len().saturating_sub(before),
            border: border::take(),
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.entry(callback.name()).or_default().push(call);
        ended
    }

    fn units(&self, time: Duration) -> u64 {
        self.instance.units(time)
    }

    fn shorten(&mut self, time: u64) {
        self.instance.shorten(time);
    }

    fn exports(&self, callback: Callback) -> bool {
        self.instance.exports(callback)
    }

    fn state(&mut self) -> &mut HostState {
        self.instance.state()
    }

    fn memory(&self) -> &[u8] {
        self.instance.memory()
    }

    fn trim(&mut self) {
        self.instance.trim();
    }
}
