//! gRPC's framing: one byte of flags, four of length, the message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

const PREFIX: usize = 5;

/// A message as it is sent. `None` for one of 4 GiB or more, which has no frame.
pub(super) fn encode(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Some(frame.freeze())
}

/// Puts messages together again, however their bytes are cut.
#[derive(Debug)]
pub(super) struct Decoder {
    held: BytesMut,
    /// Longest message taken, in bytes.
    limit: usize,
}

/// Bytes that are no message for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// Compressed, which we never offered.
    Compressed,
    /// Of that many bytes: beyond the limit.
    TooLarge(usize),
}

// === impl Decoder ===

impl Decoder {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            held: BytesMut::new(),
            limit,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// [`BadFrame`]; nothing after it can be understood.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, BadFrame> {
        let Some((prefix, rest)) = self.held.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [flags, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(BadFrame::TooLarge(length));
        }
        // An empty message is the same compressed or not.
        if flags != 0 && length > 0 {
            return Err(BadFrame::Compressed);
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.held.advance(PREFIX);
        Ok(Some(self.held.split_to(length).freeze()))
    }

    /// Whether a message has begun and not ended.
    pub(super) fn is_amid(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(messages: &[&str]) -> Vec<u8> {
        let encoded = messages.iter().filter_map(|text| encode(text.as_bytes()));
        encoded.flat_map(|frame| frame.to_vec()).collect()
    }

    #[test]
    fn a_message_is_framed_by_flags_and_length() {
        assert_eq!(encode(b"ab").as_deref(), Some(&b"\0\0\0\0\x02ab"[..]));
        assert_eq!(encode(b"").as_deref(), Some(&[0; 5][..]));
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let bytes = frames(&["one", "", "three"]);
        for cut in 1..=bytes.len() {
            let mut decoder = Decoder::new(100);
            let mut found = Vec::new();
            for chunk in bytes.chunks(cut) {
                decoder.push(chunk);
                while let Some(message) = decoder.next().expect("good frames") {
                    found.push(message);
                }
            }
            assert_eq!(found, ["one", "", "three"], "in pieces of {cut}");
            assert!(!decoder.is_amid());
        }
    }

    #[test]
    fn half_a_message_is_none() {
        let mut decoder = Decoder::new(100);
        decoder.push(&frames(&["whole"])[..9]);
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.is_amid());
    }

    #[test]
    fn a_length_beyond_the_limit_is_told_before_its_bytes_come() {
        let mut decoder = Decoder::new(4);
        decoder.push(&frames(&["1234"]));
        assert_eq!(decoder.next(), Ok(Some(Bytes::from("1234"))));
        decoder.push(b"\0\xff\xff\xff\xff");
        assert_eq!(decoder.next(), Err(BadFrame::TooLarge(0xffff_ffff)));
    }

    #[test]
    fn compressed_messages_are_refused() {
        let mut decoder = Decoder::new(4);
        decoder.push(b"\x01\0\0\0\x01");
        assert_eq!(decoder.next(), Err(BadFrame::Compressed));
    }
}
