//! gRPC streams of the async and the callback layer, in the host's own state machine.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use cofferdam_sdk::filter::GrpcError;
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::testing::{GrpcPeer, PeerEvent, Tester, splits};
use cofferdam_sdk::{GrpcEvent, GrpcStatus, Reply};

/// What a peer was told, in words.
type Heard = Rc<RefCell<Vec<String>>>;

/// Has `cluster` note what it hears, and answer by `answer`.
fn note(
    tester: &mut Tester,
    cluster: &str,
    answer: impl Fn(&mut GrpcPeer, PeerEvent<'_>) + 'static,
) -> Heard {
    let heard = Heard::default();
    let notes = heard.clone();
    tester.grpc_streams(cluster, move |peer, event| {
        notes.borrow_mut().push(match event {
            PeerEvent::Message(message) => String::from_utf8_lossy(message).into_owned(),
            event => format!("{event:?}"),
        });
        answer(peer, event);
    });
    heard
}

/// Answers every message in capitals, and ends when the filter has.
fn echo(peer: &mut GrpcPeer, event: PeerEvent<'_>) {
    match event {
        PeerEvent::Opened => peer.begin(&[("x-server", "echo")]),
        PeerEvent::Message(message) => peer.send(&message.to_ascii_uppercase()),
        PeerEvent::Closed => peer.end(&GrpcStatus::new(0, ""), &[("x-sum", "3")]),
        PeerEvent::Cancelled => {}
    }
}

mod scans {
    use super::*;

    /// Has every piece of a body looked at before it goes on.
    #[filter]
    pub(crate) async fn scans(request: Request<Body>, streams: GrpcStreams) -> Result<Response> {
        let (mut scan, mut verdicts) =
            streams.open("scanner", "pkg.Scanner", "Scan", &[("x-tenant", "7")])?;
        let mut request = request.stream();
        while let Some(mut piece) = request.chunk().await {
            scan.send(piece.bytes())?;
            let Some(verdict) = verdicts.next().await? else {
                return Err(Error::new("no verdict"));
            };
            if verdict.contains(&b'!') {
                return Ok(Response::new(403));
            }
            piece.replace(&verdict)?;
        }
        scan.close();
        let begun = verdicts.initial_metadata().await?;
        let (status, trailing) = verdicts.finish().await;
        let mut response = request.forward().await?;
        let said = format!("{begun:?} {} {trailing:?}", status.code());
        response.headers_mut().set("x-scan", said)?;
        Ok(response)
    }
}

#[test]
fn messages_go_both_ways_while_a_body_waits() {
    for chunks in splits(b"abcd") {
        let mut tester = Tester::of::<scans::scans>("");
        let heard = note(&mut tester, "scanner", |peer, event| {
            assert_eq!(
                (peer.method(), peer.metadata("x-tenant")),
                ("pkg.Scanner/Scan", Some("7"))
            );
            echo(peer, event);
        });
        let answer = tester.request("POST", "/").chunks(chunks.clone()).send();
        assert_eq!(answer.upstream().unwrap().body(), b"ABCD");
        let pair =
            |name: &str, value: &str| [(name.as_bytes().to_vec(), value.as_bytes().to_vec())];
        let said = format!("{:?} 0 {:?}", pair("x-server", "echo"), pair("x-sum", "3"));
        assert_eq!(answer.header("x-scan"), Some(&said[..]));
        // Pieces that come while another waits are one piece.
        let mut heard = heard.take();
        assert_eq!(heard.pop().as_deref(), Some("Closed"));
        assert_eq!(heard.remove(0), "Opened");
        assert_eq!(heard.concat(), "abcd", "{chunks:?}");
        tester.no_leaks();
    }
}

#[test]
fn a_filter_that_returns_early_cancels_its_stream() {
    let mut tester = Tester::of::<scans::scans>("");
    let heard = note(&mut tester, "scanner", echo);
    let answer = tester.request("POST", "/").chunks(["ab", "c!"]).send();
    assert_eq!((answer.status(), answer.upstream().is_some()), (403, true));
    // The receiver goes first or the sender does: nobody hears a clean end after a reset.
    assert_eq!(heard.borrow().last().map(String::as_str), Some("Cancelled"));
    tester.no_leaks();
}

#[test]
fn an_exchange_that_ends_while_it_waits_cancels_its_stream() {
    let mut tester = Tester::of::<scans::scans>("");
    let heard = note(&mut tester, "scanner", |_, _| {});
    assert!(tester.post("/", "abc").send().is_stuck());
    assert_eq!(*heard.borrow(), ["Opened", "abc", "Cancelled"]);
    tester.no_leaks();
}

#[test]
fn a_stream_that_fails_says_how() {
    let failure = |answer: fn(&mut GrpcPeer, PeerEvent<'_>)| {
        let mut tester = Tester::of::<scans::scans>("");
        tester.without_hostile_headers();
        tester.grpc_streams("scanner", answer);
        let status = tester.post("/", "abc").send().status();
        tester.no_leaks();
        (status, tester.logs().join("\n"))
    };
    let (status, said) = failure(|peer, event| {
        if event == PeerEvent::Opened {
            peer.end(&GrpcStatus::new(7, "not you"), &[]);
        }
    });
    assert_eq!(status, 500);
    assert!(said.contains("gRPC status 7: not you"), "{said}");
    let (status, said) = failure(|peer, event| {
        if let PeerEvent::Message(_) = event {
            peer.end(&GrpcStatus::new(0, ""), &[]);
        }
    });
    assert_eq!(status, 500);
    assert!(said.contains("no verdict"), "{said}");
}

#[test]
fn a_cluster_that_is_not_there_opens_nothing() {
    let mut tester = Tester::of::<scans::scans>("");
    assert_eq!(tester.get("/").send().status(), 500);
    let said = tester.logs().join("\n");
    assert!(said.contains("no cluster `scanner` to call"), "{said}");
    // One that is, and speaks no gRPC, is known only later.
    tester.cluster("scanner", |_| Reply::new(200));
    assert_eq!(tester.post("/", "x").send().status(), 500);
    let said = tester.logs().join("\n");
    assert!(said.contains("gRPC status 14: no endpoint"), "{said}");
    tester.no_leaks();
}

mod chats {
    use super::*;

    /// Two streams at once, one of which is given up.
    #[filter]
    pub(crate) async fn chats(
        _request: Request,
        streams: GrpcStreams,
        grpc: Grpc,
        clock: Clock,
    ) -> Result<Response> {
        let open = |cluster| streams.open::<&str, &str>(cluster, "pkg.Chat", "Talk", &[]);
        let (mut one, mut heard) = open("echo")?;
        let (two, mut never) = open("mute")?;
        let limit = Duration::from_millis(20);
        let (first, second) = join(
            async {
                one.send(b"hello")?;
                drop(one);
                heard.next().await
            },
            clock.timeout(limit, never.next()),
        )
        .await;
        let gave_up = second.is_err();
        drop((two, never));
        let called = grpc
            .call(GrpcCall::new("plain", "pkg.Plain", "Ask"))
            .await?;
        let end = heard.next().await?;
        let said = format!("{:?} {gave_up} {called:?} {end:?}", first?);
        Ok(Response::new(200).with_body(said))
    }
}

#[test]
fn streams_and_calls_live_side_by_side_and_a_dropped_one_is_reset() {
    let mut tester = Tester::of::<chats::chats>("");
    tester.without_hostile_headers();
    let echoed = note(&mut tester, "echo", echo);
    let mute = note(&mut tester, "mute", |_, _| {});
    tester.grpc_cluster("plain", |_, _| Ok(b"!".to_vec()));
    let answer = tester.get("/").send();
    assert_eq!(
        answer.text(),
        format!("{:?} true [33] None", Some(b"HELLO"))
    );
    assert_eq!(*echoed.borrow(), ["Opened", "hello", "Closed"]);
    assert_eq!(*mute.borrow(), ["Opened", "Closed", "Cancelled"]);
    tester.no_leaks();
}

mod over {
    use super::*;

    #[filter]
    pub(crate) async fn over(request: Request, streams: GrpcStreams) -> Result<Response> {
        let (mut words, mut answers) =
            streams.open::<&str, &str>("log", "pkg.Log", "Lines", &[])?;
        let failed = answers
            .next()
            .await
            .is_err_and(|error| matches!(error, GrpcError::Status(status) if status.code() == 8));
        let refused = words.send(b"late");
        assert!(matches!(refused, Err(GrpcError::Status(_))) && failed);
        drop(answers);
        request.forward().await
    }
}

#[test]
fn on_a_stream_that_is_over_nothing_is_sent() {
    let mut tester = Tester::of::<over::over>("");
    let heard = note(&mut tester, "log", |peer, event| {
        if event == PeerEvent::Opened {
            peer.end(&GrpcStatus::new(8, "too much"), &[]);
        }
    });
    tester.without_hostile_headers();
    assert_eq!(tester.get("/").send().status(), 200);
    assert_eq!(*heard.borrow(), ["Opened"]);
    tester.no_leaks();
}

/// The same by callbacks.
mod by_hand {
    use cofferdam_sdk::callbacks::{Head, HttpFilter, Plugin, resume_request};
    use cofferdam_sdk::{Headers, export, grpc};

    use super::*;

    #[derive(Debug)]
    pub(crate) struct Log;

    #[export(grpc_streams)]
    impl Plugin for Log {
        type Stream = Exchange;

        fn configure(_: &[u8]) -> Result<Self, Error> {
            Ok(Self)
        }

        fn stream(_: &Rc<Self>) -> Exchange {
            Exchange {
                token: 0,
                events: 0,
            }
        }
    }

    #[derive(Debug)]
    pub(crate) struct Exchange {
        token: u32,
        events: u32,
    }

    #[export]
    impl HttpFilter for Exchange {
        type Plugin = Log;

        fn on_request_headers(&mut self, _: &mut Headers, _: bool) -> Head {
            let none: &[(&str, &str)] = &[];
            let opened = grpc::open("log", "pkg.Log", "Lines", none);
            self.token = opened.unwrap_or_default();
            assert_eq!(grpc::send(self.token, b"line"), Ok(()));
            grpc::close(self.token);
            Head::Stop
        }

        fn on_grpc_event(&mut self, token: u32, event: GrpcEvent) {
            assert_eq!(token, self.token);
            self.events += 1;
            if let GrpcEvent::Closed(status) = event {
                let seen = format!("{} {}", self.events, status.code());
                let mut headers = Headers::of(cofferdam_sdk::MapType::RequestHeaders);
                assert_eq!(headers.set("x-seen", seen), Ok(()));
                assert_eq!(resume_request(), Ok(()));
            }
        }
    }
}

#[test]
fn by_callbacks_too() {
    let mut tester = Tester::of_callbacks::<by_hand::Log>("");
    let heard = note(&mut tester, "log", echo);
    let answer = tester.get("/").send();
    // Initial metadata, a message, trailing metadata, the end.
    assert_eq!(answer.upstream().unwrap().header("x-seen"), Some("4 0"));
    assert_eq!(*heard.borrow(), ["Opened", "line", "Closed"]);
    tester.no_leaks();
}
