//! Limits how often clients may ask: `README.md` has the fields.
//!
//! Each rule has a token bucket for each value of its key, in the data that all workers share
//! (`bucket.rs`). Nothing is asked of anybody else, and a host that gives no shared data lets
//! everything through.

mod bucket;
mod number;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};

use cofferdam_sdk::kv::{self, KvError};
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::{property, raw};
use filters_common::{Count, Match, Outcome, Target, Variable, problem, rule_name};
use serde::Deserialize;

use bucket::{Bucket, Taken};
use number::Status;

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Refuses nobody; counts and logs who would be refused.
    #[serde(default)]
    dry_run: bool,
    /// The status of a refusal, 400 to 599; 429 if it is left out.
    #[serde(default)]
    status: Status,
    /// What a refusal says to people.
    #[serde(default = "message")]
    message: String,
    /// Whether responses say what is left: `ratelimit-limit`, `-remaining` and `-reset`.
    #[serde(default = "yes")]
    headers: bool,
    /// Every rule that fits takes its token; the first that has none refuses.
    rules: Vec<Rule>,
}

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// For its metric and its buckets; its place in the list if it has none.
    name: Option<String>,
    /// The requests it is for; all, if it is left out.
    #[serde(default, rename = "match")]
    matches: Match,
    /// What has a bucket of its own: `header.x-api-key`, `cookie.session`, `ip`, `consumer`,
    /// `route` and others; several together; none: one bucket for all.
    #[serde(default)]
    key: Vec<Variable>,
    /// So many requests in each period.
    limit: Count,
    /// The period.
    per: Period,
    /// So many at once after a pause; the limit, if it is left out.
    burst: Option<Count>,
    /// So many buckets are kept at most.
    #[serde(default = "max_keys")]
    max_keys: Count,
}

#[derive(Deserialize, Schema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

fn message() -> String {
    "too many requests".to_owned()
}

const fn yes() -> bool {
    true
}

const fn max_keys() -> Count {
    Count(65_536)
}

#[filter]
async fn local_rate_limit(config: &Config, request: Request) -> Result<Response> {
    let target = Target::default();
    let outcome = Outcome {
        counter: "local_rate_limit",
        dry_run: config.dry_run,
    };
    let mut tightest: Option<(&Rule, Taken)> = None;
    for (index, rule) in config.rules.iter().enumerate() {
        if !rule.matches.covers(&target) {
            continue;
        }
        let name = rule_name(rule.name.as_deref(), index);
        let taken = match rule.take(&name) {
            Ok(taken) => taken,
            Err(error) => {
                warn!("rule {name} lets through what it cannot count: {error}");
                outcome.count(&name, "error");
                continue;
            }
        };
        if !taken.allowed {
            outcome.count(&name, "limited");
            if config.dry_run {
                info!("dry run: rule {name} would refuse");
                continue;
            }
            return Ok(config.refusal(rule, &taken));
        }
        outcome.count(&name, "allowed");
        if tightest.is_none_or(|(_, least)| taken.remaining < least.remaining) {
            tightest = Some((rule, taken));
        }
    }
    let mut response = request.forward().await?;
    if config.headers
        && !config.dry_run
        && let Some((rule, taken)) = tightest
    {
        for (name, value) in rule.headers(&taken) {
            response.headers_mut().set(name, value.to_string())?;
        }
    }
    Ok(response)
}

// === impl Config ===

impl Config {
    fn refusal(&self, rule: &Rule, taken: &Taken) -> Response {
        let mut reply = problem(self.status.0, "rate_limited", &self.message);
        reply = reply.header("retry-after", taken.retry.to_string());
        if self.headers {
            for (name, value) in rule.headers(taken) {
                reply = reply.header(name, value.to_string());
            }
        }
        reply.into()
    }
}

// === impl Rule ===

impl Rule {
    /// Takes a token of the request's bucket.
    fn take(&self, name: &str) -> Result<Taken> {
        let bucket = self.bucket();
        let now = raw::current_time_nanoseconds()?;
        let mut hasher = DefaultHasher::new();
        for variable in &self.key {
            variable.value().hash(&mut hasher);
        }
        let key = hasher.finish();
        let slot = key % u64::from(self.max_keys.0);
        // Plugins that share data do not share buckets.
        let plugin = property::text(&["plugin_name"]).unwrap_or_default();
        let place = format!("local-rate-limit/{}/{name}/{slot}", plugin.lossy());
        let mut taken = None;
        let kept: Result<_, KvError> = kv::update(&place, |old| {
            let (after, state) = bucket.take(old, key, now);
            taken = Some(after);
            state
        });
        kept?;
        taken.ok_or_else(|| Error::new("no bucket"))
    }

    fn bucket(&self) -> Bucket {
        Bucket::new(
            self.per.seconds(),
            self.limit.0,
            self.burst.unwrap_or(self.limit).0,
        )
    }

    fn headers(&self, taken: &Taken) -> [(&'static str, u64); 3] {
        [
            ("ratelimit-limit", u64::from(self.limit.0)),
            ("ratelimit-remaining", taken.remaining),
            ("ratelimit-reset", taken.reset),
        ]
    }
}

// === impl Period ===

impl Period {
    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}
