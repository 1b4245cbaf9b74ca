//! What is served now and what every plugin runs, and whoever wants to know when that
//! changes.

use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::Loaded;
use crate::config::TierUp;
use crate::handover::Offered;
use crate::plugins::Why;
use crate::reload::Blueprint;

/// Other code for some plugins, by their positions in the configuration that runs.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) why: Why,
    pub(crate) plugins: Vec<(usize, Arc<Loaded>)>,
}

/// What workers are told, in this order.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Code(Publication),
    /// Another configuration is to be made ready; whether it is.
    Prepare(Arc<Blueprint>, mpsc::Sender<Result<(), String>>),
    /// From now on it is served; told once it is.
    Adopt(Arc<Blueprint>, mpsc::Sender<()>),
    /// It will not be.
    Abandon,
    /// What a worker listens on, for another process.
    Sockets(UnboundedSender<std::io::Result<Vec<Offered>>>),
}

/// A worker's end: it is sent every message from its subscription on.
pub(crate) type Subscriber = UnboundedSender<Message>;

/// One for the process; written by the thread that works on modules.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<State>,
    subscribed: Condvar,
}

#[derive(Debug)]
struct State {
    blueprint: Arc<Blueprint>,
    loaded: Vec<Arc<Loaded>>,
    subscribers: Vec<Subscriber>,
    /// How many there have been.
    subscriptions: usize,
    /// Waits for the next reload (`tier_up: on_reload`).
    waiting: Vec<(usize, Arc<Loaded>)>,
}

// === impl Board ===

impl Board {
    pub(super) fn new(blueprint: Blueprint) -> Self {
        let state = State {
            loaded: blueprint.loaded.clone(),
            blueprint: Arc::new(blueprint),
            subscribers: Vec::new(),
            subscriptions: 0,
            waiting: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            subscribed: Condvar::new(),
        }
    }

    pub(super) fn subscribe(&self, to: Subscriber) -> (Arc<Blueprint>, Vec<Arc<Loaded>>) {
        let mut state = self.state();
        state.subscribers.push(to);
        state.subscriptions += 1;
        self.subscribed.notify_all();
        (state.blueprint.clone(), state.loaded.clone())
    }

    /// Waits until all workers are there; whether they are.
    pub(super) fn is_complete(&self, patience: Duration) -> bool {
        let state = self.state();
        let missing = |state: &mut State| state.subscriptions < state.blueprint.config.workers;
        let waited = self.subscribed.wait_timeout_while(state, patience, missing);
        let (_state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// What is served now.
    pub(super) fn blueprint(&self) -> Arc<Blueprint> {
        self.state().blueprint.clone()
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
        state.publish(why, plugins);
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
        state.publish(Why::Native, waiting);
    }

    /// Has every worker make another configuration ready, and waits for all of them.
    ///
    /// # Errors
    /// Why one of them could not; then none goes over to it.
    pub(super) fn prepare(&self, blueprint: &Arc<Blueprint>) -> Result<(), Vec<String>> {
        let (told, answers) = mpsc::channel();
        self.state()
            .send(&Message::Prepare(blueprint.clone(), told));
        // It ends when the last has answered, or is gone.
        let mut problems: Vec<String> = answers.iter().filter_map(Result::err).collect();
        if problems.is_empty() {
            return Ok(());
        }
        self.state().send(&Message::Abandon);
        problems.sort();
        problems.dedup();
        Err(problems)
    }

    /// From now on this is served: when this returns, by all workers.
    pub(super) fn adopt(&self, blueprint: Arc<Blueprint>) {
        let (told, answers) = mpsc::channel();
        let mut state = self.state();
        let kept = &blueprint.kept.plugins;
        let moved = |(index, loaded): (usize, Arc<Loaded>)| {
            Some((kept.iter().position(|kept| *kept == Some(index))?, loaded))
        };
        let waiting = std::mem::take(&mut state.waiting);
        state.waiting = waiting.into_iter().filter_map(moved).collect();
        state.loaded.clone_from(&blueprint.loaded);
        state.blueprint = blueprint.clone();
        state.send(&Message::Adopt(blueprint, told));
        drop(state);
        // It ends when the last has gone over, or is gone.
        answers.iter().for_each(drop);
    }

    /// Asks every worker what it listens on.
    pub(super) fn sockets(&self, told: UnboundedSender<std::io::Result<Vec<Offered>>>) {
        self.state().send(&Message::Sockets(told));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What it guards is whole between any two steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&mut self, why: Why, plugins: Vec<(usize, Arc<Loaded>)>) {
        if plugins.is_empty() {
            return;
        }
        for (index, loaded) in &plugins {
            if let Some(held) = self.loaded.get_mut(*index) {
                *held = loaded.clone();
            }
        }
        self.send(&Message::Code(Publication { why, plugins }));
    }

    fn send(&mut self, message: &Message) {
        // A worker that has ended wants nothing any more.
        self.subscribers
            .retain(|subscriber| subscriber.send(message.clone()).is_ok());
    }
}
