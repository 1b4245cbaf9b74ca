//! The thread on which native code is taken in, tried, and files are read again, so that no
//! worker is kept waiting. It sleeps while there is nothing to do, and ends with the process.

use std::cell::RefCell;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use cofferdam_abi::LoadError;
use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::artifact::Artifact;
use cofferdam_abi::tier::Decision;
use pingora_core::server::ShutdownWatch;
use tokio::runtime::Handle;

use super::{Board, Loaded, Loader, Modules, Program, hint, named};
use crate::compile::{Compilers, Job};
use crate::handover::{Hold, Stage};
use crate::plugins::Why;
use crate::readiness::Readiness;
use crate::reload::watch::Watcher;
use crate::reload::{Blueprint, Outcome, Reloads, Reply, Source};
use crate::stack;
use crate::tls::renewal::Renewal;

/// What it is told.
#[derive(Debug)]
pub(super) enum Work {
    /// A program has earned its native code.
    Compile(Arc<Program>),
    /// The compiler is done with one; what was wrong has been said.
    Compiled(Arc<Program>, Option<Box<Artifact>>),
    /// There is no room for VMs of its native code.
    Interpret(Arc<Program>),
    /// Everything is read again; somebody may want to know what becomes of that.
    Reload(Option<Reply>),
    /// What has waited for that is due.
    Due(Hold),
}

/// The thread's own.
pub(super) struct Worker {
    pub(super) with: Start,
    modules: Weak<Modules>,
    /// A reload that is to come once sockets do not change hands any more; who wants to know.
    waiting: RefCell<Option<Vec<Reply>>>,
    watcher: RefCell<Watcher>,
}

/// What it is started with.
pub(crate) struct Start {
    pub(crate) loader: RefCell<Loader>,
    pub(crate) compilers: Arc<Compilers>,
    pub(crate) source: Source,
    pub(crate) reloads: Arc<Reloads>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) certificates: Arc<Renewal>,
    /// Whether another process is about to take over, or this one is.
    pub(crate) stage: Arc<Stage>,
    /// Where the health of backends is checked,
    pub(crate) runtime: Handle,
    /// until this says that the proxy drains.
    pub(crate) shutdown: ShutdownWatch,
}

pub(super) fn start(with: Start, mut blueprint: Blueprint) -> io::Result<Arc<Modules>> {
    let (work, receiver) = channel();
    let mut worker = Worker {
        with,
        modules: Weak::new(),
        waiting: RefCell::default(),
        watcher: RefCell::default(),
    };
    let loaded = std::mem::take(&mut blueprint.loaded);
    // Another thread, with a stack that guests can do with.
    let maker = &mut worker;
    blueprint.loaded = stack::with(move || maker.compile_ahead(loaded))?;
    worker.with.reloads.runs(1);
    for served in &blueprint.clusters {
        served.keep(&worker.with.runtime, &worker.with.shutdown);
    }
    let board = Board::new(blueprint);
    let modules = Arc::new(Modules { board, work });
    worker.modules = Arc::downgrade(&modules);
    if let Some((_, read)) = worker.with.source {
        worker.watch(modules.blueprint().config.watch, read);
    }
    thread::Builder::new()
        .name("modules".to_owned())
        .stack_size(stack::SIZE)
        .spawn(move || worker.run(&receiver))?;
    Ok(modules)
}

// === impl Worker ===

impl Worker {
    fn run(&self, receiver: &Receiver<Work>) {
        while let Ok(work) = receiver.recv() {
            // Nobody is left to publish to.
            let Some(modules) = self.modules.upgrade() else {
                return;
            };
            match work {
                Work::Compile(program) => self.compile(program, modules.work.clone()),
                Work::Compiled(program, made) => self.promote(&modules.board, &program, made),
                Work::Interpret(program) => self.step_down(&modules.board, &program),
                Work::Reload(reply) => self.wanted(reply, &modules),
                Work::Due(hold) => self.due(hold, &modules.board),
            }
        }
    }

    /// Everything is to be read again: at once, or once sockets do not change hands any more.
    /// However often that is wanted until then, it is one reload.
    fn wanted(&self, reply: Option<Reply>, modules: &Modules) {
        let waits = self.waiting.borrow().is_some();
        let mut waiting = self.waiting.borrow_mut();
        waiting.get_or_insert_default().extend(reply);
        drop(waiting);
        let stage = self.with.stage.clone();
        if !waits && let Some(hold) = stage.try_hold() {
            return self.due(hold, &modules.board);
        }
        tracing::info!("reload: it waits: another process is taking over, or this one is");
        if waits {
            return;
        }
        let work = modules.work.clone();
        // A thread of its own: what the process ends with is told, too.
        let waiting = thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || work.send(Work::Due(stage.wait_and_hold())));
        if let Err(error) = waiting {
            let why = format!("there is no thread to wait on: {error}");
            tracing::error!("reload: {why}");
            self.tell(&Err(vec![why]));
        }
    }

    fn due(&self, hold: Hold, board: &Board) {
        let outcome = self.reload(board);
        drop(hold);
        self.tell(&outcome);
    }

    /// Whoever has wanted to know, what has become of it.
    fn tell(&self, outcome: &Outcome) {
        for reply in self.waiting.take().into_iter().flatten() {
            // Whoever has gone wants nothing any more.
            let _ = reply.send(outcome.clone());
        }
    }

    /// Has the configuration's file, which was read at `since`, looked at every `period` from
    /// now on, where there is one.
    pub(super) fn watch(&self, period: Option<Duration>, since: SystemTime) {
        let Some((path, _)) = &self.with.source else {
            return;
        };
        let mut watcher = self.watcher.borrow_mut();
        if let Err(error) = watcher.look(period, &self.modules, (path, since)) {
            tracing::error!("the configuration's file is not watched: {error}");
        }
    }

    /// Has native code made; `to` is told.
    fn compile(&self, program: Arc<Program>, to: Sender<Work>) {
        let native = match self.with.loader.borrow().engines.native(program.native) {
            Ok(native) => native,
            Err(error) => {
                tracing::warn!(filter = %program.name, "{error}");
                program.refuse();
                return;
            }
        };
        self.with.compilers.submit(Job {
            name: format!("filter {}", program.name),
            module: program.module.clone(),
            native,
            config: program.native,
            done: Box::new(move |made| {
                // Whoever has gone wants nothing any more.
                let _ = to.send(Work::Compiled(program, made.ok().map(Box::new)));
            }),
        });
    }

    /// There is native code of a program now: where every plugin that runs it can be
    /// started with it, it is theirs.
    fn promote(&self, board: &Board, program: &Arc<Program>, made: Option<Box<Artifact>>) {
        let Some(code) = self.native(program, made) else {
            program.refuse();
            return;
        };
        let all = board.loaded();
        let mut plugins = Vec::new();
        for (index, loaded) in all.iter().enumerate() {
            if Arc::ptr_eq(&loaded.program, program) {
                let Some(native) = self.tried(loaded, &code) else {
                    program.refuse();
                    return;
                };
                plugins.push((index, Arc::new(native)));
            }
        }
        if !plugins.is_empty() {
            let names = plugins.iter().map(|(index, _)| &*all[*index].config.name);
            tracing::info!(filter = named(names), "there is native code now");
        }
        board.publish(Why::Native, plugins);
    }

    /// A worker has found no room for native code of a program: all plugins that run it are
    /// interpreted until the next reload, on every worker, since the room is the process's.
    fn step_down(&self, board: &Board, program: &Arc<Program>) {
        let loaded = board.loaded();
        let runs_it = |loaded: &Loaded| Arc::ptr_eq(&loaded.program, program) && loaded.is_native();
        let natives = loaded.iter().enumerate();
        let natives: Vec<_> = natives.filter(|(_, loaded)| runs_it(loaded)).collect();
        let Some((_, first)) = natives.first() else {
            // Another worker has said so before.
            return;
        };
        let names = natives.iter().map(|(_, loaded)| &*loaded.config.name);
        let names = named(names);
        let limits = &first.config.limits;
        program.refuse();
        let code = match program.interpreted(&self.with.loader.borrow().engines) {
            Ok(code) => code,
            Err(error) => {
                let hint = hint(&error, limits);
                tracing::error!(filter = names, "cannot be interpreted: {error}; {hint}");
                return;
            }
        };
        tracing::warn!(
            filter = names,
            "no room in the address space for another VM of native code, interpreted from now on; {}",
            hint(&LoadError::NoRoom(String::new()), limits)
        );
        let interpreted = |(index, native): (usize, &Arc<Loaded>)| {
            let loaded = Loaded::new(&native.config, program, code.clone());
            (index, Arc::new(loaded))
        };
        board.publish(Why::NoRoom, natives.into_iter().map(interpreted).collect());
    }

    fn native(&self, program: &Program, made: Option<Box<Artifact>>) -> Option<Arc<dyn Code>> {
        match self.with.loader.borrow().engines.load(program, &*made?) {
            Ok(code) => Some(code),
            Err(error) => {
                tracing::warn!(filter = %program.name, "native code is not used: {error}");
                None
            }
        }
    }

    /// A plugin on native code, if it can be started with it.
    fn tried(&self, loaded: &Loaded, code: &Arc<dyn Code>) -> Option<Loaded> {
        let native = Loaded::new(&loaded.config, &loaded.program, code.clone());
        let problem = self.with.loader.borrow().try_start(&native);
        if let Some(problem) = &problem {
            tracing::warn!(
                filter = %loaded.config.name,
                "cannot be started as native code, stays on the interpreter: {}; {}",
                problem.what,
                problem.help
            );
        }
        problem.is_none().then_some(native)
    }

    /// What must be native code from its first request on (`engine: aot`) and is not yet is
    /// compiled now, and waited for: each for as long as the compiler may take.
    pub(super) fn compile_ahead(&self, loaded: Vec<Arc<Loaded>>) -> Vec<Arc<Loaded>> {
        let (to, made) = channel();
        let mut waiting = 0;
        let mut uncompiled = None;
        for loaded in &loaded {
            let program = &loaded.program;
            if loaded.is_native() || !program.may_be_native() {
                continue;
            }
            if program.starts_with() == Decision::Compile {
                if program.ask() {
                    waiting += 1;
                    self.compile(program.clone(), to.clone());
                }
            } else if !program.has_compiler() {
                uncompiled.get_or_insert(program);
            }
        }
        if let Some(program) = uncompiled {
            // Says once that there is no compiler.
            self.compile(program.clone(), to.clone());
        }
        drop(to);
        if waiting > 0 {
            tracing::info!(
                modules = waiting,
                "compiled before they serve, as `engine: aot` asks; at a start, whoever connects waits"
            );
        }
        let mut loaded = loaded;
        while waiting > 0
            && let Ok(Work::Compiled(program, made)) = made.recv()
        {
            waiting -= 1;
            let Some(code) = self.native(&program, made) else {
                program.refuse();
                continue;
            };
            for loaded in &mut loaded {
                if Arc::ptr_eq(&loaded.program, &program)
                    && let Some(native) = self.tried(loaded, &code)
                {
                    *loaded = Arc::new(native);
                }
            }
        }
        loaded
    }
}
