//! Case 270: every enumeration one above its highest value, and as high as can be.

use super::calls::{Arg, Call, ENV};
use crate::suite::case::Case;

pub(super) fn cases() -> Vec<Case> {
    ENV.iter().filter_map(case).collect()
}

fn case(call: &Call) -> Option<Case> {
    let mut calls = Vec::new();
    for (index, arg) in call.args.iter().enumerate() {
        if let Arg::Enum(_, highest) = arg {
            for value in [format!("#{}", highest + 1), "#-1".to_owned()] {
                calls.push(call.text(Some((index, &value))));
            }
        }
    }
    if calls.is_empty() {
        return None;
    }
    let name = call.import();
    let mut case = Case::generated(
        format!("K-270.{name}"),
        format!("{name}: a value that is not in the enumeration is BAD_ARGUMENT"),
        "2",
        vec![call.guest(&calls)],
    );
    case.expect.logs = Some(vec!["2".to_owned(); calls.len()]);
    case.steps = vec![super::request(call.on == "request_body")];
    Some(case)
}
