//! One way of a connection through its filters.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use cofferdam_abi::Way;
use cofferdam_abi::tcp::Chunk;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::Stopped;
use super::relay::{Filters, Relay};

/// Most bytes taken at once.
const READ: usize = 16 << 10;

/// Carries bytes that way until its end has been passed on.
pub(super) async fn pump(
    relay: &Relay,
    way: Way,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> Result<(), Stopped> {
    let Some(filters) = &relay.filters else {
        return Ok(());
    };
    loop {
        let Chunk { bytes, end } =
            poll_fn(|cx| poll_chunk(relay, filters, way, &mut from, cx)).await?;
        write(relay, way, &mut to, bytes).await?;
        if end {
            return to.shutdown().await.map_err(|_| Stopped::Write);
        }
    }
}

/// What to do next.
enum Next {
    Send(Chunk),
    Read,
    Wait,
    Stop,
}

/// The next bytes that the filters let leave that way.
fn poll_chunk(
    relay: &Relay,
    filters: &Filters,
    way: Way,
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
) -> Poll<Result<Chunk, Stopped>> {
    loop {
        let next = relay.with_chain(filters, way, |chain| {
            chain.poll();
            if let Some(chunk) = chain.pop(way) {
                Next::Send(chunk)
            } else if chain.closing().is_some() {
                Next::Stop
            } else if chain.wants_more(way) {
                Next::Read
            } else {
                Next::Wait
            }
        });
        match next {
            Next::Send(chunk) => return Poll::Ready(Ok(chunk)),
            Next::Stop => return Poll::Ready(Err(Stopped::Closed)),
            Next::Read => {
                if let Poll::Ready(read) = poll_read(from, cx) {
                    let chunk = read.map_err(|error| Stopped::Read(error.kind()))?;
                    relay.touch();
                    if way == Way::Request {
                        relay.count(way, chunk.bytes.len());
                    }
                    relay.with_chain(filters, way, |chain| chain.push(way, chunk));
                    continue;
                }
            }
            Next::Wait => {}
        }
        filters.exchange.borrow_mut().set_waker(way, cx.waker());
        return Poll::Pending;
    }
}

fn poll_read(
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<Chunk>> {
    let mut buffer = [const { MaybeUninit::uninit() }; READ];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
    let bytes = Bytes::copy_from_slice(buffer.filled());
    let end = bytes.is_empty();
    Poll::Ready(Ok(Chunk { bytes, end }))
}

/// Sends all of `bytes`. What is for the upstream is given up when the connection is to be
/// closed; what is for the client leaves first.
async fn write(
    relay: &Relay,
    way: Way,
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: Bytes,
) -> Result<(), Stopped> {
    let failed = |_: std::io::Error| Stopped::Write;
    poll_fn(|cx| {
        loop {
            let written = if bytes.is_empty() {
                // TLS keeps what did not fit.
                Pin::new(&mut *to).poll_flush(cx).map_ok(|()| 0)
            } else {
                Pin::new(&mut *to).poll_write(cx, &bytes)
            };
            match written {
                Poll::Pending if way == Way::Request && relay.poll_closed(way, cx).is_ready() => {
                    return Poll::Ready(Err(Stopped::Closed));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
                Poll::Ready(Ok(0)) if bytes.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Stopped::Write)),
                Poll::Ready(Ok(count)) => {
                    bytes.advance(count);
                    relay.touch();
                    if way == Way::Response {
                        relay.count(way, count);
                    }
                }
            }
        }
    })
    .await
}
