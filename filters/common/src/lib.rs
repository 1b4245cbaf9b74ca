//! What the ready-made filters share, so that it looks and works the same in all of them:
//! whom a rule is for ([`Match`]), values taken from a request ([`Variable`], [`Template`]),
//! the body of an error ([`problem`]), what is counted ([`Outcome`]), and how secrets are
//! compared ([`same_secret`]).

mod matching;
mod name;
mod number;
mod problem;
mod secret;
mod template;
mod text;
mod variable;

use cofferdam_sdk::metrics::Counter;
use cofferdam_sdk::{Status, debug};

pub use matching::{Match, Target};
pub use name::HeaderName;
pub use number::Count;
pub use problem::problem;
pub use secret::same_secret;
pub use template::Template;
pub use variable::{Captured, Variable};

/// What a rule has come to, for its metric: `NAME.rule=RULE.result=RESULT`, where `RESULT`
/// ends in `_dry` if nothing was really done.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Counted under this name.
    pub counter: &'static str,
    /// Nothing is done, only counted.
    pub dry_run: bool,
}

// === impl Outcome ===

impl Outcome {
    /// Counts one more. A host that takes no more metrics is no reason to fail.
    pub fn count(&self, rule: &str, result: &str) {
        self.count_many(rule, result, 1);
    }

    /// Counts so many more.
    pub fn count_many(&self, rule: &str, result: &str, many: u64) {
        let dry = if self.dry_run { "_dry" } else { "" };
        let labels = [("rule", rule), ("result", &[result, dry].concat())];
        if let Err(status) = self.add(&labels, many) {
            debug!("{} is not counted: {status}", self.counter);
        }
    }

    fn add(&self, labels: &[(&str, &str)], many: u64) -> Result<(), Status> {
        Counter::new(self.counter).with(labels).add(many)
    }
}

/// What a rule is called: its name, or its place in the list.
#[must_use]
pub fn rule_name(name: Option<&str>, index: usize) -> String {
    name.map_or_else(|| index.to_string(), str::to_owned)
}
