//! HTTP calls that go wrong, and what the guest is told.

use super::{World, guest};
use crate::support::{Config, Proxy, Upstream, pki, run};

/// A proxy, the service it calls as `one` (HTTP/1.1) and `two` (HTTP/2), and a filter.
async fn start(more: &str) -> Option<(World, Upstream, Proxy)> {
    let filter = guest()?;
    let callee = Upstream::start();
    let between = Proxy::start(&Config::new(callee.address)).await;
    let nowhere = Upstream::nowhere();
    let world = World::start(filter, |config| {
        let config = config
            .cluster(format!(
                "{{ name: one, endpoints: ['{}'] }}",
                callee.address
            ))
            .cluster(format!(
                "{{ name: two, endpoints: ['{}'], protocol: http2 }}",
                between.address
            ))
            .cluster(format!("{{ name: nowhere, endpoints: ['{nowhere}'] }}"))
            .cluster("{ name: empty, endpoints: [] }")
            .cluster(format!(
                "{{ name: full, endpoints: ['{}'], circuit_breakers: {{ max_requests: 0 }} }}",
                callee.address
            ));
        if more.is_empty() {
            config
        } else {
            config.with(more)
        }
    })
    .await;
    Some((world, callee, between))
}

const RESET: &str = "failed, status 11 \"reset\"";

#[test]
fn a_service_that_cannot_be_reached_answers_503() {
    run(async {
        let Some((world, ..)) = start("").await else {
            return;
        };
        let outcome = world.outcome("http nowhere GET /").await;
        assert!(
            outcome.contains(":status=503 content-length=98 content-type=text/plain"),
            "{outcome}"
        );
        assert!(
            outcome.contains("reset reason: remote connection failure |"),
            "{outcome}"
        );
        let outcome = world.outcome("http empty GET /").await;
        assert!(outcome.contains(":status=503"), "{outcome}");
        assert!(outcome.contains("| no healthy upstream |"), "{outcome}");
    });
}

#[test]
fn what_is_past_a_bound_is_told_as_that() {
    run(async {
        let Some((world, callee, _between)) = start("").await else {
            return;
        };
        let outcome = world.outcome("http full GET /past").await;
        assert!(
            outcome.contains(
                ":status=503 content-length=81 content-type=text/plain x-envoy-overloaded=true"
            ),
            "{outcome}"
        );
        assert!(
            outcome.ends_with("reset reason: overflow || status 11 \"overflow\""),
            "{outcome}"
        );
        assert!(callee.seen_at("/past").is_empty());
    });
}

#[test]
fn an_unknown_service_is_refused_at_once() {
    run(async {
        let Some((world, ..)) = start("").await else {
            return;
        };
        world
            .call(&["http nobody GET /", "http http://127.0.0.1:1 GET /"])
            .await;
        world.proxy.logged_times(&["refused"], 2).await;
        assert!(world.answers().is_empty());
    });
}

#[test]
fn a_service_that_takes_too_long_answers_504_and_is_left() {
    run(async {
        let Some((world, callee, _between)) = start("").await else {
            return;
        };
        for name in ["one", "two"] {
            let outcome = world
                .outcome(&format!("http {name} GET /held timeout=50"))
                .await;
            assert!(
                outcome.contains(":status=504 content-length=24 content-type=text/plain"),
                "{outcome}"
            );
            assert!(
                outcome.contains("| upstream request timeout ||"),
                "{outcome}"
            );
            // Past its headers a response can only be cut.
            let outcome = world
                .outcome(&format!("http {name} GET /halves timeout=150"))
                .await;
            assert!(outcome.ends_with(RESET), "{outcome}");
        }
        callee.gate.open();
        for name in ["one", "two"] {
            let outcome = world.outcome(&format!("http {name} GET /halves")).await;
            assert!(outcome.contains("| firstlater |"), "{outcome}");
        }
    });
}

#[test]
fn a_response_that_breaks_off_is_none() {
    run(async {
        let Some((world, _callee, _between)) = start("").await else {
            return;
        };
        for name in ["one", "two"] {
            for path in ["/reset", "/reset-chunked"] {
                let outcome = world.outcome(&format!("http {name} GET {path}")).await;
                assert!(outcome.ends_with(RESET), "{name} {path}: {outcome}");
            }
            let outcome = world.outcome(&format!("http {name} GET /same")).await;
            assert!(outcome.contains("| some bytes |"), "{outcome}");
        }
    });
}

#[test]
fn no_response_at_all_answers_503() {
    run(async {
        let Some((world, ..)) = start("").await else {
            return;
        };
        for path in ["/close", "/garbage"] {
            // Twice: the second on a connection that may be reused.
            for _ in 0..2 {
                let outcome = world.outcome(&format!("http one GET {path}")).await;
                assert!(outcome.contains(":status=503"), "{path}: {outcome}");
                assert!(
                    outcome.contains("reset reason: connection termination |"),
                    "{path}: {outcome}"
                );
            }
        }
        let outcome = world.outcome("http one GET /status?101").await;
        assert!(outcome.ends_with(RESET), "{outcome}");
    });
}

#[test]
fn a_response_beyond_the_limit_is_cut() {
    run(async {
        let Some((world, _callee, _between)) = start("callouts: { body: 64KiB }").await else {
            return;
        };
        for name in ["one", "two"] {
            let outcome = world
                .outcome(&format!("http {name} GET /large?65536"))
                .await;
            assert!(outcome.contains("| 65536 bytes |"), "{outcome}");
            let outcome = world
                .outcome(&format!("http {name} GET /large?65537"))
                .await;
            assert!(outcome.ends_with(RESET), "{outcome}");
        }
    });
}

#[test]
fn a_service_that_cannot_prove_who_it_is_is_not_called() {
    let Some(filter) = guest() else { return };
    run(async {
        let (known, unknown) = (
            pki::Pki::new(&["callee.test"]),
            pki::Pki::new(&["callee.test"]),
        );
        let dir = crate::support::Dir::new();
        known.write(&dir, "known");
        unknown.write(&dir, "unknown");
        for alpn in ["http/1.1", "h2"] {
            let server = crate::support::h2::Upstream::new(
                Some(known.server(&[alpn])),
                crate::support::h2::echo,
            )
            .await;
            let protocol = if alpn == "h2" { "http2" } else { "http1" };
            let cluster = |name: &str, ca: &str, server_name: &str| {
                format!(
                    "{{ name: {name}, endpoints: ['{}'], protocol: {protocol}, \
                     tls: {{ server_name: {server_name}, ca: '{}' }} }}",
                    server.address,
                    dir.join(&format!("{ca}-ca.pem")).display()
                )
            };
            let world = World::start(filter.clone(), |config| {
                config
                    .cluster(cluster("good", "known", "callee.test"))
                    .cluster(cluster("forged", "unknown", "callee.test"))
                    .cluster(cluster("other", "known", "other.test"))
            })
            .await;
            let outcome = world.outcome("http good POST / body=secret").await;
            assert!(
                outcome.contains(":status=200") && outcome.contains("| secret |"),
                "{outcome}"
            );
            for name in ["forged", "other"] {
                let outcome = world
                    .outcome(&format!("http {name} POST / body=secret"))
                    .await;
                assert!(outcome.contains(":status=503"), "{alpn} {name}: {outcome}");
            }
            assert_eq!(server.heads().len(), 1, "nobody else was sent anything");
        }
    });
}
