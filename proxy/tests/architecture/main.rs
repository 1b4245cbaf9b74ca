//! What ARCHITECTURE.md promises, held against the tree: who may depend on whom, where
//! `unsafe` is, how long a file may be; and what the other documents say, held against the
//! program: examples, snippets, the reference.

mod documents;
mod examples;
mod graph;
mod skipped;
mod source;
mod tree;
