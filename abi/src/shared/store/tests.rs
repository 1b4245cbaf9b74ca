//! The store alone: bounds, what makes room, and its own book-keeping.

use super::*;

/// A store, what it may keep, and its counter.
struct Fixture {
    store: Store,
    bounds: Bounds,
    /// Entries to which whoever sets one may add.
    most: usize,
    cas: u32,
    now: Duration,
}

impl Fixture {
    fn new(entries: usize, bytes: usize, eviction: Eviction) -> Self {
        let bounds = Bounds {
            entries,
            bytes,
            eviction,
            ..Bounds::default()
        };
        Self {
            store: Store::default(),
            bounds,
            most: usize::MAX,
            cas: 0,
            now: Duration::ZERO,
        }
    }

    fn set_if(&mut self, key: &str, value: &str, expected: u32) -> Result<u64, SetError> {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let entry = (key.as_bytes(), value);
        let done = self
            .store
            .set(&self.bounds, entry, expected, self.most, self.now, || {
                self.cas += 1;
                self.cas
            });
        self.check();
        done
    }

    fn set(&mut self, key: &str, value: &str) -> Result<u64, SetError> {
        self.set_if(key, value, 0)
    }

    fn get(&mut self, key: &str) -> Option<String> {
        let found = self.store.get(&self.bounds, key.as_bytes(), self.now);
        self.check();
        found.map(|(value, _)| String::from_utf8_lossy(&value).into_owned())
    }

    /// Which of these keys are there; looking does not count as use.
    fn keys(&self, keys: &str) -> String {
        keys.chars()
            .filter(|key| self.store.index.contains_key(key.to_string().as_bytes()))
            .collect()
    }

    /// What must hold at all times.
    fn check(&self) {
        let store = &self.store;
        let used = |entry: &&Entry| !entry.key.is_empty();
        let entries = || store.entries.iter().filter(used);
        assert_eq!(entries().count(), store.index.len());
        assert_eq!(entries().map(Entry::size).sum::<usize>(), store.bytes);
        let protected = entries().filter(|entry| entry.protected);
        assert_eq!(
            protected.map(Entry::size).sum::<usize>(),
            store.protected_bytes
        );
        assert_eq!(store.index.len() + store.free.len(), store.entries.len());
        assert!(store.index.len() <= self.bounds.entries);
        assert!(store.bytes <= self.bounds.bytes);
        if self.bounds.eviction != Eviction::None {
            assert_eq!(
                store.probation.len() + store.protected.len(),
                store.index.len()
            );
        }
        if self.bounds.ttl.is_some() {
            assert_eq!(store.age.len(), store.index.len());
        }
    }
}

#[test]
fn a_stale_number_changes_nothing() {
    let mut it = Fixture::new(10, 100, Eviction::Slru);
    assert_eq!(it.set("a", "1"), Ok(0));
    assert_eq!(it.set_if("a", "2", 7), Err(SetError::Mismatch));
    assert_eq!(it.get("a").as_deref(), Some("1"));
    assert_eq!(it.set_if("a", "2", 1), Ok(0));
    assert_eq!(it.set_if("a", "3", 1), Err(SetError::Mismatch));
    assert_eq!(it.get("a").as_deref(), Some("2"));
}

#[test]
fn a_number_for_a_missing_key_does_not_matter() {
    let mut it = Fixture::new(10, 100, Eviction::Slru);
    assert_eq!(it.set_if("a", "1", 5), Ok(0));
    assert_eq!(it.get("a").as_deref(), Some("1"));
}

#[test]
fn the_least_recently_used_makes_room() {
    let mut it = Fixture::new(3, 1000, Eviction::Lru);
    for key in ["a", "b", "c"] {
        assert_eq!(it.set(key, "x"), Ok(0));
    }
    it.get("a");
    assert_eq!(it.set("d", "x"), Ok(1));
    assert_eq!(it.keys("abcd"), "acd");
    assert_eq!(it.set("c", "y"), Ok(0), "another value takes no room");
    assert_eq!(it.set("e", "x"), Ok(1));
    assert_eq!(it.keys("abcde"), "cde");
}

#[test]
fn a_flood_does_not_wash_out_what_is_used_again() {
    let mut it = Fixture::new(10, 1000, Eviction::Slru);
    for key in ["a", "b", "c"] {
        let _ = it.set(key, "x");
        it.get(key);
    }
    let flood = "defghijklmnopqrstuvwxyz";
    for key in flood.chars() {
        let _ = it.set(&key.to_string(), "x");
    }
    assert_eq!(it.keys("abc"), "abc");
    assert_eq!(it.keys(flood), "tuvwxyz");
    // The same under plain LRU, which does wash them out.
    let mut it = Fixture::new(10, 1000, Eviction::Lru);
    let _ = it.set("a", "x");
    it.get("a");
    for key in flood.chars() {
        let _ = it.set(&key.to_string(), "x");
    }
    assert_eq!(it.keys("a"), "");
}

#[test]
fn what_was_used_again_goes_in_its_turn() {
    let mut it = Fixture::new(5, 1000, Eviction::Slru);
    for key in ["a", "b", "c", "d", "e"] {
        let _ = it.set(key, "x");
        it.get(key);
    }
    // Four of five may be protected: the first to be so fell back.
    assert_eq!(it.set("f", "x"), Ok(1));
    assert_eq!(it.keys("abcdef"), "bcdef");
}

#[test]
fn bytes_of_keys_and_values_count() {
    let mut it = Fixture::new(100, 10, Eviction::Lru);
    assert_eq!(it.set("aa", "111"), Ok(0));
    assert_eq!(it.set("bb", "222"), Ok(0));
    assert_eq!(it.set("c", ""), Ok(1));
    assert_eq!((it.store.len(), it.store.bytes()), (2, 6));
    assert_eq!(it.set("b", "a value that is too long"), Err(SetError::Full));
    assert_eq!(it.store.len(), 2, "what can never fit evicts nothing");
    assert_eq!(it.set("d", "123456789"), Ok(2), "all the room there is");
}

#[test]
fn an_entry_that_grows_does_not_make_room_for_itself() {
    for eviction in [Eviction::Lru, Eviction::Slru] {
        let mut it = Fixture::new(100, 10, eviction);
        let _ = it.set("a", "1");
        let _ = it.set("b", "2");
        let _ = it.set("c", "3");
        assert_eq!(it.set("a", "123456789"), Ok(2), "{eviction:?}");
        assert_eq!(it.get("a").as_deref(), Some("123456789"));
        assert_eq!(it.set("a", "1234567890"), Err(SetError::Full));
        assert_eq!(it.get("a").as_deref(), Some("123456789"));
    }
}

#[test]
fn without_eviction_what_has_no_room_is_refused() {
    let mut it = Fixture::new(2, 10, Eviction::None);
    assert_eq!(it.set("a", "1"), Ok(0));
    assert_eq!(it.set("b", "2"), Ok(0));
    assert_eq!(it.set("c", "3"), Err(SetError::Full));
    assert_eq!(it.set("a", "12345678"), Err(SetError::Full));
    assert_eq!(it.get("a").as_deref(), Some("1"));
    assert_eq!(it.set("a", "1234567"), Ok(0), "up to the last byte");
    assert_eq!(it.keys("abc"), "ab");
}

#[test]
fn nothing_fits_where_nothing_may_be_kept() {
    for eviction in [Eviction::Slru, Eviction::Lru, Eviction::None] {
        let mut it = Fixture::new(0, 100, eviction);
        assert_eq!(it.set("a", "1"), Err(SetError::Full));
        let mut it = Fixture::new(1, 100, eviction);
        assert_eq!(it.set("a", "1"), Ok(0));
        assert_eq!(it.get("a").as_deref(), Some("1"));
        let second = it.set("b", "1");
        assert_eq!(second.is_ok(), eviction != Eviction::None);
    }
}

#[test]
fn entries_end_when_their_time_is_over() {
    let mut it = Fixture::new(2, 100, Eviction::None);
    it.bounds.ttl = Some(Duration::from_secs(10));
    let _ = it.set("a", "1");
    it.now = Duration::from_secs(6);
    let _ = it.set("b", "1");
    it.now = Duration::from_secs(9);
    assert!(it.get("a").is_some(), "reading does not prolong it");
    it.now = Duration::from_secs(10);
    assert_eq!(it.get("a"), None);
    assert!(it.get("b").is_some());
    assert_eq!(it.set("b", "2"), Ok(0), "setting does");
    it.now = Duration::from_secs(19);
    assert!(it.get("b").is_some());
    it.now = Duration::from_secs(20);
    assert_eq!(it.set("c", "1"), Ok(0), "what is over is no eviction");
    assert_eq!(it.keys("abc"), "c");
}

#[test]
fn any_sequence_keeps_the_books_right() {
    for eviction in [Eviction::Slru, Eviction::Lru, Eviction::None] {
        for ttl in [None, Some(Duration::from_secs(40))] {
            let mut it = Fixture::new(8, 60, eviction);
            it.bounds.ttl = ttl;
            let mut rest = 1_u64;
            for step in 0..4_000_u64 {
                rest = rest
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(step | 1);
                it.now = Duration::from_secs(step / 4);
                let key = (b'a' + u8::try_from((rest >> 33) % 20).unwrap_or(0)) as char;
                let value = "v".repeat(usize::try_from((rest >> 40) % 25).unwrap_or(0));
                if (rest >> 50).is_multiple_of(3) {
                    it.get(&key.to_string());
                } else if it.set(&key.to_string(), &value).is_ok() {
                    assert_eq!(it.get(&key.to_string()), Some(value));
                }
            }
        }
    }
}

#[test]
fn who_may_add_to_few_takes_one_entry_for_each_and_no_more() {
    let mut it = Fixture::new(10, 1000, Eviction::Lru);
    for key in ["a", "b", "c", "d", "e"] {
        let _ = it.set(key, "x");
    }
    it.most = 2;
    assert_eq!(
        it.set("f", "x"),
        Ok(1),
        "what others have stays, but for one"
    );
    assert_eq!(it.set("f", "y"), Ok(0), "another value takes no room");
    assert_eq!(it.keys("abcdef"), "bcdef");
    it.most = usize::MAX;
    assert_eq!(it.set("g", "x"), Ok(0));

    let mut it = Fixture::new(10, 1000, Eviction::None);
    it.most = 2;
    assert_eq!(it.set("a", "x"), Ok(0));
    assert_eq!(it.set("b", "x"), Ok(0));
    assert_eq!(it.set("c", "x"), Err(SetError::Full));
    it.most = 0;
    assert_eq!(it.set("a", "y"), Ok(0));
}
