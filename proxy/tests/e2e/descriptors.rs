//! A process without file descriptors left serves whom it has, blames nobody, and serves all
//! again once it can.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::admin::Watched;
use crate::support::{Client, Setup, Upstream, proxy};

#[test]
fn without_descriptors_connections_wait_and_nobody_is_blamed() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let upstream = Upstream::new(move |conn| {
        while let Some(request) = conn.request() {
            if request.line.contains("/held") {
                let _ = released.lock().unwrap().recv();
            }
            conn.respond("ok");
        }
    });
    // One failure would eject it, or have it found unhealthy.
    let endpoints = format!("endpoints: ['{}']", upstream.address);
    let yaml = proxy::plain(upstream.address).replace(
        &endpoints,
        &format!(
            "{endpoints}, healthy_panic_threshold: 0, \
             health_check: {{ interval: 100ms, unhealthy_threshold: 1 }}, \
             outlier_detection: {{ consecutive_5xx: 1, consecutive_local_origin_failure: 1, \
             split_external_local_origin_errors: true, max_ejection_percent: 100 }}"
        ),
    );
    let setup = Setup::new().under("ulimit -n 128");
    let Watched { proxy, admin } = Watched::of(setup, &yaml);
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_eq!(one.get("/").status(), 200);
    assert_eq!(two.get("/").status(), 200);

    // The only connection to the upstream has something to do,
    one.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
    upstream.wait_for_requests(3);
    // and nobody may have another.
    let began = Instant::now();
    let crowd: Vec<Client> = (0..128).map(|_| proxy.client()).collect();
    let told = proxy.log.wait_for("accept failed");
    assert!(told.contains("raise the limit"), "{told}");
    for _ in 0..2 {
        assert_eq!(two.get("/new").status(), 503);
        proxy
            .stdout
            .wait_for("503 UF upstream_connection_failure{out_of_file_descriptors} GET /new");
    }
    // Checks of its health have no socket either.
    std::thread::sleep(Duration::from_millis(400));
    release.send(()).unwrap();
    assert_eq!(one.response().status(), 200);
    assert_eq!(one.get("/").status(), 200, "over the connection there is");

    drop(crowd);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(two.get("/").status(), 200);
    // It waits between two attempts, and does not tell of each.
    let most = began.elapsed().as_millis() / 50 + 2;
    admin.becomes(
        "cofferdam_downstream_connection_events_total{listener=\"web\",event=\"downstream_accept_failed\"}",
        |failures| (1.0..=most as f64).contains(&failures),
    );
    let lines = proxy.log.all();
    let told = lines.iter().filter(|line| line.contains("accept failed"));
    assert!(told.count() as u64 <= began.elapsed().as_secs() / 10 + 1);
}
