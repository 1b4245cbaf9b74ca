//! Who answers callouts: the clusters every driver provides, in process.

use std::time::Duration;

use cofferdam_abi::callout::{GrpcCall, HttpCall, HttpOutcome, Target};
use cofferdam_abi::harness::{Events, GrpcStream, Peers};

use super::exchange::{headers, message};
use super::{Asked, grpc, peer};
use crate::suite::outcome::Message;

/// All of them.
pub(super) struct Clusters {
    /// What the cluster `peer` has been asked.
    pub(super) asked: Asked,
}

// === impl Peers for Clusters ===

impl Peers for Clusters {
    fn http(&mut self, call: &HttpCall) -> (Duration, HttpOutcome) {
        let mut request = message(Some(&call.headers));
        request.body = call.body.clone();
        request.trailers = message(call.trailers.as_ref()).headers;
        request.complete = true;
        let cluster = match &call.target {
            Target::Cluster(name) => &**name,
            Target::Url { .. } => b"refused",
        };
        let answered = match cluster {
            b"peer" => {
                self.asked.borrow_mut().push(request.clone());
                peer::answer(&request)
            }
            b"upstream" => peer::answer(&Message::default()),
            _ => {
                let why = "delayed connect error: Connection refused".to_owned();
                return (Duration::from_millis(2), HttpOutcome::ConnectFailed(why));
            }
        };
        let outcome = match answered.response {
            None => HttpOutcome::Disconnected,
            Some(response) if !response.complete => HttpOutcome::Reset,
            Some(response) => HttpOutcome::Response {
                headers: headers(&response.headers),
                body: response.body,
                trailers: Some(headers(&response.trailers)).filter(|trailers| !trailers.is_empty()),
            },
        };
        (answered.delay, outcome)
    }

    fn grpc(&mut self, call: &GrpcCall) -> (Events, Option<Box<dyn GrpcStream>>) {
        match &call.target {
            Target::Cluster(name) if **name == *b"grpc" => grpc::begin(call),
            _ => (grpc::unreachable(), None),
        }
    }
    // There is no Redis server in here.
}
