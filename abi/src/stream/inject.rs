//! Bytes a guest puts into a response behind itself (section 13): streamed answers to a
//! response that it holds back.
//!
//! Headers that are held go ahead of them; what the filter holds of the body stays held
//! until the guest lets it go, or is dropped when the guest ends the response itself.

use super::{Direction, Head, Part, Parts, StreamContext};
use crate::types::{MapType, Way};

impl StreamContext {
    /// Puts what the guest has asked for into `out`.
    pub(crate) fn inject(&mut self, out: &mut Parts) {
        let injected = self.context.with_stream(|stream| stream.injected.take());
        let Some(injected) = injected.flatten() else {
            return;
        };
        let direction = self.way(Way::Response);
        let over = direction.ended && !direction.holds_any();
        if direction.head == Head::Expected || direction.finished || over {
            return;
        }
        // The length that the headers give is not that of the body any more.
        self.context
            .with_window(Way::Response, |window| window.changed = true);
        let direction = self.way(Way::Response);
        if !std::mem::replace(&mut direction.head_left, true) {
            self.context.close_map(MapType::ResponseHeaders);
            out.push(Part::Headers { end: false });
        }
        let end = injected.end;
        if end {
            *self.way(Way::Response) = Direction {
                head: Head::Passed,
                head_left: true,
                finished: true,
                ..Direction::default()
            };
            self.context.with_window(Way::Response, |window| {
                window.take();
            });
        }
        out.push(Part::Data {
            bytes: injected.bytes.freeze(),
            end,
        });
    }
}
