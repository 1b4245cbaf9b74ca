//! What the service manager is told, where there is one that wants to know (`sd_notify(3)`):
//! that the proxy serves, that it ends, that another process goes on as the main one.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells it `state`. Nobody is kept waiting for it, and nothing depends on it.
pub(crate) fn tell(state: &str) {
    if let Err(error) = try_tell(state) {
        tracing::debug!("the service manager was not told {state}: {error}");
    }
}

fn try_tell(state: &str) -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
