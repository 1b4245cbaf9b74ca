//! The filter in the host's own state machine.

mod config;
mod modules;
mod remote;
mod request;
mod tokens;
mod verify;
