//! What a case is: the fields of its file. `conformance/README.md` explains them to authors.

use std::collections::BTreeMap;
use std::fmt;

use cofferdam_abi::testing::guest::{self, Shape};
use serde::Deserialize;

use super::step::{Reload, Saw, Step};
use super::values::Wait;
use crate::scratch;

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `GROUP-NUMBER`, by section 10 of `abi/ABI.md`; variants have a letter or a dotted
    /// name behind it (`D-85b`, `K-269.proxy_log`).
    pub id: String,
    /// What must be so, in a few words.
    pub name: String,
    /// The section of `abi/ABI.md` it proves.
    pub section: String,
    /// Presets in which it holds.
    #[serde(default = "Profile::all")]
    pub profiles: Vec<Profile>,
    /// The guest of a case with one filter and nothing to say about it.
    guest: Option<String>,
    /// The chain, in request order; and what else is loaded beside it.
    #[serde(default)]
    filters: Vec<Filter>,
    /// The listener takes TCP connections, not HTTP.
    #[serde(default)]
    pub tcp: bool,
    /// What happens, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What must have been seen when all is over.
    #[serde(default)]
    pub expect: Expect,
    /// Why a host does otherwise on purpose: column to reason.
    #[serde(default)]
    pub differs: BTreeMap<String, String>,
    /// Why a host cannot be asked: column to reason.
    #[serde(default, rename = "n/a")]
    pub not_applicable: BTreeMap<String, String>,
    /// Why it may pass on a host that does nothing.
    pub null: Option<String>,
    /// Stands in the last column of the table.
    #[serde(default)]
    pub note: String,
}

/// A preset of section 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// What the specification's text says.
    Spec,
    /// What Envoy does.
    Envoy,
    /// Our default.
    Superset,
}

/// One plugin: a module with its settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Its name; by default `a`, `b`, … in the order of the list.
    pub name: String,
    /// What it is loaded as.
    #[serde(rename = "as")]
    pub role: Role,
    /// Its code in the terse language of `cofferdam_abi::testing::guest`,
    guest: Option<String>,
    /// or as WAT,
    wat: Option<String>,
    /// or as hexadecimal bytes (white space is ignored),
    hex: Option<String>,
    /// or as a file of `target/guests`, without `.wasm`.
    wasm: Option<String>,
    /// Version its `guest` declares, such as `0.2.0`; `none` for no marker.
    abi: Option<String>,
    /// What its `guest` exports its allocator as: `malloc` or, by default,
    /// `proxy_on_memory_allocate`; `none`.
    allocator: Option<String>,
    /// Buffer 7.
    pub configuration: String,
    /// Buffer 6.
    pub vm_configuration: String,
    /// Property `plugin_vm_id`.
    pub vm_id: String,
    /// Property `plugin_root_id`. By default empty, and the filter's name where there are
    /// several, so that every host can say whose record is whose.
    pub root_id: Option<String>,
    /// WASI environment.
    pub environment: BTreeMap<String, String>,
    /// What requests get when it cannot run.
    pub on_failure: OnFailure,
    /// Header callbacks answering 1 hold the headers only.
    pub allow_on_headers_stop_iteration: bool,
    /// Largest body kept for a stream, in bytes and each way; 1 MiB.
    pub body_limit: Option<usize>,
    /// Longest callback.
    pub callback_limit: Option<Wait>,
    /// Largest memory, in bytes.
    pub memory_limit: Option<usize>,
    /// What it may do; absent means everything.
    pub capabilities: Option<Capabilities>,
}

/// What a plugin is loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A member of the chain.
    #[default]
    Filter,
    /// A root without streams, once in the process.
    Service,
    /// An access logger: `proxy_on_log` of its root.
    AccessLog,
}

/// What requests get when a filter cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// 503.
    #[default]
    Closed,
    /// They pass without it.
    Open,
    /// 503, and a fresh VM soon.
    Reload,
}

/// What a filter may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Hostcalls by their names in the module; absent means all.
    pub hostcalls: Option<Vec<String>>,
    /// Callbacks by their export names; absent means all.
    pub callbacks: Option<Vec<String>>,
    /// `cluster:NAME`, `https://host[:port]`; absent means every cluster.
    pub callouts: Option<Vec<String>>,
    /// VM ids whose shared data and queues it may use; absent means all.
    pub shared: Option<Vec<String>>,
}

/// What must have been seen when all is over. Absent fields are not looked at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// All records of the guests, in order: `text`, `[level] text` where the level is not
    /// info, `name: text` where there are several filters.
    pub logs: Option<Vec<String>>,
    /// Texts each of which must be in some record.
    pub contains: Vec<String>,
    /// Texts that must be in no record.
    pub lacks: Vec<String>,
    /// It must not load. Words that our message must have; other hosts have their own.
    pub refused: Option<Vec<String>>,
    /// Requests that the cluster `peer` must have seen, all of them and in order.
    pub peer: Option<Vec<Saw>>,
    /// Samples that the host's metrics page must have before the host ends, with their values.
    pub metrics: BTreeMap<String, i64>,
}

// === impl Case ===

impl Case {
    /// The letter before the dash.
    #[must_use]
    pub fn group(&self) -> &str {
        self.id.split('-').next().unwrap_or_default()
    }

    /// Everything that is to be loaded.
    #[must_use]
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// The module that a reload has a filter run.
    ///
    /// # Errors
    /// There is no such filter, or as [`Filter::module`].
    pub fn reloaded(&self, reload: &Reload) -> Result<Vec<u8>, String> {
        let mut filters = self.filters.iter();
        let filter = filters.find(|filter| filter.name == reload.filter);
        let filter = filter.ok_or_else(|| format!("there is no filter {:?}", reload.filter))?;
        filter.with_guest(&reload.guest).module()
    }

    /// What replaces modules in it, in order.
    pub fn reloads(&self) -> impl Iterator<Item = &Reload> {
        self.steps.iter().flat_map(Step::reloads)
    }

    /// A case that is not a file: for products of lists.
    #[must_use]
    pub fn generated(id: String, name: String, section: &str, filters: Vec<Filter>) -> Self {
        let mut case = Self {
            id,
            name,
            section: section.to_owned(),
            profiles: Profile::all(),
            guest: None,
            filters,
            tcp: false,
            steps: Vec::new(),
            expect: Expect::default(),
            differs: BTreeMap::new(),
            not_applicable: BTreeMap::new(),
            null: None,
            note: String::new(),
        };
        case.complete();
        case
    }

    /// Fills in what follows from the rest.
    pub(super) fn complete(&mut self) {
        if let Some(guest) = self.guest.take() {
            self.filters.insert(0, Filter::guest(&guest));
        }
        let several = self.filters.len() > 1;
        for (filter, letter) in self.filters.iter_mut().zip('a'..='z') {
            if filter.name.is_empty() {
                filter.name = letter.to_string();
            }
            if filter.root_id.is_none() {
                filter.root_id = Some(if several {
                    filter.name.clone()
                } else {
                    String::new()
                });
            }
        }
    }

    /// What is wrong with it although its fields are right.
    pub(super) fn problem(&self) -> Option<String> {
        let well = self.id.split_once('-').is_some_and(|(group, number)| {
            group.len() == 1
                && group.bytes().all(|letter| letter.is_ascii_uppercase())
                && number.starts_with(|digit: char| digit.is_ascii_digit())
        });
        if !well {
            return Some(format!("the id {:?} is not like `A-1`", self.id));
        }
        if self.profiles.is_empty() {
            return Some("a case without profiles is never run".to_owned());
        }
        if self.filters.is_empty() {
            return Some("there is no guest".to_owned());
        }
        if self.expect.refused.is_some() && !self.steps.is_empty() {
            return Some("what does not load cannot have steps".to_owned());
        }
        for reload in self.reloads() {
            if let Err(problem) = self.reloaded(reload) {
                return Some(format!("reload: {problem}"));
            }
        }
        // What has to be built may not be there yet; that is no mistake of the case.
        let mut written = self.filters.iter().filter(|filter| filter.wasm.is_none());
        written.find_map(|filter| {
            let problem = filter.module().err()?;
            Some(format!("filter {}: {problem}", filter.name))
        })
    }

    /// The first guest of `target/guests` that has not been built.
    #[must_use]
    pub fn missing_guest(&self) -> Option<String> {
        let built = self.filters.iter().filter(|filter| filter.wasm.is_some());
        built.into_iter().find_map(|filter| filter.module().err())
    }
}

// === impl Profile ===

impl Profile {
    /// All of them, in the order of the table.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::Spec, Self::Envoy, Self::Superset]
    }

    /// Its name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Envoy => "envoy",
            Self::Superset => "superset",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Filter ===

impl Filter {
    /// A filter of that source in the terse language, with every default.
    #[must_use]
    pub fn guest(source: &str) -> Self {
        Self {
            guest: Some(source.to_owned()),
            ..Self::default()
        }
    }

    /// The same filter with another module.
    #[must_use]
    pub fn with_guest(&self, source: &str) -> Self {
        Self {
            guest: Some(source.to_owned()),
            wat: None,
            hex: None,
            wasm: None,
            ..self.clone()
        }
    }

    /// Has it declare that version; the usual one when that is empty.
    pub(super) fn set_abi(&mut self, version: &str) {
        self.abi = Some(version.to_owned()).filter(|version| !version.is_empty());
    }

    /// Its module's bytes.
    ///
    /// # Errors
    /// What is wrong with its source; what it was made into, too.
    pub fn module(&self) -> Result<Vec<u8>, String> {
        match (&self.guest, &self.wat, &self.hex, &self.wasm) {
            (Some(source), None, None, None) => {
                let wat = guest::try_module(source, self.shape()?)?;
                wat::parse_str(&wat).map_err(|error| error.to_string())
            }
            (None, Some(wat), None, None) => wat::parse_str(wat).map_err(|error| error.to_string()),
            (None, None, Some(hex), None) => unhex(hex),
            (None, None, None, Some(name)) => {
                let file = scratch::workspace().join(format!("target/guests/{name}.wasm"));
                std::fs::read(&file).map_err(|error| {
                    format!("{}: {error} (build it with `make guests`)", file.display())
                })
            }
            _ => Err("give one of guest, wat, hex and wasm".to_owned()),
        }
    }

    fn shape(&self) -> Result<Shape, String> {
        let mut shape = Shape::default();
        if let Some(abi) = &self.abi {
            shape.marker = match &**abi {
                "none" => "",
                "0.1.0" => "proxy_abi_version_0_1_0",
                "0.2.0" => "proxy_abi_version_0_2_0",
                "0.2.1" => "proxy_abi_version_0_2_1",
                "0.2.100" => "proxy_abi_version_0_2_100",
                other => return Err(format!("there is no ABI {other:?}")),
            };
        }
        if let Some(allocator) = &self.allocator {
            shape.allocator = match &**allocator {
                "none" => "",
                "malloc" => "malloc",
                "proxy_on_memory_allocate" => "proxy_on_memory_allocate",
                other => return Err(format!("there is no allocator {other:?}")),
            };
        }
        Ok(shape)
    }
}

/// Bytes from hexadecimal digits; white space is ignored.
pub(super) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return Err("an odd number of hexadecimal digits".to_owned());
    }
    digits
        .chunks(2)
        .map(|pair| {
            let pair: String = pair.iter().collect();
            u8::from_str_radix(&pair, 16).map_err(|_| format!("{pair:?} is not hexadecimal"))
        })
        .collect()
}
