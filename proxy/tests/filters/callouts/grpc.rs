//! gRPC calls and streams to a real server (tonic).

use super::{World, guest};
use crate::support::{Config, Filter, Grpc, Upstream, run};

const SERVICE: &str = "test.Echo";

/// The server as a cluster of each protocol: over HTTP/1.1's, gRPC has connections of its own.
async fn start(filter: Filter, more: impl FnOnce(Config) -> Config) -> (World, Grpc) {
    let server = Grpc::start().await;
    let nowhere = Upstream::nowhere();
    let world = World::start(filter, |config| {
        let cluster = |name, protocol, address| {
            format!("{{ name: {name}, endpoints: ['{address}'], protocol: {protocol} }}")
        };
        more(
            config
                .cluster(cluster("h2", "http2", server.address))
                .cluster(cluster("h1", "http1", server.address))
                .cluster(cluster("nowhere", "http2", nowhere))
                .cluster("{ name: empty, endpoints: [] }"),
        )
    })
    .await;
    (world, server)
}

fn with_server(test: impl AsyncFn(&World, &Grpc)) {
    let Some(filter) = guest() else { return };
    run(async {
        let (world, server) = start(filter, |config| config).await;
        test(&world, &server).await;
        assert_eq!(world.proxy.lines(&["ERROR"]), [""; 0]);
    });
}

#[test]
fn a_call_has_one_answer() {
    with_server(async |world, server| {
        for cluster in ["h2", "h1"] {
            let call =
                format!("grpc {cluster} {SERVICE} Say message=hello timeout=1500 h.x-meta=data");
            let outcome = world.outcome(&call).await;
            assert!(
                outcome.ends_with("grpc 0, 10 bytes: said hello"),
                "{outcome}"
            );
            let seen = server
                .saw(&format!("POST http://{cluster}/{SERVICE}/Say"))
                .await;
            for field in [
                "content-type=application/grpc",
                "te=trailers",
                "grpc-timeout=1500m",
                "x-meta=data",
                "x-envoy-internal=true",
            ] {
                assert!(seen.contains(field), "{field}: {seen}");
            }
        }
        assert!(server.seen().contains(&"Say: hello".to_owned()));
        let outcome = world
            .outcome(&format!("grpc h2 {SERVICE} Say timeout=0"))
            .await;
        assert!(outcome.ends_with("grpc 0, 5 bytes: said "), "{outcome}");
    });
}

#[test]
fn a_failure_has_a_code_and_a_message() {
    with_server(async |world, _| {
        for (call, wanted) in [
            (
                format!("h2 {SERVICE} Fail"),
                "grpc 5, 0 bytes: status 5 \"no such thing: é 100%\"",
            ),
            (
                format!("h2 {SERVICE} What"),
                "grpc 12, 0 bytes: status 12 \"no such method\"",
            ),
            (
                format!("h2 {SERVICE} Wait timeout=80"),
                "grpc 4, 0 bytes: status 4 \"upstream request timeout\"",
            ),
            (
                format!("nowhere {SERVICE} Say"),
                "grpc 14, 0 bytes: status 14 \"upstream connect error or disconnect/reset before headers. \
                 reset reason: remote connection failure\"",
            ),
            (
                format!("empty {SERVICE} Say"),
                "grpc 14, 0 bytes: status 14 \"no healthy upstream\"",
            ),
        ] {
            let mut outcome = world.outcome(&format!("grpc {call}")).await;
            // The server is told of the deadline and keeps it too: on a busy machine it may be
            // the first.
            for _ in 0..10 {
                if !outcome.ends_with("status 1 \"Timeout expired\"") {
                    break;
                }
                outcome = world.outcome(&format!("grpc {call}")).await;
            }
            assert!(outcome.ends_with(wanted), "{outcome}");
        }
    });
}

#[test]
fn messages_of_any_size_up_to_the_limit() {
    with_server(async |world, server| {
        let outcome = world
            .outcome(&format!("grpc h2 {SERVICE} Say size=1000000"))
            .await;
        assert!(
            outcome.ends_with("grpc 0, 1000005 bytes: 1000005 bytes"),
            "{outcome}"
        );
        let outcome = world
            .outcome(&format!("grpc h2 {SERVICE} Large message=4194304"))
            .await;
        assert!(outcome.contains("grpc 0, 4194304 bytes"), "{outcome}");
        let outcome = world
            .outcome(&format!("grpc h2 {SERVICE} Large message=4194305"))
            .await;
        assert!(outcome.contains("grpc 8, 0 bytes: status 8"), "{outcome}");
        server.saw("Large: 4194305").await;
    });
}

#[test]
fn a_cancelled_call_is_never_heard_of_again() {
    with_server(async |world, server| {
        world
            .call(&[&format!("grpc h2 {SERVICE} Say cancel")])
            .await;
        world.proxy.logged(&["cancel Ok(())"]).await;
        // Another one, to be sure that there was time.
        world
            .outcome(&format!("grpc h2 {SERVICE} Say message=2"))
            .await;
        assert!(!server.seen().contains(&"Say: ".to_owned()));
    });
}

#[test]
fn a_stream_goes_through_all_that_there_is() {
    with_server(async |world, server| {
        for cluster in ["h2", "h1"] {
            let before = world.answers().len();
            world
                .call(&[&format!(
                    "stream {cluster} {SERVICE} Chat send=one,two end h.x-meta=data"
                )])
                .await;
            let told: Vec<_> = world.answers().split_off(before);
            let what: Vec<_> = told
                .iter()
                .map(|line| line.splitn(3, ' ').nth(2).expect("words"))
                .collect();
            let told: Vec<_> = told
                .iter()
                .map(|line| line.split_once(": ").expect("a place").1)
                .map(|what| what.split_once(' ').expect("a token").1)
                .collect();
            assert!(told[0].starts_with("initial :status=200 "), "{what:#?}");
            assert!(told[0].contains("x-hello=yes"), "{told:#?}");
            assert_eq!(
                told[1..4],
                [
                    "message of 3 bytes: ONE",
                    "message of 3 bytes: TWO",
                    "message of 3 bytes: bye",
                ]
            );
            assert!(told[4].starts_with("trailing grpc-status=0"), "{told:#?}");
            assert_eq!(told[5..], ["closed 0: status 0 \"\""]);
        }
        let seen = server.seen();
        assert_eq!(
            seen.iter().filter(|line| *line == "Chat: end").count(),
            2,
            "{seen:#?}"
        );
        assert!(seen[0].contains("x-meta=data"), "{seen:#?}");
        assert!(!seen[0].contains("grpc-timeout"), "{seen:#?}");
    });
}

#[test]
fn messages_arrive_after_this_end_has_closed() {
    with_server(async |world, server| {
        world
            .call(&[&format!("stream h2 {SERVICE} Chat send=ping pong=3")])
            .await;
        let seen: Vec<_> = server.seen().split_off(1);
        assert_eq!(
            seen,
            ["Chat: ping", "Chat: pong 1", "Chat: pong 2", "Chat: end"]
        );
        let told = world.answers();
        assert!(
            told.iter()
                .any(|line| line.ends_with("message of 3 bytes: bye")),
            "{told:#?}"
        );
        assert!(
            told.last().expect("an end").contains("closed 0"),
            "{told:#?}"
        );
    });
}

#[test]
fn a_cancelled_stream_is_never_heard_of_again() {
    with_server(async |world, server| {
        world
            .call(&[&format!(
                "stream h2 {SERVICE} Chat send=one,two,three cancel=1"
            )])
            .await;
        // The server's library does not tell it from the end.
        server.saw("Chat: end").await;
        let told = world.answers();
        assert!(
            told.last().expect("an end").ends_with("cancel Ok(())"),
            "{told:#?}"
        );
        assert_eq!(told.len(), 3, "{told:#?}");
        world
            .call(&[&format!("stream h2 {SERVICE} Never cancel=0")])
            .await;
        world
            .call(&[&format!("grpc h2 {SERVICE} Say message=next")])
            .await;
        assert_eq!(world.answers().len(), 4);
    });
}

#[test]
fn a_server_that_does_not_read_ends_the_stream() {
    let Some(filter) = guest() else { return };
    run(async {
        let more = |config: Config| config.with("callouts: { message: 64KiB }");
        let (world, _server) = start(filter, more).await;
        // More than all windows and buffers of HTTP/2 on the way.
        world
            .call(&[&format!(
                "stream h2 {SERVICE} Never send=x size=60000 times=200"
            )])
            .await;
        let told = world.answers();
        assert!(
            told.last().expect("an end").contains("closed 8: status 8"),
            "{told:#?}"
        );
    });
}

#[test]
fn unreachable_servers_end_a_stream() {
    with_server(async |world, _| {
        for cluster in ["nowhere", "empty"] {
            let before = world.answers().len();
            world
                .call(&[&format!("stream {cluster} {SERVICE} Chat send=one")])
                .await;
            let told = world.answers().split_off(before);
            assert_eq!(told.len(), 2, "{told:#?}");
            assert!(told[0].contains("trailing"), "{told:#?}");
            assert!(told[1].contains("closed 14: status 14"), "{told:#?}");
        }
    });
}
