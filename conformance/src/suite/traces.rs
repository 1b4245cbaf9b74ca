//! Two engines' outcomes of one case, which must be the same to the last byte: not only what
//! the case looks at, and the words of a refusal too.

use std::fmt::Debug;

use super::compare::shown;
use super::outcome::{Message, Outcome, Record, Seen};

/// The first thing that is not the same, in words; `first` is shown as the interpreter's.
#[must_use]
pub fn difference(interpreted: &Outcome, native: &Outcome) -> Option<String> {
    let Outcome {
        refused,
        logs,
        steps,
        peer,
        metrics,
    } = interpreted;
    let record = |record: &Record| shown(record, true);
    value("refusal", refused, &native.refused)
        .or_else(|| list("record", logs, &native.logs, record))
        .or_else(|| {
            list("step", steps, &native.steps, |seen: &Seen| {
                format!("{seen:?}")
            })
        })
        .or_else(|| {
            list("request at the peer", peer, &native.peer, |m: &Message| {
                format!("{m:?}")
            })
        })
        .or_else(|| list("metric", metrics, &native.metrics, |m| format!("{m:?}")))
}

fn value<T: Debug + PartialEq>(what: &str, one: &T, other: &T) -> Option<String> {
    (one != other).then(|| said(what, &format!("{one:?}"), &format!("{other:?}")))
}

fn list<T: PartialEq>(
    what: &str,
    one: &[T],
    other: &[T],
    show: impl Fn(&T) -> String,
) -> Option<String> {
    let index =
        (0..one.len().max(other.len())).find(|&index| one.get(index) != other.get(index))?;
    let show = |list: &[T]| list.get(index).map_or_else(|| "none".to_owned(), &show);
    let what = format!("{what} {}", index + 1);
    Some(said(&what, &show(one), &show(other)))
}

fn said(what: &str, interpreted: &str, native: &str) -> String {
    format!("{what}: interpreted {interpreted}, native {native}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_outcome_counts() {
        let same = Outcome::default();
        let record = Record {
            filter: "a".to_owned(),
            level: "warn".to_owned(),
            text: "t".into(),
        };
        let others = [
            Outcome {
                refused: Some("no".to_owned()),
                ..Outcome::default()
            },
            Outcome {
                logs: vec![record],
                ..Outcome::default()
            },
            Outcome {
                steps: vec![Seen::Connection(Vec::new())],
                ..Outcome::default()
            },
            Outcome {
                peer: vec![Message::default()],
                ..Outcome::default()
            },
            Outcome {
                metrics: vec![("m".to_owned(), "1".to_owned())],
                ..Outcome::default()
            },
        ];
        assert_eq!(difference(&same, &same), None);
        for other in &others {
            assert_eq!(difference(other, other), None);
            let told = [difference(&same, other), difference(other, &same)];
            assert!(told.iter().all(Option::is_some), "{other:?}: {told:?}");
        }
        let told = difference(&same, &others[1]).unwrap();
        assert_eq!(told, "record 1: interpreted none, native a: [warn] t");
    }
}
