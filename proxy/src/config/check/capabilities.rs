//! `filters[].capabilities`: names are the host's own lists, so that a slip of the finger
//! is told here and takes nothing away unseen.

use cofferdam_abi::{Capabilities, Target};

use super::Names;
use crate::config::yaml::{Node, Object, did_you_mean, quote};

/// What `table` allows the filter whose VM has that id.
pub(super) fn read(table: &Object<'_>, clusters: &Names, vm_id: &str) -> Capabilities {
    let mut capabilities = Capabilities::default();
    if let Some(node) = table.get("hostcalls") {
        let known: Vec<_> = Capabilities::hostcall_names().collect();
        capabilities.restrict_hostcalls(&names(&node, "hostcall", &known));
    }
    if let Some(node) = table.get("callbacks") {
        let known: Vec<_> = Capabilities::callback_names().collect();
        capabilities.restrict_callbacks(&names(&node, "callback", &known));
    }
    if let Some(node) = table.get("callouts") {
        let listed = node.list().unwrap_or_default();
        let target = |node| target(node, clusters);
        capabilities.restrict_callouts(listed.iter().filter_map(target).collect());
    }
    if let Some(node) = table.get("shared") {
        let listed = node.list().unwrap_or_default();
        let mut ids: Vec<_> = listed
            .iter()
            .filter_map(|node| node.text().map(str::to_owned))
            .collect();
        ids.push(vm_id.to_owned());
        capabilities.restrict_shared(ids);
    }
    capabilities
}

/// `cluster:NAME`, or a URL without a path.
fn target(node: &Node<'_>, clusters: &Names) -> Option<Target> {
    let text = node.filled()?;
    if let Some(name) = text.strip_prefix("cluster:") {
        clusters.find(name, node)?;
        return Some(Target::Cluster(name.to_owned().into()));
    }
    let target = if text.contains("://") {
        Target::parse_url(text)
    } else {
        None
    };
    if target.is_none() {
        let help = "write cluster:NAME, https://HOST or http://HOST, each host with or without \
                    :PORT, and no path";
        node.wrong(format!("{} names no target", quote(text)), help);
    }
    target
}

/// A list of some of the `known` names of `what`.
fn names<'t>(node: &Node<'t>, what: &str, known: &[&'static str]) -> Vec<&'t str> {
    let listed = node.list().unwrap_or_default();
    let mut names = Vec::new();
    for node in listed {
        let Some(name) = node.filled() else { continue };
        if known.contains(&name) {
            names.push(name);
            continue;
        }
        // What is left out most often is what all names begin with.
        let prefixed = ["proxy_", "proxy_on_"].map(|prefix| format!("{prefix}{name}"));
        let near = known
            .iter()
            .copied()
            .find(|known| prefixed.iter().any(|prefixed| prefixed == known))
            .or_else(|| did_you_mean(name, known.iter().copied()));
        let help = near.map_or_else(
            || format!("`cofferdam inspect` lists the {what}s of a module"),
            |near| format!("did you mean `{near}`?"),
        );
        node.wrong(format!("there is no {what} {}", quote(name)), help);
    }
    names
}
