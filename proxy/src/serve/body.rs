//! The response's body as the client's connection pulls it. With it go the connection it
//! is read from, the exchange's timer and the exchange's end.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cofferdam_abi::Way;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::answer;
use crate::access_log::Flags;
use crate::flow::{Broken, End, Flow};
use crate::notes::Notes;
use crate::reports::{self, Matter};
use crate::timer::Timer;
use crate::trailers;
use crate::upstream::body::{BodyError, Filtered};
use crate::upstream::{Lease, Outcome};

/// A response's body on its way down.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    kind: Kind,
    /// Given back once the body has been read to its end, closed otherwise.
    lease: Option<Lease>,
    timer: Timer,
    /// Trailers the client can be sent; `None` is all of them.
    sendable: Option<Vec<HeaderName>>,
    /// Read to its end. A chunked body of the codec never says so by itself.
    ended: bool,
    /// Asked for a piece. Until then the codec holds the head back, and drops it on an error.
    begun: bool,
    /// Not to be sent: the response only describes it.
    withheld: bool,
    /// `None` where something else ends the exchange.
    end: Option<End>,
}

#[derive(Debug)]
enum Kind {
    Full(Bytes),
    Plain(Incoming),
    Filtered(Filtered),
}

// === impl ResponseBody ===

impl ResponseBody {
    /// No body, and an exchange that goes on without it.
    pub(crate) fn nothing() -> Self {
        Self {
            kind: Kind::Full(Bytes::new()),
            lease: None,
            timer: Timer::new(None, None),
            sendable: None,
            withheld: false,
            ended: false,
            begun: false,
            end: None,
        }
    }

    pub(crate) fn full(bytes: Bytes, end: End) -> Self {
        Self {
            end: Some(end),
            ended: false,
            begun: false,
            kind: Kind::Full(bytes),
            lease: None,
            timer: Timer::new(None, None),
            sendable: None,
            withheld: false,
        }
    }

    pub(crate) fn plain(
        body: Incoming,
        lease: Lease,
        timer: Timer,
        sendable: Option<Vec<HeaderName>>,
        end: End,
    ) -> Self {
        Self {
            kind: Kind::Plain(body),
            lease: Some(lease),
            timer,
            sendable,
            withheld: false,
            ended: false,
            begun: false,
            end: Some(end),
        }
    }

    pub(crate) fn filtered(body: Filtered, lease: Option<Lease>, timer: Timer, end: End) -> Self {
        Self {
            kind: Kind::Filtered(body),
            lease,
            timer,
            sendable: None,
            withheld: false,
            ended: false,
            begun: false,
            end: Some(end),
        }
    }

    /// The exchange that ends with it, where one does.
    pub(crate) fn flow(&self) -> Option<&Rc<Flow>> {
        self.end.as_ref().map(|End(flow)| flow)
    }

    /// Leaves nothing to send. The codec of HTTP/1 sees to that by itself, that of HTTP/2 does
    /// not.
    pub(crate) fn withhold(&mut self) {
        self.withheld = true;
    }

    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(End(flow)) = &self.end else {
            return Poll::Ready(None);
        };
        match &mut self.kind {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                flow.facts.count(Way::Response, bytes.len());
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Plain(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                flow.touch();
                match frame {
                    None => Poll::Ready(None),
                    Some(Err(error)) => Poll::Ready(Some(Err(BodyError::Source(error)))),
                    Some(Ok(frame)) => match frame.into_trailers() {
                        Ok(found) => {
                            self.ended = true;
                            flow.log_with(|logged| logged.trailers = Some(found.clone()));
                            flow.note(|notes| notes.trailers_came(&found));
                            let found = trailers::restrict(found, self.sendable.as_deref());
                            Poll::Ready((!found.is_empty()).then(|| Ok(Frame::trailers(found))))
                        }
                        Err(frame) => {
                            flow.note(Notes::body_came);
                            flow.facts
                                .count(Way::Response, frame.data_ref().map_or(0, Bytes::len));
                            Poll::Ready(Some(Ok(frame)))
                        }
                    },
                }
            }
            Kind::Filtered(body) => body.poll_frame(cx),
        }
    }

    fn note(&self, error: &BodyError) {
        let Some(End(flow)) = &self.end else { return };
        let facts = &flow.facts;
        match error {
            BodyError::Source(_) | BodyError::Stopped(_) | BodyError::Length => {
                let filters = flow.filters.as_ref();
                let by_filter = filters.is_some_and(|filters| filters.chain.borrow().is_reset());
                if by_filter {
                    facts.flag(Flags::LOCAL_RESET);
                } else if matches!(error, BodyError::Length) {
                    facts.flag(Flags::WASM_FAILURE);
                    reports::often(Matter::Response, |left_out| {
                        tracing::error!(left_out, "{error}: response cut");
                    });
                } else {
                    // An upstream that was cut off in its request gives up its response.
                    facts.flag(match flow.broken() {
                        Some(Broken::ByClient) => Flags::DOWNSTREAM_PROTOCOL_ERROR,
                        Some(Broken::ByFilters) => Flags::WASM_FAILURE,
                        None => {
                            if let Some(lease) = &self.lease {
                                lease.note(Outcome::Failed);
                            }
                            let error = error.source_of_body();
                            if let Some(error) = error {
                                flow.note(|notes| notes.upstream_broke(error));
                            }
                            match error.is_some_and(answer::breaks_protocol) {
                                true => Flags::UPSTREAM_PROTOCOL_ERROR,
                                false => Flags::UPSTREAM_CONNECTION_TERMINATION,
                            }
                        }
                    });
                }
            }
            // A response's body is neither a call's nor sent again.
            BodyError::Timeout | BodyError::Cancelled(_) | BodyError::Superseded => {}
        }
        facts.overrule(&Bytes::from(error.to_string().replace(' ', "_")));
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let begun = std::mem::replace(&mut this.begun, true);
        if let Poll::Ready(frame) = this.poll_kind(cx) {
            match &frame {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    this.note(error);
                    if let (false, Some(End(flow))) = (begun, &this.end)
                        && flow.facts.flags.get().contains(Flags::LOCAL_RESET)
                    {
                        flow.facts.status.set(None);
                    }
                }
                None => this.ended = true,
            }
            return Poll::Ready(frame);
        }
        let Some(End(flow)) = &this.end else {
            return Poll::Ready(None);
        };
        let expired = std::task::ready!(this.timer.poll(cx, flow));
        answer::cut(flow, expired);
        Poll::Ready(Some(Err(BodyError::Timeout)))
    }

    fn is_end_stream(&self) -> bool {
        if self.withheld {
            return true;
        }
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Plain(body) => self.ended || body.is_end_stream(),
            Kind::Filtered(body) => body.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.withheld {
            return SizeHint::with_exact(0);
        }
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Plain(body) => body.size_hint(),
            Kind::Filtered(body) => body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let complete = match &self.kind {
            Kind::Full(_) => false,
            // One that is withheld may not have been read.
            Kind::Plain(body) => self.ended || body.is_end_stream(),
            Kind::Filtered(body) => body.is_ended() && body.has_read_all(),
        };
        if complete {
            if let Some(End(flow)) = &self.end {
                flow.note(Notes::upstream_done);
            }
            if let Some(lease) = self.lease.take() {
                lease.give_back();
            }
        } else if !self.is_end_stream()
            && let Some(End(flow)) = &self.end
            && flow.facts.flags.get().is_empty()
            && !flow.is_cut()
            && !flow.facts.head
        {
            let why = flow.facts.disconnected();
            flow.facts.overrule(&why);
        }
    }
}
