//! Who has dragged in imports of browsers (`__wbindgen_*`), which no proxy offers: which
//! crate, by which of its features, and who asked for that.

use std::path::Path;

use serde_json::Value;

use super::{Failure, rust, toolchain};

/// Crates that are bindings to a browser themselves; who depends on one is to blame.
const BINDINGS: [&str; 3] = ["wasm-bindgen", "js-sys", "web-sys"];

/// A sentence for each crate that depends on bindings, of the crate in a folder.
pub(super) fn culprits(dir: &Path) -> Result<Vec<String>, Failure> {
    let filter = ["--filter-platform", toolchain::TARGET];
    let metadata = rust::metadata(&dir.join("Cargo.toml"), &filter)?;
    Ok(find(&metadata))
}

fn find(metadata: &Value) -> Vec<String> {
    let nodes = list(&metadata["resolve"]["nodes"]);
    let name = |id: &Value| package(metadata, id).map(|package| text(&package["name"]));
    let is_binding = |id: &Value| name(id).is_some_and(|name| is_binding(&name));
    let mut out = Vec::new();
    for node in nodes {
        let Some(this) = package(metadata, &node["id"]) else {
            continue;
        };
        let asks = list(&node["dependencies"]).iter().any(is_binding);
        if !asks || is_binding(&node["id"]) {
            continue;
        }
        let users = nodes
            .iter()
            .filter(|other| list(&other["dependencies"]).contains(&node["id"]))
            .filter_map(|other| name(&other["id"]))
            .filter(|name| !is_binding_name(name));
        out.push(sentence(
            this,
            list(&node["features"]),
            &users.collect::<Vec<_>>(),
        ));
    }
    out
}

fn sentence(package: &Value, active: &[Value], users: &[String]) -> String {
    let this = format!("{} {}", text(&package["name"]), text(&package["version"]));
    let by = match users {
        [] => String::new(),
        users => format!(" (wanted by {})", users.join(", ")),
    };
    let features = blamed(&package["features"], active);
    let default = list(&package["features"]["default"]);
    match &features[..] {
        [] => format!("they come from {this}{by}: it always wants them on wasm; use another crate"),
        features => {
            let names: Vec<String> = features.iter().map(|name| format!("`{name}`")).collect();
            let by_default = features
                .iter()
                .any(|name| default.iter().any(|one| one == name));
            let how = match by_default {
                true => "write `default-features = false` and the features you need without it",
                false => "leave that feature out",
            };
            format!(
                "they come from {this}{by}, by its feature {}: {how}",
                names.join(", ")
            )
        }
    }
}

/// The active features of a crate that name a binding themselves.
fn blamed(features: &Value, active: &[Value]) -> Vec<String> {
    let names = active.iter().map(text);
    let guilty = |name: &String| {
        let enables = list(&features[&**name]);
        enables.iter().map(text).any(|one| {
            let one = one.trim_start_matches("dep:");
            let one = one.split(['/', '?']).next().unwrap_or_default();
            is_binding_name(one)
        })
    };
    // The implicit feature of an optional dependency has the dependency's name.
    let mut out: Vec<String> = names.filter(guilty).collect();
    if out.len() > 1 {
        out.retain(|name| !is_binding_name(name));
    }
    out
}

fn is_binding(name: &str) -> bool {
    is_binding_name(name) || name.starts_with("wasm-bindgen-")
}

fn is_binding_name(name: &str) -> bool {
    BINDINGS.contains(&name)
}

fn package<'m>(metadata: &'m Value, id: &Value) -> Option<&'m Value> {
    list(&metadata["packages"])
        .iter()
        .find(|package| package["id"] == *id)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(features: &Value, active: &Value) -> Value {
        json!({
            "packages": [
                { "id": "a", "name": "my-filter", "version": "0.1.0", "features": {} },
                { "id": "c", "name": "chrono", "version": "0.4.40", "features": features },
                { "id": "j", "name": "js-sys", "version": "0.3.1", "features": {} },
                { "id": "w", "name": "wasm-bindgen", "version": "0.2.1", "features": {} },
            ],
            "resolve": { "nodes": [
                { "id": "a", "dependencies": ["c"], "features": [] },
                { "id": "c", "dependencies": ["j", "w"], "features": active },
                { "id": "j", "dependencies": ["w"], "features": [] },
                { "id": "w", "dependencies": [], "features": [] },
            ] },
        })
    }

    #[test]
    fn crate_feature_and_remedy_are_named() {
        let features = json!({ "default": ["clock", "wasmbind"], "wasmbind": ["dep:js-sys", "wasm-bindgen"], "wasm-bindgen": ["dep:wasm-bindgen"] });
        let found = find(&metadata(
            &features,
            &json!(["default", "clock", "wasmbind", "wasm-bindgen"]),
        ));
        assert_eq!(
            found,
            [
                "they come from chrono 0.4.40 (wanted by my-filter), by its feature `wasmbind`: write `default-features = false` and the features you need without it"
            ]
        );
        let features = json!({ "default": [], "js": ["js-sys"] });
        let found = find(&metadata(&features, &json!(["js"])));
        assert_eq!(
            found,
            [
                "they come from chrono 0.4.40 (wanted by my-filter), by its feature `js`: leave that feature out"
            ]
        );
    }

    #[test]
    fn a_crate_that_always_wants_them_is_named_too() {
        let found = find(&metadata(&json!({}), &json!([])));
        assert_eq!(
            found,
            [
                "they come from chrono 0.4.40 (wanted by my-filter): it always wants them on wasm; use another crate"
            ]
        );
    }

    #[test]
    fn a_graph_without_bindings_blames_nobody() {
        let graph = json!({ "packages": [{ "id": "a", "name": "a", "version": "1.0.0" }], "resolve": { "nodes": [{ "id": "a", "dependencies": [], "features": [] }] } });
        assert!(find(&graph).is_empty());
    }
}
