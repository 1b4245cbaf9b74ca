//! Responses that have no body, whatever somebody says: 204 and 304.

use crate::support::{BOTH, Config, Filter, Guest, Proxy, Upstream, get, run};

/// Asks twice on one connection each, and sees an answer of this status that is nothing more.
async fn has_none(config: &Config, path: &str, status: u16, about: &str) {
    let proxy = Proxy::start(config).await;
    for http in BOTH {
        let about = format!("{about}, {path}, {status} over {http:?}");
        let mut client = proxy.client(http).await;
        for _ in 0..2 {
            let answer = client.send(get(path)).await;
            let has = (answer.status, answer.text(), answer.cut);
            assert_eq!(has, (status, "", false), "{about}");
            assert_eq!(answer.header("transfer-encoding"), None, "{about}");
            if status == 204 {
                assert_eq!(answer.header("content-length"), None, "{about}");
            }
        }
        proxy
            .access(&[path, &status.to_string(), "\"flags\":null"])
            .await;
    }
}

#[test]
fn a_204_of_an_upstream_that_promises_a_body_promises_none() {
    run(async {
        for filtered in [false, true] {
            let upstream = Upstream::start();
            let mut config = Config::new(upstream.address);
            if filtered {
                config = config.filter(Filter::wasm("f", Guest::new().build()));
            }
            has_none(&config, "/promised", 204, &format!("filtered {filtered}")).await;
            assert_eq!(upstream.connections(), 1, "it was good for all");
        }
    });
}

#[test]
fn a_filter_that_makes_a_204_or_304_of_a_response_takes_its_body_away() {
    run(async {
        let removal = "(drop (call $remove (i32.const 2) «content-length»))";
        for status in [204, 304] {
            for (looks, remove) in [(false, ""), (false, removal), (true, "")] {
                let change =
                    format!("(drop (call $replace (i32.const 2) «:status» «{status}»)) {remove}");
                let mut guest = Guest::new().on("response_headers", change);
                if looks {
                    guest = guest.on("response_body", "(call $body (i32.const 1) «another body»)");
                }
                let upstream = Upstream::start();
                let config = Config::new(upstream.address).filter(Filter::wasm("f", guest.build()));
                for path in ["/same", "/chunked", "/nothing"] {
                    let about = format!("looks {looks}, {remove:?}");
                    has_none(&config, path, status, &about).await;
                }
            }
        }
    });
}

#[test]
fn a_filters_own_204_or_304_has_no_body() {
    run(async {
        for status in [204, 304] {
            for callback in ["request_headers", "response_headers"] {
                let reply =
                    format!("(call $reply (i32.const {status}) «hello») (return (i32.const 1))");
                let guest = Guest::new().on(callback, reply);
                let upstream = Upstream::start();
                let config = Config::new(upstream.address).filter(Filter::wasm("f", guest.build()));
                has_none(&config, "/same", status, callback).await;
            }
        }
    });
}
