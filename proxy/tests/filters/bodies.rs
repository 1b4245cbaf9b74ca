//! What filters make of bodies, and that the framing says the same as the bytes.

use crate::support::{
    Answer, BOTH, Body, Config, Filter, Guest, Http, Proxy, Upstream, built_guest, get, post, run,
};

/// A change of a body: its name, what a callback does to what it sees at the end, and what
/// becomes of `some bytes`.
const CHANGES: [(&str, &str, &str); 5] = [
    ("nothing", "", "some bytes"),
    ("shorter", "(call $body (i32.const B) «short»)", "short"),
    (
        "longer",
        "(call $body (i32.const B) «something quite a bit longer»)",
        "something quite a bit longer",
    ),
    ("empty", "(call $body (i32.const B) «»)", ""),
    (
        "appended",
        "(drop (call $set_buffer (i32.const B) (i32.const 0x7fffffff) (i32.const 0) «, and more»))",
        "some bytes, and more",
    ),
];

const TEXT: &str = "some bytes";

/// Changes the body of one direction, buffered whole or as it comes by.
fn changer(direction: &str, change: &str, buffered: bool) -> Guest {
    let buffer = u32::from(direction == "response");
    let hold = "(if (i32.eqz (local.get $2)) (then (return (i32.const 1))))";
    let change = change.replace("(i32.const B)", &format!("(i32.const {buffer})"));
    // As it comes by, only a piece with bytes is changed.
    let code = if buffered {
        format!("{hold} {change}")
    } else {
        format!("(if (i32.ne (local.get $1) (i32.const 0)) (then {change}))")
    };
    Guest::new().on(&format!("{direction}_body"), code)
}

fn framed_right(answer: &Answer, about: &str) {
    assert!(!answer.cut, "{about}: {answer:?}");
    if let Some(length) = answer.header("content-length") {
        assert_eq!(length, answer.body.len().to_string(), "{about}");
        assert_eq!(answer.header("transfer-encoding"), None, "{about}");
    }
}

async fn start(filter: Filter) -> (Upstream, Proxy) {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    (upstream, proxy)
}

#[test]
fn a_changed_request_body_is_framed_as_it_is_now() {
    run(async {
        for buffered in [true, false] {
            for (name, change, expected) in CHANGES {
                let guest = changer("request", change, buffered);
                let (upstream, proxy) = start(Filter::wasm("f", guest.build())).await;
                for http in BOTH {
                    let about = format!("{name}, buffered {buffered}, {http:?}");
                    let mut client = proxy.client(http).await;
                    for round in 0..2 {
                        let path = format!("/{http:?}/{round}");
                        let answer = client.send(post(&path, Body::whole(TEXT))).await;
                        assert_eq!(answer.status, 200, "{about}");
                        let seen = upstream.only(&path);
                        assert_eq!(String::from_utf8_lossy(&seen.body), expected, "{about}");
                        let length = seen.all("content-length");
                        let chunked = seen.header("transfer-encoding").is_some();
                        assert_eq!(length.len() + usize::from(chunked), 1, "{about}: {seen:?}");
                        if let [length] = length[..] {
                            assert_eq!(length, expected.len().to_string(), "{about}");
                        }
                        framed_right(&answer, &about);
                    }
                }
            }
        }
    });
}

#[test]
fn a_changed_response_body_is_framed_as_it_is_now() {
    run(async {
        for buffered in [true, false] {
            for (name, change, expected) in CHANGES {
                let guest = changer("response", change, buffered);
                let (_upstream, proxy) = start(Filter::wasm("f", guest.build())).await;
                for http in BOTH {
                    let about = format!("{name}, buffered {buffered}, {http:?}");
                    let mut client = proxy.client(http).await;
                    for path in ["/same", "/same", "/empty"] {
                        let answer = client.send(get(path)).await;
                        framed_right(&answer, &about);
                        if path == "/same" {
                            assert_eq!((answer.status, answer.text()), (200, expected), "{about}");
                        } else {
                            assert_eq!((answer.status, answer.text()), (204, ""), "{about}");
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn pieces_changed_as_they_come_by_arrive_changed() {
    run(async {
        let guest = changer("response", "(call $body (i32.const B) «piece,»)", false);
        for http in BOTH {
            let (upstream, proxy) = start(Filter::wasm("f", guest.build())).await;
            let mut client = proxy.client(http).await;
            let sent = tokio::spawn(client.start(get("/halves")));
            proxy.logged(&["response_body 2 5 0"]).await;
            upstream.gate.open();
            let response = sent.await.expect("a task").expect("a response");
            let answer = Answer::read(response).await;
            assert_eq!(answer.text(), "piece,piece,", "{http:?}");
            framed_right(&answer, "pieces");
        }
    });
}

#[test]
fn a_response_to_head_keeps_its_content_length_whatever_filters_do_to_bodies() {
    run(async {
        let guest = changer("response", "(call $body (i32.const B) «short»)", true);
        for http in BOTH {
            let (_upstream, proxy) = start(Filter::wasm("f", guest.build())).await;
            let mut client = proxy.client(http).await;
            let mut request = get("/shown");
            *request.method_mut() = http::Method::HEAD;
            let answer = client.send(request).await;
            assert_eq!(
                (answer.status, answer.cut, answer.text()),
                (200, false, ""),
                "{http:?}"
            );
            assert!(
                answer
                    .header("content-length")
                    .is_some_and(|length| length != "0"),
                "{http:?}: {answer:?}"
            );
            proxy.logged(&["response_headers 2 ", " 1."]).await;
            assert!(proxy.lines(&["response_body 2 "]).is_empty());
            assert_eq!(client.send(get("/same")).await.text(), "short", "{http:?}");
        }
    });
}

#[test]
fn a_rust_guest_that_leaves_content_length_stale_gets_it_repaired() {
    let Some(module) = built_guest("body") else {
        return;
    };
    run(async {
        for change in ["upper", "text", "empty", "pass"] {
            let words =
                format!("configuration: request={change} response={change} keep-content-length");
            let (upstream, proxy) = start(Filter::file("body", &module).with(words)).await;
            for http in BOTH {
                let mut client = proxy.client(http).await;
                for round in 0..2 {
                    let about = format!("{change} over {http:?}");
                    let path = format!("/{http:?}/{round}");
                    let answer = client
                        .send(post(&path, Body::whole("a body of some length")))
                        .await;
                    assert_eq!(answer.status, 200, "{about}");
                    framed_right(&answer, &about);
                    let seen = upstream.only(&path);
                    let expected = match change {
                        "upper" => "A BODY OF SOME LENGTH",
                        "text" => "replaced 21 bytes\n",
                        "empty" => "",
                        _ => "a body of some length",
                    };
                    assert_eq!(String::from_utf8_lossy(&seen.body), expected, "{about}");
                    let chunked = seen.header("transfer-encoding").is_some();
                    let length = expected.len().to_string();
                    assert!(
                        chunked || seen.header("content-length") == Some(&length),
                        "{about}: {seen:?}"
                    );
                    match change {
                        "upper" => {
                            assert!(answer.text().contains("A BODY OF SOME LENGTH"), "{about}")
                        }
                        "text" => assert!(answer.text().starts_with("replaced "), "{about}"),
                        "empty" => assert_eq!(answer.text(), "", "{about}"),
                        _ => assert!(answer.text().ends_with(expected), "{about}"),
                    }
                }
            }
        }
    });
}

#[test]
fn without_repair_a_body_that_breaks_its_promise_is_cut_and_never_misread() {
    let Some(module) = built_guest("body") else {
        return;
    };
    run(async {
        for http in BOTH {
            let filter = Filter::file("body", &module)
                .with("configuration: request=pass response=text keep-content-length")
                .with("compat: { repair_content_length: \"off\" }");
            let (_upstream, proxy) = start(filter).await;
            let answer = proxy
                .client(http)
                .await
                .try_send(get("/some/path/that/is/long"))
                .await;
            assert!(
                answer.as_ref().map_or(true, |answer| answer.cut),
                "{http:?}: {answer:?}"
            );
            proxy.access(&["/some/path", "WF"]).await;
            let mut request = get("/head");
            *request.method_mut() = http::Method::HEAD;
            assert_eq!(proxy.client(http).await.send(request).await.status, 200);
        }
    });
}

#[test]
fn without_repair_a_request_that_breaks_its_promise_never_arrives_whole() {
    let Some(module) = built_guest("body") else {
        return;
    };
    run(async {
        for http in BOTH {
            let filter = Filter::file("body", &module)
                .with("configuration: request=text response=pass keep-content-length")
                .with("compat: { repair_content_length: \"off\" }");
            let (upstream, proxy) = start(filter).await;
            let answer = proxy
                .client(http)
                .await
                .try_send(post("/a", Body::whole(vec![b'x'; 1000])))
                .await;
            assert!(
                answer.as_ref().map_or(true, |answer| answer.status >= 500),
                "{http:?}: {answer:?}"
            );
            proxy.logged(&["filter=\"body\"", "request body"]).await;
            assert!(
                upstream.seen().is_empty(),
                "{http:?}: {:?}",
                upstream.seen()
            );
            let next = proxy.client(http).await.send(get("/next")).await;
            assert_eq!(next.status, 200, "{http:?}");
        }
    });
}

#[test]
fn a_body_that_one_filter_changes_is_what_the_next_one_sees() {
    run(async {
        let outer = changer("request", "(call $body (i32.const B) «from outer»)", true);
        let inner = changer("request", CHANGES[4].1, true);
        for http in [Http::One, Http::Two] {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address)
                .filter(Filter::wasm("outer", outer.build()))
                .filter(Filter::wasm("inner", inner.build()));
            let proxy = Proxy::start(&config).await;
            assert_eq!(
                proxy
                    .client(http)
                    .await
                    .send(post("/a", Body::whole(TEXT)))
                    .await
                    .status,
                200
            );
            let seen = upstream.only("/a");
            assert_eq!(seen.body, b"from outer, and more");
            assert_eq!(seen.header("content-length"), Some("20"));
        }
    });
}
