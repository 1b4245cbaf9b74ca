//! One filter's part in one exchange: what comes in from the side of the client or the
//! upstream, what the guest says to it, what goes on to the next filter (section 3.1).
//!
//! Each way is a small machine of its own. The two never wait for each other.

mod context;
mod inject;
mod part;

pub(crate) use context::Context;
pub(crate) use part::Broken;
pub use part::Part;
pub(crate) use part::Parts;

use bytes::Bytes;

use crate::callbacks::Callback;
use crate::error::Trap;
use crate::state::Access;
use crate::types::{DataAction, HeadersAction, MapType, Way};
use crate::version::AbiVersion;

/// A filter in a chain.
#[derive(Debug)]
pub(crate) struct StreamContext {
    pub(crate) context: Context,
    ways: [Direction; 2],
    /// It has seen the request's headers; without them it sees no response (section 6.1).
    started: bool,
    /// Header callbacks answering 1 hold the headers only.
    real_stop: bool,
}

/// One way of one filter.
#[derive(Debug, Default)]
struct Direction {
    head: Head,
    /// A body callback said stop; bytes wait in the window.
    paused: Option<DataAction>,
    trailers: Trailers,
    /// The body has ended, by itself or by trailers.
    ended: bool,
    /// The headers have gone ahead of what is held ([`inject`]).
    head_left: bool,
    /// The guest itself has put an end to it: what still comes is dropped ([`inject`]).
    finished: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Head {
    #[default]
    Expected,
    /// Held back by this action; `end` came with it.
    Held(HeadersAction, bool),
    Passed,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Trailers {
    #[default]
    None,
    /// Arrived while the headers were held: not shown yet.
    Waiting,
    /// Shown, and held back by the guest.
    Held,
    /// Shown and free to go once the rest goes.
    Shown,
}

// === impl StreamContext ===

impl StreamContext {
    pub(crate) fn new(context: Context) -> Self {
        let version = context.vm.borrow_mut().state().version;
        let asked_for = context.plugin.allow_on_headers_stop_iteration;
        Self {
            context,
            ways: [Direction::default(), Direction::default()],
            started: false,
            real_stop: asked_for || version == AbiVersion::V0_2_100,
        }
    }

    /// Takes a part that comes from the filter before, and puts what may go on into `out`.
    pub(crate) fn feed(&mut self, way: Way, part: Part, out: &mut Parts) -> Result<(), Broken> {
        let fed = self.take(way, part, out);
        self.context.set_held(self.holds(), way);
        fed
    }

    fn take(&mut self, way: Way, part: Part, out: &mut Parts) -> Result<(), Broken> {
        if self.context.dead || (way == Way::Response && !self.started) {
            out.push(part);
            return Ok(());
        }
        if self.way(way).finished {
            return Ok(());
        }
        match part {
            Part::Headers { end } => self.headers(way, end, out),
            Part::Data { bytes, end } => {
                self.context.with_window(way, |window| window.append(bytes));
                if self.holds_everything(way) {
                    self.way(way).ended |= end;
                    return self.check_limit(way);
                }
                self.body(way, end, out)
            }
            Part::Trailers => {
                self.way(way).ended = true;
                if self.holds_everything(way) {
                    self.way(way).trailers = Trailers::Waiting;
                    return Ok(());
                }
                self.trailers(way, out)
            }
        }
    }

    /// `proxy_continue_stream`: lets go of whatever is held that way.
    pub(crate) fn resume(&mut self, way: Way, out: &mut Parts) -> Result<(), Broken> {
        let resumed = self.let_go(way, out);
        self.context.set_held(self.holds(), way);
        resumed
    }

    fn let_go(&mut self, way: Way, out: &mut Parts) -> Result<(), Broken> {
        if self.context.dead || self.way(way).finished {
            return Ok(());
        }
        if let Head::Held(action, end) = self.way(way).head {
            self.release_head(way, end, out);
            if end {
                return Ok(());
            }
            if action == HeadersAction::StopHeaders {
                self.release(way, out);
                return Ok(());
            }
            // What came meanwhile is shown now, as one piece.
            let ended = self.way(way).ended;
            let trailers = self.way(way).trailers == Trailers::Waiting;
            let waiting = self
                .context
                .with_window(way, |window| window.len())
                .unwrap_or(0);
            if waiting > 0 || (ended && !trailers) {
                self.body(way, ended && !trailers, out)?;
            }
            if trailers && !self.context.is_stopped() {
                self.trailers(way, out)?;
            }
            return Ok(());
        }
        let direction = self.way(way);
        if direction.paused.is_some() || direction.trailers == Trailers::Held {
            self.release(way, out);
        }
        Ok(())
    }

    /// Whether the guest holds anything back.
    pub(crate) fn holds(&self) -> bool {
        !self.context.dead && self.ways.iter().any(Direction::holds_any)
    }

    /// Whether more of the body may be read that way.
    pub(crate) fn wants_more(&mut self, way: Way) -> bool {
        let direction = self.way(way);
        let watermark = matches!(
            direction.head,
            Head::Held(HeadersAction::StopAllAndWatermark, _)
        ) || direction.paused == Some(DataAction::StopAndWatermark);
        if self.context.dead || !watermark {
            return true;
        }
        let limit = self.context.body_limit(way);
        self.context
            .with_window(way, |window| window.len() <= limit)
            .unwrap_or(true)
    }

    /// Whether the guest has changed any of the body that way.
    pub(crate) fn changed_body(&self, way: Way) -> bool {
        self.context
            .with_window(way, |window| window.changed)
            .unwrap_or(false)
    }

    /// Whether the guest looks at bodies that way, or has changed this one without.
    pub(crate) fn sees_body(&self, way: Way) -> bool {
        let looks = || self.context.vm.borrow().exports(body_callback(way));
        !self.context.dead && (looks() || self.changed_body(way))
    }

    /// `proxy_on_log`, with all that is readable then.
    pub(crate) fn log(&mut self) -> Result<(), Box<Trap>> {
        let logging = [Access::Read, Access::None, Access::Read, Access::Read];
        let before = self
            .context
            .with_stream(|stream| std::mem::replace(&mut stream.access, logging));
        let logged = self.context.log();
        // What was out of reach before is so again.
        if let Some(before) = before {
            self.context.with_access(|access| *access = before);
        }
        logged
    }

    /// An answer goes around this filter: what it holds of the response is forgotten, and
    /// it sees no more of it.
    pub(crate) fn bypass_response(&mut self) {
        self.started = false;
        self.ways[Way::Response as usize] = Direction::default();
        self.context.drop_body(Way::Response);
    }

    fn headers(&mut self, way: Way, end: bool, out: &mut Parts) -> Result<(), Broken> {
        self.started = true;
        let (map, callback) = match way {
            Way::Request => (MapType::RequestHeaders, Callback::RequestHeaders),
            Way::Response => (MapType::ResponseHeaders, Callback::ResponseHeaders),
        };
        let value = self.context.show_map(callback, map, end)?;
        let action = if self.context.is_stopped() {
            HeadersAction::StopAllAndWatermark
        } else {
            HeadersAction::from_wire(value, self.real_stop)
        };
        self.way(way).ended = end;
        if action == HeadersAction::Continue {
            self.release_head(way, end, out);
        } else {
            self.way(way).head = Head::Held(action, end);
        }
        Ok(())
    }

    fn body(&mut self, way: Way, end: bool, out: &mut Parts) -> Result<(), Broken> {
        let value = self.context.show_body(body_callback(way), way, end)?;
        let asked = self.context.asked();
        let action = if asked.stop {
            DataAction::StopNoBuffer
        } else {
            DataAction::from_wire(value)
        };
        self.way(way).ended |= end;
        if asked.inject && way == Way::Response {
            // Before the bytes that it was shown, as it was asked for before they went on.
            self.inject(out);
            if self.way(way).finished {
                return Ok(());
            }
        }
        self.way(way).paused = (action != DataAction::Continue).then_some(action);
        match action {
            DataAction::Continue => self.release(way, out),
            DataAction::StopAndBuffer => return self.check_limit(way),
            DataAction::StopAndWatermark => {
                self.context.with_window(way, |window| window.hide());
            }
            DataAction::StopNoBuffer => {
                self.context
                    .with_window(way, |window| window.drop_visible());
            }
        }
        Ok(())
    }

    fn trailers(&mut self, way: Way, out: &mut Parts) -> Result<(), Broken> {
        let (map, callback) = trailers_of(way);
        self.way(way).trailers = Trailers::Shown;
        let value = self.context.show_map(callback, map, false)?;
        if value == 0 && !self.context.is_stopped() {
            self.release(way, out);
        } else {
            self.way(way).trailers = Trailers::Held;
        }
        Ok(())
    }

    fn release_head(&mut self, way: Way, end: bool, out: &mut Parts) {
        self.way(way).head = Head::Passed;
        let map = match way {
            Way::Request => MapType::RequestHeaders,
            Way::Response => MapType::ResponseHeaders,
        };
        self.context.close_map(map);
        if !std::mem::replace(&mut self.way(way).head_left, true) {
            out.push(Part::Headers { end });
        } else if end {
            out.push(Part::Data {
                bytes: Bytes::new(),
                end,
            });
        }
    }

    /// Everything held that way goes on.
    fn release(&mut self, way: Way, out: &mut Parts) {
        if let Head::Held(_, end) = self.way(way).head {
            self.release_head(way, end, out);
            if end {
                return;
            }
        }
        let bytes = self
            .context
            .with_window(way, crate::window::Window::take)
            .unwrap_or_default();
        let (map, _) = trailers_of(way);
        let direction = self.way(way);
        direction.paused = None;
        let ended = direction.ended;
        // Trailers that wait to be shown keep their place behind the body.
        let waiting = direction.trailers == Trailers::Waiting;
        let arrived = matches!(direction.trailers, Trailers::Held | Trailers::Shown);
        let created = ended
            && !arrived
            && !waiting
            && self
                .context
                .exchange
                .borrow()
                .map(map)
                .is_some_and(|trailers| !trailers.is_empty());
        if arrived || created {
            self.way(way).trailers = Trailers::Shown;
            self.context.close_map(map);
            if !bytes.is_empty() {
                out.push(Part::Data { bytes, end: false });
            }
            out.push(Part::Trailers);
        } else if (ended && !waiting) || !bytes.is_empty() {
            out.push(Part::Data {
                bytes,
                end: ended && !waiting,
            });
        }
    }

    const fn way(&mut self, way: Way) -> &mut Direction {
        &mut self.ways[way as usize]
    }

    /// Headers are held so that the body must not be shown.
    fn holds_everything(&mut self, way: Way) -> bool {
        matches!(
            self.way(way).head,
            Head::Held(
                HeadersAction::StopAllAndBuffer | HeadersAction::StopAllAndWatermark,
                _
            )
        )
    }

    /// Buffering past the limit breaks the stream; holding by watermark does not.
    fn check_limit(&mut self, way: Way) -> Result<(), Broken> {
        let direction = self.way(way);
        let buffers = matches!(
            direction.head,
            Head::Held(HeadersAction::StopAllAndBuffer, _)
        ) || direction.paused == Some(DataAction::StopAndBuffer);
        let limit = self.context.body_limit(way);
        let length = self
            .context
            .with_window(way, |window| window.len())
            .unwrap_or(0);
        if buffers && length > limit {
            Err(Broken::TooLarge(way))
        } else {
            Ok(())
        }
    }
}

// === impl Direction ===

impl Direction {
    /// Whether the guest holds any of it back.
    fn holds_any(&self) -> bool {
        matches!(self.head, Head::Held(..))
            || self.paused.is_some()
            || self.trailers == Trailers::Held
    }
}

const fn body_callback(way: Way) -> Callback {
    match way {
        Way::Request => Callback::RequestBody,
        Way::Response => Callback::ResponseBody,
    }
}

const fn trailers_of(way: Way) -> (MapType, Callback) {
    match way {
        Way::Request => (MapType::RequestTrailers, Callback::RequestTrailers),
        Way::Response => (MapType::ResponseTrailers, Callback::ResponseTrailers),
    }
}
