//! HTTP/2 frame by frame, for what no HTTP/2 library would send.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::LONGEST;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
pub(crate) const REFUSED_STREAM: u32 = 7;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `:method: GET`, `:scheme: http`, `:path: /`, `:authority: test`.
pub(crate) const GET: &[u8] = b"\x82\x86\x84\x01\x04test";
/// The same with POST.
pub(crate) const POST: &[u8] = b"\x83\x86\x84\x01\x04test";

/// One connection that has sent the preface and its settings.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: TcpStream,
    /// The code of the GOAWAY that has come.
    pub(crate) goaway: Option<u32>,
}

/// A frame that has come.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

// === impl Frames ===

impl Frames {
    /// Settings is what the client's settings are.
    pub(crate) fn connect(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = TcpStream::connect_timeout(&address, LONGEST).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream.set_write_timeout(Some(LONGEST)).unwrap();
        let mut frames = Self {
            stream,
            goaway: None,
        };
        frames.stream.write_all(PREFACE).unwrap();
        frames.send(SETTINGS, 0, 0, settings).unwrap();
        frames
    }

    pub(crate) fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        self.stream.write_all(&frame(kind, flags, stream, payload))
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame; `None` at the connection's end, whichever it is.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.read(&mut payload)?;
        if kind == GOAWAY {
            self.goaway = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// Reads until such a frame comes; fails at the connection's end.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().expect("a frame before the end");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Reads to the connection's end: the code of the GOAWAY before it.
    pub(crate) fn end(&mut self) -> Option<u32> {
        while self.next().is_some() {}
        self.goaway
    }

    /// The same connection in another thread's hands.
    pub(crate) fn twin(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            goaway: None,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => None,
                _ => panic!("the connection did not end: {error}"),
            },
        }
    }
}
