//! One way of an exchange through its filters: pull from the codec, push through the
//! chain, hand on what comes out.
//!
//! Pulling is what makes back-pressure: nothing is read that nobody asked for. A paused
//! filter makes the poll pending; whatever resumes it wakes this way's waker, which the
//! exchange keeps.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cofferdam_abi::{Part, Way};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};

use crate::flow::Flow;
use crate::headers;
use crate::notes::Notes;

/// One way.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) flow: Rc<Flow>,
    way: Way,
    source: Option<Source>,
    /// HTTP/2 tells with the last bytes that they are the last; HTTP/1 shows it after them.
    early_end: bool,
}

/// Where a way's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A message's body.
    Body(Incoming),
    /// A connection that is no longer HTTP.
    Raw(ReadHalf<TokioIo<Upgraded>>),
}

/// Why nothing more comes.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// A filter wants the stream cut.
    Reset,
    /// The request was answered here: nobody wants the rest of it.
    Answered,
    /// Whoever sends went away or broke the protocol.
    Source(hyper::Error),
    /// The same of a connection that is no longer HTTP.
    Raw(std::io::Error),
}

// === impl Pump ===

impl Pump {
    pub(crate) fn new(flow: Rc<Flow>, way: Way, source: Option<Source>, http2: bool) -> Self {
        Self {
            flow,
            way,
            source,
            early_end: http2,
        }
    }

    /// Counts what has gone on to the client.
    pub(crate) fn count_sent(&self, bytes: usize) {
        if self.way == Way::Response {
            self.flow.facts.count(Way::Response, bytes);
        }
    }

    /// Whether the source was read to its end.
    pub(crate) const fn has_read_all(&self) -> bool {
        self.source.is_none()
    }

    /// What has not been read, for somebody else to see to.
    pub(crate) fn take_source(&mut self) -> Option<Incoming> {
        match self.source.take()? {
            Source::Body(body) => Some(body),
            Source::Raw(_) => None,
        }
    }

    /// The next part for the other side.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, Stopped>> {
        let flow = self.flow.clone();
        let Some(filters) = &flow.filters else {
            return Poll::Ready(Err(Stopped::Reset));
        };
        // What is read in this very call was activity then: the clock is not asked again.
        let mut read = false;
        loop {
            let way = self.way;
            let next = flow.with_chain(way, |chain| {
                chain.poll();
                if chain.is_reset() {
                    return Next::Stop(Stopped::Reset);
                }
                // The response is over: nobody wants the rest of the request.
                if way == Way::Request && (chain.is_ended() || chain.request_is_closed()) {
                    return Next::Stop(Stopped::Answered);
                }
                if let Some(part) = chain.pop(way) {
                    return Next::Part(part);
                }
                if way == Way::Response && chain.response_is_local() {
                    return Next::Wait;
                }
                if chain.wants_more(way) {
                    Next::Read
                } else {
                    Next::Wait
                }
            });
            match next {
                Some(Next::Part(part)) => {
                    if !read {
                        flow.touch();
                    }
                    return Poll::Ready(Ok(part));
                }
                Some(Next::Read) if self.source.is_some() => match self.poll_source(cx) {
                    Poll::Ready(Ok(())) => read = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        filters.exchange.borrow_mut().set_waker(way, cx.waker());
                        return Poll::Pending;
                    }
                },
                Some(Next::Read | Next::Wait) => {
                    filters.exchange.borrow_mut().set_waker(way, cx.waker());
                    return Poll::Pending;
                }
                Some(Next::Stop(stopped)) => return Poll::Ready(Err(stopped)),
                None => return Poll::Ready(Err(Stopped::Reset)),
            }
        }
    }

    /// Reads one frame and pushes it into the chain.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let Some(source) = &mut self.source else {
            return Poll::Pending;
        };
        let frame = std::task::ready!(source.poll_frame(cx));
        self.flow.touch();
        let part = match frame {
            None => {
                self.source = None;
                Part::Data {
                    bytes: Bytes::new(),
                    end: true,
                }
            }
            Some(Err(error)) => {
                self.source = None;
                return Poll::Ready(Err(error));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
                    let end = self.early_end && source.is_end_stream();
                    if end {
                        self.source = None;
                    }
                    match self.way {
                        Way::Request => self.flow.facts.count(Way::Request, bytes.len()),
                        Way::Response => self.flow.note(Notes::body_came),
                    }
                    if bytes.is_empty() && !end {
                        return Poll::Ready(Ok(()));
                    }
                    Part::Data { bytes, end }
                }
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else {
                        return Poll::Ready(Ok(()));
                    };
                    self.source = None;
                    if self.way == Way::Response {
                        self.flow.note(|notes| notes.trailers_came(&trailers));
                    }
                    let pairs = headers::trailers_map(&trailers);
                    if let Some(filters) = &self.flow.filters {
                        let mut exchange = filters.exchange.borrow_mut();
                        match self.way {
                            Way::Request => exchange.request_trailers = Some(pairs),
                            Way::Response => exchange.response_trailers = Some(pairs),
                        }
                    }
                    Part::Trailers
                }
            },
        };
        let way = self.way;
        // HTTP/1 shows the end after the last bytes, but a message of known length need
        // not be asked for it, and whoever reads by that length would not.
        let ends = self.source.as_ref().is_some_and(Source::is_end_stream);
        self.flow.with_chain(way, |chain| {
            chain.push(way, part);
            if ends {
                chain.push(
                    way,
                    Part::Data {
                        bytes: Bytes::new(),
                        end: true,
                    },
                );
            }
        });
        if ends {
            self.source = None;
        }
        Poll::Ready(Ok(()))
    }
}

// === impl Source ===

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        match self {
            Self::Body(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Stopped::Source))),
            Self::Raw(reader) => {
                let mut buffer = [const { MaybeUninit::uninit() }; RAW_READ];
                let mut buffer = ReadBuf::uninit(&mut buffer);
                match std::task::ready!(Pin::new(reader).poll_read(cx, &mut buffer)) {
                    Ok(()) if buffer.filled().is_empty() => Poll::Ready(None),
                    Ok(()) => Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(
                        buffer.filled(),
                    ))))),
                    Err(error) => Poll::Ready(Some(Err(Stopped::Raw(error)))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Body(body) => body.is_end_stream(),
            Self::Raw(_) => false,
        }
    }
}

/// Most bytes taken at once from a connection that is no longer HTTP.
const RAW_READ: usize = 16 << 10;

enum Next {
    Part(Part),
    Read,
    Wait,
    Stop(Stopped),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reset => f.write_str("a filter closed the stream"),
            Self::Answered => f.write_str("the request was answered before it was complete"),
            Self::Source(error) => write!(f, "the sender failed: {error}"),
            Self::Raw(error) => write!(f, "the sender failed: {error}"),
        }
    }
}

impl std::error::Error for Stopped {}
