//! A module's sections, read once and in order.
//!
//! Nothing has validated the module yet, so what is kept of it is bounded by what the host
//! looks for, not by what the module lists: a million exports of three bytes each may all
//! have one type of two thousand values.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmparser::{
    BinaryReaderError, ExternalKind, FuncType, FunctionSectionReader, MemorySectionReader, Parser,
    Payload, TypeRef, TypeSectionReader,
};

use super::{ALLOCATORS, ENTRIES, Entry, MOST_IMPORTS};
use crate::callbacks::Callback;
use crate::error::LoadError;
use crate::version::AbiVersion;

/// What the host looks for in a module.
pub(super) struct Raw {
    pub(super) imports: Vec<(String, String, Arc<FuncType>)>,
    /// Exported functions that the host has a use for, in order.
    pub(super) functions: Vec<(&'static str, Arc<FuncType>)>,
    /// The first export that looks like a marker of the ABI's version.
    pub(super) marker: Option<String>,
    pub(super) memory: Option<(u64, Option<u64>)>,
}

/// The sections we care for, as they come.
#[derive(Default)]
struct Sections<'m> {
    types: Option<TypeSectionReader<'m>>,
    functions: Option<FunctionSectionReader<'m>>,
    memories: Option<MemorySectionReader<'m>>,
    imports: Vec<wasmparser::Import<'m>>,
    /// Exported functions that the host has a use for, by name and index.
    exports: Vec<(&'static str, u32)>,
    marker: Option<&'m str>,
    /// Index of what is exported as `memory`.
    memory: Option<u32>,
}

// === impl Raw ===

impl Raw {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        if !bytes.starts_with(b"\0asm") {
            let hint = if bytes.is_empty() {
                "the file is empty"
            } else {
                "it does not begin as one"
            };
            return Err(LoadError::Module(format!("not WebAssembly ({hint})")));
        }
        let mut sections = Sections::default();
        for payload in Parser::new(0).parse_all(bytes) {
            sections.payload(payload.map_err(malformed)?)?;
        }
        sections.resolve().map_err(malformed)
    }

    pub(super) fn exports(&self, name: &str) -> bool {
        self.functions.iter().any(|(export, _)| *export == name)
    }

    pub(super) fn entry(&self) -> Entry {
        if self.exports("_initialize") {
            Entry::Initialize(
                ["main", "__main_void"]
                    .into_iter()
                    .find(|name| self.exports(name)),
            )
        } else if self.exports("_start") {
            Entry::Start
        } else {
            Entry::None
        }
    }
}

// === impl Sections ===

impl<'m> Sections<'m> {
    fn payload(&mut self, payload: Payload<'m>) -> Result<(), LoadError> {
        match payload {
            Payload::TypeSection(types) => self.types = Some(types),
            Payload::FunctionSection(functions) => self.functions = Some(functions),
            Payload::MemorySection(memories) => self.memories = Some(memories),
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if self.imports.len() == MOST_IMPORTS {
                        return Err(LoadError::Module(format!(
                            "it imports more than {MOST_IMPORTS} functions, of which there are far fewer"
                        )));
                    }
                    self.imports.push(import.map_err(malformed)?);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(malformed)?;
                    match export.kind {
                        ExternalKind::Func => self.export(export.name, export.index),
                        ExternalKind::Memory if export.name == "memory" => {
                            self.memory = Some(export.index);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn export(&mut self, name: &'m str, index: u32) {
        if self.marker.is_none() && name.starts_with("proxy_abi_version_") {
            self.marker = Some(name);
        }
        // The same name twice is not valid, and will be refused as such.
        if let Some(name) = looked_for(name)
            && !self.exports.iter().any(|(known, _)| *known == name)
        {
            self.exports.push((name, index));
        }
    }

    /// Finds the types of what is kept, in one pass over each section.
    fn resolve(self) -> Result<Raw, BinaryReaderError> {
        let memory = self.memory()?;
        let exported = self.exported()?;
        let mut types: BTreeMap<u32, Option<Arc<FuncType>>> = BTreeMap::new();
        let imported = self.imports.iter().filter_map(function_type);
        for ty in imported.chain(exported.iter().map(|(_, ty)| *ty)) {
            types.insert(ty, None);
        }
        if let Some(section) = self.types {
            for (index, ty) in (0..).zip(section.into_iter_err_on_gc_types()) {
                let ty = ty?;
                if let Some(wanted) = types.get_mut(&index) {
                    *wanted = Some(Arc::new(ty));
                }
            }
        }
        let type_at = |index: u32| types.get(&index).cloned().flatten();
        let nothing = Arc::new(FuncType::new([], []));
        let import = |import: &wasmparser::Import<'_>| {
            // Modules that import their memory or table are from before 2020 and are
            // refused by name, as functions are.
            let name = match kind(import.ty) {
                None => import.name.to_owned(),
                Some(kind) => format!("{} ({kind})", import.name),
            };
            let ty = function_type(import).and_then(type_at);
            let ty = ty.unwrap_or_else(|| nothing.clone());
            (import.module.to_owned(), name, ty)
        };
        Ok(Raw {
            imports: self.imports.iter().map(import).collect(),
            functions: exported
                .into_iter()
                .filter_map(|(name, ty)| Some((name, type_at(ty)?)))
                .collect(),
            marker: self.marker.map(str::to_owned),
            memory,
        })
    }

    /// Exported functions with the indices of their types.
    fn exported(&self) -> Result<Vec<(&'static str, u32)>, BinaryReaderError> {
        let wanted = self.exports.iter().map(|(_, index)| (*index, None));
        let mut types: BTreeMap<u32, Option<u32>> = wanted.collect();
        let own = self.functions.clone().into_iter().flatten();
        // Imported functions have the first indices.
        let imported = self.imports.iter().filter_map(function_type).map(Ok);
        for (index, ty) in (0..).zip(imported.chain(own)) {
            let ty = ty?;
            if let Some(wanted) = types.get_mut(&index) {
                *wanted = Some(ty);
            }
        }
        let exports = self.exports.iter();
        let typed = exports.filter_map(|(name, index)| Some((*name, (*types.get(index)?)?)));
        Ok(typed.collect())
    }

    fn memory(&self) -> Result<Option<(u64, Option<u64>)>, BinaryReaderError> {
        let Some(index) = self.memory.and_then(|index| usize::try_from(index).ok()) else {
            return Ok(None);
        };
        let imported = self.imports.iter().filter_map(|import| match import.ty {
            TypeRef::Memory(memory) => Some(Ok(memory)),
            _ => None,
        });
        let own = self.memories.clone().into_iter().flatten();
        let memory = imported.chain(own).nth(index).transpose()?;
        Ok(memory.map(|memory| (memory.initial, memory.maximum)))
    }
}

/// The name, if it is one that the host looks for among functions.
fn looked_for(name: &str) -> Option<&'static str> {
    let others = || {
        let entries = ENTRIES.iter().map(|(name, ..)| *name);
        ALLOCATORS
            .into_iter()
            .chain(entries)
            .find(|known| *known == name)
    };
    Callback::from_name(name)
        .map(Callback::name)
        .or_else(|| AbiVersion::from_marker(name).map(AbiVersion::marker))
        .or_else(others)
}

const fn function_type(import: &wasmparser::Import<'_>) -> Option<u32> {
    match import.ty {
        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => Some(ty),
        _ => None,
    }
}

/// What an import is that is no function.
const fn kind(ty: TypeRef) -> Option<&'static str> {
    Some(match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => return None,
        TypeRef::Memory(_) => "a memory",
        TypeRef::Table(_) => "a table",
        TypeRef::Global(_) => "a global",
        TypeRef::Tag(_) => "a tag",
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: BinaryReaderError) -> LoadError {
    LoadError::Module(error.to_string())
}

pub(super) const fn section_name(id: u8) -> &'static str {
    match id {
        1 => "type",
        2 => "import",
        3 => "function",
        4 => "table",
        5 => "memory",
        6 => "global",
        7 => "export",
        8 => "start",
        9 => "element",
        10 => "code",
        11 => "data",
        12 => "data count",
        13 => "tag",
        _ => "unknown",
    }
}
