//! An ordered header map, as guests see one: every name lower-cased on entry, every
//! entry apart, pseudo-headers first.

use bytes::{Bytes, BytesMut};

/// One header map.
#[derive(Clone, Default)]
pub struct Headers {
    entries: Vec<(Bytes, Bytes)>,
    changed: bool,
    /// Of all names and values together.
    size: usize,
    /// Room for what guests write: one buffer for many names and values, not one for each.
    room: BytesMut,
}

/// A new piece of [`Headers::room`], in bytes. Whatever is longer than a quarter of it gets a
/// buffer of its own, so that no piece is kept alive for much more than it holds.
const ROOM: usize = 512;

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
    pub fn from_entries(entries: Vec<(Bytes, Bytes)>) -> Self {
        Self::with_room(entries, BytesMut::new())
    }

    /// The same, with an empty buffer for what guests will write.
    #[must_use]
    pub fn with_room(entries: Vec<(Bytes, Bytes)>, room: BytesMut) -> Self {
        Self {
            size: entries.iter().map(size).sum(),
            entries,
            changed: false,
            room,
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
    pub const fn byte_size(&self) -> usize {
        self.size
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
                self.size += joined.len() - held.len();
                *held = joined.into();
                return;
            }
        }
        self.insert(name, value);
    }

    /// [`Headers::add`] of a value that somebody else keeps.
    pub fn add_copied(&mut self, name: &[u8], value: &[u8]) {
        let value = self.keep(value);
        self.add(name, value);
    }

    /// Removes all entries of `name` and adds one, in the place of the first.
    pub fn replace(&mut self, name: &[u8], value: Bytes) {
        self.changed = true;
        let Some(first) = self
            .entries
            .iter()
            .position(|(key, _)| key.eq_ignore_ascii_case(name))
        else {
            self.insert(name, value);
            return;
        };
        let held = &mut self.entries[first].1;
        self.size = self.size - held.len() + value.len();
        *held = value;
        self.retain(first + 1, name);
    }

    /// [`Headers::replace`] with a value that somebody else keeps.
    pub fn replace_copied(&mut self, name: &[u8], value: &[u8]) {
        let value = self.keep(value);
        self.replace(name, value);
    }

    /// Removes all entries of `name`; whether there were any.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let before = self.entries.len();
        self.retain(0, name);
        let removed = self.entries.len() != before;
        self.changed |= removed;
        removed
    }

    /// Replaces everything, pseudo-headers first, the rest in the order given.
    pub fn set_all(&mut self, pairs: Vec<(Bytes, Bytes)>) {
        self.changed = true;
        self.entries.clear();
        self.size = 0;
        for (name, value) in pairs {
            self.insert(&name, value);
        }
    }

    /// Drops the entries of `name` from that place on.
    fn retain(&mut self, from: usize, name: &[u8]) {
        let others = self.entries.iter().skip(from);
        if others
            .clone()
            .any(|(key, _)| key.eq_ignore_ascii_case(name))
        {
            let mut index = 0;
            self.entries.retain(|entry| {
                index += 1;
                let kept = index <= from || !entry.0.eq_ignore_ascii_case(name);
                if !kept {
                    self.size -= size(entry);
                }
                kept
            });
        }
    }

    /// Pseudo-headers go behind the last pseudo-header, everything else to the end.
    fn insert(&mut self, name: &[u8], value: Bytes) {
        let entry = (self.keep_lower(name), value);
        self.size += size(&entry);
        if name.first() == Some(&b':') {
            let at = self
                .entries
                .iter()
                .take_while(|(key, _)| key.first() == Some(&b':'))
                .count();
            self.entries.insert(at, entry);
        } else {
            self.entries.push(entry);
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if self.room.capacity() < bytes.len() {
            if bytes.len() > ROOM / 4 {
                return Bytes::copy_from_slice(bytes);
            }
            self.room = BytesMut::with_capacity(ROOM);
        }
        self.room.extend_from_slice(bytes);
        self.room.split().freeze()
    }

    fn keep_lower(&mut self, name: &[u8]) -> Bytes {
        if name.iter().any(u8::is_ascii_uppercase) {
            name.to_ascii_lowercase().into()
        } else {
            self.keep(name)
        }
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

fn size((name, value): &(Bytes, Bytes)) -> usize {
    name.len() + value.len()
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
        let size: usize = map.entries().iter().map(size).sum();
        assert_eq!(map.byte_size(), size);
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
    fn what_is_copied_is_as_what_is_given() {
        let long = [b'l'; 2 * ROOM];
        let mut map = Headers::default();
        for round in 0..100 {
            map.add_copied(b"x-A", b"one");
            map.add_copied(b"x-b", &long[..round * 5]);
            map.replace_copied(b"X-a", b"two");
            map.add_copied(b"", b"");
        }
        assert_eq!(map.len(), 1 + 100 + 100);
        assert_eq!(map.get(b"x-a").map(|v| &v[..]), Some(&b"two"[..]));
        let values: Vec<usize> = map.get_all(b"x-b").map(Bytes::len).collect();
        assert!(
            values
                .iter()
                .enumerate()
                .all(|(n, length)| *length == n * 5)
        );
        assert!(
            map.get_all(b"x-b")
                .all(|v| v.iter().all(|byte| *byte == b'l'))
        );
        assert!(map.remove(b"x-B") && map.len() == 101);
        assert_eq!(show(&map).len(), 101);
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
