//! A token, taken apart: nothing of it is true before its signature has been verified.

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::algorithm::Algorithm;
use crate::json::Json;
use crate::refusal::Refusal;

/// Longer ones are not looked at.
const LONGEST: usize = 16 << 10;

/// A JWS in its compact form (RFC 7515) with claims in it (RFC 7519).
#[derive(Debug)]
pub(crate) struct Token {
    text: String,
    /// Where the claims begin, and where they end.
    payload: (usize, usize),
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Json,
    pub(crate) signature: Vec<u8>,
}

// === impl Token ===

impl Token {
    /// # Errors
    /// Why it is none.
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self, Refusal> {
        if bytes.len() > LONGEST {
            return Err(Refusal::Malformed);
        }
        let text = String::from_utf8(bytes).map_err(|_| Refusal::Malformed)?;
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        let from = header.len() + 1;
        let until = from + payload.len();
        let header = object(header)?;
        // Whoever does not understand what is critical must refuse; nothing is known here.
        if header.get("crit").is_some() {
            return Err(Refusal::Critical);
        }
        let name = header.get("alg").and_then(Json::text);
        let algorithm = Algorithm::named(name.ok_or(Refusal::Malformed)?);
        let key_id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.text().ok_or(Refusal::Malformed)?.to_owned()),
        };
        Ok(Self {
            payload: (from, until),
            algorithm: algorithm.ok_or(Refusal::Algorithm)?,
            key_id,
            claims: object(payload)?,
            signature: decode(signature)?,
            text,
        })
    }

    /// What the signature is of.
    pub(crate) fn signed(&self) -> &[u8] {
        self.text
            .as_bytes()
            .get(..self.payload.1)
            .unwrap_or_default()
    }

    /// The claims as they stand in it, in base64url.
    pub(crate) fn payload(&self) -> &str {
        let (from, until) = self.payload;
        self.text.get(from..until).unwrap_or_default()
    }
}

fn object(part: &str) -> Result<Json, Refusal> {
    match Json::read(&decode(part)?) {
        Some(json @ Json::Map(_)) => Ok(json),
        _ => Err(Refusal::Malformed),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| Refusal::Malformed)
}
