//! Callouts and what comes back (sections 2.11, 6.8, 6.9, 13; cases 181 to 214).

mod failures;
mod grpc;
mod grpc_streams;
mod http;
mod limits;
mod redis;
mod roots;
mod targets;

use std::fmt::Write as _;

use bytes::Bytes;
use cofferdam_abi::callout::{Callout, GrpcCall, HttpCall};
use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{Compat, HttpOutcome, RootEffect, Token, Trap};

use crate::guest::Shape;
use crate::world::Setup;

/// Functions of a guest that calls cluster `c`: `$get` asks for `/` and answers the
/// status, `$token` is what that wrote; `$value` logs a map's value or the status; `$body`
/// a buffer likewise; `$status` what `proxy_get_status` tells.
const LIBRARY: &str = "raw
    (func $get (result i32) (!http_call {\"c\"} {\"GET\"} #0 #0 #0 #0 #0 #24))
    (func $token (result i32) (i32.load #24))
    (func $shown (param $status i32)
        (if (local.get $status) (then (!say (local.get $status))) (else (!show))))
    (func $value (param $map i32) (param $k i32) (param $kl i32)
        (!shown (!get_header_map_value (local.get $map) (local.get $k) (local.get $kl) @out)))
    (func $body (param $buffer i32)
        (!shown (!get_buffer_bytes (local.get $buffer) #0 #-1 @out)))
    (func $status
        (drop (!get_status #28 @out)) (!say (i32.load #28)) (!show))
";

/// A guest's source with that library; in its texts, `GET` alone is the least of a request.
fn source(blocks: &str) -> String {
    let least = pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    format!("{LIBRARY}{blocks}").replace("{\"GET\"}", &format!("{{\"{least}\"}}"))
}

/// Serialised pairs, as a text in WAT.
fn pairs(list: &[(&str, &str)]) -> String {
    let mut bytes = u32::try_from(list.len())
        .expect("few")
        .to_le_bytes()
        .to_vec();
    for (name, value) in list {
        for field in [name, value] {
            bytes.extend(u32::try_from(field.len()).expect("short").to_le_bytes());
        }
    }
    for (name, value) in list {
        bytes.extend(format!("{name}\0{value}\0").bytes());
    }
    escaped(&bytes)
}

/// Bytes as a text in WAT.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}

/// A world in which cluster `c` is known.
fn setup() -> Setup {
    Setup {
        clusters: vec!["c".into()],
        ..Setup::default()
    }
}

fn setup_of(compat: Compat) -> Setup {
    Setup {
        clusters: vec!["c".into()],
        ..Setup::compat(compat)
    }
}

fn setup_version(marker: &'static str) -> Setup {
    Setup {
        shape: Shape {
            marker,
            ..Shape::default()
        },
        ..setup()
    }
}

/// What an embedder does to a guest.
trait Embed {
    /// What roots have asked for, in a few words each.
    fn asked(&self) -> Vec<String>;
    /// The one HTTP call they have asked for.
    fn http(&self) -> (Token, HttpCall);
    /// The one gRPC call or stream they have asked for.
    fn grpc(&self) -> (Token, GrpcCall);
    /// The tokens of the calls they have asked for.
    fn tokens(&self) -> Vec<Token>;
    /// An HTTP callout is over.
    fn outcome(&self, token: Token, outcome: HttpOutcome) -> Result<(), Trap>;
    /// An HTTP callout is answered by 200 and that body.
    fn answer(&self, token: Token, body: &str);
}

impl Embed for Guest {
    fn asked(&self) -> Vec<String> {
        let effects = self.vm.borrow_mut().take_root_effects();
        effects.iter().map(words).collect()
    }

    fn http(&self) -> (Token, HttpCall) {
        match one_call(self) {
            (token, Callout::Http(call)) => (token, call),
            other => panic!("{other:?}"),
        }
    }

    fn grpc(&self) -> (Token, GrpcCall) {
        match one_call(self) {
            (token, Callout::Grpc(call)) => (token, call),
            other => panic!("{other:?}"),
        }
    }

    fn tokens(&self) -> Vec<Token> {
        let effects = self.vm.borrow_mut().take_root_effects();
        let token = |effect: &RootEffect| match effect {
            RootEffect::Call { token, .. } => *token,
            other => panic!("{other:?}"),
        };
        effects.iter().map(token).collect()
    }

    fn outcome(&self, token: Token, outcome: HttpOutcome) -> Result<(), Trap> {
        self.vm.borrow_mut().http_call_response(token, outcome)
    }

    fn answer(&self, token: Token, body: &str) {
        self.outcome(token, response(body))
            .unwrap_or_else(|trap| panic!("{trap}"));
    }
}

fn one_call(guest: &Guest) -> (Token, Callout) {
    let mut effects = guest.vm.borrow_mut().take_root_effects();
    match effects.pop() {
        Some(RootEffect::Call { token, call, .. }) if effects.is_empty() => (token, *call),
        other => panic!("{effects:?} {other:?}"),
    }
}

/// 200 with a header, that body, and no trailers.
fn response(body: &str) -> HttpOutcome {
    HttpOutcome::Response {
        headers: testing::map(&[(":status", "200"), ("x-up", "u")]),
        body: Bytes::copy_from_slice(body.as_bytes()),
        trailers: None,
    }
}

fn words(effect: &RootEffect) -> String {
    let root = effect.root().number();
    match effect {
        RootEffect::Call { token, call, .. } => {
            let what = match &**call {
                Callout::Http(_) => "http",
                Callout::Grpc(call) if call.message.is_some() => "call",
                Callout::Grpc(_) => "stream",
                Callout::Redis(_) => "redis",
            };
            format!("{root}: {what} {}", token.number())
        }
        RootEffect::Send {
            token,
            message,
            end,
            ..
        } => {
            let text = String::from_utf8_lossy(message);
            let end = if *end { "." } else { "" };
            format!("{root}: send {} {text}{end}", token.number())
        }
        RootEffect::HalfClose { token, .. } => format!("{root}: half-close {}", token.number()),
        RootEffect::Cancel { token, .. } => format!("{root}: cancel {}", token.number()),
        RootEffect::RedisClient { client, .. } => {
            format!(
                "{root}: client of {}",
                String::from_utf8_lossy(&client.cluster)
            )
        }
        other => format!("{other:?}"),
    }
}
