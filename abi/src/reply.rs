//! Answers made here, in the form they travel back (section 6.7).

use bytes::Bytes;

use crate::exchange::LocalReply;
use crate::headers::Headers;
use crate::types::Way;

/// What a stream gets whose filter crashed.
pub(crate) fn failed() -> LocalReply {
    LocalReply {
        status: 503,
        details: Bytes::from_static(b"wasm_fail_stream"),
        grpc_status: -1,
        ..LocalReply::default()
    }
}

/// What a stream gets whose body outgrew what a filter may keep.
pub(crate) fn too_large(way: Way) -> LocalReply {
    let (status, details, body) = match way {
        Way::Request => (413, "request_payload_too_large", "Payload Too Large"),
        Way::Response => (500, "response_payload_too_large", "Internal Server Error"),
    };
    LocalReply {
        status,
        details: Bytes::from_static(details.as_bytes()),
        body: Bytes::from_static(body.as_bytes()),
        headers: Vec::new(),
        grpc_status: -1,
    }
}

/// For the log: without white space, and no longer than a line of it should be.
pub(crate) fn details(details: &Bytes) -> Bytes {
    let short = &details[..end_of_details(details)];
    let cut = short.len() < details.len();
    if !cut && !details.iter().any(u8::is_ascii_whitespace) {
        return details.clone();
    }
    let one_word = short.iter().map(|byte| {
        if byte.is_ascii_whitespace() {
            b'_'
        } else {
            *byte
        }
    });
    let mark = if cut { "…" } else { "" };
    one_word.chain(mark.bytes()).collect()
}

/// Where they are cut: not within a character, or nothing would be a text.
fn end_of_details(details: &[u8]) -> usize {
    /// Most bytes of them. A guest may give as many as it has memory.
    const MOST: usize = 1024;
    if details.len() <= MOST {
        return details.len();
    }
    let begins = |at: &usize| details.get(*at).is_some_and(|byte| byte & 0xc0 != 0x80);
    (MOST - 3..=MOST).rev().find(begins).unwrap_or(MOST)
}

/// Headers and body of the answer: plain for most requests, trailers-only for `grpc` ones.
#[must_use]
pub fn compose(reply: &LocalReply, grpc: bool) -> (Headers, Bytes) {
    let status = if (200..=599).contains(&reply.status) {
        reply.status
    } else {
        500
    };
    let mut headers = Headers::default();
    if grpc {
        headers.add(b":status", Bytes::from_static(b"200"));
        headers.add(b"content-type", Bytes::from_static(b"application/grpc"));
        let code = match u32::try_from(reply.grpc_status) {
            Ok(code @ 0..=16) => code,
            _ => grpc_status(status),
        };
        headers.add(b"grpc-status", code.to_string().into());
        if !reply.body.is_empty() {
            headers.add(b"grpc-message", grpc_message(&reply.body));
        }
        for (name, value) in added(reply) {
            if ![&b"content-type"[..], b"grpc-status", b"grpc-message"]
                .iter()
                .any(|own| name.eq_ignore_ascii_case(own))
            {
                headers.add(name, value.clone());
            }
        }
        return (headers, Bytes::new());
    }
    headers.add(b":status", status.to_string().into());
    if !reply.body.is_empty() {
        headers.add(b"content-length", reply.body.len().to_string().into());
        headers.add(b"content-type", Bytes::from_static(b"text/plain"));
    }
    for (name, value) in added(reply) {
        if name.eq_ignore_ascii_case(b"content-type") {
            headers.replace(name, value.clone());
        } else {
            headers.add(name, value.clone());
        }
    }
    (headers, reply.body.clone())
}

/// Whether a content type is gRPC's: that of gRPC-Web is not, nor is any other that only begins
/// like it.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

/// The headers a guest may add: status and framing are ours.
fn added(reply: &LocalReply) -> impl Iterator<Item = &(Bytes, Bytes)> {
    reply.headers.iter().filter(|(name, _)| {
        !name.is_empty()
            && name.first() != Some(&b':')
            && !name.eq_ignore_ascii_case(b"content-length")
            && !name.eq_ignore_ascii_case(b"transfer-encoding")
    })
}

/// gRPC's mapping of HTTP statuses.
pub(crate) const fn grpc_status(http: u32) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// Percent-encoded as the gRPC protocol wants it.
fn grpc_message(text: &[u8]) -> Bytes {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if matches!(byte, b' '..=b'~') && *byte != b'%' {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_word_and_no_long_one() {
        let of = |text: &str| details(&Bytes::copy_from_slice(text.as_bytes()));
        assert_eq!(of("one two"), "one_two");
        assert_eq!(of(&"x".repeat(1024)), "x".repeat(1024));
        assert_eq!(of(&"x".repeat(1025)), "x".repeat(1024) + "…");
        for (before, whole) in [(1022, 1022), (1023, 1023), (1024, 1024), (1021, 1024)] {
            let text = "x".repeat(before) + "€€";
            assert_eq!(of(&text), text[..whole].to_owned() + "…", "{before}");
        }
        let bytes = details(&vec![0x80; 5000].into());
        assert_eq!(bytes.len(), 1024 + "…".len());
    }

    fn show(headers: &Headers) -> Vec<String> {
        headers
            .entries()
            .iter()
            .map(|(name, value)| {
                format!(
                    "{}: {}",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value)
                )
            })
            .collect()
    }

    #[test]
    fn headers_are_added_and_duplicates_kept() {
        let reply = LocalReply {
            status: 403,
            body: Bytes::from_static(b"no"),
            headers: vec![
                ("X-A".into(), "1".into()),
                ("x-a".into(), "2".into()),
                ("Content-Type".into(), "text/html".into()),
            ],
            ..LocalReply::default()
        };
        let (headers, body) = compose(&reply, false);
        assert_eq!(
            show(&headers),
            [
                ":status: 403",
                "content-length: 2",
                "content-type: text/html",
                "x-a: 1",
                "x-a: 2"
            ]
        );
        assert_eq!(body, "no");
    }

    #[test]
    fn codes_outside_the_range_become_500() {
        for status in [0, 99, 199, 600, 1000, u32::MAX] {
            let (headers, _) = compose(
                &LocalReply {
                    status,
                    ..LocalReply::default()
                },
                false,
            );
            assert_eq!(show(&headers), [":status: 500"]);
        }
    }

    #[test]
    fn what_only_begins_like_grpc_is_none() {
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpc-web-text", false),
            ("application/grpcfoo", false),
            ("application/grpc;x", false),
            ("Application/grpc", false),
            ("application/grp", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), grpc, "{content_type}");
        }
    }

    #[test]
    fn grpc_requests_get_trailers_only() {
        let mut reply = LocalReply {
            status: 403,
            body: Bytes::from_static(b"no\n"),
            grpc_status: -1,
            ..LocalReply::default()
        };
        let (headers, body) = compose(&reply, true);
        assert_eq!(
            show(&headers),
            [
                ":status: 200",
                "content-type: application/grpc",
                "grpc-status: 7",
                "grpc-message: no%0A"
            ]
        );
        assert!(body.is_empty());
        reply.grpc_status = 3;
        let (headers, _) = compose(&reply, true);
        assert_eq!(headers.get(b"grpc-status").map(|v| &v[..]), Some(&b"3"[..]));
    }
}
