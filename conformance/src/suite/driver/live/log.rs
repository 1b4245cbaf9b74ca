//! A program's log while it grows, and whether it listens.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A log file.
#[derive(Debug)]
pub(in super::super) struct Log(PathBuf);

// === impl Log ===

impl Log {
    pub(super) fn new(file: PathBuf) -> Self {
        Self(file)
    }

    /// Its length, which grows with everything that is logged.
    pub(super) fn length(&self) -> u64 {
        std::fs::metadata(&self.0).map_or(0, |file| file.len())
    }

    /// All of it so far; nothing when it is not there yet.
    pub(super) fn read(&self) -> Vec<u8> {
        std::fs::read(&self.0).unwrap_or_default()
    }
}

/// Whether somebody listens there. Asked of the kernel, because a connection would be seen by
/// a guest on a TCP listener.
pub(super) fn listens(address: SocketAddr) -> bool {
    let IpAddr::V4(ip) = address.ip() else {
        return false;
    };
    let wanted = format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(ip.octets()),
        address.port()
    );
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        // 0A is LISTEN.
        words.next() == Some(&*wanted) && words.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::loopback;

    #[test]
    fn listeners_are_seen_without_a_connection() {
        let listener = std::net::TcpListener::bind(loopback(0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(listens(address));
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody connected");
        drop(listener);
        assert!(!listens(address));
    }
}
