//! What a module says about itself, before any engine sees it: its version of the ABI,
//! how it starts, what it exports for us and what it wants of us.
//!
//! An import we do not offer is an error that names it here, not a riddle from a linker.

mod features;
mod raw;

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmparser::{FuncType, Parser, Payload, ValType};

use crate::callbacks::Callback;
use crate::compat::Compat;
use crate::error::LoadError;
use crate::hostcalls::{self, Signature, Wire, later};
use crate::version::AbiVersion;
pub(crate) use features::Shape;
use raw::Raw;

/// A module's bytes and what can be read off them. Not yet validated:
/// [`Module::validate`] does that, before an engine sees it.
#[derive(Debug, Clone)]
pub struct Module {
    /// The module itself.
    pub bytes: Bytes,
    /// SHA-256 of [`Module::bytes`].
    pub digest: [u8; 32],
    /// The version it speaks.
    pub version: AbiVersion,
    /// How it starts (section 1.4).
    pub entry: Entry,
    /// Its functions for memory of its own, in the order of preference of the
    /// specification (section 1.5).
    pub allocators: Vec<&'static str>,
    /// Callbacks it exports.
    pub callbacks: Vec<Callback>,
    /// Functions it imports.
    pub imports: Vec<Import>,
    /// Its memory, if it exports one as `memory`: initial and largest size in 64 KiB pages.
    pub memory: Option<(u64, Option<u64>)>,
    /// Types of the exported functions the host looks for, by name.
    exports: Vec<(&'static str, Arc<FuncType>)>,
}

/// How a module starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// `_initialize`, then what is named, if anything.
    Initialize(Option<&'static str>),
    /// `_start`.
    Start,
    /// Nothing to call.
    None,
}

/// One imported function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Module part of its name.
    pub module: String,
    /// Field part of its name.
    pub name: String,
    /// Its type.
    pub ty: Arc<FuncType>,
    /// What we make of it.
    pub support: Support,
}

/// What the host makes of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// Offered.
    Built,
    /// Links, and answers UNIMPLEMENTED.
    Later,
    /// Not offered, or not with that type.
    Missing(String),
}

/// The custom section by which a module asks for what in Envoy is the option
/// `allow_on_headers_stop_iteration`.
pub const HOLD_HEADERS: &str = "filter.hold_headers";

/// The custom section with the JSON schema of a plugin's configuration.
pub const SCHEMA: &str = "filter.schema";

/// Names of allocators, in the order of the specification.
const ALLOCATORS: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];

/// Functions by which a module starts (section 1.4): name, number of parameters, and whether
/// there is a result.
const ENTRIES: [(&str, usize, bool); 4] = [
    ("_initialize", 0, false),
    ("_start", 0, false),
    ("main", 2, true),
    ("__main_void", 0, true),
];

/// Most imports of a module. The host offers about 200 functions, and linkers name each once.
const MOST_IMPORTS: usize = 1000;

/// Most values of a type that are shown to people; no hostcall has as many.
const MOST_SHOWN: usize = 16;

// === impl Module ===

impl Module {
    /// Reads a module.
    ///
    /// # Errors
    /// When the bytes are no module, carry no marker of a version we speak, or export
    /// something the host calls under another type.
    pub fn parse(bytes: Bytes) -> Result<Self, LoadError> {
        let raw = Raw::read(&bytes)?;
        let names = raw.functions.iter().map(|(name, _)| *name);
        let version =
            AbiVersion::of_exports(names).ok_or_else(|| LoadError::Module(no_marker(&raw)))?;
        let module = Self {
            digest: Sha256::digest(&bytes).into(),
            version,
            entry: raw.entry(),
            allocators: ALLOCATORS
                .into_iter()
                .filter(|name| raw.exports(name))
                .collect(),
            callbacks: Callback::ALL
                .iter()
                .copied()
                .filter(|callback| callback.exists_in(version) && raw.exports(callback.name()))
                .collect(),
            imports: raw.imports.into_iter().map(Import::classify).collect(),
            memory: raw.memory,
            exports: raw.functions,
            bytes,
        };
        module.check_exports()?;
        Ok(module)
    }

    /// Everything that keeps this module from being linked under `compat`.
    #[must_use]
    pub fn problems(&self, compat: &Compat) -> Vec<LoadError> {
        let mut problems = Vec::new();
        if !compat.link_union {
            problems.extend(self.departures());
        }
        for import in &self.imports {
            let problem = match &import.support {
                Support::Missing(problem) => problem.clone(),
                _ if compat.link_union || self.owns(import) => continue,
                _ => format!("not part of version {} of the ABI", self.version.as_str()),
            };
            problems.push(LoadError::Import {
                name: import.full_name(),
                problem,
            });
        }
        if self.allocators.is_empty() && self.wants_memory() {
            problems.push(LoadError::Export {
                name: "proxy_on_memory_allocate".to_owned(),
                problem: "missing, and so is malloc: the host could hand nothing over".to_owned(),
            });
        }
        if self.memory.is_none() && self.wants_memory() {
            problems.push(LoadError::Export {
                name: "memory".to_owned(),
                problem: "missing, and imported hostcalls take pointers into it".to_owned(),
            });
        }
        problems
    }

    /// The allocator to use: the module's only one, or the one `compat` prefers.
    #[must_use]
    pub fn allocator(&self, compat: &Compat) -> Option<&'static str> {
        if compat.spec_allocator_first {
            self.allocators.first()
        } else {
            self.allocators.last()
        }
        .copied()
    }

    /// Imported hostcalls that answer UNIMPLEMENTED.
    pub fn later(&self) -> impl Iterator<Item = &Import> {
        self.imports
            .iter()
            .filter(|import| import.support == Support::Later)
    }

    /// Whether it has anything to do for an HTTP exchange or a connection; a module
    /// without is a service that runs for its timers and queues alone.
    #[must_use]
    pub fn makes_stream_contexts(&self) -> bool {
        use Callback as C;
        self.callbacks.iter().any(|callback| {
            matches!(
                callback,
                C::NewConnection
                    | C::DownstreamData
                    | C::UpstreamData
                    | C::DownstreamConnectionClose
                    | C::UpstreamConnectionClose
                    | C::RequestHeaders
                    | C::RequestBody
                    | C::RequestTrailers
                    | C::ResponseHeaders
                    | C::ResponseBody
                    | C::ResponseTrailers
                    | C::Log
            )
        })
    }

    /// Whether it says of itself that its header callbacks, when they answer 1, hold the
    /// headers only (custom section [`HOLD_HEADERS`]).
    #[must_use]
    pub fn holds_headers(&self) -> bool {
        self.sections().any(|(name, _)| name == HOLD_HEADERS)
    }

    /// Every section in order, up to the first that cannot be read: its name (custom sections
    /// by their own) and its size.
    pub fn sections(&self) -> impl Iterator<Item = (&str, usize)> {
        // Read again rather than kept: whoever asks does it once.
        let payloads = Parser::new(0).parse_all(&self.bytes).map_while(Result::ok);
        payloads.filter_map(|payload| {
            let (id, range) = payload.as_section()?;
            let name = match payload {
                Payload::CustomSection(section) => section.name(),
                _ => raw::section_name(id),
            };
            Some((name, range.end.saturating_sub(range.start)))
        })
    }

    /// What is in its first custom section of that name.
    #[must_use]
    pub fn custom_section(&self, name: &str) -> Option<&[u8]> {
        let mut payloads = Parser::new(0).parse_all(&self.bytes);
        payloads.find_map(|payload| match payload {
            Ok(Payload::CustomSection(section)) if section.name() == name => Some(section.data()),
            _ => None,
        })
    }

    /// How many parameters the module's export of that callback takes.
    #[must_use]
    pub fn params(&self, callback: Callback) -> usize {
        self.export(callback.name())
            .map_or_else(|| callback.params(self.version), |ty| ty.params().len())
    }

    /// Whether the module exports that callback.
    #[must_use]
    pub fn exports_callback(&self, callback: Callback) -> bool {
        self.callbacks.contains(&callback)
    }

    /// What of this module only we understand: other hosts refuse it.
    fn departures(&self) -> Vec<LoadError> {
        let mut problems = Vec::new();
        if !self.version.is_standard() {
            problems.push(LoadError::Module(format!(
                "{} is no version of the specification (`compat.link: union` allows it)",
                self.version.marker()
            )));
        }
        for callback in &self.callbacks {
            let params = callback.params(self.version);
            if self.params(*callback) != params {
                let wanted = signature(params, callback.returns());
                problems.extend(self.expect(callback.name(), &wanted).err());
            }
        }
        problems
    }

    fn export(&self, name: &str) -> Option<&FuncType> {
        let mut exports = self.exports.iter();
        let found = exports.find(|(export, _)| *export == name);
        found.map(|(_, ty)| ty.as_ref())
    }

    /// That an export, if it is there, has the type it must have.
    fn expect(&self, name: &str, wanted: &FuncType) -> Result<(), LoadError> {
        match self.export(name) {
            Some(ty) if ty != wanted => Err(LoadError::Export {
                name: name.to_owned(),
                problem: format!("its type is {}, must be {}", show(ty), show(wanted)),
            }),
            _ => Ok(()),
        }
    }

    fn owns(&self, import: &Import) -> bool {
        if import.module == "env" {
            return hostcalls::belongs_to(&import.name, self.version);
        }
        true
    }

    /// Whether any import takes pointers: all but these few do.
    fn wants_memory(&self) -> bool {
        self.imports.iter().any(|import| {
            import.module == "env"
                && import.name.starts_with("proxy_")
                && !matches!(
                    import.name.as_str(),
                    "proxy_set_tick_period_milliseconds"
                        | "proxy_continue_stream"
                        | "proxy_close_stream"
                        | "proxy_continue_request"
                        | "proxy_continue_response"
                        | "proxy_clear_route_cache"
                        | "proxy_set_effective_context"
                        | "proxy_grpc_cancel"
                        | "proxy_grpc_close"
                        | "proxy_done"
                )
        })
    }

    fn check_exports(&self) -> Result<(), LoadError> {
        for callback in &self.callbacks {
            let found = self.params(*callback);
            let params = if callback.also_takes(found, self.version) {
                found
            } else {
                callback.params(self.version)
            };
            self.expect(callback.name(), &signature(params, callback.returns()))?;
        }
        for name in &self.allocators {
            self.expect(name, &signature(1, true))?;
        }
        for (name, params, result) in ENTRIES {
            self.expect(name, &signature(params, result))?;
        }
        Ok(())
    }
}

// === impl Import ===

impl Import {
    /// `module.name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }

    fn classify((module, name, ty): (String, String, Arc<FuncType>)) -> Self {
        let (built, later): (&[Signature], &[Signature]) = match module.as_str() {
            "env" => (hostcalls::ENV, later::LATER),
            module if hostcalls::WASI_MODULES.contains(&module) => (hostcalls::WASI, &[]),
            _ => (&[], &[]),
        };
        let find = |list: &'static [Signature]| list.iter().find(|row| row.name == name);
        let support = match (find(built), find(later)) {
            (Some(row), _) => {
                check_type(row, &ty).map_or_else(Support::Missing, |()| Support::Built)
            }
            (None, Some(row)) => {
                check_type(row, &ty).map_or_else(Support::Missing, |()| Support::Later)
            }
            (None, None) => Support::Missing("this host offers no such function".to_owned()),
        };
        Self {
            module,
            name,
            ty,
            support,
        }
    }
}

/// Parameters and result of an import against our row. The three functions of 0.1.0 that
/// the specification writes without a result may be imported either way.
fn check_type(row: &Signature, ty: &FuncType) -> Result<(), String> {
    let params: Vec<ValType> = row.params.iter().map(|wire| val_type(*wire)).collect();
    let result: Vec<ValType> = row.result.map(val_type).into_iter().collect();
    let lenient = may_return_nothing(row.name) && ty.results().is_empty();
    let short = lacks_metadata(row.name, ty.params().len())
        && ty.params().iter().all(|param| *param == ValType::I32);
    if (ty.params() == params || short) && (ty.results() == result || lenient) {
        return Ok(());
    }
    let offered = FuncType::new(params, result);
    Err(format!(
        "imported as {}, offered as {}",
        show(ty),
        show(&offered)
    ))
}

/// Whether a gRPC call is imported as AssemblyScript's SDKs do: without the two parameters
/// of its metadata (section 2.13).
pub(crate) fn lacks_metadata(name: &str, params: usize) -> bool {
    matches!(
        (name, params),
        ("proxy_grpc_call", 10) | ("proxy_grpc_stream", 7)
    )
}

pub(crate) fn may_return_nothing(name: &str) -> bool {
    matches!(
        name,
        "proxy_continue_request" | "proxy_continue_response" | "proxy_clear_route_cache"
    )
}

const fn val_type(wire: Wire) -> ValType {
    match wire {
        Wire::I32 => ValType::I32,
        Wire::I64 => ValType::I64,
        Wire::F64 => ValType::F64,
    }
}

/// So many `i32`, and one as the result where there is one.
fn signature(params: usize, result: bool) -> FuncType {
    FuncType::new(
        std::iter::repeat_n(ValType::I32, params),
        result.then_some(ValType::I32),
    )
}

fn show(ty: &FuncType) -> String {
    let mut text = String::from("(");
    for (index, param) in ty.params().iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        if index == MOST_SHOWN {
            let _ = write!(text, "{separator}…");
            break;
        }
        let _ = write!(text, "{separator}{param}");
    }
    text.push(')');
    for result in ty.results().iter().take(MOST_SHOWN) {
        let _ = write!(text, " -> {result}");
    }
    if ty.results().len() > MOST_SHOWN {
        text.push_str(" …");
    }
    text
}

fn no_marker(raw: &Raw) -> String {
    match &raw.marker {
        Some(name) => format!("{name} is no version this host speaks (0.1.0, 0.2.0, 0.2.1, 0.2.100)"),
        None => "it exports no function proxy_abi_version_0_2_1 (or 0_2_0, 0_1_0): not a proxy-wasm module"
            .to_owned(),
    }
}
