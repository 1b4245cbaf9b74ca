//! What happens to connections before anything is made of them.

/// Something that happens to a connection before it is served, by Envoy's name where Envoy
/// counts it.
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
}

// === impl Event ===

impl Event {
    /// All there are, by number.
    pub(crate) const ALL: [Self; 8] = [
        Self::Timeout,
        Self::ProxyV1Found,
        Self::ProxyV2Found,
        Self::ProxyV1Malformed,
        Self::ProxyV2Malformed,
        Self::ProxyNone,
        Self::ProxyMissing,
        Self::ProxyUntrusted,
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
