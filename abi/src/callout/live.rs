//! The callouts of one VM that are under way.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Token, TokenKind};
use crate::state::IdMap;

/// Streams whose remote side has closed and that the guest has never closed itself: so
/// many of them are remembered.
const MAX_CLOSED: usize = 1024;

/// All callouts of one VM, by token.
#[derive(Debug, Default)]
pub(crate) struct Callouts {
    live: IdMap<Live>,
    /// The last number given out, by kind.
    last: [u32; 4],
    /// Streams that the remote side has closed, oldest first; some are forgotten already.
    closed: VecDeque<Token>,
    /// How many of each root something may still come for.
    pending: IdMap<usize>,
    /// Bytes of requests that have no answer yet.
    bytes: usize,
}

/// One callout that a guest may still hear of, or name.
#[derive(Debug)]
pub(crate) struct Live {
    /// The root context it belongs to.
    pub(crate) root: u32,
    /// Bytes it was counted with.
    size: usize,
    /// The answer of a gRPC call, until its end is known to be a good one.
    pub(crate) message: Option<Bytes>,
    /// Nothing more can be sent on the stream.
    pub(crate) half_closed: bool,
    /// The guest has closed the stream: it is forgotten once the remote side has, too.
    pub(crate) closed_here: bool,
    /// Nothing more will come.
    pub(crate) closed_there: bool,
}

// === impl Callouts ===

impl Callouts {
    /// A new callout of `root`; `None` when no token of its kind is left.
    pub(crate) fn open(&mut self, kind: TokenKind, root: u32, size: usize) -> Option<Token> {
        let token = self.next(kind)?;
        self.bytes += size;
        *self.pending.entry(root).or_default() += 1;
        self.live.insert(
            token.number(),
            Live {
                root,
                size,
                message: None,
                half_closed: false,
                closed_here: false,
                closed_there: false,
            },
        );
        Some(token)
    }

    /// The callout of that token.
    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Live> {
        self.live.get_mut(&token.number())
    }

    /// The callout of that token, if it is of that root.
    pub(crate) fn of_root(&mut self, token: Token, root: u32) -> Option<&mut Live> {
        self.get(token).filter(|live| live.root == root)
    }

    /// Forgets a callout.
    pub(crate) fn close(&mut self, token: Token) -> Option<Live> {
        let live = self.live.remove(&token.number())?;
        if !live.closed_there {
            self.settle(live.root, live.size);
        }
        Some(live)
    }

    /// The remote side of a stream has closed: it can still be named, and is forgotten
    /// when it is closed here, or when too many have been left like this.
    pub(crate) fn close_there(&mut self, token: Token) {
        let Some(live) = self.get(token) else { return };
        if live.closed_there {
            return;
        }
        if live.closed_here {
            self.close(token);
            return;
        }
        live.closed_there = true;
        let (root, size) = (live.root, live.size);
        self.settle(root, size);
        self.closed.push_back(token);
        if self.closed.len() > MAX_CLOSED
            && let Some(oldest) = self.closed.pop_front()
            && self.get(oldest).is_some_and(|live| live.closed_there)
        {
            self.close(oldest);
        }
    }

    /// Forgets all callouts of a root; the tokens of those something may still come for.
    pub(crate) fn close_root(&mut self, root: u32) -> Vec<Token> {
        let mut gone: Vec<Token> = self
            .live
            .iter()
            .filter(|(_, live)| live.root == root)
            .map(|(token, _)| Token::from_wire(*token))
            .collect();
        gone.sort_unstable();
        gone.retain(|token| self.close(*token).is_some_and(|live| !live.closed_there));
        gone
    }

    /// How many callouts of a root something may still come for.
    pub(crate) fn count(&self, root: u32) -> usize {
        self.pending.get(&root).copied().unwrap_or(0)
    }

    /// Likewise of all roots.
    pub(crate) fn under_way(&self) -> usize {
        self.pending.values().sum()
    }

    /// Bytes of requests that have no answer yet.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing more comes for a callout of that root.
    fn settle(&mut self, root: u32, size: usize) {
        self.bytes -= size;
        if let Some(pending) = self.pending.get_mut(&root) {
            *pending -= 1;
            if *pending == 0 {
                self.pending.remove(&root);
            }
        }
    }

    /// The next token of that kind which is not live.
    fn next(&mut self, kind: TokenKind) -> Option<Token> {
        // Each live callout can be in the way once.
        for _ in 0..=self.live.len() {
            let last = &mut self.last[kind as usize];
            let token = Token::new(kind, last.wrapping_add(1)).or_else(|| Token::new(kind, 1))?;
            *last = token.number() >> 2;
            if !self.live.contains_key(&token.number()) {
                return Some(token);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u32 = u32::MAX >> 2;

    fn numbers(tokens: &[Token]) -> Vec<u32> {
        tokens.iter().map(|token| token.number()).collect()
    }

    #[test]
    fn numbers_begin_again_and_pass_over_what_lives() {
        let mut callouts = Callouts::default();
        for kind in [
            TokenKind::Http,
            TokenKind::GrpcCall,
            TokenKind::GrpcStream,
            TokenKind::Redis,
        ] {
            let first = callouts.open(kind, 1, 0).expect("a token");
            let second = callouts.open(kind, 1, 0).expect("a token");
            callouts.close(second);
            callouts.last[kind as usize] = LAST - 1;
            let after = [(); 3].map(|()| callouts.open(kind, 1, 0).expect("a token"));
            let kind = kind as u32;
            assert_eq!(first.number(), 4 | kind);
            assert_eq!(numbers(&after), [LAST << 2 | kind, 8 | kind, 12 | kind]);
        }
    }

    #[test]
    fn what_is_counted_is_counted_down_once() {
        let mut callouts = Callouts::default();
        let stream = callouts.open(TokenKind::GrpcStream, 1, 10).expect("token");
        let call = callouts.open(TokenKind::Http, 1, 5).expect("token");
        let other = callouts.open(TokenKind::Http, 2, 3).expect("token");
        let counts = |callouts: &Callouts| (callouts.count(1), callouts.count(2), callouts.bytes());
        assert_eq!(counts(&callouts), (2, 1, 18));
        callouts.close_there(stream);
        callouts.close_there(stream);
        assert_eq!(counts(&callouts), (1, 1, 8));
        assert!(callouts.close(stream).is_some() && callouts.close(stream).is_none());
        assert_eq!(counts(&callouts), (1, 1, 8));
        assert_eq!(callouts.close_root(1), [call]);
        assert_eq!(counts(&callouts), (0, 1, 3));
        assert!(callouts.close(other).is_some());
        assert_eq!(counts(&callouts), (0, 0, 0));
        assert!(callouts.pending.is_empty());
    }

    #[test]
    fn streams_nobody_closes_are_forgotten_oldest_first() {
        let mut callouts = Callouts::default();
        let mut tokens = Vec::new();
        for _ in 0..MAX_CLOSED + 10 {
            let token = callouts.open(TokenKind::GrpcStream, 1, 1).expect("token");
            callouts.close_there(token);
            tokens.push(token);
        }
        assert_eq!(callouts.live.len(), MAX_CLOSED);
        assert_eq!(callouts.closed.len(), MAX_CLOSED);
        assert!(callouts.get(tokens[9]).is_none() && callouts.get(tokens[10]).is_some());
        assert_eq!(callouts.count(1), 0);
    }
}
