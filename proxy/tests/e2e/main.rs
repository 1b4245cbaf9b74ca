//! The real binary over real sockets.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod failures;
mod headers;
mod http1;
mod http2;
mod routing;
mod smuggling;
mod tls;
mod trailers;
mod upgrades;
