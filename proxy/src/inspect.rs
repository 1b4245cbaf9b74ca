//! `cofferdam inspect`: what a module is, for somebody who has only the file.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use cofferdam_abi::engine::wasmi::Wasmi;
use cofferdam_abi::module::{Entry, Support};
use cofferdam_abi::{Compat, Limits, Module};
use serde_json::{Value, json};

/// What was found in a module.
#[derive(Debug)]
pub struct Report {
    module: Rc<Module>,
    /// What keeps it from running here.
    problems: Vec<String>,
}

/// Reads a module and validates its code.
///
/// # Errors
/// When the bytes are no proxy-wasm module at all.
pub fn inspect(bytes: Bytes) -> Result<Report, String> {
    let module = Module::parse(bytes).map_err(|error| error.to_string())?;
    let mut problems: Vec<String> = module
        .problems(&Compat::SUPERSET)
        .iter()
        .map(ToString::to_string)
        .collect();
    if let Err(error) = Wasmi::new(Limits::default().stack).compile(&module, &Compat::SUPERSET) {
        problems.push(error.to_string());
    }
    Ok(Report {
        module: Rc::new(module),
        problems,
    })
}

// === impl Report ===

impl Report {
    /// Whether nothing keeps it from running here.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.problems.is_empty()
    }

    /// The same as JSON, for tools.
    #[must_use]
    pub fn to_json(&self) -> String {
        let module = &self.module;
        let imports = |wasi: bool| -> Vec<Value> {
            module
                .imports
                .iter()
                .filter(|import| import.module.starts_with("wasi") == wasi)
                .map(|import| {
                    json!({ "module": import.module, "name": import.name, "support": support(&import.support) })
                })
                .collect()
        };
        let callbacks: Vec<&str> = module
            .callbacks
            .iter()
            .map(|callback| callback.name())
            .collect();
        let sections: Vec<Value> = module
            .sections()
            .map(|(name, size)| json!({ "name": name, "bytes": size }))
            .collect();
        let report = json!({
            "abi_version": module.version.as_str(),
            "bytes": module.bytes.len(),
            "sha256": hex(&module.digest),
            "entry": entry(module.entry),
            "allocators": module.allocators,
            "allocator_used": module.allocator(&Compat::SUPERSET),
            "makes_stream_contexts": module.makes_stream_contexts(),
            "callbacks": callbacks,
            "hostcalls": imports(false),
            "wasi": imports(true),
            "memory": module.memory.map(|(initial, maximum)| json!({ "initial_pages": initial, "maximum_pages": maximum })),
            "sections": sections,
            "problems": self.problems,
        });
        format!("{report:#}\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = &self.module;
        writeln!(f, "ABI version      {}", module.version.as_str())?;
        writeln!(f, "size             {} bytes", module.bytes.len())?;
        writeln!(f, "sha256           {}", hex(&module.digest))?;
        writeln!(f, "entry            {}", entry(module.entry))?;
        writeln!(
            f,
            "allocator        {}",
            module.allocator(&Compat::SUPERSET).unwrap_or("none")
        )?;
        match module.memory {
            Some((initial, maximum)) => {
                let most = maximum.map_or_else(
                    || "no maximum".to_owned(),
                    |pages| format!("at most {} KiB", pages * 64),
                );
                writeln!(f, "memory           {} KiB at start, {most}", initial * 64)?;
            }
            None => writeln!(f, "memory           none exported")?,
        }
        let contexts = if module.makes_stream_contexts() {
            "yes: it looks at exchanges or connections"
        } else {
            "no: a service that runs for timers and queues alone"
        };
        writeln!(f, "stream contexts  {contexts}")?;
        list(
            f,
            "callbacks",
            module
                .callbacks
                .iter()
                .map(|callback| callback.name().to_owned()),
        )?;
        let shown = |wasi: bool| {
            module
                .imports
                .iter()
                .filter(move |import| import.module.starts_with("wasi") == wasi)
                .map(move |import| {
                    let name = if wasi {
                        import.full_name()
                    } else {
                        import.name.clone()
                    };
                    match &import.support {
                        Support::Built => name,
                        Support::Later => format!("{name}  (answers UNIMPLEMENTED)"),
                        Support::Missing(problem) => format!("{name}  ({problem})"),
                    }
                })
        };
        list(f, "hostcalls", shown(false))?;
        list(f, "WASI", shown(true))?;
        list(
            f,
            "sections",
            module
                .sections()
                .map(|(name, size)| format!("{size:>9}  {name}")),
        )?;
        let missing: Vec<String> = module.later().map(|import| import.name.clone()).collect();
        list(f, "linked here, not built", missing.into_iter())?;
        list(
            f,
            "keeps it from running here",
            self.problems.iter().cloned(),
        )
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: impl Iterator<Item = String>,
) -> fmt::Result {
    let items: Vec<String> = items.collect();
    writeln!(f, "\n{title} ({})", items.len())?;
    items.iter().try_for_each(|item| writeln!(f, "  {item}"))
}

fn entry(entry: Entry) -> String {
    match entry {
        Entry::Initialize(None) => "_initialize".to_owned(),
        Entry::Initialize(Some(main)) => format!("_initialize, then {main}"),
        Entry::Start => "_start".to_owned(),
        Entry::None => "none".to_owned(),
    }
}

const fn support(support: &Support) -> &'static str {
    match support {
        Support::Built => "built",
        Support::Later => "unimplemented",
        Support::Missing(_) => "missing",
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
