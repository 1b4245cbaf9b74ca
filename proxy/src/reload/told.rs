//! What a reload has changed, for whoever wants to know and for the log: by the names of what
//! is new, another or gone.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::FIXED;
use super::{Blueprint, Changed, Parts};
use crate::config::{Config, Mark};
use crate::modules::named;

/// What is different now, modules apart.
pub(crate) fn between(before: &Blueprint, now: &Blueprint) -> Changed {
    let kept = &now.kept;
    let listened = before.config.listeners.iter().zip(&before.addresses);
    let closed = listened
        .enumerate()
        .filter(|(index, _)| !kept.addresses.contains(&Some(*index)))
        .map(|(_, (listener, address))| format!("{} {address}", listener.name));
    let listening = now.config.listeners.iter().zip(&now.addresses);
    let opened = (listening.zip(&kept.addresses))
        .filter(|(_, kept)| kept.is_none())
        .map(|((listener, address), _)| format!("{} {address}", listener.name));
    let clusters = (now.config.clusters.iter().zip(&kept.clusters))
        .filter(|(_, kept)| kept.is_none())
        .map(|(cluster, _)| cluster.name.clone());
    let started = (now.config.plugins.iter().zip(&kept.plugins))
        .filter(|(_, kept)| kept.is_none())
        .map(|(plugin, _)| plugin.name.clone());
    let ended = (before.config.plugins.iter().enumerate())
        .filter(|(index, _)| !kept.plugins.contains(&Some(*index)))
        .map(|(_, plugin)| plugin.name.clone());
    let by_name = parts(&clusters_of(&before.config), &clusters_of(&now.config));
    let filters = parts(&filters_of(&before.config), &filters_of(&now.config));
    let mut changed = Changed {
        configuration: true,
        listeners_opened: opened.collect(),
        listeners_closed: closed.collect(),
        listeners: parts(&listeners_of(&before.config), &listeners_of(&now.config)),
        clusters: clusters.collect(),
        clusters_added: by_name.added,
        clusters_removed: by_name.removed,
        filters_started: started.collect(),
        filters_ended: ended.collect(),
        filters_added: filters.added,
        filters_removed: filters.removed,
        ..Changed::default()
    };
    let settings = keys(&before.config.marks.keys, &now.config.marks.keys);
    let told = |key: &str| match key {
        "listeners" => changed.listeners != Parts::default(),
        "clusters" => !(changed.clusters.is_empty() && changed.clusters_removed.is_empty()),
        "filters" => !(changed.filters_started.is_empty() && changed.filters_ended.is_empty()),
        _ => FIXED.contains(&key),
    };
    changed.settings = settings.into_iter().filter(|key| !told(key)).collect();
    changed
}

/// The same, for the log.
pub(crate) fn tell(now: &Config, changed: &Changed) {
    for listener in &changed.listeners_closed {
        tracing::info!("no longer listening: {listener}");
    }
    for listener in &changed.listeners_opened {
        tracing::info!("listening: {listener}");
    }
    // What has not changed is left out.
    let names =
        |names: &[String]| (!names.is_empty()).then(|| named(names.iter().map(String::as_str)));
    tracing::info!(
        generation = changed.generation,
        listeners = now.listeners.len(),
        listeners_added = names(&changed.listeners.added),
        listeners_changed = names(&changed.listeners.changed),
        listeners_removed = names(&changed.listeners.removed),
        clusters = now.clusters.len(),
        clusters_changed = names(&changed.clusters),
        clusters_removed = names(&changed.clusters_removed),
        filters_started = names(&changed.filters_started),
        filters_ended = names(&changed.filters_ended),
        settings = names(&changed.settings),
        "reload: the configuration has come to run"
    );
}

/// Names with what is written under them, in the order of the file.
type Written<'a> = Vec<(&'a str, Mark)>;

fn listeners_of(config: &Config) -> Written<'_> {
    let names = config.listeners.iter().map(|listener| &*listener.name);
    names
        .zip(config.marks.whole_listeners.iter().copied())
        .collect()
}

fn clusters_of(config: &Config) -> Written<'_> {
    let names = config.clusters.iter().map(|cluster| &*cluster.name);
    names.zip(config.marks.clusters.iter().copied()).collect()
}

/// Several may have one name, with a configuration each: it alone is compared.
fn filters_of(config: &Config) -> Written<'_> {
    let mut seen = BTreeSet::new();
    let names = config.plugins.iter().map(|plugin| &*plugin.name);
    names
        .filter(|name| seen.insert(*name))
        .map(|name| (name, Mark::default()))
        .collect()
}

fn parts(before: &Written<'_>, now: &Written<'_>) -> Parts {
    let known: BTreeMap<&str, Mark> = before.iter().copied().collect();
    let there: BTreeSet<&str> = now.iter().map(|(name, _)| *name).collect();
    let mut parts = Parts::default();
    for (name, mark) in now {
        match known.get(name) {
            None => parts.added.push((*name).to_owned()),
            Some(before) if before != mark => parts.changed.push((*name).to_owned()),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(name, _)| !there.contains(name));
    parts.removed = gone.map(|(name, _)| (*name).to_owned()).collect();
    parts
}

/// Those under which something else is written, or nothing any more.
fn keys(before: &BTreeMap<String, Mark>, now: &BTreeMap<String, Mark>) -> BTreeSet<String> {
    let all = before.keys().chain(now.keys());
    all.filter(|key| before.get(*key) != now.get(*key))
        .cloned()
        .collect()
}
