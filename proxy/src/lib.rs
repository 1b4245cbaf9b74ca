//! Cofferdam: a reverse proxy and mesh sidecar whose filters are proxy-wasm modules.
//!
//! The library behind the `cofferdam` binary. One request's way through it is
//! `serve::serve_request`; what the parts are and why is in ARCHITECTURE.md.

#![forbid(unsafe_code)]
// They panic where nothing can be written.
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod access_log;
mod admin;
pub mod app;
mod artifacts;
pub mod author;
mod callout;
mod collect;
pub mod compile;
pub mod config;
mod connection;
pub mod demo;
mod descriptors;
mod dns;
mod door;
mod evictions;
mod facts;
mod families;
mod flood;
mod flow;
mod handover;
pub mod headers;
mod host;
pub mod inspect;
mod listener;
mod modules;
mod news;
mod notes;
mod notify;
mod pace;
mod plugins;
mod proxy_protocol;
mod pump;
mod readiness;
mod refusals;
pub mod reload;
mod reports;
pub mod route;
mod serve;
mod setup;
mod stack;
mod tcp;
pub mod telemetry;
mod ticker;
mod timer;
pub mod tls;
mod trace;
mod traffic;
mod trailers;
mod turn;
mod upstream;
mod worker;
