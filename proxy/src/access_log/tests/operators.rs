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
                "127.0.0.1:9000 127.0.0.1",
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
        ("%COMMON_DURATION(DS_RX_BEG:US_CX_END)%", "DS_TX_END"),
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
        ("%COALESCE%", "names no operators"),
        ("%COALESCE(X)%", "no closing"),
    ] {
        let told = Format::text(template).expect_err(template);
        assert!(told.contains(part), "{template}: {told}");
    }
}
