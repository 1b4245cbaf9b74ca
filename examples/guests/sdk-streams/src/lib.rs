//! Sends a request's body to another server over a gRPC stream, piece by piece, and lets go on
//! what comes back. Trailers of both ways say what came of it.
//!
//! ```json
//! { "cluster": "scanner", "service": "test.Scan", "method": "Chat" }
//! ```
//! For each message the server sends one back. When it ends the stream by itself, the client
//! gets 503.

use cofferdam_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who is sent the bodies.
    cluster: String,
    /// The service, with its package.
    #[serde(default = "service")]
    service: String,
    /// Its method.
    #[serde(default = "method")]
    method: String,
}

fn service() -> String {
    "test.Scan".into()
}

fn method() -> String {
    "Chat".into()
}

#[filter(on_error = 503)]
pub async fn scan(
    config: &Config,
    request: Request<Body>,
    streams: GrpcStreams,
) -> Result<Response<Body>> {
    let Config {
        cluster,
        service,
        method,
    } = config;
    let (mut pieces, mut verdicts) =
        streams.open(cluster, service, method, &[("x-meta", "data")])?;
    let refuses = request.headers().contains("x-refuse");
    let mut request = request.stream();
    while let Some(mut piece) = request.chunk().await {
        if piece.bytes().is_empty() {
            continue;
        }
        pieces.send(piece.bytes())?;
        let verdict = verdicts.next().await?;
        piece.replace(&verdict.unwrap_or_default())?;
        if refuses {
            return Ok(Response::new(403)); // and the stream is cancelled
        }
    }
    pieces.close();
    let hello = verdicts.initial_metadata().await?.len();
    let last = verdicts.next().await?.unwrap_or_default();
    let (status, trailing) = verdicts.finish().await;
    let said = format!(
        "{} {} {} {}",
        String::from_utf8_lossy(&last),
        status.code(),
        hello > 0,
        !trailing.is_empty(),
    );
    if let Some(mut trailers) = request.trailers().await
        && trailers.contains("x-t")
    {
        trailers.set("x-scanned", &said)?;
        trailers.remove("x-t")?;
    }
    let mut response = request.forward().await?.stream();
    if let Some(mut trailers) = response.trailers().await {
        trailers.add("x-scanned", &said)?;
    }
    Ok(response.finish())
}
