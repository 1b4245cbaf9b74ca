//! A reload, step by step (`crate::reload` says what it is): SIGHUP, a file that has changed,
//! or an operator's word.
//!
//! The whole configuration is read and checked again, its modules with it. What is new is
//! parsed, checked and tried like at the start, and only if all of it is good does any of it
//! come to run: a bad file changes nothing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::work::Worker;
use super::{Board, Loaded};
use crate::access_log::LogFile;
use crate::app;
use crate::config::check::filters::hex;
use crate::config::check::read_again;
use crate::config::{Config, Listener, PluginConfig};
use crate::handover::Inheritance;
use crate::listener::{self, Holder};
use crate::plugins::Why;
use crate::reload::difference::{carry_over, keep_fixed};
use crate::reload::told::{between, tell};
use crate::reload::{Blueprint, Changed, Kept, Outcome, Served};

/// How long workers that have not started may keep a reload waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration that can come to run.
struct Ready {
    /// `None` where the one that runs says the same.
    blueprint: Option<Arc<Blueprint>>,
    /// Other modules for plugins that go on.
    changed: Vec<(usize, Arc<Loaded>)>,
    warnings: Vec<String>,
    /// When its files began to be read.
    since: SystemTime,
}

impl Worker {
    pub(super) fn reload(&self, board: &Board) -> Outcome {
        let (problems, changed) = match self.make_ready(board) {
            Ok(ready) => (Vec::new(), self.go_over(board, ready)),
            Err(problems) => (problems, Changed::default()),
        };
        for warning in &changed.warnings {
            tracing::warn!("reload: {warning}");
        }
        for problem in &problems {
            tracing::error!("reload: {problem}");
        }
        if !problems.is_empty() {
            tracing::error!("reload: nothing is changed");
        }
        // Whatever became of the rest: files of TLS are good or bad by themselves.
        self.with.certificates.renew();
        let warnings = changed.warnings.clone();
        self.with.reloads.ended(problems.clone(), warnings);
        match problems.is_empty() {
            true => Ok(changed),
            false => Err(problems),
        }
    }

    /// Everything that can go wrong.
    fn make_ready(&self, board: &Board) -> Result<Ready, Vec<String>> {
        if self.with.stage.is_handed_over() {
            return Err(vec![
                "another process has taken over: have that one reload".to_owned(),
            ]);
        }
        if *self.with.shutdown.borrow() || self.with.stage.is_ending() {
            return Err(vec!["the proxy drains".to_owned()]);
        }
        if !board.is_complete(PATIENCE) {
            return Err(vec![
                "the workers have not started yet; try again".to_owned(),
            ]);
        }
        let since = SystemTime::now();
        let (old, running) = (board.blueprint(), board.loaded());
        let mut config = self.read(&old.config, &running)?;
        let warnings = keep_fixed(&old.config, &mut config);
        share_modules(&running, &mut config);
        let before: Vec<_> = running.iter().map(|loaded| loaded.config.clone()).collect();
        let before = Config {
            plugins: before,
            ..(*old.config).clone()
        };
        let kept = carry_over(&before, &mut config);

        // Modules that are new, or that other plugins have had so far.
        let goes_on = |index: usize, plugin: &Arc<PluginConfig>| {
            let before = &running[kept.plugins[index]?];
            (before.config.wasm == plugin.wasm).then(|| before.clone())
        };
        let plugins = config.plugins.iter().enumerate();
        let (mut to_load, mut loaded) = (Vec::new(), Vec::new());
        for (index, plugin) in plugins {
            let same = goes_on(index, plugin);
            if same.is_none() {
                to_load.push(plugin.clone());
            }
            loaded.push(same);
        }
        let loader = self.with.loader.borrow().for_config(&config);
        let new = loader
            .load(&to_load, &running)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        self.with.compilers.reloaded();
        let mut new = self.compile_ahead(new).into_iter();
        let mut changed = Vec::new();
        for (index, loaded) in loaded.iter_mut().enumerate() {
            if loaded.is_some() {
                continue;
            }
            let Some(new) = new.next() else { continue };
            *loaded = Some(match kept.plugins[index] {
                // It moves with whatever shares its VM.
                Some(before) => {
                    changed.push((index, new));
                    running[before].clone()
                }
                None => new,
            });
        }
        let loaded: Vec<Arc<Loaded>> = loaded.into_iter().flatten().collect();
        config.plugins = loaded.iter().map(|loaded| loaded.config.clone()).collect();

        let order: Vec<_> = (0..before.plugins.len()).map(Some).collect();
        if config.marks.whole == before.marks.whole && kept.plugins == order {
            return Ok(Ready {
                blueprint: None,
                changed,
                warnings,
                since,
            });
        }
        let blueprint = Arc::new(self.blueprint(&old, config, kept, loaded)?);
        board.prepare(&blueprint)?;
        *self.with.loader.borrow_mut() = loader;
        Ok(Ready {
            blueprint: Some(blueprint),
            changed,
            warnings,
            since,
        })
    }

    /// The configuration as it is now.
    fn read(&self, old: &Config, running: &[Arc<Loaded>]) -> Result<Config, Vec<String>> {
        if let Some((path, _)) = &self.with.source {
            return app::read(path)
                .map_err(|problems| problems.iter().map(ToString::to_string).collect());
        }
        let mut config = old.clone();
        config.plugins = running.iter().map(|loaded| loaded.config.clone()).collect();
        for (index, plugin) in changed(running)? {
            config.plugins[index] = plugin;
        }
        Ok(config)
    }

    /// What workers make their setups of.
    fn blueprint(
        &self,
        old: &Blueprint,
        config: Config,
        kept: Kept,
        loaded: Vec<Arc<Loaded>>,
    ) -> Result<Blueprint, Vec<String>> {
        let mut problems = Vec::new();
        let mut clusters = Vec::new();
        for (cluster, kept) in config.clusters.iter().zip(&kept.clusters) {
            match kept {
                Some(kept) => clusters.push(old.clusters[*kept].clone()),
                None => match Served::new(cluster, &config.dns) {
                    Ok(served) => clusters.push(served),
                    Err(error) => problems.push(format!("cluster {}: {error}", cluster.name)),
                },
            }
        }
        let path = config.access_log.as_ref().and_then(|log| log.file.as_ref());
        let log = match (path, &old.log) {
            (None, _) => None,
            (Some(path), Some(log)) if log.path() == path => Some(log.clone()),
            (Some(path), _) => match LogFile::open(path) {
                Ok(log) => Some(log),
                Err(error) => {
                    problems.push(format!("access_log: {}: {error}", path.display()));
                    None
                }
            },
        };
        let wanted = |index: usize| kept.addresses[index].is_none();
        let holders = holders(old, &config, &kept);
        let sockets = listener::bind(&config, wanted, holders, &mut Inheritance::default());
        let sockets = sockets.unwrap_or_else(|errors| {
            problems.extend(errors.iter().map(ToString::to_string));
            Vec::new()
        });
        if let Err(error) = Served::look_up(&clusters) {
            problems.push(format!("names cannot be looked up: {error}"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let new = sockets.first().map_or(&[][..], |sockets| &sockets[..]);
        let mut new = listener::addresses(&config, new).into_iter();
        let addresses = kept.addresses.iter().map(|kept| match kept {
            Some(kept) => old.addresses[*kept].clone(),
            None => new.next().unwrap_or_default(),
        });
        Ok(Blueprint {
            addresses: addresses.collect(),
            config: Arc::new(config),
            clusters,
            log,
            loaded,
            kept,
            sockets: Mutex::new(sockets),
        })
    }

    /// Nothing can go wrong any more; what is different now.
    fn go_over(&self, board: &Board, ready: Ready) -> Changed {
        let Ready {
            blueprint,
            changed,
            warnings,
            since,
        } = ready;
        let name = |(_, loaded): &(usize, Arc<Loaded>)| loaded.config.name.clone();
        let modules: Vec<String> = changed.iter().map(name).collect();
        let before = board.blueprint();
        let is_another = blueprint.is_some() || !changed.is_empty();
        let generation = self.with.reloads.status().generation + u64::from(is_another);
        let mut difference = Changed::default();
        if let Some(blueprint) = &blueprint {
            self.with.readiness.need(&blueprint.config.ready_needs);
            for served in &blueprint.clusters {
                served.keep(&self.with.runtime, &self.with.shutdown);
            }
            board.adopt(blueprint.clone());
            self.with.certificates.follow(blueprint.config.tls());
            difference = Changed {
                generation,
                ..between(&before, blueprint)
            };
            tell(&blueprint.config, &difference);
            if blueprint.config.watch != before.config.watch {
                self.watch(blueprint.config.watch, since);
            }
        }
        tracing::info!(
            changed = modules.join(","),
            generation,
            "reload: module files were read again"
        );
        let running = board.loaded();
        running
            .iter()
            .for_each(|loaded| loaded.program.reconsider());
        board.publish(Why::Changed, changed);
        board.publish_waiting();
        if is_another {
            self.with.reloads.runs(generation);
        }
        Changed {
            generation,
            modules,
            warnings,
            ..difference
        }
    }
}

/// Who listens now, by the names that those have who go on.
fn holders<'a>(old: &'a Blueprint, new: &'a Config, kept: &Kept) -> Vec<Holder<'a>> {
    let listening = old.config.listeners.iter().zip(&old.addresses).enumerate();
    let holder = |(index, (listener, address)): (usize, (&'a Arc<Listener>, &'a String))| {
        let stays = kept.addresses.iter().position(|it| *it == Some(index));
        Some(Holder {
            name: stays.map_or(&listener.name, |position| &new.listeners[position].name),
            // That of a unix socket is no hindrance.
            address: address.parse().ok()?,
            stays: stays.is_some(),
        })
    };
    listening.filter_map(holder).collect()
}

/// Where a module is what a plugin runs already, its bytes are the same ones: by their place
/// it is known that both run one program.
fn share_modules(running: &[Arc<Loaded>], config: &mut Config) {
    for plugin in &mut config.plugins {
        let same = running
            .iter()
            .find(|loaded| loaded.config.wasm == plugin.wasm);
        if let (Some(same), Some(plugin)) = (same, Arc::get_mut(plugin)) {
            plugin.wasm = same.config.wasm.clone();
        }
    }
}

/// The plugins whose file is another one now, as they would be configured with it.
fn changed(loaded: &[Arc<Loaded>]) -> Result<Vec<(usize, Arc<PluginConfig>)>, Vec<String>> {
    let mut files: HashMap<PathBuf, Option<(Bytes, [u8; 32])>> = HashMap::new();
    let mut problems = Vec::new();
    let mut changed = Vec::new();
    for (index, loaded) in loaded.iter().enumerate() {
        let config = &loaded.config;
        let read = files.entry(config.file.clone()).or_insert_with(|| {
            let read = read_again(&config.file).map_err(|why| {
                problems.push(format!("{} cannot be read: {why}", config.file.display()));
            });
            let wasm = read.ok()?;
            let digest = Sha256::digest(&wasm).into();
            Some((wasm, digest))
        });
        let Some((wasm, digest)) = read else {
            continue;
        };
        if *digest == loaded.program.digest() {
            continue;
        }
        if let Some(pinned) = &config.sha256
            && *pinned != hex(digest)
        {
            problems.push(format!(
                "filter {}: {} has another SHA-256 than the configuration has: {}",
                config.name,
                config.file.display(),
                hex(digest)
            ));
            continue;
        }
        let config = PluginConfig {
            wasm: wasm.clone(),
            ..(**config).clone()
        };
        changed.push((index, Arc::new(config)));
    }
    if problems.is_empty() {
        Ok(changed)
    } else {
        Err(problems)
    }
}
