//! `/filters`.

use serde_json::{Value, json};

use super::State;
use crate::config::check::filters::hex;
use crate::config::{Isolation, OnFailure};

pub(super) fn shown(state: &State) -> Value {
    let loaded = state.subject.shared.modules.loaded();
    let missing = state.subject.shared.readiness.missing();
    loaded
        .iter()
        .map(|loaded| {
            let config = &loaded.config;
            let mut uses = Vec::new();
            for (used, word) in [
                (config.uses.streams, "chain"),
                (config.uses.access_log, "access_log"),
                (config.uses.service, "service"),
            ] {
                uses.extend(used.then_some(word));
            }
            let on_failure = match config.on_failure {
                OnFailure::Closed => "closed",
                OnFailure::Open => "open",
                OnFailure::Reload => "reload",
            };
            let isolation = match config.isolation {
                Isolation::Worker => "worker",
                Isolation::Request => "request",
            };
            json!({
                "name": config.name,
                "defined": config.yaml_path,
                "file": config.file.display().to_string(),
                "sha256": hex(&loaded.program.digest()),
                "abi": loaded.program.version().as_str(),
                "engine": loaded.code.tier().as_str(),
                "used_in": uses,
                "vm_id": config.vm_id,
                "root_id": config.root_id,
                "isolation": isolation,
                "on_failure": on_failure,
                "missing": missing.contains(&config.name),
            })
        })
        .collect()
}
