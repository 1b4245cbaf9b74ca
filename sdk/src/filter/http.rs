//! Waiting for answers of other clusters.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Tool;
use super::exchange::{Scope, Slot, Tools};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The host knows no cluster of that name, or finds the request malformed.
    NoCluster(String),
    /// It could not be sent.
    NotSent(Status),
    /// The other end, or the time, broke it off. Most hosts make answers of 503 and 504 of
    /// that instead, as Envoy does.
    NoAnswer,
}

/// The wait for one answer. Dropped before it comes, nobody waits for it any more.
struct Call {
    scope: Rc<Scope>,
    call: HttpCall,
    sent: Option<(u32, Rc<RefCell<Slot>>)>,
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
        Call {
            scope: self.scope.clone(),
            call,
            sent: None,
        }
    }
}

impl Tool for Http {
    const CALLS: bool = true;
    const TICKS: bool = false;

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

// === impl Call ===

impl Future for Call {
    type Output = Result<HttpCallResponse, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((_, slot)) = &self.sent else {
            let token = match self.call.send() {
                Ok(token) => token,
                Err(Status::BadArgument) => {
                    let cluster = self.call.cluster().to_owned();
                    return Poll::Ready(Err(CallError::NoCluster(cluster)));
                }
                Err(status) => return Poll::Ready(Err(CallError::NotSent(status))),
            };
            let slot = Rc::new(RefCell::new(Slot {
                answer: None,
                waker: Some(cx.waker().clone()),
            }));
            self.scope.calls.borrow_mut().push((token, slot.clone()));
            self.sent = Some((token, slot));
            return Poll::Pending;
        };
        let answer = {
            let mut slot = slot.borrow_mut();
            let answer = slot.answer.take();
            if answer.is_none() {
                slot.waker = Some(cx.waker().clone());
            }
            answer
        };
        match answer {
            Some(answer) if answer.headers().is_empty() => Poll::Ready(Err(CallError::NoAnswer)),
            Some(answer) => Poll::Ready(Ok(answer)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some((token, _)) = self.sent {
            let mut calls = self.scope.calls.borrow_mut();
            let before = calls.len();
            calls.retain(|(call, _)| *call != token);
            if calls.len() < before {
                callout::forget(token);
            }
        }
    }
}

// === impl CallError ===

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCluster(name) => write!(f, "no cluster {name:?} to call"),
            Self::NotSent(status) => write!(f, "a call could not be sent: {status}"),
            Self::NoAnswer => f.write_str("no answer"),
        }
    }
}

impl core::error::Error for CallError {}
