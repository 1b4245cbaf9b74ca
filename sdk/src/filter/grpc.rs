//! Waiting for answers over gRPC.

use std::fmt;
use std::rc::Rc;

use super::exchange::{Answer, Asked, Scope, Tools, Waiting};
use super::{CallError, Tool};
use crate::grpc::{self, GrpcCall, GrpcStatus};
use crate::types::Status;

/// Asks other clusters over gRPC.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn authorize(request: Request, grpc: Grpc) -> Result<Response> {
///     let check = GrpcCall::new("authz", "pkg.Authorization", "Check").message(b"\x0a\x00");
///     match grpc.call(check).await {
///         Ok(_message) => request.forward().await,
///         Err(error) => Ok(Response::new(403).with_body(error.to_string())),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Grpc {
    scope: Rc<Scope>,
}

/// Why there is no message.
///
/// ```
/// use cofferdam_sdk::{GrpcStatus, filter::GrpcError};
/// let error = GrpcError::Status(GrpcStatus::new(7, "no"));
/// assert_eq!(error.to_string(), "gRPC status 7: no");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum GrpcError {
    /// It was not sent.
    Call(CallError),
    /// The other end, or the host on its behalf, answers so.
    Status(GrpcStatus),
}

// === impl Grpc ===

impl Grpc {
    /// Sends a message and waits for the one that answers it. Dropped before, the call is
    /// cancelled.
    ///
    /// # Errors
    /// When there is no answer, or one that is not 0.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(grpc: Grpc) -> Result<()> {
    /// let message = grpc.call(GrpcCall::new("authz", "pkg.Authorization", "Check")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call(&self, call: GrpcCall) -> impl Future<Output = Result<Vec<u8>, GrpcError>> + use<> {
        Waiting::new(self.scope.clone(), call)
    }
}

impl Asked for GrpcCall {
    type Output = Result<Vec<u8>, GrpcError>;

    fn send(&self) -> Result<u32, Self::Output> {
        Self::send(self).map_err(|status| Err(GrpcError::not_sent(self.cluster(), status)))
    }

    fn answered(answer: Answer) -> Self::Output {
        match answer {
            Answer::Grpc(answer) => answer.map_err(GrpcError::Status),
            Answer::Http(_) => Err(GrpcError::Call(CallError::NoAnswer)),
        }
    }

    fn forget(token: u32) {
        grpc::cancel(token);
    }
}

impl Tool for Grpc {
    const GRPC: bool = true;

    fn of(tools: &Tools) -> Self {
        Self {
            scope: tools.scope.clone(),
        }
    }
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc").finish_non_exhaustive()
    }
}

// === impl GrpcError ===

impl GrpcError {
    /// The host has refused to begin.
    pub(super) fn not_sent(cluster: &str, status: Status) -> Self {
        Self::Call(match status {
            Status::ParseFailure => CallError::NoCluster(cluster.to_owned()),
            status => CallError::NotSent(status),
        })
    }
}

impl fmt::Display for GrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Status(status) => status.fmt(f),
        }
    }
}

crate::result::debug_is_display!(GrpcError);

impl core::error::Error for GrpcError {}
