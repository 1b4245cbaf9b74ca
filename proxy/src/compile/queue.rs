//! The jobs that wait, the one that is done, and the thread that does it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use cofferdam_abi::engine::artifact::Artifact;

use super::parent::{self, Line};
use super::{Failure, Job};
use crate::artifacts::Artifacts;
use crate::config::Compiler;

/// See [`super::Compilers`].
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    artifacts: Arc<Artifacts>,
    limits: Compiler,
    state: Mutex<State>,
    /// There is work, or an end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether the thread is there.
    started: bool,
    closed: bool,
    /// The child at work.
    line: Option<Line>,
    /// Modules (digest, fingerprint of the engine) that would only fail again.
    failed: HashSet<([u8; 32], u64)>,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(artifacts: Arc<Artifacts>, limits: Compiler) -> Self {
        Self(Arc::new(Inner {
            artifacts,
            limits,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    pub(super) fn submit(&self, job: Job) {
        let mut state = self.0.state();
        let key = (job.module.digest, job.native.fingerprint());
        let refused = match () {
            () if state.closed => Failure::Ending,
            () if state.failed.contains(&key) => Failure::Again,
            () => {
                state.jobs.push_back(job);
                self.0.changed.notify_one();
                self.start(state);
                return;
            }
        };
        drop(state);
        (job.done)(Err(refused));
    }

    pub(super) fn forget(&self) {
        self.0.state().failed.clear();
    }

    pub(super) fn close(&self) {
        let mut state = self.0.state();
        state.closed = true;
        if let Some(line) = &state.line {
            line.cut();
        }
        let jobs = std::mem::take(&mut state.jobs);
        self.0.changed.notify_one();
        drop(state);
        for job in jobs {
            (job.done)(Err(Failure::Ending));
        }
    }

    fn start(&self, mut state: MutexGuard<'_, State>) {
        if state.started {
            return;
        }
        let inner = self.0.clone();
        let spawned = thread::Builder::new()
            .name("compiler".to_owned())
            .spawn(move || inner.work());
        match spawned {
            Ok(_) => state.started = true,
            Err(error) => {
                let jobs = std::mem::take(&mut state.jobs);
                drop(state);
                for job in jobs {
                    fail(job, Failure::Unavailable(error.to_string()));
                }
            }
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Never held while anything is done, so what a panic might leave is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            let key = (job.module.digest, job.native.fingerprint());
            match self.compile(&job) {
                Ok(artifact) => (job.done)(Ok(artifact)),
                Err(failure) => {
                    if failure.is_final() {
                        self.state().failed.insert(key);
                    }
                    fail(job, failure);
                }
            }
        }
    }

    /// Sleeps until there is something to do. `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn compile(&self, job: &Job) -> Result<Artifact, Failure> {
        // Another process, or a job before this one, may have made it since.
        if let Some(artifact) = self.artifacts.find(&job.module, &job.native, None) {
            return Ok(artifact);
        }
        let compiled = parent::compile(&job.module, job.config, self.limits, |line| {
            let mut state = self.state();
            if state.closed {
                line.cut();
            }
            state.line = Some(line);
        });
        let ended = {
            let mut state = self.state();
            state.line = None;
            state.closed
        };
        let sealed = match compiled {
            Err(_) if ended => return Err(Failure::Ending),
            compiled => compiled?,
        };
        let artifact = super::checked(sealed, &job.module, &job.native)?;
        self.artifacts
            .keep_or_say(&job.module, &job.native, artifact.bytes());
        Ok(artifact)
    }
}

/// Said here, so that whoever has submitted it need not.
fn fail(job: Job, failure: Failure) {
    match failure {
        Failure::Ending => {}
        _ => tracing::warn!("{} stays on the interpreter: {failure}", job.name),
    }
    (job.done)(Err(failure));
}

#[cfg(test)]
mod tests;
