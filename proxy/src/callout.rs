//! What filters ask of other services: HTTP calls, gRPC calls and streams, Redis commands.
//!
//! A guest asks and is called back, so each call is a task of the worker's own: it finds the
//! upstream, talks to it over the worker's pools, and hands what comes to the guest while
//! no other guest code runs. A call belongs to the root context that asked, not to the
//! stream in which it did; it is given up when the guest says so, when its root ends, when
//! its VM goes, and when the worker ends.

mod body;
mod grpc;
mod http;
mod redis;
mod remote;
mod send;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cofferdam_abi::callout::{Callout, GrpcEvent, HttpOutcome, RedisClient, Token};
use cofferdam_abi::usage::{CalloutKind, Usage};
use cofferdam_abi::{Headers, RootId, Trap, Vm};
use tokio::task::AbortHandle;

use crate::config;
use crate::trace::{CallSpan, Trace};
use crate::worker::Worker;
use redis::Redis;
use remote::Remotes;

pub(crate) use body::{CallBody, Feed};
pub(crate) use grpc::framed;
pub(crate) use send::Outgoing;

/// All calls of one worker.
#[derive(Debug)]
pub(crate) struct Callouts {
    settings: RefCell<Arc<config::Callouts>>,
    remotes: Remotes,
    redis: Redis,
    /// By the address of the VM and the token: emptied as calls end, and by [`Abandons`].
    live: RefCell<HashMap<(usize, Token), Call>>,
}

/// A call under way.
#[derive(Debug)]
struct Call {
    task: AbortHandle,
    /// Where the messages of a gRPC stream go.
    feed: Option<Feed>,
}

/// Who asked, as the task knows it.
struct Caller {
    worker: Rc<Worker>,
    vm: Weak<RefCell<Vm>>,
    root: RootId,
    token: Token,
    account: Account,
    /// Its span, until its answer is there.
    span: RefCell<Option<CallSpan>>,
    /// On whose behalf it is, if that is traced.
    trace: Option<Rc<Trace>>,
}

/// On whose account a call goes, and since when.
struct Account {
    usage: Arc<Usage>,
    kind: CalloutKind,
    begun: Instant,
    failed: Cell<bool>,
}

/// Kept by a VM: when it goes there is nobody left to answer.
struct Abandons {
    callouts: Weak<Callouts>,
    vm: usize,
}

// === impl Callouts ===

impl Callouts {
    pub(crate) fn new(settings: Arc<config::Callouts>) -> Rc<Self> {
        Rc::new(Self {
            remotes: Remotes::new(settings.clone()),
            redis: Redis::default(),
            settings: RefCell::new(settings),
            live: RefCell::default(),
        })
    }

    fn settings(&self) -> Arc<config::Callouts> {
        self.settings.borrow().clone()
    }

    /// Calls that begin from now on are made like that.
    pub(crate) fn renew(&self, settings: &Arc<config::Callouts>) {
        self.settings.replace(settings.clone());
        self.remotes.renew(settings);
    }

    /// A cluster is gone, or has become another: connections to what it was take no more
    /// calls.
    pub(crate) fn leave(&self, cluster: &str) {
        self.remotes.forget(cluster);
        self.redis.forget_cluster(cluster);
    }

    /// Ends the calls of a new VM with it.
    pub(crate) fn attach(self: &Rc<Self>, vm: &Rc<RefCell<Vm>>) {
        let abandons = Abandons {
            callouts: Rc::downgrade(self),
            vm: Rc::as_ptr(vm).addr(),
        };
        vm.borrow_mut().keep(Box::new(abandons));
    }

    /// Begins a call. Its answer never comes before this has returned.
    pub(crate) fn begin(
        &self,
        worker: &Rc<Worker>,
        vm: &Rc<RefCell<Vm>>,
        root: RootId,
        token: Token,
        callout: Callout,
    ) {
        let kind = match &callout {
            Callout::Http(_) => CalloutKind::Http,
            Callout::Grpc(_) => CalloutKind::Grpc,
            Callout::Redis(_) => CalloutKind::Redis,
        };
        let caller = Caller::new(worker, vm, root, token, kind).traced_as(vm, &callout);
        let mut feed = None;
        let task = match callout {
            Callout::Http(call) => tokio::task::spawn_local(async move {
                let outcome = http::perform(&caller, &call).await;
                caller.traced(|span| tell_http(span, &outcome));
                let answered = matches!(outcome, HttpOutcome::Response { .. });
                caller.account.failed.set(!answered);
                caller.end(|vm, token| vm.http_call_response(token, outcome));
            }),
            Callout::Grpc(mut call) => match call.message.take() {
                Some(message) => tokio::task::spawn_local(async move {
                    grpc::call(&caller, call, message).await;
                }),
                None => {
                    let feed = feed.insert(Feed::default()).clone();
                    tokio::task::spawn_local(async move {
                        grpc::stream(&caller, call, feed).await;
                    })
                }
            },
            Callout::Redis(call) => tokio::task::spawn_local(async move {
                let (redis, vm) = (&caller.worker.plugins.callouts.redis, caller.vm());
                let reply = redis.call(&caller.worker, vm, root, call).await;
                caller.account.failed.set(reply.is_none());
                caller.traced(CallSpan::answered);
                caller.end(|vm, token| vm.redis_response(token, reply));
            }),
        };
        let task = task.abort_handle();
        let key = (Rc::as_ptr(vm).addr(), token);
        self.live.borrow_mut().insert(key, Call { task, feed });
    }

    /// Sends a message on a gRPC stream.
    pub(crate) fn send(
        &self,
        worker: &Rc<Worker>,
        vm: &Rc<RefCell<Vm>>,
        root: RootId,
        token: Token,
        message: &Bytes,
        end: bool,
    ) {
        let Some(feed) = self.feed(vm, token) else {
            return;
        };
        let waiting = framed(message).map(|frame| feed.push(frame));
        if waiting.is_none_or(|waiting| waiting / 2 > self.settings().message) {
            // The server does not read. What waits would grow without end.
            self.cancel(vm, token);
            let caller = Caller::new(worker, vm, root, token, CalloutKind::Grpc);
            caller.account.failed.set(true);
            tokio::task::spawn_local(async move {
                // As with any other failure.
                caller.hear(GrpcEvent::TrailingMetadata(Headers::default()));
                caller.end(|vm, token| vm.grpc_event(token, grpc::overrun()));
            });
        } else if end {
            feed.end();
        }
    }

    /// Nothing more is sent on a gRPC stream.
    pub(crate) fn half_close(&self, vm: &Rc<RefCell<Vm>>, token: Token) {
        if let Some(feed) = self.feed(vm, token) {
            feed.end();
        }
    }

    /// Gives a call up; its answer is not wanted any more.
    pub(crate) fn cancel(&self, vm: &Rc<RefCell<Vm>>, token: Token) {
        if let Some(call) = self.forget(Rc::as_ptr(vm).addr(), token) {
            call.task.abort();
        }
    }

    /// How a root speaks to a cluster of Redis servers.
    pub(crate) fn redis_client(&self, vm: &Rc<RefCell<Vm>>, root: RootId, client: RedisClient) {
        self.redis.init(Rc::as_ptr(vm).addr(), root, client);
    }

    /// A root has gone, and others may go on in its VM.
    pub(crate) fn forget_root(&self, vm: &Rc<RefCell<Vm>>, root: RootId) {
        self.redis.forget_root(Rc::as_ptr(vm).addr(), root);
    }

    /// The worker has ended, and what is under way with it.
    pub(crate) fn tell_left(&self) {
        let left = self.live.borrow().len();
        tracing::debug!("calls of filters under way at the end: {left}");
    }

    /// Closes every connection of its own that is not in use.
    pub(crate) fn close_idle(&self) {
        self.remotes.close_idle();
    }

    fn feed(&self, vm: &Rc<RefCell<Vm>>, token: Token) -> Option<Feed> {
        let live = self.live.borrow();
        live.get(&(Rc::as_ptr(vm).addr(), token))?.feed.clone()
    }

    fn forget(&self, vm: usize, token: Token) -> Option<Call> {
        self.live.borrow_mut().remove(&(vm, token))
    }
}

// === impl Caller ===

impl Caller {
    fn new(
        worker: &Rc<Worker>,
        vm: &Rc<RefCell<Vm>>,
        root: RootId,
        token: Token,
        kind: CalloutKind,
    ) -> Self {
        let filter = vm.borrow_mut().plugin_name(root);
        Self {
            worker: worker.clone(),
            vm: Rc::downgrade(vm),
            root,
            token,
            account: Account {
                usage: worker.plugins.usage(&filter),
                kind,
                begun: Instant::now(),
                failed: Cell::new(false),
            },
            span: RefCell::new(None),
            trace: None,
        }
    }

    /// Begins its span, if the request on whose behalf guest code runs now is traced.
    fn traced_as(mut self, vm: &Rc<RefCell<Vm>>, callout: &Callout) -> Self {
        let span = self.worker.tracer.as_ref().and_then(|tracer| {
            tracer.call(|| {
                let filter = vm.borrow_mut().plugin_name(self.root);
                (name(callout), filter)
            })
        });
        self.trace = span.as_ref().map(|span| span.trace().clone());
        self.span = RefCell::new(span);
        self
    }

    /// Does something to its span, if it has one.
    fn traced(&self, act: impl FnOnce(&mut CallSpan)) {
        if let Some(span) = &mut *self.span.borrow_mut() {
            act(span);
        }
    }

    /// Hands over what has come on a gRPC stream.
    fn hear(&self, event: GrpcEvent) {
        self.tell(|vm| vm.grpc_event(self.token, event));
    }

    /// Hands over the last there is to tell.
    fn end(&self, give: impl FnOnce(&mut Vm, Token) -> Result<(), Trap>) {
        let callouts = &self.worker.plugins.callouts;
        callouts.forget(self.vm(), self.token);
        self.account.close();
        // What the guest makes of the answer is not the call's.
        self.span.borrow_mut().take();
        self.tell(|vm| give(vm, self.token));
    }

    fn vm(&self) -> usize {
        self.vm.as_ptr().addr()
    }

    /// Nobody runs guest code now: tasks have their turn between calls. What the guest does
    /// with it is seen to before anything else happens.
    fn tell(&self, give: impl FnOnce(&mut Vm) -> Result<(), Trap>) {
        let Some(vm) = self.vm.upgrade() else { return };
        let traced = self.worker.tracer.as_ref().zip(self.trace.as_ref());
        let _entered = traced.map(|(tracer, trace)| tracer.enter(trace));
        let told = give(&mut vm.borrow_mut());
        self.worker.plugins.heard(&vm);
        if let Err(trap) = told {
            let plugins = &self.worker.plugins;
            plugins.root_crashed(&self.worker, &vm, self.root, &trap);
        }
        self.worker.plugins.after_calls(&self.worker);
    }
}

// === impl Account ===

impl Account {
    fn close(&self) {
        let taken = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.usage.called_out(self.kind, taken, self.failed.get());
    }
}

/// Few names for many calls: who is called.
fn name(callout: &Callout) -> String {
    match callout {
        Callout::Http(call) => format!("callout {}", call.target),
        Callout::Grpc(call) => format!(
            "callout {} {}/{}",
            call.target,
            String::from_utf8_lossy(&call.service),
            String::from_utf8_lossy(&call.method)
        ),
        Callout::Redis(call) => {
            format!("callout cluster:{}", String::from_utf8_lossy(&call.cluster))
        }
    }
}

/// What became of an HTTP call, for its span.
fn tell_http(span: &mut CallSpan, outcome: &HttpOutcome) {
    match outcome {
        HttpOutcome::Response { headers, .. } => {
            let status = headers.get(b":status");
            let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
            let status = status.unwrap_or(0);
            span.ended("http.response.status_code", status, status >= 400);
        }
        HttpOutcome::NoEndpoint => span.failed("no_endpoint"),
        HttpOutcome::ConnectFailed(_) => span.failed("connect_failed"),
        HttpOutcome::Overflow => span.failed("overflow"),
        HttpOutcome::Disconnected => span.failed("disconnected"),
        HttpOutcome::Timeout => span.failed("timeout"),
        HttpOutcome::Reset => span.failed("reset"),
    }
}

impl Drop for Abandons {
    fn drop(&mut self) {
        let Some(callouts) = self.callouts.upgrade() else {
            return;
        };
        callouts.redis.forget(self.vm);
        let gone = |(vm, _): &(usize, Token), _: &mut Call| *vm == self.vm;
        let calls: Vec<_> = (callouts.live.borrow_mut()).extract_if(gone).collect();
        for (_, call) in calls {
            call.task.abort();
        }
    }
}
