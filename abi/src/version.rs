//! Versions of the ABI, and how a module says which one it speaks (section 1.1).

/// A version this host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbiVersion {
    /// 0.1.0
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.2.1
    V0_2_1,
    /// 0.2.100: 0.2.0 with what gateways' guests ask for besides (section 13). Neither the
    /// specification nor Envoy has it.
    V0_2_100,
}

// === impl AbiVersion ===

impl AbiVersion {
    /// All versions, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_1_0, Self::V0_2_0, Self::V0_2_1, Self::V0_2_100];

    /// The version of a module that exports functions of these names: the first marker of
    /// a standard version counts, as in Envoy, which sees no other.
    #[must_use]
    pub fn of_exports<'a>(exports: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        let first = |standard| {
            exports
                .clone()
                .filter_map(Self::from_marker)
                .find(|version| version.is_standard() == standard)
        };
        first(true).or_else(|| first(false))
    }

    /// Whether the specification has it.
    #[must_use]
    pub const fn is_standard(self) -> bool {
        !matches!(self, Self::V0_2_100)
    }

    /// The function a module exports to say it speaks this version.
    #[must_use]
    pub const fn marker(self) -> &'static str {
        match self {
            Self::V0_1_0 => "proxy_abi_version_0_1_0",
            Self::V0_2_0 => "proxy_abi_version_0_2_0",
            Self::V0_2_1 => "proxy_abi_version_0_2_1",
            Self::V0_2_100 => "proxy_abi_version_0_2_100",
        }
    }

    /// The version whose marker that is.
    #[must_use]
    pub fn from_marker(export: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.marker() == export)
    }

    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_2_1 => "0.2.1",
            Self::V0_2_100 => "0.2.100",
        }
    }
}
