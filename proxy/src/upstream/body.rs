//! The request's body as the upstream connection pulls it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cofferdam_abi::{Part, Way};
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::replay::Attempt;
use crate::callout::CallBody;
use crate::flow::{Broken, Flow};
use crate::pump::{Pump, Stopped};
use crate::serve::linger;
use crate::trailers;

/// A request's body on its way up.
#[derive(Debug)]
pub(crate) enum UpstreamBody {
    /// There is none.
    Empty,
    /// Straight from the client.
    Plain {
        /// What the client sends.
        body: Incoming,
        /// For counts and timers.
        flow: Rc<Flow>,
        /// Trailers the upstream can be sent; `None` is all of them.
        sendable: Option<Vec<HeaderName>>,
    },
    /// Through filters.
    Filtered(Filtered),
    /// Any of these, kept so that it can be sent again.
    Replayed(Attempt),
    /// Of a filter's own call.
    Call(CallBody),
}

/// A body that comes out of a chain of filters, with the framing it must keep.
#[derive(Debug)]
pub(crate) struct Filtered {
    pump: Pump,
    way: Way,
    /// A part that was taken before its turn: with the headers, or to see the end.
    first: Option<Part>,
    /// What fulfils the promise, until the end has come too. The codec counts: it asks for
    /// no more once it has these bytes, and the receiver takes them for the end.
    last: Bytes,
    ended: bool,
    /// What `content-length` still promises; a body that breaks it must not be sent.
    promised: Option<u64>,
    /// Trailers the receiver can be sent; `None` is all of them (HTTP/2).
    sendable: Option<Vec<HeaderName>>,
}

/// Why a body ends before its end.
#[derive(Debug)]
pub(crate) enum BodyError {
    Stopped(Stopped),
    Source(hyper::Error),
    /// The filters made another length of it than the headers that have left.
    Length,
    /// A timer of the exchange ran out.
    Timeout,
    /// A filter's call was given up.
    Cancelled(h2::Error),
    /// Another attempt sends it now.
    Superseded,
}

// === impl UpstreamBody ===

impl UpstreamBody {
    /// Takes back the client's body when nobody has sent it.
    pub(crate) fn take_source(self) -> Option<Incoming> {
        match self {
            Self::Empty => None,
            Self::Plain { body, .. } => Some(body),
            Self::Filtered(mut filtered) => filtered.pump.take_source(),
            Self::Replayed(attempt) => attempt.take_source(),
            Self::Call(_) => None,
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.poll_part(cx);
        if let Poll::Ready(Some(Err(BodyError::Stopped(Stopped::Answered)))) = &polled {
            // The client may still be sending: it is heard out, or it would meet a closed
            // connection before it has read its answer.
            linger(std::mem::replace(this, Self::Empty).take_source());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Plain { body, .. } => body.is_end_stream(),
            Self::Filtered(filtered) => filtered.ended,
            Self::Replayed(attempt) => attempt.is_end_stream(),
            Self::Call(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Plain { body, .. } => body.size_hint(),
            Self::Filtered(filtered) => filtered.size_hint(),
            Self::Replayed(attempt) => attempt.size_hint(),
            Self::Call(body) => body.size_hint(),
        }
    }
}

impl UpstreamBody {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            // The response is over: nobody wants the rest of the request.
            Self::Plain { flow, .. } if flow.is_finished() => {
                Poll::Ready(Some(Err(BodyError::Stopped(Stopped::Answered))))
            }
            Self::Plain {
                body,
                flow,
                sendable,
            } => {
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                    flow.watch_end(cx.waker());
                    return Poll::Pending;
                };
                flow.touch();
                if frame.is_none() || body.is_end_stream() {
                    flow.complete_request();
                }
                Poll::Ready(match frame {
                    None => None,
                    Some(Err(error)) => {
                        flow.break_request(Broken::ByClient);
                        Some(Err(BodyError::Source(error)))
                    }
                    Some(Ok(frame)) => match frame.into_trailers() {
                        Ok(found) => {
                            let found = trailers::restrict(found, sendable.as_deref());
                            (!found.is_empty()).then(|| Ok(Frame::trailers(found)))
                        }
                        Err(frame) => {
                            flow.facts
                                .count(Way::Request, frame.data_ref().map_or(0, Bytes::len));
                            Some(Ok(frame))
                        }
                    },
                })
            }
            Self::Call(body) => body.poll_frame(cx),
            Self::Replayed(attempt) => attempt.poll_frame(cx),
            Self::Filtered(filtered) => {
                let frame = std::task::ready!(filtered.poll_frame(cx));
                let flow = &filtered.pump.flow;
                match &frame {
                    Some(Err(BodyError::Stopped(Stopped::Source(_)))) => {
                        flow.break_request(Broken::ByClient)
                    }
                    Some(Err(BodyError::Length)) => flow.break_request(Broken::ByFilters),
                    _ => {}
                }
                if filtered.ended {
                    flow.complete_request();
                }
                Poll::Ready(frame)
            }
        }
    }
}

// === impl Filtered ===

impl Filtered {
    /// `first` is a part that was taken from the pump already; `promised` what the
    /// outgoing `content-length` says.
    pub(crate) fn new(
        pump: Pump,
        way: Way,
        first: Option<Part>,
        promised: Option<u64>,
        sendable: Option<Vec<HeaderName>>,
    ) -> Self {
        Self {
            pump,
            way,
            first,
            last: Bytes::new(),
            ended: false,
            promised,
            sendable,
        }
    }

    pub(crate) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether the message it is made of was read to its end.
    pub(crate) const fn has_read_all(&self) -> bool {
        self.pump.has_read_all()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.promised
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let part = match self.first.take() {
                Some(part) => part,
                None => match std::task::ready!(self.pump.poll_part(cx)) {
                    Ok(part) => part,
                    Err(stopped) => {
                        self.ended = true;
                        return Poll::Ready(Some(Err(BodyError::Stopped(stopped))));
                    }
                },
            };
            match part {
                Part::Headers { .. } => {}
                Part::Data { bytes, end } => {
                    self.ended = end;
                    if !self.keeps_promise(bytes.len(), end) {
                        self.ended = true;
                        return Poll::Ready(Some(Err(BodyError::Length)));
                    }
                    if self.way == Way::Response {
                        self.pump.flow.facts.count(Way::Response, bytes.len());
                    }
                    if !end && self.promised == Some(0) {
                        if !bytes.is_empty() {
                            self.last = bytes;
                        }
                        continue;
                    }
                    let bytes = if bytes.is_empty() {
                        std::mem::take(&mut self.last)
                    } else {
                        bytes
                    };
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Part::Trailers if !self.last.is_empty() => {
                    self.first = Some(Part::Trailers);
                    // HTTP/1 has no room for them behind a known length.
                    self.ended = self.sendable.is_some();
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.last)))));
                }
                Part::Trailers => {
                    self.ended = true;
                    if !self.keeps_promise(0, true) {
                        return Poll::Ready(Some(Err(BodyError::Length)));
                    }
                    let sendable = self.sendable.as_deref();
                    return Poll::Ready(
                        trailers::frame(&self.pump.flow, self.way, sendable).map(Ok),
                    );
                }
            }
        }
    }

    fn keeps_promise(&mut self, length: usize, end: bool) -> bool {
        let Some(promised) = &mut self.promised else {
            return true;
        };
        match promised.checked_sub(length as u64) {
            Some(left) => {
                *promised = left;
                !end || left == 0
            }
            None => false,
        }
    }
}

// === impl BodyError ===

impl BodyError {
    /// What the codec says of the message that the body was read from.
    pub(crate) const fn source_of_body(&self) -> Option<&hyper::Error> {
        match self {
            Self::Source(error) | Self::Stopped(Stopped::Source(error)) => Some(error),
            _ => None,
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::Source(error) => error.fmt(f),
            Self::Length => {
                f.write_str("filters changed the body's length after its headers had left")
            }
            Self::Timeout => f.write_str("a timeout of the route ran out"),
            Self::Cancelled(_) => f.write_str("the call was given up"),
            Self::Superseded => f.write_str("the request is sent again"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Tells the codec which code resets the stream.
            Self::Cancelled(reason) => Some(reason),
            _ => None,
        }
    }
}
