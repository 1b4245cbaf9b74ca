//! Filters in the real binary, over real sockets: what they may do, what they may do wrong,
//! and that nobody else notices.

mod bodies;
mod chains;
mod faults;
mod lifecycle;
mod limits;
mod local_reply;
mod pause;
mod support;
mod traps;
