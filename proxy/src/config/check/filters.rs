//! `filters`: modules and how they run.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_abi::tier::Choice;
use cofferdam_abi::{Capabilities, Compat, Limits};
use sha2::{Digest as _, Sha256};

use super::{Context, Names, capabilities, compat, fields, headers, native};
use crate::config::yaml::{Node, Object, quote, size_text};
use crate::config::{Isolation, OnFailure, PluginConfig, TierUp, Uses};

/// Every filter of the file.
pub(super) struct Filters {
    /// Which number each name has.
    pub(super) names: Names,
    /// By number; `None` where a mistake was noted.
    pub(super) built: Vec<Option<PluginConfig>>,
}

/// Reads all definitions; `base` is the file's own `compat`.
pub(super) fn read(
    nodes: &[Node<'_>],
    context: &Context<'_>,
    base: Compat,
    clusters: &Names,
) -> Filters {
    let mut names = Names::new("filter");
    let mut built = Vec::new();
    for node in nodes {
        let object = node.object(&fields::FILTER);
        let name = object.as_ref().and_then(|object| {
            let node = object.get("name")?;
            let name = node.name()?;
            names.add(name, &node, built.len());
            Some(name)
        });
        built.push(object.and_then(|object| plugin(&object, name, context, base, clusters)));
    }
    Filters { names, built }
}

fn plugin(
    filter: &Object<'_>,
    name: Option<&str>,
    context: &Context<'_>,
    base: Compat,
    clusters: &Names,
) -> Option<PluginConfig> {
    let module = filter.table("module").map(|module| {
        let precompiled = native::precompiled(&module, context);
        let (file, wasm, sha256) = module_file(&module, context)?;
        Some((file, wasm, sha256, precompiled?))
    });
    let bytes = |key| match filter.get(key) {
        Some(node) => node.configuration().map(Bytes::from),
        None => Some(Bytes::new()),
    };
    let vm_configuration = bytes("vm_configuration");
    let configuration = bytes("configuration");
    let environment = environment(filter.get("environment").as_ref());
    let limits = filter.get("limits").map_or_else(
        || Some((Limits::default(), DEFAULT_BODY)),
        |node| node.object(&fields::LIMITS).map(|table| limits(&table)),
    );
    let compat = compat::read(filter.get("compat").as_ref(), base);
    let root_id = filter.text("root_id").unwrap_or("").to_owned();
    let vm_id = filter.text("vm_id").unwrap_or("").to_owned();
    let capabilities = filter
        .table("capabilities")
        .map_or_else(Capabilities::default, |table| {
            capabilities::read(&table, clusters, &vm_id)
        });
    let on_failure = match filter.choice("on_failure") {
        "open" => OnFailure::Open,
        "reload" => OnFailure::Reload,
        _ => OnFailure::Closed,
    };
    let engine = match filter.choice("engine") {
        "interpreter" => Choice::Interpreter,
        "aot" => Choice::Aot,
        _ => Choice::Auto,
    };
    let tier_up = match filter.choice("tier_up") {
        "on_reload" => TierUp::OnReload,
        _ => TierUp::Auto,
    };
    let isolation = match filter.choice("isolation") {
        "request" => Isolation::Request,
        _ => Isolation::Worker,
    };
    let recycle = filter.get("recycle_memory").map(|node| {
        let size = filter.size("recycle_memory");
        let most = limits.as_ref().map(|(limits, _)| limits.memory);
        if let Some(most) = most.filter(|most| size > *most) {
            let most = size_text(most as u64);
            let what = format!("no VM grows to that: `limits.memory` is {most}");
            node.wrong(what, "give no more than that, or raise `limits.memory`");
        }
        size
    });
    let stop_iteration = filter.boolean("allow_on_headers_stop_iteration");
    let trailers = headers::names(&filter.list("trailers"));
    let place = |key| Some((key, filter.get(key)?.place()));
    let places = ["module", "configuration", "vm_configuration", "limits"];
    let (file, wasm, sha256, precompiled) = module??;
    let (limits, body_limit) = limits?;
    Some(PluginConfig {
        name: name?.to_owned(),
        position: filter.node().place(),
        yaml_path: filter.node().path().to_owned(),
        places: places.into_iter().filter_map(place).collect(),
        file,
        wasm,
        precompiled,
        root_id,
        vm_id,
        vm_configuration: vm_configuration?,
        configuration: configuration?,
        environment,
        on_failure,
        limits,
        body_limit,
        compat,
        capabilities: Arc::new(capabilities),
        allow_on_headers_stop_iteration: stop_iteration,
        trailers,
        uses: Uses::default(),
        sha256,
        engine,
        tier_up,
        isolation,
        recycle,
    })
}

/// As the description of `limits.body` has it; a test compares the two.
pub(super) const DEFAULT_BODY: usize = 1 << 20;

fn limits(table: &Object<'_>) -> (Limits, usize) {
    let limits = Limits {
        callback: table.duration("callback"),
        stream_cpu: table.duration_or_none("stream_cpu"),
        fuel: table.quota("fuel"),
        memory: table.size("memory"),
        table: table.count("table"),
        stack: table.size("stack"),
        metrics: table.count("metrics"),
        callouts: table.count("callouts"),
        log: table.rate("log"),
        shared_entries: table.count("shared_entries"),
    };
    (limits, table.size("body"))
}

/// A module's file, what is in it, and the digest it must have, where one is written.
type ModuleFile = (std::path::PathBuf, Bytes, Option<String>);

fn module_file(module: &Object<'_>, context: &Context<'_>) -> Option<ModuleFile> {
    let read = module
        .get("file")
        .and_then(|node| context.files.read(&node));
    let Some(node) = module.get("sha256") else {
        return read.map(|(file, wasm)| (file, wasm, None));
    };
    // A digest of digits only is a number to YAML.
    let expected = node.scalar()?.to_ascii_lowercase();
    if expected.len() != 64 || !expected.bytes().all(|b| b.is_ascii_hexdigit()) {
        let what = format!("{} is not a SHA-256", quote(&expected));
        node.wrong(
            what,
            "write the 64 hexadecimal digits that sha256sum prints",
        );
        return None;
    }
    let (file, wasm) = read?;
    let found = hex(&Sha256::digest(&wasm));
    if found != expected {
        let what = format!("{} has another SHA-256: {found}", file.display());
        node.wrong(
            what,
            "if that is the module you mean, write its SHA-256 here",
        );
        return None;
    }
    Some((file, wasm, Some(expected)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn environment(node: Option<&Node<'_>>) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut variables = Vec::new();
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            let what = format!("{} is not the name of a variable", quote(entry.key));
            entry.at_key.wrong(what, "use a name without `=`");
        }
        let Some(value) = entry.value.scalar() else {
            continue;
        };
        if value.contains('\0') {
            entry
                .value
                .wrong("a variable cannot hold a zero byte", "remove it");
        }
        if seen.insert(entry.key) {
            variables.push((entry.key.to_owned(), value.to_owned()));
        }
    }
    variables
}

/// Filters that are named; those that are not there are noted.
pub(super) fn names(nodes: &[Node<'_>], names: &Names) -> Vec<String> {
    let known = |node: &Node<'_>| {
        let name = node.filled()?;
        names.find(name, node).map(|_| name.to_owned())
    };
    nodes.iter().filter_map(known).collect()
}
