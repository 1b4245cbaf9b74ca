//! Adds a member to JSON objects: `"seen"` to a request's, `"by"` to a response's. What is no
//! object goes on as it is.

use cofferdam_sdk::prelude::*;
use serde_json::{Map, Value};

/// Most bytes of a body.
const LIMIT: usize = 64 << 10;

#[filter]
pub async fn json(mut request: Request<Held>) -> Result<Response<Held>> {
    if request.method() == "POST"
        && let Ok(mut object) = request.json::<Map<String, Value>>(LIMIT).await
    {
        object.insert("seen".into(), true.into());
        request.set_json(&object)?;
    }
    let mut response = request.forward().await?;
    if let Ok(mut object) = response.json::<Map<String, Value>>(LIMIT).await {
        object.insert("by".into(), "sdk-json".into());
        response.set_json(&object)?;
    }
    Ok(response)
}
