//! What end-to-end tests share: the real binary on real sockets, upstreams that do exactly
//! what a test tells them, clients that send exactly what a test writes.
//!
//! Nothing here waits longer than [`LONGEST`], and nothing measures time: tests go by the
//! order of events.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod admin;
pub(crate) mod client;
pub(crate) mod dir;
pub(crate) mod dns;
pub(crate) mod frames;
pub(crate) mod guest;
pub(crate) mod h2;
pub(crate) mod lines;
pub(crate) mod message;
pub(crate) mod openmetrics;
pub(crate) mod pki;
pub(crate) mod proxy;
pub(crate) mod require;
pub(crate) mod upstream;

use std::time::Duration;

pub(crate) use client::Client;
pub(crate) use dir::Dir;
pub(crate) use message::Message;
pub(crate) use proxy::{Proxy, Setup};
pub(crate) use upstream::Upstream;

/// The longest any single wait may take; it is only ever used up by a test that fails.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);
