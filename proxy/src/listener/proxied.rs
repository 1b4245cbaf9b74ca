//! What a proxy before this one says of the client, read before anything else.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::peeked::Peeked;
use crate::config::ProxyProtocol;
use crate::connection::Connection;
use crate::proxy_protocol::{Origin, Parsed, Version, parse};
use crate::traffic::Event;

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    Header(Version, Origin),
    /// Something else, which is still to be read.
    Other,
    Malformed(Version, &'static str),
    /// Nothing at all.
    Ended,
}

/// What comes of a connection, and what is counted.
pub(super) type Verdict = Result<Option<Event>, Option<Event>>;

/// Reads the header where there must or may be one: the connection is then known to come from
/// whom it names.
///
/// # Errors
/// Where the connection is not to be served.
pub(super) async fn read<S: AsyncRead + Unpin>(
    wanted: &ProxyProtocol,
    connection: &mut Connection,
    stream: &mut Peeked<S>,
) -> Verdict {
    if !wanted.believes(connection.direct) {
        return match wanted.required {
            true => Err(Some(Event::ProxyUntrusted)),
            // What it sends is not looked at: it is no header, whatever it is.
            false => Ok(None),
        };
    }
    let Ok(beginning) = begin(stream).await else {
        return Err(None);
    };
    match beginning {
        Beginning::Header(version, origin) => {
            match origin {
                Origin::Sender => {}
                Origin::Client {
                    source,
                    destination,
                } => connection.comes_from(Some(source), Some(destination)),
                Origin::Unix => connection.comes_from(None, None),
            }
            Ok(Some(match version {
                Version::V1 => Event::ProxyV1Found,
                Version::V2 => Event::ProxyV2Found,
            }))
        }
        Beginning::Other if wanted.required => Err(Some(Event::ProxyMissing)),
        Beginning::Other => Ok(Some(Event::ProxyNone)),
        Beginning::Malformed(version, why) => {
            let peer = connection.direct;
            tracing::debug!(?peer, "a malformed header of the PROXY protocol: {why}");
            Err(Some(match version {
                Version::V1 => Event::ProxyV1Malformed,
                Version::V2 => Event::ProxyV2Malformed,
            }))
        }
        Beginning::Ended => Err(None),
    }
}

/// Reads no further than it must; what comes behind a header is put back.
async fn begin<S: AsyncRead + Unpin>(stream: &mut Peeked<S>) -> io::Result<Beginning> {
    let mut seen = Vec::new();
    loop {
        match parse(&seen) {
            Parsed::Partial => {}
            Parsed::Other => {
                stream.unread(&seen);
                return Ok(Beginning::Other);
            }
            Parsed::Whole(version, origin, length) => {
                stream.unread(&seen[length..]);
                return Ok(Beginning::Header(version, origin));
            }
            Parsed::Malformed(version, why) => return Ok(Beginning::Malformed(version, why)),
        }
        let mut piece = [0; 256];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(match seen.first() {
                None => Beginning::Ended,
                Some(b'P') => Beginning::Malformed(Version::V1, CUT),
                Some(_) => Beginning::Malformed(Version::V2, CUT),
            });
        }
        seen.extend_from_slice(&piece[..read]);
    }
}

const CUT: &str = "the connection has ended within it";

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    /// What is made of `bytes` that come in these pieces, and what is left to read.
    async fn begun(pieces: impl Iterator<Item = &[u8]>) -> (Beginning, Vec<u8>) {
        let (mut ours, theirs) = tokio::io::duplex(1 << 10);
        let mut stream = Peeked::new(theirs);
        let feed = async {
            for piece in pieces {
                ours.write_all(piece).await.expect("room");
                tokio::task::yield_now().await;
            }
            drop(ours);
        };
        let ((), beginning) = tokio::join!(feed, begin(&mut stream));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("rest");
        (beginning.expect("a verdict"), rest)
    }

    #[tokio::test]
    async fn nothing_behind_a_header_is_lost_however_it_is_cut() {
        let whole = b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n\r\n";
        let header = Beginning::Header(Version::V1, Origin::Sender);
        for at in 0..=whole.len() {
            let (one, other) = whole.split_at(at);
            let (beginning, rest) = begun([one, other].into_iter()).await;
            assert_eq!((&beginning, &rest[..]), (&header, &whole[15..]), "{at}");
        }
        let (beginning, rest) = begun(whole.chunks(1)).await;
        assert_eq!((beginning, &rest[..]), (header, &whole[15..]));
    }

    #[tokio::test]
    async fn what_is_no_header_is_all_left_to_read() {
        for text in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRI * HTTP/2.0",
            b"\r\n\r\n\0\r\nQUIX",
        ] {
            let (beginning, rest) = begun(text.chunks(1)).await;
            assert_eq!((beginning, &rest[..]), (Beginning::Other, text));
        }
    }

    #[tokio::test]
    async fn a_connection_may_end_before_there_is_a_verdict() {
        assert_eq!(begun([].into_iter()).await.0, Beginning::Ended);
        let cut = |version| Beginning::Malformed(version, CUT);
        let text = [&b"PROXY TCP4 1.2.3.4"[..]].into_iter();
        assert_eq!(begun(text).await.0, cut(Version::V1));
        let binary = [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..]].into_iter();
        assert_eq!(begun(binary).await.0, cut(Version::V2));
    }
}
