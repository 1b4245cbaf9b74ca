//! HTTP/2 by prior knowledge, told from HTTP/1 by the first bytes. Decided at the first
//! byte that differs from HTTP/2's preface, so that no HTTP/1 request, however short, waits
//! for bytes that never come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream and the bytes that were read from it to look at.
#[derive(Debug)]
pub(crate) struct Peeked<S> {
    prefix: Bytes,
    stream: S,
}

/// Reads until it is clear whether `stream` speaks HTTP/2.
///
/// # Errors
/// When the stream fails or ends before that.
pub(crate) async fn detect<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(Peeked<S>, bool)> {
    let mut buffer = [0; PREFACE.len()];
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        let so_far = &buffer[..length];
        let http2 = PREFACE.starts_with(so_far);
        if !http2 || length == PREFACE.len() {
            return Ok((
                Peeked {
                    prefix: Bytes::copy_from_slice(so_far),
                    stream,
                },
                http2,
            ));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn detected(chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let feed = async {
            for chunk in chunks {
                ours.write_all(chunk).await.expect("room");
                tokio::task::yield_now().await;
            }
            ours
        };
        let (ours, found) = tokio::join!(feed, detect(theirs));
        drop(ours);
        let (mut stream, http2) = found.expect("decided");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("rest");
        (all, http2)
    }

    #[tokio::test]
    async fn a_short_http1_request_is_decided_at_its_first_byte() {
        assert_eq!(detected(&[b"G"]).await, (b"G".to_vec(), false));
        assert_eq!(
            detected(&[b"PR", b"OPFIND"]).await,
            (b"PROPFIND".to_vec(), false)
        );
    }

    #[tokio::test]
    async fn the_preface_is_found_in_any_pieces_and_not_lost() {
        let (all, http2) =
            detected(&[&PREFACE[..3], &PREFACE[3..20], &PREFACE[20..], b"rest"]).await;
        assert!(http2);
        assert_eq!(all, [PREFACE, b"rest"].concat());
    }
}
