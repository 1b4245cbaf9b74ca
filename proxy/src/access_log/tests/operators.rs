//! Operators with arguments, times, sizes and traces.

use super::*;

#[test]
fn times_are_told_from_one_moment_to_another() {
    with_record(|record| {
        for (template, wanted) in [
            (
                "%REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%",
                "2 2 7 5",
            ),
            ("%UPSTREAM_CONNECTION_POOL_READY_DURATION%", "1"),
            ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END)%", "12"),
            ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%", "12999"),
            ("%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ns)%", "6150000"),
            ("%COMMON_DURATION(US_RX_BEG:US_TX_BEG:ns)%", "-"),
            ("%COMMON_DURATION(US_CX_BEG:US_CX_END:us)%", "1000"),
            ("%COMMON_DURATION(US_CX_END:US_HS_END:us)%", "3000"),
            ("%COMMON_DURATION(US_CX_BEG:DS_RX_BEG:us)%", "5000"),
            ("%COMMON_DURATION(DS_RX_BEG:US_CX_END:us)%", "-"),
            ("%COMMON_DURATION(US_RX_BEG:US_RX_BODY_BEG:us)%", "750"),
            ("%COMMON_DURATION(US_RX_BEG:US_RX_END:us)%", "1750"),
        ] {
            assert_eq!(text(template, &record), wanted, "{template}");
        }
        let none = Record {
            times: Times::default(),
            ..record
        };
        let template = "%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% \
                        %COMMON_DURATION(US_TX_BEG:DS_TX_END:ms)%";
        assert_eq!(text(template, &none), "- - - -");
        let fields = vec![("d".to_owned(), "%REQUEST_DURATION%".to_owned())];
        let json = Format::json(fields).unwrap();
        assert_eq!(line(&json, &record), "{\"d\":2}\n");
        assert_eq!(line(&json, &none), "{\"d\":null}\n");
    });
}

#[test]
fn sizes_of_headers_are_envoys() {
    with_record(|record| {
        let template = "%REQUEST_HEADERS_BYTES% %RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES%";
        // user-agent, x-request-id, x-quote, x-utf8; then the four of the first line.
        let request = 16 + 16 + 15 + 11 + (10 + 11 + 22 + 13);
        assert_eq!(text(template, &record), format!("{request} 25 12"));
        let host = headers(&[("host", b"a.example:80")]);
        let one = Record {
            request_headers: &host,
            ..record
        };
        assert_eq!(text("%REQUEST_HEADERS_BYTES%", &one), "56");
    });
    with_bare_record(|record| {
        let template = "%RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES%";
        assert_eq!(text(template, &record), "0 0");
    });
}

#[test]
fn paths_are_told_with_and_without_their_query() {
    with_record(|record| {
        let rewritten = headers(&[("x-envoy-original-path", b"/first?a=1")]);
        let rewritten = Record {
            request_headers: &rewritten,
            ..record
        };
        for (template, plain, after) in [
            ("%PATH%", r"/x?q=\x221\x22", "/first?a=1"),
            ("%PATH(NQ)%", "/x", "/first"),
            ("%PATH(NQ:PATH)%", "/x", "/x"),
            ("%PATH(WQ:ORIG):4%", "-", "/fir"),
            ("%PATH(NQ:ORIG_OR_PATH)%", "/x", "/first"),
        ] {
            assert_eq!(text(template, &record), plain, "{template}");
            assert_eq!(text(template, &rewritten), after, "{template}");
        }
    });
}

#[test]
fn the_first_that_is_there_is_written() {
    with_record(|record| {
        for (template, wanted) in [
            (
                r#"%COALESCE({"operators": ["REQUESTED_SERVER_NAME", "PROTOCOL"]})%"#,
                "a.example",
            ),
            (
                r#"%COALESCE({"operators": [{"command": "REQ", "param": "x-none"}, "PROTOCOL"]})%|"#,
                "HTTP/1.1|",
            ),
            (
                r#"%COALESCE({"operators": [{"command": "REQ", "param": "x-request-id", "max_length": 2}]})%"#,
                "id",
            ),
            (
                r#"%COALESCE({"operators": [{"command": "REQ", "param": "x-request-id"}]}):3%"#,
                "id-",
            ),
            (
                r#"%COALESCE({"operators": [{"command": "RESP", "param": "x-none"}]})%"#,
                "-",
            ),
        ] {
            assert_eq!(text(template, &record), wanted, "{template}");
        }
        let fields = vec![(
            "n".to_owned(),
            r#"%COALESCE({"operators": ["BYTES_SENT"]})%"#.to_owned(),
        )];
        let json = Format::json(fields).unwrap();
        assert_eq!(line(&json, &record), "{\"n\":1000000}\n");
    });
}

#[test]
fn streams_and_traces_have_numbers() {
    with_record(|record| {
        for (template, wanted) in [
            ("%STREAM_ID% %ACCESS_LOG_TYPE%", "id-1 DownstreamEnd"),
            ("%TRACE_ID% %SPAN_ID%", "- -"),
            ("%UPSTREAM_PROTOCOL%", "HTTP/2"),
            (
                "%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%",
                "backend.test backend.test",
            ),
            ("%CONNECTION_TERMINATION_DETAILS%", "-"),
            (
                "%GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(CAMEL_STRING)% %GRPC_STATUS(NUMBER)%",
                "NOT_FOUND NotFound 5",
            ),
            (
                "%REQUEST_HEADER(User-Agent):4% %RESPONSE_HEADER(server)% %RESPONSE_TRAILER(grpc-status)%",
                "curl cofferdam 5",
            ),
        ] {
            assert_eq!(text(template, &record), wanted, "{template}");
        }
        let raw = Record {
            protocol: None,
            details: Some("upstream_remote_disconnect"),
            ..record
        };
        let template = "%STREAM_ID% %ACCESS_LOG_TYPE% %CONNECTION_TERMINATION_DETAILS%";
        assert_eq!(
            text(template, &raw),
            "7 TcpConnectionEnd upstream_remote_disconnect"
        );
        let (one, two) = (text("%UNIQUE_ID%", &record), text("%UNIQUE_ID%", &record));
        assert!(one.len() == 36 && one != two, "{one} {two}");
        let now = text("%EMIT_TIME(%Y)%", &record);
        assert!(now.len() == 4 && now.as_str() > "2024", "{now}");
        assert!(text("%EMIT_TIME%", &record).ends_with('Z'));
    });
    for (fields, wanted) in [
        (
            vec![(
                "traceparent",
                &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..],
            )],
            "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331",
        ),
        (
            vec![("b3", b"80f198ee56343ba8-e457b5a2e4d86bd1-1")],
            "80f198ee56343ba8 e457b5a2e4d86bd1",
        ),
        (
            vec![("x-b3-traceid", b"abc"), ("x-b3-spanid", b"def")],
            "abc def",
        ),
        (vec![("traceparent", b"nonsense")], "- -"),
    ] {
        let ours = "0000000000000000000000000000abcd 00000000000000ef";
        with_record(|record| {
            let request = headers(&fields);
            let record = Record {
                request_headers: &request,
                ..record
            };
            assert_eq!(text("%TRACE_ID% %SPAN_ID%", &record), wanted);
            let record = Record {
                span: Some((0xabcd, 0xef)),
                ..record
            };
            assert_eq!(text("%TRACE_ID% %SPAN_ID%", &record), ours);
        });
    }
}

#[test]
fn what_makes_no_sense_is_told() {
    for (template, part) in [
        ("%COMMON_DURATION%", "write it as"),
        ("%COMMON_DURATION(DS_RX_BEG)%", "write it as"),
        ("%COMMON_DURATION(DS_RX_BEG:US_CX_MID)%", "US_CX_END"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%", "ms, us or ns"),
        ("%PATH(X)%", "WQ"),
        ("%PATH(WQ:X)%", "ORIG_OR_PATH"),
        ("%PATH(WQ):x%", "not a length"),
        ("%GRPC_STATUS(X)%", "SNAKE_STRING"),
        ("%FILTER_STATE%", "names nothing"),
        ("%COALESCE({})%", "names no operators"),
        (r#"%COALESCE({"operators": []})%"#, "names no operators"),
        (r#"%COALESCE({"operators": [1]})%"#, "names no operators"),
        (
            r#"%COALESCE({"operators": ["NONSENSE"]})%"#,
            "is not an operator",
        ),
        (
            r#"%COALESCE({"operators": [{"command": "COALESCE", "param": "{}"}]})%"#,
            "names no operators",
        ),
        ("%CEL%", "has no expression"),
        ("%CEL()%", "has no expression"),
        ("%CEL(request.)%", "is no expression of CEL"),
        ("%TYPED_CEL(1 +)%", "is no expression of CEL"),
        ("%CEL(request.path):x%", "no closing"),
        ("%CUSTER_METADATA(a)%", "`CLUSTER_METADATA`"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(129)%", "first bits"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(x)%", "first bits"),
        ("%DYNAMIC_METADATA%", "names nothing"),
        ("%METADATA(OTHER:a)%", "LISTENER_FILTER_CHAIN"),
        ("%QUERY_PARAMS(X)%", "takes no arguments"),
        ("%REQUESTED_SERVER_NAME(X)%", "SNI_FIRST"),
        ("%REQUESTED_SERVER_NAME(SNI_FIRST:X)%", "ORIG_OR_HOST"),
        ("%RESPONSE_CODE_DETAILS(X)%", "takes no arguments"),
        ("%START_TIME_LOCAL(%Q)%", "no format of strftime"),
        ("%COALESCE%", "names no operators"),
        ("%COALESCE(X)%", "no closing"),
    ] {
        let told = Format::text(template).expect_err(template);
        assert!(told.contains(part), "{template}: {told}");
    }
}

#[test]
fn times_of_certificates_may_stand_anywhere() {
    with_record(|record| {
        for (operator, year) in [
            ("%DOWNSTREAM_PEER_CERT_V_START(%Y)%", "2024"),
            ("%DOWNSTREAM_PEER_CERT_V_END(%Y)%", "2100"),
            ("%UPSTREAM_PEER_CERT_V_START(%Y)%", "2024"),
            ("%UPSTREAM_PEER_CERT_V_END(%Y)%", "2100"),
        ] {
            for (before, shown) in [
                ("%PROTOCOL% ", "HTTP/1.1 "),
                ("%REQ(X-NONE):5% ", "- "),
                ("100%% (", "100% ("),
            ] {
                let template = format!("{before}{operator} %RESPONSE_CODE% %REQ(X-NONE)%");
                let wanted = format!("{shown}{year} 503 -");
                assert_eq!(text(&template, &record), wanted, "{template}");
            }
        }
        // One without a format ends at its own sign.
        let bare = "%DOWNSTREAM_PEER_CERT_V_END% %REQ(X-NONE)%";
        assert_eq!(text(bare, &record), "2100-01-01T00:00:00.000Z -");
    });
}

#[test]
fn a_mistake_names_its_operator_and_not_the_whole_template() {
    let long = "%PROTOCOL% %DURATION% ".repeat(20);
    for (mistake, told) in [
        ("%NONSENSE% ", "`%NONSENSE%` is not an operator; "),
        (
            "%NO_CERT_V_END(%Y)% ",
            "`%NO_CERT_V_END%` is not an operator; ",
        ),
        (
            "%PROTOCOL and much else that is text and has no end",
            "`%PROTOCOL and much else that is text and …%` is not an operator; ",
        ),
        (
            "%START_TIME(%Y ",
            "`%START_TIME(%Y %PROTOCOL% %DURATION% %PRO…` has no closing `%`; ",
        ),
    ] {
        for before in ["", "%PROTOCOL% "] {
            let template = format!("{before}{mistake}{long}");
            let error = Format::text(&template).expect_err(mistake);
            assert!(error.starts_with(told), "{error}");
        }
    }
}

#[test]
fn what_is_noted_is_told() {
    let full = [
        (
            "%UPSTREAM_HOSTS_ATTEMPTED%",
            "127.0.0.1:9001,127.0.0.1:9000",
        ),
        (
            "%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%",
            "127.0.0.1,127.0.0.1",
        ),
        (
            "%UPSTREAM_HOST_NAMES_ATTEMPTED%",
            "127.0.0.1:9001,backend.test",
        ),
        (
            "%UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%",
            "127.0.0.1,backend.test",
        ),
        ("%UPSTREAM_CONNECTION_IDS_ATTEMPTED%", "12"),
        ("%UPSTREAM_CONNECTION_ID%", "12"),
        (
            "%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT%",
            "101 -",
        ),
        (
            "%DOWNSTREAM_HEADER_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_SENT%",
            "31 41",
        ),
        (
            "%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED% %DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%",
            "31 41",
        ),
        (
            "%UPSTREAM_WIRE_BYTES_RECEIVED% %UPSTREAM_WIRE_BYTES_SENT%",
            "- 201",
        ),
        (
            "%UPSTREAM_HEADER_BYTES_RECEIVED% %UPSTREAM_HEADER_BYTES_SENT%",
            "- 61",
        ),
        (
            "%UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED% %UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%",
            "51 61",
        ),
        (
            "%DOWNSTREAM_DETECTED_CLOSE_TYPE% %UPSTREAM_DETECTED_CLOSE_TYPE%",
            "Normal RemoteReset",
        ),
    ];
    for (template, wanted) in full {
        assert!(Format::text(template).unwrap().is_noted(), "{template}");
        with_record(|record| assert_eq!(text(template, &record), wanted, "{template}"));
    }
    with_bare_record(|record| {
        let template = "%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_CONNECTION_ID% \
                        %UPSTREAM_CONNECTION_IDS_ATTEMPTED% %UPSTREAM_DETECTED_CLOSE_TYPE% \
                        %DOWNSTREAM_WIRE_BYTES_SENT% %UPSTREAM_HEADER_BYTES_SENT%";
        assert_eq!(text(template, &record), "- 0 - - - -");
    });
    assert!(!Format::default().is_noted());
    for asks in [
        "%COMMON_DURATION(US_CX_BEG:DS_TX_END)%",
        r#"%COALESCE({"operators": ["UPSTREAM_HOSTS_ATTEMPTED"]})%"#,
    ] {
        assert!(Format::text(asks).unwrap().is_noted(), "{asks}");
    }
}

#[test]
fn connections_are_told_of() {
    for (template, full, bare) in [
        ("%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%", "172.16.5.9:8443", "-"),
        (
            "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%",
            "172.16.5.9",
            "-",
        ),
        ("%DOWNSTREAM_DIRECT_LOCAL_PORT%", "8443", "-"),
        (
            "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT(16)%",
            "172.16.0.0/16",
            "-",
        ),
        (
            "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT(0)%",
            "0.0.0.0/0",
            "-",
        ),
        // As Envoy does it.
        (
            "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT(128)%",
            "172.16.5.9/32",
            "-",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(32)%",
            "2001:db8::/32",
            "-",
        ),
        (
            "%DOWNSTREAM_LOCAL_CLOSE_REASON%",
            "tcp_session_idle_timeout",
            "-",
        ),
        ("%UPSTREAM_LOCAL_CLOSE_REASON%", "closing", "-"),
        ("%DOWNSTREAM_HANDSHAKE_DURATION%", "-", "-"),
        ("%REQUESTED_SERVER_NAME(SNI_ONLY)%", "a.example", "-"),
        ("%REQUESTED_SERVER_NAME(SNI_FIRST:HOST)%", "a.example", "-"),
        ("%REQUESTED_SERVER_NAME(HOST_FIRST)%", "a.example:80", "-"),
        ("%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)%", "a.example", "-"),
        ("%DOWNSTREAM_PEER_CHAIN_SERIALS%", "beef,beef", "-"),
        ("%DOWNSTREAM_PEER_ISSUER_SERIAL%", "beef", "-"),
    ] {
        with_record(|record| assert_eq!(text(template, &record), full, "{template}"));
        with_bare_record(|record| assert_eq!(text(template, &record), bare, "{template}"));
    }
    let session = session();
    let (own, issuer) = (
        certificate::digest(&session.peer_certificate.clone().unwrap()),
        certificate::digest(&session.peer_issuers[0]),
    );
    with_record(|record| {
        let raw = Record {
            protocol: None,
            ..record
        };
        assert_eq!(text("%DOWNSTREAM_HANDSHAKE_DURATION%", &raw), "31");
        assert_eq!(text("%DOWNSTREAM_HEADER_BYTES_SENT%", &raw), "0");
        let chain = text("%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256%", &record);
        assert_eq!(chain, format!("{own},{issuer}"));
        let chain = text("%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1%", &record);
        assert_eq!(chain.len(), 40 + 1 + 40);
        let told = text("%DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256%", &record);
        assert_eq!(told, issuer);
    });
}

#[test]
fn local_time_says_how_far_from_utc_it_is() {
    with_record(|record| {
        let local = text("%START_TIME_LOCAL%", &record);
        let parsed = chrono::DateTime::parse_from_str(&local, "%Y-%m-%dT%H:%M:%S%.3f%z");
        assert_eq!(
            parsed.unwrap(),
            chrono::DateTime::<chrono::Utc>::from(record.start)
        );
        assert_eq!(text("%START_TIME_LOCAL(%s)%", &record), "1709210096");
        let now = text("%EMIT_TIME_LOCAL(%Y)% %EMIT_TIME_LOCAL%", &record);
        assert!(now.as_str() > "2024", "{now}");
    });
}

#[test]
fn queries_and_sentences_are_told_as_envoy_tells_them() {
    with_record(|record| {
        let record = Record {
            path: "/p?a=%20x%2&b=c+d",
            details: Some("one two\tthree"),
            transport_failure: Some("refused: no way"),
            ..record
        };
        for (template, wanted) in [
            ("%QUERY_PARAM(a)%", " x%2"),
            ("%QUERY_PARAM(a):2%", " x"),
            ("%QUERY_PARAM(b)%", "c+d"),
            (
                "%QUERY_PARAMS% %QUERY_PARAMS(ORIG)%",
                "a=%20x%2&b=c+d a=%20x%2&b=c+d",
            ),
            ("%QUERY_PARAMS(DECODED)%", "a=%20x%2&b=c+d"),
            ("%RESPONSE_CODE_DETAILS%", "one_two_three"),
            (
                "%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%",
                r"one two\x09three",
            ),
            ("%UPSTREAM_TRANSPORT_FAILURE_REASON%", "refused:_no_way"),
        ] {
            assert_eq!(text(template, &record), wanted, "{template}");
        }
        let record = Record {
            path: "/p",
            ..record
        };
        assert_eq!(text("%QUERY_PARAMS%", &record), "-");
    });
}

/// What Envoy has and there is nothing of here is taken all the same.
#[test]
fn what_there_is_nothing_of_is_absent() {
    with_record(|record| {
        for template in [
            "%CLUSTER_METADATA(a:b)%",
            "%DOWNSTREAM_CX_RTT%",
            "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID%",
            "%DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID%",
            "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
            "%DYNAMIC_METADATA(a):4%",
            "%FILTER_CHAIN_NAME%",
            "%METADATA(ROUTE:a:b):3%",
            "%ROUNDTRIP_DURATION%",
            "%TLS_JA3_FINGERPRINT%",
            "%TLS_JA4_FINGERPRINT%",
            "%UPSTREAM_FILTER_STATE(a:PLAIN)%",
            "%UPSTREAM_METADATA(a)%",
            "%UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%",
            "%VIRTUAL_CLUSTER_NAME%",
        ] {
            assert_eq!(text(template, &record), "-", "{template}");
        }
        assert_eq!(
            text("%BYTES_RETRANSMITTED% %PACKETS_RETRANSMITTED%", &record),
            "0 0"
        );
        assert_eq!(text("[%CUSTOM_FLAGS%%LOCAL_REPLY_BODY%]", &record), "[]");
    });
}

#[test]
fn expressions_are_evaluated_over_the_exchange() {
    struct Code;
    impl cofferdam_abi::Attributes for Code {
        fn attribute(&self, path: &[&[u8]]) -> Option<cofferdam_abi::Value> {
            (path == [&b"response"[..], b"code"]).then_some(cofferdam_abi::Value::Int(503))
        }
    }
    let pairs = [
        (":path", "/x?q=1"),
        (":authority", "a.example"),
        ("x-who", "100% \"me\""),
    ];
    let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
    let request = cofferdam_abi::Headers::from_entries(pairs.to_vec());
    let exchange = Exchange::new(request, Box::new(Code));
    with_record(|record| {
        let record = Record {
            exchange: Some(&exchange),
            ..record
        };
        for (template, wanted) in [
            ("%CEL(request.path)%", "/x?q=1"),
            ("%CEL(request.path):2%|", "/x|"),
            ("%CEL(request.headers['x-who'])%", r"100% \x22me\x22"),
            ("%CEL(response.code % 100)%|%PROTOCOL%", "3|HTTP/1.1"),
            (
                "%CEL(response.code >= 500 && request.url_path.startsWith('/x'))%",
                "true",
            ),
            ("%CEL(request.headers['x-none'])%", "-"),
            ("%CEL(request.headers)%", "-"),
            ("%TYPED_CEL(response.code)%", "503"),
        ] {
            assert!(Format::text(template).unwrap().is_evaluated(), "{template}");
            assert_eq!(text(template, &record), wanted, "{template}");
        }
        let fields = [
            "%CEL(response.code)%",
            "%TYPED_CEL(response.code)%",
            "%TYPED_CEL(1 < 2)%",
        ];
        let fields = fields.map(|it| (it.to_owned(), it.to_owned()));
        let line = line(&Format::json(fields.to_vec()).unwrap(), &record);
        assert!(
            line.contains(":\"503\",") && line.contains(":503,") && line.contains(":true}"),
            "{line}"
        );
    });
    with_record(|record| assert_eq!(text("%CEL(request.path)%", &record), "-"));
}
