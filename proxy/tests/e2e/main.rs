//! The real binary over real sockets.

#[path = "../support/mod.rs"]
mod support;

mod headers;
