//! gRPC calls to other clusters: one message there, one back; and [streams](open) of them.

mod stream;

use std::fmt;
use std::time::Duration;

use crate::types::{BufferType, Status};
use crate::{ambient, raw};

pub use stream::{GrpcEvent, close, open, send};
pub(crate) use stream::{take_end, take_metadata};

/// A gRPC call. Messages are bytes: what `prost` or another library makes of them.
///
/// ```no_run
/// use cofferdam_sdk::GrpcCall;
///
/// let call = GrpcCall::new("authz", "pkg.Authorization", "Check").message(b"\x0a\x01x");
/// let token = call.send()?; // in a callback; the async layer awaits it instead
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a call is not made by itself"]
pub struct GrpcCall {
    cluster: String,
    service: String,
    method: String,
    metadata: Vec<(String, Vec<u8>)>,
    message: Vec<u8>,
    timeout: Duration,
}

/// How a gRPC call failed, or how a stream ended.
///
/// ```
/// use cofferdam_sdk::GrpcStatus;
///
/// let status = GrpcStatus::new(7, "not you");
/// assert_eq!(status.code(), 7);
/// assert_eq!(status.to_string(), "gRPC status 7: not you");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct GrpcStatus {
    code: u32,
    message: String,
}

/// The answer to a gRPC call: a message, or why there is none.
///
/// ```
/// let answer: cofferdam_sdk::GrpcResponse = Ok(vec![10, 0]);
/// ```
pub type GrpcResponse = Result<Vec<u8>, GrpcStatus>;

// === impl GrpcCall ===

impl GrpcCall {
    /// A call of `service` (with its package) and `method`, with an empty message.
    ///
    /// ```
    /// let call = cofferdam_sdk::GrpcCall::new("authz", "pkg.Authorization", "Check");
    /// ```
    pub fn new(cluster: &str, service: &str, method: &str) -> Self {
        Self {
            cluster: cluster.into(),
            service: service.into(),
            method: method.into(),
            metadata: Vec::new(),
            message: Vec::new(),
            timeout: crate::HttpCall::TIMEOUT,
        }
    }

    /// With that message, encoded.
    ///
    /// ```
    /// let call = cofferdam_sdk::GrpcCall::new("a", "pkg.A", "B").message([8, 1]);
    /// ```
    pub fn message(mut self, message: impl Into<Vec<u8>>) -> Self {
        self.message = message.into();
        self
    }

    /// With that metadata too.
    ///
    /// ```
    /// let call = cofferdam_sdk::GrpcCall::new("a", "pkg.A", "B").metadata("x-tenant", "7");
    /// ```
    pub fn metadata(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }

    /// Waited for so long at most, to the millisecond; 5 s by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// let call = cofferdam_sdk::GrpcCall::new("a", "pkg.A", "B")
    ///     .timeout(Duration::from_millis(100));
    /// ```
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Sends it. The answer comes to the context that is running, with the token this
    /// returns.
    ///
    /// # Errors
    /// [`Status::ParseFailure`] where there is no such cluster, [`Status::InternalFailure`]
    /// where it cannot be sent now: then no answer comes.
    ///
    /// ```no_run
    /// let token = cofferdam_sdk::GrpcCall::new("a", "pkg.A", "B").send()?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn send(&self) -> Result<u32, Status> {
        let milliseconds = self.timeout.as_millis().clamp(1, i32::MAX as u128) as u32;
        let token = raw::grpc_call(
            self.cluster.as_bytes(),
            &self.service,
            &self.method,
            &self.metadata,
            &self.message,
            milliseconds,
        )?;
        ambient::began(token);
        Ok(token)
    }
}

/// Takes a call back, or resets a stream: nothing comes of it any more.
///
/// ```no_run
/// let token = cofferdam_sdk::GrpcCall::new("a", "pkg.A", "B").send()?;
/// cofferdam_sdk::grpc::cancel(token);
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn cancel(token: u32) {
    if ambient::ended(token).is_some() {
        // One that has ended meanwhile needs no cancelling.
        let _ = raw::grpc_cancel(token);
    }
}

/// The message that the running callback tells of.
pub(crate) fn take_message(size: u32) -> Vec<u8> {
    match size {
        0 => Vec::new(),
        _ => raw::buffer(BufferType::GrpcMessage, 0, usize::MAX).unwrap_or_default(),
    }
}

// === impl GrpcStatus ===

impl GrpcStatus {
    /// A status of gRPC's codes (0 to 16; 0 is success).
    ///
    /// ```
    /// let unavailable = cofferdam_sdk::GrpcStatus::new(14, "no connection");
    /// ```
    #[must_use]
    pub fn new(code: u32, message: &str) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// What the host says of the call whose end the running callback tells.
    pub(crate) fn take(code: u32) -> Self {
        let message = raw::status()
            .map(|(_, message)| message)
            .unwrap_or_default();
        Self {
            code,
            message: String::from_utf8_lossy(&message).into_owned(),
        }
    }

    /// Its code.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::GrpcStatus::new(4, "").code(), 4);
    /// ```
    #[must_use]
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// Whether it is success.
    ///
    /// ```
    /// assert!(!cofferdam_sdk::GrpcStatus::new(4, "").is_ok());
    /// ```
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.code == 0
    }

    /// What the other end says of it; may be empty.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::GrpcStatus::new(4, "late").message(), "late");
    /// ```
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gRPC status {}", self.code)?;
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.message)
    }
}

crate::result::debug_is_display!(GrpcStatus);

impl core::error::Error for GrpcStatus {}
