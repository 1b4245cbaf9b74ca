//! Filter chains: the listener's with the route's changes, as indexes of plugins.
//!
//! A plugin is a filter with one configuration. The same filter with the same
//! configuration is one plugin however many routes name it; with another one it is another
//! plugin, which shares the first one's VM because its `vm_id` and code are the same.
//! Services and access loggers are named like the entries of a chain.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::fields;
use super::filters::Filters;
use crate::config::yaml::{Node, quote};
use crate::config::{PluginConfig, Uses};

/// All plugins that chains have asked for so far.
pub(super) struct Chains<'f> {
    filters: &'f Filters,
    plugins: Vec<PluginConfig>,
    known: HashMap<(usize, Bytes), usize>,
    used: HashSet<usize>,
}

/// One place in a chain.
#[derive(Debug, Clone)]
pub(super) struct Link<'t> {
    /// Which filter, by number.
    filter: usize,
    /// Another configuration than the filter's own, and where it is written.
    configuration: Option<(Bytes, Node<'t>)>,
}

/// A listener's chain, for its routes to change.
pub(super) type Chain<'t> = Vec<Link<'t>>;

/// An entry as it is written.
struct Written<'t> {
    node: Node<'t>,
    link: Link<'t>,
    disabled: bool,
}

// === impl Written ===

impl Written<'_> {
    /// Outside of chains there is nothing to disable.
    fn is_enabled(&self) -> bool {
        if self.disabled {
            let help = "remove the entry";
            self.node
                .wrong("a filter is disabled for a route only", help);
        }
        !self.disabled
    }
}

// === impl Chains ===

impl<'f> Chains<'f> {
    pub(super) fn new(filters: &'f Filters) -> Self {
        Self {
            filters,
            plugins: Vec::new(),
            known: HashMap::new(),
            used: HashSet::new(),
        }
    }

    /// The chain a listener's `filters` make.
    pub(super) fn base<'t>(&self, nodes: &[Node<'t>]) -> Chain<'t> {
        let written = self.entries(nodes);
        written
            .into_iter()
            .filter(|entry| !entry.disabled)
            .map(|entry| entry.link)
            .collect()
    }

    /// The chain of a route: `base` with the changes in the route's `filters`.
    pub(super) fn route(&mut self, base: &Chain<'_>, nodes: &[Node<'_>]) -> Vec<usize> {
        let mut chain = base.clone();
        for Written {
            node,
            link,
            disabled,
        } in self.entries(nodes)
        {
            let place = chain.iter().position(|other| other.filter == link.filter);
            match (place, disabled) {
                (Some(place), true) => {
                    chain.remove(place);
                }
                // A bare name keeps what the listener's chain has.
                (Some(place), false) if link.configuration.is_some() => chain[place] = link,
                (Some(_), false) => {}
                (None, true) => node.wrong(
                    "this filter is not in the listener's chain, so it cannot be disabled here",
                    "remove the entry",
                ),
                (None, false) => chain.push(link),
            }
        }
        let mut places = Vec::with_capacity(chain.len());
        for link in &chain {
            places.extend(self.plugin(link, |uses| uses.streams = true));
        }
        places
    }

    /// The plugins a listener's `access_log_filters` name.
    pub(super) fn loggers(&mut self, nodes: &[Node<'_>]) -> Vec<usize> {
        let mut places = Vec::new();
        for entry in self.entries(nodes) {
            if entry.is_enabled() {
                places.extend(self.plugin(&entry.link, |uses| uses.access_log = true));
            }
        }
        places
    }

    /// Marks the plugins that `services` names. Called when all chains are known: what runs
    /// on every worker is no singleton.
    pub(super) fn services(&mut self, nodes: &[Node<'_>]) {
        for entry in self.entries(nodes) {
            if !entry.is_enabled() {
                continue;
            }
            let Some(place) = self.plugin(&entry.link, |uses| uses.service = true) else {
                continue;
            };
            let uses = self.plugins[place].uses;
            if uses.streams || uses.access_log {
                let what = "this filter runs on every worker already: a chain or an access log \
                            has it with the same configuration";
                let help = "remove it here, or define it a second time under another name";
                entry.node.wrong(what, help);
            }
        }
    }

    /// Every plugin. Filters that no chain uses come last: they are loaded and checked all
    /// the same.
    pub(super) fn into_plugins(mut self) -> Vec<Arc<PluginConfig>> {
        for (number, filter) in self.filters.built.iter().enumerate() {
            if let (Some(plugin), false) = (filter, self.used.contains(&number)) {
                self.plugins.push(plugin.clone());
            }
        }
        self.plugins.into_iter().map(Arc::new).collect()
    }

    /// The index of what `link` means, used as `mark` says; `None` where the filter itself
    /// has a mistake.
    fn plugin(&mut self, link: &Link<'_>, mark: fn(&mut Uses)) -> Option<usize> {
        let filter = self.filters.built.get(link.filter)?.as_ref()?;
        self.used.insert(link.filter);
        let configuration = match &link.configuration {
            Some((bytes, _)) => bytes,
            None => &filter.configuration,
        };
        let key = (link.filter, configuration.clone());
        if let Some(index) = self.known.get(&key) {
            mark(&mut self.plugins[*index].uses);
            return Some(*index);
        }
        let mut plugin = filter.clone();
        if let Some((bytes, node)) = &link.configuration {
            plugin.configuration = bytes.clone();
            // What a guest refuses is what stands here.
            plugin.position = node.place();
            plugin.places.clear();
            node.path().clone_into(&mut plugin.yaml_path);
        }
        let index = self.plugins.len();
        mark(&mut plugin.uses);
        self.plugins.push(plugin);
        self.known.insert(key, index);
        Some(index)
    }

    /// The entries of a list; those with a mistake are noted and left out.
    fn entries<'t>(&self, nodes: &[Node<'t>]) -> Vec<Written<'t>> {
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        for node in nodes {
            let Some((name_node, configuration, disabled)) = entry(node) else {
                continue;
            };
            let Some(name) = name_node.filled() else {
                continue;
            };
            let Some(filter) = self.filters.names.find(name, &name_node) else {
                continue;
            };
            if !seen.insert(filter) {
                let what = format!("{} is listed twice", quote(name));
                name_node.wrong(what, "remove one; a filter stands in a chain once");
                continue;
            }
            let link = Link {
                filter,
                configuration,
            };
            entries.push(Written {
                node: node.clone(),
                link,
                disabled,
            });
        }
        entries
    }
}

type Entry<'t> = (Node<'t>, Option<(Bytes, Node<'t>)>, bool);

/// A bare name, or a table with one.
fn entry<'t>(node: &Node<'t>) -> Option<Entry<'t>> {
    if !node.is_table() {
        return Some((node.clone(), None, false));
    }
    let object = node.object(&fields::CHAIN_ENTRY)?;
    let configuration = object.get("configuration").and_then(|node| {
        let bytes = Bytes::from(node.configuration()?);
        Some((bytes, node))
    });
    let disabled = object.boolean("disabled");
    Some((object.get("name")?, configuration, disabled))
}
