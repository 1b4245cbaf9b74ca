//! Which engine a module runs on, and when native code is worth making: a pure function.
//!
//! Native code that is there is best on every axis, so it is used from the first request.
//! What was never seen before runs on the interpreter at once, and pays for its compiler
//! first: when the time it has cost there comes to half of what compiling is estimated to
//! cost, it is compiled. So nobody ever pays more than three times the best that could have
//! been done with foresight, and modules that hardly run are never compiled.

use std::time::Duration;

/// What compiling costs, per byte of a module's code section.
const COMPILE_PER_BYTE: Duration = Duration::from_nanos(1_200);
/// From a module's first use to its compiler, where it looks at bodies: those cost the
/// interpreter fifty times what headers do, so waiting for proof would be paid for by few.
const BODY: Duration = Duration::from_millis(1);

/// What the operator wants: `engine` of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Choice {
    /// What suits.
    #[default]
    Auto,
    /// Never native code.
    Interpreter,
    /// Native code from the first request on, made before it where need be.
    Aot,
}

/// What is known of a module when the question comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What the operator wants of its filter.
    pub choice: Choice,
    /// The process must not map executable memory.
    pub no_exec_memory: bool,
    /// Its native code is there.
    pub artifact: bool,
    /// Native code can be made.
    pub compiler: bool,
    /// The compiler has given it up since it was last read.
    pub refused: bool,
    /// Nothing is served by it yet.
    pub starting: bool,
    /// What the interpreter has spent in it, on all workers.
    pub spent: Duration,
    /// Size of its code section, in bytes.
    pub code: usize,
    /// It looks at bodies.
    pub bodies: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Run it on the interpreter.
    Interpret,
    /// Run its native code.
    Native,
    /// Make native code now. Until it is there the interpreter runs it; while
    /// [`Facts::starting`], nobody does: it is waited for.
    Compile,
}

// === impl Facts ===

impl Facts {
    /// What to do with the module.
    #[must_use]
    pub fn decide(&self) -> Decision {
        if self.no_exec_memory || self.choice == Choice::Interpreter {
            return Decision::Interpret;
        }
        if self.artifact {
            return Decision::Native;
        }
        if !self.compiler || self.refused {
            return Decision::Interpret;
        }
        let due = match self.choice {
            Choice::Aot => true,
            _ => !self.starting && self.spent >= self.earned_at(),
        };
        if due {
            Decision::Compile
        } else {
            Decision::Interpret
        }
    }

    /// How much the interpreter may spend in the module before it is compiled.
    #[must_use]
    pub fn earned_at(&self) -> Duration {
        let half = compile_estimate(self.code) / 2;
        if self.bodies { half.min(BODY) } else { half }
    }
}

/// CPU time that compiling so many bytes of code takes, roughly; it differs by a factor of
/// two between modules.
#[must_use]
pub fn compile_estimate(code: usize) -> Duration {
    COMPILE_PER_BYTE.saturating_mul(u32::try_from(code).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of 100 KB that was never seen before, while traffic flows.
    const UNKNOWN: Facts = Facts {
        choice: Choice::Auto,
        no_exec_memory: false,
        artifact: false,
        compiler: true,
        refused: false,
        starting: false,
        spent: Duration::ZERO,
        code: 100_000,
        bodies: false,
    };

    fn spending(millis: u64) -> Facts {
        Facts {
            spent: Duration::from_millis(millis),
            ..UNKNOWN
        }
    }

    #[test]
    fn half_of_the_estimate_earns_the_compiler() {
        assert_eq!(compile_estimate(100_000), Duration::from_millis(120));
        assert_eq!(UNKNOWN.earned_at(), Duration::from_millis(60));
        assert_eq!(spending(59).decide(), Decision::Interpret);
        assert_eq!(spending(60).decide(), Decision::Compile);
    }

    #[test]
    fn an_artifact_is_used_whatever_was_spent_or_refused() {
        for choice in [Choice::Auto, Choice::Aot] {
            for (starting, refused, compiler) in [
                (true, false, true),
                (false, true, true),
                (true, true, false),
                (false, false, false),
            ] {
                let facts = Facts {
                    choice,
                    artifact: true,
                    starting,
                    refused,
                    compiler,
                    ..UNKNOWN
                };
                assert_eq!(facts.decide(), Decision::Native, "{facts:?}");
            }
        }
    }

    #[test]
    fn nothing_makes_code_run_natively_where_it_must_not() {
        for artifact in [false, true] {
            for choice in [Choice::Auto, Choice::Interpreter, Choice::Aot] {
                let facts = Facts {
                    choice,
                    artifact,
                    no_exec_memory: true,
                    ..spending(1_000)
                };
                assert_eq!(facts.decide(), Decision::Interpret, "{facts:?}");
            }
            let facts = Facts {
                choice: Choice::Interpreter,
                artifact,
                ..spending(1_000)
            };
            assert_eq!(facts.decide(), Decision::Interpret, "{facts:?}");
        }
    }

    #[test]
    fn aot_is_compiled_before_it_serves_and_auto_is_not() {
        let starting = |choice| Facts {
            choice,
            starting: true,
            ..spending(1_000)
        };
        assert_eq!(starting(Choice::Aot).decide(), Decision::Compile);
        assert_eq!(starting(Choice::Auto).decide(), Decision::Interpret);
    }

    #[test]
    fn what_cannot_be_compiled_is_interpreted() {
        for choice in [Choice::Auto, Choice::Aot] {
            let refused = Facts {
                choice,
                refused: true,
                ..spending(1_000)
            };
            assert_eq!(refused.decide(), Decision::Interpret);
            let none = Facts {
                choice,
                compiler: false,
                ..spending(1_000)
            };
            assert_eq!(none.decide(), Decision::Interpret);
        }
    }

    #[test]
    fn a_module_that_looks_at_bodies_is_compiled_once_it_is_used() {
        let bodies = |spent| Facts {
            bodies: true,
            ..spending(spent)
        };
        assert_eq!(bodies(0).decide(), Decision::Interpret);
        assert_eq!(bodies(1).decide(), Decision::Compile);
        // A small one earns it sooner.
        let small = Facts {
            code: 100,
            ..bodies(0)
        };
        assert!(small.earned_at() < Duration::from_millis(1));
    }

    #[test]
    fn sizes_without_end_do_not_overflow() {
        let huge = Facts {
            code: usize::MAX,
            ..spending(1_000_000)
        };
        assert_eq!(huge.decide(), Decision::Interpret);
    }
}
