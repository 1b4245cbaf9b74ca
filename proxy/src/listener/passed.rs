//! The name that is asked for in TLS which somebody else will answer: read from the first
//! bytes of a connection, which go on as they came.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::peeked::Peeked;
use crate::tls::hello::{Look, look};

/// Reads until it is clear what the client asks for; nothing is lost to whoever reads next.
///
/// # Errors
/// When the stream fails.
pub(super) async fn hello<S: AsyncRead + Unpin>(stream: &mut Peeked<S>) -> io::Result<Look> {
    let mut seen = Vec::new();
    loop {
        let mut piece = [0; 2 << 10];
        let read = stream.read(&mut piece).await?;
        seen.extend_from_slice(&piece[..read]);
        let verdict = match look(&seen) {
            // It ends before there is a hello: it has said what it had to say.
            Look::Partial if read == 0 => Look::Other,
            Look::Partial => continue,
            verdict => verdict,
        };
        stream.unread(&seen);
        return Ok(verdict);
    }
}
