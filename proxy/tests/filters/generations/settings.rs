//! Another configuration of filters: what is the same goes on, what is not is started beside
//! it, and what is gone ends with its last stream.

use http::Response;
use hyper::body::Incoming;
use tokio::task::JoinHandle;

use super::{answered_by, answering, version};
use crate::support::{Client, Config, Filter, Guest, Http, Proxy, Upstream, get, run, within};

/// How often a filter was told that.
fn told(proxy: &Proxy, callback: &str, filter: &str) -> usize {
    let callback = format!(" {callback} ");
    proxy
        .lines(&[&callback, &format!("filter=\"{filter}\"")])
        .len()
}

/// A guest that no other shares its VM with.
fn guest(name: &str) -> Guest {
    Guest::new().define(&format!("(data (i32.const 60000) \"{name}\")"))
}

fn configured(name: &str, module: Vec<u8>, configuration: u32) -> Filter {
    Filter::wasm(name, module).with(format!("configuration: {{ n: {configuration} }}"))
}

#[test]
fn a_filter_that_is_the_same_is_not_started_again() {
    run(async {
        // Counts in its own memory.
        let counting = |name: &str| {
            let code = "(global.set $n (i32.add (global.get $n) (i32.const 1)))
                (if (i32.eq (global.get $n) (i32.const 3)) (then (drop (call $log (i32.const 2) «third»))))";
            guest(name)
                .define("(global $n (mut i32) (i32.const 0))")
                .on("request_headers", code)
                .build()
        };
        let (a, b) = (counting("a"), counting("b"));
        let with = |b_is: u32| {
            answering()
                .filter(configured("a", a.clone(), 1))
                .filter(configured("b", b.clone(), b_is))
        };
        let proxy = Proxy::start(&with(1)).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..2 {
            assert_eq!(client.send(get("/")).await.status, 200);
        }
        // Another route, another order, another filter: nothing of `a`.
        let more = with(2)
            .filter(Filter::wasm("c", guest("c").build()))
            .chain("c, b, a")
            .routes(&[
                "{ match: { path: /x }, respond: { status: 201 } }",
                "{ match: { prefix: / }, respond: { status: 202 } }",
            ]);
        proxy.reconfigure(&more).await;
        assert_eq!(client.send(get("/")).await.status, 202);
        proxy.logged(&["filter: third", "filter=\"a\""]).await;
        assert_eq!(told(&proxy, "configure", "a"), 1);
        assert_eq!(told(&proxy, "configure", "b"), 2);
        assert_eq!(told(&proxy, "configure", "c"), 1);
        // The former `b` is told that it is over, and nobody else.
        proxy.logged(&[" delete ", "filter=\"b\""]).await;
        proxy.logged(&[" done 1.", "filter=\"b\""]).await;
        assert!(proxy.lines(&[" done 1.", "filter=\"a\""]).is_empty());
    });
}

#[test]
fn filters_that_share_a_vm_do_not_move_for_each_others_configuration() {
    run(async {
        let module = Guest::new().build();
        let with = |b_is: u32| {
            answering()
                .filter(configured("a", module.clone(), 1))
                .filter(configured("b", module.clone(), b_is))
        };
        let proxy = Proxy::start(&with(1)).await;
        let mut client = proxy.client(Http::Two).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        for round in 2..=4 {
            proxy.reconfigure(&with(round)).await;
            assert_eq!(client.send(get("/")).await.status, 200);
            let done = proxy.logged_times(&[" done ", "filter=\"b\""], 1);
            done.await;
        }
        // Contexts are numbered by VM: each root came after the streams of the one before.
        proxy.logged(&[" configure 11 ", "filter=\"b\""]).await;
        assert_eq!(told(&proxy, "vm_start", "a"), 1);
        assert_eq!(told(&proxy, "configure", "a"), 1);
        assert_eq!(told(&proxy, "configure", "b"), 4);
        proxy
            .logged_times(&[" request_headers ", "filter=\"b\""], 4)
            .await;
        // Root by root, the VM goes on.
        proxy.reconfigure(&with(4).chain("a")).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        proxy
            .logged_times(&[" request_headers ", "filter=\"a\""], 5)
            .await;
        assert_eq!(told(&proxy, "request_headers", "b"), 4);
    });
}

fn one_filter(upstream: &Upstream, n: u32) -> Config {
    Config::new(upstream.address).filter(configured("f", Guest::new().build(), n))
}

/// A proxy with that filter, and a stream that its upstream holds.
async fn holding() -> (
    Upstream,
    Proxy,
    Client,
    JoinHandle<hyper::Result<Response<Incoming>>>,
) {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&one_filter(&upstream, 1)).await;
    let mut client = proxy.client(Http::Two).await;
    let held = tokio::spawn(client.start(get("/held")));
    while upstream.seen_at("/held").is_empty() {
        tokio::task::yield_now().await;
    }
    (upstream, proxy, client, held)
}

#[test]
fn streams_finish_in_the_filter_they_began_in_and_it_ends_after_them() {
    run(async {
        let (upstream, proxy, mut client, held) = holding().await;
        let with = |n: u32| one_filter(&upstream, n);
        proxy.reconfigure(&with(2)).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        assert_eq!(told(&proxy, "configure", "f"), 2);
        let of_root = |lines: Vec<String>, root: u32| {
            let done = format!(" done {root}.");
            lines.iter().filter(|line| line.contains(&done)).count()
        };
        assert_eq!(of_root(proxy.log(), 1), 0, "a stream of it is under way");
        upstream.gate.open();
        let response = within("what was held", held).await.expect("a task");
        assert_eq!(response.expect("a response").status(), 200);
        proxy.logged(&[" done 1."]).await;
        proxy.logged(&[" delete 1."]).await;
        let lines = proxy.log();
        let at = |words: &str| lines.iter().position(|line| line.contains(words));
        // The stream of the first root is 2, that of the second 4.
        assert!(at(" delete 2.") < at(" done 1."), "{lines:#?}");
    });
}

#[test]
fn a_filter_ends_after_streams_of_every_configuration_that_had_it() {
    run(async {
        let (upstream, proxy, mut client, held) = holding().await;
        let with = |n: u32| one_filter(&upstream, n);
        // The filter stays, and nobody is left of this configuration when it goes.
        let between = "drain_time: 7s";
        proxy.reconfigure(&with(1).with(between)).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        proxy.reconfigure(&with(2).with(between)).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        // Once more around, so that whatever could end has had its turn.
        proxy.reconfigure(&with(3).with(between)).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        assert_eq!(
            proxy.lines(&[" done 1."]).len(),
            0,
            "a stream of it is under way"
        );
        upstream.gate.open();
        let response = within("what was held", held).await.expect("a task");
        assert_eq!(response.expect("a response").status(), 200);
        proxy.logged(&[" done 1."]).await;
        proxy.logged(&[" delete 1."]).await;
    });
}

#[test]
fn settings_of_the_vm_make_another_vm() {
    run(async {
        let with =
            |more: &str| answering().filter(Filter::wasm("f", Guest::new().build()).with(more));
        let proxy = Proxy::start(&with("vm_configuration: a")).await;
        let mut client = proxy.client(Http::One).await;
        for (starts, more) in [(2, "vm_configuration: b"), (3, "limits: { memory: 8MiB }")] {
            proxy.reconfigure(&with(more)).await;
            assert_eq!(client.send(get("/")).await.status, 200);
            assert_eq!(proxy.lines(&[" vm_start "]).len(), starts, "{more}");
            proxy.logged_times(&[" delete 1."], starts - 1).await;
        }
    });
}

#[test]
fn one_filter_that_cannot_be_started_keeps_everything_as_it_is() {
    run(async {
        let one = answering().filter(Filter::wasm("f", version("one", "")));
        let proxy = Proxy::start(&one).await;
        let mut client = proxy.client(Http::One).await;
        let refusing = Guest::new().on("configure", "(return (i32.const 0))");
        let both = answering()
            .filter(Filter::wasm("f", version("two", "")))
            .filter(Filter::wasm("g", refusing.build()));
        proxy.refuses(&both).await;
        proxy
            .logged(&["ERROR", "reload:", "filter g", "refused its configuration"])
            .await;
        assert_eq!(super::answers(&mut client).await, "one");
        let good = answering()
            .filter(Filter::wasm("f", version("two", "")))
            .filter(Filter::wasm("g", Guest::new().build()));
        proxy.reconfigure(&good).await;
        answered_by(&proxy, "two").await;
    });
}

#[test]
fn services_and_access_loggers_come_and_go() {
    run(async {
        let module = |name: &str| guest(name).build();
        let with = |service: bool, logger: bool| {
            let mut config = answering().workers(2).chain("");
            config = config.filter(Filter::wasm("s", module("s")));
            config = config.filter(Filter::wasm("l", module("l")));
            if service {
                config = config.with("services: [s]");
            }
            if logger {
                config = config.listener("access_log_filters: [l]");
            }
            config
        };
        let proxy = Proxy::start(&with(false, false)).await;
        assert_eq!(
            (
                told(&proxy, "configure", "s"),
                told(&proxy, "configure", "l")
            ),
            (0, 0)
        );
        proxy.reconfigure(&with(true, true)).await;
        // Once in the process, and once on each worker.
        assert_eq!(told(&proxy, "configure", "s"), 1);
        assert_eq!(told(&proxy, "configure", "l"), 2);
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        proxy.logged(&[" log ", "filter=\"l\""]).await;
        proxy.reconfigure(&with(true, false)).await;
        proxy.logged_times(&[" done ", "filter=\"l\""], 2).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        proxy.reconfigure(&with(false, false)).await;
        proxy.logged(&[" done ", "filter=\"s\""]).await;
        assert_eq!(told(&proxy, "log", "l"), 1);
        assert_eq!(told(&proxy, "configure", "s"), 1);
    });
}

#[test]
fn an_access_logger_that_is_gone_hears_of_what_was_under_way() {
    run(async {
        let upstream = Upstream::start();
        let with = |logger: &str| {
            Config::new(upstream.address)
                .filter(Filter::wasm("l", Guest::new().build()))
                .chain("")
                .listener(&format!("access_log_filters: [{logger}]"))
        };
        let proxy = Proxy::start(&with("l")).await;
        let mut client = proxy.client(Http::Two).await;
        let held = tokio::spawn(client.start(get("/held")));
        while upstream.seen_at("/held").is_empty() {
            tokio::task::yield_now().await;
        }
        proxy.reconfigure(&with("")).await;
        assert_eq!(client.send(get("/")).await.status, 200);
        assert_eq!(told(&proxy, "log", "l"), 0);
        upstream.gate.open();
        let response = within("what was held", held).await.expect("a task");
        assert_eq!(response.expect("a response").status(), 200);
        proxy.logged(&[" log ", "filter=\"l\""]).await;
        proxy.logged(&[" done ", "filter=\"l\""]).await;
        assert_eq!(told(&proxy, "log", "l"), 1);
    });
}
