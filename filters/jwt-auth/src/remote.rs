//! Keys that somebody else publishes: fetched when they are needed, kept for some time,
//! fetched again when a token names a key that is not among them.
//!
//! All fetches are made by one keeper beside all exchanges, so that none depends on the client
//! that happened to come first, and there is never more than one. Requests that need keys say
//! so and wait; the keeper wakes them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use cofferdam_sdk::callbacks;
use cofferdam_sdk::metrics::Counter;
use cofferdam_sdk::prelude::*;
use filters_common::Count;
use serde::Deserialize;

use crate::key::Keys;
use crate::refusal::Refusal;
use crate::token::Token;
use crate::uri::Uri;

/// No set of keys is larger.
const LARGEST: usize = 1 << 20;

/// Where keys are, and how long they are good.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote {
    /// Where they are: `https://idp.example.com/.well-known/jwks.json`. Host and path are sent;
    /// whether TLS is spoken is the cluster's matter.
    uri: Uri,
    /// The proxy's cluster that is asked.
    cluster: String,
    /// So long an answer is waited for.
    #[serde(default = "timeout")]
    timeout_ms: Count,
    /// So long keys are used. Towards the end they are fetched anew, if somebody uses them.
    #[serde(default = "cache")]
    cache_seconds: Count,
    /// So long passes at least between two fetches for keys that are not known.
    #[serde(default = "refetch")]
    refetch_seconds: Count,
    /// So long nobody asks again after a fetch that has failed.
    #[serde(default = "retry")]
    retry_seconds: Count,
    #[serde(skip)]
    state: State,
}

/// What the keeper and those who wait for it both know.
#[derive(Default)]
struct State {
    keys: RefCell<Option<Rc<Keys>>>,
    /// When they were fetched, and when it was last tried; since the epoch.
    fetched: Cell<Duration>,
    tried: Cell<Option<Duration>>,
    /// The last try has failed.
    failed: Cell<bool>,
    /// Somebody waits for a fetch that has not begun.
    wanted: Cell<bool>,
    /// A fetch has begun.
    running: Cell<bool>,
    /// Somebody has used the keys since they were fetched.
    used: Cell<bool>,
    /// So many fetches are over.
    rounds: Cell<u64>,
    /// The exchanges to wake when this one is.
    waiting: RefCell<Vec<u32>>,
}

const fn timeout() -> Count {
    Count(1_000)
}

const fn cache() -> Count {
    Count(600)
}

const fn refetch() -> Count {
    Count(30)
}

const fn retry() -> Count {
    Count(5)
}

const fn seconds(count: Count) -> Duration {
    Duration::from_secs(count.0 as u64)
}

// === impl Remote ===

/// For the exchanges.
impl Remote {
    /// # Errors
    /// When no key has signed it, or when there are none.
    pub(crate) async fn verify(&self, token: &Token, clock: &Clock) -> Result<(), Refusal> {
        let state = &self.state;
        state.used.set(true);
        let now = clock.now();
        let kept = self.fresh(now);
        match &kept {
            Some(keys) if keys.know(token) || !self.may_ask(now, self.refetch_seconds) => {
                return keys.verify(token);
            }
            None if state.failed.get() && !self.may_ask(now, self.retry_seconds) => {
                return Err(Refusal::KeysUnavailable);
            }
            _ => self.fetch(clock).await,
        }
        match self.fresh(clock.now()) {
            Some(keys) => keys.verify(token),
            None => Err(Refusal::KeysUnavailable),
        }
    }

    fn fresh(&self, now: Duration) -> Option<Rc<Keys>> {
        let age = now.saturating_sub(self.state.fetched.get());
        let keys = self.state.keys.borrow();
        keys.clone().filter(|_| age < seconds(self.cache_seconds))
    }

    /// Whether the last fetch is so long ago, or there is one to wait for anyway.
    fn may_ask(&self, now: Duration, pause: Count) -> bool {
        let tried = self.state.tried.get();
        self.state.running.get()
            || self.state.wanted.get()
            || tried.is_none_or(|tried| now.saturating_sub(tried) >= seconds(pause))
    }

    /// Waits until a fetch is over.
    async fn fetch(&self, clock: &Clock) {
        let state = &self.state;
        let round = state.rounds.get();
        state.waiting.borrow_mut().push(callbacks::context());
        if !state.running.get() {
            state.wanted.set(true);
            // The keeper looks whenever a timer goes off.
            clock.sleep(Duration::ZERO).await;
        }
        let over = poll_fn(|_| match state.rounds.get() == round {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        // The host ends a call that takes too long; this is for hosts that forget one.
        let limit = self.timeout() + Duration::from_secs(1);
        if clock.timeout(limit, over).await.is_err() {
            warn!("no answer to what was asked for keys");
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.timeout_ms.0))
    }
}

/// For the keeper.
impl Remote {
    async fn keep(&self, provider: &str, http: &Http, clock: &Clock) {
        let state = &self.state;
        loop {
            self.wanted(clock).await;
            state.wanted.set(false);
            state.running.set(true);
            state.used.set(false);
            state.tried.set(Some(clock.now()));
            let fetched = self.ask(http).await;
            let result = match fetched {
                Ok((keys, passed)) => {
                    for why in passed {
                        warn!("provider {provider}: passed over: {why}");
                    }
                    state.keys.replace(Some(Rc::new(keys)));
                    state.fetched.set(clock.now());
                    "fetched"
                }
                Err(why) => {
                    error!("provider {provider}: no keys: {why}");
                    "failed"
                }
            };
            state.failed.set(result == "failed");
            let counter = Counter::new("jwt_auth_keys");
            let labels = [("provider", provider), ("result", result)];
            if let Err(status) = counter.with(&labels).add(1) {
                debug!("jwt_auth_keys is not counted: {status}");
            }
            state.running.set(false);
            state.rounds.set(state.rounds.get() + 1);
            for exchange in state.waiting.take() {
                callbacks::wake(exchange);
            }
        }
    }

    /// Waits until somebody needs keys, or will soon.
    async fn wanted(&self, clock: &Clock) {
        let state = &self.state;
        let retry = seconds(self.retry_seconds);
        // A fetch that has failed is not repeated at once.
        let mut earliest = match state.failed.get() {
            true => clock.now() + retry,
            false => Duration::ZERO,
        };
        loop {
            let asked = poll_fn(|_| match state.wanted.get() {
                true => Poll::Ready(true),
                false => Poll::Pending,
            });
            if state.keys.borrow().is_none() {
                asked.await;
                return;
            }
            // At nine tenths of their time.
            let due = state.fetched.get() + seconds(self.cache_seconds) * 9 / 10;
            let pause = due.max(earliest).saturating_sub(clock.now());
            let slept = async {
                clock.sleep(pause).await;
                false
            };
            if race(asked, slept).await || state.used.get() {
                return;
            }
            // Nobody uses them now. Whoever comes when they are too old waits for new ones.
            if self.fresh(clock.now()).is_none() {
                state.keys.take();
            }
            earliest = clock.now() + retry;
        }
    }

    async fn ask(&self, http: &Http) -> Result<(Keys, Vec<String>), String> {
        let call = HttpCall::get(&self.cluster, self.uri.path())
            .header(":authority", self.uri.host())
            .header(":scheme", self.uri.scheme())
            .header("accept", "application/json")
            .timeout(self.timeout());
        let answer = http.call(call).await.map_err(|error| error.to_string())?;
        match answer.status() {
            Some(200) => {}
            Some(status) => return Err(format!("the answer is {status}")),
            None => return Err("no answer".to_owned()),
        }
        if answer.body().len() > LARGEST {
            return Err(format!("the answer has more than {LARGEST} bytes"));
        }
        Keys::published(answer.body())
    }
}

/// Keeps the keys of all who publish some.
pub(crate) async fn keep_all<'a>(
    remotes: impl Iterator<Item = (&'a str, &'a Remote)>,
    http: &Http,
    clock: &Clock,
) {
    let keeper = |(name, remote): (&'a str, &'a Remote)| {
        let keeper: Pin<Box<dyn Future<Output = ()> + '_>> =
            Box::pin(remote.keep(name, http, clock));
        keeper
    };
    let mut keepers: Vec<_> = remotes.map(keeper).collect();
    poll_fn(|cx| {
        keepers.retain_mut(|keeper| keeper.as_mut().poll(cx).is_pending());
        match keepers.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}
