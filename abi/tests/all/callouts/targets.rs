//! Whom guests may call, by name and by capability.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_abi::{Capabilities, Target, testing};

use super::{Embed, escaped, setup, source};
use crate::world::{Engine, Look, PRESETS, Setup};

fn url(text: &str) -> Target {
    Target::parse_url(text).expect("a URL")
}

/// With nobody to call but these.
fn only(targets: Vec<Target>) -> Setup {
    let mut capabilities = Capabilities::default();
    capabilities.restrict_callouts(targets);
    let mut setup = setup();
    setup.clusters.push("d".into());
    setup.settings.capabilities = Arc::new(capabilities);
    setup
}

/// What calls to that upstream answer: HTTP, a gRPC call, a gRPC stream.
fn statuses(engine: Engine, setup: Setup, upstream: &str) -> Vec<String> {
    let calls = format!(
        "on tick\n (!say (!http_call {{\"{upstream}\"}} {{\"GET\"}} #0 #0 #0 #0 #0 #24))
        (!say (!grpc_call {{\"{upstream}\"}} #0 #0 #0 #0 #0 #0 #0 #0 #0 #24))
        (!say (!grpc_stream {{\"{upstream}\"}} #0 #0 #0 #0 #0 #0 #24))"
    );
    engine.guest_of(setup, &source(&calls)).tick()
}

each_engine! {
    fn clusters_are_called_by_name(engine) {
        assert_eq!(statuses(engine, setup(), "c"), ["0", "0", "0"]);
        assert_eq!(statuses(engine, setup(), "nobody"), ["2", "4", "4"]);
        assert_eq!(statuses(engine, setup(), "api:80"), ["2", "4", "4"]);
    }

    fn a_cluster_may_be_called_like_a_host(engine) {
        let mut setup = setup();
        setup.clusters.push("api:80".into());
        let guest = engine.guest_of(setup, &source("on tick\n (drop (!http_call {\"api:80\"} {\"GET\"} #0 #0 #0 #0 #0 #24))"));
        guest.tick();
        assert_eq!(guest.http().1.target, Target::Cluster("api:80".into()));
    }

    fn a_cluster_that_is_not_listed_answers_10(engine) {
        let allowed = vec![Target::Cluster("c".into())];
        assert_eq!(statuses(engine, only(allowed.clone()), "c"), ["0", "0", "0"]);
        assert_eq!(statuses(engine, only(allowed), "d"), ["10", "10", "10"]);
        assert_eq!(statuses(engine, only(Vec::new()), "c"), ["10", "10", "10"]);
    }

    fn hosts_are_called_only_where_they_are_listed(engine) {
        for compat in PRESETS {
            let allowed = || {
                let mut setup = only(vec![url("https://api"), url("http://10.0.0.1:81")]);
                setup.settings.compat = compat;
                setup
            };
            for upstream in ["https://api", "https://api:443", "https://API", "http://10.0.0.1:81", "10.0.0.1:81"] {
                assert_eq!(statuses(engine, allowed(), upstream), ["0", "0", "0"], "{upstream}");
            }
            for upstream in ["http://api", "https://api:444", "https://other"] {
                assert_eq!(statuses(engine, allowed(), upstream), ["10", "10", "10"], "{upstream}");
                assert_eq!(statuses(engine, setup(), upstream), ["10", "10", "10"], "{upstream}");
            }
            assert_eq!(statuses(engine, allowed(), "https://api/path"), ["2", "4", "4"]);
            assert_eq!(statuses(engine, allowed(), "10.0.0.1:82"), ["2", "4", "4"]);
        }
    }

    fn whom_it_may_not_call_is_counted(engine) {
        let guest = engine.guest_of(only(vec![url("https://api")]), &source("on tick
            (!say (!http_call {\"c\"} {\"GET\"} #0 #0 #0 #0 #0 #24)) (!say (!token))
            (drop (!http_call {\"http://api\"} {\"GET\"} #0 #0 #0 #0 #0 #24))
            (drop (!http_call {\"api:81\"} {\"GET\"} #0 #0 #0 #0 #0 #24))
            (drop (!http_call {\"nobody\"} {\"GET\"} #0 #0 #0 #0 #0 #24))"));
        assert_eq!(guest.tick(), ["10", "0"]);
        assert_eq!(guest.host.refusals.take(), [": cluster:c", ": http://api:80", ": http://api:81"]);
        assert!(guest.asked().is_empty());
    }

    fn a_listed_host_is_what_the_embedder_is_given(engine) {
        let guest = engine.guest_of(only(vec![url("https://api:8443")]), &source(
            "on tick\n (drop (!http_call {\"https://api:8443\"} {\"GET\"} #0 #0 #0 #0 #0 #24))"));
        guest.tick();
        assert_eq!(guest.http().1.target, Target::Url { tls: true, host: "api".into(), port: 8443 });
    }

    fn a_grpc_service_names_its_cluster_and_more(engine) {
        // envoy_grpc { cluster_name: "c" authority: "auth" } timeout { seconds: 2 }
        // initial_metadata { key: "X-Key" value: "new" } initial_metadata { key: ":path" value: "/" }
        let service = escaped(b"\x0a\x09\x0a\x01c\x12\x04auth\x1a\x02\x08\x02\
            \x2a\x0c\x0a\x05X-Key\x12\x03new\x2a\x0a\x0a\x05:path\x12\x01/");
        let metadata = super::pairs(&[("x-key", "old"), ("X-Other", "o"), (":authority", "evil")]);
        let guest = engine.guest_of(setup(), &source(&format!("on tick
            (!say (!grpc_call {{\"{service}\"}} {{\"pkg.S\"}} {{\"M\"}} {{\"{metadata}\"}} {{\"msg\"}} #0 #24))")));
        assert_eq!(guest.tick(), ["0"]);
        let (_, call) = guest.grpc();
        assert_eq!(call.target, Target::Cluster("c".into()));
        assert_eq!(call.authority.as_deref(), Some(&b"auth"[..]));
        assert_eq!(call.timeout, Some(Duration::from_secs(2)));
        assert_eq!(call.metadata, testing::map(&[("x-key", "new"), ("x-other", "o")]));
    }

    fn the_calls_own_time_comes_before_the_services(engine) {
        let service = escaped(b"\x0a\x03\x0a\x01c\x1a\x02\x08\x02");
        let guest = engine.guest_of(setup(), &source(&format!("on tick
            (!say (!grpc_call {{\"{service}\"}} #0 #0 #0 #0 #0 #0 #0 #0 #30 #24))")));
        guest.tick();
        assert_eq!(guest.grpc().1.timeout, Some(Duration::from_millis(30)));
    }

    fn a_grpc_service_of_google_is_a_host(engine) {
        // google_grpc { target_uri: "dns:///api:9000" channel_credentials { ssl_credentials {} } }
        let service = escaped(b"\x12\x15\x0a\x0fdns:///api:9000\x12\x02\x0a\x00");
        assert_eq!(statuses(engine, only(vec![url("https://api:9000")]), &service)[1..], ["0", "0"]);
        assert_eq!(statuses(engine, only(vec![url("http://api:9000")]), &service)[1..], ["10", "10"]);
    }

    fn a_grpc_service_that_will_not_do_answers_2_or_10(engine) {
        for (bytes, status) in [
            (&b"\x1a\x02\x08\x02"[..], "2"),
            (b"\x0a\x02\x0a\x00", "2"),
            (b"\x12\x00", "2"),
            (b"\x0a\x08\x0a\x06nobody", "10"),
            (b"\x0a\x09\x0a\x01c", "4"),
        ] {
            let answers = statuses(engine, setup(), &escaped(bytes));
            assert_eq!(answers, ["2", status, status], "{bytes:?}");
        }
        let guest = engine.guest_of(setup(), &source("on tick\n (!say (!grpc_stream #0 #0 #0 #0 #0 #0 #0 #0 #24))"));
        assert_eq!(guest.tick(), ["4"], "a name of no letters");
    }
}
