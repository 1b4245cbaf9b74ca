//! What every plugin runs, and whoever wants to know when that changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use super::Loaded;
use crate::config::TierUp;
use crate::plugins::Why;

/// Other code for some plugins, by their positions.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) why: Why,
    pub(crate) plugins: Vec<(usize, Arc<Loaded>)>,
}

/// A worker's end: it is sent every publication from its subscription on.
pub(crate) type Subscriber = UnboundedSender<Publication>;

/// One for the process; written by the thread that works on modules.
#[derive(Debug)]
pub(crate) struct Board(Mutex<State>);

#[derive(Debug)]
struct State {
    loaded: Vec<Arc<Loaded>>,
    subscribers: Vec<Subscriber>,
    /// Waits for the next reload (`tier_up: on_reload`).
    waiting: Vec<(usize, Arc<Loaded>)>,
}

// === impl Board ===

impl Board {
    pub(super) fn new(loaded: Vec<Arc<Loaded>>) -> Self {
        Self(Mutex::new(State {
            loaded,
            subscribers: Vec::new(),
            waiting: Vec::new(),
        }))
    }

    pub(super) fn subscribe(&self, to: Subscriber) -> Vec<Arc<Loaded>> {
        let mut state = self.state();
        state.subscribers.push(to);
        state.loaded.clone()
    }

    /// What every plugin runs now.
    pub(super) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.state().loaded.clone()
    }

    /// From now on these plugins run this.
    pub(super) fn publish(&self, why: Why, mut plugins: Vec<(usize, Arc<Loaded>)>) {
        let mut state = self.state();
        if why == Why::Native {
            let waits =
                |(_, loaded): &mut (usize, Arc<Loaded>)| loaded.config.tier_up == TierUp::OnReload;
            let waiting: Vec<_> = plugins.extract_if(.., waits).collect();
            state.waiting.extend(waiting);
        }
        state.send(why, plugins);
    }

    /// What has waited for a reload.
    pub(super) fn publish_waiting(&self) {
        let mut state = self.state();
        let mut waiting = std::mem::take(&mut state.waiting);
        // Code of a file that has been replaced since.
        waiting.retain(|(index, waiting)| {
            let now = state.loaded.get(*index);
            now.is_some_and(|now| Arc::ptr_eq(&now.program, &waiting.program))
        });
        state.send(Why::Native, waiting);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What it guards is whole between any two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send(&mut self, why: Why, plugins: Vec<(usize, Arc<Loaded>)>) {
        if plugins.is_empty() {
            return;
        }
        for (index, loaded) in &plugins {
            if let Some(held) = self.loaded.get_mut(*index) {
                *held = loaded.clone();
            }
        }
        let publication = Publication { why, plugins };
        // A worker that has ended wants nothing any more.
        self.subscribers
            .retain(|subscriber| subscriber.send(publication.clone()).is_ok());
    }
}
