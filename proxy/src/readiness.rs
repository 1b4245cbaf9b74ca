//! Whether the filters that this proxy must not serve without can work (`ready_needs`).
//!
//! Workers say when a filter of theirs has no VM and when it has one again; whoever asks
//! whether the proxy is ready reads a number.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::Config;

/// Of each filter, on how many workers it cannot work. What is locked is looked at when a
/// filter starts or is lost, and by who asks.
#[derive(Debug)]
pub(crate) struct Readiness(Mutex<State>);

#[derive(Debug)]
struct State {
    needed: Vec<String>,
    down: HashMap<String, usize>,
}

// === impl Readiness ===

impl Readiness {
    /// Nothing has been started yet.
    pub(crate) fn new(config: &Config) -> Self {
        let mut down: HashMap<String, usize> = HashMap::new();
        for plugin in &config.plugins {
            let others = config.workers.saturating_sub(1);
            let roots =
                usize::from(plugin.runs_on(true)) + others * usize::from(plugin.runs_on(false));
            *down.entry(plugin.name.clone()).or_default() += roots;
        }
        Self(Mutex::new(State {
            needed: config.ready_needs.clone(),
            down,
        }))
    }

    /// These are needed from now on.
    pub(crate) fn need(&self, filters: &[String]) {
        self.state().needed = filters.to_vec();
    }

    /// One worker's plugin of that filter cannot work any more, or can again.
    pub(crate) fn set(&self, filter: &str, down: bool) {
        let mut state = self.state();
        if down {
            *state.down.entry(filter.to_owned()).or_default() += 1;
        } else if let Some(count) = state.down.get_mut(filter) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.down.remove(filter);
            }
        }
    }

    /// The filters that cannot work everywhere now.
    pub(crate) fn missing(&self) -> Vec<String> {
        let state = self.state();
        let missing = |name: &&String| state.down.get(*name).is_some_and(|count| *count > 0);
        state.needed.iter().filter(missing).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
