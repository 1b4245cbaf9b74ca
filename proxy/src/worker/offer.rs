//! What a worker listens on, for a process that takes over.

use std::io;
use std::os::fd::AsFd as _;

use crate::door::Entrance;
use crate::handover::{Key, Offered};
use crate::worker::Worker;

impl Worker {
    /// Every socket that connections are taken from now.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub(crate) fn sockets(&self) -> io::Result<Vec<Offered>> {
        let entrances = self.entrances.borrow();
        let listening = entrances
            .iter()
            .filter_map(|entrance| Some((entrance, entrance.acceptor()?)));
        listening
            .map(|(entrance, acceptor)| {
                let socket = acceptor.as_fd().try_clone_to_owned()?;
                let key = key(entrance);
                Ok(Offered { key, socket })
            })
            .collect()
    }
}

/// What another process knows it by.
pub(super) fn key(entrance: &Entrance) -> Key {
    let (setup, listener) = entrance.door().setup();
    Key::of(&entrance.address, &setup.listener(listener).config.name)
}
