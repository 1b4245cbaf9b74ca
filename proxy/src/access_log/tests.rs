//! What a line of the access log is: formats are parsed and written of one record that has
//! everything.

mod operators;

use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use http::{HeaderName, HeaderValue};

use super::*;
use crate::tls::certificate;

fn headers(list: &[(&'static str, &'static [u8])]) -> HeaderMap {
    (list.iter())
        .map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            )
        })
        .collect()
}

/// A session with certificates on both sides.
fn session() -> Session {
    static SESSION: LazyLock<Session> = LazyLock::new(|| {
        let der = |name: &str| {
            let mut params = rcgen::CertificateParams::new([format!("{name}.test")]).unwrap();
            let uri = format!("spiffe://test/{name}").try_into().unwrap();
            params.subject_alt_names.push(rcgen::SanType::URI(uri));
            let subject = &mut params.distinguished_name;
            *subject = rcgen::DistinguishedName::new();
            subject.push(rcgen::DnType::CommonName, name);
            let (ip, mail) = ("10.0.0.1".parse().unwrap(), format!("{name}@test"));
            params.subject_alt_names.push(rcgen::SanType::IpAddress(ip));
            let mail = mail.try_into().unwrap();
            params
                .subject_alt_names
                .push(rcgen::SanType::Rfc822Name(mail));
            let second = format!("second.{name}.test").try_into().unwrap();
            params
                .subject_alt_names
                .push(rcgen::SanType::DnsName(second));
            let upn = rcgen::OtherNameValue::Utf8String(format!("{name}@directory"));
            let kind = vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3];
            params
                .subject_alt_names
                .push(rcgen::SanType::OtherName((kind, upn)));
            params.serial_number = Some(rcgen::SerialNumber::from(0xbeef));
            params.not_before = rcgen::date_time_ymd(2024, 2, 29);
            params.not_after = rcgen::date_time_ymd(2100, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().der().to_vec()
        };
        Session {
            version: Some("TLSv1.3"),
            cipher: Some("TLS_AES_128_GCM_SHA256"),
            group: Some("X25519"),
            resumed: false,
            server_name: Some("a.example".to_owned()),
            http2: false,
            own_certificate: Some(der("own").into()),
            peer_certificate: Some(der("peer").into()),
            peer_issuers: [der("issuer").into()].into(),
        }
    });
    SESSION.clone()
}

/// One that refused, and one that answered.
fn attempts() -> [Attempt; 2] {
    let attempt = |port, name: Option<&str>, connection| Attempt {
        address: ([127, 0, 0, 1], port).into(),
        name: name.map(Into::into),
        connection,
    };
    [
        attempt(9001, None, None),
        attempt(9000, Some("backend.test"), Some(12)),
    ]
}

fn noted(attempts: &[Attempt]) -> Noted<'_> {
    let size = |wire, lines, fields| Size {
        wire,
        lines,
        fields,
    };
    Noted {
        attempts,
        downstream: Both {
            received: size(Some(101), Some(31), 31),
            sent: size(None, Some(41), 41),
        },
        upstream: Both {
            received: size(None, None, 51),
            sent: size(Some(201), Some(61), 61),
        },
        client_reset: false,
        upstream_reset: true,
    }
}

fn times() -> Times {
    // Some connections are older than the request.
    let begun = std::time::Instant::now() + Duration::from_secs(1);
    let after = |micros| Some(begun + Duration::from_micros(micros));
    let before = |micros| begun.checked_sub(Duration::from_micros(micros));
    Times {
        begun: Some(begun),
        request_complete: after(2_500),
        connect_begun: before(5_000),
        connected: before(4_000),
        secured: before(1_000),
        upstream_begun: after(1_100),
        response_begun: after(7_250),
        body_begun: after(8_000),
        response_complete: after(9_000),
        pool_ready: Some(Duration::from_millis(1)),
    }
}

/// Runs `test` with a record in which everything is there.
fn with_record(test: impl FnOnce(Record<'_>)) {
    let request_headers = headers(&[
        ("user-agent", b"curl/8"),
        ("x-request-id", b"id-1"),
        ("x-quote", b"a\"b\\c\td\xe9"),
        ("x-utf8", "caf\u{e9}".as_bytes()),
    ]);
    let response_headers = headers(&[("server", b"cofferdam")]);
    let response_trailers = headers(&[("grpc-status", b"5")]);
    let session = session();
    let attempts = attempts();
    test(Record {
        start: UNIX_EPOCH + Duration::from_millis(1_709_210_096_007),
        duration: Duration::from_micros(12_999),
        protocol: Some(Version::HTTP_11),
        method: "GET",
        scheme: "http",
        authority: "a.example:80",
        path: "/x?q=\"1\"",
        request_headers: &request_headers,
        response_headers: Some(&response_headers),
        response_trailers: Some(&response_trailers),
        status: Some(503),
        details: Some("no_healthy_upstream"),
        flags: Flags::NO_HEALTHY_UPSTREAM | Flags::WASM_FAILURE,
        bytes_received: 0,
        bytes_sent: 1_000_000,
        upstream_host: Some(([127, 0, 0, 1], 9000).into()),
        upstream_cluster: Some("backend"),
        downstream_remote: Some("[2001:db8::1]:4000".parse().unwrap()),
        downstream_direct: Some(([10, 0, 0, 9], 4001).into()),
        downstream_local: Some(([10, 0, 0, 1], 8080).into()),
        direct_local: Some(([172, 16, 5, 9], 8443).into()),
        handshake: Some(Duration::from_millis(31)),
        closed_here: (Some("tcp_session_idle_timeout"), Some("closing")),
        noted: noted(&attempts),
        connection: 7,
        tls: Some(&session),
        server_name: session.server_name.as_deref(),
        upstream_local: Some(([127, 0, 0, 2], 40_000).into()),
        attempts: 2,
        span: None,
        transport_failure: Some("refused"),
        upstream_tls: Some(&session),
        route: Some("web/routes[2]"),
        decided_by: Some(("greet", "on_request_headers")),
        times: times(),
        upstream_protocol: Some(Version::HTTP_2),
        filter_state: None,
        exchange: None,
    });
}

/// The same with everything absent that can be.
fn with_bare_record(test: impl FnOnce(Record<'_>)) {
    let none = HeaderMap::new();
    with_record(|record| {
        test(Record {
            authority: "",
            request_headers: &none,
            response_headers: None,
            response_trailers: None,
            status: None,
            details: None,
            flags: Flags::none(),
            upstream_host: None,
            upstream_cluster: None,
            downstream_remote: None,
            downstream_direct: None,
            downstream_local: None,
            direct_local: None,
            handshake: None,
            closed_here: (None, None),
            noted: Noted::default(),
            tls: None,
            server_name: None,
            upstream_local: None,
            attempts: 0,
            transport_failure: None,
            upstream_tls: None,
            route: None,
            decided_by: None,
            times: Times::default(),
            upstream_protocol: None,
            ..record
        });
    });
}

fn line(format: &Format, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    format.render(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn text(template: &str, record: &Record<'_>) -> String {
    let line = line(&Format::text(template).unwrap(), record);
    line.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn every_operator_writes_its_value() {
    let cases = [
        ("%BYTES_RECEIVED%", "0", "0"),
        ("%BYTES_SENT%", "1000000", "1000000"),
        ("%CONNECTION_ID%", "7", "7"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "10.0.0.9:4001", "-"),
        (
            "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "10.0.0.9",
            "-",
        ),
        ("%DOWNSTREAM_DIRECT_REMOTE_PORT%", "4001", "-"),
        ("%DOWNSTREAM_REMOTE_PORT%", "4000", "-"),
        ("%GRPC_STATUS%", "NotFound", "-"),
        ("%GRPC_STATUS_NUMBER%", "5", "-"),
        (
            "%RESPONSE_FLAGS_LONG%",
            "NoHealthyUpstream,WasmFailure",
            "-",
        ),
        ("%UPSTREAM_CLUSTER_RAW%", "backend", "-"),
        ("%UPSTREAM_LOCAL_ADDRESS%", "127.0.0.2:40000", "-"),
        ("%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "127.0.0.2", "-"),
        ("%UPSTREAM_LOCAL_PORT%", "40000", "-"),
        ("%UPSTREAM_REMOTE_ADDRESS%", "127.0.0.1:9000", "-"),
        ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1", "-"),
        ("%UPSTREAM_REMOTE_PORT%", "9000", "-"),
        ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "2", "0"),
        ("%UPSTREAM_TLS_VERSION%", "TLSv1.3", "-"),
        ("%UPSTREAM_TRANSPORT_FAILURE_REASON%", "refused", "-"),
        ("%QUERY_PARAM(q)%", r"\x221\x22", r"\x221\x22"),
        ("%QUERY_PARAM(q):2%", r"\x221", r"\x221"),
        ("%QUERY_PARAM(none)%", "-", "-"),
        ("%ENVIRONMENT(COFFERDAM_IS_NOT_SET)%", "-", "-"),
        (
            "%START_TIME(%Y-%m-%d %H:%M:%S.%3f %s (%z))%",
            "2024-02-29 12:34:56.007 1709210096 (+0000)",
            "2024-02-29 12:34:56.007 1709210096 (+0000)",
        ),
        ("%DOWNSTREAM_LOCAL_ADDRESS%", "10.0.0.1:8080", "-"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "10.0.0.1", "-"),
        ("%DOWNSTREAM_LOCAL_PORT%", "8080", "-"),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", "[2001:db8::1]:4000", "-"),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "2001:db8::1",
            "-",
        ),
        ("%DOWNSTREAM_TLS_VERSION%", "TLSv1.3", "-"),
        ("%DOWNSTREAM_TLS_CIPHER%", "TLS_AES_128_GCM_SHA256", "-"),
        ("%DOWNSTREAM_TLS_GROUP%", "X25519", "-"),
        ("%DOWNSTREAM_TLS_SESSION_ID%", "-", "-"),
        ("%UPSTREAM_SERVER_NAME%", "a.example", "-"),
        ("%UPSTREAM_TLS_CIPHER%", "TLS_AES_128_GCM_SHA256", "-"),
        ("%UPSTREAM_TLS_GROUP%", "X25519", "-"),
        ("%UPSTREAM_TLS_SESSION_ID%", "-", "-"),
        (
            "%DOWNSTREAM_PEER_CERT_V_START(%Y-%m-%d)% %UPSTREAM_PEER_CERT_V_END(%s)%",
            "2024-02-29 4102444800",
            "- -",
        ),
        ("%DURATION%", "12", "12"),
        ("%FILTER%", "greet/on_request_headers", "-"),
        ("%PROTOCOL%", "HTTP/1.1", "HTTP/1.1"),
        ("%REQUESTED_SERVER_NAME%", "a.example", "-"),
        ("%REQUEST_ID%", "id-1", "-"),
        ("%RESPONSE_CODE%", "503", "0"),
        ("%RESPONSE_CODE_DETAILS%", "no_healthy_upstream", "-"),
        ("%RESPONSE_FLAGS%", "UH,WF", "-"),
        ("%ROUTE_NAME%", "web/routes[2]", "-"),
        (
            "%START_TIME%",
            "2024-02-29T12:34:56.007Z",
            "2024-02-29T12:34:56.007Z",
        ),
        ("%UPSTREAM_CLUSTER%", "backend", "-"),
        ("%UPSTREAM_HOST%", "127.0.0.1:9000", "-"),
        ("%REQ(User-Agent)%", "curl/8", "-"),
        ("%REQ(USER-AGENT):4%", "curl", "-"),
        ("%REQ(user-agent):99%", "curl/8", "-"),
        ("%REQ(X-NONE?:METHOD)%", "GET", "GET"),
        ("%REQ(X-NONE?X-NONE)%", "-", "-"),
        (
            "%REQ(:AUTHORITY)% %REQ(HOST)%",
            "a.example:80 a.example:80",
            "- -",
        ),
        ("%REQ(:SCHEME)%", "http", "http"),
        ("%RESP(SERVER)%", "cofferdam", "-"),
        ("%RESP(:STATUS)%", "503", "-"),
        ("%TRAILER(GRPC-STATUS)%", "5", "-"),
        (
            "100%% of %PROTOCOL%%%",
            "100% of HTTP/1.1%",
            "100% of HTTP/1.1%",
        ),
        ("", "", ""),
    ];
    for row in plain::rows() {
        let tested = format!("%{}%", row.name);
        assert!(
            cases.iter().any(|(template, ..)| *template == tested)
                || OF_CERTIFICATES.contains(&row.name)
                || row.name == "HOSTNAME"
                || include_str!("tests/operators.rs").contains(&tested),
            "{}",
            row.name
        );
    }
    for (template, full, bare) in cases {
        with_record(|record| assert_eq!(text(template, &record), full, "{template}"));
        with_bare_record(|record| assert_eq!(text(template, &record), bare, "{template}"));
    }
}

const OF_CERTIFICATES: [&str; 30] = [
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
];

fn sha1(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

#[test]
fn certificates_are_told_as_filters_are_told_them() {
    let session = session();
    let (own, peer) = (
        session.own_certificate.unwrap(),
        session.peer_certificate.unwrap(),
    );
    for name in OF_CERTIFICATES {
        let (der, holder) = if name.contains("LOCAL") {
            (&*own, "own")
        } else {
            (&*peer, "peer")
        };
        let wanted = match name.rsplit('_').next().unwrap() {
            "SAN" if name.contains("DNS") => format!("{holder}.test,second.{holder}.test"),
            "SAN" if name.contains("IP") => "10.0.0.1".to_owned(),
            "SAN" if name.contains("EMAIL") => format!("{holder}@test"),
            "SAN" if name.contains("OTHERNAME") => format!("{holder}@directory"),
            "SAN" => format!("spiffe://test/{holder}"),
            "SUBJECT" | "ISSUER" => format!("CN={holder}"),
            "SERIAL" => "beef".to_owned(),
            "START" => "2024-02-29T00:00:00.000Z".to_owned(),
            "END" => "2100-01-01T00:00:00.000Z".to_owned(),
            "1" => sha1(der),
            "CERT" => certificate::pem_for_url(der),
            _ => certificate::digest(der),
        };
        let template = format!("%{name}%");
        with_record(|record| assert_eq!(text(&template, &record), wanted, "{name}"));
        with_bare_record(|record| assert_eq!(text(&template, &record), "-", "{name}"));
    }
}

#[test]
fn what_does_not_change_is_put_down_once() {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let path = std::env::var("PATH").unwrap();
    with_record(|record| {
        assert_eq!(text("%HOSTNAME%", &record), name.trim());
        assert_eq!(text("%ENVIRONMENT(PATH):5%", &record), path[..5]);
    });
}

#[test]
fn values_stay_inside_their_quotes_and_their_line() {
    with_record(|record| {
        assert_eq!(text("\"%REQ(:PATH)%\"", &record), r#""/x?q=\x221\x22""#);
        assert_eq!(text("%REQ(X-QUOTE)%", &record), r"a\x22b\x5Cc\x09d\xE9");
        let record = Record {
            details: Some("one\r\ntwo\x1b[2J\x7f"),
            ..record
        };
        let escaped = text("%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", &record);
        assert_eq!(escaped, r"one\x0D\x0Atwo\x1B[2J\x7F");
        let escaped = text("%RESPONSE_CODE_DETAILS%", &record);
        assert_eq!(escaped, r"one__two\x1B[2J\x7F");
    });
}

#[test]
fn the_default_line_is_envoys_with_two_words_more() {
    with_record(|record| {
        assert_eq!(
            line(&Format::default(), &record),
            "[2024-02-29T12:34:56.007Z] \"GET /x?q=\\x221\\x22 HTTP/1.1\" 503 UH,WF 0 1000000 12 \
             \"-\" \"curl/8\" \"id-1\" \"a.example:80\" \"127.0.0.1:9000\" no_healthy_upstream \
             greet/on_request_headers\n"
        );
    });
}

#[test]
fn json_keeps_types_and_escapes() {
    let fields = [
        ("code", "%RESPONSE_CODE%"),
        ("sent", "%BYTES_SENT%"),
        ("status", "%RESP(:STATUS)%"),
        ("ms", "%DURATION%"),
        ("port", "%DOWNSTREAM_LOCAL_PORT%"),
        ("route", "%ROUTE_NAME%"),
        ("flags", "%RESPONSE_FLAGS%"),
        ("mixed \"\n", "took %DURATION% ms, \"%REQ(X-NONE)%\""),
        ("quote", "%REQ(X-QUOTE)%"),
        ("utf8", "%REQ(X-UTF8)%"),
        ("empty", ""),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let format = Format::json(fields.to_vec()).unwrap();
    with_record(|record| {
        let line = line(&format, &record);
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "code": 503, "sent": 1_000_000, "status": 503, "ms": 12, "port": 8080,
            "route": "web/routes[2]", "flags": "UH,WF",
            "mixed \"\n": "took 12 ms, \"-\"",
            "quote": "a\"b\\c\td\u{fffd}", "utf8": "caf\u{e9}", "empty": "",
        });
        assert_eq!(value, expected);
        assert!(line.starts_with(r#"{"code":503,"sent":1000000,"#), "{line}");
    });
    with_bare_record(|record| {
        let value: serde_json::Value = serde_json::from_str(&line(&format, &record)).unwrap();
        for absent in ["status", "port", "route", "flags", "quote"] {
            assert!(value[absent].is_null(), "{absent}");
        }
        assert_eq!(value["code"], 0);
    });
}

#[test]
fn mistakes_say_what_to_do() {
    let cases = [
        ("%RESPONS_CODE%", "did you mean `RESPONSE_CODE`?"),
        ("%upstream_host%", "did you mean `UPSTREAM_HOST`?"),
        ("%START_TIME(%Q)%", "is no format of strftime"),
        ("%START_TIME(%Y%", "has no closing `%`"),
        ("%UPSTREAM_PEER_CERT_V_END(%Q)%", "is no format of strftime"),
        ("%UPSTREAM_PEER_ISSUER(%Y)%", "takes no arguments"),
        ("%RESPONSE_CODE(s)%", "takes no arguments"),
        ("%QUERY_PARAM%", "`%QUERY_PARAM(NAME)%`"),
        ("%QUERY_PARAM(a):b%", "is not a length"),
        ("%ENVIRONMENT(A)b%", "is not a length"),
        ("%DURATION:5%", "takes no arguments"),
        ("%REQUEST(X-A)%", "did you mean `REQ"),
        ("%REQ%", "does not name a header"),
        ("%REQ(X-A%", "does not name a header"),
        ("%REQ(X-A)x%", "does not name a header"),
        ("%REQ(X-A):x%", "is not a length"),
        ("%REQ(a b)%", "is not a header name"),
        ("%REQ()%", "is not a header name"),
        ("%RESP(:PATH)%", "is not a header name"),
        ("100% of", "write `%%`"),
        ("a\nb", "one line"),
        ("a\x1b", "one line"),
    ];
    for (template, expected) in cases {
        let error = Format::text(template).unwrap_err();
        assert!(error.contains(expected), "{template:?}: {error}");
        assert!(!error.contains('\n'), "{error:?}");
    }
    Format::text("%PROTOCOL%\n").unwrap();

    let json = |fields: &[(&str, &str)]| {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Format::json(fields.iter().map(owned).collect()).unwrap_err()
    };
    assert!(json(&[("a", "%NOPE%")]).starts_with("`a`: "));
    assert!(json(&[("a", "1"), ("a", "2")]).contains("twice"));
    assert!(json(&[]).contains("no fields"));
}

#[test]
fn dates_hold_at_their_borders() {
    let at = |seconds: u64| {
        let mut line = String::new();
        with_record(|record| {
            let start = UNIX_EPOCH + Duration::from_secs(seconds);
            line = text("%START_TIME%", &Record { start, ..record });
        });
        line
    };
    assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000Z");
    assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
    assert_eq!(at(951_868_800), "2000-03-01T00:00:00.000Z");
    assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000Z");
    assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
    assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.000Z");
    // Every day has the date that the HTTP date of the same moment has.
    for day in (0..60_000).step_by(13) {
        let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
        let http = httpdate::fmt_http_date(time);
        let (year, day_of_month) = (&http[12..16], &http[5..7]);
        let iso = at(day * 86_400);
        assert!(
            iso.starts_with(year) && iso[8..10] == *day_of_month,
            "{iso} {http}"
        );
    }
}

#[test]
fn flags_are_envoys() {
    let cases = [
        (Flags::NO_HEALTHY_UPSTREAM, "UH", 0x2),
        (Flags::UPSTREAM_TIMEOUT, "UT", 0x4),
        (Flags::LOCAL_RESET, "LR", 0x8),
        (Flags::UPSTREAM_REMOTE_RESET, "UR", 0x10),
        (Flags::UPSTREAM_CONNECTION_FAILURE, "UF", 0x20),
        (Flags::UPSTREAM_CONNECTION_TERMINATION, "UC", 0x40),
        (Flags::NO_ROUTE, "NR", 0x100),
        (Flags::DOWNSTREAM_CONNECTION_TERMINATION, "DC", 0x4000),
        (Flags::STREAM_IDLE_TIMEOUT, "SI", 0x1_0000),
        (Flags::DOWNSTREAM_PROTOCOL_ERROR, "DPE", 0x4_0000),
        (Flags::UPSTREAM_PROTOCOL_ERROR, "UPE", 0x80_0000),
        (Flags::BODY_LIMIT, "BL", 1 << 48),
        (Flags::WASM_FAILURE, "WF", 1 << 49),
    ];
    let mut all = Flags::none();
    for (flag, name, bits) in cases {
        assert_eq!(flag.bits(), bits, "{name}");
        assert_eq!(flag.to_string(), name);
        all |= flag;
    }
    assert_eq!(all.names().count(), cases.len());
    assert!(all.contains(Flags::NO_ROUTE | Flags::LOCAL_RESET));
    assert!(!Flags::NO_ROUTE.contains(all));
    assert_eq!(format!("{:?}", Flags::none()), "Flags(-)");
    // The property is a signed integer.
    assert!(i64::try_from(all.bits()).is_ok());
}
