//! The thread that sends spans to their collector, over a connection of its own.
//!
//! What a worker hands over goes through one bounded queue. While the collector is slow or
//! away the queue fills, and what does not fit is dropped and counted: requests never wait
//! for it. The thread sleeps when there is nothing to send.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::otlp;
use super::span::Span;
use crate::callout::{CallBody, Outgoing, framed};
use crate::collect;
use crate::config::{Cluster, TraceProtocol, Tracing};
use crate::upstream::Upstream;
use crate::upstream::backends::Backends;

/// Requests and calls whose spans may wait to be sent: some MiB, at worst some tens.
const WAITING: usize = 2_048;
/// Spans in one message.
const BATCH: usize = 2_048;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take for one batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what is left at the end may take.
const LAST: Duration = Duration::from_secs(2);
/// Most that is read of a collector's answer, in bytes.
const ANSWER: usize = 64 << 10;

/// Where finished spans go.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    queue: Sender<Vec<Span>>,
    counts: Arc<Counts>,
    collector: watch::Sender<Collector>,
}

/// Who takes them.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) backends: Arc<Backends>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    /// There was no room for them.
    pub(crate) dropped: AtomicU64,
    /// The collector did not take them.
    pub(crate) failed: AtomicU64,
}

/// Sends what comes out of the queue.
struct Exporter {
    config: Arc<Tracing>,
    /// Another one after a reload.
    collector: watch::Receiver<Collector>,
    upstream: Upstream,
    counts: Arc<Counts>,
    /// Whether the last batch was taken: changes are told, and no more.
    well: bool,
}

/// What waits to be sent, until it is said that nothing follows.
struct Inbox {
    waiting: Receiver<Vec<Span>>,
    /// Ends when the workers have.
    open: oneshot::Receiver<()>,
    ending: bool,
}

/// The thread that sends.
#[derive(Debug)]
pub(crate) struct Sending {
    thread: JoinHandle<()>,
    open: oneshot::Sender<()>,
}

// === impl Inbox ===

impl Inbox {
    async fn next(&mut self) -> Option<Vec<Span>> {
        if !self.ending {
            tokio::select! {
                biased;
                spans = self.waiting.recv() => return spans,
                _ = &mut self.open => {}
            }
            self.ending = true;
            self.waiting.close();
        }
        self.waiting.recv().await
    }

    /// Waits until nothing more follows; at once, if that is known.
    async fn end(&mut self) {
        if !self.ending {
            let _ = (&mut self.open).await;
            self.ending = true;
            self.waiting.close();
        }
    }
}

// === impl Sending ===

impl Sending {
    /// Nobody has anything to send any more: what waits is sent, for two seconds at most.
    pub(crate) fn end(self) {
        drop(self.open);
        if self.thread.join().is_err() {
            tracing::error!("the thread that sends spans panicked");
        }
    }
}

// === impl Outbox ===

impl Outbox {
    /// Begins to send to `collector`.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(crate) fn open(config: Arc<Tracing>, collector: Collector) -> io::Result<(Self, Sending)> {
        let (queue, waiting) = channel(WAITING);
        let (open, told) = oneshot::channel();
        let inbox = Inbox {
            waiting,
            open: told,
            ending: false,
        };
        let counts = Arc::new(Counts::default());
        let (collector, mut following) = watch::channel(collector);
        let outbox = Self {
            queue,
            counts: counts.clone(),
            collector,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || {
                let first = following.borrow_and_update().clone();
                let exporter = Exporter {
                    config,
                    collector: following,
                    upstream: first.upstream(),
                    counts,
                    well: true,
                };
                LocalSet::new().block_on(&runtime, exporter.run(inbox));
            })?;
        Ok((outbox, Sending { thread, open }))
    }

    /// What is sent from now on goes to that one.
    pub(super) fn send_to(&self, collector: Collector) {
        self.collector.send_replace(collector);
    }

    pub(super) fn put(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.queue.try_send(spans).is_err() {
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

// === impl Collector ===

impl Collector {
    fn upstream(self) -> Upstream {
        Upstream::new(self.cluster, Some(self.backends))
    }
}

// === impl Exporter ===

impl Exporter {
    async fn run(mut self, mut inbox: Inbox) {
        while let Some(mut spans) = inbox.next().await {
            let until = Instant::now() + GATHER;
            while spans.len() < BATCH {
                match timeout_at(until, inbox.next()).await {
                    Ok(Some(more)) => spans.extend(more),
                    Ok(None) | Err(_) => break,
                }
            }
            self.send(spans, &mut inbox).await;
        }
        self.upstream.close_idle();
    }

    async fn send(&mut self, spans: Vec<Span>, inbox: &mut Inbox) {
        let count = spans.len() as u64;
        // An error means that nobody is left who could name another.
        if self.collector.has_changed().unwrap_or(false) {
            let collector = self.collector.borrow_and_update().clone();
            self.upstream.close_idle();
            self.upstream = collector.upstream();
        }
        let sent = {
            let message = otlp::encode(&self.config, spans);
            let mut delivery = pin!(self.deliver(message));
            let sent = tokio::select! {
                sent = timeout(PATIENCE, &mut delivery) => sent,
                () = inbox.end() => timeout(LAST, &mut delivery).await,
            };
            sent.unwrap_or_else(|_| Err("it takes too long".to_owned()))
        };
        let counter = match &sent {
            Ok(()) => &self.counts.sent,
            Err(_) => &self.counts.failed,
        };
        counter.fetch_add(count, Ordering::Relaxed);
        match &sent {
            Err(why) if self.well => tracing::warn!(
                cluster = %self.config.cluster,
                "spans are lost, their collector does not take them: {why}"
            ),
            Ok(()) if !self.well => {
                tracing::info!(cluster = %self.config.cluster, "spans are taken again");
            }
            _ => {}
        }
        self.well = sent.is_ok();
    }

    async fn deliver(&self, message: Vec<u8>) -> Result<(), String> {
        let grpc = self.config.protocol == TraceProtocol::Grpc;
        let (kind, body) = if grpc {
            (
                "application/grpc",
                framed(&message).ok_or("it is too long")?,
            )
        } else {
            ("application/x-protobuf", Bytes::from(message))
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if grpc {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        } else {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        headers.extend(self.config.headers.iter().cloned());
        let outgoing = Outgoing {
            method: Method::POST,
            authority: self.config.authority.clone(),
            path: self.config.path.clone(),
            headers,
        };
        let whole = || CallBody::Whole {
            bytes: body.clone(),
            trailers: None,
        };
        let sent = outgoing.send(&self.upstream, whole).await;
        let (response, lease) = sent.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let answer = collect::whole(body, ANSWER).await;
        let answer = answer.map_err(|error| format!("its answer breaks off: {error}"))?;
        lease.give_back();
        if !head.status.is_success() {
            return Err(format!("it answers {}", head.status));
        }
        let status = answer.trailers.as_ref().and_then(grpc_status);
        match status.or_else(|| grpc_status(&head.headers)) {
            _ if !grpc => Ok(()),
            Some(status) if status == "0" => Ok(()),
            Some(status) => Err(format!("it answers with gRPC status {status}")),
            None => Err("it answers without a gRPC status".to_owned()),
        }
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<String> {
    const STATUS: HeaderName = HeaderName::from_static("grpc-status");
    let status = headers.get(STATUS)?.to_str().ok()?;
    Some(status.chars().take(16).collect())
}
