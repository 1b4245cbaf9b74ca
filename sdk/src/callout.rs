//! HTTP requests to other clusters.

use std::time::Duration;

use crate::headers::HeaderValue;
use crate::pairs::Pairs;
use crate::types::{BufferType, MapType, Status};
use crate::{ambient, raw};

/// A request to a cluster of the host's.
///
/// ```no_run
/// use std::time::Duration;
/// use cofferdam_sdk::HttpCall;
///
/// let call = HttpCall::get("authz", "/check")
///     .header("authorization", "Bearer x")
///     .timeout(Duration::from_millis(200));
/// let token = call.send()?; // in a callback; the async layer awaits it instead
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a call is not made by itself"]
pub struct HttpCall {
    cluster: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    timeout: Duration,
}

/// What came back.
///
/// ```no_run
/// # fn f(response: cofferdam_sdk::HttpCallResponse) {
/// if response.status() == Some(200) {
///     let body = response.body();
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpCallResponse {
    headers: Pairs,
    body: Vec<u8>,
    trailers: Pairs,
}

// === impl HttpCall ===

impl HttpCall {
    /// The longest that is waited for an answer if nothing else is said.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::HttpCall::TIMEOUT.as_secs(), 5);
    /// ```
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// A request of any method. Its `:authority` is the cluster's name, until
    /// [`HttpCall::header`] says otherwise.
    ///
    /// ```
    /// let call = cofferdam_sdk::HttpCall::new("PUT", "store", "/item/7").body("seven");
    /// ```
    pub fn new(method: &str, cluster: &str, path: &str) -> Self {
        let header = |name: &str, value: &str| (name.into(), value.into());
        Self {
            cluster: cluster.into(),
            headers: [
                header(":method", method),
                header(":path", path),
                header(":authority", cluster),
                header(":scheme", "http"),
            ]
            .into(),
            body: Vec::new(),
            trailers: Vec::new(),
            timeout: Self::TIMEOUT,
        }
    }

    /// A `GET`.
    ///
    /// ```
    /// let call = cofferdam_sdk::HttpCall::get("keys", "/.well-known/jwks.json");
    /// ```
    pub fn get(cluster: &str, path: &str) -> Self {
        Self::new("GET", cluster, path)
    }

    /// A `POST`.
    ///
    /// ```
    /// let call = cofferdam_sdk::HttpCall::post("log", "/lines").body("one\ntwo\n");
    /// ```
    pub fn post(cluster: &str, path: &str) -> Self {
        Self::new("POST", cluster, path)
    }

    /// With that header too; a pseudo-header is replaced.
    ///
    /// ```
    /// let call = cofferdam_sdk::HttpCall::get("keys", "/")
    ///     .header(":authority", "keys.example")
    ///     .header("accept", "application/json");
    /// ```
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        if name.starts_with(':') {
            self.headers.retain(|(found, _)| found != name);
            self.headers.insert(0, (name.into(), value.into()));
        } else {
            self.headers.push((name.into(), value.into()));
        }
        self
    }

    /// With that body; `content-length` is the host's.
    ///
    /// ```
    /// let call = cofferdam_sdk::HttpCall::post("log", "/").body("line");
    /// ```
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With that trailer too.
    ///
    /// ```
    /// let call = cofferdam_sdk::HttpCall::post("log", "/").trailer("x-checksum", "17");
    /// ```
    pub fn trailer(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.trailers.push((name.into(), value.into()));
        self
    }

    /// Waited for so long at most, to the millisecond; [`HttpCall::TIMEOUT`] by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// let call = cofferdam_sdk::HttpCall::get("a", "/").timeout(Duration::from_millis(50));
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
    /// [`Status::BadArgument`] where there is no such cluster, [`Status::InternalFailure`]
    /// where it cannot be sent now: then no answer comes.
    ///
    /// ```no_run
    /// let token = cofferdam_sdk::HttpCall::get("keys", "/").send()?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn send(&self) -> Result<u32, Status> {
        let milliseconds = self.timeout.as_millis().clamp(1, i32::MAX as u128) as u32;
        let token = raw::http_call(
            &self.cluster,
            &self.headers,
            &self.body,
            &self.trailers,
            milliseconds,
        )?;
        ambient::began(token);
        Ok(token)
    }
}

/// Nobody wants the answer to that call any more. The ABI cannot take a call back: the host
/// goes on with it, and what comes is dropped.
///
/// ```no_run
/// let token = cofferdam_sdk::HttpCall::get("keys", "/").send()?;
/// cofferdam_sdk::callout::forget(token);
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn forget(token: u32) {
    let _ = ambient::ended(token);
}

// === impl HttpCallResponse ===

impl HttpCallResponse {
    /// What the host has for the callback that runs.
    pub(crate) fn take(headers: u32, size: u32, trailers: u32) -> Self {
        let map = |count: u32, map| match count {
            0 => Pairs::new(),
            _ => raw::headers(map).unwrap_or_default(),
        };
        Self {
            headers: map(headers, MapType::HttpCallResponseHeaders),
            body: match size {
                0 => Vec::new(),
                _ => {
                    raw::buffer(BufferType::HttpCallResponseBody, 0, usize::MAX).unwrap_or_default()
                }
            },
            trailers: map(trailers, MapType::HttpCallResponseTrailers),
        }
    }

    /// Its status; `None` where no answer came at all. Hosts make 503 and 504 of most
    /// failures.
    ///
    /// ```no_run
    /// # fn f(response: cofferdam_sdk::HttpCallResponse) {
    /// let allowed = response.status() == Some(200);
    /// # }
    /// ```
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let status = self.header(":status")?;
        status.to_str().ok()?.parse().ok()
    }

    /// The first header of that name.
    ///
    /// ```no_run
    /// # fn f(response: cofferdam_sdk::HttpCallResponse) {
    /// let user = response.header("x-user");
    /// # }
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<HeaderValue> {
        let same = |(found, _): &&(Vec<u8>, Vec<u8>)| found.eq_ignore_ascii_case(name.as_bytes());
        let found = self.headers.iter().find(same)?;
        Some(HeaderValue::from(found.1.clone()))
    }

    /// All headers, in order.
    ///
    /// ```no_run
    /// # fn f(response: cofferdam_sdk::HttpCallResponse) {
    /// let count = response.headers().len();
    /// # }
    /// ```
    #[must_use]
    pub const fn headers(&self) -> &Pairs {
        &self.headers
    }

    /// The whole body.
    ///
    /// ```no_run
    /// # fn f(response: cofferdam_sdk::HttpCallResponse) {
    /// let size = response.body().len();
    /// # }
    /// ```
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole body, to keep.
    ///
    /// ```no_run
    /// # fn f(response: cofferdam_sdk::HttpCallResponse) {
    /// let keys: Vec<u8> = response.into_body();
    /// # }
    /// ```
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// All trailers, in order.
    ///
    /// ```no_run
    /// # fn f(response: cofferdam_sdk::HttpCallResponse) {
    /// let count = response.trailers().len();
    /// # }
    /// ```
    #[must_use]
    pub const fn trailers(&self) -> &Pairs {
        &self.trailers
    }
}
