//! What filters store beside a request or a connection, for each other (sections 2.7,
//! 7.6 and 7.8): the values of `proxy_set_property` and the objects of
//! `set_envoy_filter_state`.
//!
//! The two have name spaces of their own: a guest reads the first by their bare name or
//! as `wasm.NAME` of `filter_state`, the others under `filter_state` alone.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::guest::{self, HostTrap};
use crate::types::Status;

/// Most bytes all filters together may store in one place, with what each entry takes.
const MAX_STORED: usize = 1 << 20;
/// What an entry takes besides its bytes.
const ENTRY: usize = 96;

/// The values of one exchange, or of one connection.
#[derive(Debug, Default)]
pub struct FilterState {
    /// By the raw path that was given to `proxy_set_property`.
    values: BTreeMap<Bytes, Stored>,
    objects: BTreeMap<Bytes, Bytes>,
    size: usize,
}

#[derive(Debug)]
struct Stored {
    value: Bytes,
    read_only: bool,
}

/// What `declare_property` says of a name before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prototype {
    /// Only the first value counts.
    pub(crate) read_only: bool,
    pub(crate) span: Span,
}

/// How long a value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Span {
    /// Here, as long as the exchange: nothing happens between the two in this host.
    #[default]
    Request,
    /// As long as the client's connection.
    Connection,
}

/// Names a root or a stream has declared.
#[derive(Debug, Default)]
pub(crate) struct Prototypes {
    names: BTreeMap<Bytes, Prototype>,
    /// Of all names together.
    bytes: usize,
}

// === impl FilterState ===

impl FilterState {
    /// What filters stored by `proxy_set_property` under that raw path.
    #[must_use]
    pub fn value(&self, path: &[u8]) -> Option<&Bytes> {
        self.values.get(path).map(|stored| &stored.value)
    }

    /// What they stored by `set_envoy_filter_state` under that key.
    #[must_use]
    pub fn object(&self, key: &[u8]) -> Option<&Bytes> {
        self.objects.get(key)
    }

    /// Stores a value, as `prototype` has it if there is none yet.
    pub(crate) fn set_value(
        &mut self,
        path: &[u8],
        value: &[u8],
        prototype: Prototype,
    ) -> Result<Result<(), Status>, HostTrap> {
        let held = self.values.get_mut(path);
        let old = held.as_ref().map(|stored| stored.value.len());
        let size = grown(self.size, path.len(), old, value.len())?;
        match held {
            Some(stored) if stored.read_only => return Ok(Err(Status::BadArgument)),
            Some(stored) => stored.value = Bytes::copy_from_slice(value),
            None => {
                let stored = Stored {
                    value: Bytes::copy_from_slice(value),
                    read_only: prototype.read_only,
                };
                self.values.insert(Bytes::copy_from_slice(path), stored);
            }
        }
        self.size = size;
        Ok(Ok(()))
    }

    pub(crate) fn set_object(&mut self, key: &[u8], value: &[u8]) -> Result<(), HostTrap> {
        let old = self.objects.get(key).map(Bytes::len);
        self.size = grown(self.size, key.len(), old, value.len())?;
        self.objects
            .insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(())
    }
}

/// The size after a value of `new` bytes took the place of one of `old`.
fn grown(size: usize, name: usize, old: Option<usize>, new: usize) -> Result<usize, HostTrap> {
    let added = match old {
        Some(_) => new,
        None => new.saturating_add(name).saturating_add(ENTRY),
    };
    let size = size.saturating_sub(old.unwrap_or(0)).saturating_add(added);
    if size > MAX_STORED {
        return Err(guest::too_much("properties", MAX_STORED));
    }
    Ok(size)
}

// === impl Prototypes ===

impl Prototypes {
    /// Most names one context may declare.
    const MOST: usize = 1_000;
    /// Most bytes they may have together.
    const MOST_BYTES: usize = 64 << 10;

    /// A name may be declared once.
    pub(crate) fn declare(&mut self, name: Bytes, prototype: Prototype) -> Result<(), Status> {
        if self.names.contains_key(&name) {
            return Err(Status::BadArgument);
        }
        let bytes = self.bytes.saturating_add(name.len());
        if self.names.len() >= Self::MOST || bytes > Self::MOST_BYTES {
            return Err(Status::InternalFailure);
        }
        self.bytes = bytes;
        self.names.insert(name, prototype);
        Ok(())
    }

    /// What was said of that name, or what holds for the others.
    pub(crate) fn of(&self, name: &[u8]) -> Prototype {
        self.names.get(name).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_most_in_number_and_in_bytes() {
        let name = |length: usize| Bytes::from("n".repeat(length));
        let prototype = Prototype::default();
        let mut many = Prototypes::default();
        for number in 0..Prototypes::MOST {
            let name = Bytes::from(number.to_string());
            assert_eq!(many.declare(name, prototype), Ok(()));
        }
        let refused = Err(Status::InternalFailure);
        assert_eq!(many.declare(name(1), prototype), refused);

        let mut long = Prototypes::default();
        assert_eq!(long.declare(name(65_537), prototype), refused);
        assert_eq!(long.declare(name(65_000), prototype), Ok(()));
        assert_eq!(
            long.declare(name(65_000), prototype),
            Err(Status::BadArgument)
        );
        assert_eq!(long.declare(name(537), prototype), refused);
        assert_eq!(long.declare(name(536), prototype), Ok(()));
    }
}
