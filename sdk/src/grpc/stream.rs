//! gRPC streams: messages both ways, for as long as both ends like.

use super::GrpcStatus;
use crate::pairs::Pairs;
use crate::types::{MapType, Status};
use crate::{ambient, raw};

/// What comes of a stream: initial metadata, messages, trailing metadata, the end. Where the
/// other end fails at once, the end alone.
///
/// ```
/// use std::rc::Rc;
/// use cofferdam_sdk::callbacks::{Head, HttpFilter, Plugin, resume_request};
/// use cofferdam_sdk::{Error, GrpcEvent, Headers, Status, export, grpc};
///
/// struct Scan;
/// struct Exchange;
///
/// #[export(grpc_streams)] // what comes of gRPC streams is wanted
/// impl Plugin for Scan {
///     type Stream = Exchange;
///     fn configure(_: &[u8]) -> Result<Self, Error> { Ok(Scan) }
///     fn stream(_: &Rc<Self>) -> Exchange { Exchange }
/// }
///
/// fn ask(path: &[u8]) -> Result<(), Status> {
///     let token = grpc::open("scanner", "pkg.Scanner", "Scan", &[("x-tenant", "7")])?;
///     grpc::send(token, path)?;
///     grpc::close(token);
///     Ok(())
/// }
///
/// #[export]
/// impl HttpFilter for Exchange {
///     type Plugin = Scan;
///
///     fn on_request_headers(&mut self, headers: &mut Headers, _: bool) -> Head {
///         let path = headers.get(":path").unwrap_or_default();
///         ask(path.as_bytes()).map_or(Head::Continue, |()| Head::Stop)
///     }
///
///     fn on_grpc_event(&mut self, _token: u32, event: GrpcEvent) {
///         if let GrpcEvent::Closed(status) = event {
///             cofferdam_sdk::info!("{status}");
///             let _ = resume_request();
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcEvent {
    /// The headers of the response. They are empty where a response is nothing but its end.
    InitialMetadata(Pairs),
    /// A message, encoded.
    Message(Vec<u8>),
    /// The trailers of the response.
    TrailingMetadata(Pairs),
    /// It is over. Comes last, and always, unless the stream was [cancelled](super::cancel).
    Closed(GrpcStatus),
}

/// Opens a stream of `service` (with its package) and `method`. What comes of it comes to
/// the context that is running, with the token this returns.
///
/// `abi/ABI.md`, section 6.9: a stream has no time limit, and no flow control towards the filter.
///
/// # Errors
/// [`Status::ParseFailure`] where there is no such cluster, [`Status::InternalFailure`]
/// where it cannot be opened now: then nothing comes.
///
/// ```no_run
/// use cofferdam_sdk::grpc;
///
/// let token = grpc::open("log", "pkg.Log", "Lines", &[("x-tenant", "7")])?;
/// grpc::send(token, b"\x0a\x01x")?;
/// grpc::close(token);
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn open<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    cluster: &str,
    service: &str,
    method: &str,
    metadata: &[(N, V)],
) -> Result<u32, Status> {
    let token = raw::grpc_stream(cluster.as_bytes(), service, method, metadata)?;
    ambient::opened(token);
    Ok(token)
}

/// Sends a message, encoded, on a stream. The host keeps what cannot be sent yet, and ends
/// the stream with status 8 where that is too much.
///
/// # Errors
/// [`Status::NotFound`] where the stream is over.
///
/// [`open`] has an example.
pub fn send(token: u32, message: &[u8]) -> Result<(), Status> {
    raw::grpc_send(token, message, false)
}

/// Ends this side of a stream. What the other end still sends comes as before.
///
/// [`open`] has an example.
pub fn close(token: u32) {
    if ambient::half_closed(token) {
        // One that has ended meanwhile needs no closing.
        let _ = raw::grpc_close(token);
    }
}

/// The end that the running callback tells of. A stream lives in the host until both ends
/// have closed it.
pub(crate) fn take_end(token: u32, code: u32) -> GrpcStatus {
    let status = GrpcStatus::take(code);
    close(token);
    status
}

/// The metadata that the running callback tells of.
pub(crate) fn take_metadata(map: MapType, count: u32) -> Pairs {
    match count {
        0 => Pairs::new(),
        _ => raw::headers(map).unwrap_or_default(),
    }
}
