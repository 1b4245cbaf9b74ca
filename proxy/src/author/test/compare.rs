//! What was seen, held against what was wanted. Each difference becomes one line that says
//! where the wish is written.

use bytes::Bytes;
use cofferdam_abi::Headers;
use cofferdam_abi::harness::{Message, Record};

use super::suite::{Place, Wanted, WantedLog, WantedMessage, What};

/// What is wrong, so far.
pub(super) type Wrong = Vec<String>;

/// A message and what it must be.
pub(super) fn message(wanted: &WantedMessage, seen: Option<&Message>, wrong: &mut Wrong) {
    let Some(seen) = seen else {
        wrong.push(format!("{}: it never came", wanted.place));
        return;
    };
    if let Some((place, status)) = &wanted.status {
        let found = seen.text(":status").unwrap_or("none");
        if found != status.to_string() {
            wrong.push(format!("{place}: expected {status}, got {found}"));
        }
    }
    headers(&wanted.headers, &seen.headers, wrong);
    headers(&wanted.trailers, &seen.trailers, wrong);
    if let Some(body) = &wanted.body {
        value(body, std::slice::from_ref(&seen.body), wrong);
    }
    if let Some((place, complete)) = &wanted.complete
        && seen.complete != *complete
    {
        let found = seen.complete;
        wrong.push(format!("{place}: expected {complete}, got {found}"));
    }
}

/// Values by name.
pub(super) fn headers(wanted: &[(String, Wanted)], seen: &Headers, wrong: &mut Wrong) {
    for (name, wanted) in wanted {
        let values: Vec<Bytes> = seen.get_all(name.as_bytes()).cloned().collect();
        value(wanted, &values, wrong);
    }
}

/// All values of one thing.
pub(super) fn value(wanted: &Wanted, seen: &[Bytes], wrong: &mut Wrong) {
    let Wanted { place, what } = wanted;
    let expected = match what {
        What::Exactly(values) if values == seen => return,
        What::Exactly(values) => list(values),
        What::Contains(part) if seen.iter().any(|value| contains(value, part)) => return,
        What::Contains(part) => format!("something with {} in it", show(part)),
        What::Matches(pattern) if seen.iter().any(|value| pattern.is_match(value)) => return,
        What::Matches(pattern) => format!("something like /{}/", pattern.as_str()),
        What::Json(json) if seen.iter().any(|value| same_json(json, value)) => return,
        What::Json(json) => format!("the JSON {json}"),
        What::Present if !seen.is_empty() => return,
        What::Present => "any value".to_owned(),
        What::Absent if seen.is_empty() => return,
        What::Absent => "nothing".to_owned(),
    };
    wrong.push(format!("{place}: expected {expected}, got {}", list(seen)));
}

/// Records that must be there, or must not.
pub(super) fn log(wanted: &[WantedLog], seen: &[Record], wrong: &mut Wrong) {
    for one in wanted {
        let fits = |record: &&Record| {
            let mut differences = Wrong::new();
            value(
                &one.text,
                std::slice::from_ref(&record.text),
                &mut differences,
            );
            differences.is_empty() && one.level.is_none_or(|level| level == record.level)
        };
        let found = seen.iter().find(fits);
        let place: &Place = &one.place;
        match (found, one.absent) {
            (Some(record), true) => {
                let text = show(&record.text);
                wrong.push(format!("{place}: there is such a record: {text}"));
            }
            (None, false) => wrong.push(format!("{place}: there is no such record")),
            _ => {}
        }
    }
}

fn same_json(wanted: &serde_json::Value, seen: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(seen).is_ok_and(|seen| seen == *wanted)
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}

fn list(values: &[Bytes]) -> String {
    let shown: Vec<String> = values.iter().map(|value| show(value)).collect();
    match &shown[..] {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// Bytes for people: escaped, and cut where they are long.
pub(super) fn show(bytes: &[u8]) -> String {
    const LONGEST: usize = 300;
    let cut = &bytes[..bytes.len().min(LONGEST)];
    let text = String::from_utf8_lossy(cut);
    match bytes.len() > LONGEST {
        true => format!("{text:?}… ({} bytes)", bytes.len()),
        false => format!("{text:?}"),
    }
}
