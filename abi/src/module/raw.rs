//! A module's sections, read once and in order.

use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef};

use super::Entry;
use crate::error::LoadError;

/// The sections we care for, as they come.
#[derive(Default)]
pub(super) struct Raw {
    types: Vec<FuncType>,
    /// Type index of every function, imported ones first.
    functions_by_index: Vec<u32>,
    pub(super) imports: Vec<(String, String, FuncType)>,
    pub(super) functions: Vec<(String, FuncType)>,
    memories: Vec<(u64, Option<u64>)>,
    pub(super) memory: Option<(u64, Option<u64>)>,
    pub(super) sections: Vec<(String, usize)>,
}

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
        let mut raw = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| LoadError::Module(error.to_string()))?;
            raw.payload(&payload)
                .map_err(|error| LoadError::Module(error.to_string()))?;
        }
        Ok(raw)
    }

    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), wasmparser::BinaryReaderError> {
        if let Some((id, range)) = payload.as_section() {
            let name = match payload {
                Payload::CustomSection(section) => section.name().to_owned(),
                _ => section_name(id).to_owned(),
            };
            let size = range.end.saturating_sub(range.start);
            self.sections.push((name, size));
        }
        match payload {
            Payload::TypeSection(types) => {
                self.types = types
                    .clone()
                    .into_iter_err_on_gc_types()
                    .collect::<Result<_, _>>()?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    self.import(import?);
                }
            }
            Payload::FunctionSection(functions) => {
                for function in functions.clone() {
                    self.functions_by_index.push(function?);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let memory = memory?;
                    self.memories.push((memory.initial, memory.maximum));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => {
                            if let Some(ty) = self.type_of(export.index) {
                                self.functions.push((export.name.to_owned(), ty));
                            }
                        }
                        ExternalKind::Memory if export.name == "memory" => {
                            self.memory = usize::try_from(export.index)
                                .ok()
                                .and_then(|index| self.memories.get(index).copied());
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) {
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        match import.ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                self.functions_by_index.push(index);
                let ty = self.types.get(index as usize).cloned();
                self.imports
                    .push((module, name, ty.unwrap_or_else(|| FuncType::new([], []))));
            }
            // Modules that import their memory or table are from before 2020 and are
            // refused by name, as functions are.
            other => {
                if let TypeRef::Memory(memory) = other {
                    self.memories.push((memory.initial, memory.maximum));
                }
                self.imports.push((
                    module,
                    format!("{name} ({})", kind(other)),
                    FuncType::new([], []),
                ));
            }
        }
    }

    fn type_of(&self, function: u32) -> Option<FuncType> {
        let ty = self.functions_by_index.get(function as usize)?;
        self.types.get(*ty as usize).cloned()
    }

    pub(super) fn exports(&self, name: &str) -> bool {
        self.functions.iter().any(|(export, _)| export == name)
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

const fn kind(ty: TypeRef) -> &'static str {
    match ty {
        TypeRef::Memory(_) => "a memory",
        TypeRef::Table(_) => "a table",
        TypeRef::Global(_) => "a global",
        _ => "a tag",
    }
}

const fn section_name(id: u8) -> &'static str {
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
