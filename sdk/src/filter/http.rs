//! Waiting for answers of other clusters.

use std::fmt;
use std::future::Future;
use std::rc::Rc;

use super::Tool;
use super::exchange::{Answer, Asked, Scope, Tools, Waiting};
use crate::callout::{self, HttpCall, HttpCallResponse};
use crate::types::Status;

/// Asks other clusters over HTTP.
///
/// ```
/// use std::time::Duration;
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn authorize(request: Request, http: Http) -> Result<Response> {
///     let mut check = HttpCall::get("authz", "/check").timeout(Duration::from_millis(200));
///     if let Some(token) = request.headers().get("authorization") {
///         check = check.header("authorization", token.into_bytes());
///     }
///     match http.call(check).await?.status() {
///         Some(200) => request.forward().await,
///         _ => Ok(Response::new(403)),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Http {
    scope: Rc<Scope>,
}

/// Why there is no answer.
///
/// ```
/// use cofferdam_sdk::filter::CallError;
/// assert_eq!(CallError::NoAnswer.to_string(), "no answer");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum CallError {
    /// The host knows no cluster of that name, or finds the request malformed.
    NoCluster(String),
    /// It could not be sent.
    NotSent(Status),
    /// The other end, or the time, broke it off. Most hosts make answers of 503 and 504 of
    /// that instead, as Envoy does.
    NoAnswer,
}

// === impl Http ===

impl Http {
    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// When there is none.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(http: Http) -> Result<()> {
    /// let keys = http.call(HttpCall::get("idp", "/jwks.json")).await?.into_body();
    /// # Ok(())
    /// # }
    /// ```
    pub fn call(
        &self,
        call: HttpCall,
    ) -> impl Future<Output = Result<HttpCallResponse, CallError>> + use<> {
        Waiting::new(self.scope.clone(), call)
    }
}

impl Tool for Http {
    const CALLS: bool = true;

    fn of(tools: &Tools) -> Self {
        Self {
            scope: tools.scope.clone(),
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Asked for HttpCall {
    type Output = Result<HttpCallResponse, CallError>;

    fn send(&self) -> Result<u32, Self::Output> {
        Self::send(self).map_err(|status| {
            Err(match status {
                Status::BadArgument => CallError::NoCluster(self.cluster().to_owned()),
                status => CallError::NotSent(status),
            })
        })
    }

    fn answered(answer: Answer) -> Self::Output {
        match answer {
            Answer::Http(answer) if !answer.headers().is_empty() => Ok(answer),
            _ => Err(CallError::NoAnswer),
        }
    }

    fn forget(token: u32) {
        callout::forget(token);
    }
}

// === impl CallError ===

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCluster(name) => write!(f, "no cluster `{name}` to call"),
            Self::NotSent(status) => write!(f, "a call could not be sent: {status}"),
            Self::NoAnswer => f.write_str("no answer"),
        }
    }
}

crate::result::debug_is_display!(CallError);

impl core::error::Error for CallError {}
