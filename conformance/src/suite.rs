//! The conformance suite of the proxy-wasm ABI: one list of cases, any number of hosts.
//!
//! A case ([`case::Case`]) is a small YAML file: guests, what is sent through them, what must
//! be seen. A host is a [`driver::Driver`], one file: it runs a case and reports what it saw
//! ([`outcome::Outcome`]), and knows nothing of what was expected. One piece of code compares
//! ([`compare`]), so no host can be judged more kindly than another.

pub mod case;
pub mod compare;
pub mod driver;
pub mod generate;
pub mod outcome;
pub mod read;
pub mod run;
pub mod step;
pub mod table;
pub mod traces;
pub mod values;

pub use case::{Case, Filter, Profile};
pub use driver::Driver;
pub use outcome::Outcome;
