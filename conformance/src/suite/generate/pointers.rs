//! Case 269: every pointer of every hostcall outside the guest's memory.

use super::calls::{Arg, Call, ENV, WASI};
use crate::suite::case::Case;

/// Far outside; and ending outside although it begins inside.
const OUTSIDE: [&str; 2] = ["#-256", "(i32.sub (i32.mul (memory.size) #65536) #1)"];

pub(super) fn cases() -> Vec<Case> {
    let env = ENV.iter().filter_map(|call| case(call, "6"));
    env.chain(WASI.iter().filter_map(|call| case(call, "21")))
        .collect()
}

fn case(call: &Call, answer: &str) -> Option<Case> {
    let mut calls = Vec::new();
    for (index, arg) in call.args.iter().enumerate() {
        for outside in OUTSIDE {
            match arg {
                Arg::Text(_) => calls.push(call.text(Some((index, &format!("{outside} #8"))))),
                Arg::Out => calls.push(call.text(Some((index, outside)))),
                Arg::Enum(..) | Arg::Word(_) => {}
            }
        }
    }
    if calls.is_empty() {
        return None;
    }
    let name = call.import();
    let mut case = Case::generated(
        format!("K-269.{name}"),
        format!("{name}: a pointer outside memory is answered {answer}"),
        "2",
        vec![call.guest(&calls)],
    );
    case.expect.logs = Some(vec![answer.to_owned(); calls.len()]);
    case.steps = vec![super::request(call.on == "request_body")];
    Some(case)
}
