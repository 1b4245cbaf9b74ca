//! A filter of a case as the host crate wants it: code, settings, plugin.

use std::rc::Rc;

use bytes::Bytes;
use cofferdam_abi::harness::{self, Engine, Spec};
use cofferdam_abi::{Capabilities, Compat, Limits, Module, Plugin, Target, VmSettings};

use crate::suite::case::{Filter, OnFailure, Role};

/// Reads, checks and compiles it.
///
/// # Errors
/// Why the host will not have it.
pub(super) fn spec(filter: &Filter, engine: Engine, compat: Compat) -> Result<Spec, String> {
    let wasm = filter.module()?;
    let module = Module::parse(wasm.into()).map_err(|error| error.to_string())?;
    if let Some(problem) = module.problems(&compat).into_iter().next() {
        return Err(problem.to_string());
    }
    let limits = Limits::default();
    let limits = Limits {
        callback: filter.callback_limit.map_or(limits.callback, |wait| wait.0),
        memory: filter.memory_limit.unwrap_or(limits.memory),
        ..limits
    };
    let settings = VmSettings {
        vm_id: filter.vm_id.clone(),
        configuration: filter.vm_configuration.clone().into(),
        environment: filter.environment.clone().into_iter().collect(),
        limits,
        compat,
        capabilities: capabilities(filter).into(),
    };
    let code = engine
        .code(&module, &settings)
        .map_err(|error| error.to_string())?;
    let plugin = Plugin {
        name: filter.name.clone(),
        root_id: filter.root_id.clone().unwrap_or_default(),
        configuration: filter.configuration.clone().into(),
        allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration,
        body_limit: filter.body_limit.unwrap_or(1 << 20),
    };
    Ok(Spec {
        code,
        module: Rc::new(module),
        settings: Rc::new(settings),
        plugin: Rc::new(plugin),
        on_failure: match filter.on_failure {
            OnFailure::Closed => harness::OnFailure::Closed,
            OnFailure::Open => harness::OnFailure::Open,
            OnFailure::Reload => harness::OnFailure::Reload,
        },
        role: match filter.role {
            Role::Filter => harness::Role::Filter,
            Role::Service => harness::Role::Service,
            Role::AccessLog => harness::Role::AccessLog,
        },
    })
}

fn capabilities(filter: &Filter) -> Capabilities {
    let mut out = Capabilities::default();
    if let Some(wanted) = &filter.capabilities {
        let names = |list: &Vec<String>| list.clone();
        if let Some(list) = wanted.hostcalls.as_ref().map(names) {
            out.restrict_hostcalls(&list.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if let Some(list) = wanted.callbacks.as_ref().map(names) {
            out.restrict_callbacks(&list.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if let Some(list) = &wanted.callouts {
            out.restrict_callouts(list.iter().filter_map(|text| target(text)).collect());
        }
        if let Some(list) = &wanted.shared {
            out.restrict_shared(list.clone());
        }
    }
    out
}

/// `cluster:NAME`, or a URL.
fn target(text: &str) -> Option<Target> {
    match text.strip_prefix("cluster:") {
        Some(name) => Some(Target::Cluster(Bytes::copy_from_slice(name.as_bytes()))),
        None => Target::parse_url(text),
    }
}
