//! Cofferdam held against the programs it wants to replace: the real Envoy and nginx.
//!
//! A figure or a claim about behaviour is only worth something when the peer was measured in
//! the same run, on the same machine, by the same client. This crate starts the peers,
//! drives them, and prints both sides. It knows the proxy only as a program with a
//! configuration file and a socket, so nothing in here can share a mistake with it.
//!
//! Six commands are built from these modules: `conformance` ([`suite`]: the ABI, case by
//! case), `bench` ([`bench`]), `raw-http` ([`raw`]), `soak` ([`soak`]),
//! `fuzz-engines` ([`differential`]) and
//! `bench-instructions` ([`instructions`]). Only the suite's in-process columns use code of
//! ours, the host crate on its two engines (its own `harness`), by its public face.

pub mod args;
pub mod bench;
pub mod client;
pub mod differential;
pub mod error;
pub mod http2;
pub mod instructions;
pub mod load;
pub mod peer;
pub mod peers;
pub mod proc;
pub mod process;
pub mod raw;
pub mod scratch;
pub mod soak;
pub mod socket;
pub mod stats;
pub mod suite;
pub mod tool;

pub use error::{Error, Result};
