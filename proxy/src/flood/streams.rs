//! Streams of one connection to an upstream: how many are under way, and how many it allows.
//!
//! The codec keeps what is too much for its peer, without a bound and for longer than anybody
//! waits for it: so it must never be given that. What it counts is not told outside. But it
//! goes by frames, and those can be seen: a stream is open from its first head until both sides
//! have ended it or one has reset it. To these come the requests whose heads have not left yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

use super::heads::{Head, Piece};
use super::{ACK, DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS};

/// How many there are and may be. Atomic because the codec wants what carries it to be `Send`;
/// there is one thread.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Requests that have a place here and are not over for us.
    held: AtomicU32,
    /// Those, and some that are, whose heads have not left.
    asked: AtomicU32,
    /// Open, by the frames that have passed.
    open: AtomicU32,
    limit: AtomicU32,
    settled: AtomicBool,
    /// It began by saying that it takes none.
    useless: AtomicBool,
    /// It takes no new ones any more.
    leaving: AtomicBool,
    /// The other side does not read.
    blocked: AtomicBool,
    /// How often the codec has taken in what it was given.
    turn: AtomicU32,
    /// Told at its first settings.
    news: Notify,
    /// Told when there may be room, where somebody waits for that.
    freed: Option<Arc<Notify>>,
}

/// The streams of one connection as its frames show them.
#[derive(Debug)]
pub(super) struct Books {
    streams: Arc<Streams>,
    /// Open streams, the oldest first, and who has ended them.
    open: VecDeque<(u32, u8)>,
    /// The last that was opened.
    last: u32,
    settings: Settings,
}

/// A frame of settings, in whatever pieces it comes.
#[derive(Debug, Default)]
struct Settings {
    left: usize,
    one: [u8; SETTING],
    have: usize,
    limit: Option<u32>,
}

/// Assumed before its settings have come, as the codec does.
const ASSUMED: u32 = 100;
/// Length of one setting.
const SETTING: usize = 6;
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Who has ended a stream.
const WE: u8 = 1;
const THEY: u8 = 2;

// === impl Streams ===

impl Streams {
    pub(crate) fn new(freed: Option<Arc<Notify>>) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            open: AtomicU32::new(0),
            limit: AtomicU32::new(ASSUMED),
            settled: AtomicBool::new(false),
            useless: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            turn: AtomicU32::new(0),
            news: Notify::new(),
            freed,
        })
    }

    /// Takes a place for a request that is sent right away, if there is one.
    pub(crate) fn take(&self) -> bool {
        let room = self.has_room();
        if room {
            add(&self.held);
            add(&self.asked);
        }
        room
    }

    /// The request is over, or was never `sent`, that is given to the codec, in that turn. Its
    /// stream counts for as long as it is open.
    pub(crate) fn give_back(&self, sent: Option<u32>) {
        subtract(&self.held);
        // What the codec has not taken in yet it throws away; with what it has, a head leaves.
        if sent.is_none_or(|turn| turn == self.turn()) {
            subtract(&self.asked);
        }
        self.tell();
    }

    pub(crate) fn turn(&self) -> u32 {
        self.turn.load(Ordering::Relaxed)
    }

    /// The codec has taken in what it was given.
    pub(crate) fn taken_in(&self) {
        self.turn
            .store(self.turn().wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.is_leaving() && self.under_way() < self.limit()
    }

    /// Nobody has a request on it.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.load(Ordering::Relaxed) == 0
    }

    /// Nothing is under way on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_idle() && self.under_way() == 0
    }

    /// Whether it has begun by saying that it takes no request.
    pub(crate) fn is_useless(&self) -> bool {
        self.useless.load(Ordering::Relaxed)
    }

    /// How many it allows.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether GOAWAY has come.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Until its first settings have come.
    pub(crate) async fn settled(&self) {
        if !self.settled.load(Ordering::Relaxed) {
            self.news.notified().await;
        }
    }

    fn under_way(&self) -> u32 {
        let mut asked = self.asked.load(Ordering::Relaxed);
        // What the codec would not send has left no trace. But where nothing leaves it keeps
        // the heads even of those who are gone.
        if !self.blocked.load(Ordering::Relaxed) {
            asked = asked.min(self.held.load(Ordering::Relaxed));
            self.asked.store(asked, Ordering::Relaxed);
        }
        asked.saturating_add(self.open.load(Ordering::Relaxed))
    }

    fn announced(&self, limit: Option<u32>) {
        let first = !self.settled.swap(true, Ordering::Relaxed);
        let limit = match limit {
            Some(limit) => limit,
            None if first => u32::MAX,
            None => return,
        };
        self.limit.store(limit, Ordering::Relaxed);
        if first {
            self.useless.store(limit == 0, Ordering::Relaxed);
            self.news.notify_one();
        } else if limit > 0 {
            self.useless.store(false, Ordering::Relaxed);
            if let Some(freed) = &self.freed {
                freed.notify_waiters();
            }
        }
    }

    fn block(&self, blocked: bool) {
        if self.blocked.load(Ordering::Relaxed) != blocked {
            self.blocked.store(blocked, Ordering::Relaxed);
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(freed) = &self.freed {
            freed.notify_one();
        }
    }
}

// === impl Books ===

impl Books {
    pub(super) fn new(streams: Arc<Streams>) -> Self {
        Self {
            streams,
            open: VecDeque::new(),
            last: 0,
            settings: Settings::default(),
        }
    }

    /// What we have sent.
    pub(super) fn went(&mut self, head: Head) {
        match head.kind {
            HEADERS if head.stream > self.last => {
                self.last = head.stream;
                subtract(&self.streams.asked);
                add(&self.streams.open);
                self.open.push_back((head.stream, ended(head, WE)));
            }
            // Its head was thrown away within the codec.
            RST_STREAM if head.stream > self.last => {
                self.last = head.stream;
                subtract(&self.streams.asked);
            }
            _ => self.passed(head, WE),
        }
    }

    /// What the upstream has.
    pub(super) fn came(&mut self, piece: Piece<'_>) {
        let whole = match piece {
            Piece::Head(head) if head.kind == SETTINGS && head.flags & ACK == 0 => {
                self.settings = Settings {
                    left: head.length,
                    ..Settings::default()
                };
                head.length == 0
            }
            Piece::Head(head) if head.kind == GOAWAY => {
                self.streams.leaving.store(true, Ordering::Relaxed);
                // Whoever waits for it lets go of it.
                self.streams.tell();
                false
            }
            Piece::Head(head) => {
                self.passed(head, THEY);
                false
            }
            Piece::Settings(bytes) => self.settings.see(bytes),
        };
        if whole {
            self.streams.announced(self.settings.limit);
        }
    }

    /// Whether it could be written.
    pub(super) fn wrote(&self, written: bool) {
        self.streams.block(!written);
    }

    fn passed(&mut self, head: Head, by: u8) {
        let by = match head.kind {
            RST_STREAM => WE | THEY,
            HEADERS | DATA => ended(head, by),
            _ => 0,
        };
        if by == 0 {
            return;
        }
        let found = self.open.binary_search_by_key(&head.stream, |open| open.0);
        let Ok(index) = found else { return };
        let sides = &mut self.open[index].1;
        *sides |= by;
        if *sides == WE | THEY {
            self.open.remove(index);
            subtract(&self.streams.open);
            self.streams.tell();
        }
    }
}

// === impl Settings ===

impl Settings {
    /// Whether the frame is whole now.
    fn see(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.one[self.have] = *byte;
            self.have += 1;
            if self.have == SETTING {
                self.have = 0;
                let [a, b, value @ ..] = self.one;
                if u16::from_be_bytes([a, b]) == MAX_CONCURRENT_STREAMS {
                    self.limit = Some(u32::from_be_bytes(value));
                }
            }
        }
        self.left = self.left.saturating_sub(bytes.len());
        self.left == 0
    }
}

/// By whom a stream is ended with this frame.
const fn ended(head: Head, by: u8) -> u8 {
    if head.flags & END_STREAM != 0 { by } else { 0 }
}

fn add(word: &AtomicU32) {
    let value = word.load(Ordering::Relaxed);
    word.store(value.saturating_add(1), Ordering::Relaxed);
}

fn subtract(word: &AtomicU32) {
    let value = word.load(Ordering::Relaxed);
    word.store(value.saturating_sub(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u8, flags: u8, stream: u32) -> Head {
        Head {
            length: 0,
            kind,
            flags,
            stream,
        }
    }

    fn settle(books: &mut Books, settings: &[u8]) {
        let mut head = head(SETTINGS, 0, 0);
        head.length = settings.len();
        books.came(Piece::Head(head));
        for byte in settings.chunks(1) {
            books.came(Piece::Settings(byte));
        }
    }

    fn begun(settings: &[u8]) -> (Arc<Streams>, Books) {
        let streams = Streams::new(None);
        let mut books = Books::new(streams.clone());
        settle(&mut books, settings);
        (streams, books)
    }

    #[test]
    fn a_stream_is_open_until_both_have_ended_it_or_one_has_reset_it() {
        let (streams, mut books) = begun(&[0, 4, 0, 0, 9, 9, 0, 3, 0, 0, 0, 1]);
        assert!(streams.take() && !streams.take());
        books.went(head(HEADERS, 0, 1));
        assert!(!streams.has_room());
        // The end of the one side, and even of the request, is not that of the stream.
        books.came(Piece::Head(head(DATA, END_STREAM, 1)));
        streams.give_back(Some(0));
        assert!(streams.is_idle() && !streams.has_room());
        books.went(head(HEADERS, END_STREAM, 1));
        assert!(streams.take());
        books.went(head(HEADERS, END_STREAM, 3));
        books.came(Piece::Head(head(RST_STREAM, 0, 3)));
        books.came(Piece::Head(head(RST_STREAM, 0, 3)));
        assert!(streams.take() && !streams.take());
        books.went(head(HEADERS, 0, 5));
        books.went(head(RST_STREAM, 0, 5));
        assert!(streams.has_room());
    }

    #[test]
    fn who_goes_before_the_codec_has_looked_takes_his_place_along() {
        let (streams, mut books) = begun(&[0, 3, 0, 0, 0, 3]);
        assert!(streams.take());
        streams.taken_in();
        books.went(head(HEADERS, END_STREAM, 1));
        // With one that goes on, there is no other way to tell.
        for _ in 0..10 {
            assert!(streams.take());
            streams.give_back(Some(streams.turn()));
        }
        assert!(streams.take() && streams.take() && !streams.take());
        // One whose head the codec has thrown away.
        streams.taken_in();
        streams.give_back(Some(1));
        books.went(head(RST_STREAM, 0, 3));
        books.went(head(HEADERS, END_STREAM, 5));
        assert!(streams.take() && !streams.take());
    }

    #[test]
    fn who_goes_before_his_head_has_left_counts_where_nothing_leaves() {
        let (streams, books) = begun(&[0, 3, 0, 0, 0, 2]);
        assert!(streams.take());
        streams.give_back(None);
        books.wrote(false);
        assert!(streams.take());
        streams.taken_in();
        streams.give_back(Some(0));
        assert!(streams.take() && !streams.take());
        books.wrote(true);
        assert!(streams.take() && !streams.take());
    }

    #[test]
    fn settings_change() {
        let (streams, mut books) = begun(&[]);
        let taken = (0..500).filter(|_| streams.take()).count();
        assert_eq!(taken, 500);
        settle(&mut books, &[0, 3, 0, 0, 0, 0]);
        assert!(!streams.has_room() && !streams.is_useless());
        settle(&mut books, &[0, 3, 0, 0, 1, 0xf5]);
        assert!(streams.take() && !streams.take());
        books.came(Piece::Head(head(GOAWAY, 0, 0)));
        (0..501).for_each(|_| streams.give_back(Some(0)));
        assert!(!streams.has_room() && streams.is_idle());

        let (streams, mut books) = begun(&[0, 3, 0, 0, 0, 0]);
        assert!(streams.is_useless() && !streams.take());
        settle(&mut books, &[0, 3, 0, 0, 0, 1]);
        assert!(!streams.is_useless() && streams.take());
    }

    #[test]
    fn before_its_settings_a_hundred_are_allowed() {
        let streams = Streams::new(None);
        assert_eq!((0..500).filter(|_| streams.take()).count(), 100);
    }
}
