//! Clients that send what costs them nothing: their connections end, after so many frames and
//! not later, and other clients are served meanwhile.

use http::{Request, Response};
use hyper::body::Incoming;

use crate::support::admin::Watched;
use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GET, HEADERS,
    PING, POST, PRIORITY, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::support::{Proxy, Upstream, h2, proxy};

/// In so many rounds of [`AT_ONCE`] frames every connection has used its credit up, however
/// slow the machine.
const ROUNDS: u32 = 2_000;
const AT_ONCE: u32 = 100;

/// Sends the frames of a round again and again until the connection is closed, while somebody
/// reads what comes and another client asks. The code of its GOAWAY.
fn flood(proxy: &Proxy, begin: &[u8], mut round: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut client = Frames::connect(proxy.web(), &[]);
    client.send_bytes(begin).unwrap();
    let mut reader = client.twin();
    let reading = std::thread::spawn(move || reader.end());
    let mut other = proxy.client();
    let mut rounds = 0..ROUNDS;
    while let Some(number) = rounds.next()
        && client.send_bytes(&round(number)).is_ok()
    {
        if number % 10 == 0 {
            assert_eq!(other.get("/").status(), 200, "another client");
        }
    }
    let goaway = reading.join().unwrap();
    assert!(!rounds.is_empty(), "all was taken");
    assert_eq!(other.get("/").status(), 200, "another client, afterwards");
    goaway
}

#[test]
fn frames_that_carry_nothing_end_the_connection() {
    let upstream = Upstream::named("ok");
    let Watched { proxy, admin } = Watched::start(&proxy::plain(upstream.address));
    let open = frame(HEADERS, END_HEADERS, 1, POST);
    let floods: [(&str, &[u8], Vec<u8>); 7] = [
        ("ping", &[], frame(PING, 0, 0, &[1; 8])),
        ("answers to pings", &[], frame(PING, ACK, 0, &[1; 8])),
        ("settings", &[], frame(SETTINGS, 0, 0, &[])),
        ("priority", &[], frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 9])),
        (
            "window update",
            &[],
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ),
        ("empty data", &open, frame(DATA, 0, 1, &[])),
        ("unknown", &[], frame(0xbe, 0, 0, &[])),
    ];
    let count = floods.len();
    for (name, begin, one) in floods {
        let many = one.repeat(AT_ONCE as usize);
        let goaway = flood(&proxy, begin, |_| many.clone());
        assert_eq!(goaway, Some(ENHANCE_YOUR_CALM), "{name}");
    }
    admin.becomes_cut("http2.flood", count);
}

#[test]
fn pings_whose_answers_nobody_reads_end_the_connection() {
    let upstream = Upstream::named("ok");
    let Watched { proxy, admin } = Watched::start(&proxy::plain(upstream.address));
    let mut client = Frames::connect(proxy.web(), &[]);
    let many = frame(PING, 0, 0, &[1; 8]).repeat(AT_ONCE as usize);
    // What the system holds for either side takes some of it.
    let mut rounds = 0..ROUNDS;
    while rounds.next().is_some() && client.send_bytes(&many).is_ok() {}
    admin.becomes_cut("http2.flood", 1);
    client.end();
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn streams_that_are_opened_to_be_reset_end_the_connection() {
    let upstream = Upstream::named("ok");
    let Watched { proxy, admin } = Watched::start(&proxy::plain(upstream.address));
    let pairs = |round: u32| {
        let streams = (round * AT_ONCE..(round + 1) * AT_ONCE).map(|number| 2 * number + 1);
        streams.flat_map(opened_and_reset).collect()
    };
    assert_eq!(flood(&proxy, &[], pairs), Some(ENHANCE_YOUR_CALM));
    admin.becomes_cut("http2.flood", 1);
}

fn opened_and_reset(stream: u32) -> Vec<u8> {
    [open(stream), reset(stream)].concat()
}

fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_reset_after_they_have_left_count_too() {
    async fn never(_: Request<Incoming>) -> Response<h2::Feed> {
        std::future::pending().await
    }
    let upstream = h2::Upstream::new(None, never).await;
    let endpoints = format!("endpoints: ['{}']", upstream.address);
    let yaml = proxy::plain(upstream.address)
        .replace(&endpoints, &format!("{endpoints}, protocol: http2"));
    let Watched { proxy, admin } = Watched::start(&yaml);
    let flooding = tokio::task::spawn_blocking(move || {
        let mut client = Frames::connect(proxy.web(), &[]);
        let mut reader = client.twin();
        let reading = std::thread::spawn(move || reader.end());
        let mut left = 0;
        for round in 0..ROUNDS {
            let streams: Vec<u32> = (round * 50..(round + 1) * 50).map(|n| 2 * n + 1).collect();
            let opened: Vec<u8> = streams.iter().copied().flat_map(open).collect();
            if client.send_bytes(&opened).is_err() {
                break;
            }
            // What is reset before anybody has looked at it is bounded by another count.
            while upstream.heads().len() < left + streams.len() && !reading.is_finished() {
                std::thread::yield_now();
            }
            left = upstream.heads().len();
            let resets: Vec<u8> = streams.iter().copied().flat_map(reset).collect();
            if client.send_bytes(&resets).is_err() {
                break;
            }
        }
        (left, reading.join().unwrap(), proxy)
    });
    let (left, goaway, proxy) = flooding.await.unwrap();
    assert_eq!(goaway, Some(ENHANCE_YOUR_CALM));
    assert!(left >= 500, "only {left}");
    tokio::task::spawn_blocking(move || admin.becomes_cut("http2.flood", 1))
        .await
        .unwrap();
    drop(proxy);
}

#[test]
fn a_head_without_an_end_ends_the_connection() {
    let upstream = Upstream::named("ok");
    let Watched { proxy, admin } = Watched::start(&proxy::plain(upstream.address));
    let begin = frame(HEADERS, 0, 1, GET);
    // Nothing, one field that is not remembered, and many of them.
    let field = b"\x00\x01x\x01y";
    for (count, fields) in [(1, vec![]), (2, field.to_vec()), (3, field.repeat(1_000))] {
        let one = frame(CONTINUATION, 0, 1, &fields);
        assert_eq!(
            flood(&proxy, &begin, |_| one.clone()),
            Some(ENHANCE_YOUR_CALM)
        );
        admin.becomes_cut("http2.flood", count);
    }
    let mut reached = upstream.requests().into_iter();
    assert!(reached.all(|request| request.field("x").is_none()));
}

#[test]
fn who_is_answered_may_send_many_of_these_frames() {
    let upstream = Upstream::named("ok");
    let Watched { proxy, admin } = Watched::start(&proxy::plain(upstream.address));
    let mut client = Frames::connect(proxy.web(), &[]);
    // More than the credit in all: 3,000 resets, 9,000 others.
    for stream in (0..3_000_u32).map(|round| 2 * round + 1) {
        client.send_bytes(&open(stream)).unwrap();
        client.until(|frame| frame.stream == stream && frame.flags & END_STREAM != 0);
        let more = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 2]);
        let ping = frame(PING, 0, 0, &[7; 8]);
        client
            .send_bytes(&[&more[..], &more, &ping, &reset(stream)].concat())
            .unwrap();
    }
    client.send(PING, 0, 0, &[9; 8]).unwrap();
    client.until(|frame| frame.kind == PING && frame.payload == [9; 8]);
    assert_eq!(client.goaway, None);
    admin.becomes_cut("http2.flood", 0);
}

/// Requests come and are not answered.
fn silent() -> Upstream {
    Upstream::new(|conn| {
        conn.rest();
    })
}

#[test]
fn a_hundred_streams_are_served_at_once_and_no_more() {
    let proxy = Proxy::in_front_of(silent().address);
    let mut client = Frames::connect(proxy.web(), &[]);
    let settings = client.until(|frame| frame.kind == SETTINGS && frame.flags == 0);
    let most = settings.payload.chunks(6).find(|pair| pair[..2] == [0, 3]);
    assert_eq!(most.unwrap()[2..], 100_u32.to_be_bytes());
    for stream in (1..=201).step_by(2) {
        client.send_bytes(&open(stream)).unwrap();
    }
    let refused = client.until(|frame| frame.kind == RST_STREAM);
    assert_eq!(refused.stream, 201);
    assert_eq!(refused.payload, REFUSED_STREAM.to_be_bytes());
}

#[test]
fn how_many_streams_there_may_be_is_configured() {
    let listener = "  address: 127.0.0.1:0\n";
    let yaml = proxy::plain(silent().address).replace(
        listener,
        &format!("{listener}  max_concurrent_streams: 1\n"),
    );
    let proxy = Proxy::start(&yaml);
    let mut client = Frames::connect(proxy.web(), &[]);
    for stream in [1, 3] {
        client.send_bytes(&open(stream)).unwrap();
    }
    assert_eq!(client.until(|frame| frame.kind == RST_STREAM).stream, 3);
}

#[test]
fn too_many_and_too_large_headers_are_refused() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(100 << 10));
    for fields in [&many, &large] {
        let mut client = proxy.client();
        // It may be refused before it has left.
        let _ = client.try_send(format!("GET / HTTP/1.1\r\nhost: t\r\n{fields}\r\n"));
        assert_eq!(client.response().status(), 431);
        let mut block = GET.to_vec();
        for line in fields.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            block.push(0);
            literal(&mut block, name);
            literal(&mut block, value);
        }
        let mut client = Frames::connect(proxy.web(), &[]);
        let mut pieces = block.chunks(16 << 10).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            let flags = if kind == HEADERS {
                END_STREAM | last
            } else {
                last
            };
            client.send(kind, flags, 1, piece).unwrap();
            kind = CONTINUATION;
        }
        let answer = client.until(|frame| frame.kind == HEADERS);
        // `:status` by its place in the static table, 431 in Huffman's code.
        assert_eq!(answer.payload[..5], [0x48, 0x83, 0x69, 0x90, 0xff]);
    }
    assert_eq!(upstream.requests().len(), 0);
    assert_eq!(proxy.get("/").status(), 200);
}

fn literal(block: &mut Vec<u8>, text: &str) {
    // The length in 7 bits, and then in 7 bits of each byte that follows.
    match text.len().checked_sub(127) {
        None => block.push(u8::try_from(text.len()).unwrap()),
        Some(mut rest) => {
            block.push(127);
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend(text.as_bytes());
}
