//! What a new filter's folder has in it. `{{name}}` is the filter's name, `{{sdk}}` what its
//! manifest says of the guest library.

use super::{Language, Template};

/// Files by name.
type Files = &'static [(&'static str, &'static str)];

/// Those of one template: what all of its language share, its source, and its cases.
macro_rules! files {
    ($folder:literal, $source:literal, $ending:literal, $cases:literal, [$($shared:literal),*], $template:literal) => {
        &[
            $((
                $shared,
                include_str!(concat!("templates/", $folder, "/", $shared, ".in")),
            ),)*
            (".gitignore", include_str!("templates/gitignore.in")),
            ($source, include_str!(concat!("templates/", $folder, "/", $template, $ending, ".in"))),
            ("tests.yaml", include_str!(concat!($cases, $template, ".yaml.in"))),
        ]
    };
}

macro_rules! any {
    ($which:expr, $($rest:tt)*) => {
        match $which {
            Template::Headers => files!($($rest)*, "headers"),
            Template::Body => files!($($rest)*, "body"),
            Template::Auth => files!($($rest)*, "auth"),
            Template::Tcp => files!($($rest)*, "tcp"),
        }
    };
}

/// Those of a filter. The cases are the same in all languages but ours, where configurations
/// are not plain text.
#[rustfmt::skip]
pub(super) const fn files(which: Template, language: Language) -> Files {
    match language {
        Language::Rust => any!(which, "rust", "src/lib.rs", ".rs", "templates/rust/", ["Cargo.toml"]),
        Language::ProxyWasm => any!(which, "proxy-wasm", "src/lib.rs", ".rs", "templates/", ["Cargo.toml"]),
        Language::Go => any!(which, "go", "main.go", ".go", "templates/", ["go.mod", "host.go"]),
        Language::Assemblyscript => {
            any!(which, "assemblyscript", "assembly/index.ts", ".ts", "templates/", ["package.json"])
        }
    }
}
