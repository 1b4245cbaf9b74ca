//! `verify_signature` and `sign`: RSA (PKCS #1 v1.5) and ECDSA over SHA-1 and SHA-2.
//!
//! RSA is ring's, which has no SHA-224 and signs with SHA-256 and up only; what it lacks
//! is answered as "not supported", the way Envoy answers an unknown hash. ECDSA is
//! RustCrypto's, on P-256, P-384 and P-521.

mod keys;

use bytes::Bytes;
use prost::Message;
use sha1::{Digest as _, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::{Answer, charge, decode};
use crate::guest::GuestCaller;
use crate::types::Status;
use keys::{PrivateKey, PublicKey};

/// `envoy.source.extensions.common.wasm.VerifySignatureArguments`.
#[derive(Clone, PartialEq, Message)]
struct VerifySignature {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "bytes", tag = "2")]
    public_key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    signature: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    text: Bytes,
    #[prost(string, tag = "5")]
    public_key_pem: String,
}

/// `…VerifySignatureResult`.
#[derive(Clone, PartialEq, Message)]
struct Verified {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}

/// `…SignArguments`.
#[derive(Clone, PartialEq, Message)]
struct Sign {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "bytes", tag = "2")]
    private_key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    text: Bytes,
    #[prost(string, tag = "4")]
    private_key_pem: String,
}

/// `…SignResult`.
#[derive(Clone, PartialEq, Message)]
struct Signed {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(bytes = "bytes", tag = "2")]
    signature: Bytes,
    #[prost(string, tag = "3")]
    error: String,
}

/// The hashes Envoy knows, by their names in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Why there is no signature, or no good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This host does not have that hash for that kind of key.
    Unsupported,
    /// It is not the text's, or not the key's.
    Wrong,
    /// The key cannot be read, or is of a kind that takes no hash.
    Key,
}

/// Instructions a byte of text costs to hash.
const HASH: u64 = 2;
/// Instructions a byte of a key costs to read.
const READ: u64 = 8;
/// Instructions that reading a key costs besides.
const PARSE: u64 = 20_000;

pub(super) fn verify_signature<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    let args = decode::<VerifySignature>(args)?;
    charge(
        caller,
        args.public_key.len() + args.public_key_pem.len(),
        READ,
    )?;
    charge(caller, args.text.len(), HASH)?;
    caller.charge(PARSE)?;
    let key = either(&args.public_key, &args.public_key_pem).ok_or(Status::BadArgument)?;
    let verified = match (Hash::from_name(&args.hash_function), PublicKey::read(key)) {
        (None, _) => Err(Refusal::Unsupported),
        (_, None) => Err(Refusal::Key),
        (Some(hash), Some(key)) => {
            caller.charge(key.cost())?;
            key.verify(hash, &args.text, &args.signature)
        }
    };
    let error = match verified {
        Ok(()) => String::new(),
        Err(Refusal::Unsupported) => format!("{} is not supported.", args.hash_function),
        Err(Refusal::Wrong) => "Failed to verify digest. Error code: 0".to_owned(),
        Err(Refusal::Key) => "Failed to initialize digest verify.".to_owned(),
    };
    let verified = Verified {
        result: error.is_empty(),
        error,
    };
    Ok(verified.encode_to_vec().into())
}

pub(super) fn sign<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    let args = decode::<Sign>(args)?;
    charge(
        caller,
        args.private_key.len() + args.private_key_pem.len(),
        READ,
    )?;
    charge(caller, args.text.len(), HASH)?;
    caller.charge(PARSE)?;
    let key = either(&args.private_key, &args.private_key_pem).ok_or(Status::BadArgument)?;
    let signed = match (Hash::from_name(&args.hash_function), PrivateKey::read(key)) {
        (None, _) => Err(Refusal::Unsupported),
        (_, None) => Err(Refusal::Key),
        (Some(hash), Some(key)) => {
            caller.charge(key.cost())?;
            key.sign(hash, &args.text)
        }
    };
    let signed = match signed {
        Ok(signature) => Signed {
            result: true,
            signature: signature.into(),
            error: String::new(),
        },
        Err(refusal) => Signed {
            result: false,
            signature: Bytes::new(),
            error: match refusal {
                Refusal::Unsupported => format!("{} is not supported.", args.hash_function),
                Refusal::Wrong => "Failed to create signature.".to_owned(),
                Refusal::Key => {
                    "Invalid key type: private key required for signing operation.".to_owned()
                }
            },
        },
    };
    Ok(signed.encode_to_vec().into())
}

/// A key in one of its two forms; not in both, not in none.
#[derive(Clone, Copy)]
enum Form<'a> {
    Der(&'a [u8]),
    Pem(&'a str),
}

fn either<'a>(der: &'a [u8], pem: &'a str) -> Option<Form<'a>> {
    match (der.is_empty(), pem.is_empty()) {
        (false, true) => Some(Form::Der(der)),
        (true, false) => Some(Form::Pem(pem)),
        _ => None,
    }
}

// === impl Hash ===

impl Hash {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    fn digest(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha224 => Sha224::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Sha384 => Sha384::digest(text).to_vec(),
            Self::Sha512 => Sha512::digest(text).to_vec(),
        }
    }
}
