//! The interpreter and native code, held against each other on guests nobody would write.
//!
//! A seed is one story: either the host crate's hostile guest, which is an interpreter of
//! random bytes and asks for anything in any order, or a module by wasm-smith, whose code is
//! random and calls random hostcalls with random arguments. The same events happen to both
//! engines' guests, and everything that can be seen must be the same: what becomes of
//! messages, records, what guests ask for, how calls end, the guests' memories at the end.
//!
//! Three things may differ, and nothing after them is compared: where time runs out, where
//! the time of a stream runs out, and where the stack does. One engine counts instructions
//! and frames, the other milliseconds and bytes. Stories are made so that it hardly ever comes
//! to that; how often it did is told.

mod dice;
mod module;

use std::time::Duration;

use cofferdam_abi::harness::Engine;
use cofferdam_abi::testing::{Script, Trace, hostile};
use cofferdam_abi::{LoadError, Module, TrapKind};

use self::dice::Dice;

/// Far more than any story needs, so that time runs out for nobody.
const CALLBACK: Duration = Duration::from_secs(5);

/// One seed in so many is a module of its own: compiling takes longer than the rest.
const MODULES: u64 = 24;

/// A story.
#[derive(Debug)]
pub struct Story {
    /// The module of its guests; the hostile one where there is none.
    pub module: Option<Vec<u8>>,
    /// Guests' configurations and events, for [`Script`].
    input: Vec<u8>,
    /// One ordinary exchange instead of any events.
    ordinary: bool,
}

/// How a story went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same on both.
    Same {
        /// Lines that were compared, and what is in them.
        lines: usize,
        /// Calls into guests, at least.
        calls: usize,
        /// How calls ended that did not return.
        traps: usize,
    },
    /// The same on both, up to where one of them came up against what may differ.
    Excused(TrapKind),
    /// Neither runs such a module; what the interpreter says.
    Refused(String),
    /// Not the same; what and where.
    Different(String),
}

// === impl Story ===

impl Story {
    /// The story of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let module = seed.is_multiple_of(MODULES).then(|| module::any(&mut dice));
        let length = 40 + dice.below(1200);
        Self {
            module,
            input: dice.bytes(length),
            ordinary: dice.one_in(4),
        }
    }

    /// What a fuzz target found worth keeping.
    #[must_use]
    pub const fn found(input: Vec<u8>, ordinary: bool) -> Self {
        Self {
            module: None,
            input,
            ordinary,
        }
    }

    /// Has it happen on both engines.
    #[must_use]
    pub fn judge(&self) -> Verdict {
        let [interpreted, native] = [Engine::Interpreter, Engine::Native].map(|on| self.play(on));
        match (interpreted, native) {
            (Ok(interpreted), Ok(native)) => compare(&interpreted, &native),
            (Err(why), Err(_)) => Verdict::Refused(why.to_string()),
            (Ok(_), Err(why)) => Verdict::Different(format!("native code refuses it: {why}")),
            (Err(why), Ok(_)) => Verdict::Different(format!("the interpreter refuses it: {why}")),
        }
    }

    fn play(&self, engine: Engine) -> Result<Trace, LoadError> {
        let script = if self.ordinary {
            Script::of_hostcalls(&self.input)
        } else {
            Script::of_events(&self.input)
        };
        let Some(script) = script else {
            return Ok(Trace::default());
        };
        let settings = script.settings(CALLBACK);
        let (module, code) = match &self.module {
            Some(wasm) => {
                let module = Module::parse(wasm.clone().into())?;
                let code = engine.code_once(&module, &settings)?;
                (module, code)
            }
            None => {
                let module = Module::parse(hostile::wasm().into())?;
                let code = engine.code(&module, &settings)?;
                (module, code)
            }
        };
        Ok(script.play(&*code, module.version, settings, true))
    }
}

/// Whether engines may disagree on where this happens.
const fn may_differ(kind: TrapKind) -> bool {
    matches!(
        kind,
        TrapKind::Deadline | TrapKind::StreamCpu | TrapKind::Stack
    )
}

fn compare(interpreted: &Trace, native: &Trace) -> Verdict {
    let excuse = |trace: &Trace| {
        let mut traps = trace.traps.iter().map(|(at, trap)| (*at, trap.kind));
        traps.find(|(_, kind)| may_differ(*kind))
    };
    let excuse = excuse(interpreted)
        .into_iter()
        .chain(excuse(native))
        .min_by_key(|(at, _)| *at);
    let end = excuse.map_or(usize::MAX, |(at, _)| at);
    let lines = |trace: &Trace| trace.lines.len().min(end);
    let most = lines(interpreted).max(lines(native));
    let line = |trace: &Trace, at: usize| trace.lines.get(at).cloned().unwrap_or_default();
    let said = |trace: &Trace, at: usize| {
        let trap = trace.traps.iter().find(|(line, _)| *line == at);
        trap.map_or_else(String::new, |(_, trap)| {
            format!(" ({} {:?})", trap.message, trap.frames)
        })
    };
    if let Some(at) = (0..most).find(|&at| line(interpreted, at) != line(native, at)) {
        let before =
            interpreted.lines[at.saturating_sub(6)..at.min(interpreted.lines.len())].join("\n  ");
        return Verdict::Different(format!(
            "after\n  {before}\ninterpreted: {}{}\nnative:      {}{}",
            line(interpreted, at),
            said(interpreted, at),
            line(native, at),
            said(native, at)
        ));
    }
    match excuse {
        Some((_, kind)) => Verdict::Excused(kind),
        None => Verdict::Same {
            lines: most,
            calls: interpreted.calls,
            traps: interpreted.traps.len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_abi::Trap;
    use cofferdam_abi::engine::Tier;

    use super::*;

    fn trace(lines: &[&str], traps: &[(usize, TrapKind)]) -> Trace {
        let trap = |&(at, kind): &(usize, TrapKind)| {
            let message = String::new();
            (
                at,
                Trap {
                    kind,
                    callback: "",
                    tier: Tier::Interpreter,
                    message,
                    frames: Vec::new(),
                },
            )
        };
        Trace {
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            traps: traps.iter().map(trap).collect(),
            calls: 1,
        }
    }

    #[test]
    fn a_difference_is_told_wherever_it_is() {
        let one = trace(&["a", "b"], &[]);
        for other in [&["a", "c"][..], &["a"], &["a", "b", "c"], &[]] {
            let other = trace(other, &[]);
            for verdict in [compare(&one, &other), compare(&other, &one)] {
                assert!(matches!(verdict, Verdict::Different(_)), "{verdict:?}");
            }
        }
        assert!(matches!(
            compare(&one, &one),
            Verdict::Same { lines: 2, .. }
        ));
    }

    #[test]
    fn only_what_comes_after_time_or_stack_is_excused() {
        let ended = trace(&["a", "trap stack", "x"], &[(1, TrapKind::Stack)]);
        let went_on = trace(&["a", "b", "c", "d"], &[]);
        assert_eq!(compare(&ended, &went_on), Verdict::Excused(TrapKind::Stack));
        let earlier = trace(&["z", "b"], &[]);
        assert!(matches!(compare(&ended, &earlier), Verdict::Different(_)));
        let fault = trace(&["a", "trap fault", "x"], &[(1, TrapKind::Fault)]);
        assert!(matches!(compare(&fault, &went_on), Verdict::Different(_)));
    }
}
