//! A start of every plugin before it counts, on a host that shares nothing: what a guest
//! refuses or crashes on is said with the place in the configuration that it comes from.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use cofferdam_abi::module::SCHEMA;
use cofferdam_abi::{
    Attributes, Exchange, Headers, Limit, Limits, LoadError, Module, SharedExchange, Value, Vm,
};

use super::schema::{Mistake, Schema, Unusable};
use super::{Loaded, Loader};
use crate::config::yaml::{duration_text, size_text};
use crate::config::{Diagnostic, PluginConfig};
use crate::host::WorkerHost;

impl Loader {
    /// Starts a plugin once; what keeps it from running.
    pub(super) fn try_start(&self, loaded: &Loaded) -> Option<Diagnostic> {
        let host = Rc::new(WorkerHost::capturing(
            self.clusters.clone(),
            self.node.clone(),
        ));
        let started = Vm::start(
            &*loaded.code,
            loaded.program.version(),
            Rc::new(loaded.settings()),
            host.clone(),
        )
        .and_then(|mut vm| {
            let root = vm.create_root(Rc::new(loaded.plugin()))?;
            if loaded.config.uses.streams {
                vm.try_stream(root, trial()).map_err(LoadError::NoStreams)?;
            }
            Ok(())
        });
        let error = started.err()?;
        let said = host.captured();
        let said = if said.is_empty() {
            "it logged nothing".to_owned()
        } else {
            format!("it logged: {}", said.join(" | "))
        };
        let field = match &error {
            LoadError::ConfigurationRefused => "configuration".to_owned(),
            LoadError::VmStartRefused => "vm_configuration".to_owned(),
            _ => match limit(&error) {
                Some(limit) => format!("limits.{}", limit.as_str()),
                None => "module".to_owned(),
            },
        };
        let what = format!("{error} ({said})");
        let help = hint(&error, &loaded.config.limits);
        Some(diagnostic(&loaded.config, &field, &what, &help))
    }
}

/// An exchange for a guest to be tried with: a request such as there are.
fn trial() -> SharedExchange {
    #[derive(Debug)]
    struct Loopback;
    impl Attributes for Loopback {
        fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
            Some(match path {
                [b"source" | b"destination", b"address"] => Value::text("127.0.0.1:80"),
                [b"source" | b"destination", b"port"] => Value::Int(80),
                [b"connection", b"id"] => Value::Uint(0),
                [b"request", b"protocol"] => Value::text("HTTP/1.1"),
                _ => return None,
            })
        }
    }
    let pairs = [
        (":authority", "localhost"),
        (":path", "/"),
        (":method", "GET"),
        (":scheme", "http"),
    ];
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let entries = pairs.map(|(name, value)| (bytes(name), bytes(value)));
    Exchange::new(Headers::from_entries(entries.into()), Box::new(Loopback)).share()
}

/// What of a configuration does not fit the schema that the module carries; nothing, if it
/// carries none.
fn mistakes(configuration: &[u8], module: &Module) -> Result<Vec<Mistake>, Unusable> {
    match module.custom_section(SCHEMA) {
        Some(schema) => Schema::read(schema)?.check(configuration),
        None => Ok(Vec::new()),
    }
}

/// Likewise, in words; nothing where the schema cannot be used, as when it is run.
pub(crate) fn configuration_misfits(configuration: &[u8], module: &Module) -> Vec<String> {
    let mistakes = mistakes(configuration, module).unwrap_or_default();
    let said = |Mistake {
                    path, what, help, ..
                }: Mistake| match path.as_str() {
        "" => format!("configuration: {what}; {help}"),
        index if index.starts_with('[') => format!("configuration{path}: {what}; {help}"),
        _ => format!("configuration.{path}: {what}; {help}"),
    };
    mistakes.into_iter().map(said).collect()
}

/// Likewise, of a plugin, with the place in the file.
pub(super) fn configuration_problems(plugin: &PluginConfig, module: &Module) -> Vec<Diagnostic> {
    let mistakes = mistakes(&plugin.configuration, module).unwrap_or_else(|Unusable(why)| {
        tracing::warn!(
            filter = %plugin.name,
            "the schema in the module is not used to check the configuration: {why}"
        );
        Vec::new()
    });
    let said = |mistake: Mistake| {
        let mut said = diagnostic(plugin, "configuration", &mistake.what, &mistake.help);
        if !mistake.path.is_empty() && !mistake.path.starts_with('[') {
            said.path.push('.');
        }
        said.path.push_str(&mistake.path);
        said
    };
    mistakes.into_iter().map(said).collect()
}

pub(super) fn diagnostic(plugin: &PluginConfig, field: &str, what: &str, help: &str) -> Diagnostic {
    let key = field.split('.').next();
    let place = plugin.places.iter().find(|(known, _)| Some(*known) == key);
    let position = place.map_or(&plugin.position, |(_, position)| position);
    let path = if plugin.yaml_path.ends_with("configuration") {
        plugin.yaml_path.clone()
    } else {
        format!("{}.{field}", plugin.yaml_path)
    };
    let what =
        format!("filter {}: {}: {what}", plugin.name, plugin.file.display()).replace('\n', " ");
    Diagnostic::at(position, path, what, help.to_owned())
}

/// The limit that a guest came up against.
fn limit(error: &LoadError) -> Option<Limit> {
    match error {
        LoadError::Trapped(trap) | LoadError::NoStreams(trap) => trap.kind.limit(),
        _ => None,
    }
}

/// A limit that may end a guest's start, as it would be written.
fn value(limit: Limit, limits: &Limits) -> Option<String> {
    let size = |bytes| size_text(u64::try_from(bytes).unwrap_or(u64::MAX));
    Some(match limit {
        Limit::Callback => duration_text(limits.callback),
        Limit::StreamCpu => duration_text(limits.stream_cpu?),
        Limit::Fuel => limits.fuel?.to_string(),
        Limit::Memory => size(limits.memory),
        Limit::Table => limits.table.to_string(),
        Limit::Stack => size(limits.stack),
        _ => return None,
    })
}

/// What to do about it, with a filter of these limits.
pub(crate) fn hint(error: &LoadError, limits: &Limits) -> Cow<'static, str> {
    let passed = limit(error).and_then(|limit| Some((limit.as_str(), value(limit, limits)?)));
    if let Some((limit, value)) = passed {
        let help =
            format!("raise `limits.{limit}`, which is {value}, or have the filter need less");
        return help.into();
    }
    let help = match error {
        LoadError::Module(_) => {
            "build it again as a proxy-wasm filter, and see `cofferdam inspect FILE`"
        }
        LoadError::NoRoom(_) => {
            "set `memory: compact`, with which a VM takes 64 MiB of it and not 4 GiB, or raise the limit (RLIMIT_AS)"
        }
        LoadError::Import { .. } => {
            "build it against what a proxy-wasm host offers; `cofferdam inspect FILE` lists it"
        }
        LoadError::Export { .. } => {
            "build it with an SDK of its ABI version; `cofferdam inspect FILE` shows its exports"
        }
        LoadError::Trapped(_) => "mend the filter",
        LoadError::NoStreams(_) => {
            "run it as a service (`services:`) instead of in a chain, or mend the filter"
        }
        LoadError::VmStartRefused => "give it the vm_configuration it expects",
        LoadError::ConfigurationRefused => "give it the configuration it expects",
    };
    help.into()
}
