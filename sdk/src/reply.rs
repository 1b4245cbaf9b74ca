//! Answers that a filter makes itself.

use crate::raw;
use crate::types::Status;

/// An answer made here instead of by the upstream.
///
/// ```no_run
/// use cofferdam_sdk::Reply;
///
/// let reply = Reply::new(403)
///     .header("content-type", "application/json")
///     .body(r#"{"error":"no"}"#)
///     .details("not allowed");
/// reply.send()?; // in a callback; the async layer returns it instead
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an answer is not given by itself"]
pub struct Reply {
    status: u16,
    details: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    grpc_status: Option<u32>,
}

impl Reply {
    /// An answer of that status (200 to 599; the host makes 500 of others), without a body.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::Reply::new(404).status(), 404);
    /// ```
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            details: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            grpc_status: None,
        }
    }

    /// With that header too. `content-length` is the host's.
    ///
    /// ```
    /// let reply = cofferdam_sdk::Reply::new(401).header("www-authenticate", "Bearer");
    /// ```
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With that body; as `text/plain` unless a header says otherwise.
    ///
    /// ```
    /// let reply = cofferdam_sdk::Reply::new(429).body("later, please");
    /// ```
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// What the access log says of it.
    ///
    /// ```
    /// let reply = cofferdam_sdk::Reply::new(403).details("rbac_denied");
    /// ```
    pub fn details(mut self, details: &str) -> Self {
        self.details = details.into();
        self
    }

    /// What a gRPC client is told (0 to 16); others are told the HTTP status.
    ///
    /// ```
    /// let reply = cofferdam_sdk::Reply::new(403).grpc_status(7);
    /// ```
    pub const fn grpc_status(mut self, code: u32) -> Self {
        self.grpc_status = Some(code);
        self
    }

    /// Its status.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::Reply::new(204).status(), 204);
    /// ```
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Gives it, once the running callback has returned; what that returns does not matter
    /// then. The first answer counts.
    ///
    /// # Errors
    /// Where the host does not take it.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::Reply;
    /// Reply::new(503).send()?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn send(&self) -> Result<(), Status> {
        raw::send_local_response(
            u32::from(self.status),
            &self.details,
            &self.headers,
            &self.body,
            self.grpc_status,
        )
    }

    /// Headers, with its status, and body.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    pub(crate) fn into_message(self) -> (crate::Pairs, Vec<u8>) {
        let mut headers = vec![(b":status".to_vec(), self.status.to_string().into_bytes())];
        let named = self.headers.into_iter();
        headers.extend(named.map(|(name, value)| (name.into_bytes(), value)));
        (headers, self.body)
    }
}
