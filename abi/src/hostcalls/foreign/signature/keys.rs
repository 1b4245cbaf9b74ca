//! Keys of either kind, and what they can do.

use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{Document, ObjectIdentifier, PrivateKeyInfo, SecretDocument};
use ring::rand::SystemRandom;
use ring::{rsa, signature as pkcs1};

use super::{Form, Hash, Refusal};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A key that checks signatures.
pub(super) enum PublicKey {
    /// Its `RSAPublicKey`, in DER.
    Rsa(Vec<u8>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

/// A key that makes them.
pub(super) enum PrivateKey {
    Rsa(Box<rsa::KeyPair>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

// === impl PublicKey ===

impl PublicKey {
    /// From a `SubjectPublicKeyInfo`.
    pub(super) fn read(form: Form<'_>) -> Option<Self> {
        let document = match form {
            Form::Der(der) => Document::try_from(der).ok()?,
            Form::Pem(pem) => {
                let (label, document) = Document::from_pem(pem).ok()?;
                (label == "PUBLIC KEY").then_some(document)?
            }
        };
        let info: SubjectPublicKeyInfoRef<'_> = document.decode_msg().ok()?;
        let key = info.subject_public_key.as_bytes()?;
        if info.algorithm.oid == RSA {
            return Some(Self::Rsa(key.to_vec()));
        }
        if info.algorithm.oid != EC {
            return None;
        }
        Some(match info.algorithm.parameters_oid().ok()? {
            P256 => Self::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?),
            P384 => Self::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?),
            P521 => Self::P521(p521::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?),
            _ => return None,
        })
    }

    /// Instructions that one use of it costs.
    pub(super) fn cost(&self) -> u64 {
        match self {
            // By the square of its length, which is that of the modulus.
            Self::Rsa(key) => (key.len() as u64).pow(2) / 2,
            Self::P256(_) => 100_000,
            Self::P384(_) => 400_000,
            Self::P521(_) => 800_000,
        }
    }

    pub(super) fn verify(&self, hash: Hash, text: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        let verified = match self {
            Self::Rsa(key) => {
                let algorithm = match hash {
                    Hash::Sha1 => &pkcs1::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
                    Hash::Sha224 => return Err(Refusal::Unsupported),
                    Hash::Sha256 => &pkcs1::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                    Hash::Sha384 => &pkcs1::RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &pkcs1::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                };
                return pkcs1::UnparsedPublicKey::new(algorithm, key)
                    .verify(text, signature)
                    .map_err(|_| Refusal::Wrong);
            }
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .and_then(|signature| key.verify_prehash(&wide(hash, text, 32), &signature)),
            Self::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .and_then(|signature| key.verify_prehash(&wide(hash, text, 48), &signature)),
            Self::P521(key) => p521::ecdsa::Signature::from_der(signature)
                .and_then(|signature| key.verify_prehash(&wide(hash, text, 66), &signature)),
        };
        verified.map_err(|_| Refusal::Wrong)
    }
}

// === impl PrivateKey ===

impl PrivateKey {
    /// From PKCS #8.
    pub(super) fn read(form: Form<'_>) -> Option<Self> {
        let document = match form {
            Form::Der(der) => SecretDocument::try_from(der).ok()?,
            Form::Pem(pem) => {
                let (label, document) = SecretDocument::from_pem(pem).ok()?;
                (label == "PRIVATE KEY").then_some(document)?
            }
        };
        let info: PrivateKeyInfo<'_> = document.decode_msg().ok()?;
        if info.algorithm.oid == RSA {
            let key = rsa::KeyPair::from_der(info.private_key).ok()?;
            return Some(Self::Rsa(Box::new(key)));
        }
        if info.algorithm.oid != EC {
            return None;
        }
        Some(match info.algorithm.parameters_oid().ok()? {
            P256 => Self::P256(p256::SecretKey::try_from(info).ok()?.into()),
            P384 => Self::P384(p384::SecretKey::try_from(info).ok()?.into()),
            P521 => {
                let key = p521::SecretKey::try_from(info).ok()?;
                Self::P521(p521::ecdsa::SigningKey::from_bytes(&key.to_bytes()).ok()?)
            }
            _ => return None,
        })
    }

    /// Instructions that one use of it costs.
    pub(super) fn cost(&self) -> u64 {
        match self {
            // By the cube of the modulus's length: about 1 ms for 2048 bits.
            Self::Rsa(key) => (key.public().modulus_len() as u64).pow(3) / 32,
            Self::P256(_) => 100_000,
            Self::P384(_) => 400_000,
            Self::P521(_) => 800_000,
        }
    }

    pub(super) fn sign(&self, hash: Hash, text: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Rsa(key) => {
                let encoding: &dyn pkcs1::RsaEncoding = match hash {
                    Hash::Sha1 | Hash::Sha224 => return Err(Refusal::Unsupported),
                    Hash::Sha256 => &pkcs1::RSA_PKCS1_SHA256,
                    Hash::Sha384 => &pkcs1::RSA_PKCS1_SHA384,
                    Hash::Sha512 => &pkcs1::RSA_PKCS1_SHA512,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &SystemRandom::new(), text, &mut signature)
                    .map_err(|_| Refusal::Wrong)?;
                Ok(signature)
            }
            Self::P256(key) => key
                .sign_prehash(&wide(hash, text, 32))
                .map(|signature: p256::ecdsa::Signature| signature.to_der().as_bytes().to_vec())
                .map_err(|_| Refusal::Wrong),
            Self::P384(key) => key
                .sign_prehash(&wide(hash, text, 48))
                .map(|signature: p384::ecdsa::Signature| signature.to_der().as_bytes().to_vec())
                .map_err(|_| Refusal::Wrong),
            Self::P521(key) => key
                .sign_prehash(&wide(hash, text, 66))
                .map(|signature: p521::ecdsa::Signature| signature.to_der().as_bytes().to_vec())
                .map_err(|_| Refusal::Wrong),
        }
    }
}

/// A digest as the number that ECDSA takes it for, at least as wide as its curve's field:
/// RustCrypto refuses those that are much shorter.
fn wide(hash: Hash, text: &[u8], field: usize) -> Vec<u8> {
    let digest = hash.digest(text);
    let mut number = vec![0; field.saturating_sub(digest.len())];
    number.extend_from_slice(&digest);
    number
}
