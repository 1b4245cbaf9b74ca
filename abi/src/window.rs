//! The part of a body that a filter has not passed on yet.

use bytes::{Bytes, BytesMut};

/// Bytes of one way, held by one filter of one stream.
///
/// Most chunks go through untouched, so a lone chunk is kept as it came; only a second
/// one, or an edit, makes a buffer of our own, which then grows in place.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Bytes,
    /// Bytes before this were answered with StopIterationAndWatermark: still to be sent,
    /// not to be shown again.
    hidden: usize,
    /// Whether a body callback is running.
    pub(crate) open: bool,
    /// Whether the guest changed anything that is still here or has left.
    pub(crate) changed: bool,
}

// === impl Window ===

impl Window {
    /// One with a whole message in it, during the callback that tells of it.
    pub(crate) fn opened(bytes: Bytes) -> Self {
        Self {
            bytes,
            open: true,
            ..Self::default()
        }
    }

    /// How many bytes are held, hidden ones included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the guest may see: the news during its body callback, everything that is held
    /// while it is paused.
    pub(crate) fn visible(&self) -> &[u8] {
        let from = if self.open { self.hidden } else { 0 };
        self.bytes.get(from..).unwrap_or_default()
    }

    /// All that is held.
    pub(crate) const fn held(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the guest may edit.
    pub(crate) fn is_editable(&self) -> bool {
        self.open || !self.bytes.is_empty()
    }

    /// Appends what has just arrived.
    pub(crate) fn append(&mut self, chunk: Bytes) {
        if self.bytes.is_empty() {
            self.bytes = chunk;
        } else if !chunk.is_empty() {
            let mut whole = self.take_mut(chunk.len());
            whole.extend_from_slice(&chunk);
            self.bytes = whole.freeze();
        }
    }

    /// Everything, to be passed on.
    pub(crate) fn take(&mut self) -> Bytes {
        self.hidden = 0;
        std::mem::take(&mut self.bytes)
    }

    /// What is here now is kept but not shown again.
    pub(crate) fn hide(&mut self) {
        self.hidden = self.bytes.len();
    }

    /// Forgets what was not hidden before.
    pub(crate) fn drop_visible(&mut self) {
        self.bytes.truncate(self.hidden);
    }

    /// Replaces `size` bytes at `start` by `data` (section 2.3). `start` at or past the end
    /// appends. Refuses an edit in the middle unless `splice`.
    pub(crate) fn edit(
        &mut self,
        start: usize,
        size: usize,
        data: &[u8],
        splice: bool,
    ) -> Result<(), ()> {
        let hidden = if self.open { self.hidden } else { 0 };
        let length = self.bytes.len().saturating_sub(hidden);
        let (start, end) = if start >= length {
            (length, length)
        } else if start == 0 || splice {
            (start, start.saturating_add(size).min(length))
        } else {
            return Err(());
        };
        self.changed = true;
        let (start, end) = (hidden + start, hidden + end);
        // Outside a body callback all of it can be edited: what was hidden stays so, new
        // bytes inside or at the end of it too.
        if !self.open && start <= self.hidden && self.hidden != 0 {
            let kept = self.hidden.saturating_sub(end.max(start));
            self.hidden = start + data.len() + kept;
        }
        if start == 0 && end == self.bytes.len() {
            self.bytes = Bytes::copy_from_slice(data);
        } else if start == self.bytes.len() {
            let mut whole = self.take_mut(data.len());
            whole.extend_from_slice(data);
            self.bytes = whole.freeze();
        } else {
            let mut whole = BytesMut::with_capacity(self.bytes.len() - (end - start) + data.len());
            whole.extend_from_slice(&self.bytes[..start]);
            whole.extend_from_slice(data);
            whole.extend_from_slice(&self.bytes[end..]);
            self.bytes = whole.freeze();
        }
        Ok(())
    }

    fn take_mut(&mut self, more: usize) -> BytesMut {
        match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(owned) => owned,
            Err(shared) => {
                let mut owned = BytesMut::with_capacity((shared.len() + more) * 2);
                owned.extend_from_slice(&shared);
                owned
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(start: usize, size: usize, data: &str, splice: bool) -> Result<String, ()> {
        let mut window = Window {
            bytes: Bytes::from_static(b"hello"),
            open: true,
            ..Window::default()
        };
        window.edit(start, size, data.as_bytes(), splice)?;
        Ok(String::from_utf8_lossy(window.visible()).into_owned())
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
        assert_eq!(window.visible(), b"cd");
        window
            .edit(0, 2, b"X", false)
            .expect("replace all that is shown");
        window.open = false;
        assert_eq!(window.visible(), b"abX");
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
        assert_eq!(window.visible()[765..], [255; 3]);
    }
}
