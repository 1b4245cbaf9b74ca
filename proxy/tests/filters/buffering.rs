//! What filters keep of bodies, and how much of them they may.

use crate::support::{
    BOTH, Body, Config, Filter, Guest, Http, Proxy, Upstream, get, post, run, within,
};

async fn start(filter: Filter) -> (Upstream, Proxy) {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    (upstream, proxy)
}

/// What a body callback that answers `mode` until the end is shown of three pieces.
async fn body_mode(mode: u32, http: Http) -> (Vec<String>, Vec<u8>) {
    let hold = format!("(if (i32.eqz (local.get $2)) (then (return (i32.const {mode}))))");
    let (upstream, proxy) = start(Filter::wasm(
        "f",
        Guest::new().on("request_body", hold).build(),
    ))
    .await;
    let mut client = proxy.client(http).await;
    let (feeder, body) = Body::fed();
    let response = tokio::spawn(client.start(post("/a", body)));
    for (times, piece) in ["first", "other", "third"].into_iter().enumerate() {
        feeder.feed(piece);
        proxy.logged_times(&["request_body 2 "], times + 1).await;
    }
    drop(feeder);
    let response = within("the response", response)
        .await
        .expect("a task")
        .expect("a response");
    assert_eq!(response.status(), 200);
    let calls = proxy.lines(&["request_body 2 "]);
    let sizes = calls
        .iter()
        .filter_map(|line| line.split("request_body 2 ").nth(1)?.split('.').next());
    (
        sizes.map(ToOwned::to_owned).collect(),
        upstream.only("/a").body,
    )
}

#[test]
fn a_body_that_is_buffered_is_shown_whole_each_time() {
    run(async {
        for http in BOTH {
            let (sizes, body) = body_mode(1, http).await;
            assert_eq!(sizes, ["5 0", "10 0", "15 0", "15 1"], "{http:?}");
            assert_eq!(body, b"firstotherthird");
        }
    });
}

#[test]
fn a_body_held_by_watermark_is_shown_once_and_sent_whole() {
    run(async {
        for http in BOTH {
            let (sizes, body) = body_mode(2, http).await;
            assert_eq!(sizes, ["5 0", "5 0", "5 0", "0 1"], "{http:?}");
            assert_eq!(body, b"firstotherthird");
        }
    });
}

#[test]
fn a_body_that_is_not_buffered_is_lost() {
    run(async {
        for http in BOTH {
            let (sizes, body) = body_mode(3, http).await;
            assert_eq!(sizes, ["5 0", "5 0", "5 0", "0 1"], "{http:?}");
            assert_eq!(body, b"");
        }
    });
}

#[test]
fn a_request_body_over_the_limit_is_answered_413() {
    run(async {
        let by_headers = Guest::new().on("request_headers", "(return (i32.const 3))");
        let by_body = Guest::new().on("request_body", "(return (i32.const 1))");
        for http in BOTH {
            for guest in [&by_headers, &by_body] {
                let filter = Filter::wasm("f", guest.build()).with("limits: { body: 64KiB }");
                let (_upstream, proxy) = start(filter).await;
                let answer = proxy
                    .client(http)
                    .await
                    .send(post("/a", Body::whole(vec![b'x'; 200_000])))
                    .await;
                assert_eq!(
                    (answer.status, answer.text()),
                    (413, "Payload Too Large"),
                    "{http:?}"
                );
                proxy
                    .access(&["/a", "413", "BL", "request_payload_too_large"])
                    .await;
                proxy
                    .logged(&["WARN", "filter=\"f\"", "request body outgrew", "most=65536"])
                    .await;
                proxy.logged(&["delete 2."]).await;
            }
        }
    });
}

#[test]
fn a_response_body_over_the_limit_is_answered_500_while_its_headers_are_held() {
    run(async {
        for http in BOTH {
            let guest = Guest::new().on("response_headers", "(return (i32.const 3))");
            let filter = Filter::wasm("f", guest.build()).with("limits: { body: 64KiB }");
            let (_upstream, proxy) = start(filter).await;
            let mut client = proxy.client(http).await;
            let answer = client.send(get("/large?200000")).await;
            assert_eq!(
                (answer.status, answer.text()),
                (500, "Internal Server Error"),
                "{http:?}"
            );
            proxy
                .access(&["/large", "500", "BL", "response_payload_too_large"])
                .await;
            proxy
                .logged(&["WARN", "filter=\"f\"", "response body outgrew"])
                .await;
            proxy.logged(&["delete 2."]).await;
            client.ready().await.expect("the connection goes on");
        }
    });
}

#[test]
fn a_response_body_over_the_limit_is_cut_once_its_headers_have_left() {
    run(async {
        for http in BOTH {
            let guest = Guest::new().on("response_body", "(return (i32.const 1))");
            let filter = Filter::wasm("f", guest.build()).with("limits: { body: 64KiB }");
            let (_upstream, proxy) = start(filter).await;
            let answer = proxy
                .client(http)
                .await
                .try_send(get("/large?200000"))
                .await;
            assert!(
                answer.is_err() || answer.is_ok_and(|answer| answer.cut),
                "{http:?}"
            );
            proxy.access(&["/large", "BL"]).await;
            proxy.logged(&["delete 2."]).await;
        }
    });
}
