//! Names of fields that filters write. A filter writes the same few into every message, and
//! making a name of its bytes costs more than all else about a field: so each worker keeps
//! those it has made last.

use std::cell::RefCell;

use http::HeaderName;

thread_local! {
    static KEPT: RefCell<[Option<HeaderName>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
}

/// How many names are kept.
const PLACES: usize = 64;
/// Longer ones are not kept, in bytes: what guests make up must not add up.
const LONGEST: usize = 64;

/// The name of a field; `None` where a message can have none of that name.
pub(super) fn field(name: &[u8]) -> Option<HeaderName> {
    if name.len() > LONGEST {
        return HeaderName::from_bytes(name).ok();
    }
    KEPT.with_borrow_mut(|kept| {
        let kept = &mut kept[place(name)];
        match kept {
            Some(same) if same.as_str().as_bytes() == name => {}
            _ => *kept = Some(HeaderName::from_bytes(name).ok()?),
        }
        kept.clone()
    })
}

/// Where a name is kept: any place will do, the same for the same name.
fn place(name: &[u8]) -> usize {
    let middle = name.get(name.len() / 2).copied().unwrap_or_default();
    let last = name.last().copied().unwrap_or_default();
    let sum = name.len() * 7 + usize::from(middle) * 3 + usize::from(last);
    sum % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_would_be_without() {
        let long = "x-".repeat(LONGEST);
        let names = [
            "x-a",
            "x-b",
            "X-A",
            "content-type",
            "",
            "a b",
            ":path",
            "x-\u{e9}",
            &long,
        ];
        for _ in 0..3 {
            for name in names {
                let made = HeaderName::from_bytes(name.as_bytes()).ok();
                assert_eq!(field(name.as_bytes()), made, "{name}");
            }
        }
    }

    #[test]
    fn names_that_share_a_place_do_not_mix() {
        let names: Vec<String> = (0..PLACES * 3)
            .map(|number| format!("x-{number}"))
            .collect();
        for name in names.iter().chain(&names) {
            assert_eq!(
                field(name.as_bytes()).as_ref().map(HeaderName::as_str),
                Some(&name[..])
            );
        }
    }
}
