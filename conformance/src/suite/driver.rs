//! The seam between the suite and a host. A further host is one file with a [`Driver`] in it
//! and a line in `bin/conformance.rs`.

pub mod abi;
pub mod envoy;
mod live;
pub mod null;
pub mod proxy;

use super::case::{Case, Profile};
use super::outcome::Outcome;
use crate::Result;

/// Runs cases on one host.
///
/// Every driver provides these clusters, by name: `upstream` (answers as each step says),
/// `peer` (an HTTP server whose answers are fixed by path), `refused` (a port where nobody
/// listens), `grpc`, `redis`; and the routes `/peer/` to `peer`, `/refused/` to `refused`, all
/// else to `upstream`. `conformance/README.md` says what the peers answer.
pub trait Driver {
    /// Its column in the table.
    fn column(&self) -> &'static str;

    /// Whether it is ours: must pass in every profile a case lists, and say what we promise
    /// when it refuses a module. Others have one way of being, and are run once.
    fn is_ours(&self) -> bool;

    /// Runs a case. Nothing of it may be left when this returns.
    ///
    /// # Errors
    /// The host cannot be had, or the driver itself failed: never what the host did.
    fn run(&mut self, case: &Case, profile: Profile) -> Result<Outcome>;

    /// What must be the same as what [`Driver::run`] reports, to the last byte: the outcome
    /// on another engine. None where there is nothing to compare with.
    ///
    /// # Errors
    /// As [`Driver::run`].
    fn twin(&mut self, _case: &Case, _profile: Profile) -> Result<Option<Outcome>> {
        Ok(None)
    }
}
