//! Client and upstream talk to each other, with nothing between them.

use super::client::Client;
use super::upstream::Upstream;
use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn text(fields: &Pairs) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let line = |(name, value): &(Bytes, Bytes)| format!("{}: {}", text(name), text(value));
    fields.iter().map(line).collect()
}

async fn begin(protocol: Protocol, method: &str, end: bool) -> (Client, Upstream, Side) {
    let upstream = Upstream::start(protocol).await.unwrap();
    let client = Client::connect(upstream.address(), protocol).await.unwrap();
    let fields = [
        (":method", method),
        (":path", "/a?b"),
        (":authority", "test"),
        ("x-a", "1"),
        ("x-a", "2"),
    ];
    let fields = pairs(fields);
    client.side().send(Frame::Head { fields, end });
    let served = upstream.exchange(0, LIMIT).await.unwrap();
    assert!(served.wait(LIMIT, Received::begun).await);
    (client, upstream, served)
}

fn status(status: &str) -> Frame {
    let fields = pairs([(":status", status), ("x-b", "3")]);
    Frame::Head { fields, end: false }
}

fn data(data: &'static str, end: bool) -> Frame {
    Frame::Data {
        data: data.into(),
        end,
    }
}

async fn ended(side: &Side) -> Ending {
    assert!(side.wait(LIMIT, |seen| seen.ending.is_some()).await);
    side.received().ending.unwrap()
}

#[tokio::test]
async fn messages_with_pieces_and_trailers_pass_both_ways() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (client, _upstream, served) = begin(protocol, "POST", false).await;
        client.side().send(data("one", false));
        client.side().send(data("two", false));
        assert!(served.wait(LIMIT, |seen| seen.body == b"onetwo").await);
        assert_eq!(served.received().ending, None, "{protocol:?}");
        client.side().send(Frame::Trailers(pairs([("x-t", "t")])));
        assert_eq!(ended(&served).await, Ending::Complete);
        let seen = served.received();
        let mut head = text(seen.head.as_ref().unwrap());
        head.retain(|line| !line.starts_with("transfer-encoding"));
        let all = [
            ":method: POST",
            ":path: /a?b",
            ":authority: test",
            "x-a: 1",
            "x-a: 2",
        ];
        assert_eq!(head, all, "{protocol:?}");
        assert_eq!(text(seen.trailers.as_ref().unwrap()), ["x-t: t"]);

        served.send(status("201"));
        served.send(data("three", false));
        served.send(Frame::Trailers(pairs([("x-u", "u")])));
        assert_eq!(ended(client.side()).await, Ending::Complete);
        let seen = client.side().received();
        assert_eq!((seen.status(), &*seen.body), (Some(201), &b"three"[..]));
        assert_eq!(text(seen.trailers.as_ref().unwrap()), ["x-u: u"]);
    }
}

#[tokio::test]
async fn what_is_cut_is_seen_to_be_cut() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for how in [Frame::Reset, Frame::Close] {
            let (client, _upstream, served) = begin(protocol, "GET", true).await;
            served.send(status("200"));
            served.send(data("part", false));
            assert!(client.side().wait(LIMIT, |seen| seen.body == b"part").await);
            served.send(how.clone());
            assert_eq!(
                ended(client.side()).await,
                Ending::Cut,
                "{protocol:?} {how:?}"
            );

            let (client, _upstream, served) = begin(protocol, "POST", false).await;
            client.side().send(how.clone());
            assert_eq!(ended(&served).await, Ending::Cut, "{protocol:?} {how:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (client, _upstream, served) = begin(protocol, "HEAD", true).await;
        let fields = pairs([(":status", "200"), ("content-length", "7")]);
        served.send(Frame::Head { fields, end: true });
        assert_eq!(ended(client.side()).await, Ending::Complete, "{protocol:?}");
    }
}

#[tokio::test]
async fn interim_answers_and_raw_bytes_pass() {
    let upstream = Upstream::start(Protocol::Http1).await.unwrap();
    let client = Client::connect(upstream.address(), Protocol::Http1)
        .await
        .unwrap();
    let raw: &[u8] = b"GET / HTTP/1.0\r\nHost: a\r\nX: \xe4\r\n\r\n";
    client.side().send(Frame::Raw(raw.into()));
    let served = upstream.exchange(0, LIMIT).await.unwrap();
    assert_eq!(ended(&served).await, Ending::Complete);
    let interim = pairs([(":status", "103")]);
    served.send(Frame::Head {
        fields: interim,
        end: true,
    });
    served.send(Frame::Head {
        fields: pairs([(":status", "204")]),
        end: true,
    });
    assert_eq!(ended(client.side()).await, Ending::Complete);
    let seen = client.side().received();
    assert_eq!(
        (seen.interim, seen.head.map(|head| head.len())),
        (vec![103], Some(1))
    );
}
