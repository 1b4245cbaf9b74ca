//! SIGHUP: the module files of the running configuration are read again.
//!
//! What has changed is parsed, checked and tried like at the start, and only if all of it is
//! good does any of it come to run: a bad file changes nothing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::work::Worker;
use super::{Board, Loaded};
use crate::config::PluginConfig;
use crate::config::check::filters::hex;
use crate::config::check::read_again;
use crate::plugins::Why;

impl Worker {
    pub(super) fn reload(&self, board: &Board) {
        let loaded = board.loaded();
        let changed = match changed(&loaded) {
            Ok(changed) => changed,
            Err(problems) => return refuse(&problems),
        };
        let configs: Vec<_> = changed.iter().map(|(_, config)| config.clone()).collect();
        match self.loader.load(&configs) {
            Ok(new) => {
                self.compilers.reloaded();
                let new = self.compile_ahead(new);
                let indexes = changed.iter().map(|(index, _)| *index);
                let names: Vec<_> = configs.iter().map(|config| &config.name[..]).collect();
                tracing::info!(
                    changed = names.join(","),
                    "reload: module files were read again"
                );
                loaded.iter().for_each(|loaded| loaded.program.reconsider());
                board.publish(Why::Changed, indexes.zip(new).collect());
                board.publish_waiting();
            }
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                refuse(&problems);
            }
        }
    }
}

fn refuse(problems: &[String]) {
    for problem in problems {
        tracing::error!("reload: {problem}");
    }
    tracing::error!("reload: nothing is changed");
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
