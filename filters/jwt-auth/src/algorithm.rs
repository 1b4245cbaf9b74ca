//! How tokens are signed (RFC 7518, RFC 8037).

use cofferdam_sdk::config::Schema;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// An algorithm that tokens may be signed by. `none` is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
pub(crate) enum Algorithm {
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    #[serde(rename = "EdDSA")]
    EdDsa,
    HS256,
    HS384,
    HS512,
}

/// The digests that RSA and HMAC come with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

// === impl Algorithm ===

impl Algorithm {
    /// By its name, with the case it has in the registry.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            // RFC 9864 calls it by its curve.
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "HS256" => Self::HS256,
            "HS384" => Self::HS384,
            "HS512" => Self::HS512,
            _ => return None,
        })
    }

    /// Its digest, for RSA.
    pub(crate) const fn of_rsa(self) -> Option<Hash> {
        match self {
            Self::RS256 => Some(Hash::Sha256),
            Self::RS384 => Some(Hash::Sha384),
            Self::RS512 => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// Its digest, for HMAC.
    pub(crate) const fn of_hmac(self) -> Option<Hash> {
        match self {
            Self::HS256 => Some(Hash::Sha256),
            Self::HS384 => Some(Hash::Sha384),
            Self::HS512 => Some(Hash::Sha512),
            _ => None,
        }
    }
}

// === impl Hash ===

impl Hash {
    /// In bytes.
    pub(crate) const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(crate) fn digest(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Sha384 => Sha384::digest(text).to_vec(),
            Self::Sha512 => Sha512::digest(text).to_vec(),
        }
    }

    /// The tag of a text under a key; `None` for no key there is.
    pub(crate) fn tag(self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        fn tag<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
            let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
            mac.update(text);
            Some(mac.finalize().into_bytes().to_vec())
        }
        match self {
            Self::Sha256 => tag::<Hmac<Sha256>>(key, text),
            Self::Sha384 => tag::<Hmac<Sha384>>(key, text),
            Self::Sha512 => tag::<Hmac<Sha512>>(key, text),
        }
    }

    /// What stands in front of the digest in an RSA signature (RFC 8017, section 9.2).
    pub(crate) const fn rsa_prefix(self) -> [u8; 19] {
        let (kind, length) = match self {
            Self::Sha256 => (1, 32),
            Self::Sha384 => (2, 48),
            Self::Sha512 => (3, 64),
        };
        [
            0x30,
            0x11 + length,
            0x30,
            0x0d,
            0x06,
            0x09,
            0x60,
            0x86,
            0x48,
            0x01,
            0x65,
            0x03,
            0x04,
            0x02,
            kind,
            0x05,
            0x00,
            0x04,
            length,
        ]
    }
}
