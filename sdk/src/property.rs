//! What the host knows of a request, its connections and itself: Envoy's attributes.
//!
//! ```no_run
//! use cofferdam_sdk::property;
//!
//! let from = property::source(); // the client's address and port
//! let route = property::text(&["xds", "route_name"]);
//! let size = property::int(&["request", "total_size"]);
//! let plan = property::text(&["metadata", "filter_metadata", "plans", "name"]);
//! ```
//! A property that is not there (now) is `None`. So is one in another form than is asked for.

use std::net::SocketAddr;
use std::time::Duration;

use crate::headers::HeaderValue;
use crate::raw;
use crate::types::Status;

/// The value at that path, in the host's bytes.
///
/// ```no_run
/// let map = cofferdam_sdk::property::bytes(&["request", "headers"]);
/// ```
#[must_use]
pub fn bytes(path: &[&str]) -> Option<Vec<u8>> {
    raw::property(path.join("\0").as_bytes()).ok()
}

/// A text, which like a header may be any bytes.
///
/// ```no_run
/// let name = cofferdam_sdk::property::text(&["plugin_name"]);
/// ```
#[must_use]
pub fn text(path: &[&str]) -> Option<HeaderValue> {
    bytes(path).map(HeaderValue::from)
}

/// A number.
///
/// ```no_run
/// let status = cofferdam_sdk::property::int(&["response", "code"]);
/// ```
#[must_use]
pub fn int(path: &[&str]) -> Option<i64> {
    let bytes = bytes(path)?;
    bytes.try_into().ok().map(i64::from_le_bytes)
}

/// Yes or no.
///
/// ```no_run
/// let has_certificate = cofferdam_sdk::property::boolean(&["connection", "mtls"]);
/// ```
#[must_use]
pub fn boolean(path: &[&str]) -> Option<bool> {
    match bytes(path)?[..] {
        [byte] => Some(byte != 0),
        _ => None,
    }
}

/// How long something took, or when it was since the epoch.
///
/// ```no_run
/// let began = cofferdam_sdk::property::duration(&["request", "time"]);
/// ```
#[must_use]
pub fn duration(path: &[&str]) -> Option<Duration> {
    let nanoseconds = int(path)?;
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

fn address(path: &[&str]) -> Option<SocketAddr> {
    text(path)?.to_str().ok()?.parse().ok()
}

/// The client's address.
///
/// ```no_run
/// let ip = cofferdam_sdk::property::source().map(|address| address.ip());
/// ```
#[must_use]
pub fn source() -> Option<SocketAddr> {
    address(&["source", "address"])
}

/// The address the client has connected to.
///
/// ```no_run
/// let port = cofferdam_sdk::property::destination().map(|address| address.port());
/// ```
#[must_use]
pub fn destination() -> Option<SocketAddr> {
    address(&["destination", "address"])
}

/// The upstream's address, once there is one.
///
/// ```no_run
/// let upstream = cofferdam_sdk::property::upstream();
/// ```
#[must_use]
pub fn upstream() -> Option<SocketAddr> {
    address(&["upstream", "address"])
}

/// The name of the host that the client has asked for in its TLS handshake.
///
/// ```no_run
/// let host = cofferdam_sdk::property::server_name();
/// ```
#[must_use]
pub fn server_name() -> Option<HeaderValue> {
    let name = text(&["connection", "requested_server_name"])?;
    (!name.as_bytes().is_empty()).then_some(name)
}

/// The route's name.
///
/// ```no_run
/// let is_api = cofferdam_sdk::property::route_name().is_some_and(|name| name == "api");
/// ```
#[must_use]
pub fn route_name() -> Option<HeaderValue> {
    text(&["xds", "route_name"])
}

/// The cluster's name.
///
/// ```no_run
/// let cluster = cofferdam_sdk::property::cluster_name();
/// ```
#[must_use]
pub fn cluster_name() -> Option<HeaderValue> {
    text(&["xds", "cluster_name"])
}

/// The request's id.
///
/// ```no_run
/// let id = cofferdam_sdk::property::request_id();
/// ```
#[must_use]
pub fn request_id() -> Option<HeaderValue> {
    text(&["request", "id"])
}

/// Leaves a value for the filters behind this one, and for the access log: `text(&[name])`
/// finds it for as long as the exchange lasts.
///
/// # Errors
/// Outside of exchanges, and where the name is taken by what may only be read.
///
/// ```no_run
/// cofferdam_sdk::property::set("consumer", b"alice")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set(name: &str, value: &[u8]) -> Result<(), Status> {
    raw::set_property(name.as_bytes(), value)
}
