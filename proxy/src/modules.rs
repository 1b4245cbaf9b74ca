//! Modules of the running configuration: read, checked, tried once, shared by all workers;
//! and what becomes of them while it runs.
//!
//! A [`Program`] is a module as some plugins run it. It begins on the interpreter or as
//! native code, and may move from one to the other; its file may be replaced by another.
//! Either way a new [`Loaded`] takes the old one's place ([`board`]), and each worker puts
//! new VMs in the place of those it has (`crate::plugins`). Nothing of this happens on a
//! worker: compiling, checking and trying is the business of a thread of its own ([`work`]).

mod board;
mod engines;
mod program;
mod reload;
mod schema;
mod trial;
mod work;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use cofferdam_abi::engine::{Code, Tier};
use cofferdam_abi::property::Node;
use cofferdam_abi::tier::Choice;
use cofferdam_abi::{Module, Plugin, VmSettings};

use crate::artifacts::Artifacts;
use crate::config::{Cluster, Config, Diagnostic, PluginConfig};
use crate::handover::Offered;
use crate::host::ClusterNames;
use crate::reload::{Blueprint, Reply};
use trial::{configuration_problems, diagnostic};

pub(crate) use board::{Board, Message, Publication};
pub(crate) use engines::Engines;
#[cfg(feature = "compiler")]
pub(crate) use engines::native_config;
pub(crate) use program::Program;
pub(crate) use trial::{configuration_misfits, hint};
pub(crate) use work::Start;

pub(crate) use cofferdam_abi::engine::wasmi::Wasmi;
pub(crate) use cofferdam_abi::engine::wasmtime::{Native, NativeConfig};

/// One plugin of the configuration with its code.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Arc<PluginConfig>,
    pub(crate) program: Arc<Program>,
    /// What its VMs are made of from now on.
    pub(crate) code: Arc<dyn Code>,
}

/// All modules of the process.
#[derive(Debug)]
pub(crate) struct Modules {
    board: Board,
    work: Sender<work::Work>,
}

/// What modules are loaded with.
#[derive(Debug)]
pub(crate) struct Loader {
    engines: Arc<Engines>,
    clusters: Arc<ClusterNames>,
    node: Arc<Node>,
}

// === impl Modules ===

impl Modules {
    /// Whoever has what was loaded before the start, and sees to what comes after. Waits for
    /// native code of filters that must not be interpreted.
    ///
    /// # Errors
    /// When its thread cannot be had.
    pub(crate) fn start(start: Start, blueprint: Blueprint) -> std::io::Result<Arc<Self>> {
        work::start(start, blueprint)
    }

    /// What is served and what every plugin runs now; whatever is to be instead is sent.
    pub(crate) fn subscribe(&self, to: board::Subscriber) -> (Arc<Blueprint>, Vec<Arc<Loaded>>) {
        self.board.subscribe(to)
    }

    /// What every plugin runs now.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.board.loaded()
    }

    /// The interpreter has spent that much fuel in a program. When it has earned its
    /// compiler that is told, once.
    pub(crate) fn spend(&self, program: &Arc<Program>, fuel: u64) {
        if fuel > 0 && program.spend(fuel) {
            self.send(work::Work::Compile(program.clone()));
        }
    }

    /// There is no room for VMs of a program's native code any more: it is to be interpreted.
    pub(crate) fn interpret(&self, program: &Arc<Program>) {
        self.send(work::Work::Interpret(program.clone()));
    }

    /// Reads the configuration and its files again; `reply` hears what becomes of that.
    pub(crate) fn reload(&self, reply: Option<Reply>) {
        self.send(work::Work::Reload(reply));
    }

    /// What is served now.
    pub(crate) fn blueprint(&self) -> Arc<Blueprint> {
        self.board.blueprint()
    }

    /// Asks every worker what it listens on; `told` hears from each.
    pub(crate) fn sockets(
        &self,
        told: tokio::sync::mpsc::UnboundedSender<std::io::Result<Vec<Offered>>>,
    ) {
        self.board.sockets(told);
    }

    fn send(&self, work: work::Work) {
        // It ends with the process only.
        let _ = self.work.send(work);
    }
}

/// Things as a message names them: each once, and of many the first.
pub(crate) fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    /// Most of them in one line.
    const SHOWN: usize = 10;
    let mut seen = HashSet::new();
    let names: Vec<&str> = names.filter(|name| seen.insert(*name)).collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

// === impl Loader ===

impl Loader {
    /// For a configuration that is sound.
    pub(crate) fn new(config: &Config, artifacts: Arc<Artifacts>) -> Self {
        Self {
            engines: Arc::new(Engines::new(config, artifacts)),
            clusters: Arc::new(ClusterNames::new(&config.clusters)),
            node: config.node.clone(),
        }
    }

    /// To see whether plugins are sound, where the configuration is not.
    pub(crate) fn interpreting(clusters: &[Arc<Cluster>]) -> Self {
        Self {
            engines: Arc::default(),
            clusters: Arc::new(ClusterNames::new(clusters)),
            node: Arc::default(),
        }
    }

    /// The same with the engines it has, for what has been made of them.
    fn for_config(&self, config: &Config) -> Self {
        Self {
            engines: self.engines.clone(),
            clusters: Arc::new(ClusterNames::new(&config.clusters)),
            node: config.node.clone(),
        }
    }

    /// Gives every plugin its code and starts each that is sound once, to see that it can
    /// be. Programs of `running` are theirs too, where nothing sets them apart.
    ///
    /// # Errors
    /// One diagnostic for each plugin that cannot run, with what its guest said.
    pub(crate) fn load(
        &self,
        plugins: &[Arc<PluginConfig>],
        running: &[Arc<Loaded>],
    ) -> Result<Vec<Arc<Loaded>>, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut loaded = Vec::new();
        let known = |loaded: &Arc<Loaded>| {
            let key = program::Key::of(&loaded.config);
            (key, loaded.program.clone())
        };
        let mut programs: HashMap<program::Key, Arc<Program>> = running.iter().map(known).collect();
        for plugin in plugins {
            let key = program::Key::of(plugin);
            let program = match programs.get(&key) {
                Some(program) => Ok(program.clone()),
                None => self.program(plugin),
            };
            match program {
                Ok(program) => {
                    let same = plugins.iter().filter(|one| program::Key::of(one) == key);
                    // Only for messages, of which there is one about code that was given.
                    let filters = match &plugin.precompiled {
                        Some(_) => named(same.map(|one| &*one.name)),
                        None => String::new(),
                    };
                    programs.insert(key, program.clone());
                    let unsound = program.module.problems(&plugin.compat);
                    for problem in &unsound {
                        let what = problem.to_string();
                        problems.push(diagnostic(
                            plugin,
                            "module",
                            &what,
                            &hint(problem, &plugin.limits),
                        ));
                    }
                    // What a guest says of its configuration is worth less than what its
                    // schema does, which names every mistake.
                    let misfits = configuration_problems(plugin, &program.module);
                    if unsound.is_empty() && misfits.is_empty() {
                        match self.with_code(plugin, &program, &filters) {
                            Ok(plugin) => loaded.push(Arc::new(plugin)),
                            Err(problem) => problems.push(*problem),
                        }
                    }
                    problems.extend(misfits);
                }
                Err(error) => {
                    let what = error.to_string();
                    problems.push(diagnostic(
                        plugin,
                        "module",
                        &what,
                        &hint(&error, &plugin.limits),
                    ));
                }
            }
        }
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(problems)
        }
    }

    /// A module as a plugin runs it, without code so far.
    fn program(&self, plugin: &PluginConfig) -> Result<Arc<Program>, cofferdam_abi::LoadError> {
        let module = Module::parse(plugin.wasm.clone())?;
        let later: Vec<String> = module.later().map(|import| import.name.clone()).collect();
        if !later.is_empty() {
            tracing::info!(
                filter = %plugin.name,
                hostcalls = later.join(","),
                "imported hostcalls that this host answers with UNIMPLEMENTED"
            );
        }
        Ok(Arc::new(Program::new(module, plugin, &self.engines)))
    }

    /// Code for a plugin, tried; those filters run the same program.
    fn with_code(
        &self,
        plugin: &Arc<PluginConfig>,
        program: &Arc<Program>,
        filters: &str,
    ) -> Result<Loaded, Box<Diagnostic>> {
        if plugin.engine == Choice::Aot && self.engines.maps_nothing_executable() {
            tracing::warn!(
                filter = %plugin.name,
                "it stays on the interpreter: `no_exec_memory: true` rules out the native code that `engine: aot` asks for; take one of them away"
            );
        }
        let mut native = None;
        if let Some(code) = self.engines.find(program, filters) {
            let loaded = Loaded::new(plugin, program, code);
            native = self.try_start(&loaded);
            if native.is_none() {
                return Ok(loaded);
            }
        }
        let code = program.interpreted(&self.engines).map_err(|error| {
            let what = error.to_string();
            Box::new(diagnostic(
                plugin,
                "module",
                &what,
                &hint(&error, &plugin.limits),
            ))
        })?;
        let loaded = Loaded::new(plugin, program, code);
        if let Some(problem) = self.try_start(&loaded) {
            return Err(Box::new(problem));
        }
        // Otherwise it is the guest's doing, or its configuration's, and has been said.
        if let Some(problem) = native {
            tracing::warn!(
                filter = %plugin.name,
                "native code cannot be started, the module is interpreted: {}; {}",
                problem.what,
                problem.help
            );
        }
        Ok(loaded)
    }
}

// === impl Loaded ===

impl Loaded {
    pub(crate) fn new(
        config: &Arc<PluginConfig>,
        program: &Arc<Program>,
        code: Arc<dyn Code>,
    ) -> Self {
        Self {
            config: config.clone(),
            program: program.clone(),
            code,
        }
    }

    /// Whether it runs as native code.
    pub(crate) fn is_native(&self) -> bool {
        self.code.tier() == Tier::Native
    }

    /// What its VM is made of.
    pub(crate) fn settings(&self) -> VmSettings {
        VmSettings {
            vm_id: self.config.vm_id.clone(),
            configuration: self.config.vm_configuration.clone(),
            environment: self.config.environment.clone(),
            limits: self.config.limits.clone(),
            compat: self.config.compat,
            capabilities: self.config.capabilities.clone(),
        }
    }

    /// What its root is made of.
    pub(crate) fn plugin(&self) -> Plugin {
        Plugin {
            name: self.config.name.clone(),
            root_id: self.config.root_id.clone(),
            configuration: self.config.configuration.clone(),
            allow_on_headers_stop_iteration: self.config.allow_on_headers_stop_iteration
                || self.program.module.holds_headers(),
            body_limit: self.config.body_limit,
        }
    }
}
