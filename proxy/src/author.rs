//! For those who write filters: the commands that run one before a proxy does.
//!
//! | command | what it does |
//! |---|---|
//! | [`new`] | a folder with a filter that builds and has tests |
//! | [`build`] | source becomes a `.wasm`: finds the compiler, checks what came of it |
//! | [`test`] | cases in files, against a `.wasm`, on each engine, in virtual time |
//! | [`dev`] | a running proxy with the filter, rebuilt when it is saved; shows what it does |
//! | [`bench`] | what each callback of a filter takes on each engine, and what goes over the border |
//!
//! None of them is on the way of a request. Filters run in the state machine that the proxy
//! itself embeds, by [`cofferdam_abi::harness`].

pub mod bench;
pub mod build;
pub mod dev;
pub mod new;
pub mod test;
