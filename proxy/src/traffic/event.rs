//! What happens to connections before anything is made of them, and why they are cut off.

/// Something that happens to a connection, by Envoy's name where Envoy counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing could be made of it within `header_timeout`.
    Timeout,
    ProxyV1Found,
    ProxyV2Found,
    ProxyV1Malformed,
    ProxyV2Malformed,
    /// There was no header, which is allowed,
    ProxyNone,
    /// or not.
    ProxyMissing,
    /// It came from somebody whose word is not taken.
    ProxyUntrusted,
    /// A ClientHello that is passed through,
    TlsFound,
    /// or something else.
    TlsNotFound,
    /// The hello asks for a name,
    SniFound,
    /// or for none.
    SniNotFound,
    /// It is longer than what is looked at.
    HelloTooLong,
    /// No route is for it.
    NoRoute,
    /// It could not be accepted when it came.
    NotAccepted,
    /// It is cut off, because it sent frames that cost us and carry nothing,
    Flood,
    /// because a head was not there in time,
    SlowHead,
    /// because it took nothing of what was sent.
    Unread,
}

// === impl Event ===

impl Event {
    /// All there are, by number.
    pub(crate) const ALL: [Self; 18] = [
        Self::Timeout,
        Self::ProxyV1Found,
        Self::ProxyV2Found,
        Self::ProxyV1Malformed,
        Self::ProxyV2Malformed,
        Self::ProxyNone,
        Self::ProxyMissing,
        Self::ProxyUntrusted,
        Self::TlsFound,
        Self::TlsNotFound,
        Self::SniFound,
        Self::SniNotFound,
        Self::HelloTooLong,
        Self::NoRoute,
        Self::NotAccepted,
        Self::Flood,
        Self::SlowHead,
        Self::Unread,
    ];

    /// Its name on the pages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "downstream_pre_cx_timeout",
            Self::ProxyV1Found => "proxy_proto.versions.v1.found",
            Self::ProxyV2Found => "proxy_proto.versions.v2.found",
            Self::ProxyV1Malformed => "proxy_proto.versions.v1.error",
            Self::ProxyV2Malformed => "proxy_proto.versions.v2.error",
            Self::ProxyNone => "proxy_proto.not_found_allowed",
            Self::ProxyMissing => "proxy_proto.not_found_disallowed",
            Self::ProxyUntrusted => "proxy_proto.untrusted",
            Self::TlsFound => "tls_inspector.tls_found",
            Self::TlsNotFound => "tls_inspector.tls_not_found",
            Self::SniFound => "tls_inspector.sni_found",
            Self::SniNotFound => "tls_inspector.sni_not_found",
            Self::HelloTooLong => "tls_inspector.client_hello_too_large",
            Self::NoRoute => "no_filter_chain_match",
            Self::NotAccepted => "downstream_accept_failed",
            Self::Flood => "http2.flood",
            Self::SlowHead => "downstream_rq_header_timeout",
            Self::Unread => "tx_flush_timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_number_and_a_name_of_its_own() {
        let mut names = std::collections::HashSet::new();
        for (at, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, at);
            assert!(names.insert(event.name()));
        }
    }
}
