//! From a file to a [`Config`], or to everything that is wrong with it.
//!
//! The walk never stops at a mistake: every step notes what it finds and goes on with a
//! stand-in value, so that one run shows all there is to mend. Only when nothing was noted
//! is what it built handed out. Files named by the configuration are read here, once each;
//! modules are only read: running them is a later step's work, and so is looking up names.

mod access_log;
mod action;
mod balance;
mod callouts;
mod capabilities;
mod chain;
mod clusters;
mod compat;
mod dns;
pub mod fields;
mod files;
pub(crate) mod filters;
mod headers;
mod health;
mod host;
mod listeners;
mod marks;
mod matching;
mod native;
mod node;
mod proxied;
mod retry;
mod routes;
mod shared;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod tracing;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use cofferdam_abi::Compat;

pub use super::yaml::Diagnostic;
use super::yaml::{MAX_FILE_BYTES, Node, Object, Position, Problems, did_you_mean, parse, quote};
use super::{Cluster, Config, Marks, PluginConfig};
use files::Files;

/// Reads and checks the configuration in `path`.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    load_parts(path).map_err(|unusable| unusable.problems)
}

/// A file that cannot be used, and what in it could be.
#[derive(Debug)]
pub struct Unusable {
    /// Everything that is wrong with it, in file order.
    pub problems: Vec<Diagnostic>,
    /// The plugins that are as they should be: there may still be more wrong with them,
    /// and whoever mends the file wants to know that at once.
    pub plugins: Vec<Arc<PluginConfig>>,
    /// The clusters that are: a plugin may want to know them when it is started.
    pub clusters: Vec<Arc<Cluster>>,
}

/// As [`load`], for a caller that goes on with what is good.
///
/// # Errors
/// [`Unusable`].
pub fn load_parts(path: &Path) -> Result<Config, Unusable> {
    let file = path.display().to_string();
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    match read(path) {
        Ok(text) => check(&text, &file, folder),
        Err((position, what, help)) => {
            let problems = Problems::new(&file);
            problems.add(position, "$", &what, help);
            Err(Unusable {
                problems: problems.into_sorted(),
                plugins: Vec::new(),
                clusters: Vec::new(),
            })
        }
    }
}

/// Checks the configuration `text`. `file_name` is what messages call it; relative file
/// names in it are looked up in `folder`.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load_str(text: &str, file_name: &str, folder: &Path) -> Result<Config, Vec<Diagnostic>> {
    check(text, file_name, folder).map_err(|unusable| unusable.problems)
}

/// A file that a configuration has named before, as it is now.
///
/// # Errors
/// Why it could not be read.
pub(crate) fn read_again(path: &Path) -> Result<bytes::Bytes, String> {
    files::read(path).map_err(|error| files::reason(&error))
}

/// A file that stands on the command line: what is in it, up to what a module may have.
///
/// # Errors
/// Why it could not be read, and what to do.
pub fn read_named(path: &Path) -> Result<bytes::Bytes, String> {
    files::bounded(path).map_err(|error| {
        let why = files::reason(&error);
        format!("it cannot be read: {why}; check its name and permissions")
    })
}

/// What the steps of the walk share.
struct Context<'t> {
    files: Files<'t>,
    /// Whether anybody may sign native code; known once `artifacts` is read.
    signers: Cell<bool>,
}

/// Names that must differ, and that others may refer to.
struct Names {
    /// What carries them: `filter`, `cluster`, `listener`.
    what: &'static str,
    at: BTreeMap<String, (usize, Position)>,
}

fn check(text: &str, file_name: &str, folder: &Path) -> Result<Config, Unusable> {
    let problems = Problems::new(file_name);
    let config = if text.len() as u64 > MAX_FILE_BYTES {
        problems.add(Position::START, "$", TOO_LARGE, TOO_LARGE_HELP);
        None
    } else {
        let context = Context {
            files: Files::new(folder),
            signers: Cell::new(false),
        };
        parse(text, "listeners:", &problems)
            .and_then(|tree| walk(&Node::root(&tree, &problems), &context, &problems))
    };
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        config => {
            let (plugins, clusters) = config
                .map(|config| (config.plugins, config.clusters))
                .unwrap_or_default();
            Err(Unusable {
                problems: problems.into_sorted(),
                plugins,
                clusters,
            })
        }
    }
}

/// The whole file. Names are collected before the routes that refer to them.
fn walk(root: &Node<'_>, context: &Context<'_>, problems: &Problems) -> Option<Config> {
    let shown = root.masked();
    let root = root.object(&fields::ROOT)?;
    let compat = compat::read(root.get("compat").as_ref(), Compat::default());
    let clusters = clusters::read(&root.list("clusters"), context);
    let artifacts = native::artifacts(&root, context);
    let filters = filters::read(&root.list("filters"), context, compat, &clusters.names);
    let mut chains = chain::Chains::new(&filters);
    let listeners = listeners::read(&root, context, &mut chains, &clusters);
    chains.services(&root.list("services"));
    let plugins = chains.into_plugins();
    let dns = Arc::new(dns::read(&root));
    let callouts = callouts::read(&root, &plugins, &dns, context);
    let admin = shared::admin(&root, &listeners, context);
    let ready_needs = filters::names(&root.list("ready_needs"), &filters.names);
    let tracing = tracing::read(&root, &clusters).map(Arc::new);
    let mut config = Config {
        listeners: listeners.into_iter().map(Arc::new).collect(),
        plugins,
        clusters: clusters.built.into_iter().map(Arc::new).collect(),
        callouts: Arc::new(callouts),
        dns,
        node: Arc::new(node::read(&root)),
        workers: match root.get("workers") {
            Some(_) => root.count("workers"),
            None => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256)),
        },
        drain_time: root.duration("drain_time"),
        access_log: root
            .get("access_log")
            .and_then(|node| access_log::read(&node, context)),
        tracing,
        shared: shared::bounds(&root),
        admin,
        upgrade: shared::upgrade(&root, context),
        artifacts,
        compiler: native::compiler(&root),
        ready_needs,
        filter_drain_time: root.duration("filter_drain_time"),
        no_exec_memory: root.boolean("no_exec_memory"),
        compact_memory: root.choice("memory") == "compact",
        shown: Arc::new(shown),
        watch: root
            .table("reload")
            .and_then(|reload| reload.duration_or_none("watch")),
        files: context.files.names(),
        marks: Marks::default(),
    };
    // They need a form that what has been found wrong may not have, which would be told again.
    if problems.is_empty() {
        config.marks = marks::of(&root, &config.clusters);
    }
    Some(config)
}

const TOO_LARGE: &str = "the file is larger than 8MiB";
const TOO_LARGE_HELP: &str = "split the configuration";

type Unreadable = (Position, String, &'static str);

fn read(path: &Path) -> Result<String, Unreadable> {
    let failed = |error: std::io::Error| {
        let what = format!("the file cannot be read: {}", files::reason(&error));
        (Position::START, what, "check its name and permissions")
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    // One byte more than allowed tells a file of exactly that size from a larger one.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err((Position::START, TOO_LARGE.to_owned(), TOO_LARGE_HELP));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let text = String::from_utf8_lossy(good);
        let last = text.rsplit('\n').next().unwrap_or("");
        let position = Position {
            line: text.matches('\n').count() + 1,
            column: last.chars().count() + 1,
        };
        (
            position,
            "the file is not UTF-8 from here on".to_owned(),
            "save it as UTF-8",
        )
    })
}

// === impl Names ===

impl Names {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            at: BTreeMap::new(),
        }
    }

    /// Gives `name` the next number; the second of two alike is a mistake.
    fn add(&mut self, name: &str, node: &Node<'_>, number: usize) {
        if let Some((_, first)) = self.at.get(name) {
            let what = format!(
                "the {} {} is already defined on line {}",
                self.what,
                quote(name),
                first.line
            );
            node.wrong(what, "rename one of the two");
            return;
        }
        self.at.insert(name.to_owned(), (number, node.position()));
    }

    /// The number of `name`; a name that nothing has is a mistake.
    fn find(&self, name: &str, node: &Node<'_>) -> Option<usize> {
        if let Some((number, _)) = self.at.get(name) {
            return Some(*number);
        }
        let help = did_you_mean(name, self.at.keys().map(String::as_str).take(1_000)).map_or_else(
            || {
                format!(
                    "define it under `{}s:`, or use a name that is there",
                    self.what
                )
            },
            |near| format!("did you mean {}?", quote(near)),
        );
        node.wrong(format!("there is no {} {}", self.what, quote(name)), help);
        None
    }
}

/// The one condition of a table that must have one of `names`; none is a mistake.
fn one_condition<'t, const N: usize>(
    table: &Object<'t>,
    names: [&'static str; N],
) -> Option<(&'static str, Node<'t>)> {
    let written = names.map(|name| (name, table.get(name)));
    let found = only_one_of(&written).map(|(name, node)| (name, node.clone()));
    // A slip of the finger is told as one already.
    if found.is_none() && !table.slipped(&names) {
        let help = format!("add one of {}", names.join(", "));
        table.node().wrong("there is no condition here", help);
    }
    found
}

/// A table in which exactly one of several keys is allowed, or at most one: notes every
/// further one, and answers the first.
fn only_one_of<'n, 't>(
    written: &'n [(&'static str, Option<Node<'t>>)],
) -> Option<(&'static str, &'n Node<'t>)> {
    let mut present = written
        .iter()
        .filter_map(|(name, node)| Some((*name, node.as_ref()?)));
    let first = present.next();
    if let Some((first, _)) = first {
        for (name, node) in present {
            let what = format!("`{name}` cannot stand beside `{first}`");
            node.wrong(what, "keep one of the two");
        }
    }
    first
}
