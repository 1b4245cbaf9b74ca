//! Whom a filter under test calls, and what becomes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{Callout, GrpcCall, GrpcEvent, HttpCall};
use cofferdam_abi::{HttpOutcome, RootEffect, Token, Trap};

use super::exchange::Message;
use super::host::{Tester, Timer};
use super::message::{Seen, headers, pairs};
use super::peer::{GrpcPeer, PeerEvent};
use super::target::Target;
use crate::grpc::{GrpcResponse, GrpcStatus};
use crate::reply::Reply;

/// Clusters, what has been asked of them, and what will be answered.
#[derive(Default)]
pub(super) struct Calls {
    clusters: BTreeMap<String, Cluster>,
    grpc: BTreeMap<String, GrpcMethod>,
    peers: BTreeMap<String, Peer>,
    /// Streams that are open, and to whom.
    streams: Vec<(Token, String, GrpcPeer)>,
    answers: Vec<(Duration, Token, Outcome)>,
}

/// What the other ends of a cluster's streams do.
type Peer = Box<dyn FnMut(&mut GrpcPeer, PeerEvent<'_>)>;

struct Cluster {
    delay: Duration,
    answer: Asked,
}

/// A service, and what it makes of a method and a message.
type GrpcMethod = Box<dyn FnMut(&str, &[u8]) -> GrpcResponse>;

/// What becomes of a call.
enum Outcome {
    Http(HttpOutcome),
    Grpc(GrpcResponse),
    Stream(GrpcEvent),
}

type Asked = Box<dyn FnMut(&Seen) -> Option<Reply>>;

// === impl Calls ===

impl Calls {
    /// The same clusters, all of which say yes to everything.
    pub(super) fn all_answered(&self) -> Self {
        let mut calls = Self::default();
        for name in self.clusters.keys() {
            let cluster = Cluster {
                delay: Duration::ZERO,
                answer: Box::new(|_| Some(Reply::new(200))),
            };
            calls.clusters.insert(name.clone(), cluster);
        }
        for name in self.grpc.keys() {
            let answer: GrpcMethod = Box::new(|_, _| Ok(Vec::new()));
            calls.grpc.insert(name.clone(), answer);
        }
        for name in self.peers.keys() {
            let peer: Peer = Box::new(|peer, event| match event {
                PeerEvent::Message(_) => peer.send(b""),
                PeerEvent::Closed => peer.end(&GrpcStatus::new(0, ""), &[]),
                _ => {}
            });
            calls.peers.insert(name.clone(), peer);
        }
        calls
    }
}

impl Calls {
    /// The clusters of HTTP, which are all there can be around a process.
    pub(super) fn names(&self, target: Target) -> Vec<String> {
        if !self.grpc.is_empty() || !self.peers.is_empty() {
            target.unfit("clusters that speak gRPC")
        }
        self.clusters.keys().cloned().collect()
    }

    /// What that cluster answers, and after how long; `None`: nothing.
    pub(super) fn asked(&mut self, name: &str, seen: &Seen) -> Option<(Duration, Message)> {
        let cluster = self.clusters.get_mut(name)?;
        let reply = (cluster.answer)(seen)?;
        let message = Message::of(reply, usize::MAX, Vec::new());
        Some((cluster.delay, message))
    }
}

// === impl Tester ===

impl Tester {
    /// A cluster of that name, which answers at once.
    ///
    /// The [module](super) has an example.
    pub fn cluster(&mut self, name: &str, mut answer: impl FnMut(&Seen) -> Reply + 'static) {
        self.slow_cluster(name, Duration::ZERO, move |seen| Some(answer(seen)));
    }

    /// A cluster that answers after that time, or with `None` refuses the connection. A call
    /// whose timeout is shorter times out.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn ask(request: Request, http: Http) -> Result<Response> {
    /// #     let status = http.call(HttpCall::get("slow", "/")).await?.status();
    /// #     Ok(Response::new(status.unwrap_or(500)))
    /// # }
    /// let mut tester = Tester::of::<ask>("");
    /// tester.slow_cluster("slow", Duration::from_secs(60), |_| None);
    /// assert_eq!(tester.get("/").send().status(), 504); // the call's timeout is 5 s
    /// ```
    pub fn slow_cluster(
        &mut self,
        name: &str,
        delay: Duration,
        answer: impl FnMut(&Seen) -> Option<Reply> + 'static,
    ) {
        let answer = Box::new(answer);
        self.host.clusters.borrow_mut().push(name.to_owned());
        self.calls
            .clusters
            .insert(name.to_owned(), Cluster { delay, answer });
    }

    /// A cluster of that name that speaks gRPC: `answer` is given `package.Service/Method`
    /// and the message.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::{GrpcStatus, testing::Tester};
    /// # #[filter] async fn ask(request: Request, grpc: Grpc) -> Result<Response> {
    /// #     match grpc.call(GrpcCall::new("authz", "pkg.Authz", "Check").message(b"me")).await {
    /// #         Ok(_) => request.forward().await,
    /// #         Err(error) => Ok(Response::new(403).with_body(error.to_string())),
    /// #     }
    /// # }
    /// let mut tester = Tester::of::<ask>("");
    /// tester.grpc_cluster("authz", |method, message| {
    ///     assert_eq!((method, message), ("pkg.Authz/Check", &b"me"[..]));
    ///     Err(GrpcStatus::new(7, "not you"))
    /// });
    /// assert_eq!(tester.get("/").send().text(), "gRPC status 7: not you");
    /// ```
    pub fn grpc_cluster(
        &mut self,
        name: &str,
        answer: impl FnMut(&str, &[u8]) -> GrpcResponse + 'static,
    ) {
        self.host.clusters.borrow_mut().push(name.to_owned());
        self.calls.grpc.insert(name.to_owned(), Box::new(answer));
    }

    /// A cluster of that name that speaks gRPC in streams: `answer` is told what happens on
    /// each of them, and says what it likes.
    ///
    /// [`GrpcPeer`] has an example.
    pub fn grpc_streams(
        &mut self,
        name: &str,
        answer: impl FnMut(&mut GrpcPeer, PeerEvent<'_>) + 'static,
    ) {
        self.host.clusters.borrow_mut().push(name.to_owned());
        self.calls.peers.insert(name.to_owned(), Box::new(answer));
    }

    /// Sees to what the filter's root has asked for; whether it has.
    pub(super) fn settle(&mut self) -> bool {
        let effects = self.vm.borrow_mut().take_root_effects();
        let any = !effects.is_empty();
        for effect in effects {
            match effect {
                RootEffect::Tick { period, .. } => {
                    let now = self.host.now.get();
                    self.timer = period.map(|period| Timer {
                        period,
                        next: now + period,
                    });
                }
                RootEffect::Call { token, call, .. } => {
                    let now = self.host.now.get();
                    match *call {
                        Callout::Http(call) => self.call(token, &call),
                        Callout::Grpc(call) => match &call.message {
                            Some(message) => {
                                let outcome = Outcome::Grpc(self.call_grpc(&call, message));
                                self.calls.answers.push((now, token, outcome));
                            }
                            None => self.open_stream(token, &call),
                        },
                        Callout::Redis(_) => {}
                    }
                }
                RootEffect::Send {
                    token,
                    message,
                    end,
                    ..
                } => {
                    self.tell_peer(token, PeerEvent::Message(&message));
                    if end {
                        self.tell_peer(token, PeerEvent::Closed);
                    }
                }
                RootEffect::HalfClose { token, .. } => self.tell_peer(token, PeerEvent::Closed),
                RootEffect::Cancel { token, .. } => {
                    self.tell_peer(token, PeerEvent::Cancelled);
                    self.calls.streams.retain(|(other, ..)| *other != token);
                    self.calls.answers.retain(|(_, other, _)| *other != token);
                }
                _ => {}
            }
        }
        any
    }

    fn call(&mut self, token: Token, call: &HttpCall) {
        let seen = Seen {
            headers: pairs(&call.headers),
            body: call.body.to_vec(),
            trailers: call.trailers.as_ref().map(pairs).unwrap_or_default(),
        };
        let name = cluster_name(&call.target);
        let (delay, answer) = match self.calls.clusters.get_mut(&name) {
            Some(cluster) => (cluster.delay, (cluster.answer)(&seen)),
            None => (Duration::ZERO, None),
        };
        let (delay, outcome) = match call.timeout {
            Some(timeout) if timeout <= delay => (timeout, HttpOutcome::Timeout),
            _ => (delay, answer.map_or(HttpOutcome::NoEndpoint, outcome)),
        };
        let at = self.host.now.get() + delay;
        self.calls.answers.push((at, token, Outcome::Http(outcome)));
    }

    fn call_grpc(&mut self, call: &GrpcCall, message: &[u8]) -> GrpcResponse {
        match self.calls.grpc.get_mut(&cluster_name(&call.target)) {
            Some(answer) => answer(&method(call), message),
            None => Err(GrpcStatus::new(14, "no endpoint")),
        }
    }

    fn open_stream(&mut self, token: Token, call: &GrpcCall) {
        let mut peer = GrpcPeer {
            method: method(call),
            metadata: pairs(&call.metadata),
            said: Vec::new(),
        };
        let name = cluster_name(&call.target);
        if !self.calls.peers.contains_key(&name) {
            peer.end(&GrpcStatus::new(14, "no endpoint"), &[]);
        }
        self.calls.streams.push((token, name, peer));
        self.tell_peer(token, PeerEvent::Opened);
    }

    /// Has the other end of a stream hear of it, and keeps what it says.
    fn tell_peer(&mut self, token: Token, event: PeerEvent<'_>) {
        let now = self.host.now.get();
        let Calls {
            peers,
            streams,
            answers,
            ..
        } = &mut self.calls;
        let Some(place) = streams.iter().position(|(other, ..)| *other == token) else {
            return;
        };
        let (_, name, mut peer) = streams.remove(place);
        if let Some(answer) = peers.get_mut(&name) {
            answer(&mut peer, event);
        }
        let said = std::mem::take(&mut peer.said);
        let over = said
            .iter()
            .any(|said| matches!(said, GrpcEvent::Closed { .. }));
        answers.extend(
            said.into_iter()
                .map(|said| (now, token, Outcome::Stream(said))),
        );
        if !over {
            streams.insert(place, (token, name, peer));
        }
    }

    fn deliver(&self, token: Token, outcome: Outcome) -> Result<(), Trap> {
        let mut vm = self.vm.borrow_mut();
        let (status, message) = match outcome {
            Outcome::Http(outcome) => return vm.http_call_response(token, outcome),
            Outcome::Stream(event) => return vm.grpc_event(token, event),
            Outcome::Grpc(Ok(message)) => {
                vm.grpc_event(token, GrpcEvent::Message(message.into()))?;
                (0, Bytes::new())
            }
            Outcome::Grpc(Err(status)) => {
                let message = Bytes::copy_from_slice(status.message().as_bytes());
                (status.code(), message)
            }
        };
        vm.grpc_event(token, GrpcEvent::Closed { status, message })
    }

    /// Brings the next event there is until then: an answer, or the timer's.
    pub(super) fn step(&mut self, until: Duration) -> bool {
        let answer = self
            .calls
            .answers
            .iter()
            .enumerate()
            .min_by_key(|(_, (at, ..))| *at);
        let answer = answer.map(|(place, (at, ..))| (*at, place));
        let tick = self.timer.as_ref().map(|timer| timer.next);
        let (at, place) = match (answer, tick) {
            (Some((at, place)), tick) if tick.is_none_or(|tick| at <= tick) => (at, Some(place)),
            (_, Some(tick)) => (tick, None),
            _ => return false,
        };
        if at > until {
            return false;
        }
        self.host.now.set(at.max(self.host.now.get()));
        // What traps is seen by whoever holds a stream.
        let _ = match place {
            Some(place) => {
                let (_, token, outcome) = self.calls.answers.remove(place);
                self.deliver(token, outcome)
            }
            None => {
                let now = self.host.now.get();
                if let Some(timer) = &mut self.timer {
                    timer.next = now + timer.period;
                }
                self.vm.borrow_mut().tick(self.root)
            }
        };
        true
    }
}

fn method(call: &GrpcCall) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}/{}", text(&call.service), text(&call.method))
}

fn cluster_name(target: &cofferdam_abi::Target) -> String {
    match target {
        cofferdam_abi::Target::Cluster(name) => String::from_utf8_lossy(name).into_owned(),
        other => other.to_string(),
    }
}

fn outcome(reply: Reply) -> HttpOutcome {
    let (head, body) = reply.into_message();
    HttpOutcome::Response {
        headers: headers(&head),
        body: body.into(),
        trailers: None,
    }
}
