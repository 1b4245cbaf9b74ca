//! The permission matrix: every hostcall in every callback, and every map in every callback.
//!
//! A guest writes down what the call answers in each callback and tells it all when its
//! stream is deleted, so the order in which hosts end a stream does not matter.

use bytes::Bytes;

use super::calls::{Arg, Call, ENV};
use crate::suite::case::{Case, Filter, Profile};
use crate::suite::step::{Answer, Request, Step};
use crate::suite::values::{Body, Chunk, Header, Wait};

/// The callbacks of one stream and its root, in the order in which they are told.
const PLACES: [&str; 15] = [
    "root",
    "vm_start",
    "configure",
    "http_call_response",
    "tick",
    "stream",
    "request_headers",
    "request_body",
    "request_trailers",
    "response_headers",
    "response_body",
    "response_trailers",
    "log",
    "done",
    "delete",
];

/// How many of them are the root's.
const OF_ROOT: usize = 5;

/// Made outside their time these answer OK and break streams on Envoy, or Envoy itself; what
/// they do in their time, other cases show. So there the root's callbacks are asked alone.
const EFFECTIVE: [&str; 5] = [
    "close_stream",
    "send_local_response",
    "continue_stream",
    "continue_request",
    "continue_response",
];

/// Their answers depend on the map, which has rows of its own below; a buffer can be set in
/// body callbacks only, which cases of group D show.
const ELSEWHERE: &str = "header_map";
const BUFFERS: [&str; 1] = ["set_buffer_bytes"];

pub(super) fn cases() -> Vec<Case> {
    let calls = ENV
        .iter()
        .filter(|call| !call.name.contains(ELSEWHERE) && !BUFFERS.contains(&call.name));
    let mut cases = Vec::new();
    for call in calls {
        if !EFFECTIVE.contains(&call.name) {
            cases.push(of_call(call, |_| true));
            continue;
        }
        let root = |place: &str| PLACES[..OF_ROOT].contains(&place);
        cases.push(of_call(call, root));
        let mut ours = of_call(call, |place| {
            let over = ["log", "done", "delete"].contains(&place);
            root(place) || over || call.name.starts_with("continue")
        });
        ours.id.push_str(".s");
        ours.profiles = vec![Profile::Spec, Profile::Superset];
        cases.push(ours);
    }
    cases.extend(maps());
    cases
}

/// A hostcall that answers the same nearly everywhere, made in these places.
fn of_call(call: &Call, made: impl Fn(&str) -> bool) -> Case {
    let text = call.text(None);
    let answers = PLACES.map(|place| made(place).then(|| status(call.name, place)));
    let name = call.import();
    let guest = guest(call, |place| made(place).then(|| text.clone()));
    let mut case = case(
        &format!("M-500.{name}"),
        &format!("{name} in every callback"),
        guest,
        &answers,
    );
    if let (true, Some(logs)) = (call.name == "log", &mut case.expect.logs) {
        // Here the calls under test can be seen themselves.
        let own = vec!["text".to_owned(); PLACES.len()];
        logs.splice(0..0, own);
    }
    case
}

/// What a call answers there, by sections 2.1 to 2.12.
fn status(name: &str, place: &str) -> String {
    let root = PLACES[..OF_ROOT].contains(&place);
    let answer = match name {
        // Nothing is ending, and there is no such stream.
        "done" | "grpc_cancel" | "grpc_close" => 1,
        "set_property" if root => 1,
        _ => 0,
    };
    answer.to_string()
}

/// Rows of the seven calls that take a map, each with all maps; forms E and S where the
/// request's maps stay readable or do not.
fn maps() -> Vec<Case> {
    let reading = |map: usize| format!(r#"(!get_header_map_value #{map} {{"x-none"}} @out)"#);
    let pairs = |map: usize| format!("(!get_header_map_pairs #{map} @out)");
    let size = |map: usize| format!("(!get_header_map_size #{map} #16)");
    let add = |map: usize| format!(r#"(!add_header_map_value #{map} {{"x-none"}} #0 #0)"#);
    let replace = |map: usize| format!(r#"(!replace_header_map_value #{map} {{"x-some"}} #0 #0)"#);
    let remove = |map: usize| format!(r#"(!remove_header_map_value #{map} {{"x-none"}})"#);
    let both = Profile::all();
    let envoy = vec![Profile::Envoy];
    let ours = vec![Profile::Spec, Profile::Superset];
    let rows: [Row<'_>; 7] = [
        ("get_header_map_pairs", &pairs, &|_, _| 0, &both),
        (
            "get_header_map_value",
            &reading,
            &|place, map| readable(place, map, false),
            &envoy,
        ),
        (
            "get_header_map_value",
            &reading,
            &|place, map| readable(place, map, true),
            &ours,
        ),
        ("get_header_map_size", &size, &writable, &both),
        ("remove_header_map_value", &remove, &writable, &both),
        ("add_header_map_value", &add, &writable, &both),
        ("replace_header_map_value", &replace, &writable, &both),
    ];
    let row = |(name, call, expected, profiles): Row<'_>| {
        let form = if profiles.contains(&Profile::Envoy) {
            ""
        } else {
            ".s"
        };
        let all = |_: &str| Some(digits((0..8).map(call)));
        let answers = PLACES.map(|place| {
            let digits: String = (0..8).map(|map| expected(place, map).to_string()).collect();
            Some(format!("1{digits}"))
        });
        let guest = guest(&plain(), all);
        let mut case = case(
            &format!("M-501.proxy_{name}{form}"),
            &format!("proxy_{name} of maps 0 to 7 in every callback"),
            guest,
            &answers,
        );
        case.profiles = profiles.to_vec();
        case
    };
    rows.into_iter().map(row).collect()
}

/// A call of each map, what it answers in each callback, and where that holds.
type Row<'a> = (
    &'a str,
    &'a dyn Fn(usize) -> String,
    &'a Expected,
    &'a [Profile],
);

type Expected = dyn Fn(&str, usize) -> u32;

/// What asking for a name that is not there answers (section 2.4): 1 where the map can be
/// read. `stays`: the request's can be, from its callback to the end.
fn readable(place: &str, map: usize, stays: bool) -> u32 {
    let own = owner(place, map);
    let before = |of: &str| {
        let position = |name| PLACES.iter().position(|other| *other == name);
        position(of) <= position(place)
    };
    let stayed = match map {
        0 => before("request_headers"),
        1 => before("request_trailers"),
        _ => false,
    };
    // While the stream is logged nothing is unavailable, only empty.
    let logging = place == "log";
    if own || logging || (stays && stayed) {
        1
    } else {
        2
    }
}

/// What changing a map answers: as reading it in its own callback; trailers are made by the
/// last body callback, which is not seen here.
fn writable(place: &str, map: usize) -> u32 {
    if owner(place, map) && map < 4 { 0 } else { 2 }
}

/// Whether that map belongs to that callback.
fn owner(place: &str, map: usize) -> bool {
    matches!(
        (place, map),
        ("request_headers", 0)
            | ("request_trailers", 1)
            | ("response_headers", 2)
            | ("response_trailers", 3)
            | ("http_call_response", 6)
    )
}

/// Several answers below ten as one number, after a 1 that keeps zeros in front.
fn digits(calls: impl Iterator<Item = String>) -> String {
    calls.fold("#1".to_owned(), |so_far, call| {
        format!("(i32.add (i32.mul {so_far} #10) {call})")
    })
}

fn plain() -> Call {
    Call {
        name: "log",
        args: &[Arg::Out],
        setup: "",
        abi: "",
        on: "",
    }
}

/// A guest that makes the call in each callback, and tells at the end.
fn guest(call: &Call, text: impl Fn(&str) -> Option<String>) -> Filter {
    let note = |place: &str| {
        let slot = slot(place);
        text(place).map_or_else(String::new, |call| {
            format!("(i32.store #{slot} (i32.add {call} #1))")
        })
    };
    let mut source = String::new();
    let mut on = |name: &str, code: &str| source.push_str(&format!("on {name}\n   {code}\n"));
    on(
        "context_create",
        &format!(
            "(if (local.get $b) (then {} (return)))\n   {}\n   {}",
            note("stream"),
            call.setup,
            note("root")
        ),
    );
    on("vm_start", &note("vm_start"));
    on(
        "configure",
        &format!(
            r#"{}
   (drop (!http_call {{"peer"}} {{pairs ":method" "GET" ":path" "/ok" ":authority" "peer"}} #0 #0 #0 #0 #1000 #24))
   (drop (!set_tick_period_milliseconds #100))"#,
            note("configure")
        ),
    );
    // Calls under test have answers too: the first one is the one of `configure`.
    on(
        "http_call_response",
        &format!(
            "(if (i32.load #{0}) (then (return)))\n   {1}",
            slot("http_call_response"),
            note("http_call_response")
        ),
    );
    on(
        "tick",
        &format!(
            "(drop (!set_tick_period_milliseconds #0))\n   {}",
            note("tick")
        ),
    );
    for place in PLACES {
        let once = "(if (i32.eqz (local.get $b)) (then (return #0)))";
        match place {
            "request_body" | "response_body" => on(place, &format!("{once}\n   {}", note(place))),
            "request_headers" | "request_trailers" | "response_headers" | "response_trailers" => {
                on(place, &note(place));
            }
            "log" | "done" => on(
                place,
                &format!("(if (i32.gt_u (local.get $a) #1) (then {}))", note(place)),
            ),
            _ => {}
        }
    }
    let tell: String = PLACES
        .iter()
        .map(|place| {
            let slot = slot(place);
            format!(
                "(!text {{\"{place}\"}}) (if (i32.load #{slot}) (then (!say (i32.sub (i32.load #{slot}) #1))) \
                 (else (!text {{\"-\"}})))\n   "
            )
        })
        .collect();
    on(
        "delete",
        &format!(
            "(if (i32.le_u (local.get $a) #1) (then (return)))\n   {}\n   {tell}",
            note("delete")
        ),
    );
    let mut filter = Filter::guest(&source);
    filter.set_abi(call.abi);
    filter
}

/// Where the answer of a callback is kept, plus one; 0 is none.
fn slot(place: &str) -> usize {
    let index = PLACES.iter().position(|other| *other == place);
    1024 + 4 * index.unwrap_or(PLACES.len())
}

fn case(id: &str, name: &str, guest: Filter, answers: &[Option<String>; 15]) -> Case {
    let mut case = Case::generated(id.to_owned(), name.to_owned(), "2", vec![guest]);
    let told = PLACES.iter().zip(answers).flat_map(|(place, answer)| {
        let answer = answer.clone().unwrap_or_else(|| "-".to_owned());
        [(*place).to_owned(), answer]
    });
    case.expect.logs = Some(told.collect());
    let wait = |ms| Step {
        wait: Some(Wait(std::time::Duration::from_millis(ms))),
        ..Step::default()
    };
    case.steps = vec![wait(300), exchange(), wait(100)];
    case
}

/// A request with everything, answered with everything.
fn exchange() -> Step {
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let body = |text: &'static str| Body::Chunks(vec![Chunk(Bytes::from_static(text.as_bytes()))]);
    Step {
        request: Some(Request {
            method: "POST".to_owned(),
            headers: vec![header("te", "trailers"), header("trailer", "x-t")],
            body: Some(body("question")),
            trailers: vec![header("x-t", "v")],
            ..Request::default()
        }),
        upstream: Some(Answer {
            headers: vec![header("trailer", "x-u")],
            body: body("answer"),
            trailers: vec![header("x-u", "v")],
            ..Answer::default()
        }),
        ..Step::default()
    }
}
