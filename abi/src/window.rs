//! The part of a body that a filter has not passed on yet.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Bytes of one way, held by one filter of one stream.
///
/// Chunks are kept as they came: a guest that reads all of them has them copied straight
/// into its memory, and one that replaces them has nothing copied but what it puts there.
/// They become one buffer when something else wants them whole.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Bytes,
    /// What came after it.
    more: Vec<Bytes>,
    /// Of all of them.
    length: usize,
    /// Bytes before this were answered with StopIterationAndWatermark: still to be sent,
    /// not to be shown again.
    hidden: usize,
    /// How much the guest has added to what came, beyond what it has taken away.
    grown: usize,
    /// Whether a body callback is running.
    pub(crate) open: bool,
    /// Whether the guest changed anything that is still here or has left.
    pub(crate) changed: bool,
}

/// Smaller chunks are copied together: each would keep the whole buffer it was read into.
const PIECE: usize = 2048;

// === impl Window ===

impl Window {
    /// One with a whole message in it, during the callback that tells of it.
    pub(crate) fn opened(bytes: Bytes) -> Self {
        Self {
            length: bytes.len(),
            bytes,
            open: true,
            ..Self::default()
        }
    }

    /// How many bytes are held, hidden ones included.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// How much the guest may see: the news during its body callback, everything that is
    /// held while it is paused.
    pub(crate) fn visible_len(&self) -> usize {
        self.length - self.first_visible()
    }

    /// Copies what the guest may see from `start` on into `place`; whether there was so
    /// much.
    pub(crate) fn copy_visible(&self, start: usize, mut place: &mut [u8]) -> bool {
        let mut skip = self.first_visible().saturating_add(start);
        for piece in std::iter::once(&self.bytes).chain(&self.more) {
            let Some(rest) = piece.get(skip..) else {
                skip -= piece.len();
                continue;
            };
            skip = 0;
            let count = rest.len().min(place.len());
            let (filled, empty) = place.split_at_mut(count);
            filled.copy_from_slice(&rest[..count]);
            place = empty;
        }
        place.is_empty()
    }

    fn first_visible(&self) -> usize {
        let from = if self.open { self.hidden } else { 0 };
        from.min(self.length)
    }

    /// All of a window that nothing has been appended to.
    pub(crate) const fn held(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the guest may edit.
    pub(crate) const fn is_editable(&self) -> bool {
        self.open || self.length != 0
    }

    /// Appends what has just arrived.
    pub(crate) fn append(&mut self, chunk: Bytes) {
        if self.length == 0 {
            self.length = chunk.len();
            self.bytes = chunk;
            return;
        }
        self.length += chunk.len();
        if chunk.len() >= PIECE {
            return self.more.push(chunk);
        }
        let last = self.more.last_mut().unwrap_or(&mut self.bytes);
        if last.len() < PIECE {
            extend(last, &chunk);
        } else {
            self.more.push(Bytes::copy_from_slice(&chunk));
        }
    }

    /// Everything, to be passed on.
    pub(crate) fn take(&mut self) -> Bytes {
        self.join();
        self.hidden = 0;
        self.length = 0;
        self.grown = 0;
        std::mem::take(&mut self.bytes)
    }

    /// What is here now is kept but not shown again.
    pub(crate) const fn hide(&mut self) {
        self.hidden = self.length;
    }

    /// Forgets what was not hidden before.
    pub(crate) fn drop_visible(&mut self) {
        if self.hidden == 0 {
            self.more.clear();
        } else {
            self.join();
        }
        self.bytes.truncate(self.hidden);
        self.length = self.bytes.len();
        self.grown = self.grown.min(self.length);
    }

    /// Makes one buffer of all of it.
    fn join(&mut self) {
        if !self.more.is_empty() {
            let mut whole = BytesMut::with_capacity(self.length);
            whole.extend_from_slice(&self.bytes);
            for piece in self.more.drain(..) {
                whole.extend_from_slice(&piece);
            }
            self.bytes = whole.freeze();
        }
    }

    /// What `size` bytes at `start` are (section 2.3): `start` at or past the end is where
    /// something is appended. Refuses an edit in the middle unless `splice`.
    pub(crate) fn place(
        &self,
        start: usize,
        size: usize,
        splice: bool,
    ) -> Result<Range<usize>, ()> {
        let hidden = self.first_visible();
        let length = self.visible_len();
        let (start, end) = if start >= length {
            (length, length)
        } else if start == 0 || splice {
            (start, start.saturating_add(size).min(length))
        } else {
            return Err(());
        };
        Ok(hidden + start..hidden + end)
    }

    /// How much the guest would have added if `size` bytes came to that place.
    pub(crate) fn grown_by(&self, place: &Range<usize>, size: usize) -> usize {
        self.grown.saturating_add(size).saturating_sub(place.len())
    }

    /// Puts `data` in that [place](Window::place).
    pub(crate) fn edit(&mut self, place: Range<usize>, data: &[u8]) {
        self.changed = true;
        self.grown = self.grown_by(&place, data.len());
        let Range { start, end } = place;
        // Outside a body callback all of it can be edited: what was hidden stays so, new
        // bytes inside or at the end of it too.
        if !self.open && start <= self.hidden && self.hidden != 0 {
            let kept = self.hidden.saturating_sub(end.max(start));
            self.hidden = start + data.len() + kept;
        }
        if start == 0 && end == self.length {
            self.more.clear();
            self.bytes = Bytes::copy_from_slice(data);
        } else if start == self.length {
            self.join();
            extend(&mut self.bytes, data);
        } else {
            self.join();
            let mut whole = BytesMut::with_capacity(self.length - (end - start) + data.len());
            whole.extend_from_slice(&self.bytes[..start]);
            whole.extend_from_slice(data);
            whole.extend_from_slice(&self.bytes[end..]);
            self.bytes = whole.freeze();
        }
        self.length = self.bytes.len();
    }
}

/// Appends to a buffer: in place if it is ours alone.
fn extend(bytes: &mut Bytes, more: &[u8]) {
    let mut whole = match std::mem::take(bytes).try_into_mut() {
        Ok(owned) => owned,
        Err(shared) => {
            let mut owned = BytesMut::with_capacity((shared.len() + more.len()) * 2);
            owned.extend_from_slice(&shared);
            owned
        }
    };
    whole.extend_from_slice(more);
    *bytes = whole.freeze();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(start: usize, size: usize, data: &str, splice: bool) -> Result<String, ()> {
        let mut window = Window::opened(Bytes::from_static(b"hello"));
        let place = window.place(start, size, splice)?;
        window.edit(place, data.as_bytes());
        Ok(String::from_utf8_lossy(&visible(&window)).into_owned())
    }

    fn visible(window: &Window) -> Vec<u8> {
        let mut all = vec![0; window.visible_len()];
        assert!(window.copy_visible(0, &mut all));
        all
    }

    #[test]
    fn edits_follow_the_table() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(edited(0, 0, "X", false), ok("Xhello"));
        assert_eq!(edited(0, 2, "X", false), ok("Xllo"));
        assert_eq!(edited(0, 5, "X", false), ok("X"));
        assert_eq!(edited(0, 0x7fff_ffff, "", false), ok(""));
        assert_eq!(edited(5, 0, "X", false), ok("helloX"));
        assert_eq!(edited(0x7fff_ffff, 9, "X", false), ok("helloX"));
        assert_eq!(edited(2, 1, "X", false), Err(()));
        assert_eq!(edited(2, 1, "X", true), ok("heXlo"));
        assert_eq!(edited(2, usize::MAX, "X", true), ok("heX"));
    }

    #[test]
    fn hidden_bytes_are_not_shown_and_not_lost() {
        let mut window = Window {
            open: true,
            ..Window::default()
        };
        window.append(Bytes::from_static(b"ab"));
        window.hide();
        window.append(Bytes::from_static(b"cd"));
        assert_eq!(visible(&window), b"cd");
        let shown = window.place(0, 2, false).expect("all that is shown");
        window.edit(shown, b"X");
        window.open = false;
        assert_eq!(visible(&window), b"abX");
        assert_eq!(window.take(), &b"abX"[..]);
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn bytes_not_buffered_are_lost_and_others_are_not() {
        let mut window = Window {
            open: true,
            ..Window::default()
        };
        window.append(Bytes::from_static(b"keep"));
        window.hide();
        window.append(Bytes::from_static(b"drop"));
        window.drop_visible();
        assert_eq!(window.take(), &b"keep"[..]);
    }

    #[test]
    fn growing_chunk_by_chunk_keeps_every_byte() {
        let mut window = Window::default();
        for byte in 0..=255_u8 {
            window.append(Bytes::copy_from_slice(&[byte; 3]));
        }
        assert_eq!(window.len(), 768);
        assert_eq!(visible(&window)[765..], [255; 3]);
    }

    #[test]
    fn pieces_read_and_change_as_one_buffer_would() {
        let sizes = [1, 5000, 3, 4, 2048, 2047, 9000, 1, 8192];
        let whole: Vec<u8> = (0..sizes.iter().sum())
            .map(|at: usize| u8::try_from(at % 251).unwrap_or(0))
            .collect();
        let filled = |open: bool| {
            let mut window = Window {
                open,
                ..Window::default()
            };
            let mut rest = Bytes::copy_from_slice(&whole);
            for size in sizes {
                window.append(rest.split_to(size));
            }
            window
        };
        assert!(filled(true).more.len() > 3, "it is in pieces");
        assert_eq!(visible(&filled(true)), whole);
        assert_eq!(filled(false).take(), whole);
        for start in [0, 1, 4999, 5001, 5008, 20_000, whole.len()] {
            for length in [0, 1, 3000, whole.len() - start] {
                let length = length.min(whole.len() - start);
                let mut part = vec![0; length];
                assert!(filled(true).copy_visible(start, &mut part));
                assert_eq!(part, whole[start..start + length]);
                let mut window = filled(true);
                let place = window.place(start, length, true).expect("may");
                window.edit(place, b"new");
                let mut wanted = whole.clone();
                wanted.splice(start..start + length, *b"new");
                assert_eq!(visible(&window), wanted, "{start} {length}");
                assert_eq!(window.take(), wanted);
            }
        }
        assert!(!filled(true).copy_visible(1, &mut vec![0; whole.len()]));
        let mut window = filled(true);
        window.hide();
        window.append(Bytes::from_static(&[7; 3000]));
        assert_eq!(visible(&window), [7; 3000]);
        window.drop_visible();
        assert_eq!(window.take(), whole);
    }
}
