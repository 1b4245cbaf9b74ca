//! The filter of a file of cases.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use cofferdam_abi::harness::{Engine, OnFailure, Role, Spec};
use cofferdam_abi::{Compat, Module, Plugin, VmSettings};

use super::said;
use super::suite::Filter;
use crate::modules::configuration_misfits;

/// Reads it. `missing` is what to do where there is none.
///
/// # Errors
/// Why it cannot be tested.
pub(in super::super) fn read(file: &Path, missing: &str) -> Result<Rc<Module>, String> {
    // Names in a module are its author's, and may be anything.
    let wrong = |what: String| format!("{}: {}", file.display(), said::line(what.as_bytes()));
    let bytes = std::fs::read(file).map_err(|error| wrong(format!("{error}; {missing}")))?;
    let module = Module::parse(bytes.into()).map_err(|error| wrong(error.to_string()))?;
    match module.problems(&Compat::SUPERSET).first() {
        Some(problem) => Err(wrong(problem.to_string())),
        None => Ok(Rc::new(module)),
    }
}

/// The one module in the folder of `file`, or in the one above (cases often lie in `tests/`).
pub(super) fn beside(file: &Path) -> Result<PathBuf, String> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    for folder in [folder.to_owned(), folder.join("..")] {
        let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "wasm"))
            .collect();
        found.sort();
        match &found[..] {
            [] => {}
            [one] => return Ok(one.clone()),
            many => {
                let names: Vec<_> = many.iter().map(|path| path.display().to_string()).collect();
                return Err(format!("which filter? There are {}", names.join(", ")));
            }
        }
    }
    Err("there is no .wasm file beside it, nor in the folder above".to_owned())
}

/// The filter, ready to be started on an engine.
///
/// # Errors
/// What of its configuration does not fit the schema in the module, which keeps a proxy from
/// starting it too; else what the engine says of it.
pub(in super::super) fn spec(
    filter: &Filter,
    module: &Rc<Module>,
    engine: Engine,
) -> Result<Spec, String> {
    let misfits = configuration_misfits(&filter.configuration, module);
    if !misfits.is_empty() {
        return Err(misfits.join(" | "));
    }
    let settings = VmSettings {
        vm_id: filter.vm_id.clone(),
        configuration: filter.vm_configuration.clone(),
        environment: filter.environment.clone(),
        ..VmSettings::default()
    };
    let code = engine
        .code(module, &settings)
        .map_err(|error| error.to_string())?;
    let plugin = Plugin {
        name: filter.name.clone(),
        root_id: filter.root_id.clone(),
        configuration: filter.configuration.clone(),
        allow_on_headers_stop_iteration: filter.hold_headers || module.holds_headers(),
        ..Plugin::default()
    };
    Ok(Spec {
        code,
        module: module.clone(),
        settings: Rc::new(settings),
        plugin: Rc::new(plugin),
        on_failure: OnFailure::Closed,
        role: Role::Filter,
    })
}
