//! Reads a whole request before any of it leaves, asks another cluster about it, and writes
//! a line under the response.
//!
//! ```json
//! { "cluster": "authz", "limit": 1024, "timeout_ms": 200 }
//! ```
//! The path of the question is the request's header `x-check`; any answer but 200 is 403 for
//! the client, none in time is 504, and a body past the limit 413. What goes on to the
//! upstream is in capitals.

use std::time::Duration;

use cofferdam_sdk::filter::BodyError;
use cofferdam_sdk::metrics::Counter;
use cofferdam_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whom to ask.
    cluster: String,
    /// Most bytes of a request's body.
    #[serde(default = "limit")]
    limit: usize,
    /// How long to wait for an answer.
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
}

const fn limit() -> usize {
    1024
}

const fn timeout_ms() -> u64 {
    200
}

static ASKED: Counter = Counter::new("sdk_guard_asked");

#[filter]
pub async fn guard(
    config: &Config,
    mut request: Request<Held>,
    http: Http,
    clock: Clock,
) -> Result<Response<Body>> {
    let body = match request.body(config.limit).await {
        Err(BodyError::TooLarge { .. }) => return Ok(Response::new(413)),
        body => body?,
    };
    let path = request.headers().get("x-check").unwrap_or_default();
    let question = HttpCall::post(&config.cluster, &path.lossy()).body(body.clone());
    let timeout = Duration::from_millis(config.timeout_ms);
    let Ok(answer) = clock.timeout(timeout, http.call(question)).await else {
        return Ok(Response::new(504).with_body("nobody answers"));
    };
    let status = answer?.status().unwrap_or(0);
    ASKED.with(&[("status", &status.to_string())]).add(1)?;
    if status != 200 {
        return Ok(Response::new(403).with_body("no"));
    }
    if !body.is_empty() {
        request.set_body(&body.to_ascii_uppercase())?;
    }
    let mut response = request.forward().await?;
    response.map_body(|piece, last| {
        if last && let Err(status) = piece.append(b"\n-- checked\n") {
            warn!("nothing written under it: {status}");
        }
    });
    Ok(response)
}
