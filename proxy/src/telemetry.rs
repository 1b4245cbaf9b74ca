//! The program's own log, to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Sets the log up, once per process. Pingora's own messages are shown from warnings on
/// unless `levels` names it.
///
/// # Errors
/// When `levels` cannot be read.
pub fn init(levels: &str, json: bool) -> Result<(), ParseError> {
    let levels = if levels.contains("pingora") {
        levels.to_owned()
    } else {
        format!("{levels},pingora_core=warn")
    };
    let filter = EnvFilter::try_new(levels)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call (tests) finds the first one's log in place, which is fine.
    let _ = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init()
    } else {
        use std::io::IsTerminal as _;
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
    Ok(())
}
