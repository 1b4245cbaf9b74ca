//! What filters may have the proxy hold for them, over sockets.

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::{BOTH, Body, Config, Filter, Proxy, Upstream, get, post, run, within};

async fn start(source: &str, limits: &str) -> (Upstream, Proxy) {
    let wasm = wat::parse_str(guest::module(source, Shape::default())).expect("WAT");
    let upstream = Upstream::start();
    let filter = Filter::wasm("f", wasm).with(limits);
    let config = Config::new(upstream.address)
        .filter(filter)
        .with("admin: { address: \"127.0.0.1:0\" }");
    (upstream, Proxy::start(&config).await)
}

#[test]
fn a_filter_that_adds_too_much_costs_its_stream_and_no_other() {
    run(async {
        // 2 MiB in pieces, and by watermark nothing fails that only came.
        let adding = "on request_body
            (local $n i32)
            (loop $again
                (drop (!set_buffer_bytes #0 #-1 #0 #0 #65536))
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #32)))
            (return #2)";
        for http in BOTH {
            let (upstream, proxy) = start(adding, "engine: interpreter").await;
            let mut client = proxy.client(http).await;
            for _ in 0..6 {
                let answer = client.send(post("/large", Body::whole("hello"))).await;
                assert_eq!(answer.status, 413, "{http:?}");
                client = proxy.client(http).await;
            }
            assert_eq!(client.send(get("/a")).await.status, 200);
            assert!(upstream.seen_at("/large").is_empty());
            proxy
                .logged(&["WARN", "filter=\"f\"", "limit=\"body\"", "limits.body"])
                .await;
            let hits = "cofferdam_filter_limit_hits_total{filter=\"f\",limit=\"body\",callback=\"proxy_on_request_body\"} 6";
            proxy.measured(hits).await;
            assert!(proxy.lines(&["crashed"]).is_empty(), "the VM goes on");
        }
    });
}

#[test]
fn bodies_that_streams_hold_have_one_bound_together() {
    run(async {
        let holding = "on request_body
            (!say (local.get $b))
            (return (i32.eqz (local.get $c)))";
        for http in BOTH {
            let (upstream, proxy) = start(holding, "limits: { memory: 1MiB }").await;
            let piece = vec![7; 400 << 10];
            let mut held = Vec::new();
            for count in 1..=2 {
                let mut client = proxy.client(http).await;
                let (feeder, body) = Body::fed();
                let response = tokio::spawn(client.start(post("/a", body)));
                feeder.feed(&piece);
                proxy.logged_times(&[" 409600 "], count).await;
                held.push((feeder, response, client));
            }
            let mut client = proxy.client(http).await;
            let answer = client.send(post("/b", Body::whole(&piece))).await;
            assert_eq!(answer.status, 413, "{http:?}");
            for (feeder, response, _client) in held {
                drop(feeder);
                let response = within("a response", response).await.expect("a task");
                assert_eq!(response.expect("a response").status(), 200);
            }
            let mut client = proxy.client(http).await;
            let answer = client.send(post("/c", Body::whole(&piece))).await;
            assert_eq!(answer.status, 200, "there is room again");
            assert_eq!(upstream.only("/c").body.len(), piece.len());
        }
    });
}
