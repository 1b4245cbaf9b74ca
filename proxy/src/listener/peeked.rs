//! A stream whose first bytes have been looked at.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream, and the bytes that were read from it to look at.
#[derive(Debug)]
pub(crate) struct Peeked<S> {
    prefix: Bytes,
    stream: S,
}

// === impl Peeked ===

impl<S> Peeked<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self {
            prefix: Bytes::new(),
            stream,
        }
    }

    /// These are the next bytes to be read again.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        self.prefix = match self.prefix.is_empty() {
            true => Bytes::copy_from_slice(bytes),
            false => [bytes, &self.prefix].concat().into(),
        };
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Peeked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..length]);
        self.prefix.advance(length);
        if self.prefix.is_empty() {
            // An idle connection keeps nothing it does not need.
            self.prefix = Bytes::new();
            // What is there already comes along: a head that arrives in two reads makes
            // the codec double its buffer, for as long as the connection lives.
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Peeked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
