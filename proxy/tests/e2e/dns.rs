//! Endpoints that are known by name go where DNS says.

use std::cell::Cell;
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::dns::{Dns, Says};
use crate::support::upstream::Conn;
use crate::support::{Client, LONGEST, Proxy, Upstream, require};

const NAME: &str = "backend.test";

/// `backend.test:PORT` as `dns` has it, asked for every 50 ms or as seldom as it says.
fn config(dns: &Dns, port: u16, cluster: &str) -> String {
    let address = dns.address;
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         dns: {{ servers: ['{address}'], timeout: 400ms, min_ttl: 50ms, max_ttl: 1h }}\n\
         clusters: [{{ name: c, endpoints: ['{NAME}:{port}'], {cluster} }}]\n\
         workers: 1\naccess_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS%' }}\n\
         admin: {{ address: 127.0.0.1:0 }}\n"
    )
}

fn answering(name: &'static str) -> impl Fn(&mut Conn) {
    move |conn| {
        while conn.request().is_some() {
            match name {
                "bad" => conn.send("HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n"),
                _ => conn.respond(name),
            };
        }
    }
}

/// Servers of one port at several addresses, each answering with its address.
fn at_one_port(others: &[(&str, &'static str)]) -> (Upstream, Vec<Upstream>) {
    // A port that is free at one address may not be at another.
    for _ in 0..100 {
        let first = Upstream::named("127.0.0.1");
        let free = |ip: &str| {
            let address = SocketAddr::new(ip.parse().unwrap(), first.address.port());
            std::net::TcpListener::bind(address).ok().map(|_| address)
        };
        let addresses: Option<Vec<_>> = others.iter().map(|(ip, _)| free(ip)).collect();
        if let Some(addresses) = addresses {
            let named = addresses.into_iter().zip(others);
            let others = named.map(|(address, (_, name))| Upstream::at(address, answering(name)));
            return (first, others.collect());
        }
    }
    panic!("no port is free at all of {others:?}");
}

/// Asks until it is this that answers.
fn until(proxy: &Proxy, wanted: &str) {
    let deadline = Instant::now() + LONGEST;
    loop {
        let answer = proxy.get("/");
        let said = match answer.status() {
            200 => answer.text(),
            status => status.to_string(),
        };
        if said == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{said}:\n{}", proxy.log.text());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_endpoint_goes_where_its_name_goes() {
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.1"]);
    let (one, _) = at_one_port(&[("127.0.0.2", "127.0.0.2")]);
    let proxy = Proxy::start(&config(&dns, one.address.port(), ""));
    assert_eq!(proxy.get("/").text(), "127.0.0.1");
    dns.at(NAME, &["127.0.0.2"]);
    proxy.log.wait_for("endpoints are now: 127.0.0.2:");
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "127.0.0.2");
    }
    // Whoever is no endpoint any more keeps no connection.
    one.wait_for_ended(1);
}

#[test]
fn every_address_is_an_endpoint() {
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.1", "127.0.0.2"]);
    let (one, others) = at_one_port(&[("127.0.0.2", "127.0.0.2")]);
    let proxy = Proxy::start(&config(&dns, one.address.port(), ""));
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!((one.requests().len(), others[0].requests().len()), (5, 5));
    let mut admin = Client::connect(proxy.address("admin"));
    let clusters = admin.request("GET /clusters HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let clusters = clusters.text();
    assert!(
        clusters.contains(r#""hostname": "backend.test""#),
        "{clusters}"
    );
    assert!(clusters.contains(r#""update_failure": 0"#), "{clusters}");
}

#[test]
fn the_family_decides_which_addresses_are_used() {
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return require::skipped("there is no IPv6 on loopback").unwrap_or_default();
    }
    let (one, _others) = at_one_port(&[("::1", "::1")]);
    let port = one.address.port();
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.1", "::1"]);
    for (family, wanted) in [
        ("v4_preferred", &["127.0.0.1"][..]),
        ("auto", &["::1"]),
        ("v4_only", &["127.0.0.1"]),
        ("v6_only", &["::1"]),
        ("all", &["127.0.0.1", "::1"]),
    ] {
        let proxy = Proxy::start(&config(&dns, port, &format!("dns_family: {family}")));
        let mut said: Vec<_> = (0..4).map(|_| proxy.get("/").text()).collect();
        said.sort_unstable();
        said.dedup();
        assert_eq!(said, wanted, "{family}");
    }
    // With one kind only, who prefers the other takes it.
    dns.at(NAME, &["::1"]);
    let proxy = Proxy::start(&config(&dns, port, ""));
    assert_eq!(proxy.get("/").text(), "::1");
    let proxy = Proxy::start(&config(&dns, port, "dns_family: v4_only"));
    assert_eq!(proxy.get("/").status(), 503);
}

#[test]
fn while_nobody_answers_what_was_known_goes_on() {
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.1"]);
    let upstream = Upstream::named("there");
    let proxy = Proxy::start(&config(&dns, upstream.address.port(), ""));
    assert_eq!(proxy.get("/").text(), "there");
    for (times, gone) in [Says::Silence, Says::Failure].into_iter().enumerate() {
        dns.say(NAME, gone);
        while proxy.log.count("the name cannot be resolved") == times {
            dns.wait_until_asked_again(NAME);
        }
        dns.wait_until_asked_again(NAME);
        assert_eq!(proxy.get("/").text(), "there");
        dns.at(NAME, &["127.0.0.1"]);
        while proxy.log.count("the name is resolved again") == times {
            dns.wait_until_asked_again(NAME);
        }
    }
    // All of that over one connection.
    assert_eq!(
        (upstream.connections(), proxy.log.count("endpoints are now")),
        (1, 1)
    );
}

#[test]
fn a_proxy_starts_without_dns_and_serves_once_it_is_there() {
    for gone in [Some(Says::Silence), Some(Says::Failure), None] {
        let dns = Dns::new();
        let upstream = Upstream::named("there");
        if let Some(gone) = gone {
            dns.say(NAME, gone);
        }
        let proxy = Proxy::start(&config(&dns, upstream.address.port(), ""));
        assert_eq!(proxy.get("/").status(), 503);
        proxy.stdout.wait_for("503 UH");
        dns.at(NAME, &["127.0.0.1"]);
        until(&proxy, "there");
    }
}

#[test]
fn a_name_that_is_gone_has_no_endpoints() {
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.1"]);
    let upstream = Upstream::named("there");
    let proxy = Proxy::start(&config(&dns, upstream.address.port(), ""));
    assert_eq!(proxy.get("/").text(), "there");
    dns.at(NAME, &[]);
    proxy.log.wait_for("the name has no address");
    until(&proxy, "503");
}

#[test]
fn a_request_under_way_ends_where_it_began() {
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.1"]);
    let slow = Upstream::new(|conn| {
        let Some(request) = conn.request() else {
            return;
        };
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsl");
        // The second half once the test says so, by a request of its own.
        if request.line.contains("/slow") {
            let mut go = std::net::TcpStream::connect(go(&request.line)).unwrap();
            let _ = go.read(&mut [0]);
        }
        conn.send("ow");
    });
    let gate = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&config(&dns, slow.address.port(), ""));
    let mut client = proxy.client();
    let port = gate.local_addr().unwrap().port();
    client.send(format!("GET /slow/{port} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let (open, _) = gate.accept().unwrap();
    dns.at(NAME, &["127.0.0.2"]);
    proxy.log.wait_for("endpoints are now: 127.0.0.2:");
    drop(open);
    assert_eq!(client.response().text(), "slow");
}

/// The address behind `/slow/`.
fn go(line: &str) -> SocketAddr {
    let port = line.split(['/', ' ']).find_map(|part| part.parse().ok());
    (IpAddr::from([127, 0, 0, 1]), port.unwrap()).into()
}

#[test]
fn addresses_are_good_for_as_long_as_the_answer_says() {
    let dns = Dns::new();
    let upstream = Upstream::named("there");
    let port = upstream.address.port();
    let local = || vec![[127, 0, 0, 1].into()];
    dns.say(NAME, Says::At(local(), 3600));
    dns.say("other.test", Says::At(local(), 0));
    let other = format!("}}, {{ name: d, endpoints: ['other.test:{port}']");
    let proxy = Proxy::start(&config(&dns, port, &other));
    for _ in 0..5 {
        dns.wait_until_asked_again("other.test");
    }
    assert_eq!(dns.asked(NAME), 1);
    assert_eq!(proxy.get("/").text(), "there");
}

#[test]
fn the_hosts_file_comes_before_dns() {
    let dns = Dns::new();
    let upstream = Upstream::named("there");
    let yaml = config(&dns, upstream.address.port(), "");
    let proxy = Proxy::start(&yaml.replace(NAME, "localhost"));
    assert_eq!(proxy.get("/").text(), "there");
    assert_eq!(dns.asked("localhost"), 0);
}

#[test]
fn other_name_servers_hold_from_a_reload_on() {
    let (dns, other) = (Dns::new(), Dns::new());
    dns.at(NAME, &["127.0.0.1"]);
    other.at(NAME, &["127.0.0.2"]);
    let (one, _others) = at_one_port(&[("127.0.0.2", "127.0.0.2")]);
    let port = one.address.port();
    let proxy = Proxy::start(&config(&dns, port, ""));
    assert_eq!(proxy.get("/").text(), "127.0.0.1");
    proxy.dir.write("config.yaml", config(&other, port, ""));
    proxy.signal(Signal::HUP);
    proxy.log.wait_for("reload: module files were read again");
    until(&proxy, "127.0.0.2");
}

#[test]
fn endpoints_that_dns_brings_are_checked_and_ejected_like_others() {
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.1"]);
    let (one, _others) = at_one_port(&[("127.0.0.2", "bad")]);
    let settings = "outlier_detection: { consecutive_5xx: 1, base_ejection_time: 1h, \
                    max_ejection_time: 1h, max_ejection_percent: 50 }, \
                    health_check: { interval: 100ms }";
    let proxy = Proxy::start(&config(&dns, one.address.port(), settings));
    // Nobody listens at the third, which the checks find out.
    dns.at(NAME, &["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let line = proxy.log.wait_for("endpoint is now unhealthy");
    assert!(line.contains("127.0.0.3"), "{line}");
    while proxy.log.count("endpoint is ejected") == 0 {
        assert!(matches!(proxy.get("/").status(), 200 | 500));
    }
    let line = proxy.log.wait_for("endpoint is ejected");
    assert!(line.contains("127.0.0.2"), "{line}");
    until(&proxy, "127.0.0.1");
}

#[test]
fn an_endpoint_that_went_and_came_back_is_watched_as_before() {
    let dns = Dns::new();
    dns.at(NAME, &["127.0.0.2"]);
    let (one, _others) = at_one_port(&[("127.0.0.2", "bad")]);
    let settings = "outlier_detection: { consecutive_5xx: 2, base_ejection_time: 1h, \
                    max_ejection_time: 1h, always_eject_one_host: true }";
    let proxy = Proxy::start(&config(&dns, one.address.port(), settings));
    assert_eq!(proxy.get("/").status(), 500);
    // Away and back, while nobody asks for anything: the worker sees neither.
    dns.at(NAME, &["127.0.0.1"]);
    proxy.log.wait_for("endpoints are now: 127.0.0.1:");
    dns.at(NAME, &["127.0.0.2"]);
    let went = Cell::new(false);
    let back = proxy.log.find(|line| {
        went.set(went.get() || line.contains("endpoints are now: 127.0.0.1:"));
        went.get() && line.contains("endpoints are now: 127.0.0.2:")
    });
    assert!(back.is_some(), "{}", proxy.log.text());
    assert_eq!(proxy.get("/").status(), 500);
    assert_eq!(proxy.get("/").status(), 500);
    let line = proxy.log.wait_for("endpoint is ejected");
    assert!(line.contains("127.0.0.2"), "{line}");
    assert_eq!(proxy.get("/").status(), 503);
}
