//! Whether the filters that this proxy must not serve without can work (`ready_needs`).
//!
//! Workers say when a filter of theirs has no VM and when it has one again; whoever asks
//! whether the proxy is ready reads a number.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Config;

/// Of each filter that is needed, on how many workers it cannot work.
#[derive(Debug)]
pub(crate) struct Readiness(Vec<(String, AtomicUsize)>);

// === impl Readiness ===

impl Readiness {
    /// Nothing has been started yet.
    pub(crate) fn new(config: &Config) -> Self {
        let down = |name: &String| {
            let plugins = config.plugins.iter().filter(|plugin| plugin.name == *name);
            let roots = plugins.map(|plugin| {
                let others = config.workers.saturating_sub(1);
                usize::from(plugin.runs_on(true)) + others * usize::from(plugin.runs_on(false))
            });
            (name.clone(), AtomicUsize::new(roots.sum()))
        };
        Self(config.ready_needs.iter().map(down).collect())
    }

    /// One worker's plugin of that filter cannot work any more, or can again.
    pub(crate) fn set(&self, filter: &str, down: bool) {
        let Some((_, count)) = self.0.iter().find(|(name, _)| name == filter) else {
            return;
        };
        if down {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The filters that cannot work everywhere now.
    pub(crate) fn missing(&self) -> Vec<&str> {
        let missing = self.0.iter();
        missing
            .filter(|(_, count)| count.load(Ordering::Relaxed) > 0)
            .map(|(name, _)| &name[..])
            .collect()
    }
}
