//! HTTP/2 on either side, and between it and HTTP/1.1.

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::BodyExt as _;

use crate::support::h2::{self, Feed};
use crate::support::pki::Pki;
use crate::support::{Client, Proxy, Setup, Upstream, guest, proxy};

/// One listener in front of an HTTP/2 upstream.
fn to_http2(upstream: &h2::Upstream) -> String {
    let cluster = format!("endpoints: ['{}']", upstream.address);
    proxy::plain(upstream.address).replace(&cluster, &format!("{cluster}, protocol: http2"))
}

fn post(path: &str, body: Feed) -> Request<Feed> {
    Request::post(format!("http://test{path}"))
        .body(body)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prior_knowledge_is_understood_and_reaches_an_http_1_upstream() {
    let upstream = Upstream::echo();
    let proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let (head, whole) = h2::fetch(&client, post("/a?b", h2::full("hello"))).await;
    assert_eq!(
        (head.status.as_u16(), head.version, &whole.body[..]),
        (200, Version::HTTP_2, &b"hello"[..])
    );
    let request = upstream.only_request();
    assert_eq!(
        (&request.line[..], request.field("host")),
        ("POST /a?b HTTP/1.1", Some("test"))
    );
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_whose_body_has_no_length_keeps_it() {
    let upstream = Upstream::echo();
    let proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let (feeder, feed) = h2::feed();
    h2::data(&feeder, "question");
    drop(feeder);
    let request = Request::get("http://test/").body(feed).unwrap();
    let (head, whole) = h2::fetch(&client, request).await;
    assert_eq!(
        (head.status.as_u16(), &whole.body[..]),
        (200, &b"question"[..])
    );
    // None where there is none.
    assert_eq!(h2::fetch(&client, h2::get("/")).await.1.body, "");
    let framings = upstream.requests();
    let framings = framings.iter().map(|it| it.field("transfer-encoding"));
    assert_eq!(framings.collect::<Vec<_>>(), [Some("chunked"), None]);
}

#[test]
fn a_get_in_chunks_keeps_its_body() {
    let upstream = Upstream::echo();
    let proxy = Proxy::in_front_of(upstream.address);
    let question =
        "GET / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(proxy.client().request(question).text(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_that_comes_in_crumbs_is_one_again() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let mut request = h2::get("/");
    for crumb in ["a=1", "b=2; c=3", "d=4"] {
        let crumb = http::HeaderValue::from_static(crumb);
        request.headers_mut().append(http::header::COOKIE, crumb);
    }
    assert_eq!(h2::fetch(&client, request).await.0.status, 200);
    let request = upstream.only_request();
    assert_eq!(request.field("cookie"), Some("a=1; b=2; c=3; d=4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alpn_chooses_http_2_or_http_1_over_tls() {
    let upstream = Upstream::echo();
    let (pki, setup) = (Pki::new(&["proxy.test"]), Setup::new());
    pki.write(&setup.dir, "server");
    let listener = "  address: 127.0.0.1:0\n";
    let tls = format!("{listener}  tls: {{ certificate: server.pem, key: server.key }}\n");
    let proxy = setup.start(&proxy::plain(upstream.address).replace(listener, &tls));

    let client = h2::connect_tls(proxy.web(), pki.client(&["h2", "http/1.1"]), "proxy.test").await;
    let (head, whole) = h2::fetch(&client, post("/", h2::full("two"))).await;
    assert_eq!((head.status.as_u16(), &whole.body[..]), (200, &b"two"[..]));

    for alpn in [&["http/1.1"][..], &[]] {
        let mut client = Client::connect_tls(proxy.web(), pki.client(alpn), "proxy.test");
        let answer =
            client.request("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\none");
        assert_eq!((answer.status(), answer.text()), (200, "one".to_owned()));
    }
    for request in upstream.requests() {
        assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_1_client_is_served_by_an_http_2_upstream() {
    let upstream = h2::Upstream::new(None, h2::echo).await;
    let proxy = Proxy::start(&to_http2(&upstream));
    let web = proxy.web();
    let answers = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(web);
        let mut answers = Vec::new();
        for request in [
            "POST /1 HTTP/1.1\r\nhost: one.test\r\ncontent-length: 5\r\n\r\nhello",
            "POST /2 HTTP/1.1\r\nhost: one.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            answers.push(client.request(request));
        }
        answers
    })
    .await
    .unwrap();
    for answer in answers {
        assert_eq!((answer.status(), answer.text()), (200, "hello".to_owned()));
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert_eq!(head.uri.authority().unwrap(), "one.test");
        assert_eq!(head.headers.get("host"), None);
        assert_eq!(head.headers.get("transfer-encoding"), None);
    }
    assert_eq!(*upstream.connections.lock().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_passes_through_with_trailers_both_ways() {
    let upstream = h2::Upstream::new(None, h2::echo).await;
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let filtered = to_http2(&upstream).replace("  routes:", "  filters: [guest]\n  routes:")
        + "filters: [{ name: guest, module: { file: guest.wasm } }]\n";
    for proxy in [Proxy::start(&to_http2(&upstream)), setup.start(&filtered)] {
        let client = h2::connect(proxy.web()).await;
        let (feeder, feed) = h2::feed();
        h2::data(&feeder, "some");
        h2::data(&feeder, "thing");
        h2::trailers(&feeder, &[("x-checksum", "42")]);
        drop(feeder);
        let (head, whole) = h2::fetch(&client, post("/", feed)).await;
        assert_eq!(
            (head.status.as_u16(), &whole.body[..]),
            (200, &b"something"[..])
        );
        assert_eq!(
            whole.trailers["x-checksum"], "42",
            "up, echoed, and down again"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_flows_both_ways_at_once() {
    let upstream = h2::Upstream::new(None, h2::echo).await;
    let proxy = Proxy::start(&to_http2(&upstream));
    let client = h2::connect(proxy.web()).await;
    let (feeder, feed) = h2::feed();
    let mut answer = h2::send(&client, post("/", feed)).await.into_body();
    for word in ["one", "two", "three"] {
        h2::data(&feeder, word);
        let frame = h2::soon(answer.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), Bytes::from(word));
    }
    drop(feeder);
    assert_eq!(h2::whole(answer).await.unwrap().body, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_of_one_connection_are_served_at_once() {
    // Nobody is answered before all have come.
    const STREAMS: usize = 100;
    static BARRIER: std::sync::LazyLock<tokio::sync::Barrier> =
        std::sync::LazyLock::new(|| tokio::sync::Barrier::new(STREAMS));
    let upstream = h2::Upstream::new(None, |request| async {
        BARRIER.wait().await;
        h2::echo(request).await
    })
    .await;
    let proxy = Proxy::start(&to_http2(&upstream));
    let client = h2::connect(proxy.web()).await;
    let all: Vec<_> = (0..STREAMS)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                h2::fetch(&client, post("/", h2::full(n.to_string())))
                    .await
                    .1
            })
        })
        .collect();
    for (n, one) in all.into_iter().enumerate() {
        assert_eq!(one.await.unwrap().body, n.to_string());
    }
    assert_eq!(
        *upstream.connections.lock().unwrap(),
        1,
        "and over one connection to the upstream"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nobody_reads_does_not_stop_another_on_its_connection() {
    // `/stuck` is never read; everything else is echoed.
    let upstream = Upstream::new(|conn| {
        let Some(head) = conn.head() else { return };
        if head.line.contains("/stuck") {
            // Holds the connection without reading it.
            std::thread::sleep(crate::support::LONGEST);
            return;
        }
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = conn.chunk() {
            body.extend(chunk);
        }
        conn.respond(body.len().to_string());
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let (stuck, feed) = h2::feed();
    for _ in 0..64 {
        h2::data(&stuck, vec![b'x'; 64 << 10]);
    }
    let stuck_answer = tokio::spawn(client.clone().send_request(post("/stuck", feed)));
    tokio::task::spawn_blocking({
        let upstream = upstream.clone();
        move || upstream.wait_for_bytes(1)
    })
    .await
    .unwrap();
    let (feeder, feed) = h2::feed();
    for _ in 0..32 {
        h2::data(&feeder, vec![b'y'; 64 << 10]);
    }
    drop(feeder);
    let (head, whole) = h2::fetch(&client, post("/flows", feed)).await;
    assert_eq!(
        (head.status.as_u16(), &whole.body[..]),
        (200, (32 * (64 << 10)).to_string().as_bytes())
    );
    stuck_answer.abort();
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_stream_frees_its_upstream_and_leaves_the_others() {
    let upstream = Upstream::new(|conn| {
        while let Some(head) = conn.head() {
            if head.line.contains("/slow") {
                conn.rest();
                return;
            }
            conn.respond("ok");
        }
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let slow = tokio::spawn(client.clone().send_request(h2::get("/slow")));
    let seen = upstream.clone();
    tokio::task::spawn_blocking(move || seen.wait_for_bytes(1))
        .await
        .unwrap();
    slow.abort();
    let seen = upstream.clone();
    tokio::task::spawn_blocking(move || seen.wait_for_ended(1))
        .await
        .unwrap();
    let (head, _) = h2::fetch(&client, h2::get("/other")).await;
    assert_eq!(head.status, 200);
    proxy
        .stdout
        .wait_for("0 DC downstream_remote_disconnect GET /slow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_list_over_the_limit_is_refused_and_the_connection_goes_on() {
    let upstream = Upstream::named("ok");
    let listener = "  address: 127.0.0.1:0\n";
    let yaml = proxy::plain(upstream.address)
        .replace(listener, &format!("{listener}  max_header_bytes: 16KiB\n"));
    let proxy = Proxy::start(&yaml);
    let client = h2::connect(proxy.web()).await;
    let long = |length: usize| {
        Request::get("http://test/")
            .header("x-long", "x".repeat(length))
            .body(h2::empty())
            .unwrap()
    };
    assert_eq!(h2::fetch(&client, long(15 << 10)).await.0.status, 200);
    assert_eq!(h2::fetch(&client, long(17 << 10)).await.0.status, 431);
    assert_eq!(h2::fetch(&client, h2::get("/")).await.0.status, 200);
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_headers_within_the_limit_pass_both_ways_over_http_2() {
    let upstream = h2::Upstream::new(None, |request| async move {
        let mut answer = h2::echo(request).await;
        answer
            .headers_mut()
            .insert("x-long", "y".repeat(48 << 10).parse().unwrap());
        answer
    })
    .await;
    let proxy = Proxy::start(&to_http2(&upstream));
    let client = h2::connect_with(proxy.web(), |builder| {
        builder.max_header_list_size(64 << 10);
    })
    .await;
    let request = Request::get("http://test/")
        .header("x-long", "x".repeat(48 << 10))
        .body(h2::empty())
        .unwrap();
    let (head, _) = h2::fetch(&client, request).await;
    assert_eq!(
        (head.status.as_u16(), head.headers["x-long"].len()),
        (200, 48 << 10)
    );
    assert_eq!(upstream.heads()[0].headers["x-long"].len(), 48 << 10);
}

#[test]
fn a_short_request_is_not_held_back_for_the_preface_of_http_2() {
    // Every byte of this one is also a beginning of "PRI * HTTP/2.0" for as long as it can be.
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    assert_eq!(
        proxy
            .client()
            .request("PROPFIND / HTTP/1.0\r\n\r\n")
            .status(),
        200
    );
    let mut client = proxy.client();
    for byte in "PRINT / HTTP/1.0\r\n\r\n".bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extended_connect_reaches_an_http_1_upstream_as_an_upgrade() {
    let upstream = Upstream::new(|conn| {
        let Some(_) = conn.request() else { return };
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: whatever\r\nx-more: 1\r\n\r\nearly ",
        );
        while let Ok(byte) = conn.bytes(1) {
            conn.send(byte.to_ascii_uppercase());
        }
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let request = Request::connect("http://test/chat")
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(h2::empty())
        .unwrap();
    let answer = h2::send(&client, request).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-more"]),
        (200, &"1".parse().unwrap())
    );
    assert_eq!(answer.headers().get("sec-websocket-accept"), None);
    let tunnel = h2::soon(hyper::upgrade::on(answer)).await.unwrap();
    let mut tunnel = hyper_util::rt::TokioIo::new(tunnel);
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    tunnel.write_all(b"hello").await.unwrap();
    let mut got = [0; 11];
    h2::soon(tunnel.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"early HELLO");
    drop(tunnel);
    let request = upstream.only_request();
    assert_eq!(
        (&request.line[..], request.field("upgrade")),
        ("GET /chat HTTP/1.1", Some("websocket"))
    );
    assert_eq!(
        (request.field("host"), request.field("connection")),
        (Some("test"), Some("upgrade"))
    );
    assert!(
        request
            .field("sec-websocket-key")
            .is_some_and(|key| key.len() == 24)
    );
    proxy.stdout.wait_for("200 - via_upstream GET /chat");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extended_connect_where_upgrades_are_off_is_refused() {
    let upstream = Upstream::named("ok");
    let yaml = proxy::plain(upstream.address)
        .replace("cluster: backend }", "cluster: backend, upgrades: false }");
    let proxy = Proxy::start(&yaml);
    let client = h2::connect(proxy.web()).await;
    let request = Request::connect("http://test/chat")
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .body(h2::empty())
        .unwrap();
    assert_eq!(h2::fetch(&client, request).await.0.status, 405);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_204_of_an_http_2_upstream_has_no_body_either() {
    let upstream = h2::Upstream::new(None, |_| async {
        let mut response = http::Response::new(h2::full("hello"));
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        response
    })
    .await;
    let yaml =
        proxy::plain(upstream.address).replace("name: backend,", "name: backend, protocol: http2,");
    let proxy = Proxy::start(&yaml);
    let client = h2::connect(proxy.web()).await;
    for _ in 0..2 {
        let (head, whole) = h2::fetch(&client, h2::get("/")).await;
        assert_eq!((head.status.as_u16(), &whole.body[..]), (204, &b""[..]));
        assert_eq!(head.headers.get("content-length"), None);
    }
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(
            (answer.status(), answer.field("content-length")),
            (204, None)
        );
    }
    assert_eq!(*upstream.connections.lock().unwrap(), 1);
}
