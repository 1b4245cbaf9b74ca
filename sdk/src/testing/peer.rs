//! The other end of a gRPC stream.

use cofferdam_abi::callout::GrpcEvent;

use super::message::{find, headers};
use crate::grpc::GrpcStatus;
use crate::pairs::Pairs;

/// The other end of a gRPC stream that the filter under test has opened.
///
/// ```
/// # use cofferdam_sdk::prelude::*;
/// use cofferdam_sdk::GrpcStatus;
/// use cofferdam_sdk::testing::{PeerEvent, Tester};
///
/// #[filter]
/// async fn ask(request: Request, streams: GrpcStreams) -> Result<Response> {
///     let (mut words, mut answers) = streams.open("echo", "pkg.Echo", "Words", &[("x-by", "me")])?;
///     words.send(b"hello")?;
///     words.close();
///     let mut said = Vec::new();
///     while let Some(answer) = answers.next().await? {
///         said.extend(answer);
///     }
///     Ok(Response::new(200).with_body(said))
/// }
///
/// let mut tester = Tester::of::<ask>("");
/// tester.grpc_streams("echo", |peer, event| match event {
///     PeerEvent::Opened => {
///         assert_eq!((peer.method(), peer.metadata("x-by")), ("pkg.Echo/Words", Some("me")));
///         peer.begin(&[("x-server", "1")]);
///     }
///     PeerEvent::Message(message) => peer.send(&message.to_ascii_uppercase()),
///     PeerEvent::Closed => peer.end(&GrpcStatus::new(0, ""), &[("x-count", "1")]),
///     PeerEvent::Cancelled => {}
/// });
/// assert_eq!(tester.get("/").send().text(), "HELLO");
/// tester.no_leaks();
/// ```
#[derive(Debug)]
pub struct GrpcPeer {
    pub(super) method: String,
    pub(super) metadata: Pairs,
    /// What it has said since it was last told something.
    pub(super) said: Vec<GrpcEvent>,
}

/// What the filter under test does on a gRPC stream.
///
/// [`GrpcPeer`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerEvent<'a> {
    /// It has opened it.
    Opened,
    /// It has sent a message.
    Message(&'a [u8]),
    /// It will send no more.
    Closed,
    /// It has reset it: nothing that is said is heard any more.
    Cancelled,
}

// === impl GrpcPeer ===

impl GrpcPeer {
    /// `package.Service/Method`.
    ///
    /// The [type](Self) has an example of this and the others.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The first value under a name in the metadata the filter has sent; `None` if there is
    /// none, or it is no text.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(find(&self.metadata, name)?).ok()
    }

    /// Begins the response with that metadata.
    pub fn begin(&mut self, metadata: &[(&str, &str)]) {
        self.said.push(GrpcEvent::InitialMetadata(map(metadata)));
    }

    /// Sends a message.
    pub fn send(&mut self, message: &[u8]) {
        let message = message.to_vec().into();
        self.said.push(GrpcEvent::Message(message));
    }

    /// Ends the stream, with that trailing metadata.
    pub fn end(&mut self, status: &GrpcStatus, metadata: &[(&str, &str)]) {
        self.said.push(GrpcEvent::TrailingMetadata(map(metadata)));
        self.said.push(GrpcEvent::Closed {
            status: status.code(),
            message: status.message().to_owned().into(),
        });
    }
}

fn map(metadata: &[(&str, &str)]) -> cofferdam_abi::Headers {
    let bytes =
        |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    headers(&metadata.iter().map(bytes).collect::<Vec<_>>())
}
