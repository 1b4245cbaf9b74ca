//! Changes headers of requests and responses: `README.md` has the fields.
//!
//! Of one message the changes are made in this order, whatever the order in the file: remove,
//! rename, map, set, add, append. Rules follow each other, and see what those before them
//! have made.

mod changes;
#[cfg(test)]
mod tests;

use cofferdam_sdk::prelude::*;
use filters_common::{Captured, Match, Outcome, Target, rule_name};
use serde::Deserialize;

use changes::Changes;

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Changes nothing; counts and logs what would be changed.
    #[serde(default)]
    dry_run: bool,
    /// Every rule that fits is followed, in order.
    rules: Vec<Rule>,
}

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// For its metric; its place in the list if it has none.
    name: Option<String>,
    /// The requests it is for; all, if it is left out.
    #[serde(default, rename = "match")]
    matches: Match,
    /// What is changed of the request before it goes on.
    #[serde(default)]
    request: Changes,
    /// What is changed of the response before it goes back.
    #[serde(default)]
    response: Changes,
}

#[filter]
async fn header_transform(config: &Config, mut request: Request) -> Result<Response> {
    let target = Target::default();
    let rules = config.rules.iter().enumerate();
    // As the request came: what rules change of it does not change which of them fit.
    let fitting: Vec<_> = rules
        .filter(|(_, rule)| rule.matches.covers(&target))
        .collect();
    let outcome = Outcome {
        counter: "header_transform",
        dry_run: config.dry_run,
    };
    for (index, rule) in &fitting {
        let now = Captured::default();
        if rule
            .request
            .apply(request.headers_mut(), &now, config.dry_run)?
        {
            outcome.count(&rule_name(rule.name.as_deref(), *index), "request");
        }
    }
    let mut captured = Captured::default();
    for (_, rule) in &fitting {
        rule.response.capture(&mut captured);
    }
    let mut response = request.forward().await?;
    for (index, rule) in &fitting {
        if rule
            .response
            .apply(response.headers_mut(), &captured, config.dry_run)?
        {
            outcome.count(&rule_name(rule.name.as_deref(), *index), "response");
        }
    }
    Ok(response)
}
