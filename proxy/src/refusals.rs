//! What guests were refused for want of a capability: counted, and told without letting a
//! guest fill the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often one filter's attempts at one thing are told.
const PERIOD: Duration = Duration::from_secs(60);
/// Most kinds of attempts that are told apart. What a guest asks for can be of its own
/// invention.
const MAX_KINDS: usize = 256;

/// Attempts by filter and by what they were after.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    kinds: BTreeMap<(String, String), Attempts>,
}

#[derive(Debug)]
struct Attempts {
    /// Since the worker began.
    total: u64,
    told: Instant,
}

// === impl Refusals ===

impl Refusals {
    /// Counts an attempt. Answers how many there have been when it is time to tell.
    pub(crate) fn count(&mut self, filter: &str, capability: &str, now: Instant) -> Option<u64> {
        let mut key = (filter.to_owned(), capability.to_owned());
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&key) {
            key = (String::new(), String::new());
        }
        match self.kinds.get_mut(&key) {
            Some(attempts) => {
                attempts.total += 1;
                if now.duration_since(attempts.told) < PERIOD {
                    return None;
                }
                attempts.told = now;
                Some(attempts.total)
            }
            None => {
                let (total, told) = (1, now);
                self.kinds.insert(key, Attempts { total, told });
                Some(total)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_and_then_one_a_minute() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let mut count = |filter, what, seconds| {
            refusals.count(filter, what, start + Duration::from_secs(seconds))
        };
        assert_eq!(count("a", "x", 0), Some(1));
        assert_eq!(count("a", "x", 1), None);
        assert_eq!(count("a", "y", 1), Some(1));
        assert_eq!(count("b", "x", 1), Some(1));
        assert_eq!(count("a", "x", 59), None);
        assert_eq!(count("a", "x", 60), Some(4));
        assert_eq!(count("a", "x", 61), None);
    }

    #[test]
    fn what_guests_invent_does_not_grow_without_end() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for number in 0..10_000 {
            refusals.count("a", &number.to_string(), now);
        }
        assert_eq!(refusals.kinds.len(), MAX_KINDS + 1);
        assert_eq!(
            refusals.count("a", "new", now + PERIOD),
            Some(10_000 - MAX_KINDS as u64 + 1)
        );
    }
}
