//! One connection from its first byte to its last, as both ways share it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_abi::{Failure, Peer, SharedExchange, TcpChain, Way};

use super::Over;
use crate::access_log::{Flags, Record};
use crate::facts::Facts;
use crate::notes::Notes;
use crate::worker::Worker;

/// One connection; when it goes, its filters end and the access log has its line.
pub(super) struct Relay {
    pub(super) worker: Rc<Worker>,
    pub(super) facts: Rc<Facts>,
    pub(super) filters: Option<Filters>,
    last_activity: Cell<Instant>,
    closed_by: Cell<Peer>,
    /// Why it was closed here, and why the connection to the upstream was.
    closed_here: Cell<(Option<&'static str>, Option<&'static str>)>,
    /// Only where the log's format asks for them.
    notes: Option<RefCell<Notes>>,
    failure_told: Cell<bool>,
    decided_by: RefCell<Option<(String, &'static str)>>,
}

/// The chain of a connection that has filters.
pub(crate) struct Filters {
    pub(crate) chain: RefCell<TcpChain>,
    pub(crate) exchange: SharedExchange,
}

// === impl Relay ===

impl Relay {
    pub(super) fn new(worker: Rc<Worker>, facts: Rc<Facts>, filters: Option<Filters>) -> Self {
        let begun = facts.begun;
        let noted = facts.setup.takes_notes();
        Self {
            worker,
            facts,
            filters,
            notes: noted.then(RefCell::default),
            closed_here: Cell::default(),
            last_activity: Cell::new(begun),
            // What ends without a word (the process, a deadline) ends here.
            closed_by: Cell::new(Peer::Local),
            failure_told: Cell::new(false),
            decided_by: RefCell::new(None),
        }
    }

    /// Runs `step` on the chain, then sees to what it has brought about: a crash to be
    /// told, a timer to be set, the driver of the other way to be woken.
    pub(super) fn with_chain<R>(
        &self,
        filters: &Filters,
        way: Way,
        step: impl FnOnce(&mut TcpChain) -> R,
    ) -> R {
        let other = match way {
            Way::Request => Way::Response,
            Way::Response => Way::Request,
        };
        let mut chain = filters.chain.borrow_mut();
        let had_output = chain.has_output(other);
        let result = step(&mut chain);
        // Only when it is news: a driver that cannot send would be woken for ever.
        if chain.has_output(other) && !had_output {
            filters.exchange.borrow_mut().wake(other);
        }
        if let Some(failure) = chain.failure()
            && !self.failure_told.replace(true)
        {
            self.facts.flag(Flags::WASM_FAILURE);
            let decided_by = (failure.plugin.name.clone(), failure.callback);
            *self.decided_by.borrow_mut() = Some(decided_by);
            self.report(failure);
        }
        drop(chain);
        self.worker.plugins.after_calls(&self.worker);
        result
    }

    /// Waits until every filter has let the connection go; `false` when it is to be closed.
    pub(super) async fn opened(&self) -> bool {
        let Some(filters) = &self.filters else {
            return true;
        };
        poll_fn(|cx| {
            if self.poll_closed(Way::Request, cx).is_ready() {
                return Poll::Ready(false);
            }
            if filters.chain.borrow().is_open() {
                return Poll::Ready(true);
            }
            Poll::Pending
        })
        .await
    }

    /// Waits until a filter closes the connection.
    pub(super) async fn closed(&self) {
        poll_fn(|cx| self.poll_closed(Way::Request, cx)).await;
    }

    /// Ready once a filter has closed the connection. Whoever drives it is woken by that,
    /// and with it this.
    pub(super) async fn closing(&self) {
        poll_fn(|_| {
            if self.is_closing() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether a filter closes the connection; the driver of `way` is woken if one does.
    pub(super) fn poll_closed(&self, way: Way, cx: &Context<'_>) -> Poll<()> {
        let Some(filters) = &self.filters else {
            return Poll::Pending;
        };
        filters.exchange.borrow_mut().set_waker(way, cx.waker());
        self.with_chain(filters, way, TcpChain::poll);
        if self.is_closing() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        let filters = self.filters.as_ref();
        filters.is_some_and(|filters| filters.chain.borrow().closing().is_some())
    }

    /// Bytes that have come from the client, or gone to it.
    pub(super) fn count(&self, way: Way, bytes: usize) {
        self.facts.count(way, bytes);
        self.touch();
    }

    pub(super) fn touch(&self) {
        self.last_activity.set(Instant::now());
    }

    /// Ready when nothing has moved for that long.
    pub(super) async fn idle(&self, timeout: Duration) {
        loop {
            let until = self.last_activity.get() + timeout;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Whose end came last.
    pub(super) fn closed_by(&self, peer: Peer) {
        self.closed_by.set(peer);
    }

    /// Remembers what the log's format asks for, where it does.
    pub(super) fn note(&self, write: impl FnOnce(&mut Notes)) {
        if let Some(notes) = &self.notes {
            write(&mut notes.borrow_mut());
        }
    }

    pub(super) fn flag(&self, flag: Flags) {
        self.facts.flag(flag);
    }

    pub(super) fn explain(&self, flag: Flags, details: &str) {
        self.facts.flag(flag);
        self.facts
            .explain(&Bytes::copy_from_slice(details.as_bytes()));
    }

    /// Puts down why the connection is over.
    pub(super) fn conclude(&self, over: &Over) {
        let peer = match over {
            Over::Ended => return,
            Over::ClientGone(_) => Peer::Remote,
            _ => Peer::Local,
        };
        self.closed_by(peer);
        let reset = Some(ErrorKind::ConnectionReset);
        // In Envoy's words.
        self.closed_here.set(match over {
            Over::Idle => (
                Some("tcp_session_idle_timeout"),
                Some("closing_upstream_tcp_connection_due_to_downstream_local_close"),
            ),
            Over::ClientGone(kind) if *kind == reset => (
                None,
                Some("closing_upstream_tcp_connection_due_to_downstream_reset_close"),
            ),
            Over::ClientGone(_) => (
                None,
                Some("closing_upstream_tcp_connection_due_to_downstream_remote_close"),
            ),
            Over::Closed => (Some("wasm_close_stream"), Some("wasm_close_stream")),
            Over::Ended | Over::NotConnected(_) | Over::UpstreamGone(_) => (None, None),
        });
        match over {
            Over::ClientGone(kind) if *kind == reset => self.note(|notes| notes.was_reset(true)),
            Over::UpstreamGone(kind) if Some(*kind) == reset => {
                self.note(|notes| notes.was_reset(false));
            }
            _ => {}
        }
        match over {
            Over::Ended => {}
            Over::Closed if self.failure_told.get() => {
                self.explain(Flags::none(), "wasm_fail_stream")
            }
            Over::Closed => self.explain(Flags::LOCAL_RESET, "wasm_close_stream"),
            Over::NotConnected(error) => {
                let (flag, details) = error.in_log();
                self.explain(flag, details);
            }
            Over::ClientGone(_) => self.explain(
                Flags::DOWNSTREAM_CONNECTION_TERMINATION,
                "downstream_remote_disconnect",
            ),
            Over::UpstreamGone(_) => self.explain(
                Flags::UPSTREAM_CONNECTION_TERMINATION,
                "upstream_remote_disconnect",
            ),
            Over::Idle => self.explain(Flags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout"),
        }
    }

    fn report(&self, failure: &Failure) {
        let connection = format!("connection {}", self.facts.connection.id);
        crate::reports::failure(failure, &connection);
    }

    fn write_log(&self) {
        let Some(sink) = &self.facts.setup.sink else {
            return;
        };
        let facts = &self.facts;
        let details = facts.details.borrow();
        let decided_by = self.decided_by.borrow();
        let transport_failure = facts.transport_failure.borrow();
        let upstream_tls = facts.upstream_tls.borrow();
        self.note(|notes| {
            notes.client_sent(Some(facts.received.get()));
            notes.client_got(facts.sent.get());
        });
        let notes = self.notes.as_ref().map(RefCell::borrow);
        let noted = notes.as_ref().map(|notes| notes.noted(None, false));
        let record = Record {
            closed_here: self.closed_here.get(),
            noted: noted.unwrap_or_default(),
            duration: facts.duration.get().unwrap_or_default(),
            details: std::str::from_utf8(&details)
                .ok()
                .filter(|text| !text.is_empty()),
            flags: facts.flags.get(),
            bytes_received: facts.received.get(),
            bytes_sent: facts.sent.get(),
            upstream_host: facts.upstream.get(),
            upstream_local: facts.upstream_local.get(),
            attempts: facts.attempts.get(),
            transport_failure: Some(&transport_failure),
            upstream_tls: upstream_tls.as_deref(),
            upstream_cluster: facts
                .cluster
                .get()
                .and_then(|cluster| facts.setup.cluster_name(cluster)),
            decided_by: decided_by
                .as_ref()
                .map(|(filter, callback)| (&filter[..], *callback)),
            ..facts.connection.record(facts.wall)
        };
        sink.record(&record);
        facts.setup.flush_log_soon();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let facts = &self.facts;
        facts.duration.set(Some(facts.begun.elapsed()));
        if let Some(filters) = &self.filters {
            let failures = match filters.chain.try_borrow_mut() {
                Ok(mut chain) => chain.end(self.closed_by.get()),
                Err(_) => Vec::new(),
            };
            for failure in &failures {
                self.report(failure);
            }
            self.worker.plugins.after_calls(&self.worker);
        }
        facts.listener().traffic.carried(facts);
        self.write_log();
    }
}
