//! How much is read of one connection before the other tasks of its worker have their turn.
//!
//! A codec reads on as long as bytes come and there is nothing to hand on: heads of responses that
//! announce another one, or the size of a chunk in endless digits. The runtime bounds how often
//! a task may read before others run, which is megabytes of them.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Most bytes that a task reads each time that it runs, give or take what one read takes.
const MOST: u64 = 64 << 10;

/// While nobody's task runs that is bounded.
const ANY: u64 = u64::MAX;

/// What the task that reads may still read before it lets others go first. Atomic because codecs
/// want their streams `Send`; there is one thread.
#[derive(Debug)]
pub(crate) struct Turn(AtomicU64);

// === impl Turn ===

impl Default for Turn {
    /// Nobody's: reads are bounded in the futures of [`Turn::each`], and nowhere else.
    fn default() -> Self {
        Self(AtomicU64::new(ANY))
    }
}

impl Turn {
    /// `reader`, which has a turn each time that it runs. It is bounded by what it reads at once,
    /// and not by what it reads in all: who writes as much as it reads never meets the bound.
    pub(crate) async fn each<R: Future + Unpin>(&self, mut reader: R) -> R::Output {
        poll_fn(|cx| {
            self.0.store(MOST, Ordering::Relaxed);
            let polled = Pin::new(&mut reader).poll(cx);
            self.0.store(ANY, Ordering::Relaxed);
            polled
        })
        .await
    }

    /// Reads, or lets others go first.
    pub(crate) fn read<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            // Woken only when all that is ready has run and the sockets have been looked at.
            ready!(pin!(tokio::task::yield_now()).poll(cx));
        }
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(cx, buffer);
        if left != ANY {
            let come = (buffer.filled().len() - before) as u64;
            self.0.store(left.saturating_sub(come), Ordering::Relaxed);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::task::LocalSet;

    /// Gives bytes without end, and no budget of the runtime's ends that.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buffer.initialize_unfilled().fill(b'0');
            buffer.set_filled(buffer.capacity());
            Poll::Ready(Ok(()))
        }
    }

    /// What one read takes.
    const PIECE: u64 = 5_000;

    /// Reads at most `most` bytes at once, as long as some come.
    fn read(turn: &Turn, most: u64, cx: &mut Context<'_>) -> u64 {
        let (mut all, mut bytes) = (0, [0; PIECE as usize]);
        while all < most {
            let mut buffer = ReadBuf::new(&mut bytes);
            if turn.read(&mut Endless, cx, &mut buffer).is_pending() {
                break;
            }
            all += buffer.filled().len() as u64;
        }
        all
    }

    #[tokio::test(flavor = "current_thread")]
    async fn whoever_reads_without_end_lets_others_go_first() {
        const TURNS: u64 = 100;
        let others = Rc::new(Cell::new(0));
        let counter = others.clone();
        let set = LocalSet::new();
        set.spawn_local(async move {
            loop {
                counter.set(counter.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        let (turn, mut all) = (Turn::default(), 0);
        let reader = poll_fn(|cx| {
            let come = read(&turn, ANY, cx);
            assert!(come < MOST + PIECE, "too much at once");
            all += come;
            if all < TURNS * MOST {
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        set.run_until(turn.each(reader)).await;
        assert!(others.get() >= TURNS / 2, "{}", others.get());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn whoever_reads_a_little_each_time_never_waits() {
        let turn = Turn::default();
        let mut times = 0;
        let reader = poll_fn(|cx| {
            assert_eq!(read(&turn, MOST / 2, cx).div_ceil(PIECE), 7);
            times += 1;
            if times < 100 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        turn.each(reader).await;
        // Nor is anybody else bounded.
        let all = poll_fn(|cx| Poll::Ready(read(&turn, 10 * MOST, cx))).await;
        assert!(all >= 10 * MOST, "{all}");
    }
}
