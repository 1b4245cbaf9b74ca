//! Keys, and what they have signed.
//!
//! A key knows of which kind it is, and verifies what is of its kind: a token cannot have a
//! public key taken for a secret.

use base64ct::{Base64UrlUnpadded, Encoding};
use cofferdam_sdk::config::Schema;
use cofferdam_sdk::config::schema::Piece;
use ed25519_dalek::Verifier;
use filters_common::same_secret;
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
use serde::{Deserialize, Deserializer};

use crate::algorithm::Algorithm;
use crate::json::Json;
use crate::refusal::Refusal;
use crate::token::Token;

/// Larger ones take too long.
const LARGEST_RSA: usize = 8192;
/// RFC 7518, section 3.3.
const SMALLEST_RSA: usize = 2048;
/// RFC 7518, section 3.2: no shorter than the digest, of which SHA-256's is the shortest.
const SHORTEST_SECRET: usize = 32;
/// So many keys of a set are looked at.
const MOST: usize = 64;

/// A key that verifies.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    /// The only algorithm it is for.
    algorithm: Option<Algorithm>,
    material: Material,
}

enum Material {
    Rsa(Box<RsaPublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    Secret(Vec<u8>),
}

/// A set of keys (RFC 7517).
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

/// A set in the configuration, in which every key has to be right.
#[derive(Deserialize, Schema)]
pub(crate) struct Inline {
    /// The keys. Those that are not for signatures are passed over.
    keys: Vec<Entry>,
}

/// A key of a set; `None` is for something else than signatures.
struct Entry(Option<Key>);

// === impl Keys ===

impl Keys {
    /// A set that somebody else has published: keys that cannot be used are passed over, as
    /// RFC 7517 asks, and secrets too, since everybody can read them there. Also why.
    ///
    /// # Errors
    /// Why there is no key in it.
    pub(crate) fn published(document: &[u8]) -> Result<(Self, Vec<String>), String> {
        let json = Json::read(document).ok_or("it is no JSON")?;
        let Some(Json::List(list)) = json.get("keys") else {
            return Err("it has no list `keys`".to_owned());
        };
        let (mut keys, mut passed) = (Vec::new(), Vec::new());
        for (index, json) in list.iter().enumerate().take(MOST) {
            match Key::read(json) {
                Ok(Some(key)) if matches!(key.material, Material::Secret(_)) => {
                    passed.push(format!("keys[{index}] is a secret, and published"));
                }
                Ok(Some(key)) => keys.push(key),
                Ok(None) => {}
                Err(why) => passed.push(format!("keys[{index}]: {why}")),
            }
        }
        if keys.is_empty() {
            passed.insert(0, "it has no key that verifies".to_owned());
            return Err(passed.join("; "));
        }
        Ok((Self(keys), passed))
    }

    /// Whether one of them may have signed it.
    pub(crate) fn know(&self, token: &Token) -> bool {
        self.0.iter().any(|key| key.fits(token))
    }

    /// # Errors
    /// When none of them has signed it.
    pub(crate) fn verify(&self, token: &Token) -> Result<(), Refusal> {
        if self.0.iter().any(|key| key.has_signed(token)) {
            return Ok(());
        }
        Err(match self.know(token) {
            true => Refusal::Signature,
            false => Refusal::UnknownKey,
        })
    }
}

impl From<Inline> for Keys {
    fn from(inline: Inline) -> Self {
        Self(
            inline
                .keys
                .into_iter()
                .filter_map(|entry| entry.0)
                .collect(),
        )
    }
}

impl Keys {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Entry ===

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(from)?;
        Key::read(&json).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Schema for Entry {
    const SCHEMA: &'static Piece = &Piece::Text(
        r#""type":"object","properties":{"kty":{"enum":["RSA","EC","OKP","oct"]},"kid":{"type":"string"}},"required":["kty"]"#,
    );
}

// === impl Key ===

impl Key {
    /// From a JWK; `None` for one that is not for signatures.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(json: &Json) -> Result<Option<Self>, String> {
        let text = |name: &str| match json.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("`{name}` is no text")),
        };
        let Some(kind) = text("kty")? else {
            return Err("it is no key: it has no `kty`".to_owned());
        };
        if text("use")?.is_some_and(|used| used != "sig") {
            return Ok(None);
        }
        if let Some(Json::List(operations)) = json.get("key_ops")
            && !operations.iter().any(|op| op.text() == Some("verify"))
        {
            return Ok(None);
        }
        let bytes = |name: &str| {
            let text = text(name)?.ok_or_else(|| format!("a key of type {kind} needs `{name}`"))?;
            // Padding is not allowed, but some write it.
            Base64UrlUnpadded::decode_vec(text.trim_end_matches('='))
                .map_err(|_| format!("`{name}` is not base64url"))
        };
        let material = match (kind, text("crv")?) {
            ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?)?,
            ("EC", Some("P-256")) => {
                let point = point(&bytes("x")?, &bytes("y")?, 32)?;
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point);
                Material::P256(Box::new(key.map_err(|_| NO_POINT)?))
            }
            ("EC", Some("P-384")) => {
                let point = point(&bytes("x")?, &bytes("y")?, 48)?;
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point);
                Material::P384(Box::new(key.map_err(|_| NO_POINT)?))
            }
            ("OKP", Some("Ed25519")) => {
                let point = <[u8; 32]>::try_from(bytes("x")?).map_err(|_| NO_POINT)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(&point).map_err(|_| NO_POINT)?;
                Material::Ed25519(Box::new(key))
            }
            ("oct", _) => match bytes("k")? {
                short if short.len() < SHORTEST_SECRET => {
                    return Err(format!("`k` has less than {SHORTEST_SECRET} bytes"));
                }
                secret => Material::Secret(secret),
            },
            ("EC" | "OKP", curve) => {
                let curve = curve.unwrap_or_default();
                return Err(format!(
                    "`crv` is `{curve}`: P-256, P-384 or Ed25519 is known"
                ));
            }
            _ => return Err(format!("`kty` is `{kind}`: RSA, EC, OKP or oct is known")),
        };
        let algorithm = match text("alg")? {
            None => None,
            Some(name) => Some(
                Algorithm::named(name)
                    .filter(|algorithm| material.fits(*algorithm))
                    .ok_or_else(|| format!("`alg` is `{name}`, which is not for such a key"))?,
            ),
        };
        Ok(Some(Self {
            id: text("kid")?.map(str::to_owned),
            algorithm,
            material,
        }))
    }

    /// Whether it may have signed that.
    fn fits(&self, token: &Token) -> bool {
        let same_id = match (&self.id, &token.key_id) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        };
        same_id
            && self.algorithm.is_none_or(|own| own == token.algorithm)
            && self.material.fits(token.algorithm)
    }

    fn has_signed(&self, token: &Token) -> bool {
        self.fits(token)
            && self
                .material
                .has_signed(token.algorithm, token.signed(), &token.signature)
    }
}

const NO_POINT: &str = "it is no point of its curve";

fn rsa(n: &[u8], e: &[u8]) -> Result<Material, String> {
    let (n, e) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
    if !(SMALLEST_RSA..=LARGEST_RSA).contains(&n.bits()) {
        let bits = n.bits();
        return Err(format!(
            "`n` has {bits} bits: {SMALLEST_RSA} to {LARGEST_RSA} are allowed"
        ));
    }
    if n.to_bytes_le().first().is_none_or(|last| last % 2 == 0) {
        return Err("`n` is even".to_owned());
    }
    let key = RsaPublicKey::new_with_max_size(n, e, LARGEST_RSA);
    let key = key.map_err(|_| "`e` is no exponent".to_owned())?;
    Ok(Material::Rsa(Box::new(key)))
}

/// As SEC 1 writes it, uncompressed.
fn point(x: &[u8], y: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if x.len() != size || y.len() != size {
        return Err(format!("`x` and `y` are not {size} bytes each"));
    }
    Ok([&[4], x, y].concat())
}

// === impl Material ===

impl Material {
    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => algorithm.of_rsa().is_some(),
            Self::P256(_) => algorithm == Algorithm::ES256,
            Self::P384(_) => algorithm == Algorithm::ES384,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
            Self::Secret(secret) => algorithm
                .of_hmac()
                .is_some_and(|hash| secret.len() >= hash.length()),
        }
    }

    fn has_signed(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => algorithm.of_rsa().is_some_and(|hash| {
                let padding = Pkcs1v15Sign {
                    hash_len: Some(hash.length()),
                    prefix: hash.rsa_prefix().into(),
                };
                key.verify(padding, &hash.digest(text), signature).is_ok()
            }),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(text, &signature).is_ok()),
            Self::Secret(secret) => algorithm
                .of_hmac()
                .and_then(|hash| hash.tag(secret, text))
                .is_some_and(|tag| same_secret(&tag, signature)),
        }
    }
}

/// Without what is secret.
impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa(_) => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::Ed25519(_) => "Ed25519",
            Self::Secret(_) => "a secret",
        })
    }
}
