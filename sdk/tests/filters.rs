//! Filters of the async layer in the host's own state machine.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use cofferdam_sdk::metrics::Counter;
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::testing::Tester;
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
