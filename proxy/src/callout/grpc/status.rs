//! How a gRPC call ended, and the words it is told in.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

pub(super) const OK: u32 = 0;
pub(super) const UNKNOWN: u32 = 2;
pub(super) const DEADLINE_EXCEEDED: u32 = 4;
pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
pub(super) const INTERNAL: u32 = 13;
pub(super) const UNAVAILABLE: u32 = 14;

/// A status and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: Bytes,
}

// === impl Status ===

impl Status {
    pub(super) fn new(code: u32, message: impl Into<Bytes>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// What trailers, or headers that are all there is, say. `None` where they say nothing.
    pub(super) fn of(fields: &HeaderMap) -> Option<Self> {
        let code = fields.get("grpc-status")?;
        // Not a status is a status all the same: nobody knows which.
        let code = code.to_str().ok().and_then(|text| text.parse().ok());
        let message = fields.get("grpc-message");
        Some(Self {
            code: code.unwrap_or(UNKNOWN),
            message: message.map_or_else(Bytes::new, |message| decoded(message.as_bytes())),
        })
    }

    /// What an answer means that is no gRPC's: <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>.
    pub(super) fn of_http(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            400 => INTERNAL,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => UNAVAILABLE,
            _ => UNKNOWN,
        };
        Self::new(code, format!("HTTP status {}", status.as_u16()))
    }
}

/// `grpc-message` without its percent-encoding. What is not encoded right stays as it is.
fn decoded(text: &[u8]) -> Bytes {
    percent_encoding::percent_decode(text).collect()
}

/// A deadline as `grpc-timeout` says it: at most eight digits, in the finest unit that has
/// room for it.
pub(super) fn timeout(timeout: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [
        (timeout.as_millis(), "m"),
        (u128::from(timeout.as_secs()), "S"),
        (u128::from(timeout.as_secs() / 3_600), "H"),
    ];
    let found = units.into_iter().find(|(number, _)| *number <= MOST);
    let (number, unit) = found.unwrap_or((MOST, "H"));
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("0m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn a_status_has_a_number_and_a_message_without_its_escapes() {
        let told = fields(&[
            ("grpc-status", "5"),
            ("grpc-message", "no%20such %C3%A9 100%"),
        ]);
        assert_eq!(Status::of(&told), Some(Status::new(5, "no such é 100%")));
        assert_eq!(Status::of(&fields(&[("grpc-message", "x")])), None);
        for odd in ["", "-1", "five", "99999999999"] {
            let status = Status::of(&fields(&[("grpc-status", odd)]));
            assert_eq!(status.map(|status| status.code), Some(UNKNOWN), "{odd}");
        }
    }

    #[test]
    fn http_statuses_have_their_counterparts() {
        let pairs = [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (500, 2),
            (502, 14),
            (503, 14),
            (504, 14),
            (200, 2),
        ];
        for (http, grpc) in pairs {
            let status = StatusCode::from_u16(http).expect("a status");
            assert_eq!(Status::of_http(status).code, grpc, "{http}");
        }
    }

    #[test]
    fn deadlines_take_the_finest_unit_of_eight_digits() {
        for (timeout_of, text) in [
            (Duration::from_millis(1), "1m"),
            (Duration::from_millis(99_999_999), "99999999m"),
            (Duration::from_millis(100_000_000), "100000S"),
            (Duration::from_secs(4_000_000_000), "1111111H"),
        ] {
            assert_eq!(timeout(timeout_of), text);
        }
    }
}
