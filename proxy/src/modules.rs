//! Modules of one configuration: read, checked, compiled once and shared by all workers.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::wasmi::Wasmi;
use cofferdam_abi::property::Node;
use cofferdam_abi::{
    AbiVersion, Attributes, Exchange, Headers, LoadError, Module, Plugin, SharedExchange, Value,
    Vm, VmSettings,
};

use crate::config::{Cluster, Diagnostic, PluginConfig};
use crate::host::{ClusterNames, WorkerHost, thread_time};

pub(crate) use cofferdam_abi::engine::wasmtime::{Native, NativeConfig};

/// Native stack of a guest on the hot tier, in bytes.
pub(crate) const STACK: usize = 512 << 10;

/// What native code of `plugin` is made for.
pub(crate) fn native_config(_plugin: &PluginConfig) -> NativeConfig {
    NativeConfig {
        stack: STACK,
        fuel: false,
        compact: false,
    }
}

/// One plugin of the configuration with its code.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Arc<PluginConfig>,
    pub(crate) code: Arc<dyn Code>,
    pub(crate) version: AbiVersion,
    pub(crate) digest: [u8; 32],
}

/// Compiles every plugin and starts each that is sound once, to see that it can be.
///
/// # Errors
/// One diagnostic for each plugin that cannot run, with what its guest said.
pub(crate) fn load(
    plugins: &[Arc<PluginConfig>],
    clusters: &[Arc<Cluster>],
    node: &Arc<Node>,
) -> Result<Vec<Arc<Loaded>>, Vec<Diagnostic>> {
    let clusters = Arc::new(ClusterNames::new(clusters));
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    let mut engines = HashMap::new();
    let mut codes: HashMap<_, (Arc<dyn Code>, Module)> = HashMap::new();
    for plugin in plugins {
        let stack = plugin.limits.stack;
        let engine = engines
            .entry(stack)
            .or_insert_with(|| Wasmi::new(stack).calibrate(thread_time));
        // A file is read once, so its bytes are at one place: that is their name here.
        let key = (
            plugin.wasm.as_ptr() as usize,
            plugin.wasm.len(),
            stack,
            plugin.compat.spec_allocator_first,
        );
        let compiled = match codes.get(&key) {
            Some((code, module)) => Ok((code.clone(), module.clone())),
            None => compile(plugin, engine),
        };
        match compiled {
            Ok((code, module)) => {
                codes.insert(key, (code.clone(), module.clone()));
                let unsound = module.problems(&plugin.compat);
                let plugin = Loaded {
                    config: plugin.clone(),
                    code,
                    version: module.version,
                    digest: module.digest,
                };
                if unsound.is_empty() {
                    problems.extend(plugin.try_start(&clusters, node));
                }
                for problem in unsound {
                    problems.push(diagnostic(
                        &plugin.config,
                        "module",
                        &problem.to_string(),
                        hint(&problem),
                    ));
                }
                loaded.push(Arc::new(plugin));
            }
            Err(error) => problems.push(diagnostic(
                plugin,
                "module",
                &error.to_string(),
                hint(&error),
            )),
        }
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(problems)
    }
}

fn compile(plugin: &PluginConfig, engine: &Wasmi) -> Result<(Arc<dyn Code>, Module), LoadError> {
    let module = Module::parse(plugin.wasm.clone())?;
    let later: Vec<String> = module.later().map(|import| import.name.clone()).collect();
    if !later.is_empty() {
        tracing::info!(
            filter = %plugin.name,
            hostcalls = later.join(","),
            "imported hostcalls that this host answers with UNIMPLEMENTED"
        );
    }
    let code = engine.compile(&module, &plugin.compat)?;
    Ok((Arc::from(code), module))
}

// === impl Loaded ===

impl Loaded {
    /// What its VM is made of.
    pub(crate) fn settings(&self) -> VmSettings {
        VmSettings {
            vm_id: self.config.vm_id.clone(),
            configuration: self.config.vm_configuration.clone(),
            environment: self.config.environment.clone(),
            limits: self.config.limits.clone(),
            compat: self.config.compat,
            capabilities: self.config.capabilities.clone(),
        }
    }

    /// What its root is made of.
    pub(crate) fn plugin(&self) -> Plugin {
        Plugin {
            name: self.config.name.clone(),
            root_id: self.config.root_id.clone(),
            configuration: self.config.configuration.clone(),
            allow_on_headers_stop_iteration: self.config.allow_on_headers_stop_iteration,
            body_limit: self.config.body_limit,
        }
    }

    fn try_start(&self, clusters: &Arc<ClusterNames>, node: &Arc<Node>) -> Option<Diagnostic> {
        let host = Rc::new(WorkerHost::capturing(clusters.clone(), node.clone()));
        let started = Vm::start(
            &*self.code,
            self.version,
            Rc::new(self.settings()),
            host.clone(),
        )
        .and_then(|mut vm| {
            let root = vm.create_root(Rc::new(self.plugin()))?;
            if self.config.uses.streams {
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
        let (field, what) = match &error {
            LoadError::ConfigurationRefused => ("configuration", error.to_string()),
            LoadError::VmStartRefused => ("vm_configuration", error.to_string()),
            _ => ("module", error.to_string()),
        };
        Some(diagnostic(
            &self.config,
            field,
            &format!("{what} ({said})"),
            hint(&error),
        ))
    }
}

/// An exchange for a guest to be tried with: a request such as there are.
pub(crate) fn trial() -> SharedExchange {
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

fn diagnostic(plugin: &PluginConfig, field: &str, what: &str, help: &str) -> Diagnostic {
    let mut position = plugin.position.rsplitn(3, ':');
    let column = position
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(1);
    let line = position
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(1);
    let path = if plugin.yaml_path.ends_with("configuration") {
        plugin.yaml_path.clone()
    } else {
        format!("{}.{field}", plugin.yaml_path)
    };
    Diagnostic {
        file: position.next().unwrap_or_default().to_owned(),
        line,
        column,
        path,
        what: format!("filter {}: {}: {what}", plugin.name, plugin.file.display())
            .replace('\n', " "),
        help: help.to_owned(),
    }
}

fn hint(error: &LoadError) -> &'static str {
    match error {
        LoadError::Module(_) => {
            "build it again as a proxy-wasm filter, and see `cofferdam inspect FILE`"
        }
        LoadError::Import { .. } => {
            "build it against what a proxy-wasm host offers; `cofferdam inspect FILE` lists it"
        }
        LoadError::Export { .. } => {
            "build it with an SDK of its ABI version; `cofferdam inspect FILE` shows its exports"
        }
        LoadError::Trapped(_) => "mend the filter, or raise the limit that the message names",
        LoadError::NoStreams(_) => {
            "run it as a service (`services:`) instead of in a chain, or mend the filter"
        }
        LoadError::VmStartRefused => "give it the vm_configuration it expects",
        LoadError::ConfigurationRefused => "give it the configuration it expects",
    }
}
