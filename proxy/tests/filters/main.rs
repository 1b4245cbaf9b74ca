//! Filters in the real binary, over real sockets: what they may do, what they may do wrong,
//! and that nobody else notices.

mod backtraces;
mod bodies;
mod bodiless;
mod buffering;
mod callouts;
mod capabilities;
mod chains;
mod crossings;
mod drain;
mod each_limit;
mod faults;
mod gateway;
mod generations;
mod guests;
mod held;
mod http2_upstream;
mod lifecycle;
mod limits;
mod local_reply;
mod metrics;
mod native_limits;
mod pause;
mod policies;
mod properties;
mod quiet;
mod ready_made;
mod sdk;
mod services;
mod shared;
mod stuck;
mod support;
mod tracing;
mod traps;
