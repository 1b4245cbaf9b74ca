//! One way of a connection that nobody looks into.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Which side of it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    Read(ErrorKind),
    Write,
}

/// Copies to the end, and passes the end on; `moved` is told of every piece.
pub(crate) async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: impl Fn(usize),
) -> Result<(), Failed> {
    /// Most bytes taken at once.
    const READ: usize = 16 << 10;
    let mut buffer = vec![0; READ];
    loop {
        let read = from
            .read(&mut buffer)
            .await
            .map_err(|error| Failed::Read(error.kind()))?;
        if read == 0 {
            return to.shutdown().await.map_err(|_| Failed::Write);
        }
        moved(read);
        let sent = async {
            to.write_all(&buffer[..read]).await?;
            // TLS keeps what did not fit.
            to.flush().await
        };
        sent.await.map_err(|_: std::io::Error| Failed::Write)?;
    }
}
