//! Native code kept between runs, and which of it is trusted.
//!
//! Native code runs with all rights of this process, so what a file says of itself counts
//! for nothing: it is used if this user alone could have written it ([`directory`]) and
//! every byte is as it was written (`Artifact` of the host), or if an operator has signed
//! it. Anything else is refused, said, removed and made again. A folder that cannot be used
//! costs the next start its head start, and nothing now.

mod directory;
pub(crate) mod location;

use std::collections::HashSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::artifact::{Artifact, ArtifactError, PublicKey, file_name};
use cofferdam_abi::{Compat, Module};

use crate::config::{self, Precompiled};
use crate::modules::Native;

use directory::Directory;
#[cfg(feature = "compiler")]
pub(crate) use directory::Unusable;
pub(crate) use location::{Surroundings, default_directory};

/// The native code this process may use.
#[derive(Debug)]
pub(crate) struct Artifacts {
    /// `None` where there is no place for it.
    path: Option<PathBuf>,
    trusted_keys: Vec<PublicKey>,
    /// What has been said once, and is not said again.
    said: Mutex<HashSet<String>>,
}

/// Native code that filters were given with a signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) code: &'a Precompiled,
    /// Whose it is, for messages.
    pub(crate) filters: &'a str,
}

// === impl Artifacts ===

impl Artifacts {
    /// As configured. Nothing is opened or made yet: a proxy that has no use for native
    /// code leaves no trace of it.
    pub(crate) fn new(config: &config::Artifacts) -> Self {
        let path = match &config.directory {
            Some(path) => Some(path.clone()),
            None => default_directory(&Surroundings::of_this_process()),
        };
        Self {
            path,
            trusted_keys: config.trusted_keys.clone(),
            said: Mutex::default(),
        }
    }

    /// The native code of `module` for `native`, if there is any to be trusted: the one it
    /// was given with a signature, else what is kept. What is refused is said and removed.
    #[cfg(feature = "compiler")]
    pub(crate) fn find(
        &self,
        module: &Module,
        native: &Native,
        given: Option<Given<'_>>,
    ) -> Option<Artifact> {
        let signed = given.and_then(|given| self.signed(module, native, given));
        signed.or_else(|| self.kept(module, native))
    }

    /// As [`Artifacts::find`], linked and ready to run.
    pub(crate) fn code(
        &self,
        module: &Module,
        native: &Native,
        compat: &Compat,
        given: Option<Given<'_>>,
    ) -> Option<Box<dyn Code>> {
        if let Some(given) = given
            && let Some(artifact) = self.signed(module, native, given)
        {
            match native.load(module, compat, &artifact) {
                Ok(code) => return Some(code),
                Err(error) => self.refuse_given(given, &error),
            }
        }
        let artifact = self.kept(module, native)?;
        match native.load(module, compat, &artifact) {
            Ok(code) => Some(code),
            // Whole, and ours, and the engine will not have it.
            Err(error) => {
                let path = self.path.as_deref()?;
                let directory = Directory::open(path).ok()??;
                let name = file_name(&module.digest, native.fingerprint());
                self.remove(&directory, path, &name, &error);
                None
            }
        }
    }

    /// Keeps `sealed` for the next start and for other processes.
    ///
    /// # Errors
    /// When there is no folder that can be used, or no room in it.
    #[cfg(feature = "compiler")]
    pub(crate) fn keep(
        &self,
        module: &Module,
        native: &Native,
        sealed: &[u8],
    ) -> Result<PathBuf, Unusable> {
        let path = self.path.as_deref().ok_or(Unusable::NoPlace)?;
        let name = file_name(&module.digest, native.fingerprint());
        let file = path.join(&name);
        let directory = Directory::create(path)?;
        match directory.write(&name, sealed) {
            Ok(()) => Ok(file),
            Err(error) => Err(Unusable::Write(file, error)),
        }
    }

    /// As [`Artifacts::keep`], for a process that has other things to do: it is told why not.
    #[cfg(feature = "compiler")]
    pub(crate) fn keep_or_say(&self, module: &Module, native: &Native, sealed: &[u8]) {
        if let Err(error) = self.keep(module, native, sealed) {
            let about = error.to_string();
            self.say_of(&about, || {
                format!(
                    "native code cannot be kept: {error}; it is used all the same, and made again by the next process"
                )
            });
        }
    }

    fn signed(&self, module: &Module, native: &Native, given: Given<'_>) -> Option<Artifact> {
        let artifact = Artifact::signed(
            given.code.bytes.to_vec(),
            &given.code.signature,
            &self.trusted_keys,
            &module.digest,
            native.fingerprint(),
        );
        artifact
            .map_err(|error| self.refuse_given(given, &error))
            .ok()
    }

    fn refuse_given(&self, given: Given<'_>, why: &dyn Display) {
        let (filters, file) = (given.filters, given.code.file.display());
        if self.is_news(&format!("{filters}: {file}: {why}")) {
            tracing::warn!(
                filter = filters,
                "precompiled code is not used: {file}: {why}"
            );
        }
    }

    fn kept(&self, module: &Module, native: &Native) -> Option<Artifact> {
        let path = self.path.as_deref()?;
        let directory = match Directory::open(path) {
            Ok(directory) => directory?,
            Err(error) => {
                let about = error.to_string();
                self.say_of(&about, || {
                    format!("native code that is kept is not used, nor is any kept: {error}")
                });
                return None;
            }
        };
        let (digest, fingerprint) = (&module.digest, native.fingerprint());
        let name = file_name(digest, fingerprint);
        let found = match directory.read(&name) {
            Ok(None) => return None,
            Ok(Some(file)) => Artifact::from_own_file(file, digest, fingerprint),
            Err(error) => Err(ArtifactError::Io(error.to_string())),
        };
        match found {
            Ok(artifact) => Some(artifact),
            Err(error) => {
                self.remove(&directory, path, &name, &error);
                None
            }
        }
    }

    fn remove(&self, directory: &Directory, path: &Path, name: &str, why: &dyn Display) {
        let removed = match directory.remove(name) {
            Ok(()) => "it is removed".to_owned(),
            Err(error) => format!("it cannot be removed: {error}"),
        };
        self.say(&format!(
            "native code that is kept is not used: {}: {why}; {removed}",
            path.join(name).display()
        ));
    }

    fn say(&self, text: &str) {
        self.say_of(text, || text.to_owned());
    }

    /// Once for each reason: a folder that is refused is refused for every module, and
    /// whether there is something to find in it or to keep.
    fn say_of(&self, reason: &str, text: impl FnOnce() -> String) {
        if self.is_news(reason) {
            tracing::warn!("{}", text());
        }
    }

    fn is_news(&self, reason: &str) -> bool {
        let said = self.said.lock();
        said.is_ok_and(|mut said| said.insert(reason.to_owned()))
    }
}
