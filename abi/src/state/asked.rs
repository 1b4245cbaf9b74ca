//! What roots ask of the embedder, queued until the callback is over.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use crate::callout::{Callout, RedisClient, Token};
use crate::vm::RootId;

/// What a root context asks its embedder for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootEffect {
    /// Call `proxy_on_tick` every so often, the next period starting when the call has
    /// ended; `None` stops it.
    Tick {
        /// The root context.
        root: RootId,
        /// Never zero.
        period: Option<Duration>,
    },
    /// `proxy_done` after a refused `proxy_on_done`: the root may go now.
    Done {
        /// The root context.
        root: RootId,
    },
    /// Begin a callout; see [`crate::callout`] for this and what follows.
    Call {
        /// The root context.
        root: RootId,
        /// Its name from now on.
        token: Token,
        /// What to send, and to whom.
        call: Box<Callout>,
    },
    /// Send a message on a gRPC stream.
    Send {
        /// The root context.
        root: RootId,
        /// The stream.
        token: Token,
        /// Without its frame.
        message: Bytes,
        /// It is the last one.
        end: bool,
    },
    /// Nothing more will be sent on a gRPC stream; what comes is still wanted.
    HalfClose {
        /// The root context.
        root: RootId,
        /// The stream.
        token: Token,
    },
    /// Nobody wants to hear of that callout any more: reset it. Comes for each callout of
    /// a root that goes, too.
    Cancel {
        /// The root context, which may be gone.
        root: RootId,
        /// The callout.
        token: Token,
    },
    /// Speak to a cluster of Redis servers like this.
    RedisClient {
        /// The root context.
        root: RootId,
        /// What it wants.
        client: Box<RedisClient>,
    },
}

/// What roots have asked for and the embedder has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct RootEffects {
    list: Vec<RootEffect>,
    /// What they keep in the host, in bytes: also for a call that has been given up since.
    bytes: usize,
}

// === impl RootEffect ===

impl RootEffect {
    /// The last timer, and the last client of a cluster, is the one meant.
    fn is_replaced_by(&self, new: &Self) -> bool {
        let same = match (self, new) {
            (Self::Tick { .. }, Self::Tick { .. }) => true,
            (Self::RedisClient { client: old, .. }, Self::RedisClient { client: new, .. }) => {
                old.cluster == new.cluster
            }
            _ => false,
        };
        same && self.root() == new.root()
    }

    /// The root context that asks.
    #[must_use]
    pub const fn root(&self) -> RootId {
        match self {
            Self::Tick { root, .. }
            | Self::Done { root }
            | Self::Call { root, .. }
            | Self::Send { root, .. }
            | Self::HalfClose { root, .. }
            | Self::Cancel { root, .. }
            | Self::RedisClient { root, .. } => *root,
        }
    }

    /// Whose it is, if it is about a callout.
    const fn token(&self) -> Option<Token> {
        match self {
            Self::Call { token, .. }
            | Self::Send { token, .. }
            | Self::HalfClose { token, .. }
            | Self::Cancel { token, .. } => Some(*token),
            Self::Tick { .. } | Self::Done { .. } | Self::RedisClient { .. } => None,
        }
    }

    /// Bytes that it keeps: the guest's, and about what it takes however few these are.
    fn size(&self) -> usize {
        const CALL: usize = 512;
        const OTHER: usize = 128;
        match self {
            Self::Call { call, .. } => CALL + call.size(),
            Self::Send { message, .. } => OTHER + message.len(),
            Self::RedisClient { client, .. } => OTHER + client.user.len() + client.password.len(),
            Self::Tick { .. }
            | Self::Done { .. }
            | Self::HalfClose { .. }
            | Self::Cancel { .. } => OTHER,
        }
    }
}

// === impl RootEffects ===

impl RootEffects {
    pub(crate) fn push(&mut self, effect: RootEffect) {
        if matches!(
            effect,
            RootEffect::Tick { .. } | RootEffect::RedisClient { .. }
        ) {
            self.retain(|old| !old.is_replaced_by(&effect));
        }
        self.bytes = self.bytes.saturating_add(effect.size());
        self.list.push(effect);
    }

    /// All of them; there is room for others then. Of callouts that were given up before anybody
    /// has heard of them nothing is among them: beginning and ending one takes a guest less time
    /// than whoever would have to do both.
    pub(crate) fn take(&mut self) -> Vec<RootEffect> {
        let mut list = std::mem::take(self).list;
        let given_up = |effect: &RootEffect| match effect {
            RootEffect::Cancel { token, .. } => Some(*token),
            _ => None,
        };
        let given_up: HashSet<Token> = list.iter().filter_map(given_up).collect();
        if !given_up.is_empty() {
            let begun = |effect: &RootEffect| match effect {
                RootEffect::Call { token, .. } if given_up.contains(token) => Some(*token),
                _ => None,
            };
            let unheard: HashSet<Token> = list.iter().filter_map(begun).collect();
            list.retain(|effect| effect.token().is_none_or(|token| !unheard.contains(&token)));
        }
        list
    }

    /// Drops what a root has asked for; the callouts among it, which nobody has heard of.
    pub(super) fn forget(&mut self, root: RootId) -> Vec<Token> {
        let mut unheard = Vec::new();
        self.retain(|effect| {
            let gone = effect.root() == root;
            if gone && let RootEffect::Call { token, .. } = effect {
                unheard.push(*token);
            }
            !gone
        });
        unheard
    }

    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn retain(&mut self, mut stays: impl FnMut(&RootEffect) -> bool) {
        let bytes = &mut self.bytes;
        self.list.retain(|effect| {
            let stays = stays(effect);
            if !stays {
                *bytes = bytes.saturating_sub(effect.size());
            }
            stays
        });
    }
}
