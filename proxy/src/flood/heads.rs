//! HTTP/2 frames as they pass: their heads, in whatever pieces the bytes come. What they
//! mean is the codec's to judge.

use super::SETTINGS;

/// Length of a frame's head.
const HEAD: usize = 9;

/// Finds the heads in one direction of a connection.
#[derive(Debug)]
pub(super) struct Heads {
    /// Bytes until the next head.
    skip: usize,
    head: [u8; HEAD],
    /// How much of it is there.
    have: usize,
    /// What is skipped belongs to settings.
    settings: bool,
}

/// What has passed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    /// A frame's head.
    Head(Head),
    /// Some of what is behind a head of settings.
    Settings(&'a [u8]),
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Of its payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

// === impl Heads ===

impl Heads {
    /// Behind so many bytes that are no frames.
    pub(super) const fn behind(bytes: usize) -> Self {
        Self {
            skip: bytes,
            head: [0; HEAD],
            have: 0,
            settings: false,
        }
    }

    /// What comes next; each head is told when it is whole.
    pub(super) fn see(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Piece<'_>)) {
        loop {
            let (skipped, rest) = bytes.split_at(self.skip.min(bytes.len()));
            self.skip -= skipped.len();
            if self.settings && !skipped.is_empty() {
                tell(Piece::Settings(skipped));
            }
            if rest.is_empty() {
                return;
            }
            bytes = rest;
            let taken = bytes.len().min(HEAD - self.have);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEAD {
                return;
            }
            self.have = 0;
            let [a, b, c, kind, flags, stream @ ..] = self.head;
            let head = Head {
                length: u32::from_be_bytes([0, a, b, c]) as usize,
                kind,
                flags,
                // The first bit is reserved.
                stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
            };
            self.skip = head.length;
            self.settings = head.kind == SETTINGS;
            tell(Piece::Head(head));
        }
    }

    /// Whether the last frame has passed whole.
    pub(super) const fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, 5]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn heads_are_found_in_pieces_of_any_size() {
        let mut bytes = b"preface".to_vec();
        bytes.extend(frame(4, 0, b"twelve bytes"));
        bytes.extend(frame(0, 0x8000_0003, &[0xff; 700]));
        bytes.extend(frame(6, 0, &[1; 8]));
        for size in 1..=bytes.len() {
            let mut heads = Heads::behind(7);
            let (mut found, mut settings) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                heads.see(piece, |piece| match piece {
                    Piece::Head(head) => found.push((head.kind, head.length, head.stream)),
                    Piece::Settings(bytes) => settings.extend_from_slice(bytes),
                });
            }
            assert_eq!(found, [(4, 12, 0), (0, 700, 3), (6, 8, 0)], "{size}");
            assert_eq!(settings, b"twelve bytes", "{size}");
            assert!(heads.is_between());
        }
    }

    #[test]
    fn a_frame_that_is_not_whole_is_told_of() {
        let bytes = frame(0, 1, b"abc");
        for cut in 1..bytes.len() {
            let mut heads = Heads::behind(0);
            heads.see(&bytes[..cut], |_| ());
            assert!(!heads.is_between(), "{cut}");
        }
    }
}
