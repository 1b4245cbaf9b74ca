//! A case that goes through the callbacks one by one, as Google's plugin tester does, and
//! looks at what has become of headers and body after each.
//!
//! The filter runs in a chain as in a proxy, which makes two differences. A stream always has
//! a request first: where a case begins with the response, the filter is shown an empty
//! request. And an immediate reply passes back through the filter's response callbacks.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{HttpCall, HttpOutcome};
use cofferdam_abi::harness::{Engine, Peers, Properties, Record, TestHost, World};
use cofferdam_abi::{Chain, Exchange, Failure, Headers, Module, Part, Way};

use super::compare::{self, Wrong};
use super::suite::{Filter, Place, Wanted};
use super::{Verdict, exchange, module};

/// Such a case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) place: Place,
    pub(super) filter: Filter,
    /// In seconds since the epoch.
    pub(super) now: Option<u64>,
    pub(super) properties: Vec<(Vec<Bytes>, Bytes)>,
    pub(super) request_headers: Option<Phase<Headers>>,
    pub(super) request_body: Vec<Phase<Vec<Bytes>>>,
    pub(super) response_headers: Option<Phase<Headers>>,
    pub(super) response_body: Vec<Phase<Vec<Bytes>>>,
    pub(super) plugin_init: Wish,
    pub(super) stream_init: Wish,
    pub(super) stream_destroy: Wish,
}

/// What comes in, and what must come of it.
#[derive(Debug)]
pub(super) struct Phase<T> {
    pub(super) input: T,
    pub(super) wish: Wish,
}

/// What must come of a phase. Pairs with `true`: nothing may be so.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) place: Place,
    pub(super) headers: Vec<(Vec<u8>, Wanted)>,
    /// Of headers written as `name: value`.
    pub(super) lines: Vec<(Wanted, bool)>,
    pub(super) body: Vec<(Wanted, bool)>,
    pub(super) log: Vec<(Wanted, bool)>,
    pub(super) immediate: Option<Immediate>,
}

/// What an immediate reply must be.
#[derive(Debug, Default)]
pub(super) struct Immediate {
    pub(super) http_status: Option<u64>,
    pub(super) grpc_status: Option<u64>,
    pub(super) details: Option<String>,
}

/// The case as it goes on.
struct Run<'c> {
    case: &'c Case,
    host: Rc<TestHost>,
    world: World,
    chain: Chain,
    records: Vec<Record>,
    wrong: Wrong,
    /// The request's headers have been shown.
    begun: bool,
    /// The failure that is among what is wrong.
    told: Option<Failure>,
}

/// Nobody answers callouts here.
struct Nobody;

impl Peers for Nobody {
    fn http(&mut self, _call: &HttpCall) -> (Duration, HttpOutcome) {
        (Duration::from_millis(2), HttpOutcome::NoEndpoint)
    }
}

/// Runs it on an engine.
pub(super) fn run(case: &Case, module: &Rc<Module>, engine: Engine) -> Verdict {
    let host = TestHost::new(&[], None);
    if let Some(level) = case.filter.log_level {
        host.set_level(level);
    }
    if let Some(now) = case.now {
        host.set_time(Duration::from_secs(now));
    }
    let mut verdict = Verdict::default();
    let mut world = World::new(host.clone(), Box::new(Nobody));
    let loaded = module::spec(&case.filter, module, engine)
        .and_then(|spec| world.load(spec).map_err(|error| error.to_string()));
    let records = host.take_records();
    let handles = match loaded {
        Ok(()) => world.handles(),
        Err(why) => {
            verdict
                .wrong
                .push(format!("{}: the filter does not start: {why}", case.place));
            None
        }
    };
    let Some((handles, done_before_log)) = handles else {
        exchange::note(&records, &host, &mut verdict);
        return verdict;
    };
    log(&case.plugin_init, &records, &mut verdict.wrong);
    let properties = Box::new(Properties::given(case.properties.clone()));
    let exchange = Exchange::new(Headers::default(), properties).share();
    let chain = Chain::begin(exchange, handles, done_before_log);
    let mut run = Run {
        case,
        host: host.clone(),
        world,
        chain,
        records,
        wrong: verdict.wrong,
        begun: false,
        told: None,
    };
    run.all();
    verdict.wrong = run.wrong;
    exchange::note(&run.records, &host, &mut verdict);
    verdict
}

// === impl Run ===

impl Run<'_> {
    fn all(&mut self) {
        let case = self.case;
        self.world.settle();
        let fresh = self.fresh();
        log(&case.stream_init, &fresh, &mut self.wrong);
        if let Some(phase) = &case.request_headers {
            self.request(phase.input.clone());
            self.look(&phase.wish, Way::Request, true, None);
        }
        self.bodies(&case.request_body, Way::Request);
        if let Some(phase) = &case.response_headers {
            self.response(phase.input.clone());
            self.look(&phase.wish, Way::Response, true, None);
        }
        self.bodies(&case.response_body, Way::Response);
        self.chain.end();
        self.world.settle();
        let fresh = self.fresh();
        log(&case.stream_destroy, &fresh, &mut self.wrong);
        self.world.shut_down();
        self.fresh();
        let told = self.told.as_ref();
        exchange::crashed(&case.place, &self.host, told, &mut self.wrong);
    }

    fn bodies(&mut self, phases: &[Phase<Vec<Bytes>>], way: Way) {
        for phase in phases {
            match way {
                Way::Request if !self.begun => self.request(Headers::default()),
                Way::Response if self.chain.exchange().borrow().response_headers.is_none() => {
                    self.response(Headers::default());
                }
                _ => {}
            }
            // What was said before this phase is not its own.
            self.fresh();
            while self.chain.pop(way).is_some() {}
            let mut out = Vec::new();
            for (index, bytes) in phase.input.iter().enumerate() {
                let end = index + 1 == phase.input.len();
                let bytes = bytes.clone();
                self.chain.push(way, Part::Data { bytes, end });
                self.world.settle();
                while let Some(part) = self.chain.pop(way) {
                    if let Part::Data { bytes, .. } = part {
                        out.extend_from_slice(&bytes);
                    }
                }
            }
            self.look(&phase.wish, way, false, Some(out.into()));
        }
    }

    fn request(&mut self, headers: Headers) {
        self.begun = true;
        self.chain.exchange().borrow_mut().request_headers = Some(headers);
        self.chain.push(Way::Request, Part::Headers { end: false });
        self.world.settle();
    }

    fn response(&mut self, headers: Headers) {
        if !self.begun {
            self.request(Headers::default());
            self.fresh();
        }
        if self.chain.response_is_local() {
            return;
        }
        self.chain.exchange().borrow_mut().response_headers = Some(headers);
        self.chain.push(Way::Response, Part::Headers { end: false });
        self.world.settle();
    }

    /// What has come of a phase.
    fn look(&mut self, wish: &Wish, way: Way, head: bool, body: Option<Bytes>) {
        let fresh = self.fresh();
        if let Some(failure) = self.chain.failure() {
            let why = exchange::reason(failure);
            self.told = Some(failure.clone());
            self.wrong
                .push(format!("{}: the filter failed: {why}", wish.place));
        }
        let local = self.chain.response_is_local();
        match (&wish.immediate, local) {
            (None, true) => {
                let line = format!(
                    "{}: there was an immediate reply, and none was expected",
                    wish.place
                );
                self.wrong.push(line);
            }
            (Some(_), false) => {
                let line = format!("{}: expected an immediate reply, got none", wish.place);
                self.wrong.push(line);
            }
            _ => {}
        }
        let exchange = self.chain.exchange().clone();
        let exchange = exchange.borrow();
        let map = match way {
            _ if local => &exchange.response_headers,
            Way::Request => &exchange.request_headers,
            Way::Response => &exchange.response_headers,
        };
        let map = map.clone().unwrap_or_default();
        if head || local {
            headers(wish, &map, &mut self.wrong);
        }
        let body = match local {
            true => self.reply_body(),
            false => body.unwrap_or_default(),
        };
        texts(
            &wish.body,
            "body",
            std::slice::from_ref(&body),
            &mut self.wrong,
        );
        if let (Some(immediate), true) = (&wish.immediate, local) {
            self.immediate(&wish.place, immediate, &map);
        }
        log(wish, &fresh, &mut self.wrong);
    }

    /// The body of the reply that was made here.
    fn reply_body(&mut self) -> Bytes {
        let mut out = Vec::new();
        while let Some(part) = self.chain.pop(Way::Response) {
            if let Part::Data { bytes, .. } = part {
                out.extend_from_slice(&bytes);
            }
        }
        out.into()
    }

    fn immediate(&mut self, place: &Place, wanted: &Immediate, headers: &Headers) {
        let number = |name: &[u8]| {
            let text = std::str::from_utf8(headers.get(name)?).ok()?;
            text.parse::<u64>().ok()
        };
        let numbers = [
            ("http_status", wanted.http_status, number(b":status")),
            ("grpc_status", wanted.grpc_status, number(b"grpc-status")),
        ];
        for (name, wanted, seen) in numbers {
            if wanted.is_some() && wanted != seen {
                let shown = |number: Option<u64>| {
                    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
                };
                let (wanted, seen) = (shown(wanted), shown(seen));
                self.wrong
                    .push(format!("{place}: {name}: expected {wanted}, got {seen}"));
            }
        }
        if let Some(wanted) = &wanted.details {
            let seen = self.chain.details().cloned().unwrap_or_default();
            // The host puts a name of the guest's in front where the guest gives none.
            if !wanted.is_empty() && *wanted.replace(' ', "_") != *String::from_utf8_lossy(&seen) {
                let seen = compare::show(&seen);
                self.wrong
                    .push(format!("{place}: details: expected {wanted:?}, got {seen}"));
            }
        }
    }

    /// What was said since this was last asked.
    fn fresh(&mut self) -> Vec<Record> {
        let fresh = self.host.take_records();
        self.records.extend(fresh.iter().cloned());
        fresh
    }
}

/// Values of one name are one value, parted by commas (RFC 9110, section 5.3).
fn headers(wish: &Wish, seen: &Headers, wrong: &mut Wrong) {
    for (name, wanted) in &wish.headers {
        let value = joined(seen, name);
        compare::value(wanted, value.as_slice(), wrong);
    }
    let mut lines: Vec<Bytes> = Vec::new();
    for (name, _) in seen.entries() {
        let value = joined(seen, name).unwrap_or_default();
        let line = [name, &b": "[..], &value].concat();
        lines.push(line.into());
    }
    texts(&wish.lines, "header", &lines, wrong);
}

fn joined(seen: &Headers, name: &[u8]) -> Option<Bytes> {
    let values: Vec<&[u8]> = seen.get_all(name).map(|value| &**value).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]).into())
}

fn log(wish: &Wish, records: &[Record], wrong: &mut Wrong) {
    let texts_seen: Vec<Bytes> = records.iter().map(|record| record.text.clone()).collect();
    texts(&wish.log, "record", &texts_seen, wrong);
}

/// One of the texts must be so, or none of them.
fn texts(wanted: &[(Wanted, bool)], what: &str, seen: &[Bytes], wrong: &mut Wrong) {
    for (wanted, none) in wanted {
        let fits = |text: &Bytes| {
            let mut differences = Wrong::new();
            compare::value(wanted, std::slice::from_ref(text), &mut differences);
            differences.is_empty()
        };
        match (seen.iter().find(|text| fits(text)), none) {
            (Some(text), true) => {
                let text = compare::show(text);
                wrong.push(format!("{}: there is such a {what}: {text}", wanted.place));
            }
            (None, false) => compare::value(wanted, seen, wrong),
            _ => {}
        }
    }
}
