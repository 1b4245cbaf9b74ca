//! nginx behind the proxy.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::{Dir, LONGEST, Upstream, require};

/// A running nginx; gone with the test.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) dir: Dir,
}

impl Nginx {
    /// One whose `http` block has in it what `http` makes of its address and its folder, where
    /// it is installed.
    pub(crate) fn start(http: impl FnOnce(SocketAddr, &str) -> String) -> Option<Self> {
        let program = require::tool("nginx")?;
        let dir = Dir::new();
        let address = Upstream::free();
        let at = dir.path().display().to_string();
        let http = http(address, &at);
        let config = dir.write(
            "nginx.conf",
            format!(
                "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/error.log;\n\
                 events {{}}\n\
                 http {{ access_log {at}/access.log; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
                 fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
                 {http} }}\n"
            ),
        );
        let child = Command::new(program)
            .args(["-p", &at, "-e", &format!("{at}/error.log"), "-c"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let until = Instant::now() + LONGEST;
        while TcpStream::connect(address).is_err() {
            assert!(
                Instant::now() < until,
                "nginx does not listen: {}",
                dir.read("error.log")
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Some(Self {
            child,
            address,
            dir,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
