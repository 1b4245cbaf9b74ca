//! The `cofferdam` command: what was typed, turned into calls of the library.

#![forbid(unsafe_code)]
// They panic where nothing can be written.
#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use cofferdam::app::{self, Lack, Terminations, Unavailable};
use cofferdam::telemetry::{self, complain};
use cofferdam::{author, compile, config, demo, inspect};
#[cfg(feature = "mimalloc")]
use rustix::process::{Resource, getrlimit};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A reverse proxy and mesh sidecar whose filters are proxy-wasm modules.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    /// What to log: a level (off, error, warn, info, debug, trace), or levels by target such as
    /// `info,filter=debug`
    #[arg(
        long,
        global = true,
        env = "COFFERDAM_LOG",
        default_value = "info",
        value_name = "LEVELS"
    )]
    log: String,
    /// How to log
    #[arg(
        long,
        global = true,
        env = "COFFERDAM_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 done; 1 a case of `test` failed, or `run` was told twice to end and left what was under way; 64 the command line, the configuration or a filter is not usable here; \
                           69 something needed is not there (a port is taken, a file cannot be written). A signal that a command does not \
                           wait for ends it as the system does, which shells call 128 and its number (143: SIGTERM).";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy until SIGTERM or SIGINT, then drain
    Run {
        /// The configuration
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Take the place of the process that answers at `upgrade.socket`, if one does, without
        /// losing a connection
        #[arg(long)]
        take_over: bool,
    },
    /// Check a configuration, its files and its filters, and run nothing
    Check {
        /// The configuration
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show what a filter is, what it wants of a host, and what this one does not provide; exit
    /// status 64 if that keeps it from running
    Inspect {
        /// The module
        #[arg(value_name = "FILE.wasm")]
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a folder with a new filter in it
    New(author::new::Options),
    /// Build a filter: NAME.wasm in its folder, and nothing else outside its target directory
    Build(author::build::Options),
    /// Run a filter in a proxy, build it anew when it is saved, and show what it does
    Dev(author::dev::Options),
    /// Run cases from files against a filter, on each engine
    Test(author::test::Options),
    /// Measure what each callback of a filter takes, on each engine
    Bench(author::bench::Options),
    /// Make native code of filters before anybody waits for it, and keep it
    Compile(compile::command::Options),
    /// What the proxy runs for that
    #[cfg(feature = "compiler")]
    #[command(hide = true)]
    CompileChild(compile::child::Task),
    /// Run the proxy in front of a small upstream of its own that shows what reaches it
    Demo {
        /// The configuration
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Where the upstream listens
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
        upstream: std::net::SocketAddr,
    },
    /// Print the reference of the configuration as Markdown
    Reference,
    /// Print a completion script
    Completions {
        /// For this shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    #[cfg(feature = "mimalloc")]
    reserve_nothing_ahead();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and the version come this way too, and are no mistake.
            let mistaken = said.use_stderr();
            let _ = said.print();
            return if mistaken {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    // It has to give things up before it does anything else.
    #[cfg(feature = "compiler")]
    if let Command::CompileChild(task) = &cli.command {
        return compile::child::run(task);
    }
    if let Err(error) = telemetry::init(&cli.log, cli.log_format == LogFormat::Json) {
        complain(format_args!("--log: {error}"));
        return USAGE.into();
    }
    match cli.command {
        Command::Run { config, take_over } => run(&config, take_over),
        Command::Check { config } => check(&config),
        Command::Inspect { file, json } => inspect_module(&file, json),
        Command::New(options) => match author::new::run(&options) {
            Ok(said) => print(&said),
            Err(failure) => fail(&failure),
        },
        Command::Build(options) => build(&options),
        Command::Bench(options) => match author::bench::run(&options) {
            Ok(table) => print(&table),
            Err(failure) => fail(&failure),
        },
        Command::Dev(options) => {
            let shown = author::dev::run(&options, |line| {
                let _ = print(&format!("{line}\n"));
            });
            match shown {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => fail(&failure),
            }
        }
        Command::Test(options) => test(&options),
        Command::Compile(options) => compile_modules(&options),
        #[cfg(feature = "compiler")]
        Command::CompileChild(task) => compile::child::run(&task),
        Command::Demo { config, upstream } => match demo::start(upstream) {
            Ok(()) => run(&config, false),
            Err(error) => {
                complain(format_args!(
                    "the demo's upstream cannot listen on {upstream}: {error}; free the address or give --upstream"
                ));
                UNAVAILABLE.into()
            }
        },
        Command::Reference => print(&config::reference::markdown()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cofferdam", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// The allocator reserves a GiB of addresses when it is first used, and the C library's 64 MiB for
/// each thread. Where the process may not have many (`ulimit -v`), they are wanted for VMs: it begins
/// again with allocators that reserve less.
#[cfg(feature = "mimalloc")]
fn reserve_nothing_ahead() {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    const RESERVE: &str = "MIMALLOC_ARENA_RESERVE";
    let bounded = getrlimit(Resource::As).current.is_some();
    if !bounded || std::env::var_os(RESERVE).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        let mut again = Command::new(program);
        again.arg0(name).args(arguments).env(RESERVE, "0");
        if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
            again.env("MALLOC_ARENA_MAX", "1");
        }
        // It comes back only where that cannot be; then there is less room.
        let _ = again.exec();
    }
}

fn run(path: &std::path::Path, take_over: bool) -> ExitCode {
    // First of all: as the first process of a container it has nobody else to see to them.
    let terminations = match Terminations::watch() {
        Ok(terminations) => terminations,
        Err(error) => {
            complain(format_args!(
                "signals cannot be watched: {error}; allow the process more threads or open files"
            ));
            return UNAVAILABLE.into();
        }
    };
    let prepared = app::prepare(path);
    let prepared = match take_over {
        true => prepared.and_then(app::Prepared::taking_over),
        false => prepared,
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(problems) => return refuse(&problems),
    };
    match app::run(prepared, terminations, |_| {}) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Unavailable(lacks)) => {
            for lack in lacks {
                match lack {
                    Lack::Here(what) => complain(what),
                    Lack::Whole(what) => complain(format_args!("{}: {what}", path.display())),
                }
            }
            UNAVAILABLE.into()
        }
    }
}

fn check(path: &std::path::Path) -> ExitCode {
    match app::prepare(path) {
        Ok(_) => print(&format!("{}: the configuration is good\n", path.display())),
        Err(problems) => refuse(&problems),
    }
}

fn inspect_module(file: &std::path::Path, json: bool) -> ExitCode {
    match config::read_named(file).and_then(inspect::inspect) {
        Ok(report) => {
            let printed = print(&if json {
                report.to_json()
            } else {
                report.to_string()
            });
            match report.is_usable() {
                true => printed,
                false => USAGE.into(),
            }
        }
        Err(error) => {
            complain(format_args!("{}: {error}", file.display()));
            USAGE.into()
        }
    }
}

fn build(options: &author::build::Options) -> ExitCode {
    match author::build::run(options) {
        Ok(built) => print(&built.summary),
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &author::build::Failure) -> ExitCode {
    use author::build::Failure;
    match failure {
        Failure::Unusable(what) => {
            complain(what);
            USAGE.into()
        }
        Failure::Unavailable(what) => {
            complain(what);
            UNAVAILABLE.into()
        }
    }
}

fn test(options: &author::test::Options) -> ExitCode {
    let mut printed = ExitCode::SUCCESS;
    let result = author::test::run(options, |line| printed = print(&format!("{line}\n")));
    match result {
        Ok(tally) if tally.failed > 0 => ExitCode::FAILURE,
        Ok(_) => printed,
        Err(problems) => {
            for problem in problems {
                complain(problem);
            }
            USAGE.into()
        }
    }
}

fn compile_modules(options: &compile::command::Options) -> ExitCode {
    let mut printed = ExitCode::SUCCESS;
    let result = compile::command::run(options, |line| printed = print(&format!("{line}\n")));
    let Err(refused) = result else {
        return printed;
    };
    for problem in refused.unusable.iter().chain(&refused.unavailable) {
        complain(problem);
    }
    match refused.unavailable.is_empty() {
        true => USAGE.into(),
        false => UNAVAILABLE.into(),
    }
}

fn refuse(problems: &[config::Diagnostic]) -> ExitCode {
    for problem in problems {
        complain(problem);
    }
    USAGE.into()
}

/// Writes to standard output; a reader that has gone is no reason to panic.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => UNAVAILABLE.into(),
    }
}

/// EX_USAGE: what was given is not usable.
const USAGE: u8 = 64;
/// EX_UNAVAILABLE: something outside is missing.
const UNAVAILABLE: u8 = 69;
