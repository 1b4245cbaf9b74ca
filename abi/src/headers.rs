//! An ordered header map, as guests see one: every name lower-cased on entry, every
//! entry apart, pseudo-headers first.

use bytes::Bytes;

/// One header map.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    entries: Vec<(Bytes, Bytes)>,
    changed: bool,
}

// Whether a guest touched it is bookkeeping, not content.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Headers {}

// === impl Headers ===

impl Headers {
    /// A map of these entries, whose names are lower case already.
    #[must_use]
    pub const fn from_entries(entries: Vec<(Bytes, Bytes)>) -> Self {
        Self {
            entries,
            changed: false,
        }
    }

    /// All entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[(Bytes, Bytes)] {
        &self.entries
    }

    /// How many entries there are, repeated names counted apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether anything was changed since the map was made.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Sum of the lengths of names and values, which is what Envoy calls the size.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.entries
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    /// The first value of `name`, compared without case.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.entries
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Every value of `name`, compared without case.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Bytes> {
        self.entries
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All values of `name` joined by a comma, as properties show them.
    #[must_use]
    pub fn joined(&self, name: &[u8]) -> Option<Bytes> {
        let mut values = self.get_all(name);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return Some(first.clone());
        };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(joined.into())
    }

    /// Appends an entry. Names that occur once by their nature (pseudo-headers) take the
    /// value behind a comma, as in Envoy.
    pub fn add(&mut self, name: &[u8], value: Bytes) {
        self.changed = true;
        if name.first() == Some(&b':') {
            let held = self
                .entries
                .iter_mut()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            if let Some((_, held)) = held {
                let mut joined = held.to_vec();
                joined.push(b',');
                joined.extend_from_slice(&value);
                *held = joined.into();
                return;
            }
        }
        self.insert(lower(name), value);
    }

    /// Removes all entries of `name` and adds one, in the place of the first.
    pub fn replace(&mut self, name: &[u8], value: Bytes) {
        self.changed = true;
        let Some(first) = self
            .entries
            .iter()
            .position(|(key, _)| key.eq_ignore_ascii_case(name))
        else {
            self.insert(lower(name), value);
            return;
        };
        self.entries[first].1 = value;
        let mut index = 0;
        self.entries.retain(|(key, _)| {
            index += 1;
            index - 1 <= first || !key.eq_ignore_ascii_case(name)
        });
    }

    /// Removes all entries of `name`; whether there were any.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let before = self.entries.len();
        self.entries
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        let removed = self.entries.len() != before;
        self.changed |= removed;
        removed
    }

    /// Replaces everything, pseudo-headers first, the rest in the order given.
    pub fn set_all(&mut self, pairs: Vec<(Bytes, Bytes)>) {
        self.changed = true;
        self.entries.clear();
        for (name, value) in pairs {
            self.insert(lower(&name), value);
        }
    }

    /// Pseudo-headers go behind the last pseudo-header, everything else to the end.
    fn insert(&mut self, name: Bytes, value: Bytes) {
        if name.first() == Some(&b':') {
            let at = self
                .entries
                .iter()
                .take_while(|(key, _)| key.first() == Some(&b':'))
                .count();
            self.entries.insert(at, (name, value));
        } else {
            self.entries.push((name, value));
        }
    }
}

fn lower(name: &[u8]) -> Bytes {
    if name.iter().any(u8::is_ascii_uppercase) {
        name.to_ascii_lowercase().into()
    } else {
        Bytes::copy_from_slice(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Headers {
        let mut map = Headers::default();
        for (name, value) in pairs {
            map.add(name.as_bytes(), Bytes::copy_from_slice(value.as_bytes()));
        }
        map
    }

    fn show(map: &Headers) -> Vec<String> {
        map.entries()
            .iter()
            .map(|(k, v)| {
                format!(
                    "{}={}",
                    String::from_utf8_lossy(k),
                    String::from_utf8_lossy(v)
                )
            })
            .collect()
    }

    #[test]
    fn names_are_lowered_and_found_in_any_case() {
        let map = map(&[("X-Up", "1"), ("x-up", "2")]);
        assert_eq!(show(&map), ["x-up=1", "x-up=2"]);
        assert_eq!(map.get(b"X-UP").map(|v| &v[..]), Some(&b"1"[..]));
        assert_eq!(map.joined(b"x-Up").as_deref(), Some(&b"1,2"[..]));
    }

    #[test]
    fn replace_collapses_repeated_names_in_place() {
        let mut map = map(&[("a", "1"), ("x", "1"), ("b", "1"), ("x", "2")]);
        map.replace(b"X", Bytes::from_static(b"3"));
        assert_eq!(show(&map), ["a=1", "x=3", "b=1"]);
        map.replace(b"new", Bytes::from_static(b"4"));
        assert_eq!(show(&map), ["a=1", "x=3", "b=1", "new=4"]);
    }

    #[test]
    fn pseudo_headers_stay_in_front_and_join() {
        let mut map = map(&[(":method", "GET"), ("a", "1")]);
        map.add(b":path", Bytes::from_static(b"/"));
        map.add(b":method", Bytes::from_static(b"PUT"));
        assert_eq!(show(&map), [":method=GET,PUT", ":path=/", "a=1"]);
    }

    #[test]
    fn only_real_removals_count_as_changes() {
        let mut map = Headers::from_entries(vec![("a".into(), "1".into())]);
        assert!(!map.remove(b"b") && !map.is_changed());
        assert!(map.remove(b"A") && map.is_changed() && map.is_empty());
    }
}
