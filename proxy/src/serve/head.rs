//! Heads on their way out: what filters and routes made of them, in the form the codec wants.

use cofferdam_abi::{Part, Way};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use crate::config::Route;
use crate::flow::Flow;
use crate::headers;
use crate::reports::{self, Matter};
use crate::route;

/// Makes the target what the upstream's protocol wants, after the route's rewrites.
pub(super) fn aim(head: &mut Parts, route: &Route, host: Option<&str>, http2: bool, tls: bool) {
    head.version = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let rewritten = {
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        route::rewrite_path(route, path).and_then(|path| PathAndQuery::try_from(path).ok())
    };
    let named = head.uri.authority().is_some();
    if http2 {
        let authority = host
            .unwrap_or_else(|| headers::authority(&head.uri, &head.headers))
            .to_owned();
        let path = rewritten.unwrap_or_else(|| path(&head.uri));
        head.headers.remove(header::HOST);
        let uri = Uri::builder()
            .scheme(if tls { "https" } else { "http" })
            .authority(authority.as_str())
            .path_and_query(path.clone())
            .build();
        head.uri = uri.unwrap_or_else(|_| Uri::from(path));
        return;
    }
    if host.is_some() || named || !head.headers.contains_key(header::HOST) {
        let authority = host.unwrap_or_else(|| headers::authority(&head.uri, &head.headers));
        if let Ok(value) = HeaderValue::try_from(authority) {
            head.headers.insert(header::HOST, value);
        }
    }
    // `OPTIONS *` has the target `*`, which is a path of its own. What came in origin form
    // and is not rewritten stays as it is.
    match rewritten {
        Some(path) => head.uri = Uri::from(path),
        None if named || head.uri.path_and_query().is_none() => {
            head.uri = Uri::from(path(&head.uri))
        }
        None => {}
    }
}

fn path(uri: &Uri) -> PathAndQuery {
    uri.path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Says of a request to HTTP/1 that it has a body whose length is not known. The codec does
/// so by itself, but not where a body is unusual: there it would be left out in silence.
pub(super) fn announce_body(head: &mut Parts) {
    if matches!(head.method, Method::GET | Method::HEAD | Method::CONNECT)
        && !head.headers.contains_key(header::CONTENT_LENGTH)
    {
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Puts what filters made of a head into the head.
pub(super) fn rebuild(head: &mut Parts, made: headers::RequestHead) -> Result<(), String> {
    head.method = made.method;
    head.headers = made.headers;
    if head.version == Version::HTTP_2 || head.method == Method::CONNECT {
        let mut uri = Uri::builder().path_and_query(made.path);
        if let Some(authority) = made.authority {
            uri = uri
                .authority(authority)
                .scheme(made.scheme.map_or("http", |scheme| {
                    if scheme == http::uri::Scheme::HTTPS {
                        "https"
                    } else {
                        "http"
                    }
                }));
        }
        head.uri = uri.build().map_err(|error| error.to_string())?;
        return Ok(());
    }
    if let Some(authority) = made.authority
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        head.headers.insert(header::HOST, host);
    }
    head.uri = Uri::from(made.path);
    Ok(())
}

/// Whether a filter of the chain looks at bodies that go this way.
pub(super) fn sees_body(flow: &Flow, way: Way) -> bool {
    flow.filters
        .as_ref()
        .is_some_and(|filters| filters.chain.borrow().sees_body(way))
}

/// Makes `content-length` right when filters have changed the body; `part` is the first of
/// it that comes out of them.
pub(super) fn repair_length(flow: &Flow, way: Way, headers: &mut HeaderMap, part: &Part) {
    let Some(filters) = &flow.filters else { return };
    if !filters.repair || !filters.chain.borrow_mut().changed_body(way) {
        return;
    }
    match part {
        Part::Data { bytes, end: true } => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        _ => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

/// Says which fields of the filters' making cannot be sent.
pub(super) fn report_dropped(dropped: &[headers::Dropped]) {
    for field in dropped {
        reports::often(Matter::Header, |left_out| {
            let (name, why) = (reports::short(&field.name), field.why);
            tracing::warn!(header = %name, why, left_out, "header made by a filter left out");
        });
    }
}

/// What `content-length` says.
pub(super) fn promised(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
