//! Filters of TCP connections (section 6.10).

mod control;
mod data;
mod failures;
mod lifecycle;

use bytes::Bytes;
use cofferdam_abi::tcp::Chunk;
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Exchange, TcpChain, Way};

use crate::world::{Engine, Look as _, Setup};

/// Callbacks of a connection and how many of their arguments, from the second on, matter.
const CALLBACKS: [(&str, usize); 9] = [
    ("context_create", 1),
    ("new_connection", 0),
    ("downstream_data", 2),
    ("upstream_data", 2),
    ("upstream_connection_close", 1),
    ("downstream_connection_close", 1),
    ("done", 0),
    ("log", 0),
    ("delete", 0),
];

/// A guest that logs every callback of a connection with its arguments, and does what
/// `code` says in some of them.
fn telling(engine: Engine, setup: Setup, code: &[(&str, &str)]) -> Guest {
    let mut source = String::new();
    for (name, arguments) in CALLBACKS {
        source.push_str(&format!("on {name}\n(!text {{\"{name}\"}})\n"));
        for argument in ["$b", "$c"].iter().take(arguments) {
            source.push_str(&format!("(!say (local.get {argument}))\n"));
        }
        let own = code.iter().find(|(callback, _)| *callback == name);
        source.push_str(own.map_or("", |(_, code)| code));
        source.push('\n');
    }
    for (name, code) in code {
        if !CALLBACKS.iter().any(|(known, _)| known == name) {
            source.push_str(&format!("on {name}\n{code}\n"));
        }
    }
    let guest = engine
        .load(setup, &source)
        .unwrap_or_else(|error| panic!("{error}"));
    // What it said while its root was made.
    guest.logs();
    guest
}

/// A connection through these filters.
fn connect(guests: &[&Guest]) -> TcpChain {
    let handles = guests.iter().map(|guest| guest.handle()).collect();
    TcpChain::begin(Exchange::connection(Box::new(())).share(), handles)
}

/// How a test drives a connection. Every method answers what may leave that way, as text;
/// a full stop marks the end.
trait Drive {
    fn client(&mut self, text: &str) -> Vec<String>;
    fn client_ends(&mut self) -> Vec<String>;
    fn upstream(&mut self, text: &str) -> Vec<String>;
    fn upstream_ends(&mut self) -> Vec<String>;
    fn out(&mut self, way: Way) -> Vec<String>;
}

impl Drive for TcpChain {
    fn client(&mut self, text: &str) -> Vec<String> {
        self.push(Way::Request, chunk(text, false));
        self.out(Way::Request)
    }

    fn client_ends(&mut self) -> Vec<String> {
        self.push(Way::Request, chunk("", true));
        self.out(Way::Request)
    }

    fn upstream(&mut self, text: &str) -> Vec<String> {
        self.push(Way::Response, chunk(text, false));
        self.out(Way::Response)
    }

    fn upstream_ends(&mut self) -> Vec<String> {
        self.push(Way::Response, chunk("", true));
        self.out(Way::Response)
    }

    fn out(&mut self, way: Way) -> Vec<String> {
        std::iter::from_fn(|| self.pop(way))
            .map(|chunk| {
                let text = String::from_utf8_lossy(&chunk.bytes);
                format!("{text}{}", if chunk.end { "." } else { "" })
            })
            .collect()
    }
}

fn chunk(text: &str, end: bool) -> Chunk {
    Chunk {
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        end,
    }
}
