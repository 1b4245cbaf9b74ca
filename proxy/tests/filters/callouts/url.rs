//! Services that a filter names by URL.

use super::{World, guest};
use crate::support::{Dir, Filter, Upstream, dns, h2, pki, run};

fn allowed(filter: Filter, callouts: &[String]) -> Filter {
    filter.with(format!("capabilities: {{ callouts: {callouts:?} }}"))
}

#[test]
fn an_allowed_url_is_called_in_every_form() {
    let Some(filter) = guest() else { return };
    run(async {
        let callee = Upstream::start();
        let port = callee.address.port();
        let urls = [
            format!("http://localhost:{port}"),
            format!("http://127.0.0.1:{port}"),
        ];
        let world = World::start(allowed(filter, &urls), |config| config).await;
        for upstream in [
            format!("localhost:{port}"),
            format!("http://localhost:{port}"),
            format!("http://LOCALHOST:{port}"),
            format!("127.0.0.1:{port}"),
        ] {
            let outcome = world.outcome(&format!("http {upstream} GET /same")).await;
            assert!(outcome.contains("| some bytes |"), "{upstream}: {outcome}");
        }
        assert_eq!(callee.connections(), 2, "one for each host, and kept");
        for refused in [
            format!("https://localhost:{port}"),
            format!("http://localhost:{}", port ^ 1),
            "http://localhost".to_owned(),
            "up".to_owned(),
        ] {
            world.call(&[&format!("http {refused} GET /same")]).await;
        }
        world.proxy.logged_times(&["refused"], 4).await;
        assert_eq!(callee.connections(), 2);
    });
}

#[test]
fn a_name_that_does_not_exist_answers_503() {
    let Some(filter) = guest() else { return };
    run(async {
        let nowhere = Upstream::nowhere().port();
        let urls = [
            "http://nobody.invalid".to_owned(),
            format!("http://localhost:{nowhere}"),
        ];
        let world = World::start(allowed(filter, &urls), |config| config).await;
        for url in &urls {
            let outcome = world.outcome(&format!("http {url} GET /")).await;
            assert!(outcome.contains(":status=503"), "{outcome}");
            assert!(outcome.contains("remote connection failure |"), "{outcome}");
        }
    });
}

#[test]
fn a_name_is_looked_up_where_the_configuration_says() {
    let Some(filter) = guest() else { return };
    run(async {
        let callee = Upstream::start();
        let names = dns::Dns::new();
        names.at("calls.test", &["127.0.0.1"]);
        let url = format!("http://calls.test:{}", callee.address.port());
        let servers = format!(
            "dns: {{ servers: ['{}'], min_ttl: 1h, max_ttl: 1h }}",
            names.address
        );
        let filter = allowed(filter, std::slice::from_ref(&url));
        let world = World::start(filter, |config| config.with(&servers)).await;
        for _ in 0..3 {
            let outcome = world.outcome(&format!("http {url} GET /same")).await;
            assert!(outcome.contains("| some bytes |"), "{outcome}");
        }
        assert_eq!(
            names.asked("calls.test"),
            1,
            "once for as long as it is good"
        );
    });
}

#[test]
fn https_is_verified_against_the_named_authorities() {
    let Some(filter) = guest() else { return };
    run(async {
        let known = pki::Pki::new(&["localhost"]);
        let unknown = pki::Pki::new(&["localhost"]);
        let dir = Dir::new();
        known.write(&dir, "known");
        let http2 = h2::Upstream::new(Some(known.server(&["h2", "http/1.1"])), h2::echo).await;
        let http1 = h2::Upstream::new(Some(known.server(&["http/1.1"])), h2::echo).await;
        let forged = h2::Upstream::new(Some(unknown.server(&["h2"])), h2::echo).await;
        let url =
            |host: &str, server: &h2::Upstream| format!("https://{host}:{}", server.address.port());
        let urls = [
            url("localhost", &http2),
            url("localhost", &http1),
            url("localhost", &forged),
            // What the certificate is not for.
            url("127.0.0.1", &http1),
        ];
        let ca = format!(
            "callouts: {{ ca: '{}' }}",
            dir.join("known-ca.pem").display()
        );
        let world = World::start(allowed(filter, &urls), |config| config.with(&ca)).await;
        for url in &urls[..2] {
            for _ in 0..2 {
                let outcome = world
                    .outcome(&format!("http {url} POST / body=secret"))
                    .await;
                assert!(outcome.contains("| secret |"), "{url}: {outcome}");
            }
        }
        assert_eq!(http2.heads()[0].version, http::Version::HTTP_2);
        assert_eq!(http1.heads()[0].version, http::Version::HTTP_11);
        for server in [&http1, &http2] {
            assert_eq!(*server.connections.lock().expect("connections"), 1);
            assert_eq!(
                server.names.lock().expect("names")[..],
                [Some("localhost".to_owned())]
            );
        }
        for url in &urls[2..] {
            let outcome = world
                .outcome(&format!("http {url} POST / body=secret"))
                .await;
            assert!(outcome.contains(":status=503"), "{url}: {outcome}");
        }
        assert!(forged.heads().is_empty());
    });
}
