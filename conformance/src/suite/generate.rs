//! Cases that are products of lists, rather than files.
//!
//! [`calls`] is the one list of hostcalls with arguments that work. [`pointers`] spoils each
//! pointer in turn, [`enums`] each enumeration, [`matrix`] makes each call in each callback.
//! [`properties`] asks for each path in each phase.

mod calls;
mod enums;
mod matrix;
mod pointers;
mod properties;

use bytes::Bytes;

use super::case::Case;
use super::step::{Request, Step};
use super::values::{Body, Chunk};

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = pointers::cases();
    cases.extend(enums::cases());
    cases.extend(matrix::cases());
    cases.extend(properties::cases());
    cases
}

/// A request that is answered with 200, with or without a body.
fn request(body: bool) -> Step {
    let request = Request {
        method: if body { "POST" } else { "GET" }.to_owned(),
        body: body.then(|| Body::Whole(Chunk(Bytes::from_static(b"body")))),
        ..Request::default()
    };
    Step {
        request: Some(request),
        ..Step::default()
    }
}
