//! Filters of the async layer in the host's own state machine.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use cofferdam_sdk::filter::BodyError;
use cofferdam_sdk::metrics::Counter;
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::testing::{Tester, splits};
use cofferdam_sdk::{Level, Reply, log};
use serde::Deserialize;

mod hello {
    use super::*;

    #[derive(Deserialize, Schema)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Config {
        /// Whom to greet.
        pub(crate) who: String,
    }

    #[filter]
    pub(crate) async fn hello(config: &Config, mut request: Request) -> Result<Response> {
        request.headers_mut().set("x-hello", &config.who)?;
        let mut response = request.forward().await?;
        response.headers_mut().set("x-filter", "hello")?;
        Ok(response)
    }
}

#[test]
fn headers_change_both_ways() {
    let mut tester = Tester::of::<hello::hello>(r#"{"who": "you"}"#);
    tester.upstream(|_| Reply::new(201).body("made"));
    let answer = tester.get("/").header("x-hello", "old").send();
    assert_eq!(answer.upstream().unwrap().header("x-hello"), Some("you"));
    assert_eq!((answer.status(), answer.text()), (201, "made"));
    assert_eq!(answer.header("x-filter"), Some("hello"));
    tester.no_leaks();
}

#[test]
fn a_refused_configuration_says_where() {
    let said = Tester::refusal::<hello::hello>(r#"{"who": 7}"#);
    assert!(
        said.contains("who: invalid type: a number, expected a string"),
        "{said}"
    );
}

mod whole {
    use super::*;

    #[filter]
    pub(crate) async fn whole(mut request: Request<Held>) -> Result<Response<Held>> {
        let body = match request.body(16).await {
            Err(BodyError::TooLarge { limit }) => {
                return Ok(Response::new(413).with_body(format!("at most {limit}")));
            }
            body => body?,
        };
        if !body.is_empty() {
            request.set_body(&[b"<", &body[..], b">"].concat())?;
        }
        let mut response = request.forward().await?;
        let body = response.body(1 << 10).await?;
        if !body.is_empty() {
            response.set_body(&body.to_ascii_uppercase())?;
        }
        response
            .headers_mut()
            .set("x-was", body.len().to_string())?;
        Ok(response)
    }
}

#[test]
fn whole_bodies_are_read_and_replaced_before_their_headers_leave() {
    for chunks in splits(b"abcdef") {
        for piece in [1, 2, 100] {
            let mut tester = Tester::of::<whole::whole>("");
            tester.pieces(piece);
            tester.upstream(|seen| {
                Reply::new(200)
                    .header("content-length", "8")
                    .body(seen.body())
            });
            let ask = tester.request("POST", "/").header("content-length", "6");
            let answer = ask.chunks(chunks.clone()).send();
            let seen = answer.upstream().unwrap();
            assert_eq!(
                (seen.body(), seen.header("content-length")),
                (&b"<abcdef>"[..], Some("8"))
            );
            assert_eq!(
                (answer.text(), answer.header("content-length")),
                ("<ABCDEF>", Some("8"))
            );
            assert_eq!(answer.header("x-was"), Some("8"), "{chunks:?} {piece}");
            tester.no_leaks();
        }
    }
}

#[test]
fn a_body_that_ends_with_trailers_is_whole_too() {
    let mut tester = Tester::of::<whole::whole>("");
    let ask = tester
        .request("POST", "/")
        .chunks(["ab", "c"])
        .trailer("x-sum", "3");
    let answer = ask.send();
    let seen = answer.upstream().unwrap();
    assert_eq!(
        (seen.body(), seen.trailer("x-sum")),
        (&b"<abc>"[..], Some("3"))
    );
}

#[test]
fn a_message_without_a_body_is_an_empty_one() {
    let mut tester = Tester::of::<whole::whole>("");
    let answer = tester.get("/").send();
    assert_eq!(answer.upstream().unwrap().body(), b"");
    assert_eq!(answer.header("x-was"), Some("0"));
}

#[test]
fn past_its_limit_a_body_is_refused_and_not_kept() {
    let mut tester = Tester::of::<whole::whole>("");
    let answer = tester
        .request("POST", "/")
        .chunks(["0123456789", "0123456789"])
        .send();
    assert_eq!((answer.status(), answer.text()), (413, "at most 16"));
    assert!(answer.upstream().is_none());
}

#[test]
fn a_host_that_does_not_hold_headers_is_named_and_nobody_hangs() {
    let mut tester = Tester::of::<whole::whole>("");
    tester.hold_no_headers();
    let answer = tester.post("/", "abc").send();
    assert_eq!(answer.status(), 500);
    let said = tester.logs().join("\n");
    assert!(said.contains("allow_on_headers_stop_iteration"), "{said}");
}

mod streams {
    use super::*;

    /// Doubles every letter `a`, whatever pieces it comes in.
    #[filter]
    pub(crate) async fn streams(request: Request<Body>, http: Http) -> Result<Response<Body>> {
        let mut request = request.stream();
        while let Some(mut chunk) = request.chunk().await {
            // With something to wait for while a piece is held back.
            let _ = http.call(HttpCall::get("scan", "/")).await?;
            let doubled: Vec<u8> = chunk.bytes().iter().flat_map(double).collect();
            chunk.replace(&doubled)?;
        }
        let mut response = request.forward().await?.stream();
        while let Some(mut chunk) = response.chunk().await {
            let doubled: Vec<u8> = chunk.bytes().iter().flat_map(double).collect();
            chunk.replace(&doubled)?;
        }
        Ok(response.finish())
    }

    fn double(byte: &u8) -> impl Iterator<Item = u8> + use<> {
        std::iter::repeat_n(*byte, if *byte == b'a' { 2 } else { 1 })
    }
}

#[test]
fn a_body_can_be_changed_piece_by_piece_with_waits_between() {
    for chunks in splits(b"banana") {
        for delay in [0, 5] {
            let mut tester = Tester::of::<streams::streams>("");
            tester.without_hostile_headers();
            let delay = Duration::from_millis(delay);
            tester.slow_cluster("scan", delay, |_| Some(Reply::new(200)));
            tester.pieces(2);
            tester.upstream(|seen| {
                Reply::new(200)
                    .header("content-length", "9")
                    .body(seen.body())
            });
            let ask = tester.request("POST", "/").header("content-length", "6");
            let answer = ask.chunks(chunks.clone()).send();
            let seen = answer.upstream().unwrap();
            assert_eq!(seen.body(), b"baanaanaa", "{chunks:?}");
            assert_eq!(seen.header("content-length"), None);
            assert_eq!(
                (answer.text(), answer.is_stuck()),
                ("baaaanaaaanaaaa", false)
            );
            assert_eq!(answer.header("content-length"), None);
            tester.no_leaks();
        }
    }
}

mod maps {
    use super::*;

    #[filter]
    pub(crate) async fn maps(mut request: Request<Body>) -> Result<Response<Body>> {
        request.map_body(|piece, _| {
            let loud = piece.bytes().to_ascii_uppercase();
            assert_eq!(piece.replace(&loud), Ok(()));
        });
        let mut response = request.forward().await?;
        response.map_body(|piece, last| {
            if last {
                assert_eq!(piece.append(b"!"), Ok(()));
            }
        });
        Ok(response)
    }
}

#[test]
fn every_piece_that_goes_on_is_mapped() {
    for chunks in splits(b"abcd") {
        let mut tester = Tester::of::<maps::maps>("");
        tester.pieces(3);
        tester.upstream(|seen| Reply::new(200).body(seen.body()));
        let answer = tester.request("POST", "/").chunks(chunks).send();
        assert_eq!(answer.upstream().unwrap().body(), b"ABCD");
        assert_eq!(answer.text(), "ABCD!");
    }
}

mod ends {
    use super::*;

    static ENDS: Counter = Counter::new("ends");

    #[filter]
    pub(crate) async fn ends(mut request: Request<Body>) -> Result<Response> {
        request.watch_body(|_, last| {
            assert_eq!(ENDS.add(u64::from(last)), Ok(()));
        });
        request.forward().await
    }
}

#[test]
fn a_map_is_told_of_the_end_also_where_trailers_follow() {
    let mut tester = Tester::of::<ends::ends>("");
    tester.request("POST", "/").chunks(["a", "b"]).send();
    assert_eq!(tester.metric("ends"), 1);
    let ask = tester.request("POST", "/").chunks(["a", "b"]);
    ask.trailer("x-sum", "2").send();
    assert_eq!(tester.metric("ends"), 2);
    tester.no_leaks();
}

mod lets_out {
    use cofferdam_sdk::callbacks::Data;

    use super::*;

    /// Turns `ab` into `x`, wherever it is cut: a piece that ends with `a` waits.
    #[filter]
    pub(crate) async fn lets_out(mut request: Request<Body>) -> Result<Response<Body>> {
        request.decide_body(|piece, last| {
            let bytes = piece.bytes();
            if bytes.ends_with(b"a") && !last {
                return Data::Buffer;
            }
            let text = String::from_utf8_lossy(&bytes).replace("ab", "x");
            assert!(text.len() == bytes.len() || piece.replace(text.as_bytes()).is_ok());
            Data::Continue
        });
        let mut response = request.forward().await?;
        response.decide_body(|piece, _| match piece.bytes()[..] {
            [b'-', ..] => Data::Drop,
            _ => Data::Buffer,
        });
        Ok(response)
    }
}

#[test]
fn a_body_waits_where_its_filter_says_and_goes_on_with_trailers_too() {
    for chunks in splits(b"cabaaba") {
        for trailer in [false, true] {
            let mut tester = Tester::of::<lets_out::lets_out>("");
            tester.pieces(1);
            tester.upstream(|seen| Reply::new(200).body(seen.body()));
            let ask = tester.request("POST", "/").chunks(chunks.clone());
            let ask = if trailer {
                ask.trailer("x-sum", "7")
            } else {
                ask
            };
            let answer = ask.send();
            let seen = answer.upstream().unwrap();
            assert_eq!(seen.body(), b"cxaxa", "{chunks:?}");
            assert_eq!(seen.trailer("x-sum"), trailer.then_some("7"));
            // What always waits goes on in the end.
            assert_eq!((answer.text(), answer.is_stuck()), ("cxaxa", false));
            tester.no_leaks();
        }
    }
    let mut tester = Tester::of::<lets_out::lets_out>("");
    tester.pieces(1);
    tester.upstream(|_| Reply::new(200).body("--a"));
    assert_eq!(tester.get("/").send().text(), "a");
}

mod sealed {
    use super::*;

    #[filter]
    pub(crate) async fn sealed(request: Request<Body>) -> Result<Response<Body>> {
        let mut request = request.stream();
        let mut pieces = 0;
        while let Some(chunk) = request.chunk().await {
            pieces += 1;
            if chunk.is_last() {
                break;
            }
        }
        let added = request.append(format!("|{pieces}").as_bytes());
        let mut response = request.forward().await?.stream();
        while response.chunk().await.is_some() {}
        response.append(format!("|{}", added.is_ok()).as_bytes())?;
        Ok(response.finish())
    }
}

#[test]
fn bytes_can_be_put_behind_a_body_that_streams() {
    for chunks in splits(b"abcd") {
        let mut tester = Tester::of::<sealed::sealed>("");
        tester.upstream(|seen| Reply::new(200).body(seen.body()));
        let pieces = chunks.len();
        let answer = tester.request("POST", "/").chunks(chunks).send();
        assert_eq!(answer.text(), format!("abcd|{pieces}|true"));
        tester.no_leaks();
    }
    let mut tester = Tester::of::<sealed::sealed>("");
    tester.upstream(|seen| Reply::new(200).body(seen.body()));
    let ask = tester.request("POST", "/").chunks(["ab"]);
    // No host takes bytes any more where trailers have come.
    assert_eq!(ask.trailer("x-sum", "2").send().text(), "ab|false");
    tester.no_leaks();
}

mod asks {
    use super::*;

    static GRANTED: Counter = Counter::new("granted");

    #[filter(on_error = 503)]
    pub(crate) async fn asks(request: Request, http: Http, clock: Clock) -> Result<Response> {
        let limit = Duration::from_millis(20);
        let cluster = request.headers().get("x-ask").unwrap_or_default();
        let call = HttpCall::post(&cluster.lossy(), "/check").body("who?");
        let asked = http.call(call.timeout(Duration::from_secs(1)));
        let Ok(answer) = clock.timeout(limit, asked).await else {
            return Ok(Response::new(504).with_header("x-late", "1"));
        };
        let answer = answer?;
        if answer.status() != Some(200) {
            return Ok(Response::new(403).with_body(answer.into_body()));
        }
        GRANTED.with(&[("by", "authz")]).add(1)?;
        request.forward().await
    }
}

fn asking(cluster: &str) -> (u16, Tester) {
    let mut tester = Tester::of::<asks::asks>("");
    tester.cluster("yes", |asked| {
        assert_eq!(
            (asked.method(), asked.path(), asked.body()),
            ("POST", "/check", &b"who?"[..])
        );
        Reply::new(200)
    });
    tester.cluster("no", |_| Reply::new(401).body("you"));
    tester.slow_cluster("slow", Duration::from_millis(500), |_| {
        Some(Reply::new(200))
    });
    tester.slow_cluster("down", Duration::ZERO, |_| None);
    let answer = tester.get("/").header("x-ask", cluster).send();
    (answer.status(), tester)
}

#[test]
fn a_callout_is_awaited_and_a_late_one_is_dropped() {
    let (status, tester) = asking("yes");
    assert_eq!((status, tester.metric("granted.by=authz")), (200, 1));
    tester.no_leaks();
    assert_eq!(asking("no").0, 403);
    assert_eq!(asking("down").0, 403); // as Envoy does, the host answers 503 itself
    let (status, mut tester) = asking("slow");
    assert_eq!(status, 504);
    // Its answer comes when the exchange is long gone.
    tester.advance(Duration::from_secs(2));
    tester.no_leaks();
}

#[test]
fn an_error_is_logged_and_follows_the_policy() {
    let (status, mut tester) = asking("nowhere");
    assert_eq!(status, 503);
    let said = tester.logs().join("\n");
    assert!(said.contains("no cluster `nowhere` to call"), "{said}");
    tester.no_leaks();
}

mod open {
    use super::*;

    #[filter(on_error = "open")]
    pub(crate) async fn open(mut request: Request) -> Result<Response> {
        request.headers_mut().set("x-before", "1")?;
        if request.query().get("fail").is_some() {
            return Err(Error::new("it was to fail"));
        }
        let mut response = request.forward().await?;
        response.headers_mut().set("x-after", "1")?;
        if response.status() == 200 {
            return Err(Error::new("and late"));
        }
        Ok(response)
    }
}

#[test]
fn an_open_filter_lets_the_exchange_go_on() {
    let mut tester = Tester::of::<open::open>("");
    let answer = tester.get("/?fail").send();
    assert_eq!((answer.status(), answer.header("x-after")), (200, None));
    assert_eq!(answer.upstream().unwrap().header("x-before"), Some("1"));
    let answer = tester.get("/").send();
    assert_eq!(
        (answer.status(), answer.header("x-after")),
        (200, Some("1"))
    );
}

mod naps {
    use super::*;

    #[filter]
    pub(crate) async fn naps(request: Request, clock: Clock) -> Result<Response> {
        let before = clock.now();
        let short = async {
            clock.sleep(Duration::from_millis(10)).await;
            1
        };
        let long = async {
            clock.sleep(Duration::from_millis(30)).await;
            2
        };
        let first = race(short, long).await;
        join(
            clock.sleep(Duration::from_millis(5)),
            clock.sleep(Duration::from_millis(7)),
        )
        .await;
        let passed = (clock.now() - before).as_millis();
        let mut response = request.forward().await?;
        response
            .headers_mut()
            .set("x-nap", format!("{first} {passed}"))?;
        Ok(response)
    }
}

#[test]
fn sleeps_take_the_time_they_should() {
    let mut tester = Tester::of::<naps::naps>("");
    for _ in 0..2 {
        let answer = tester.get("/").send();
        assert_eq!(answer.header("x-nap"), Some("1 17"));
    }
    tester.no_leaks();
}

mod background {
    use super::*;

    #[derive(Deserialize, Schema, Default)]
    pub(crate) struct Config {
        #[serde(skip)]
        keys: Rc<Cell<u32>>,
    }

    async fn refresh(config: &Config, http: Http, clock: Clock) -> Result<()> {
        loop {
            match http.call(HttpCall::get("keys", "/")).await {
                Ok(answer) if answer.status() == Some(200) => {
                    config.keys.set(config.keys.get() + 1);
                }
                Ok(_) => return Err(Error::new("no more keys")),
                Err(error) => warn!("{error}"),
            }
            clock.sleep(Duration::from_secs(60)).await;
        }
    }

    #[filter(background = refresh)]
    pub(crate) async fn background(config: &Config, request: Request) -> Result<Response> {
        let mut response = request.forward().await?;
        response
            .headers_mut()
            .set("x-keys", config.keys.get().to_string())?;
        Ok(response)
    }
}

#[test]
fn work_goes_on_beside_all_exchanges() {
    let mut tester = Tester::of::<background::background>("");
    assert_eq!(tester.get("/").send().header("x-keys"), Some("0"));
    assert!(
        tester
            .logs()
            .join("\n")
            .contains("no cluster `keys` to call")
    );
    tester.cluster("keys", |_| Reply::new(200));
    tester.advance(Duration::from_secs(150));
    assert_eq!(tester.get("/").send().header("x-keys"), Some("2"));
    tester.cluster("keys", |_| Reply::new(404));
    tester.advance(Duration::from_secs(60));
    assert!(
        tester
            .logs()
            .join("\n")
            .contains("beside all exchanges: no more keys")
    );
    tester.no_leaks();
}

mod steals {
    use super::*;

    #[filter]
    pub(crate) async fn steals(request: Request<Body>) -> Result<Response> {
        let mut request = request.stream();
        let mut seen = 0;
        while let Some(chunk) = request.chunk().await {
            seen += chunk.bytes().len();
            if chunk.bytes().contains(&b'!') {
                return Ok(Response::new(400).with_body(format!("after {seen}")));
            }
        }
        request.forward().await
    }
}

#[test]
fn a_streaming_request_can_still_be_answered_here() {
    let mut tester = Tester::of::<steals::steals>("");
    let answer = tester.request("POST", "/").chunks(["ab", "c!", "d"]).send();
    assert_eq!((answer.status(), answer.text()), (400, "after 4"));
    let answer = tester.request("POST", "/").chunks(["ab", "c", "d"]).send();
    assert_eq!(answer.upstream().unwrap().body(), b"abcd");
    tester.no_leaks();
}

#[test]
fn below_the_level_nothing_is_logged() {
    log::set_level(Some(Level::Error));
    assert!(!log::enabled(Level::Warn));
    log::set_level(Some(Level::Trace));
}

mod shares {
    use cofferdam_sdk::{foreign, kv, property, queue::Queue};

    use super::*;

    #[filter]
    pub(crate) async fn shares(request: Request) -> Result<Response> {
        let count = kv::Counter::new("count").add(2)?;
        let first = kv::insert_new("first", b"me")?;
        let text = kv::update("text", |old| match old {
            Some(old) if old.len() >= 2 => None,
            old => Some([old.unwrap_or_default(), b"x"].concat()),
        })?;
        let queue = Queue::register("lines")?;
        queue.push(b"line")?;
        let popped = (queue.pop()?, queue.pop()?);
        property::set("consumer", b"alice")?;
        let unknown = foreign::call("no_such_function", b"")?.is_none();
        let said = format!(
            "{count} {first} {text:?} {popped:?} {:?} {:?} {unknown} {:?}",
            property::text(&["consumer"]),
            property::source(),
            property::int(&["request", "size"]),
        );
        let mut response = request.forward().await?;
        response.headers_mut().set("x-said", said)?;
        Ok(response)
    }
}

#[test]
fn data_queues_and_properties_are_the_hosts() {
    let mut tester = Tester::of::<shares::shares>("");
    tester.property(&["source", "address"], "192.0.2.1:4711");
    tester.property(&["request", "size"], 17_i64.to_le_bytes());
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(tester.get("/").send().header("x-said").unwrap().to_owned());
    }
    let rest =
        r#"(Some([108, 105, 110, 101]), None) Some("alice") Some(192.0.2.1:4711) true Some(17)"#;
    assert_eq!(
        said,
        [
            format!("2 true Some([120]) {rest}"),
            format!("4 false Some([120, 120]) {rest}"),
            format!("6 false Some([120, 120]) {rest}"),
        ]
    );
}

mod cells {
    use cofferdam_sdk::kv::{Cell, KvError};

    use super::*;

    #[filter]
    pub(crate) async fn cells(_request: Request) -> Result<Response> {
        let cell: Cell<'_, u32> = Cell::new("cell");
        let mut said = vec![format!("{:?}", cell.get()?)];
        said.push(format!("{} {}", cell.insert_new(&5)?, cell.insert_new(&6)?));
        let mut calls = 0;
        let after = cell.update(|old| {
            calls += 1;
            if calls == 1 {
                // Somebody else is faster.
                assert_eq!(cell.set(&40), Ok(()));
            }
            old.map(|old| old + 2)
        })?;
        said.push(format!("{after:?} after {calls}"));
        said.push(format!("{:?}", cell.update(|_| None)?));
        let text: Cell<'_, bool> = Cell::new("cell");
        assert_eq!(text.get(), Err(KvError::Malformed));
        assert_eq!(text.update(|_| Some(true)), Err(KvError::Malformed));
        said.push(format!("{:?}", cell.get()?));
        Ok(Response::new(200).with_body(said.join(", ")))
    }
}

#[test]
fn a_typed_cell_is_compared_and_swapped_and_never_misread() {
    let mut tester = Tester::of::<cells::cells>("");
    tester.without_hostile_headers();
    assert_eq!(
        tester.get("/").send().text(),
        "None, true false, Some(42) after 2, Some(42), Some(42)"
    );
}

mod remote {
    use super::*;

    #[filter]
    pub(crate) async fn remote(request: Request, grpc: Grpc, clock: Clock) -> Result<Response> {
        let cluster = request.headers().get("x-ask").unwrap_or_default();
        let call = GrpcCall::new(&cluster.lossy(), "pkg.Echo", "Say").message(*b"hello");
        let echoed = clock
            .timeout(Duration::from_secs(1), grpc.call(call))
            .await??;
        let mut response = request.forward().await?;
        response.headers_mut().set("x-echo", echoed)?;
        Ok(response)
    }
}

#[test]
fn a_grpc_call_is_awaited() {
    let mut tester = Tester::of::<remote::remote>("");
    tester.grpc_cluster("echo", |method, message| {
        assert_eq!(method, "pkg.Echo/Say");
        Ok(message.to_ascii_uppercase())
    });
    tester.grpc_cluster("shut", |_, _| {
        Err(cofferdam_sdk::GrpcStatus::new(16, "who?"))
    });
    let answer = tester.get("/").header("x-ask", "echo").send();
    assert_eq!(
        (answer.status(), answer.header("x-echo")),
        (200, Some("HELLO"))
    );
    for (cluster, said) in [
        ("shut", "gRPC status 16: who?"),
        ("nowhere", "no cluster `nowhere` to call"),
    ] {
        assert_eq!(
            tester.get("/").header("x-ask", cluster).send().status(),
            500
        );
        assert!(tester.logs().join("\n").contains(said));
    }
    tester.no_leaks();
}
