//! Trailers and what can be sent of them. HTTP/2 sends any; HTTP/1.1 only names that the
//! head announced in `trailer`, and to a client only when it said `te: trailers`.

use std::cell::Cell;

use bytes::Bytes;
use cofferdam_abi::Way;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;

use crate::flow::Flow;
use crate::headers::{self, Invalid};
use crate::reports::{self, Matter};

thread_local! {
    /// Dropped trailers of this worker, and whether that has been said.
    static DROPPED: Cell<u64> = const { Cell::new(0) };
}

/// The trailers that a chain has let go, as a frame; `None` when nothing is left of them.
pub(crate) fn frame(
    flow: &Flow,
    way: Way,
    sendable: Option<&[HeaderName]>,
) -> Option<Frame<Bytes>> {
    let filters = flow.filters.as_ref()?;
    let (trailers, dropped) = {
        let exchange = filters.exchange.borrow();
        let map = match way {
            Way::Request => exchange.request_trailers.as_ref(),
            Way::Response => exchange.response_trailers.as_ref(),
        };
        // Names that cannot be sent are left out either way: there is no status left to change.
        headers::trailers_from_pairs(map?.entries(), Invalid::Drop).ok()?
    };
    for field in &dropped {
        reports::often(Matter::Trailer, |left_out| {
            let name = reports::short(&field.name);
            tracing::warn!(trailer = %name, why = field.why, left_out, "trailer left out");
        });
    }
    if way == Way::Response {
        flow.log_with(|logged| logged.trailers = Some(trailers.clone()));
    }
    let trailers = restrict(trailers, sendable);
    (!trailers.is_empty()).then(|| Frame::trailers(trailers))
}

/// Leaves out what the receiver cannot be sent, counting it.
pub(crate) fn restrict(mut trailers: HeaderMap, sendable: Option<&[HeaderName]>) -> HeaderMap {
    let Some(sendable) = sendable else {
        return trailers;
    };
    let lost: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !sendable.contains(name))
        .cloned()
        .collect();
    for name in lost {
        trailers.remove(&name);
        let before = DROPPED.get();
        DROPPED.set(before + 1);
        if before == 0 {
            tracing::warn!(
                trailer = %name,
                "trailer dropped: HTTP/1.1 sends only trailers named in `trailer` (and to clients that \
                 said `te: trailers`); add it to the filter's `trailers`. Further ones are only counted"
            );
        }
    }
    trailers
}

/// The names a message's `trailer` header announces.
pub(crate) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::TRAILER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

/// Adds `names` to the `trailer` header of a message of HTTP/1 that has a body. It has to be
/// chunked then: nothing follows a body whose length is told.
pub(crate) fn announce(headers: &mut HeaderMap, names: &[HeaderName]) {
    if names.is_empty() {
        return;
    }
    headers.remove(header::CONTENT_LENGTH);
    let known = announced(headers);
    for name in names {
        if !known.contains(name)
            && let Ok(value) = HeaderValue::from_str(name.as_str())
        {
            headers.append(header::TRAILER, value);
        }
    }
}

/// Whether a client takes trailers.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}
