//! The host of guests, case by case, through the crate's public face only.
//!
//! Guests are written in WAT (`testing::guest`), so nothing but this crate is needed to run
//! them. Every number is literal: the wire is the contract, and a test that used our own
//! constants would follow them when they are wrong. Every test runs once per engine.

#[macro_use]
mod world;

mod buffers;
mod callouts;
mod capabilities;
mod chains;
mod contexts;
mod engines;
mod foreign;
mod gateway;
mod hostile;
mod lifecycle;
mod limits;
mod loading;
mod local_reply;
mod log_time;
mod maps;
mod metrics;
mod output;
mod outside;
mod properties;
mod quotas;
mod replaced;
mod room;
mod shared_data;
mod shared_queue;
mod start;
mod stream_control;
mod stuck;
mod tcp;
mod traps;
mod wasi;
mod work;

use cofferdam_abi::testing::guest;
