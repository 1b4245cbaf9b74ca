//! `cofferdam compile`: native code made before anybody waits for it, for images and init
//! containers; and signed, for machines that have no compiler.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// What was typed.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("modules").args(["config", "files"]).required(true))]
pub struct Options {
    /// Compile every filter of this configuration, into the folder it uses
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Modules to compile
    #[arg(value_name = "FILE.wasm")]
    pub files: Vec<PathBuf>,
    /// Where native code is kept, instead of `artifacts.directory` or its default
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write the native code of one module here instead: not into the module's own file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "directory"])]
    pub output: Option<PathBuf>,
    /// Sign the output with this Ed25519 key (PKCS#8, PEM), into FILE.sig
    #[arg(long, value_name = "KEY.pem", requires = "output")]
    pub sign: Option<PathBuf>,
    /// As filters with `limits.fuel` need it
    #[arg(long, conflicts_with = "config")]
    pub fuel: bool,
    /// As filters with `memory: compact` need it
    #[arg(long, conflicts_with = "config")]
    pub compact: bool,
}

/// What was not done.
#[derive(Debug, Default)]
pub struct Refused {
    /// What is wrong with what was given.
    pub unusable: Vec<String>,
    /// What the machine, or this build, did not give.
    pub unavailable: Vec<String>,
}

/// Does what was typed; `said` gets a line for each module that is done.
///
/// # Errors
/// Everything that could not be done. The rest has been.
#[cfg(not(feature = "compiler"))]
pub fn run(_options: &Options, _said: impl FnMut(String)) -> Result<(), Refused> {
    Err(Refused {
        unavailable: vec![format!(
            "{}: use a build that has one",
            super::Failure::NoCompiler
        )],
        ..Refused::default()
    })
}

#[cfg(feature = "compiler")]
pub use work::run;

#[cfg(feature = "compiler")]
mod work {
    use std::collections::HashSet;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};

    use bytes::Bytes;
    use cofferdam_abi::engine::artifact::Artifact;
    use cofferdam_abi::tier::Choice;
    use cofferdam_abi::{Limits, Module};
    use ring::signature::Ed25519KeyPair;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::super::{Failure, checked, idle_ticks, parent};
    use super::{Options, Refused};
    use crate::artifacts::{Artifacts, Given};
    use crate::config::{self, Compiler, Precompiled};
    use crate::modules::{self, Native, NativeConfig};

    /// One module to compile.
    struct Task {
        /// What messages call it.
        name: String,
        wasm: Bytes,
        config: NativeConfig,
        given: Option<Precompiled>,
    }

    /// Does what was typed; `said` gets a line for each module that is done.
    ///
    /// # Errors
    /// Everything that could not be done. The rest has been.
    pub fn run(options: &Options, mut said: impl FnMut(String)) -> Result<(), Refused> {
        let mut refused = Refused::default();
        let (mut artifacts, mut limits) = (config::Artifacts::default(), Compiler::default());
        let tasks = match &options.config {
            Some(path) => {
                let config = config::load(path).map_err(|problems| {
                    Refused::unusable(problems.iter().map(ToString::to_string))
                })?;
                let tasks = Task::of_filters(&config);
                if tasks.is_empty() {
                    let file = path.display();
                    said(format!("{file}: no filter there runs native code"));
                }
                (artifacts, limits) = (config.artifacts, config.compiler);
                tasks
            }
            None => Task::of_files(options, &mut refused),
        };
        if let Some(directory) = &options.directory {
            artifacts.directory = Some(directory.clone());
        }
        match &options.output {
            Some(output) => tasks_to_file(options, &tasks, output, limits, &mut refused, &mut said),
            None => {
                let artifacts = Artifacts::new(&artifacts);
                let mut done = HashSet::new();
                for task in &tasks {
                    task.to_cache(&artifacts, limits, &mut done, &mut refused, &mut said);
                }
            }
        }
        match refused.unusable.is_empty() && refused.unavailable.is_empty() {
            true => Ok(()),
            false => Err(refused),
        }
    }

    fn tasks_to_file(
        options: &Options,
        tasks: &[Task],
        output: &Path,
        limits: Compiler,
        refused: &mut Refused,
        said: &mut impl FnMut(String),
    ) {
        let mut signature = output.as_os_str().to_owned();
        signature.push(".sig");
        let signature = PathBuf::from(signature);
        let written = [Some(output), options.sign.is_some().then_some(&*signature)];
        for written in written.into_iter().flatten() {
            let mut read = options.files.iter().chain(&options.sign);
            if let Some(read) = read.find(|read| is_same(read, written)) {
                refused.unusable.push(format!(
                    "--output {}: {} would be overwritten, which is read; name another file",
                    output.display(),
                    read.display()
                ));
                return;
            }
        }
        let key = match options.sign.as_deref().map(signing_key).transpose() {
            Ok(key) => key,
            Err(problem) => {
                refused.unusable.push(problem);
                return;
            }
        };
        let [task] = tasks else {
            if refused.unusable.is_empty() {
                let problem = "--output takes the code of one module: name one FILE.wasm";
                refused.unusable.push(problem.to_owned());
            }
            return;
        };
        let artifact = match task.compile(limits) {
            Ok((artifact, ..)) => artifact,
            Err(failure) => {
                refused.add(&task.name, &failure);
                return;
            }
        };
        let mut files = vec![(output.to_owned(), artifact.bytes().to_vec())];
        if let Some(key) = key {
            files.push((signature, key.sign(artifact.bytes()).as_ref().to_vec()));
        }
        for (file, bytes) in files {
            let shown = file.display();
            match std::fs::write(&file, &bytes) {
                Ok(()) => said(format!("{}: {shown}, {} bytes", task.name, bytes.len())),
                Err(error) => refused.unavailable.push(format!("{shown}: {error}")),
            }
        }
    }

    /// Whether both are there, and one file, by whatever names.
    fn is_same(one: &Path, other: &Path) -> bool {
        let id = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.dev(), file.ino()))
        };
        id(one).is_some_and(|one| Some(one) == id(other))
    }

    fn signing_key(file: &Path) -> Result<Ed25519KeyPair, String> {
        let shown = file.display();
        let pem = config::read_named(file).map_err(|why| format!("{shown}: {why}"))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok();
        // Tools write the public half into the file or not; nothing is lost without.
        key.and_then(|key| {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).ok()
        })
        .ok_or_else(|| {
            format!("{shown} is not an Ed25519 key in PKCS#8 and PEM: `openssl genpkey -algorithm ed25519` makes one")
        })
    }

    // === impl Task ===

    impl Task {
        /// Of every filter that may run native code.
        fn of_filters(config: &config::Config) -> Vec<Self> {
            if config.no_exec_memory {
                return Vec::new();
            }
            let plugins = config.plugins.iter();
            let plugins = plugins.filter(|plugin| plugin.engine != Choice::Interpreter);
            let tasks = plugins.map(|plugin| Self {
                name: format!("filter {}: {}", plugin.name, plugin.file.display()),
                wasm: plugin.wasm.clone(),
                config: modules::native_config(&plugin.limits, config.compact_memory),
                given: plugin.precompiled.clone(),
            });
            tasks.collect()
        }

        fn of_files(options: &Options, refused: &mut Refused) -> Vec<Self> {
            let config = NativeConfig {
                stack: Limits::default().stack,
                fuel: options.fuel,
                compact: options.compact,
            };
            let mut tasks = Vec::new();
            for file in &options.files {
                let name = file.display().to_string();
                match config::read_named(file) {
                    Ok(wasm) => tasks.push(Self {
                        name,
                        wasm,
                        config,
                        given: None,
                    }),
                    Err(error) => refused.unusable.push(format!("{name}: {error}")),
                }
            }
            tasks
        }

        fn ready(&self) -> Result<(Module, Native), Failure> {
            let module = Module::parse(self.wasm.clone());
            let module = module.map_err(|error| Failure::Module(error.to_string()))?;
            let native = Native::new(self.config, &idle_ticks());
            let native = native.map_err(|error| Failure::Unavailable(error.to_string()))?;
            Ok((module, native))
        }

        fn compile(&self, limits: Compiler) -> Result<(Artifact, Module, Native), Failure> {
            let (module, native) = self.ready()?;
            let sealed = parent::compile(&module, self.config, limits, |_| {})?;
            let artifact = checked(sealed, &module, &native)?;
            Ok((artifact, module, native))
        }

        /// Finds its code or makes it. `done` knows what has been seen to.
        fn to_cache(
            &self,
            artifacts: &Artifacts,
            limits: Compiler,
            done: &mut HashSet<([u8; 32], u64)>,
            refused: &mut Refused,
            said: &mut impl FnMut(String),
        ) {
            let name = &self.name;
            let (module, native) = match self.ready() {
                Ok(ready) => ready,
                Err(failure) => return refused.add(name, &failure),
            };
            if !done.insert((module.digest, native.fingerprint())) {
                return;
            }
            let given = self.given.as_ref().map(|code| Given {
                code,
                filters: name,
            });
            if let Some(artifact) = artifacts.find(&module, &native, given) {
                let bytes = artifact.bytes().len();
                return said(format!("{name}: there already, {bytes} bytes"));
            }
            let sealed = parent::compile(&module, self.config, limits, |_| {});
            let artifact = match sealed.and_then(|sealed| checked(sealed, &module, &native)) {
                Ok(artifact) => artifact,
                Err(failure) => return refused.add(name, &failure),
            };
            match artifacts.keep(&module, &native, artifact.bytes()) {
                Ok(file) => said(format!(
                    "{name}: {}, {} bytes",
                    file.display(),
                    artifact.bytes().len()
                )),
                Err(error) => refused.unavailable.push(format!("{name}: {error}")),
            }
        }
    }

    // === impl Refused ===

    impl Refused {
        fn unusable(problems: impl Iterator<Item = String>) -> Self {
            Self {
                unusable: problems.collect(),
                unavailable: Vec::new(),
            }
        }

        fn add(&mut self, name: &str, failure: &Failure) {
            let problem = format!("{name}: {failure}");
            match failure {
                Failure::Unavailable(_) => self.unavailable.push(problem),
                _ => self.unusable.push(problem),
            }
        }
    }
}
