//! What every measurement needs: the upstream, the guests, native code made beforehand, and
//! how a program of each column is started with them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Plan;
use super::report::Column;
use crate::peer::{self, Filter, Proxy, Running, Setup};
use crate::scratch::{self, Scratch};
use crate::{Error, Result, process};

/// The longest that making native code of one module may take.
const COMPILE_LIMIT: Duration = Duration::from_secs(120);

pub(super) struct World {
    pub(super) scratch: Scratch,
    upstream: Running,
    ours: Proxy,
    /// Native code, as `cofferdam compile` wrote it.
    artifacts: PathBuf,
    /// Whether the program knows of engines at all.
    hot: bool,
}

/// Filters of one module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    /// Its name in `target/guests`.
    pub(super) name: &'static str,
    pub(super) configuration: &'static str,
    /// How many of it are in the chain, each in a VM of its own.
    pub(super) count: usize,
}

/// All guests that measurements use.
const GUESTS: [&str; 5] = [
    "bench_noop",
    "bench_transform",
    "bench_hello",
    "bench_body",
    "panic",
];

// === impl World ===

impl World {
    /// Starts the upstream, and has native code made of every guest.
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let scratch = Scratch::new("bench")?;
        let upstream = peer::upstream(&scratch)?;
        let artifacts = scratch.dir("artifacts")?;
        let hot = knows_engines(&plan.proxy)?;
        if !hot {
            eprintln!(
                "{} has no hot tier: its columns stay empty",
                plan.proxy.display()
            );
        }
        let world = Self {
            scratch,
            upstream,
            ours: Proxy::Cofferdam(plan.proxy.clone()),
            artifacts,
            hot,
        };
        let modules: Vec<PathBuf> = GUESTS
            .iter()
            .map(|name| module(name))
            .collect::<Result<_>>()?;
        world.compile(&modules)?;
        Ok(world)
    }

    /// Whether a column can be measured with filters.
    pub(super) fn has(&self, column: Column) -> bool {
        self.hot || column != Column::Hot
    }

    /// How a column's program is set up for a chain.
    pub(super) fn setup(&self, column: Column, guest: Option<Guest>) -> Result<Setup> {
        let Some(guest) = guest else {
            return Ok(Setup::default());
        };
        let modules = vec![module(guest.name)?; guest.count];
        let mut setup = self.chain(column, &modules);
        for filter in &mut setup.filters {
            filter.configuration = guest.configuration;
        }
        Ok(setup)
    }

    /// How a column's program is set up for these modules, one filter each.
    pub(super) fn chain(&self, column: Column, modules: &[PathBuf]) -> Setup {
        let engine = match column {
            Column::Hot => Some("aot"),
            Column::Cold if self.hot => Some("interpreter"),
            Column::Cold | Column::Envoy | Column::Nginx => None,
        };
        let filter = |module: &PathBuf| Filter {
            module: module.clone(),
            configuration: "",
            engine,
        };
        Setup {
            filters: modules.iter().map(filter).collect(),
            routes: 0,
            artifacts: (self.hot && column == Column::Hot).then(|| self.artifacts.clone()),
        }
    }

    pub(super) const fn proxy(&self, column: Column) -> &Proxy {
        match column {
            Column::Hot | Column::Cold => &self.ours,
            Column::Envoy => &Proxy::Envoy,
            Column::Nginx => &Proxy::Nginx,
        }
    }

    /// Starts a column's program, and waits until it listens.
    pub(super) fn start(&self, column: Column, setup: &Setup) -> Result<Running> {
        self.proxy(column)
            .start(setup, self.upstream.http1, &self.scratch)
    }

    /// Starts it, and waits for nothing.
    pub(super) fn spawn(&self, column: Column, setup: &Setup) -> Result<Running> {
        self.proxy(column)
            .spawn(setup, self.upstream.http1, &self.scratch)
    }

    /// Makes native code of modules, where [`World::chain`] lets it be found.
    pub(super) fn compile(&self, modules: &[PathBuf]) -> Result<()> {
        let Proxy::Cofferdam(program) = &self.ours else {
            return Ok(());
        };
        if !self.hot {
            return Ok(());
        }
        let mut command = Command::new(program);
        command.args(["--log", "error", "compile", "--directory"]);
        command.arg(&self.artifacts).args(modules);
        let count = u32::try_from(modules.len()).unwrap_or(u32::MAX);
        let done = process::run(command, COMPILE_LIMIT.saturating_mul(count))?;
        if done.success {
            return Ok(());
        }
        Err(Error::failed("cofferdam compile", done.stderr.trim()))
    }

    /// Modules that do what `guest` does and are all different: to every program each is a
    /// module of its own, to be compiled.
    pub(super) fn variants(&self, guest: &str, count: usize) -> Result<Vec<PathBuf>> {
        let file = module(guest)?;
        let wasm = std::fs::read(&file).map_err(|error| Error::failed(file.display(), error))?;
        let variant = |number: usize| {
            let file = self.scratch.path().join(format!("{guest}-{number}.wasm"));
            // A custom section: id 0, its length, the length of its name, its name.
            let name = format!("variant {number}");
            let length = u8::try_from(name.len()).map_err(|_| Error::failed(&name, "too long"))?;
            let mut bytes = wasm.clone();
            bytes.extend([0, length + 1, length]);
            bytes.extend(name.as_bytes());
            std::fs::write(&file, bytes).map_err(|error| Error::failed(file.display(), error))?;
            Ok(file)
        };
        (0..count).map(variant).collect()
    }
}

/// Whether a program's configuration has engines to choose from.
fn knows_engines(program: &Path) -> Result<bool> {
    let mut command = Command::new(program);
    command.arg("reference");
    let done = process::run(command, Duration::from_secs(10))?;
    Ok(done.stdout.contains("| `engine` |"))
}

/// A guest's file.
pub(super) fn module(name: &str) -> Result<PathBuf> {
    let file = scratch::workspace()
        .join("target/guests")
        .join(format!("{name}.wasm"));
    if file.is_file() {
        return Ok(file);
    }
    Err(Error::Unavailable(format!(
        "{} is not built; `make guests-rust` builds it",
        file.display()
    )))
}
