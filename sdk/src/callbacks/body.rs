//! The bytes a body or data callback is shown.

use crate::raw;
use crate::types::{BufferType, Status};

/// What has come of a body or of a connection's bytes, and waits in the host.
///
/// ```no_run
/// use cofferdam_sdk::callbacks::{Body, Data};
///
/// fn on_body(body: &mut Body, end: bool) -> Data {
///     if !end {
///         return Data::Buffer;
///     }
///     let quiet = body.bytes().to_ascii_lowercase();
///     match body.replace(&quiet) {
///         Ok(()) => Data::Continue,
///         Err(_) => Data::Drop,
///     }
/// }
/// # let _ = on_body;
/// ```
#[derive(Debug)]
pub struct Body {
    buffer: BufferType,
    size: usize,
}

impl Body {
    pub(crate) const fn new(buffer: BufferType, size: u32) -> Self {
        Self {
            buffer,
            size: size as usize,
        }
    }

    /// How many bytes there are.
    ///
    /// ```no_run
    /// # fn f(body: &cofferdam_sdk::callbacks::Body) {
    /// let much = body.len() > 1 << 20;
    /// # }
    /// ```
    #[must_use]
    pub const fn len(&self) -> usize {
        self.size
    }

    /// Whether there are none.
    ///
    /// ```no_run
    /// # fn f(body: &cofferdam_sdk::callbacks::Body) {
    /// let nothing = body.is_empty();
    /// # }
    /// ```
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// A copy of all of it; nothing where the host does not have it any more.
    ///
    /// ```no_run
    /// # fn f(body: &cofferdam_sdk::callbacks::Body) {
    /// let bytes = body.bytes();
    /// # }
    /// ```
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.range(0, self.size)
    }

    /// A copy of `length` bytes from `start` on, as far as there are.
    ///
    /// ```no_run
    /// # fn f(body: &cofferdam_sdk::callbacks::Body) {
    /// let magic = body.range(0, 4);
    /// # }
    /// ```
    #[must_use]
    pub fn range(&self, start: usize, length: usize) -> Vec<u8> {
        if start >= self.size || length == 0 {
            return Vec::new();
        }
        raw::buffer(self.buffer, start, length).unwrap_or_default()
    }

    /// Puts `bytes` in the place of all of it. Of an HTTP message whose headers have left
    /// with a `content-length`, the length must stay the same.
    ///
    /// # Errors
    /// Where the body cannot be changed (now).
    ///
    /// ```no_run
    /// # fn f(body: &mut cofferdam_sdk::callbacks::Body) -> Result<(), cofferdam_sdk::Status> {
    /// body.replace(b"nothing to see")
    /// # }
    /// ```
    pub fn replace(&mut self, bytes: &[u8]) -> Result<(), Status> {
        raw::set_buffer(self.buffer, 0, self.size, bytes)?;
        self.size = bytes.len();
        Ok(())
    }

    /// Puts `bytes` behind it.
    ///
    /// # Errors
    /// As [`Body::replace`].
    ///
    /// ```no_run
    /// # fn f(body: &mut cofferdam_sdk::callbacks::Body) -> Result<(), cofferdam_sdk::Status> {
    /// body.append(b"</html>")
    /// # }
    /// ```
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Status> {
        raw::set_buffer(self.buffer, self.size, 0, bytes)?;
        self.size += bytes.len();
        Ok(())
    }

    /// Puts `bytes` before it.
    ///
    /// # Errors
    /// As [`Body::replace`].
    ///
    /// ```no_run
    /// # fn f(body: &mut cofferdam_sdk::callbacks::Body) -> Result<(), cofferdam_sdk::Status> {
    /// body.prepend(b"<!-- filtered -->")
    /// # }
    /// ```
    pub fn prepend(&mut self, bytes: &[u8]) -> Result<(), Status> {
        raw::set_buffer(self.buffer, 0, 0, bytes)?;
        self.size += bytes.len();
        Ok(())
    }
}
