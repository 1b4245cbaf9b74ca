//! Lines between two processes, and the descriptors that come with them.
//!
//! The system delivers descriptors with the first byte they were sent with, and never those of
//! two sendings at once. So whoever reads always has room for one sending, and knows by the
//! line which of those that have come are meant.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::message::Message;

/// Descriptors in one sending; the system takes 253.
pub(super) const BATCH: usize = 128;
const ROOM: usize = rustix::cmsg_space!(ScmRights(BATCH));
/// Bytes of the longest line: the names of all sockets, some ten thousand.
const LINE: usize = 1 << 20;

/// One end.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    /// What has come after the last line,
    read: Vec<u8>,
    /// and how much of it has no end of a line.
    searched: usize,
    descriptors: VecDeque<OwnedFd>,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
            searched: 0,
            descriptors: VecDeque::new(),
        }
    }

    /// The other end's user and process, as the system knows them.
    pub(super) fn peer(&self) -> io::Result<(u32, Option<i32>)> {
        let credentials = self.stream.peer_cred()?;
        Ok((credentials.uid(), credentials.pid()))
    }

    /// Sends a line, with at most [`BATCH`] descriptors.
    pub(super) async fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let line = message.to_line();
        let mut sent = 0;
        while sent < line.len() {
            let send = || {
                let mut room = [MaybeUninit::uninit(); ROOM];
                let mut control = SendAncillaryBuffer::new(&mut room);
                if sent == 0
                    && !descriptors.is_empty()
                    && !control.push(SendAncillaryMessage::ScmRights(descriptors))
                {
                    return Err(io::Error::other("too many descriptors in one sending"));
                }
                let bytes = [IoSlice::new(&line.as_bytes()[sent..])];
                Ok(sendmsg(
                    &self.stream,
                    &bytes,
                    &mut control,
                    SendFlags::NOSIGNAL,
                )?)
            };
            sent += self.stream.async_io(Interest::WRITABLE, send).await?;
        }
        Ok(())
    }

    /// The next line; `None` when the other end has closed.
    pub(super) async fn receive(&mut self) -> io::Result<Option<Message>> {
        loop {
            let mut new = self.read[self.searched..].iter();
            if let Some(end) = new.position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=self.searched + end).collect();
                self.searched = 0;
                return Message::of_line(&line).map(Some);
            }
            self.searched = self.read.len();
            if self.read.len() > LINE {
                return Err(io::Error::other("a line without end"));
            }
            let (stream, read, descriptors) = (&self.stream, &mut self.read, &mut self.descriptors);
            let received = stream
                .async_io(Interest::READABLE, || receive(stream, read, descriptors))
                .await?;
            if received == 0 {
                return Ok(None);
            }
        }
    }

    /// So many of the descriptors that have come, in order.
    pub(super) fn take(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        if self.descriptors.len() < count {
            return Err(io::Error::other(format!(
                "{} descriptors came, not {count}",
                self.descriptors.len()
            )));
        }
        Ok(self.descriptors.drain(..count).collect())
    }
}

fn receive(
    stream: &UnixStream,
    read: &mut Vec<u8>,
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut bytes = [0; 4 << 10];
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "not all descriptors could be had: allow the process more open files (`ulimit -n`)",
        ));
    }
    read.extend_from_slice(&bytes[..received.bytes]);
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::handover::Key;

    fn sockets(count: usize) -> Message {
        let name = |index| Key(format!("127.0.0.1:{index} {}", "long".repeat(100)));
        Message::Sockets((0..count).map(name).collect())
    }

    #[tokio::test]
    async fn descriptors_come_with_the_lines_they_were_sent_with() {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, mut other) = (Wire::new(one), Wire::new(other));
        let files: Vec<_> = (0..BATCH)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let all: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let sending = async {
            one.send(&Message::Ready, &[]).await.unwrap();
            // Longer than what is read at once.
            one.send(&sockets(BATCH), &all).await.unwrap();
            one.send(&sockets(3), &all[..3]).await.unwrap();
            drop(one);
        };
        let receiving = async {
            assert_eq!(other.receive().await.unwrap(), Some(Message::Ready));
            for count in [BATCH, 3] {
                assert_eq!(other.receive().await.unwrap(), Some(sockets(count)));
                assert_eq!(other.take(count).unwrap().len(), count);
            }
            assert!(other.take(1).is_err());
            assert_eq!(other.receive().await.unwrap(), None);
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn what_is_no_line_is_an_error_and_never_memory_without_end() {
        for text in ["\n".to_owned(), "{}\n".to_owned(), "x".repeat(LINE + 8192)] {
            let (one, other) = UnixStream::pair().unwrap();
            let mut other = Wire::new(other);
            let sending = async {
                let mut rest = text.as_bytes();
                while !rest.is_empty() {
                    one.writable().await.unwrap();
                    match one.try_write(rest) {
                        Ok(sent) => rest = &rest[sent..],
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        // It has heard enough.
                        Err(_) => return,
                    }
                }
            };
            let receiving = async {
                let heard = other.receive().await;
                assert!(heard.is_err(), "{heard:?}");
                drop(other);
            };
            tokio::join!(sending, receiving);
        }
    }
}
