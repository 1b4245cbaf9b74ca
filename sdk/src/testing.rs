//! Tests of filters, without wasm and without a proxy (feature `testing`).
//!
//! A [`Tester`] runs a filter's code natively in the very state machine the proxy uses:
//! pauses, buffers, callouts and limits are the proxy's own. Time stands still until
//! something waits for it. Clusters, and the upstream, are closures.
//!
//! ```
//! use cofferdam_sdk::prelude::*;
//! use cofferdam_sdk::Reply;
//! use cofferdam_sdk::testing::Tester;
//!
//! #[filter]
//! async fn guard(request: Request, http: Http) -> Result<Response> {
//!     match http.call(HttpCall::get("authz", "/check")).await?.status() {
//!         Some(200) => request.forward().await,
//!         _ => Ok(Response::new(403).with_body("no")),
//!     }
//! }
//!
//! let mut tester = Tester::of::<guard>("");
//! tester.cluster("authz", |asked| {
//!     assert_eq!(asked.path(), "/check");
//!     Reply::new(401)
//! });
//! let answer = tester.get("/").header("authorization", "bad").send();
//! assert_eq!((answer.status(), answer.text()), (403, "no"));
//! assert!(answer.upstream().is_none());
//! tester.no_leaks();
//! ```
//! The same test runs against the module, in the interpreter, in the proxy itself and in
//! Envoy, if the environment says so: [`Target`]. A module that is another crate's is run by
//! [`Tester::of_module`].
//!
//! Every exchange is run a second time with headers no decent client sends (bytes that are
//! no UTF-8, empty values, the same name twice), by another instance of the filter whose
//! calls are all answered with 200: it must not crash. Processes are spared that. [`splits`]
//! cuts a body in every way that matters.

mod calls;
mod connection;
mod exchange;
mod guest;
mod host;
mod live;
mod message;
mod peer;
mod target;

pub use connection::Wire;
pub use exchange::Ask;
pub use host::Tester;
pub use message::{Answer, Seen};
pub use peer::{GrpcPeer, PeerEvent};
pub use target::Target;

/// Ways to cut a body into pieces: whole, in two at every place, byte by byte; and of a body
/// of up to eight bytes all there are.
///
/// ```
/// use cofferdam_sdk::testing::splits;
///
/// let all: Vec<_> = splits(b"abc").collect();
/// assert_eq!(all.len(), 4); // abc a|bc ab|c a|b|c
/// assert!(all.contains(&vec![b"a".to_vec(), b"bc".to_vec()]));
/// ```
pub fn splits(body: &[u8]) -> impl Iterator<Item = Vec<Vec<u8>>> {
    let gaps = body.len().saturating_sub(1);
    let cuts: Vec<Vec<usize>> = if gaps <= 7 {
        let all = 0..1_usize << gaps;
        let places = |bits: usize| (1..=gaps).filter(|at| bits >> (at - 1) & 1 == 1).collect();
        all.map(places).collect()
    } else {
        let mut cuts: Vec<Vec<usize>> = (1..=gaps).map(|at| vec![at]).collect();
        cuts.insert(0, Vec::new());
        cuts.push((1..=gaps).collect());
        cuts
    };
    let body = body.to_vec();
    cuts.into_iter().map(move |cuts| {
        let mut rest = &body[..];
        let mut pieces = Vec::with_capacity(cuts.len() + 1);
        for at in cuts {
            let from = body.len() - rest.len();
            let (piece, after) = rest.split_at(at - from);
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces.push(rest.to_vec());
        pieces
    })
}
