//! Greets: a header on the request, another on the response.

use cofferdam_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whom to greet.
    #[serde(default = "world")]
    who: String,
}

fn world() -> String {
    "world".into()
}

#[filter]
pub async fn hello(config: &Config, mut request: Request) -> Result<Response> {
    request.headers_mut().set("x-hello", &config.who)?;
    let mut response = request.forward().await?;
    response.headers_mut().set("x-filter", "hello")?;
    Ok(response)
}
