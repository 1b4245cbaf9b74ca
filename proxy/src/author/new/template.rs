//! What a new filter's folder has in it. `{{name}}` is the filter's name, `{{sdk}}` what its
//! manifest says of the guest library.

use super::{Language, Template};

/// Files by name.
type Files = &'static [(&'static str, &'static str)];

macro_rules! files {
    ($language:literal, $template:literal, $($shared:literal),*) => {
        Some(&[
            $((
                $shared,
                include_str!(concat!("templates/", $language, "/", $shared, ".in")),
            ),)*
            (".gitignore", include_str!("templates/gitignore.in")),
            ("src/lib.rs", include_str!(concat!("templates/", $language, "/", $template, ".rs.in"))),
            ("tests.yaml", include_str!(concat!("templates/", $language, "/", $template, ".yaml.in"))),
        ])
    };
}

/// Those of a filter; `None`: there is no such template in that language.
pub(super) const fn files(template: Template, language: Language) -> Option<Files> {
    match (language, template) {
        (Language::Rust, Template::Headers) => files!("rust", "headers", "Cargo.toml"),
        (Language::Rust, Template::Body) => files!("rust", "body", "Cargo.toml"),
        (Language::Rust, Template::Auth) => files!("rust", "auth", "Cargo.toml"),
        (Language::Rust, Template::Tcp) => files!("rust", "tcp", "Cargo.toml"),
        (Language::ProxyWasm, Template::Headers) => files!("proxy-wasm", "headers", "Cargo.toml"),
        (Language::ProxyWasm, Template::Body) => files!("proxy-wasm", "body", "Cargo.toml"),
        (Language::ProxyWasm, Template::Auth) => files!("proxy-wasm", "auth", "Cargo.toml"),
        (Language::ProxyWasm, Template::Tcp) => files!("proxy-wasm", "tcp", "Cargo.toml"),
        (Language::Go, Template::Headers) => Some(&[
            ("go.mod", include_str!("templates/go/go.mod.in")),
            ("host.go", include_str!("templates/go/host.go.in")),
            ("main.go", include_str!("templates/go/headers.go.in")),
            (".gitignore", include_str!("templates/gitignore.in")),
            ("tests.yaml", include_str!("templates/go/headers.yaml.in")),
        ]),
        (Language::Assemblyscript, Template::Headers) => Some(&[
            (
                "package.json",
                include_str!("templates/assemblyscript/package.json.in"),
            ),
            (
                "assembly/index.ts",
                include_str!("templates/assemblyscript/headers.ts.in"),
            ),
            (".gitignore", include_str!("templates/gitignore.in")),
            (
                "tests.yaml",
                include_str!("templates/assemblyscript/headers.yaml.in"),
            ),
        ]),
        (Language::Go | Language::Assemblyscript, _) => None,
    }
}

/// What is said where there is none.
pub(super) fn missing(template: Template, language: Language) -> String {
    format!(
        "there is no template {} in {}; it has headers",
        format!("{template:?}").to_lowercase(),
        match language {
            Language::Go => "Go",
            _ => "AssemblyScript",
        }
    )
}
