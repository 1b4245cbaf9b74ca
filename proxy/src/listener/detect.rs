//! HTTP/2 by prior knowledge, told from HTTP/1 by the first bytes. Decided at the first
//! byte that differs from HTTP/2's preface, so that no HTTP/1 request, however short, waits
//! for bytes that never come.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::peeked::Peeked;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether `stream` speaks HTTP/2; nothing is lost to whoever reads
/// next.
///
/// # Errors
/// When the stream fails or ends before that.
pub(super) async fn detect<S: AsyncRead + Unpin>(stream: &mut Peeked<S>) -> io::Result<bool> {
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
            stream.unread(so_far);
            return Ok(http2);
        }
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
        let mut stream = Peeked::new(theirs);
        let (ours, found) = tokio::join!(feed, detect(&mut stream));
        drop(ours);
        let http2 = found.expect("decided");
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
