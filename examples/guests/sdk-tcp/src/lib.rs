//! Bytes of a connection through the callback layer of `cofferdam-sdk`: what the client sends
//! goes on in capitals, a line at a time; what comes back is counted.

use std::rc::Rc;

use cofferdam_sdk::callbacks::{Action, Body, Peer, Plugin, TcpFilter};
use cofferdam_sdk::{Result, export, info, warn};

struct Capitals;

#[export]
impl Plugin for Capitals {
    type Stream = Connection;

    fn configure(_configuration: &[u8]) -> Result<Self> {
        Ok(Self)
    }

    fn stream(_plugin: &Rc<Self>) -> Connection {
        Connection { answered: 0 }
    }
}

struct Connection {
    answered: usize,
}

#[export]
impl TcpFilter for Connection {
    type Plugin = Capitals;

    fn on_downstream_data(&mut self, data: &mut Body, end: bool) -> Action {
        let bytes = data.bytes();
        if !end && !bytes.ends_with(b"\n") {
            // The next call shows it again, with what has come since.
            return Action::Pause;
        }
        if let Err(status) = data.replace(&bytes.to_ascii_uppercase()) {
            warn!("not in capitals: {status}");
        }
        Action::Continue
    }

    fn on_upstream_data(&mut self, data: &mut Body, _end: bool) -> Action {
        self.answered += data.len();
        Action::Continue
    }

    fn on_downstream_close(&mut self, _by: Peer) {
        info!("{} bytes came back", self.answered);
    }
}
