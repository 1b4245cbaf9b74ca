//! Endpoints whose answers are bad are left out for a time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::support::{Proxy, Upstream};

fn proxy(endpoints: &[SocketAddr], settings: &str) -> Proxy {
    patient(endpoints, settings, "15s")
}

fn patient(endpoints: &[SocketAddr], settings: &str, timeout: &str) -> Proxy {
    let endpoints: Vec<String> = endpoints.iter().map(|it| format!("'{it}'")).collect();
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c, timeout: {timeout} }}] }}]\n\
         clusters: [{{ name: c, endpoints: [{}], outlier_detection: {{ {settings} }} }}]\n\
         workers: 2\naccess_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS%' }}\n",
        endpoints.join(", ")
    ))
}

/// Answers with whatever status is set.
fn moody(status: u16) -> (Upstream, Arc<AtomicU16>) {
    let mood = Arc::new(AtomicU16::new(status));
    let told = mood.clone();
    let upstream = Upstream::new(move |conn| {
        while conn.request().is_some() {
            let status = told.load(Ordering::SeqCst);
            conn.send(format!(
                "HTTP/1.1 {status} Mood\r\ncontent-length: 0\r\n\r\n"
            ));
        }
    });
    (upstream, mood)
}

const HALF: &str = "max_ejection_percent: 50, base_ejection_time: 1h, max_ejection_time: 1h";

fn statuses(proxy: &Proxy, count: usize) -> Vec<u16> {
    (0..count).map(|_| proxy.get("/").status()).collect()
}

#[test]
fn so_many_bad_answers_in_a_row_eject() {
    let (bad, _) = moody(500);
    let good = Upstream::named("good");
    let proxy = proxy(
        &[bad.address, good.address],
        &format!("consecutive_5xx: 3, {HALF}"),
    );
    while bad.requests().len() < 3 {
        proxy.get("/");
    }
    proxy.log.wait_for("endpoint is ejected");
    assert_eq!(statuses(&proxy, 10), [200; 10]);
    assert_eq!(bad.requests().len(), 3);
}

#[test]
fn a_good_answer_between_begins_the_count_anew() {
    let flip = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::new(move |conn| {
        while conn.request().is_some() {
            let third = flip.fetch_add(1, Ordering::SeqCst) % 3 == 2;
            let status = if third { 200 } else { 500 };
            conn.send(format!(
                "HTTP/1.1 {status} Any\r\ncontent-length: 0\r\n\r\n"
            ));
        }
    });
    let settings = "consecutive_5xx: 3, max_ejection_percent: 100, base_ejection_time: 1h";
    let proxy = proxy(
        &[upstream.address],
        &format!("{settings}, max_ejection_time: 1h"),
    );
    statuses(&proxy, 30);
    assert_eq!(proxy.log.count("endpoint is ejected"), 0);
    assert_eq!(upstream.requests().len(), 30);
}

#[test]
fn a_share_of_the_endpoints_is_never_ejected() {
    let (bad, _) = moody(500);
    let good = Upstream::named("good");
    // One of two is more than a tenth.
    let common = "consecutive_5xx: 2, base_ejection_time: 1h, max_ejection_time: 1h";
    let proxy_a = proxy(&[bad.address, good.address], common);
    statuses(&proxy_a, 12);
    assert_eq!(proxy_a.log.count("endpoint is ejected"), 0);
    let one = format!("{common}, always_eject_one_host: true");
    let proxy_b = proxy(&[bad.address, good.address], &one);
    statuses(&proxy_b, 12);
    proxy_b.log.wait_for("endpoint is ejected");
}

#[test]
fn an_ejection_ends() {
    let (upstream, mood) = moody(500);
    let settings =
        "consecutive_5xx: 1, interval: 50ms, base_ejection_time: 3s, max_ejection_percent: 100";
    let proxy = proxy(&[upstream.address], settings);
    assert_eq!(proxy.get("/").status(), 500);
    assert_eq!(proxy.get("/").status(), 503);
    proxy.stdout.wait_for("503 UH");
    mood.store(200, Ordering::SeqCst);
    while proxy.get("/").status() != 200 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    proxy.log.wait_for("endpoint is no longer ejected");
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_gateway_failure_is_a_kind_of_its_own() {
    for (status, ejected) in [(500, 0), (503, 1)] {
        let (bad, _) = moody(status);
        let good = Upstream::named("good");
        let settings = format!(
            "consecutive_5xx: 0, consecutive_gateway_failure: 2, \
             enforcing_consecutive_gateway_failure: 100, {HALF}"
        );
        let proxy = proxy(&[bad.address, good.address], &settings);
        statuses(&proxy, 12);
        assert_eq!(proxy.log.count("endpoint is ejected"), ejected, "{status}");
    }
}

#[test]
fn an_endpoint_that_refuses_or_is_silent_is_ejected_too() {
    let silent = Upstream::new(|conn| {
        conn.request();
        conn.rest();
    });
    let good = Upstream::named("good");
    for bad in [Upstream::nobody(), silent.address] {
        for settings in [
            "consecutive_5xx: 2",
            "consecutive_5xx: 0, split_external_local_origin_errors: true, \
             consecutive_local_origin_failure: 2",
        ] {
            let proxy = patient(&[bad, good.address], &format!("{settings}, {HALF}"), "1s");
            // Each worker begins its round with the same endpoint.
            let failed = (0..40).take_while(|_| {
                proxy.get("/");
                proxy.log.count("endpoint is ejected") == 0
            });
            assert!(failed.count() < 40, "{settings}");
            proxy.log.wait_for("endpoint is ejected");
            assert_eq!(statuses(&proxy, 6), [200; 6], "{settings}");
        }
    }
}

#[test]
fn with_a_split_bad_answers_are_not_counted_as_failures_here() {
    let (bad, _) = moody(500);
    let good = Upstream::named("good");
    let settings = format!(
        "consecutive_5xx: 0, split_external_local_origin_errors: true, \
         consecutive_local_origin_failure: 1, {HALF}"
    );
    let proxy = proxy(&[bad.address, good.address], &settings);
    statuses(&proxy, 12);
    assert_eq!(proxy.log.count("endpoint is ejected"), 0);
}

#[test]
fn a_success_rate_far_below_the_others_ejects() {
    // Every other answer is bad: never two in a row.
    let turn = Arc::new(AtomicU16::new(0));
    let bad = Upstream::new(move |conn| {
        while conn.request().is_some() {
            let status = 200 + 300 * (turn.fetch_add(1, Ordering::SeqCst) % 2);
            conn.send(format!(
                "HTTP/1.1 {status} Any\r\ncontent-length: 0\r\n\r\n"
            ));
        }
    });
    let good: Vec<_> = (0..4).map(|_| Upstream::named("good")).collect();
    let mut endpoints = vec![bad.address];
    endpoints.extend(good.iter().map(|it| it.address));
    let proxy = proxy(
        &endpoints,
        &format!(
            "interval: 1s, success_rate_request_volume: 5, success_rate_stdev_factor: 1500, {HALF}"
        ),
    );
    let mut client = proxy.client();
    let until = std::time::Instant::now() + crate::support::LONGEST;
    while proxy.log.count("endpoint is ejected") == 0 {
        assert!(std::time::Instant::now() < until, "not ejected");
        client.get("/");
    }
    let line = proxy.log.wait_for("endpoint is ejected");
    assert!(
        line.contains("success_rate") && line.contains(&bad.address.to_string()),
        "{line}"
    );
}

#[test]
fn a_server_that_dies_and_comes_back_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let good = Upstream::named("good");
    let settings =
        "consecutive_5xx: 2, interval: 50ms, base_ejection_time: 100ms, max_ejection_percent: 50";
    let proxy = proxy(&[address, good.address], settings);
    while proxy.log.count("endpoint is ejected") == 0 {
        proxy.get("/");
    }
    let listener = TcpListener::bind(address).expect("the port was free a moment ago");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback");
                }
            });
        }
    });
    let until = std::time::Instant::now() + crate::support::LONGEST;
    while proxy.get("/").text() != "back" {
        assert!(std::time::Instant::now() < until, "never used again");
    }
}

#[test]
fn clients_that_break_off_do_not_have_an_endpoint_ejected() {
    let (upstream, _) = moody(200);
    let other = Upstream::named("other");
    let proxy = proxy(
        &[upstream.address, other.address],
        "consecutive_5xx: 1, consecutive_gateway_failure: 1, max_ejection_percent: 100",
    );
    for _ in 0..6 {
        let mut client = proxy.client();
        client.send(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nnonsense\r\n",
        );
        let _ = client.try_response("POST");
    }
    assert_eq!(statuses(&proxy, 6), [200; 6]);
    assert_eq!(proxy.log.count("endpoint is ejected"), 0);
}
