//! Header maps: bytes first, since a header's value may be any bytes, and never a panic.

use std::borrow::Cow;
use std::fmt;
use std::str::{Utf8Error, from_utf8};

use crate::pairs::Pairs;
use crate::raw;
use crate::types::{MapType, Status};

/// One of the maps of an exchange: headers or trailers, of the request or the response.
///
/// Reads and writes are calls to the host; nothing is copied that is not asked for. Names
/// are compared without case. Of a request `:authority`, `:path`, `:method` and `:scheme`
/// come first, of a response `:status`.
///
/// ```no_run
/// use cofferdam_sdk::{Headers, MapType, Status};
///
/// fn stamp(headers: &mut Headers) -> Result<(), Status> {
///     if headers.get("x-seen").is_none() {
///         headers.set("x-seen", "1")?;
///     }
///     headers.remove("x-internal")
/// }
/// # let _ = stamp(&mut Headers::of(MapType::RequestHeaders));
/// ```
#[derive(Debug)]
pub struct Headers {
    map: MapType,
}

/// The value of a header: bytes that mostly are text.
///
/// ```
/// use cofferdam_sdk::HeaderValue;
///
/// let value = HeaderValue::from("caf\u{e9}");
/// assert_eq!(value, "caf\u{e9}");
/// let latin1 = HeaderValue::from(b"caf\xe9".to_vec());
/// assert!(latin1.to_str().is_err());
/// assert_eq!(latin1.lossy(), "caf\u{fffd}");
/// assert_eq!(latin1.as_bytes(), b"caf\xe9");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HeaderValue(Vec<u8>);

// === impl Headers ===

impl Headers {
    /// The map of that kind, of the exchange whose callback runs.
    ///
    /// ```no_run
    /// use cofferdam_sdk::{Headers, MapType};
    ///
    /// let path = Headers::of(MapType::RequestHeaders).get(":path");
    /// ```
    #[must_use]
    pub const fn of(map: MapType) -> Self {
        Self { map }
    }

    /// The first value under a name. `None` where there is no such header, and where the
    /// map cannot be read now.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let headers = Headers::of(MapType::RequestHeaders);
    /// let token = headers.get("authorization");
    /// let is_bearer = token.is_some_and(|token| token.as_bytes().starts_with(b"Bearer "));
    /// ```
    #[must_use]
    pub fn get(&self, name: &str) -> Option<HeaderValue> {
        raw::header(self.map, name).ok().map(HeaderValue)
    }

    /// Whether there is such a header.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let headers = Headers::of(MapType::RequestHeaders);
    /// if headers.contains("upgrade") { /* … */ }
    /// ```
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        raw::header(self.map, name).is_ok()
    }

    /// Every value under a name, in order. Reads the whole map: where one value is enough,
    /// [`Headers::get`] is cheaper.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let headers = Headers::of(MapType::ResponseHeaders);
    /// let cookies = headers.get_all("set-cookie").len();
    /// ```
    #[must_use]
    pub fn get_all(&self, name: &str) -> Vec<HeaderValue> {
        let same = |(found, _): &(Vec<u8>, Vec<u8>)| found.eq_ignore_ascii_case(name.as_bytes());
        let entries = self.entries().into_iter();
        entries
            .filter(same)
            .map(|(_, value)| HeaderValue(value))
            .collect()
    }

    /// Every name and value, in order; nothing where the map cannot be read now.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let headers = Headers::of(MapType::RequestHeaders);
    /// for (name, value) in headers.entries() {
    ///     cofferdam_sdk::info!("{} is {} bytes", String::from_utf8_lossy(&name), value.len());
    /// }
    /// ```
    #[must_use]
    pub fn entries(&self) -> Pairs {
        raw::headers(self.map).unwrap_or_default()
    }

    /// Leaves one header of this name, with this value.
    ///
    /// # Errors
    /// [`Status::BadArgument`] where the map cannot be changed (now).
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let mut headers = Headers::of(MapType::RequestHeaders);
    /// headers.set("x-forwarded-proto", "https")?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Status> {
        raw::replace_header(self.map, name, value.as_ref())
    }

    /// Adds a header and keeps those of the same name.
    ///
    /// # Errors
    /// As [`Headers::set`].
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let mut headers = Headers::of(MapType::ResponseHeaders);
    /// headers.add("set-cookie", "a=1; HttpOnly")?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Status> {
        raw::add_header(self.map, name, value.as_ref())
    }

    /// Removes every header of this name; none is fine too.
    ///
    /// # Errors
    /// As [`Headers::set`].
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let mut headers = Headers::of(MapType::ResponseHeaders);
    /// headers.remove("server")?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn remove(&mut self, name: &str) -> Result<(), Status> {
        raw::remove_header(self.map, name)
    }

    /// Keeps the headers of which `keep` says so. Pseudo-headers are not asked about.
    ///
    /// # Errors
    /// As [`Headers::set`].
    ///
    /// ```no_run
    /// # use cofferdam_sdk::{Headers, MapType};
    /// # let mut headers = Headers::of(MapType::RequestHeaders);
    /// headers.retain(|name, _| !name.starts_with(b"x-internal-"))?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Result<(), Status> {
        let mut entries = raw::headers(self.map)?;
        let before = entries.len();
        entries.retain(|(name, value)| name.starts_with(b":") || keep(name, value));
        if entries.len() == before {
            return Ok(());
        }
        raw::set_headers(self.map, &entries)
    }
}

// === impl HeaderValue ===

impl HeaderValue {
    /// The bytes.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::HeaderValue::from("x").as_bytes(), b"x");
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8.
    ///
    /// # Errors
    /// When it is not; [`HeaderValue::lossy`] always gives some text.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::HeaderValue::from("x").to_str(), Ok("x"));
    /// ```
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        from_utf8(&self.0)
    }

    /// The text, with U+FFFD where it is none.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::HeaderValue::from(vec![0xff]).lossy(), "\u{fffd}");
    /// ```
    #[must_use]
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The bytes, to keep.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::HeaderValue::from("x").into_bytes(), b"x");
    /// ```
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for HeaderValue {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for HeaderValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl PartialEq<str> for HeaderValue {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for HeaderValue {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<[u8]> for HeaderValue {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
