//! The program's own log, to standard error, and what commands complain of there.
//!
//! Whoever reads it may go, and the disk under it may be full: then what is said is lost, and the
//! proxy goes on. `eprintln!` would panic, which ends a release.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Puts other levels in the place of those there are.
type Set = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static SET: OnceLock<Set> = OnceLock::new();

/// Sets the log up, once per process. Pingora's own messages are shown from warnings on
/// unless `levels` names it.
///
/// # Errors
/// What is wrong with `levels`, in a sentence.
pub fn init(levels: &str, json: bool) -> Result<(), String> {
    let filter = filter(levels)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would say by `eprintln!` that it cannot write there.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second call (tests) finds the first one's log in place, which is fine.
    if json {
        let builder = builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.try_init().is_ok() {
            let set = move |filter| handle.reload(filter).map_err(|error| error.to_string());
            let _ = SET.set(Box::new(set));
        }
    } else {
        use std::io::IsTerminal as _;
        let builder = builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.try_init().is_ok() {
            let set = move |filter| handle.reload(filter).map_err(|error| error.to_string());
            let _ = SET.set(Box::new(set));
        }
    }
    Ok(())
}

/// Says something on standard error, or to nobody where that cannot be.
pub fn complain(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Logs what `levels` says from now on.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(crate) fn set_levels(levels: &str) -> Result<(), String> {
    let filter = filter(levels)?;
    let set = SET.get().ok_or("the log is not this program's")?;
    set(filter)
}

/// Stricter than what reads it: what is no level and no `TARGET=LEVEL` would be a target that
/// nothing has, and nothing would be logged.
fn filter(levels: &str) -> Result<EnvFilter, String> {
    for item in levels.split(',') {
        let (target, level) = item.split_once('=').unwrap_or(("-", item));
        let named = !level.is_empty() && !level.bytes().all(|byte| byte.is_ascii_digit());
        if !named || level.parse::<LevelFilter>().is_err() || target.is_empty() {
            return Err(format!(
                "{item:?} is no level: write off, error, warn, info, debug or trace, or TARGET=LEVEL, separated by commas"
            ));
        }
    }
    let filter = if levels.contains("pingora") {
        EnvFilter::try_new(levels)
    } else {
        EnvFilter::try_new(format!("{levels},pingora_core=warn"))
    };
    filter.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_level_is_refused() {
        for levels in [
            "",
            "loud",
            "3",
            "info,",
            "info,x=",
            "=info",
            "x=loud",
            "info debug",
            "a=b=info",
        ] {
            let refused = set_levels(levels).expect_err(levels);
            assert!(refused.contains("is no level"), "{refused}");
        }
    }
}
