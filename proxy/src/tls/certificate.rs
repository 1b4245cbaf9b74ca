//! What a certificate says of its owner, in the forms that filters are told it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use x509_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use x509_parser::x509::X509Name;

use super::identity;

/// Its subject, as RFC 2253 writes it: `CN=…,O=…`. `None` for what is no certificate.
#[must_use]
pub fn subject(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(rfc2253(certificate.subject()))
}

/// Who vouches for it, likewise.
#[must_use]
pub fn issuer(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(rfc2253(certificate.issuer()))
}

/// The DNS names it is for.
#[must_use]
pub fn dns_names(der: &[u8]) -> Vec<String> {
    alternative_names(der, |name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    })
}

/// The URIs it is for.
#[must_use]
pub fn uri_names(der: &[u8]) -> Vec<String> {
    alternative_names(der, |name| match name {
        GeneralName::URI(name) => Some((*name).to_owned()),
        _ => None,
    })
}

/// The mail addresses it is for.
#[must_use]
pub fn email_names(der: &[u8]) -> Vec<String> {
    alternative_names(der, |name| match name {
        GeneralName::RFC822Name(name) => Some((*name).to_owned()),
        _ => None,
    })
}

/// The IP addresses it is for.
#[must_use]
pub fn ip_names(der: &[u8]) -> Vec<String> {
    alternative_names(der, |name| match name {
        GeneralName::IPAddress(bytes) => Some(identity::address(bytes)?.to_string()),
        _ => None,
    })
}

/// Names of kinds that are known by a number only, such as a user's in a directory; those
/// that are text.
#[must_use]
pub fn other_names(der: &[u8]) -> Vec<String> {
    alternative_names(der, |name| match name {
        GeneralName::OtherName(_, value) => {
            // The value stands in a wrapper of its own.
            let (_, wrapper) = Any::from_der(value).ok()?;
            let (_, value) = Any::from_der(wrapper.data).ok()?;
            let text = [
                Tag::Utf8String,
                Tag::PrintableString,
                Tag::Ia5String,
                Tag::BmpString,
            ];
            let found = text.contains(&value.tag()).then(|| characters(&value))?;
            Some(String::from_utf8_lossy(&found).into_owned())
        }
        _ => None,
    })
}

/// The first DNS name it is for.
#[must_use]
pub fn dns_name(der: &[u8]) -> Option<String> {
    dns_names(der).into_iter().next()
}

/// The first URI it is for.
#[must_use]
pub fn uri_name(der: &[u8]) -> Option<String> {
    uri_names(der).into_iter().next()
}

/// Its serial number, in hexadecimal, as Envoy writes it.
#[must_use]
pub fn serial(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let bytes = certificate.raw_serial();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(match &bytes[zeros..] {
        [] => "00".to_owned(),
        bytes => hex(bytes),
    })
}

/// From when and until when it is good, in seconds since 1970.
#[must_use]
pub fn validity(der: &[u8]) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// Its SHA-256, in hexadecimal.
#[must_use]
pub fn digest(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

/// Its SHA-1, likewise: for those who have always compared that.
#[must_use]
pub fn digest_sha1(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    hex(digest.as_ref())
}

/// Itself as PEM, with what is not safe in a header or URL escaped as Envoy does it.
#[must_use]
pub fn pem_for_url(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    // 48 bytes are a line of 64 digits.
    for line in der.chunks(48) {
        for chunk in line.chunks(3) {
            let mut bytes = [0; 4];
            bytes[1..=chunk.len()].copy_from_slice(chunk);
            let number = u32::from_be_bytes(bytes);
            for digit in 0..4 {
                let index = (number >> (18 - 6 * digit)) & 63;
                match DIGITS[index as usize] {
                    _ if digit > chunk.len() => text.push_str("%3D"),
                    b'+' => text.push_str("%2B"),
                    b'/' => text.push_str("%2F"),
                    plain => text.push(plain.into()),
                }
            }
        }
        text.push_str("%0A");
    }
    text.push_str("-----END%20CERTIFICATE-----%0A");
    text
}

fn alternative_names(
    der: &[u8],
    wanted: impl Fn(&GeneralName<'_>) -> Option<String>,
) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names
        .value
        .general_names
        .iter()
        .filter_map(wanted)
        .collect()
}

/// The last part first, as RFC 2253 has it.
fn rfc2253(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for (index, part) in parts.into_iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            let value = attribute.attr_value();
            match short_name(attribute.attr_type()) {
                Some(short) => {
                    text.push_str(short);
                    text.push('=');
                    escape(&characters(value), &mut text);
                }
                // A kind without a name: its value as it stands in the certificate.
                None => {
                    let _ = write!(text, "{}=#", attribute.attr_type().to_id_string());
                    text.push_str(&hex(&[value.tag().0 as u8]));
                    text.push_str(&hex(&length(value.data.len())));
                    text.push_str(&hex(value.data));
                }
            }
        }
    }
    text
}

/// As UTF-8, whatever kind of string it is.
fn characters(value: &Any<'_>) -> Vec<u8> {
    let lossy = |units: &mut dyn Iterator<Item = u32>| -> Vec<u8> {
        let text: String = units
            .map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        text.into_bytes()
    };
    match value.tag() {
        Tag::BmpString => {
            let units: Vec<u16> = value
                .data
                .chunks(2)
                .map(|pair| {
                    pair.iter()
                        .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
                })
                .collect();
            String::from_utf16_lossy(&units).into_bytes()
        }
        Tag::UniversalString => {
            let units = value.data.chunks(4);
            lossy(&mut units.map(|four| {
                four.iter()
                    .fold(0, |unit, byte| unit << 8 | u32::from(*byte))
            }))
        }
        // Latin-1, as everybody writes it.
        Tag::T61String => lossy(&mut value.data.iter().map(|byte| u32::from(*byte))),
        _ => value.data.to_vec(),
    }
}

fn escape(bytes: &[u8], text: &mut String) {
    let last = bytes.len().saturating_sub(1);
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.push('\\');
                text.push((*byte).into());
            }
            b'#' | b' ' if index == 0 => {
                text.push('\\');
                text.push((*byte).into());
            }
            b' ' if index == last => text.push_str("\\ "),
            0x20..=0x7e => text.push((*byte).into()),
            other => {
                let _ = write!(text, "\\{other:02X}");
            }
        }
    }
}

/// The names OpenSSL has for kinds of attributes.
fn short_name(kind: &Oid<'_>) -> Option<&'static str> {
    let names = [
        (oid::OID_X509_COMMON_NAME, "CN"),
        (oid::OID_X509_SURNAME, "SN"),
        (oid::OID_X509_SERIALNUMBER, "serialNumber"),
        (oid::OID_X509_COUNTRY_NAME, "C"),
        (oid::OID_X509_LOCALITY_NAME, "L"),
        (oid::OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
        (oid::OID_X509_STREET_ADDRESS, "street"),
        (oid::OID_X509_ORGANIZATION_NAME, "O"),
        (oid::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (oid::OID_X509_TITLE, "title"),
        (oid::OID_X509_GIVEN_NAME, "GN"),
        (oid::OID_X509_INITIALS, "initials"),
        (oid::OID_X509_GENERATION_QUALIFIER, "generationQualifier"),
        (oid::OID_X509_DN_QUALIFIER, "dnQualifier"),
        (oid::OID_DOMAIN_COMPONENT, "DC"),
        (oid::OID_USERID, "UID"),
        (oid::OID_PKCS9_EMAIL_ADDRESS, "emailAddress"),
    ];
    let found = names.iter().find(|(known, _)| known == kind);
    found.map(|(_, short)| *short)
}

/// A length as DER writes it.
fn length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![short],
        _ => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let digits = &bytes[zeros..];
            let mut all = vec![0x80 | u8::try_from(digits.len()).unwrap_or(8)];
            all.extend_from_slice(digits);
            all
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
