//! What guests ask of their streams, carried out once their callbacks have returned
//! (sections 6.3 and 6.7), and what becomes of a stream whose filter broke.

use super::{Answer, By, Chain, Failure, FailureReason};
use crate::exchange::{Effect, LocalReply};
use crate::reply;
use crate::stream::{Broken, Part, Parts, StreamContext};
use crate::types::{StreamType, Way};

use bytes::Bytes;

impl Chain {
    pub(super) fn broken(&mut self, index: usize, broken: Broken) {
        let filter = &mut self.filters[index];
        let plugin = filter.context.plugin.clone();
        let (callback, reason, answer) = match broken {
            Broken::Trap(trap) => {
                filter.context.give_up();
                // What it asked for before it crashed is void.
                self.exchange
                    .borrow_mut()
                    .effects
                    .retain(|(position, _)| *position != index);
                (trap.callback, FailureReason::Trap(*trap), reply::failed())
            }
            Broken::TooLarge(way) | Broken::Overfilled(way, _) => {
                let callback = match broken {
                    Broken::Overfilled(_, callback) => callback,
                    _ => filter.context.body_too_large(way),
                };
                filter.context.drop_body(way);
                let reason = FailureReason::TooLarge(way);
                (callback, reason, reply::too_large(way))
            }
        };
        self.failure.get_or_insert(Failure {
            plugin,
            callback,
            reason,
        });
        self.local_reply(&answer, By::Failure);
    }

    /// Carries out, in order, what guests have asked for.
    #[inline]
    pub(super) fn apply_effects(&mut self) {
        // Asked after every step, and seldom so.
        if !self.exchange.borrow().effects.is_empty() {
            self.carry_out_effects();
        }
    }

    fn carry_out_effects(&mut self) {
        loop {
            let effect = self.exchange.borrow_mut().effects.pop_front();
            let Some((position, effect)) = effect else {
                return;
            };
            if self.ended {
                continue;
            }
            match effect {
                Effect::Continue(StreamType::HttpRequest) => self.resume(Way::Request, position),
                Effect::Continue(StreamType::HttpResponse) => self.resume(Way::Response, position),
                Effect::Continue(_) => {}
                Effect::Close(StreamType::HttpRequest | StreamType::HttpResponse) => {
                    self.details
                        .get_or_insert_with(|| Bytes::from_static(b"wasm_close_stream"));
                    self.cut();
                }
                Effect::Close(_) => {}
                Effect::LocalReply(reply, callback) => {
                    self.local_reply(&reply, By::Guest(position, callback));
                }
                Effect::Inject => self.inject(position),
                Effect::TooLarge(way, callback) => {
                    let filter = self.filters.get(position);
                    if filter.is_some_and(|filter| !filter.context.dead) {
                        self.broken(position, Broken::Overfilled(way, callback));
                    }
                }
                Effect::RootFailed(trap) => {
                    let holds = self.filters.get(position).is_some_and(StreamContext::holds);
                    if holds {
                        self.broken(position, trap.into());
                    }
                }
                Effect::VmEnded(trap) => {
                    let filter = self.filters.get(position);
                    if filter.is_some_and(|filter| !filter.context.dead) {
                        self.broken(position, trap.into());
                    }
                }
            }
        }
    }

    /// Whether a guest has asked for something that ends what is on its way.
    pub(super) fn stop_is_pending(&self) -> bool {
        let exchange = self.exchange.borrow();
        !exchange.effects.is_empty() && exchange.effects.iter().any(|(_, effect)| effect.is_stop())
    }

    /// Section 13. Injected bytes go whether or not anybody reads them, so what waits is
    /// bounded as what a filter holds.
    fn inject(&mut self, position: usize) {
        if self.reset || self.response_complete {
            return;
        }
        let Some(filter) = self.filters.get_mut(position) else {
            return;
        };
        let limit = filter.context.plugin.body_limit;
        let mut passed = Parts::new();
        filter.inject(&mut passed);
        self.pass_on(Way::Response, position, passed, Ok(()));
        let waiting =
            self.out[Way::Response as usize]
                .iter()
                .fold(0, |sum: usize, part| match part {
                    Part::Data { bytes, .. } => sum.saturating_add(bytes.len()),
                    _ => sum,
                });
        if waiting > limit {
            self.broken(position, Broken::TooLarge(Way::Response));
        }
    }

    fn resume(&mut self, way: Way, position: usize) {
        // A filter that holds back an answer made here may let it go.
        if self.reset || (way == Way::Request && self.request_is_closed()) {
            return;
        }
        let Some(filter) = self.filters.get_mut(position) else {
            return;
        };
        let mut passed = Parts::new();
        let resumed = filter.resume(way, &mut passed);
        self.pass_on(way, position, passed, resumed);
    }

    /// Section 6.7. Once headers have left nothing can be said any more; once all has left
    /// nothing need be.
    pub(super) fn local_reply(&mut self, reply: &LocalReply, by: By) {
        // A broken filter must not be followed by parts it has not looked at.
        let unfiltered = by == By::Failure && !self.request_is_closed();
        let around = match self.answer {
            _ if self.reset => return,
            _ if self.response_complete && !unfiltered => return,
            Answer::None => false,
            // The embedder speaks up because nothing comes; something is on its way.
            Answer::Local if by == By::Embedder => return,
            // From the way back through the filters: straight out.
            Answer::Local | Answer::Upstream => true,
            Answer::Committed => return self.cut(),
        };
        if let By::Guest(position, callback) = by
            && let Some(filter) = self.filters.get(position)
        {
            filter.context.account().reply();
            self.answered_by = Some((filter.context.plugin.clone(), callback));
        }
        self.epoch += 1;
        self.answer = Answer::Local;
        self.details = Some(reply::details(&reply.details));
        let body = {
            let mut exchange = self.exchange.borrow_mut();
            let asked = exchange.request_headers.as_ref();
            let kind = asked.and_then(|headers| headers.get(b"content-type"));
            let grpc = kind.is_some_and(|kind| reply::is_grpc(kind));
            let (headers, body) = reply::compose(reply, grpc);
            exchange.response_headers = Some(headers);
            exchange.response_trailers = None;
            body
        };
        self.out[Way::Request as usize].clear();
        self.out[Way::Response as usize].clear();
        let end = body.is_empty();
        if around {
            // A filter that holds the upstream's response must not let it go later.
            for filter in &mut self.filters {
                filter.bypass_response();
            }
        }
        let mut parts = vec![Part::Headers { end }];
        if !end {
            parts.push(Part::Data {
                bytes: body,
                end: true,
            });
        }
        self.pass_on(Way::Response, self.filters.len(), parts.into(), Ok(()));
    }

    fn cut(&mut self) {
        self.reset = true;
        self.epoch += 1;
        self.out[Way::Request as usize].clear();
        let mut exchange = self.exchange.borrow_mut();
        exchange.wake(Way::Request);
        exchange.wake(Way::Response);
    }
}
