//! Masks what is personal in bodies, as they stream by: `README.md` has the fields.
//!
//! `patterns.rs` says what is looked for, `mask.rs` looks, piece by piece. A body that cannot
//! be read, because it is compressed, is refused unless the rule says otherwise.

mod check;
mod mask;
mod patterns;
mod rule;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use cofferdam_sdk::callbacks::{Body as Piece, Data};
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::{Headers, StreamType, raw};
use filters_common::{Outcome, Target, problem, rule_name};
use serde::Deserialize;

use mask::Masker;
use rule::{Encoded, Rule, Shared};

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Masks nothing; counts what would be masked.
    #[serde(default)]
    dry_run: bool,
    /// The first that fits a request is followed, for the request and its response.
    rules: Vec<Shared>,
}

/// What becomes of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Mask,
    Pass,
    Refuse,
}

#[filter]
async fn pii_mask(config: &Config, mut request: Request<Body>) -> Result<Response<Body>> {
    let target = Target::default();
    let mut rules = config.rules.iter().enumerate();
    let Some((index, Shared(rule))) =
        rules.find(|(_, Shared(rule))| rule.settings.matches.covers(&target))
    else {
        return request.forward().await;
    };
    let work = Work {
        rule: rule.clone(),
        name: rule_name(rule.settings.name.as_deref(), index),
        outcome: Outcome {
            counter: "pii_mask",
            dry_run: config.dry_run,
        },
    };
    if rule.settings.request {
        match work.fate(request.headers()) {
            Fate::Refuse => {
                let detail = "a body that is compressed cannot be looked at";
                return Ok(problem(415, "encoded_body", detail).into());
            }
            Fate::Pass => {}
            Fate::Mask => {
                let waits = announces_trailers(request.headers());
                let mut map = work.map(StreamType::HttpRequest, waits);
                match config.dry_run {
                    true => request.watch_body(move |piece, last| {
                        map(piece, last);
                    }),
                    false => request.decide_body(map),
                }
            }
        }
    }
    if rule.settings.response && !config.dry_run {
        // What comes back is to be readable, and whole: half a number is not found.
        for name in ["accept-encoding", "range", "if-range"] {
            request.headers_mut().remove(name)?;
        }
    }
    let mut response = request.forward::<Body>().await?;
    if rule.settings.response {
        match work.fate(response.headers()) {
            Fate::Refuse => {
                let detail = "the response is compressed and cannot be looked at";
                return Ok(problem(502, "encoded_body", detail).into());
            }
            Fate::Pass => {}
            Fate::Mask => {
                let waits = announces_trailers(response.headers());
                let mut map = work.map(StreamType::HttpResponse, waits);
                match config.dry_run {
                    true => response.watch_body(move |piece, last| {
                        map(piece, last);
                    }),
                    false => response.decide_body(map),
                }
            }
        }
    }
    Ok(response)
}

/// So much of a line waits in the proxy where trailers are to follow, in bytes.
const LONGEST_WAIT: usize = 64 << 10;

fn announces_trailers(headers: &Headers) -> bool {
    headers.contains("trailer")
}

/// What is done for one exchange.
struct Work {
    rule: Rc<Rule>,
    name: String,
    outcome: Outcome,
}

// === impl Work ===

impl Work {
    fn fate(&self, headers: &Headers) -> Fate {
        let kind = headers.get("content-type").unwrap_or_default();
        if !self.rule.settings.reads(kind.as_bytes()) {
            return Fate::Pass;
        }
        let encoding = headers.get("content-encoding").unwrap_or_default();
        if encoding.as_bytes().is_empty() || encoding == "identity" {
            return Fate::Mask;
        }
        self.outcome.count(&self.name, "encoded");
        match self.rule.settings.encoded {
            Encoded::Refuse if !self.outcome.dry_run => Fate::Refuse,
            _ => Fate::Pass,
        }
    }

    /// What is called with every piece of a body. When trailers come no proxy takes bytes but in
    /// the place of others: where they are announced, a line `waits` there for its end.
    fn map(&self, stream: StreamType, waits: bool) -> impl FnMut(&mut Piece, bool) -> Data + use<> {
        let (name, outcome) = (self.name.clone(), self.outcome);
        let mut masker = Masker::new(self.rule.clone());
        let mut waits = waits && !outcome.dry_run;
        move |piece, last| {
            if waits && !last {
                let size = piece.len();
                if size > LONGEST_WAIT {
                    waits = false;
                } else if piece.range(size.saturating_sub(1), 1) != b"\n" {
                    return Data::Buffer;
                }
            }
            let before = piece.bytes();
            let after = masker.push(&before, last);
            for (kind, many) in masker.found() {
                outcome.count_many(&name, kind, many);
            }
            if outcome.dry_run || before == after {
                return Data::Continue;
            }
            if let Err(status) = piece.replace(&after) {
                // What was held back is lost: nobody shall take the rest for the whole.
                error!("a masked body cannot be passed on, the stream is cut: {status}");
                let _ = raw::close_stream(stream);
            }
            Data::Continue
        }
    }
}
