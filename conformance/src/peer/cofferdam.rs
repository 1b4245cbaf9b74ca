//! Cofferdam as a plain proxy: one listener without filters, one cluster, one worker.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;

use crate::process::Server;
use crate::scratch::Scratch;
use crate::{Error, Result};

/// Starts the program at `path`.
///
/// # Errors
/// There is no such program, or it cannot be started.
pub fn start(
    path: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    scratch: &Scratch,
) -> Result<Server> {
    let path = path
        .canonicalize()
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    let file = scratch.write("cofferdam.yaml", &configuration(listen, upstream))?;
    let arguments = [OsStr::new("run"), OsStr::new("--config"), file.as_os_str()];
    let log = scratch.path().join("cofferdam.log");
    Server::start("cofferdam", &path, arguments, log)
}

fn configuration(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "\
workers: 1
listeners:
  - name: plain
    address: {listen}
    routes:
      - match: {{ prefix: / }}
        cluster: upstream
clusters:
  - name: upstream
    endpoints: [\"{upstream}\"]
    protocol: http1
"
    )
}
