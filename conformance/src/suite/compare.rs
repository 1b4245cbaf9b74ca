//! What was seen, held against what a case expects: the one judge of all hosts.

use std::fmt::Display;

use bytes::Bytes;

use super::case::Case;
use super::outcome::{self, Message, Outcome, Record, Seen};
use super::step::{ExpectExchange, Saw, Status, Step, TcpAction};
use super::values::{Header, show, text};

/// Everything that is not as it must be, in words; nothing when the case holds. `ours` says
/// whether the words of a refusal are ours to choose.
#[must_use]
pub fn mismatches(case: &Case, outcome: &Outcome, ours: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if !loading(case, outcome, ours, &mut wrong) {
        return wrong;
    }
    let mut seen = outcome.steps.iter();
    for (index, step) in case.steps.iter().enumerate() {
        let place = format!("step {}", index + 1);
        if !step.connection.is_empty() {
            match seen.next() {
                Some(Seen::Connection(seen)) => connection(&place, step, seen, &mut wrong),
                _ => wrong.push(format!("{place}: the driver reports no connection")),
            }
        }
        let several = !step.together.is_empty();
        for (member, one) in step.exchanges().enumerate() {
            let place = if several {
                format!("{place}, request {}", member + 1)
            } else {
                place.clone()
            };
            match seen.next() {
                Some(Seen::Exchange(seen)) => exchange(&place, one, seen, &mut wrong),
                _ => wrong.push(format!("{place}: the driver reports no exchange")),
            }
        }
    }
    records(case, &outcome.logs, &mut wrong);
    for (name, value) in &case.expect.metrics {
        let value = value.to_string();
        match outcome::values(&outcome.metrics, name)[..] {
            [seen] if seen == value => {}
            ref seen => differ(
                "the metrics page",
                name,
                &value,
                format!("{seen:?}"),
                &mut wrong,
            ),
        }
    }
    if let Some(expected) = &case.expect.peer {
        if expected.len() != outcome.peer.len() {
            let (wanted, got) = (expected.len(), outcome.peer.len());
            wrong.push(format!("the peer saw {got} requests instead of {wanted}"));
        }
        for (index, (expected, seen)) in expected.iter().zip(&outcome.peer).enumerate() {
            let place = format!("request {} at the peer", index + 1);
            saw(&place, expected, Some(seen), &mut wrong);
        }
    }
    wrong
}

/// A record as cases write it.
#[must_use]
pub fn shown(record: &Record, several: bool) -> String {
    let level = match &*record.level {
        "info" => String::new(),
        other => format!("[{other}] "),
    };
    let name = if several {
        format!("{}: ", record.filter)
    } else {
        String::new()
    };
    format!("{name}{level}{}", text(&record.text))
}

/// Whether there is anything else to compare.
fn loading(case: &Case, outcome: &Outcome, ours: bool, wrong: &mut Vec<String>) -> bool {
    match (&case.expect.refused, &outcome.refused) {
        (None, None) => true,
        (None, Some(why)) => {
            wrong.push(format!("it did not load: {why}"));
            false
        }
        (Some(_), None) => {
            wrong.push("it loaded, and must not".to_owned());
            false
        }
        (Some(words), Some(why)) => {
            for word in words.iter().filter(|word| ours && !why.contains(*word)) {
                wrong.push(format!("the refusal lacks {word:?}: {why}"));
            }
            // What the guest said before it was refused counts.
            records(case, &outcome.logs, wrong);
            false
        }
    }
}

fn exchange(place: &str, step: &Step, seen: &outcome::Exchange, wrong: &mut Vec<String>) {
    let default = ExpectExchange {
        status: Some(Status::One(200)),
        ..ExpectExchange::default()
    };
    let expected = step.expect.as_ref().unwrap_or(&default);
    let response = seen.response.as_ref();
    let status = response.and_then(Message::status);
    match &expected.status {
        Some(Status::One(wanted)) if status != Some(*wanted) => {
            differ(place, "status", wanted, none_or(status), wrong);
        }
        Some(Status::OneOf(wanted)) if status.is_none_or(|status| !wanted.contains(&status)) => {
            differ(
                place,
                "status",
                format!("one of {wanted:?}"),
                none_or(status),
                wrong,
            );
        }
        _ => {}
    }
    let complete = response.is_some_and(|response| response.complete);
    if expected.complete.unwrap_or(true) != complete {
        let word = |complete| if complete { "complete" } else { "not complete" };
        differ(
            place,
            "the answer is",
            word(!complete),
            word(complete),
            wrong,
        );
    }
    let none = Message::default();
    let response = response.unwrap_or(&none);
    fields(
        place,
        "answer's header",
        &expected.headers,
        &response.headers,
        wrong,
    );
    fields(
        place,
        "answer's trailer",
        &expected.trailers,
        &response.trailers,
        wrong,
    );
    missing(place, "answer", &expected.absent, &response.headers, wrong);
    if let Some(body) = &expected.body {
        bytes(place, "answer's body", &body.bytes(), &response.body, wrong);
    }
    if let Some(reached) = expected.reached
        && reached != seen.upstream.is_some()
    {
        let word = |reached| if reached { "reached" } else { "not reached" };
        differ(
            place,
            "the upstream is",
            word(reached),
            word(!reached),
            wrong,
        );
    }
    if let Some(expected) = &expected.saw {
        let place = format!("{place}, at the upstream");
        saw(&place, expected, seen.upstream.as_ref(), wrong);
    }
}

fn saw(place: &str, expected: &Saw, seen: Option<&Message>, wrong: &mut Vec<String>) {
    let Some(seen) = seen else {
        return wrong.push(format!("{place}: there was no request"));
    };
    let pseudo = [
        (":method", &expected.method),
        (":path", &expected.path),
        (":authority", &expected.host),
    ];
    for (name, wanted) in pseudo {
        let got = seen.values(name).first().copied();
        if wanted.is_some() && wanted.as_deref() != got {
            differ(place, name, none_or(wanted.as_deref()), none_or(got), wrong);
        }
    }
    fields(place, "header", &expected.headers, &seen.headers, wrong);
    fields(place, "trailer", &expected.trailers, &seen.trailers, wrong);
    missing(place, "request", &expected.absent, &seen.headers, wrong);
    if let Some(body) = &expected.body {
        bytes(place, "body", &body.bytes(), &seen.body, wrong);
    }
    if expected
        .complete
        .is_some_and(|complete| complete != seen.complete)
    {
        differ(place, "complete", !seen.complete, seen.complete, wrong);
    }
}

fn connection(place: &str, step: &Step, seen: &[Option<Bytes>], wrong: &mut Vec<String>) {
    for (index, action) in step.connection.iter().enumerate() {
        let place = format!("{place}, action {}", index + 1);
        let seen = seen.get(index).and_then(Option::as_ref);
        match action {
            TcpAction::ClientSees(expected) | TcpAction::UpstreamSees(expected) => match seen {
                Some(seen) => bytes(&place, "bytes", &expected.0, seen, wrong),
                None => wrong.push(format!("{place}: nothing came")),
            },
            TcpAction::SeesEnd(side) if seen.is_none() => {
                wrong.push(format!("{place}: {side:?} saw no end"));
            }
            _ => {}
        }
    }
}

fn records(case: &Case, seen: &[Record], wrong: &mut Vec<String>) {
    let several = case.filters().len() > 1;
    let seen: Vec<String> = seen.iter().map(|record| shown(record, several)).collect();
    if let Some(expected) = &case.expect.logs
        && *expected != seen
    {
        let first = expected
            .iter()
            .zip(&seen)
            .take_while(|(a, b)| a == b)
            .count();
        let list = |all: &[String]| {
            let lines = all.iter().enumerate().map(|(index, line)| {
                let mark = if index == first { '>' } else { ' ' };
                format!("\n      {mark} {line}")
            });
            let lines: String = lines.collect();
            if lines.is_empty() {
                " none".to_owned()
            } else {
                lines
            }
        };
        wrong.push(format!(
            "records differ from number {} on\n    expected:{}\n    seen:{}",
            first + 1,
            list(expected),
            list(&seen)
        ));
    }
    for text in &case.expect.contains {
        if !seen.iter().any(|line| line.contains(text)) {
            wrong.push(format!("no record contains {text:?}; there are {seen:#?}"));
        }
    }
    for text in &case.expect.lacks {
        if let Some(line) = seen.iter().find(|line| line.contains(text)) {
            wrong.push(format!("a record contains {text:?}: {line}"));
        }
    }
}

/// Each name has the expected values, in order, and no others.
fn fields(
    place: &str,
    what: &str,
    expected: &[Header],
    seen: &[(String, String)],
    wrong: &mut Vec<String>,
) {
    for (index, header) in expected.iter().enumerate() {
        let same = |other: &&Header| other.name.eq_ignore_ascii_case(&header.name);
        if expected[..index].iter().any(|other| same(&other)) {
            continue;
        }
        let wanted: Vec<&str> = expected.iter().filter(same).map(|h| &*h.value).collect();
        let got = outcome::values(seen, &header.name);
        if wanted != got {
            let what = format!("{what} {}", header.name);
            differ(
                place,
                &what,
                format!("{wanted:?}"),
                format!("{got:?}"),
                wrong,
            );
        }
    }
}

fn missing(
    place: &str,
    what: &str,
    names: &[String],
    seen: &[(String, String)],
    wrong: &mut Vec<String>,
) {
    for name in names {
        let got = outcome::values(seen, name);
        if !got.is_empty() {
            wrong.push(format!("{place}: the {what} has {name}: {got:?}"));
        }
    }
}

fn bytes(place: &str, what: &str, expected: &[u8], seen: &[u8], wrong: &mut Vec<String>) {
    if expected != seen {
        differ(place, what, show(expected), show(seen), wrong);
    }
}

fn differ(
    place: &str,
    what: &str,
    expected: impl Display,
    seen: impl Display,
    wrong: &mut Vec<String>,
) {
    wrong.push(format!("{place}: {what}: expected {expected}, seen {seen}"));
}

fn none_or(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
