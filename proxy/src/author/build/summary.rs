//! What was built, for people: size, imports, exports, and what a proxy has to know.

use std::fmt::Write as _;

use cofferdam_abi::harness::Engine;
use cofferdam_abi::module::Import;
use cofferdam_abi::{Compat, Module, VmSettings};

/// What a module is; `before` is its size before wasm-opt, if that was used.
///
/// # Errors
/// What keeps the module from running in a proxy.
pub(super) fn text(name: &str, bytes: &[u8], before: Option<usize>) -> Result<String, String> {
    let module = Module::parse(bytes.to_vec().into()).map_err(|error| error.to_string())?;
    let mut problems: Vec<String> = module
        .problems(&Compat::SUPERSET)
        .iter()
        .map(ToString::to_string)
        .collect();
    // Its code is validated by whoever runs it.
    if problems.is_empty()
        && let Err(error) = Engine::Interpreter.code(&module, &VmSettings::default())
    {
        problems.push(error.to_string());
    }
    if !problems.is_empty() {
        return Err(format!(
            "no proxy takes this module: {}",
            problems.join("; ")
        ));
    }
    let mut out = String::new();
    let by = before.map_or_else(String::new, |before| format!(" ({before} before wasm-opt)"));
    let exports = module
        .callbacks
        .iter()
        .map(|callback| callback.name().to_owned());
    let imports = module.imports.iter().map(Import::full_name);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{name}.wasm  {} bytes{by}", bytes.len());
    list(&mut out, "exports", exports.collect());
    list(&mut out, "imports", imports.collect());
    if module.holds_headers() {
        out.push_str("holds headers until it has seen the body; Envoy needs `allow_on_headers_stop_iteration: true` for it\n");
    }
    Ok(out)
}

fn list(out: &mut String, title: &str, mut names: Vec<String>) {
    names.sort();
    let _ = writeln!(out, "{title}  {}", names.len());
    for name in names {
        let _ = writeln!(out, "  {name}");
    }
}
