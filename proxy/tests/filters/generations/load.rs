//! Replacements under load: no request fails for one.

use std::time::{Duration, Instant};

use super::{answering, metric, version};
use crate::support::{Filter, Load, PATIENCE, Proxy, run};

/// Filters, each with a module and a route of its own.
const FILTERS: usize = 20;

/// A module unlike all others, with enough in it to be worth compiling.
fn module(number: usize) -> Vec<u8> {
    version(
        &number.to_string(),
        &format!(
            "on request_headers
                (local $n i32)
                (loop $again
                    (global.set $g (i32.add (i32.mul (global.get $g) #31) #{number}))
                    (local.set $n (i32.add (local.get $n) #1))
                    (br_if $again (i32.lt_u (local.get $n) #300)))
            on log (global.set $h (i32.add (global.get $h) #1))"
        ),
    )
}

async fn wait_for(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + 6 * PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn twenty_filters_move_to_native_code_while_traffic_flows() {
    run(async {
        let routes: Vec<String> = (0..FILTERS)
            .map(|number| {
                format!("{{ match: {{ path: /{number} }}, filters: [f{number}], respond: {{ body: hello }} }}")
            })
            .collect();
        let routes: Vec<&str> = routes.iter().map(|route| &route[..]).collect();
        let mut config = answering().workers(2).chain("").routes(&routes);
        for number in 0..FILTERS {
            config = config.filter(Filter::wasm(&format!("f{number}"), module(number)));
        }
        let proxy = Proxy::start(&config).await;
        let Some(mut load) = Load::over(FILTERS, proxy.address, 12) else {
            return;
        };
        wait_for("native code", async || {
            proxy.lines(&["there is native code now"]).len() == FILTERS
        })
        .await;
        let promoted_in_time = load.goes_on();
        let outcome = load.end();
        println!("{} requests/s during promotions", outcome.per_second);
        assert!(promoted_in_time, "{}", outcome.report);
        for number in 0..FILTERS {
            let starts = |engine: &str| {
                format!(
                    "cofferdam_filter_vm_starts_total{{filter=\"f{number}\",engine=\"{engine}\"}}"
                )
            };
            // On each worker once, on either engine.
            for engine in ["interpreter", "aot"] {
                assert_eq!(
                    metric(&proxy, &starts(engine)).await,
                    2,
                    "{number} {engine}"
                );
            }
        }
        assert!(proxy.lines(&["ERROR"]).is_empty());
    });
}

#[test]
fn a_module_changes_thirty_times_while_traffic_flows() {
    run(async {
        let config = answering()
            .filter(Filter::wasm("f", version("v0", "")))
            .workers(2);
        let proxy = Proxy::start(&config).await;
        let Some(mut load) = Load::on(proxy.address, 8) else {
            return;
        };
        for round in 1..=30 {
            proxy.replace_module("f", &version(&format!("v{round}"), ""));
            proxy.reload();
            let replaced =
                "cofferdam_filter_vm_replacements_total{filter=\"f\",reason=\"changed_module\"}";
            wait_for("both workers", async || {
                metric(&proxy, replaced).await == round * 2
            })
            .await;
        }
        let in_time = load.goes_on();
        let outcome = load.end();
        println!("{} requests/s during reloads", outcome.per_second);
        assert!(
            in_time,
            "thirty reloads within the load: {}",
            outcome.report
        );
        assert!(proxy.lines(&["ERROR"]).is_empty());
    });
}
