//! What a line tells only where its format asks for it, held against the bytes on the wire.

use std::sync::{Arc, Mutex};

use crate::support::{Proxy, Upstream, h2};

/// One route to these endpoints, with a log of this format.
fn proxy(endpoints: &[std::net::SocketAddr], keys: &str, format: &str) -> Proxy {
    let endpoints: Vec<String> = endpoints.iter().map(|it| format!("'{it}'")).collect();
    let route = "retry_policy: { retry_on: connect-failure, num_retries: 3, retry_back_off: { base_interval: 1ms } }";
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c, {route} }}] }}]\n\
         clusters: [{{ name: c, endpoints: [{}], {keys} }}]\n\
         workers: 1\n\
         access_log: {{ format: '{format}' }}\n",
        endpoints.join(", ")
    ))
}

const SIZES: &str = "%REQ(:PATH)% %DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_RECEIVED% \
     %UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_HEADER_BYTES_SENT% %UPSTREAM_WIRE_BYTES_RECEIVED% \
     %UPSTREAM_HEADER_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_SENT% %UPSTREAM_CONNECTION_ID%|";

/// Bytes of a head's lines, the first and the empty one apart.
fn lines(head: &[u8]) -> usize {
    let end = head.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let first = head.windows(2).position(|it| it == b"\r\n").unwrap();
    end - first
}

#[test]
fn sizes_are_those_on_the_wire() {
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    const KNOWN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nhello";
    let upstream = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            let chunked = request.line.contains("/chunked");
            conn.send(if chunked { CHUNKED } else { KNOWN });
        }
    });
    let proxy = proxy(&[upstream.address], "", SIZES);
    let mut client = proxy.client();
    // One connection carries them all, here and there.
    let requests = [
        "GET /known HTTP/1.1\r\nhost: h\r\nx-long: 0123456789\r\n\r\n",
        "POST /chunked HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc",
        "POST /again HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ];
    let mut before = 0;
    let mut ids = Vec::new();
    for request in requests {
        client.send(request);
        let answer = client.response();
        assert_eq!(answer.text(), "hello");
        let path = request.split(' ').nth(1).unwrap();
        let line = proxy.stdout.wait_for(&format!("{path} "));
        let told: Vec<usize> = (line.trim_end_matches('|').split(' ').skip(1))
            .map(|number| number.parse().unwrap())
            .collect();
        let sent = upstream.bytes()[before..].to_vec();
        before += sent.len();
        let response = if path == "/chunked" { CHUNKED } else { KNOWN };
        let left: usize = (answer.fields.iter())
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        // What the codec adds by itself is not counted among the lines.
        let codecs = "transfer-encoding: chunked\r\n".len();
        let added = if path == "/chunked" { codecs } else { 0 };
        let added_there = if path == "/again" { codecs } else { 0 };
        assert_eq!(
            told[..7],
            [
                request.len(),
                lines(request.as_bytes()),
                sent.len(),
                lines(&sent) - added_there,
                response.len(),
                lines(response.as_bytes()),
                left - added,
            ],
            "{line}\n{}",
            String::from_utf8_lossy(&sent)
        );
        ids.push(told[7]);
    }
    assert!(ids[0] > 0 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn every_endpoint_that_was_tried_is_told_in_turn() {
    let (nobody, upstream) = (Upstream::nobody(), Upstream::named("one"));
    let format = "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_HOST_NAMES_ATTEMPTED% \
                  %UPSTREAM_CONNECTION_IDS_ATTEMPTED% %UPSTREAM_CONNECTION_ID% %UPSTREAM_HOST_NAME%|";
    let proxy = proxy(&[nobody, upstream.address], "", format);
    // By turns: one of the two begins with the endpoint that refuses.
    for _ in 0..2 {
        assert_eq!(proxy.get("/x").status(), 200);
    }
    let line = proxy.stdout.wait_for("2 ");
    let fields: Vec<&str> = line.trim_end_matches('|').split(' ').collect();
    let both = format!("{nobody},{}", upstream.address);
    assert_eq!(fields[1..3], [&both[..], &both[..]], "{line}");
    assert_eq!(fields[3], fields[4], "{line}");
    assert_eq!(fields[5], upstream.address.to_string(), "{line}");
}

#[test]
fn an_endpoint_that_was_found_by_its_name_is_told_by_it() {
    let upstream = Upstream::named("one");
    let port = upstream.address.port();
    let yaml = format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, endpoints: ['localhost:{port}'], dns_family: v4_only }}]\n\
         workers: 1\n\
         access_log: {{ format: '%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAMES_ATTEMPTED% %UPSTREAM_HOST%|' }}\n"
    );
    let proxy = Proxy::start(&yaml);
    assert_eq!(proxy.get("/x").status(), 200);
    let wanted = format!("localhost localhost 127.0.0.1:{port}|");
    proxy.stdout.wait_for(&wanted);
}

#[test]
fn moments_of_the_upstreams_connection_and_its_body_are_told() {
    let held = Arc::new(Mutex::new(()));
    let lock = held.lock().unwrap();
    let gate = held.clone();
    let upstream = Upstream::new(move |conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
            drop(gate.lock());
            conn.send("ok");
        }
    });
    let format = "%COMMON_DURATION(US_CX_BEG:US_CX_END:ns)% %COMMON_DURATION(US_CX_END:US_TX_BEG:ns)% \
                  %COMMON_DURATION(US_RX_BEG:US_RX_BODY_BEG:ns)% %COMMON_DURATION(US_RX_BODY_BEG:US_RX_END:ns)% \
                  %COMMON_DURATION(US_CX_END:US_HS_END:ns)% %COMMON_DURATION(US_CX_BEG:DS_RX_BEG:ns)%|";
    let proxy = proxy(&[upstream.address], "", format);
    let mut client = proxy.client();
    client.send("GET /x HTTP/1.1\r\nhost: h\r\n\r\n");
    client.head();
    drop(lock);
    client.bytes(2);
    let line = proxy.stdout.wait_for("|");
    let fields: Vec<&str> = line.trim_end_matches('|').split(' ').collect();
    for field in &fields[..4] {
        assert!(field.parse::<u64>().is_ok(), "{field}: {line}");
    }
    // No TLS; and the connection was made for this very request.
    assert_eq!(fields[4..], ["-", "-"], "{line}");
    let before = proxy.stdout.count("|");
    assert_eq!(client.get("/y").status(), 200);
    while proxy.stdout.count("|") == before {
        std::thread::yield_now();
    }
    let text = proxy.stdout.text();
    let line = text.lines().last().unwrap();
    let last = line.trim_end_matches('|').rsplit(' ').next().unwrap();
    assert!(
        last.parse::<u64>().is_ok(),
        "older than the request: {line}"
    );
}

#[tokio::test]
async fn an_upstream_that_resets_is_told_of_and_http_2_has_no_lines() {
    let upstream = Upstream::new(|conn| {
        if conn
            .request()
            .is_some_and(|request| request.line.contains("/reset"))
        {
            conn.reset();
        } else {
            conn.respond("hello");
        }
    });
    let format = "%PATH% %UPSTREAM_DETECTED_CLOSE_TYPE% %DOWNSTREAM_DETECTED_CLOSE_TYPE% \
                  %DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_RECEIVED% \
                  %DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%|";
    let proxy = proxy(&[upstream.address], "", format);
    assert_eq!(proxy.get("/reset").status(), 503);
    let line = proxy.stdout.wait_for("/reset ");
    assert!(line.starts_with("/reset RemoteReset Normal "), "{line}");
    let client = h2::connect(proxy.web()).await;
    let (head, _) = h2::fetch(&client, h2::get("/two")).await;
    assert_eq!(head.status, 200);
    let line = proxy.stdout.wait_for("/two ");
    let fields: Vec<&str> = line.trim_end_matches('|').split(' ').collect();
    assert_eq!(fields[1..5], ["Normal", "Normal", "-", "-"], "{line}");
    assert!(
        fields[5].parse::<u64>().is_ok_and(|bytes| bytes > 30),
        "{line}"
    );
}

#[test]
fn expressions_are_told_without_a_filter_too() {
    let upstream = Upstream::named("one");
    // Quotes of YAML are doubled inside it.
    let format = "%CEL(request.path)% %CEL(response.code + 1)% %CEL(request.headers[''x-who''])% \
                  %CEL(upstream.address)% %CEL(connection.mtls)% %CEL(request.headers[''x-none''])%|";
    let proxy = proxy(&[upstream.address], "", format);
    let mut client = proxy.client();
    let answer = client.request("GET /a?b HTTP/1.1\r\nhost: h\r\nx-who: me\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let wanted = format!("/a?b 201 me {} false -|", upstream.address);
    proxy.stdout.wait_for(&wanted);
}
