//! Guests as their authors build them: in Rust with the SDK and without, in Go, in
//! AssemblyScript. Each changes a request and a response.

use crate::support::{
    Answer, BOTH, Body, Client, Config, Filter, Proxy, Seen, Upstream, built_guest, get, post, run,
};

/// Runs `test` with a client of each protocol through the guest `name`.
fn through(name: &str, more: &[&str], test: impl AsyncFn(&mut Client, &Upstream, &Proxy)) {
    let Some(module) = built_guest(name) else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = more
                .iter()
                .fold(Filter::file("guest", &module), |filter, yaml| {
                    filter.with(yaml)
                });
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            test(&mut proxy.client(http).await, &upstream, &proxy).await;
            assert_eq!(proxy.lines(&["ERROR"]), [""; 0], "{name} over {http:?}");
        }
    });
}

fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let values = answer.headers.get_all(name).iter();
    values.map(|value| value.to_str().expect("text")).collect()
}

#[test]
fn a_rust_guest_changes_headers_and_trailers_both_ways() {
    let more = ["trailers: [x-added-trailer]"];
    through("headers", &more, async |client, upstream, proxy| {
        let mut request = post("/trailers?q=1", Body::with_trailer("body", "x-t", "1"));
        for (name, value) in [
            ("x-removed", "1"),
            ("x-replaced", "old"),
            ("trailer", "x-t"),
            ("te", "trailers"),
        ] {
            request
                .headers_mut()
                .append(name, value.parse().expect("a value"));
        }
        let answer = client.send(request).await;
        let seen: Seen = upstream.only("/trailers");
        assert_eq!(seen.all("x-added"), ["one", "two"]);
        assert_eq!(
            (seen.all("x-replaced"), seen.header("x-removed")),
            (vec!["new"], None)
        );
        let trailer = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut trailers = seen.trailers.clone();
        trailers.sort();
        assert_eq!(
            trailers,
            [trailer("x-added-trailer", "yes"), trailer("x-t", "1")]
        );
        assert_eq!(all(&answer, "x-added"), ["one", "two"]);
        assert_eq!(all(&answer, "x-replaced"), ["new"]);
        assert_eq!(answer.header("x-request-path"), Some("/trailers?q=1"));
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(
            (
                trailers["x-end"].as_bytes(),
                trailers["x-added-trailer"].as_bytes()
            ),
            (&b"upstream"[..], &b"yes"[..])
        );
        proxy.logged(&["log: /trailers?q=1 200"]).await;
    });
}

#[test]
fn a_rust_guest_replaces_bodies_both_ways() {
    through("body", &[], async |client, upstream, _| {
        for round in 0..2 {
            let path = format!("/a{round}");
            let answer = client.send(post(&path, Body::whole("hello"))).await;
            assert_eq!(upstream.only(&path).body, b"HELLO");
            assert!(
                answer.text().contains("POST /A") && answer.text().ends_with("HELLO"),
                "{answer:?}"
            );
        }
    });
}

#[test]
fn a_rust_guest_answers_by_itself() {
    through("local_reply", &[], async |client, upstream, _| {
        let mut request = get("/a");
        request
            .headers_mut()
            .insert("x-deny", "yes".parse().expect("a value"));
        let answer = client.send(request).await;
        assert_eq!(
            (answer.status, answer.text()),
            (403, "denied at request-headers\n")
        );
        assert!(upstream.seen().is_empty());
        let answer = client.send(get("/b")).await;
        assert_eq!(
            (answer.status, answer.header("x-local-reply-filter")),
            (200, Some("seen"))
        );
    });
}

#[test]
fn a_rust_guest_pauses_and_goes_on() {
    through(
        "pause",
        &["configuration: \"5\""],
        async |client, upstream, proxy| {
            let answer = client.send(get("/a")).await;
            assert_eq!(answer.status, 200);
            assert_eq!(upstream.only("/a").header("x-resumed"), Some("tick"));
            proxy.logged(&["resumed 2 at RequestHeaders"]).await;
        },
    );
}

#[test]
fn a_rust_guest_reads_its_configuration_its_vm_and_its_environment() {
    let more = [
        "configuration: { greeting: hi, list: [1, 2.5, null, true] }",
        "vm_configuration: for the VM",
        "root_id: the-root",
        "vm_id: the-vm",
        "environment: { COLOUR: blue, SIZE: \"7\" }",
    ];
    through("config", &more, async |client, upstream, proxy| {
        let answer = client.send(get("/a")).await;
        let json = r#"{"greeting":"hi","list":[1,2.5,null,true]}"#;
        assert_eq!(answer.header("x-configuration"), Some(json));
        assert_eq!(upstream.only("/a").header("x-configuration"), Some(json));
        assert_eq!(answer.header("x-vm-configuration"), Some("for the VM"));
        assert_eq!(answer.header("x-plugin"), Some("guest/the-root/the-vm"));
        assert_eq!(answer.header("x-environment"), Some("COLOUR=blue,SIZE=7"));
        proxy
            .logged(&[&format!("config: {} bytes", json.len())])
            .await;
    });
}

#[test]
fn a_rust_guest_without_the_sdk_sets_a_header_each_way() {
    through("raw_sdk", &[], async |client, upstream, _| {
        let answer = client.send(get("/a")).await;
        assert_eq!(upstream.only("/a").header("x-raw-sdk"), Some("request"));
        assert_eq!(answer.header("x-raw-sdk"), Some("response"));
    });
}

/// Sets a header each way and replaces the response's body by `text`, however it came.
async fn replaces_bodies(client: &mut Client, upstream: &Upstream, name: &str, text: &str) {
    for path in ["/a", "/chunked", "/large?300000"] {
        let answer = client.send(post(path, Body::whole("body"))).await;
        let about = format!("{name} {path}: {:?}", answer.headers);
        assert_eq!(
            (answer.status, answer.text(), answer.cut),
            (200, text, false),
            "{about}"
        );
        assert_eq!(answer.header(name), Some("response"), "{about}");
        let seen = upstream.only(path.split('?').next().expect("a path"));
        assert_eq!(
            (seen.header(name), &seen.body[..]),
            (Some("request"), &b"body"[..]),
            "{about}"
        );
    }
    let answer = client.send(get("/empty")).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
}

#[test]
fn a_go_guest_changes_a_request_header_and_a_response_body() {
    through("go_guest", &[], async |client, upstream, proxy| {
        replaces_bodies(client, upstream, "x-go-guest", "hello from Go\n").await;
        proxy
            .logged(&["go guest: the greeting is hello from Go"])
            .await;
    });
    through(
        "go_guest",
        &["configuration: good day"],
        async |client, upstream, _| {
            replaces_bodies(client, upstream, "x-go-guest", "good day\n").await;
        },
    );
}

#[test]
fn an_assemblyscript_guest_changes_a_request_header_and_a_response_body() {
    through("as_guest", &[], async |client, upstream, proxy| {
        replaces_bodies(
            client,
            upstream,
            "x-as-guest",
            "hello from AssemblyScript\n",
        )
        .await;
        proxy.logged(&["as guest: ", "request headers"]).await;
    });
    through(
        "as_guest",
        &["configuration: good day"],
        async |client, upstream, _| {
            replaces_bodies(client, upstream, "x-as-guest", "good day\n").await;
        },
    );
}

#[test]
fn the_filters_of_the_demo_do_what_they_say() {
    let more =
        ["configuration: { request: { x-from: edge }, response: { x-frame-options: DENY } }"];
    through("add_header", &more, async |client, upstream, _| {
        let answer = client.send(get("/a")).await;
        assert_eq!(upstream.only("/a").header("x-from"), Some("edge"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    });
    through(
        "greet",
        &["configuration: { greeting: ahoy }"],
        async |client, _, _| {
            let answer = client.send(get("/a")).await;
            assert_eq!(answer.header("x-greeting"), Some("ahoy"));
            assert!(
                answer.text().trim_end().ends_with("ahoy"),
                "{}",
                answer.text()
            );
        },
    );
}

#[test]
fn guests_of_three_languages_work_in_one_chain() {
    let names = ["headers", "go_guest", "as_guest", "raw_sdk", "body"];
    let Some(modules) = names
        .into_iter()
        .map(built_guest)
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let chain = names
                .iter()
                .zip(&modules)
                .map(|(name, module)| Filter::file(name, module));
            let config = chain.fold(Config::new(upstream.address), Config::filter);
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;
            for round in 0..3 {
                let path = format!("/a{round}");
                let answer = client.send(post(&path, Body::whole("body"))).await;
                // The first filter that replaces the body is the last one on the way back.
                assert_eq!((answer.status, answer.text()), (200, "hello from Go\n"));
                let seen = upstream.only(&path);
                assert_eq!(seen.body, b"BODY");
                for name in ["x-go-guest", "x-as-guest", "x-raw-sdk"] {
                    assert_eq!(
                        (seen.header(name), answer.header(name)),
                        (Some("request"), Some("response"))
                    );
                }
            }
        }
    });
}
