//! The real binary over real sockets.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod headers;
mod http1;
mod smuggling;
