//! `cofferdam build` where something is not as it should be. (What it builds: `new`.)

use std::path::Path;

use crate::support::{Dir, proxy};

fn build(folder: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = proxy::command();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("build");
    command
        .args(["build"])
        .arg(folder)
        .env("CARGO_TARGET_DIR", target)
        .envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A crate without dependencies.
pub(super) fn package(dir: &Dir, name: &str, more: &str, code: &str) {
    let folder = dir.join(name);
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest =
        format!("[package]\nname = \"{name}\"\nversion = \"1.2.3\"\nedition = \"2024\"\n{more}\n");
    dir.write(&format!("{name}/Cargo.toml"), manifest);
    dir.write(&format!("{name}/src/lib.rs"), code);
}

pub(super) const CDYLIB: &str = "[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";

/// Enough to be a filter.
pub(super) const FILTER: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(_: usize) -> usize { 0 }
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(_: u32, _: u32, _: u32) -> u32 { 0 }
"#;

#[test]
fn what_is_no_filter_is_said() {
    let dir = Dir::new();
    let (status, _, err) = build(dir.path(), &[]);
    assert_eq!(status, Some(64), "{err}");
    assert!(
        err.contains("there is no Cargo.toml, go.mod or package.json"),
        "{err}"
    );
    package(&dir, "library", "[workspace]", FILTER);
    let (status, _, err) = build(&dir.join("library"), &[]);
    assert_eq!(status, Some(64), "{err}");
    assert!(err.contains("crate-type = [\"cdylib\"]"), "{err}");
    dir.write("Cargo.toml", "[workspace]\nmembers = []\n");
    let (status, _, err) = build(dir.path(), &[]);
    assert_eq!(status, Some(64), "{err}");
    assert!(err.contains("this is a workspace"), "{err}");
    dir.write("Cargo.toml", "[package\n");
    let (status, _, err) = build(dir.path(), &[]);
    assert_eq!(status, Some(64), "{err}");
}

#[test]
fn what_does_not_compile_is_told_by_the_compiler() {
    let dir = Dir::new();
    package(&dir, "broken", CDYLIB, "fn f() -> u32 { \"text\" }");
    let (status, out, err) = build(&dir.join("broken"), &[]);
    assert_eq!((status, &*out), (Some(64), ""), "{err}");
    assert!(
        err.contains("mismatched types") && err.contains("src/lib.rs:1"),
        "{err}"
    );
    assert!(!dir.join("broken/broken.wasm").exists());
}

/// A crate whose dependency wants a browser: stand-ins for chrono and wasm-bindgen, which no
/// test can download.
#[test]
fn imports_of_browsers_are_traced_to_crate_and_feature() {
    let dir = Dir::new();
    let imports = "#[link(wasm_import_module = \"__wbindgen_placeholder__\")]\nunsafe extern \"C\" { fn __wbindgen_describe(v: u32); }\npub fn describe() { unsafe { __wbindgen_describe(1) } }";
    package(&dir, "wasm-bindgen", "", imports);
    let features = "[features]\ndefault = [\"wasmbind\"]\nwasmbind = [\"dep:wasm-bindgen\"]\n[dependencies]\nwasm-bindgen = { path = \"../wasm-bindgen\", optional = true }";
    package(
        &dir,
        "dates",
        features,
        "#[cfg(feature = \"wasmbind\")]\npub use wasm_bindgen::describe;\n#[cfg(not(feature = \"wasmbind\"))]\npub fn describe() {}",
    );
    let wants = format!("{CDYLIB}[dependencies]\ndates = {{ path = \"../dates\" }}");
    let code = format!(
        "{FILTER}#[unsafe(no_mangle)]\npub extern \"C\" fn proxy_on_log(_: u32) {{ dates::describe() }}"
    );
    package(&dir, "stamp", &wants, &code);
    let (status, out, err) = build(&dir.join("stamp"), &[]);
    assert_eq!((status, &*out), (Some(64), ""), "{err}");
    for part in [
        "no proxy takes this module: ",
        "__wbindgen_describe",
        "they come from dates 1.2.3 (wanted by stamp), by its feature `wasmbind`: write `default-features = false`",
    ] {
        assert!(err.contains(part), "{part}\n{err}");
    }
    assert!(!dir.join("stamp/stamp.wasm").exists());
    // As it is told to be mended.
    let manifest = dir.read("stamp/Cargo.toml");
    let mended = manifest.replace("\"../dates\"", "\"../dates\", default-features = false");
    dir.write("stamp/Cargo.toml", mended);
    let (status, out, err) = build(&dir.join("stamp"), &[]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("stamp.wasm  "), "{out}");
    assert!(
        out.contains("exports  2\n  proxy_on_log\n  proxy_on_request_headers\n"),
        "{out}"
    );
}

#[test]
fn a_machine_that_can_compile_nothing_is_told_what_to_install() {
    let dir = Dir::new();
    package(&dir, "fine", CDYLIB, FILTER);
    // Neither way is there: cargo alone is on the path.
    let tools = dir.join("bin");
    std::fs::create_dir(&tools).unwrap();
    let cargo = std::env::var_os("PATH").and_then(|path| {
        let mut files = std::env::split_paths(&path).map(|folder| folder.join("cargo"));
        files.find(|file| file.is_file())
    });
    let Some(cargo) = cargo else {
        crate::support::require::skipped::<()>("cargo is not installed");
        return;
    };
    std::os::unix::fs::symlink(cargo, tools.join("cargo")).unwrap();
    std::os::unix::fs::symlink("/bin/false", tools.join("rustc")).unwrap();
    let path = tools.to_str().unwrap();
    let environment = [("PATH", path), ("COFFERDAM_GUEST_TOOLCHAIN", "rustup")];
    let (status, _, err) = build(&dir.join("fine"), &environment);
    assert_eq!(status, Some(69), "{err}");
    assert!(err.contains("wasm32-wasip1"), "{err}");
}
