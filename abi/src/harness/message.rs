//! A message as those outside see it.

use bytes::Bytes;

use crate::headers::Headers;

/// An HTTP message, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Pseudo-headers included.
    pub headers: Headers,
    /// What came of it.
    pub body: Bytes,
    /// Empty without any.
    pub trailers: Headers,
    /// Whether it came to its end.
    pub complete: bool,
}

// === impl Message ===

impl Message {
    /// The first value of a name, where that is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name.as_bytes())?).ok()
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.text(":status")?.parse().ok()
    }

    /// More of its body has come.
    pub(super) fn append(&mut self, bytes: &Bytes) {
        self.body = if self.body.is_empty() {
            bytes.clone()
        } else {
            [&self.body[..], bytes].concat().into()
        };
    }
}
