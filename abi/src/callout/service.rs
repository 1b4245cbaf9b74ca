//! Envoy's `envoy.config.core.v3.GrpcService`, by which guests may name whom they call:
//! as much of it as we can do.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

/// What a serialised `GrpcService` asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GrpcService {
    /// A cluster, or a host and a port as [`super::Target::parse_url`] reads them; `None`
    /// when it names neither, or asks for credentials we could not give.
    pub(crate) upstream: Option<Bytes>,
    /// `:authority`.
    pub(crate) authority: Option<Bytes>,
    /// For calls that give none themselves; never zero.
    pub(crate) timeout: Option<Duration>,
    /// Each takes the place of the guest's of the same name.
    pub(crate) metadata: Vec<(Bytes, Bytes)>,
}

// === impl GrpcService ===

impl GrpcService {
    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are no such message.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let wire = Wire::decode(bytes)?;
        let (upstream, authority) = match (wire.envoy_grpc, wire.google_grpc) {
            (Some(envoy), _) => (Some(envoy.cluster_name), envoy.authority),
            (None, Some(google)) => (google.upstream(), String::new()),
            (None, None) => (None, String::new()),
        };
        let timeout = wire
            .timeout
            .and_then(|timeout| Duration::try_from(timeout).ok());
        Ok(Self {
            upstream: upstream.filter(|name| !name.is_empty()).map(Bytes::from),
            authority: (!authority.is_empty()).then(|| authority.into()),
            timeout: timeout.filter(|timeout| !timeout.is_zero()),
            metadata: wire
                .initial_metadata
                .into_iter()
                .filter(|header| !header.key.is_empty() && !header.key.starts_with(':'))
                .map(HeaderValue::entry)
                .collect(),
        })
    }
}

/// The message itself. Embedded messages we only look for are taken as their bytes.
#[derive(Clone, PartialEq, Eq, Message)]
struct Wire {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
    #[prost(message, optional, tag = "2")]
    google_grpc: Option<GoogleGrpc>,
    #[prost(message, optional, tag = "3")]
    timeout: Option<prost_types::Duration>,
    #[prost(message, repeated, tag = "5")]
    initial_metadata: Vec<HeaderValue>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
    #[prost(string, tag = "2")]
    authority: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct GoogleGrpc {
    #[prost(string, tag = "1")]
    target_uri: String,
    #[prost(message, optional, tag = "2")]
    channel_credentials: Option<ChannelCredentials>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    call_credentials: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ChannelCredentials {
    #[prost(bytes = "vec", optional, tag = "1")]
    ssl_credentials: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    google_default: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct HeaderValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(bytes = "vec", tag = "3")]
    raw_value: Vec<u8>,
}

// === impl GoogleGrpc ===

impl GoogleGrpc {
    /// The host it names, with TLS or without; `None` where it wants certificates or
    /// tokens of its own.
    fn upstream(&self) -> Option<String> {
        let credentials = self.channel_credentials.clone().unwrap_or_default();
        let tls = credentials.ssl_credentials.as_deref();
        if credentials.google_default.is_some()
            || !self.call_credentials.is_empty()
            || tls.is_some_and(|custom| !custom.is_empty())
        {
            return None;
        }
        let uri = self.target_uri.strip_prefix("dns:");
        let host = uri.map_or(&*self.target_uri, |uri| uri.trim_start_matches('/'));
        let scheme = if tls.is_some() { "https://" } else { "http://" };
        (!host.is_empty()).then(|| format!("{scheme}{host}"))
    }
}

// === impl HeaderValue ===

impl HeaderValue {
    fn entry(self) -> (Bytes, Bytes) {
        let value = if self.raw_value.is_empty() {
            self.value.into()
        } else {
            self.raw_value.into()
        };
        (self.key.into(), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn google(target_uri: &str, channel_credentials: Option<ChannelCredentials>) -> Wire {
        Wire {
            google_grpc: Some(GoogleGrpc {
                target_uri: target_uri.to_owned(),
                channel_credentials,
                call_credentials: Vec::new(),
            }),
            ..Wire::default()
        }
    }

    fn parse(wire: &Wire) -> GrpcService {
        GrpcService::parse(&wire.encode_to_vec()).expect("a message")
    }

    #[test]
    fn the_fields_are_envoys() {
        // As protoc writes envoy_grpc { cluster_name: "c" authority: "a" } timeout { seconds: 2
        // nanos: 5 } initial_metadata { key: "K" value: "v" }.
        let bytes = b"\x0a\x06\x0a\x01c\x12\x01a\x1a\x04\x08\x02\x10\x05\x2a\x06\x0a\x01K\x12\x01v";
        let expected = GrpcService {
            upstream: Some("c".into()),
            authority: Some("a".into()),
            timeout: Some(Duration::new(2, 5)),
            metadata: vec![("K".into(), "v".into())],
        };
        assert_eq!(GrpcService::parse(bytes), Ok(expected));
    }

    #[test]
    fn hosts_are_named_with_their_scheme() {
        let tls = |ssl: &[u8]| {
            Some(ChannelCredentials {
                ssl_credentials: Some(ssl.to_vec()),
                google_default: None,
            })
        };
        let upstream = |wire: &Wire| parse(wire).upstream;
        assert_eq!(upstream(&google("a:1", None)), Some("http://a:1".into()));
        assert_eq!(
            upstream(&google("dns:///a:1", tls(b""))),
            Some("https://a:1".into())
        );
        assert_eq!(
            upstream(&google("a:1", tls(b"\x0a\x00"))),
            None,
            "own certificates"
        );
        assert_eq!(upstream(&google("", None)), None);
    }

    #[test]
    fn what_names_nobody_is_a_message_all_the_same() {
        assert_eq!(GrpcService::parse(b""), Ok(GrpcService::default()));
        assert_eq!(parse(&Wire::default()).upstream, None);
        let zero = Wire {
            timeout: Some(prost_types::Duration::default()),
            ..Wire::default()
        };
        assert_eq!(parse(&zero).timeout, None);
    }

    #[test]
    fn names_of_clusters_are_no_messages() {
        for name in [
            "backend",
            "grpc",
            "web",
            "outbound|80||a.svc",
            "api_v2",
            "peer",
        ] {
            assert!(GrpcService::parse(name.as_bytes()).is_err(), "{name}");
        }
    }
}
