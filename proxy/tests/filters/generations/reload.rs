//! SIGHUP and changed module files.

use super::{
    ENGINES, LONG, answered_by, answering, answers, filter, replace_on_all, terse, traffic_flows,
    version,
};
use crate::support::{
    Answer, BOTH, Config, Filter, Guest, Http, Load, Proxy, Upstream, get, run, within,
};

#[test]
fn new_streams_go_to_the_new_module_and_those_under_way_finish_on_the_old() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::wasm("f", version("one", ""));
            let config = Config::new(upstream.address).filter(filter).workers(2);
            let proxy = Proxy::start(&config).await;
            let mut clients = Vec::new();
            for _ in 0..4 {
                let mut client = proxy.client(http).await;
                clients.push((tokio::spawn(client.start(get("/held"))), client));
            }
            while upstream.seen_at("/held").len() < 4 {
                tokio::task::yield_now().await;
            }
            proxy.replace_module("f", &version("two", ""));
            proxy.reload();
            proxy
                .logged(&["reload: module files were read again", "f"])
                .await;
            // On whichever worker.
            for _ in 0..4 {
                answered_by(&proxy, "two").await;
            }
            upstream.gate.open();
            for (held, _client) in clients {
                let response = within("what was held", held).await.expect("a task");
                let answer = Answer::read(response.expect("a response")).await;
                assert_eq!(
                    (answer.status, answer.header("x-version"), answer.cut),
                    (200, Some("one"), false),
                    "{http:?}"
                );
            }
        }
    });
}

#[test]
fn a_module_whose_schema_refuses_the_configuration_does_not_come_to_run() {
    run(async {
        // The schema in a custom section, which may stand behind all others.
        let with_schema = |name: &str, schema: &str| {
            let mut wasm = version(name, "");
            let section = format!("\u{d}filter.schema{schema}");
            let length = u8::try_from(section.len()).expect("a short schema");
            assert!(length < 128, "one byte of a length");
            wasm.extend([0, length]);
            wasm.extend(section.into_bytes());
            wasm
        };
        let numbers = r#"{"properties":{"a":{"type":"integer"}}}"#;
        let texts = r#"{"properties":{"a":{"type":"string"}}}"#;
        let filter = Filter::wasm("f", with_schema("one", numbers)).with("configuration: { a: 1 }");
        let config = Config::new(Upstream::start().address).filter(filter);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::Two).await;
        proxy.replace_module("f", &with_schema("two", texts));
        proxy.reload();
        proxy.logged(&["ERROR", "reload: nothing is changed"]).await;
        let told = "filters[0].configuration.a: filter f: ";
        let what = "expected text, found a whole number";
        proxy.logged(&["ERROR", "reload:", told, what]).await;
        assert_eq!(answers(&mut client).await, "one");
        proxy.replace_module("f", &with_schema("three", numbers));
        proxy.reload();
        answered_by(&proxy, "three").await;
    });
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported() {
    run(async {
        let one = version("one", "");
        let config = Config::new(Upstream::start().address)
            .filter(Filter::wasm("f", one.clone()))
            .filter(Filter::wasm("g", terse("on log")));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::Two).await;
        let good = version("two", "");
        for (bad, words) in [
            (&b"nothing of the kind"[..], "not a usable module"),
            (b"", "it is empty"),
            (
                &terse("on configure (return #0)"),
                "refused its configuration",
            ),
            (&terse("on context_create (unreachable)"), "guest aborted"),
            (&one[..one.len() - 3], "not a usable module"),
        ] {
            // The other one is good, and does not come to run either.
            proxy.replace_module("f", &good);
            proxy.replace_module("g", bad);
            let before = proxy.lines(&["reload: nothing is changed"]).len();
            proxy.reload();
            let refused = proxy
                .logged_times(&["ERROR", "reload: nothing is changed"], before + 1)
                .await;
            assert_eq!(refused.len(), before + 1);
            proxy.logged(&["ERROR", "reload:", "g.wasm", words]).await;
            assert_eq!(answers(&mut client).await, "one", "{words}");
        }
        proxy.replace_module("g", &terse("on log (!text {\"mended\"})"));
        proxy.reload();
        answered_by(&proxy, "two").await;
        proxy.logged(&["mended"]).await;
    });
}

#[test]
fn a_module_that_is_pinned_is_replaced_by_no_other() {
    run(async {
        let one = version("one", "");
        let digest: String = {
            use sha2::Digest as _;
            let digest = sha2::Sha256::digest(&one);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", one).pinned(&digest);
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        proxy.replace_module("f", &version("two", ""));
        proxy.reload();
        proxy
            .logged(&["ERROR", "reload:", "module.sha256", "another SHA-256"])
            .await;
        proxy.logged(&["reload: nothing is changed"]).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(answers(&mut client).await, "one");
    });
}

#[test]
fn a_file_that_is_the_same_starts_nothing() {
    run(async {
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", Guest::new().build());
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        for times in 1..=3 {
            proxy.reload();
            proxy
                .logged_times(&["reload: module files were read again"], times)
                .await;
        }
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
        assert_eq!(proxy.lines(&["vm_start "]).len(), 1);
    });
}

#[test]
fn what_the_host_keeps_survives_and_what_the_root_kept_begins_anew() {
    run(async {
        // `$g` counts in the guest, the shared datum in the host; `/total` tells of the latter.
        let counting = |version: &str| {
            super::version(
                version,
                &format!(
                    "on request_headers
                    (global.set $g (i32.add (global.get $g) #1))
                    (if (i32.eq (global.get $g) #1) (then (!text {{\"begins {version}\"}})))
                    (loop $again
                        (i32.store #24 #0)
                        (i32.store #28 #0)
                        (if (i32.eqz (!get_shared_data {{\"n\"}} @out #24))
                            (then (i32.store #28 (i32.load (i32.load #16)))))
                        (i32.store #28 (i32.add (i32.load #28) #1))
                        (br_if $again (!set_shared_data {{\"n\"}} #28 #4 (i32.load #24))))
                    (drop (!get_header_map_value #0 {{\":path\"}} @out))
                    (if (i32.eq (i32.load8_u (i32.add (i32.load #16) #1)) #116)
                        (then (!say (i32.load #28))))"
                ),
            )
        };
        for engine in ENGINES {
            let config = answering()
                .filter(filter(engine, &counting("one")))
                .without_access_log()
                .workers(2);
            let proxy = Proxy::start(&config).await;
            // Only one that is there can be compared with.
            let mut client = proxy.client(Http::One).await;
            assert_eq!(answers(&mut client).await, "one");
            let Some(load) = Load::on(proxy.address, LONG) else {
                return;
            };
            proxy.logged_times(&["begins one"], 2).await;
            traffic_flows(&proxy).await;
            replace_on_all(&proxy, &counting("two")).await;
            proxy.logged_times(&["begins two"], 2).await;
            traffic_flows(&proxy).await;
            let requests = load.stop().requests;
            assert_eq!(client.send(get("/total")).await.status, 200);
            // After four VMs have said that they begin.
            let told = proxy.logged_times(&[" filter: "], 5).await;
            let number = told[4].split_once(" filter: ").and_then(|(_, rest)| {
                let number = rest.split(' ').next()?;
                number.parse::<u64>().ok()
            });
            // The two of the client; and what the load has sent without waiting for an answer.
            let all = requests + 2..=requests + 2 + 16;
            let number = number.expect("a number");
            assert!(all.contains(&number), "{engine}: {number} of {all:?}");
            assert_eq!(proxy.lines(&["begins"]).len(), 4, "{engine}");
        }
    });
}

#[test]
fn filters_that_share_a_vm_move_together_and_the_innocent_keeps_its_code() {
    run(async {
        // One module in two files: one VM. Then one of the files changes.
        let guest = Guest::new().build();
        let config = answering()
            .filter(Filter::wasm("one", guest.clone()))
            .filter(Filter::wasm("two", guest));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/a")).await.status, 200);
        // Roots 1 and 2, so the streams are 3 and 4.
        proxy.logged(&["request_headers 4 "]).await;
        let changed = Guest::new()
            .on(
                "request_headers",
                "(drop (call $log (i32.const 2) «changed»))",
            )
            .build();
        proxy.replace_module("one", &changed);
        proxy.reload();
        proxy.logged_times(&["vm_start 1 "], 3).await;
        proxy.logged(&["INFO", "filter=\"two\"", "restarted"]).await;
        // Each is alone now.
        assert_eq!(client.send(get("/b")).await.status, 200);
        proxy.logged(&["filter: changed", "filter=\"one\""]).await;
        let heard = proxy.logged_times(&["request_headers 2 "], 2).await;
        assert_eq!(heard.len(), 2);
        assert!(
            proxy
                .lines(&["filter: changed", "filter=\"two\""])
                .is_empty()
        );
    });
}

#[test]
fn reloads_without_end_leave_nothing_behind() {
    run(async {
        let config = answering().filter(Filter::wasm("f", version("0", "")));
        let proxy = Proxy::start(&config).await;
        let mut size = 0;
        for round in 1..=60 {
            proxy.replace_module("f", &version(&round.to_string(), ""));
            proxy.reload();
            answered_by(&proxy, &round.to_string()).await;
            if round == 20 {
                size = memory(proxy.id());
            }
        }
        let grown = memory(proxy.id()).saturating_sub(size);
        // Forty interpreted VMs of a mebibyte and more would not fit.
        assert!(grown < 16 << 20, "{grown} bytes more after 40 reloads");
    });
}

/// Resident memory of a process, in bytes.
fn memory(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    number.expect("a number") * 1024
}
