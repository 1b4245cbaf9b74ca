//! Data shared by all workers: keys and values, for as long as the process lives.
//!
//! ```no_run
//! use cofferdam_sdk::kv;
//!
//! // One more failure for this client, whoever else counts at the same time.
//! let failures = kv::Counter::new("failures.192.0.2.1").add(1)?;
//! # Ok::<(), kv::KvError>(())
//! ```
//! Plugins of the same `vm_id` share. Everything else is worked out by comparing versions:
//! [`update`] reads, changes and writes until nobody was faster; [`Cell`] does so for values of
//! a type. A host may drop entries when
//! there are too many, so this is no place for what must not be lost.

mod cell;

use std::fmt;

#[cfg(feature = "json")]
pub use cell::Json;
pub use cell::{Cell, Stored};

use crate::raw;
use crate::types::Status;

/// How often an update is tried. Who is overtaken that often is one of very many.
const TRIES: usize = 64;

/// What a host takes as "only if there is none": a version that no entry has, which it does
/// not compare where there is no entry.
const NEW: u32 = u32::MAX;

/// Why shared data could not be read or changed.
///
/// ```
/// assert_eq!(cofferdam_sdk::kv::KvError::Contended.to_string(), "others were faster each time");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KvError {
    /// Others have changed the value each time it was tried.
    Contended,
    /// The host does not take it.
    Refused(Status),
    /// What is there, or is to be there, is no value of that type.
    Malformed,
}

/// The value of a key; `None` where there is none.
///
/// # Errors
/// Where the host has no shared data.
///
/// ```no_run
/// if let Some(token) = cofferdam_sdk::kv::get("token")? {
///     cofferdam_sdk::debug!("a token of {} bytes", token.len());
/// }
/// # Ok::<(), cofferdam_sdk::kv::KvError>(())
/// ```
pub fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
    Ok(read(key)?.map(|(value, _)| value))
}

/// Stores a value, whatever was there.
///
/// # Errors
/// Where the host does not take it.
///
/// ```no_run
/// cofferdam_sdk::kv::set("token", b"abc")?;
/// # Ok::<(), cofferdam_sdk::kv::KvError>(())
/// ```
pub fn set(key: &str, value: &[u8]) -> Result<(), KvError> {
    raw::set_shared_data(key, value, 0).map_err(KvError::Refused)
}

/// Stores a value if there is none for this key; whether there was none. Of many who try, one
/// succeeds.
///
/// # Errors
/// Where the host does not take it.
///
/// ```no_run
/// if cofferdam_sdk::kv::insert_new("leader", b"me")? {
///     cofferdam_sdk::info!("first");
/// }
/// # Ok::<(), cofferdam_sdk::kv::KvError>(())
/// ```
pub fn insert_new(key: &str, value: &[u8]) -> Result<bool, KvError> {
    write(key, value, NEW)
}

/// Changes a value: `change` is given what is there, and says what is to be there. It is
/// called again when somebody else was faster. With `None` everything stays as it is.
///
/// Returns what is there afterwards.
///
/// # Errors
/// Where others were faster many times over, or the host does not take it.
///
/// ```no_run
/// let line = cofferdam_sdk::kv::update("log", |old| {
///     let mut new = old.unwrap_or_default().to_vec();
///     new.push(b'x');
///     Some(new)
/// })?;
/// # Ok::<(), cofferdam_sdk::kv::KvError>(())
/// ```
pub fn update(
    key: &str,
    mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, KvError> {
    for _ in 0..TRIES {
        let old = read(key)?;
        let (value, version) = match &old {
            Some((value, version)) => (Some(&value[..]), *version),
            None => (None, NEW),
        };
        let Some(new) = change(value) else {
            return Ok(old.map(|(value, _)| value));
        };
        if write(key, &new, version)? {
            return Ok(Some(new));
        }
    }
    Err(KvError::Contended)
}

fn read(key: &str) -> Result<Option<(Vec<u8>, u32)>, KvError> {
    match raw::shared_data(key) {
        Ok(entry) => Ok(Some(entry)),
        Err(Status::NotFound) => Ok(None),
        Err(status) => Err(KvError::Refused(status)),
    }
}

/// Whether nobody was faster.
fn write(key: &str, value: &[u8], version: u32) -> Result<bool, KvError> {
    match raw::set_shared_data(key, value, version) {
        Ok(()) => Ok(true),
        Err(Status::CasMismatch) => Ok(false),
        Err(status) => Err(KvError::Refused(status)),
    }
}

/// A number that all workers count.
///
/// ```no_run
/// use cofferdam_sdk::kv::Counter;
///
/// let requests = Counter::new("requests.today");
/// if requests.add(1)? > 1_000 {
///     requests.set(0)?;
/// }
/// # Ok::<(), cofferdam_sdk::kv::KvError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter<'a> {
    key: &'a str,
}

// === impl Counter ===

impl<'a> Counter<'a> {
    /// The counter under this key; 0 where nothing, or no number, is there.
    ///
    /// ```
    /// let counter = cofferdam_sdk::kv::Counter::new("requests");
    /// ```
    #[must_use]
    pub const fn new(key: &'a str) -> Self {
        Self { key }
    }

    /// Adds to it; what it is then. It stays at the ends of its range.
    ///
    /// # Errors
    /// As [`update`].
    ///
    /// ```no_run
    /// let so_far = cofferdam_sdk::kv::Counter::new("requests").add(1)?;
    /// # Ok::<(), cofferdam_sdk::kv::KvError>(())
    /// ```
    pub fn add(&self, change: i64) -> Result<i64, KvError> {
        let after = update(self.key, |old| {
            Some(number(old).saturating_add(change).to_le_bytes().to_vec())
        })?;
        Ok(number(after.as_deref()))
    }

    /// What it is.
    ///
    /// # Errors
    /// As [`get`].
    ///
    /// ```no_run
    /// let so_far = cofferdam_sdk::kv::Counter::new("requests").value()?;
    /// # Ok::<(), cofferdam_sdk::kv::KvError>(())
    /// ```
    pub fn value(&self) -> Result<i64, KvError> {
        Ok(number(get(self.key)?.as_deref()))
    }

    /// Sets it, whatever it was.
    ///
    /// # Errors
    /// As [`set`].
    ///
    /// ```no_run
    /// cofferdam_sdk::kv::Counter::new("requests").set(0)?;
    /// # Ok::<(), cofferdam_sdk::kv::KvError>(())
    /// ```
    pub fn set(&self, value: i64) -> Result<(), KvError> {
        set(self.key, &value.to_le_bytes())
    }
}

fn number(bytes: Option<&[u8]>) -> i64 {
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, i64::from_le_bytes)
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contended => f.write_str("others were faster each time"),
            Self::Refused(status) => write!(f, "shared data: {status}"),
            Self::Malformed => f.write_str("shared data: no value of that type"),
        }
    }
}

crate::result::debug_is_display!(KvError);

impl core::error::Error for KvError {}
