//! What is the same in two configurations, and what cannot become another while the proxy
//! runs.

use std::sync::Arc;

use super::Kept;
use crate::config::{Address, Config, Listener, PluginConfig};

/// Carries over into `new` what it has in common with `old`; what that is.
pub(crate) fn carry_over(old: &Config, new: &mut Config) -> Kept {
    let plugins = plugins(&old.plugins, &new.plugins);
    let clusters: Vec<Option<usize>> = (new.clusters.iter().zip(&new.marks.clusters))
        .map(|(cluster, mark)| {
            let mut before = old.clusters.iter().zip(&old.marks.clusters);
            before.position(|(other, known)| other.name == cluster.name && known == mark)
        })
        .collect();
    for (cluster, kept) in new.clusters.iter_mut().zip(&clusters) {
        if let Some(kept) = kept {
            *cluster = old.clusters[*kept].clone();
        }
    }
    let addresses: Vec<Option<usize>> = (new.listeners.iter())
        .map(|listener| {
            old.listeners
                .iter()
                .position(|other| is_there(other, listener))
        })
        .collect();
    let doors: Vec<bool> = (addresses.iter().zip(&new.marks.listeners))
        .map(|(kept, mark)| kept.is_some_and(|kept| old.marks.listeners[kept] == *mark))
        .collect();
    for ((listener, kept), alike) in new.listeners.iter_mut().zip(&addresses).zip(&doors) {
        if let (Some(kept), true, Some(listener)) = (kept, alike, Arc::get_mut(listener)) {
            // It keeps its files new by itself, and knows sessions that clients may resume.
            listener.tls.clone_from(&old.listeners[*kept].tls);
        }
    }
    let callouts = old.marks.callouts == new.marks.callouts
        && old.callouts.tls.is_some() == new.callouts.tls.is_some();
    if callouts {
        new.callouts = old.callouts.clone();
    }
    Kept {
        plugins,
        clusters,
        addresses,
        doors,
        access_log: old.marks.access_log == new.marks.access_log,
        callouts,
    }
}

/// Whether a listener is where another was. Ports that the system chooses are told apart by
/// name.
fn is_there(old: &Listener, new: &Listener) -> bool {
    let chosen = matches!(new.address, Address::Tcp(address) if address.port() == 0);
    old.address == new.address && (!chosen || old.name == new.name)
}

/// For each new plugin the one that goes on in its place, its module apart. No two have one.
fn plugins(old: &[Arc<PluginConfig>], new: &[Arc<PluginConfig>]) -> Vec<Option<usize>> {
    let mut taken = vec![false; old.len()];
    // Where none has come or gone each is where it was.
    let mut find = |position: usize, plugin: &PluginConfig| {
        let all = 0..old.len();
        let mut likely = std::iter::once(position)
            .filter(|position| *position < old.len())
            .chain(all);
        let found = likely.find(|index| !taken[*index] && old[*index].is_alike(plugin))?;
        taken[found] = true;
        Some(found)
    };
    let found = new.iter().enumerate();
    found
        .map(|(position, plugin)| find(position, plugin))
        .collect()
}

/// Keys of a configuration that are read at the start alone.
pub(crate) const FIXED: &[&str] = &[
    "workers",
    "admin",
    "artifacts",
    "upgrade",
    "compiler",
    "no_exec_memory",
    "memory",
    "shared_data",
    "shared_queues",
    "tracing",
];

/// What is read at the start alone ([`FIXED`]) stays as it is in `new`; the warnings.
///
/// Threads are started once, and each has its sockets; the engines are made for one kind of
/// memory, and code for those; what guests share has its bounds from its first use.
pub(crate) fn keep_fixed(old: &Config, new: &mut Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut fixed = |keys: &[&str], same: bool| {
        debug_assert!(keys.iter().all(|key| FIXED.contains(key)), "{keys:?}");
        if !same {
            warnings.push(format!(
                "`{}` is read at the start only: it stays as it is until the proxy is started again",
                keys.join("` or `")
            ));
        }
    };
    fixed(&["workers"], old.workers == new.workers);
    let operator = |config: &Config| {
        let admin = config.admin.as_ref();
        // All but the token shows.
        admin.map(|admin| (format!("{admin:?}"), admin.token.clone()))
    };
    fixed(&["admin"], operator(old) == operator(new));
    fixed(&["artifacts"], old.artifacts == new.artifacts);
    fixed(&["upgrade"], old.upgrade == new.upgrade);
    fixed(&["compiler"], old.compiler == new.compiler);
    fixed(
        &["no_exec_memory"],
        old.no_exec_memory == new.no_exec_memory,
    );
    fixed(&["memory"], old.compact_memory == new.compact_memory);
    let bounds = format!("{:?}", old.shared) == format!("{:?}", new.shared);
    fixed(&["tracing"], old.tracing == new.tracing);
    fixed(&["shared_data", "shared_queues"], bounds);
    new.tracing.clone_from(&old.tracing);
    new.workers = old.workers;
    new.admin.clone_from(&old.admin);
    new.artifacts = old.artifacts.clone();
    new.upgrade.clone_from(&old.upgrade);
    new.compiler = old.compiler;
    new.no_exec_memory = old.no_exec_memory;
    new.compact_memory = old.compact_memory;
    new.shared = old.shared.clone();
    warnings
}
