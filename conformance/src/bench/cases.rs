//! What is measured under load, as data. Cases of one family are measured in the same
//! rounds, so that differences between them can be taken.

use super::Plan;
use super::report::Column;
use super::world::Guest;
use crate::load::Shape;

/// One case, run by the program of each of its columns.
#[derive(Debug)]
pub(super) struct Case {
    /// The beginning of its rows' ids.
    pub(super) id: String,
    pub(super) title: String,
    pub(super) shape: Shape,
    pub(super) columns: &'static [Column],
    pub(super) guest: Option<Guest>,
    /// What requests carry beside what all do.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// Routes looked at before the one that matches.
    pub(super) routes: usize,
    /// Idle connections held open meanwhile.
    pub(super) held: usize,
}

/// Idle connections that are many.
pub(super) const HELD: usize = 10_000;

const FILTERED: &[Column] = &[Column::Hot, Column::Cold, Column::Envoy];
const OURS_AND_ENVOY: &[Column] = &[Column::Hot, Column::Envoy];
const ALL: &[Column] = &[Column::Hot, Column::Envoy, Column::Nginx];

/// The families that a plan wants.
pub(super) fn families(plan: &Plan) -> Vec<Vec<Case>> {
    let mut families = vec![headers(plan)];
    if plan.wants("body") {
        families.push(bodies());
    }
    if plan.wants("h2c") {
        families.push(vec![Case {
            shape: Shape::Http2,
            ..plain("h2c", "no filter, h2c in, HTTP/1.1 out", ALL)
        }]);
    }
    if plan.wants("filters") {
        families.push([1, 10, 50].map(filters).into());
    }
    if plan.wants("routes") {
        families.push([1, 1000].map(routes).into());
    }
    if plan.wants("idle") {
        families.push([1, HELD].map(held).into());
    }
    families.retain(|family| !family.is_empty());
    families
}

fn plain(id: &str, title: &str, columns: &'static [Column]) -> Case {
    Case {
        id: id.to_owned(),
        title: title.to_owned(),
        shape: Shape::Http1,
        columns,
        guest: None,
        headers: &[],
        routes: 0,
        held: 0,
    }
}

fn filtered(id: &str, title: &str, guest: Guest) -> Case {
    Case {
        guest: Some(guest),
        ..plain(id, title, FILTERED)
    }
}

/// What filters add is a difference to no filter, which therefore comes with them.
fn headers(plan: &Plan) -> Vec<Case> {
    let guests = [
        ("noop", "bench_noop"),
        ("transform", "bench_transform"),
        ("hello", "bench_hello"),
    ];
    let mut cases = Vec::new();
    for (row, name) in guests {
        for count in [1, 5] {
            if plan.wants(row) {
                let guest = Guest {
                    name,
                    configuration: "",
                    count,
                };
                cases.push(filtered(
                    &format!("{row}{count}"),
                    &format!("{row} ×{count}"),
                    guest,
                ));
            }
        }
    }
    if plan.wants("plain") || !cases.is_empty() {
        cases.insert(0, plain("plain", "no filter", ALL));
    }
    cases
}

fn bodies() -> Vec<Case> {
    let case = |id, title, configuration| {
        let guest = Guest {
            name: "bench_body",
            configuration,
            count: 1,
        };
        Case {
            shape: Shape::Bodies,
            ..filtered(id, title, guest)
        }
    };
    let none = Case {
        shape: Shape::Bodies,
        ..plain("body", "16 KiB both ways, no filter", ALL)
    };
    vec![
        none,
        case("replace", "16 KiB both ways, replaced unread", "replace"),
        case(
            "rewrite",
            "16 KiB both ways, every byte rewritten",
            "rewrite",
        ),
    ]
}

fn filters(count: usize) -> Case {
    let guest = Guest {
        name: "bench_noop",
        configuration: "",
        count,
    };
    filtered(
        &format!("filters{count}"),
        &format!("{count} noop filters"),
        guest,
    )
}

fn routes(count: usize) -> Case {
    let title = match count {
        1 => "1 route".to_owned(),
        _ => format!("{count} routes, the last one matches"),
    };
    Case {
        routes: count - 1,
        ..plain(&format!("routes{count}"), &title, OURS_AND_ENVOY)
    }
}

fn held(count: usize) -> Case {
    Case {
        held: count,
        ..plain(
            &format!("held{count}"),
            &format!("beside {count} idle connections"),
            OURS_AND_ENVOY,
        )
    }
}
