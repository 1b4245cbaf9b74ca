//! One exchange from its first byte to its last, as all the tasks that drive it share it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use cofferdam_abi::{Chain, Exchange, Failure, FailureReason, SharedExchange, Way};
use http::{HeaderMap, StatusCode};

use crate::access_log::{Flags, Noted, Record, Times};
use crate::config::Route;
use crate::facts::{Facts, Properties};
use crate::headers::{self, Invalid};
use crate::notes::Notes;
use crate::trace::Entered;
use crate::worker::Worker;

/// One exchange.
pub(crate) struct Flow {
    pub(crate) worker: Rc<Worker>,
    pub(crate) facts: Rc<Facts>,
    pub(crate) filters: Option<Filters>,
    /// Kept only where an access log wants it.
    log: Option<RefCell<Logged>>,
    /// When the last byte of the request had been handed to the upstream.
    request_complete: Cell<Option<Instant>>,
    last_activity: Cell<Instant>,
    /// Why the request's body ended before its end, if it did.
    broken: Cell<Option<Broken>>,
    /// A clock has run out on its response.
    cut: Cell<bool>,
    /// The exchange is over; whoever still sends its request is woken to hear it.
    finished: Cell<bool>,
    request_waker: RefCell<Option<Waker>>,
    /// Whoever waits for the response while the request is still being sent.
    response_waker: RefCell<Option<Waker>>,
    failure_told: Cell<bool>,
    decided_by: RefCell<Option<(String, &'static str)>>,
}

/// The chain of an exchange that has filters.
pub(crate) struct Filters {
    pub(crate) chain: RefCell<Chain>,
    pub(crate) exchange: SharedExchange,
    /// What becomes of fields that cannot be sent.
    pub(crate) invalid: Invalid,
    /// Whether framing follows a changed body.
    pub(crate) repair: bool,
}

/// What the access log says of a message that is long gone when it is written.
#[derive(Default)]
pub(crate) struct Logged {
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) request: HeaderMap,
    pub(crate) response: HeaderMap,
    pub(crate) trailers: Option<HeaderMap>,
    /// Only where the log's format asks for them.
    pub(crate) notes: Option<Box<Notes>>,
}

/// Whose fault it is that a request's body was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The client broke off, or broke the protocol.
    ByClient,
    /// Filters made another length of it than its headers had promised.
    ByFilters,
}

/// Ends the exchange when it goes: with the response's last byte, or with the client.
pub(crate) struct End(pub(crate) Rc<Flow>);

// === impl Flow ===

impl Flow {
    pub(crate) fn new(
        worker: Rc<Worker>,
        facts: Rc<Facts>,
        filters: Option<Filters>,
        logged: Option<Logged>,
    ) -> Rc<Self> {
        let begun = facts.begun;
        facts.listener().traffic.begun();
        facts.connection.requests.enter(begun);
        Rc::new(Self {
            worker,
            facts,
            filters,
            log: logged.map(RefCell::new),
            request_complete: Cell::new(None),
            last_activity: Cell::new(begun),
            broken: Cell::new(None),
            cut: Cell::new(false),
            finished: Cell::new(false),
            request_waker: RefCell::new(None),
            response_waker: RefCell::new(None),
            failure_told: Cell::new(false),
            decided_by: RefCell::new(None),
        })
    }

    /// Runs `step` on the chain, then sees to what it has brought about: a crash to be
    /// told, a timer to be set, the driver of the other way to be woken.
    pub(crate) fn with_chain<R>(&self, way: Way, step: impl FnOnce(&mut Chain) -> R) -> Option<R> {
        let filters = self.filters.as_ref()?;
        let _traced = self.traced();
        let mut chain = filters.chain.borrow_mut();
        let result = step(&mut chain);
        self.tell_failure(&chain);
        let other = match way {
            Way::Request => Way::Response,
            Way::Response => Way::Request,
        };
        if chain.has_output(other) || chain.is_reset() || chain.response_is_local() {
            filters.exchange.borrow_mut().wake(other);
        }
        drop(chain);
        self.worker.plugins.after_calls(&self.worker);
        Some(result)
    }

    /// The whole request has been handed on (or there never was more than its head).
    pub(crate) fn complete_request(&self) {
        if self.request_complete.get().is_none() {
            self.request_complete.set(Some(Instant::now()));
            if let Some(waker) = self.response_waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    pub(crate) fn request_complete(&self) -> Option<Instant> {
        self.request_complete.get()
    }

    /// Asks to be woken when the request is complete.
    pub(crate) fn watch_request(&self, waker: &Waker) {
        if self.request_complete.get().is_none() {
            *self.response_waker.borrow_mut() = Some(waker.clone());
        }
    }

    /// The request's body ends before its end.
    pub(crate) fn break_request(&self, by: Broken) {
        self.broken.set(Some(by));
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        self.broken.get()
    }

    /// The response ends before its end, for a reason that the log has been told.
    pub(crate) fn cut(&self) {
        self.cut.set(true);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Whether the exchange is over, its request sent or not.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// Asks to be woken when the exchange is over.
    pub(crate) fn watch_end(&self, waker: &Waker) {
        match &mut *self.request_waker.borrow_mut() {
            Some(held) => held.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn touch(&self) {
        self.last_activity.set(Instant::now());
    }

    pub(crate) fn last_activity(&self) -> Instant {
        self.last_activity.get()
    }

    /// Remembers a message's headers for the access log, where there is one.
    pub(crate) fn log_with(&self, write: impl FnOnce(&mut Logged)) {
        if let Some(logged) = &self.log {
            write(&mut logged.borrow_mut());
        }
    }

    /// Remembers what the log's format asks for, where it does.
    pub(crate) fn note(&self, write: impl FnOnce(&mut Notes)) {
        if let Some(logged) = &self.log
            && let Some(notes) = &mut logged.borrow_mut().notes
        {
            write(notes);
        }
    }

    /// Whether an access log will tell of it.
    pub(crate) fn is_logged(&self) -> bool {
        self.log.is_some()
    }

    /// The route that was chosen, if any.
    pub(crate) fn route(&self) -> Option<&Route> {
        let listener = self.facts.listener();
        listener.config.routes.get(self.facts.route.get()?)
    }

    /// The longest silence it may have, by its route.
    pub(crate) fn stream_idle_timeout(&self) -> Option<Duration> {
        const UNROUTED: Duration = Duration::from_secs(300);
        let route = self.route();
        route.map_or(Some(UNROUTED), |route| route.idle_timeout)
    }

    /// Until when all of it must be over, by its route.
    pub(crate) fn ends_by(&self) -> Option<Instant> {
        let longest = self.route()?.max_stream_duration?;
        Some(self.facts.begun + longest)
    }

    /// What guests ask for until it goes is on behalf of this request.
    fn traced(&self) -> Option<Entered<'_>> {
        let trace = self.facts.trace.as_ref()?;
        Some(self.worker.tracer.as_ref()?.enter(trace))
    }

    fn tell_failure(&self, chain: &Chain) {
        let Some(failure) = chain.failure() else {
            return;
        };
        if self.failure_told.replace(true) {
            return;
        }
        self.facts.flag(match &failure.reason {
            FailureReason::Trap(_) => Flags::WASM_FAILURE,
            FailureReason::TooLarge(_) => Flags::BODY_LIMIT,
        });
        *self.decided_by.borrow_mut() = Some((failure.plugin.name.clone(), failure.callback));
        self.report(failure);
    }

    fn report(&self, failure: &Failure) {
        let id = self.filters.as_ref().and_then(|filters| {
            let exchange = filters.exchange.borrow();
            let id = exchange
                .request_headers
                .as_ref()?
                .get(b"x-request-id")?
                .clone();
            Some(crate::reports::short(&id))
        });
        crate::reports::failure(failure, id.as_deref().unwrap_or("-"));
    }

    /// Log, done, delete for the filters; a line for the access log.
    fn finish(&self) {
        let facts = &self.facts;
        self.finished.set(true);
        let now = Instant::now();
        facts.connection.requests.leave(now);
        if let Some(waker) = self.request_waker.borrow_mut().take() {
            waker.wake();
        }
        facts
            .duration
            .set(Some(now.saturating_duration_since(facts.begun)));
        facts.last_received.set(Some(self.last_activity.get()));
        if let Some(filters) = &self.filters
            && let Ok(mut chain) = filters.chain.try_borrow_mut()
        {
            if let Some(details) = chain.details() {
                facts.overrule(details);
            }
            let asked_for = self.log.is_some() || facts.trace.is_some();
            if let Some((filter, callback)) = chain.answered_by().filter(|_| asked_for) {
                let mut decided_by = self.decided_by.borrow_mut();
                decided_by.get_or_insert_with(|| (filter.name.clone(), callback));
            }
            for failure in chain.end() {
                self.report(&failure);
            }
            // Whoever still sends this request has nobody left to send it through.
            filters.exchange.borrow_mut().wake(Way::Request);
            drop(chain);
            self.worker.plugins.after_calls(&self.worker);
        }
        facts.listener().traffic.finished(facts);
        self.tell_loggers();
        self.write_log();
        if let (Some(tracer), Some(trace)) = (&self.worker.tracer, &facts.trace) {
            let decided_by = self.decided_by.borrow();
            let decided_by = decided_by
                .as_ref()
                .map(|(filter, callback)| (&filter[..], *callback));
            tracer.finish(trace, facts, decided_by);
        }
    }

    /// The access log filters of the listener.
    fn tell_loggers(&self) {
        let loggers = &self.facts.listener().config.access_log_filters;
        if loggers.is_empty() {
            return;
        }
        let exchange = match (&self.filters, &self.log) {
            // What filters have stored for each other is there too.
            (Some(filters), _) => filters.exchange.clone(),
            (None, Some(logged)) => logged.borrow().exchange(&self.facts),
            (None, None) => return,
        };
        let plugins = &self.worker.plugins;
        plugins.log(&self.worker, &self.facts.setup, loggers, &exchange);
    }

    fn write_log(&self) {
        let (Some(sink), Some(logged)) = (&self.facts.setup.sink, &self.log) else {
            return;
        };
        let facts = &self.facts;
        if let Some(received) = &facts.connection.received {
            self.note(|notes| notes.client_sent(Some(received.take())));
        }
        let logged = logged.borrow();
        let details = facts.details.borrow();
        let decided_by = self.decided_by.borrow();
        let transport_failure = facts.transport_failure.borrow();
        let upstream_tls = facts.upstream_tls.borrow();
        let connection = &facts.connection;
        let notes = logged.notes.as_deref();
        let trailers = logged.trailers.as_ref();
        let upstream_protocol = facts.upstream_protocol.get();
        let times = Times {
            begun: Some(facts.begun),
            request_complete: self.request_complete.get(),
            upstream_begun: facts.first_sent.get(),
            response_begun: facts.responded.get(),
            pool_ready: facts.pool_ready.get(),
            ..Times::default()
        };
        let shared = upstream_protocol == Some(http::Version::HTTP_2);
        // Where filters have seen none, one is made of what the log remembers.
        let made = match &self.filters {
            None if sink.is_evaluated() => Some(logged.exchange(facts)),
            _ => None,
        };
        let made = made.as_ref().map(|made| made.borrow());
        let exchange = self
            .filters
            .as_ref()
            .map(|filters| filters.exchange.borrow());
        let record = Record {
            times: notes.map_or(times, |notes| notes.times(times)),
            noted: notes.map_or_else(Noted::default, |notes| notes.noted(trailers, shared)),
            upstream_protocol,
            filter_state: exchange.as_ref().map(|exchange| &exchange.filter_state),
            exchange: exchange.as_deref().or(made.as_deref()),
            duration: facts.duration.get().unwrap_or_default(),
            protocol: facts.protocol,
            method: logged.method.as_str(),
            scheme: connection.scheme(),
            authority: &logged.authority,
            path: &logged.path,
            request_headers: &logged.request,
            response_headers: Some(&logged.response),
            response_trailers: trailers,
            status: facts.status.get(),
            details: std::str::from_utf8(&details)
                .ok()
                .filter(|text| !text.is_empty()),
            flags: facts.flags.get(),
            bytes_received: facts.received.get(),
            bytes_sent: facts.sent.get(),
            upstream_host: facts.upstream.get(),
            upstream_local: facts.upstream_local.get(),
            attempts: facts.attempts.get(),
            span: facts.trace.as_ref().map(|trace| trace.ids()),
            transport_failure: Some(&transport_failure),
            upstream_tls: upstream_tls.as_deref(),
            upstream_cluster: facts
                .cluster
                .get()
                .and_then(|cluster| facts.setup.cluster_name(cluster)),
            route: facts
                .route
                .get()
                .and_then(|route| facts.setup.route_name(facts.listener, route)),
            decided_by: decided_by
                .as_ref()
                .map(|(filter, callback)| (&filter[..], *callback)),
            ..connection.record(facts.wall)
        };
        sink.record(&record);
        facts.setup.flush_log_soon();
    }
}

// === impl Logged ===

impl Logged {
    pub(crate) fn of(head: &http::request::Parts, notes: Option<Box<Notes>>) -> Self {
        Self {
            notes,
            method: head.method.clone(),
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            authority: headers::authority(&head.uri, &head.headers).to_owned(),
            request: head.headers.clone(),
            ..Self::default()
        }
    }

    /// The exchange as filters would have seen it, for one that had none.
    fn exchange(&self, facts: &Rc<Facts>) -> SharedExchange {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        let scheme = facts.connection.scheme();
        let request =
            headers::request_map(&self.method, scheme, &self.authority, path, &self.request);
        let attributes = Box::new(Properties(facts.clone()));
        let mut exchange = Exchange::new(request, attributes);
        let status = facts.status.get();
        if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
            let response = headers::response_map(status, &self.response);
            exchange.response_headers = Some(response);
        }
        let trailers = self.trailers.as_ref();
        exchange.response_trailers = trailers.map(headers::trailers_map);
        exchange.share()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let facts = &self.0.facts;
        let reset = facts.flags.get().contains(Flags::LOCAL_RESET);
        if facts.status.get().is_none() && !reset {
            let why = facts.disconnected();
            facts.explain(&why);
        }
        self.0.finish();
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("End").finish()
    }
}
