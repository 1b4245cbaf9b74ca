//! What is accepted, and what it means.

use std::collections::HashSet;
use std::time::Duration;

use cofferdam_abi::shared::{Bounds, Eviction};
use cofferdam_abi::tier::Choice;
use cofferdam_abi::{Callback, Capabilities, Compat, Limits, Target};

use super::super::filters::DEFAULT_BODY;
use super::{FULL, Folder, accept, with, with_route};
use crate::config::yaml::{
    Absent, Kind, asked, duration_text, parse_duration, parse_rate, parse_size, size_text,
};
use crate::config::{
    Action, Address, Dns, Family, HealthCheck, HostMatch, Isolation, OnFailure, PathMatch, Probe,
    Protocol, ProxyVersion, ServerHeader, TierUp, ValueMatch, reference,
};
use crate::tls::forwarded::Mode;
use crate::tls::{MinVersion, Resumption, Speaks};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_key_is_read_and_in_the_reference() {
    asked::take();
    accept(FULL);
    let asked = asked::take();
    let text = reference::markdown();
    let mut described = HashSet::new();
    for table in reference::tables() {
        assert!(
            text.contains(&format!("\n## `{}`\n", table.name)),
            "{}",
            table.name
        );
        let (_, section) = text
            .split_once(&format!("\n## `{}`\n", table.name))
            .expect("there");
        let section = section.split("\n## ").next().expect("a section");
        for field in table.fields {
            assert!(
                section.contains(&format!("\n| `{}` |", field.name)),
                "{}",
                field.name
            );
            described.insert(format!("{}.{}", table.name, field.name));
        }
    }
    assert_eq!(asked, described);
}

#[test]
fn another_process_takes_over_only_where_that_is_written() {
    let yaml = "listeners: [{ name: l, address: '127.0.0.1:80', routes: [] }]\n";
    assert_eq!(accept(yaml).upgrade, None);
    let config = accept(&format!("{yaml}upgrade: {{ socket: /run/upgrade.sock }}\n"));
    let upgrade = config.upgrade.expect("it is written");
    assert_eq!(upgrade.socket, std::path::Path::new("/run/upgrade.sock"));
    assert_eq!(upgrade.timeout, 120 * SECOND);
}

#[test]
fn a_listener_may_forward_what_is_not_http() {
    let config = accept(
        "listeners: [{ name: l, address: '127.0.0.1:80', tcp: { cluster: d, filters: [f] }, \
         tls: { certificate: server.pem, key: server.key } }]\n\
         filters: [{ name: f, module: { file: filters/a.wasm } }]\n\
         clusters: [{ name: c, endpoints: [] }, { name: d, endpoints: [], tls: { server_name: d, ca: ca.pem } }]\n",
    );
    let listener = &config.listeners[0];
    let tcp = listener.tcp.as_ref().expect("not HTTP");
    assert_eq!((tcp.cluster, &tcp.filters[..]), (Some(1), &[0][..]));
    assert!(tcp.names.is_empty());
    assert_eq!(config.plugins[0].name, "f");
    assert!(listener.routes.is_empty());
    assert_eq!(listener.idle_timeout, 3_600 * SECOND);
    let tls = listener.tls.as_ref().expect("TLS");
    assert!(tls.now().config.alpn_protocols.is_empty());
    let upstream = config.clusters[1].tls.as_ref().expect("TLS");
    let offered = |speaks| upstream.tls.now(speaks).0.alpn_protocols.clone();
    assert!(offered(Speaks::Raw).is_empty());
    assert_eq!(offered(Speaks::Http), [b"http/1.1"]);
    assert_eq!(offered(Speaks::Http2), [b"h2"]);
    let shorter = "listeners: [{ name: l, address: '127.0.0.1:80', tcp: { cluster: c }, idle_timeout: 5s }]\n\
         clusters: [{ name: c, endpoints: [] }]\n";
    assert_eq!(accept(shorter).listeners[0].idle_timeout, 5 * SECOND);
    let full = accept(FULL);
    let believed = full.listeners[0].proxy_protocol.as_ref().expect("there");
    let believes = |ip: [u8; 4]| believed.believes(Some((ip, 1).into()));
    assert!(believes([10, 9, 8, 7]) && believes([192, 0, 2, 7]) && !believes([192, 0, 2, 8]));
    assert!(!believed.believes(None) && !believed.required);
    let tcp = full.listeners[2].tcp.as_ref().expect("not HTTP");
    let found = ["a.test", "x.b.test", "c.test"].map(|name| tcp.names.find(name));
    assert_eq!((found, tcp.cluster), ([Some(1), Some(1), None], Some(0)));
    let http = accept(&with("")).listeners[0].clone();
    assert_eq!((http.idle_timeout, http.tcp.is_none()), (60 * SECOND, true));
}

#[test]
fn every_default_is_a_value_of_its_field() {
    for field in reference::tables().iter().flat_map(|table| table.fields) {
        let Absent::Default(text) = field.absent else {
            continue;
        };
        let good = match field.kind {
            Kind::Boolean => text == "true" || text == "false",
            Kind::Integer { min, max } => text
                .parse()
                .is_ok_and(|number: u64| (min..=max).contains(&number)),
            Kind::Duration {
                unbounded: true, ..
            } if text == "none" => true,
            Kind::Duration { min, max, .. } => {
                parse_duration(text).is_some_and(|value| (min..=max).contains(&value))
            }
            Kind::Size { min, max } => {
                parse_size(text).is_some_and(|value| (min..=max).contains(&value))
            }
            Kind::Rate { min, max } => {
                parse_rate(text).is_some_and(|value| (min..=max).contains(&value))
            }
            Kind::Choice(words) => words.contains(&text),
            _ => true,
        };
        assert!(good, "{}: {text}", field.name);
    }
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let config = accept(&with(""));
    let listener = &config.listeners[0];
    assert_eq!(
        listener.address,
        Address::Tcp("127.0.0.1:80".parse().expect("an address"))
    );
    assert!(listener.tls.is_none());
    assert_eq!(listener.max_header_bytes, 64 << 10);
    assert_eq!(listener.idle_timeout, 60 * SECOND);
    assert_eq!(listener.header_timeout, 10 * SECOND);
    assert_eq!(listener.server_header, ServerHeader::Overwrite);
    let route = &listener.routes[0];
    assert!(route.matcher.host.is_none() && route.matcher.path.is_none());
    assert_eq!(route.timeout, Some(15 * SECOND));
    assert_eq!(route.idle_timeout, Some(300 * SECOND));
    assert!(route.upgrades);
    assert!(matches!(&route.action, Action::Respond { status, body }
        if status.as_u16() == 200 && body.is_empty()));
    assert!((1..=256).contains(&config.workers));
    assert_eq!(config.drain_time, 30 * SECOND);
    assert!(config.access_log.is_none());
}

#[test]
fn a_filter_and_a_cluster_have_the_documented_defaults() {
    let config = accept(&with(
        "filters: [{ name: f, module: { file: filters/a.wasm }, limits: {} }]\n\
         clusters: [{ name: c, endpoints: [], health_check: {} }]",
    ));
    let plugin = &config.plugins[0];
    assert_eq!(plugin.limits, Limits::default());
    assert_eq!(plugin.body_limit, DEFAULT_BODY);
    assert_eq!(plugin.compat, Compat::SUPERSET);
    assert_eq!(plugin.on_failure, OnFailure::Closed);
    assert_eq!(plugin.engine, Choice::Auto);
    assert_eq!(plugin.tier_up, TierUp::Auto);
    assert_eq!(plugin.isolation, Isolation::Worker);
    assert_eq!(plugin.recycle, None);
    assert!(plugin.configuration.is_empty() && plugin.vm_configuration.is_empty());
    let cluster = &config.clusters[0];
    assert_eq!(cluster.connect_timeout, 5 * SECOND);
    assert_eq!(cluster.idle_timeout, 55 * SECOND);
    assert_eq!(cluster.protocol, Protocol::Http1);
    let check = cluster.health_check.as_ref().expect("asked for");
    let expected = HealthCheck {
        probe: Probe::Connect,
        interval: 5 * SECOND,
        timeout: SECOND,
        healthy_threshold: 1,
        unhealthy_threshold: 1,
    };
    assert_eq!(check, &expected);
}

#[test]
fn calls_of_filters_have_the_documented_defaults_and_settings() {
    let callouts = accept(&with("callouts: {}")).callouts;
    assert!(callouts.tls.is_none(), "nobody may call a server by URL");
    assert_eq!(callouts.connect_timeout, 5 * SECOND);
    assert_eq!(callouts.idle_timeout, 55 * SECOND);
    assert_eq!((callouts.body, callouts.message), (1 << 20, 4 << 20));
    let callouts = accept(FULL).callouts;
    let client = callouts.tls.as_ref().expect("authorities");
    let (client, _) = client.now(Speaks::Http);
    assert_eq!(client.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
    assert_eq!(callouts.connect_timeout, 2 * SECOND);
    assert_eq!(callouts.idle_timeout, 9 * SECOND);
    assert_eq!((callouts.body, callouts.message), (2 << 20, 64 << 10));
}

#[test]
fn what_filters_share_has_the_documented_defaults_and_settings() {
    let config = accept(&with("shared_data: {}\nshared_queues: {}"));
    assert_eq!(config.shared, Bounds::default());
    assert_eq!(config.shared, accept(&with("")).shared);
    assert!(config.admin.is_none());
    let config = accept(FULL);
    let bounds = Bounds {
        entries: 500,
        bytes: 1 << 20,
        eviction: Eviction::Lru,
        ttl: Some(600 * SECOND),
        queues: 5,
        queue_items: 50,
        queue_bytes: 2 << 20,
    };
    assert_eq!(config.shared, bounds);
    let admin = config.admin.as_ref().expect("an admin");
    assert_eq!(admin.address.to_string(), "0.0.0.0:9901");
    assert!(
        admin
            .token
            .as_ref()
            .is_some_and(|token| token.is(b"12345678"))
    );
    let none = accept(&with("shared_data: { eviction: none, ttl: none }"));
    assert_eq!(none.shared.eviction, Eviction::None);
    assert_eq!(none.shared.ttl, None);
}

#[test]
fn listeners_mean_what_they_say() {
    let folder = Folder::new();
    let config = folder.check(FULL).expect("accepted");
    let web = &config.listeners[0];
    let tls = web.tls.as_ref().expect("TLS");
    let settings = tls.settings();
    assert_eq!(settings.pairs.len(), 2);
    let names = settings.pairs[1].names.as_ref().expect("written");
    assert_eq!(names[..], ["backend.internal", "*.test"]);
    let verify = settings.verify.as_ref().expect("asked for");
    assert!(!verify.required && verify.crl.is_some());
    assert_eq!(verify.allowed.0.len(), 5);
    assert_eq!(settings.min_version, MinVersion::Tls13);
    assert_eq!(settings.alpn, [b"http/1.1"]);
    assert_eq!(settings.resumption, Resumption::Store);
    assert!(settings.refuse_unknown);
    assert_eq!(web.forward_client_cert, Mode::AppendForward);
    let details = web.client_cert_details;
    assert!(details.subject && details.uri && !details.cert && !details.chain && !details.dns);
    assert_eq!(web.max_header_bytes, 32 << 10);
    assert_eq!(web.idle_timeout, 120 * SECOND);
    assert_eq!(web.server_header, ServerHeader::IfAbsent);
    let socket = folder.0.join("run/cofferdam.sock");
    assert_eq!(config.listeners[1].address, Address::Unix(socket));
    assert_eq!(config.workers, 3);
    assert_eq!(config.drain_time, 60 * SECOND);
    let log = config.access_log.expect("asked for");
    assert_eq!(log.file, Some(folder.0.join("access.log")));
}

#[test]
fn routes_mean_what_they_say() {
    let config = accept(FULL);
    let routes = &config.listeners[0].routes;
    let first = &routes[0];
    assert_eq!(
        first.matcher.host,
        Some(HostMatch::Suffix(".example.com".to_owned()))
    );
    assert!(matches!(&first.matcher.path, Some(PathMatch::Prefix(path)) if path == "/api"));
    assert_eq!(
        first.matcher.methods,
        [http::Method::GET, http::Method::HEAD]
    );
    let values: Vec<_> = first
        .matcher
        .headers
        .iter()
        .map(|header| &header.value)
        .collect();
    assert!(matches!(
        values[..],
        [
            ValueMatch::Exact(_),
            ValueMatch::Present(false),
            ValueMatch::Exact(_),
            ValueMatch::Prefix(_),
            ValueMatch::Regex(_),
        ]
    ));
    let Action::Forward {
        clusters,
        prefix_rewrite,
        host_rewrite,
    } = &first.action
    else {
        panic!("{:?}", first.action);
    };
    assert_eq!(*clusters, [(0, 1)]);
    assert_eq!(prefix_rewrite.as_deref(), Some("/"));
    assert_eq!(host_rewrite.as_deref(), Some("internal.example.com:8443"));
    assert_eq!(first.request_headers.remove, ["x-secret"]);
    assert_eq!(first.request_headers.set[1].1, "7");
    assert_eq!(first.request_headers.add.len(), 3);
    assert_eq!(first.response_headers.set.len(), 1);
    assert_eq!(
        (first.timeout, first.idle_timeout),
        (None, Some(30 * SECOND))
    );
    assert!(!first.upgrades);

    assert!(matches!(&routes[1].action, Action::Forward { clusters, .. }
        if *clusters == [(0, 9), (1, 1)]));
    let Some(PathMatch::Regex(regex)) = &routes[2].matcher.path else {
        panic!("no regex")
    };
    assert!(regex.is_match("/v1/x") && !regex.is_match("/x/v1/x"));
    assert!(
        matches!(&routes[2].action, Action::Redirect { status, scheme: Some(_), .. }
        if status.as_u16() == 308)
    );
    assert!(matches!(&routes[3].action, Action::Respond { status, body }
        if status.as_u16() == 404 && body == "no route\n"));
}

#[test]
fn filters_mean_what_they_say() {
    let folder = Folder::new();
    let config = folder.check(FULL).expect("accepted");
    let plugin = |name: &str| {
        config
            .plugins
            .iter()
            .find(|plugin| plugin.name == name)
            .expect("there")
    };
    let add = plugin("add-header");
    assert_eq!(add.file, folder.0.join("filters/a.wasm"));
    assert_eq!(add.configuration, "a text as it is");
    assert_eq!(add.vm_configuration, r#"{"verbose":true}"#);
    assert_eq!(
        (add.root_id.as_str(), add.vm_id.as_str()),
        ("add", "shared")
    );
    assert_eq!(add.environment[1], ("PORT".to_owned(), "8080".to_owned()));
    assert_eq!(add.on_failure, OnFailure::Open);
    assert_eq!(add.engine, Choice::Aot);
    assert_eq!(add.tier_up, TierUp::OnReload);
    assert_eq!(add.isolation, Isolation::Request);
    assert_eq!(add.recycle, Some(8 << 20));
    assert_eq!(config.ready_needs, ["add-header", "audit"]);
    assert_eq!(config.filter_drain_time, 90 * SECOND);
    assert!(config.no_exec_memory && config.compact_memory);
    assert_eq!(add.limits.callback, Duration::from_millis(50));
    assert_eq!(
        (add.limits.memory, add.limits.table, add.limits.stack),
        (16 << 20, 500, 600 << 10)
    );
    assert_eq!((add.limits.callouts, add.limits.metrics), (70, 80));
    assert_eq!(add.limits.stream_cpu, Some(Duration::from_secs(3)));
    assert_eq!((add.limits.fuel, add.limits.log), (Some(1_000), Some(2048)));
    assert_eq!(add.limits.shared_entries, 90);
    assert_eq!(add.body_limit, 10_000_000);
    let mut compat = Compat::ENVOY;
    compat.splice_body = true;
    compat.proc_exit_traps = true;
    compat.reject_smuggling = true;
    assert_eq!(add.compat, compat);
    assert!(add.allow_on_headers_stop_iteration);
    let allowed = &add.capabilities;
    for (name, is_allowed) in [
        ("proxy_log", true),
        ("fd_write", true),
        ("fd_close", false),
        ("proxy_done", false),
    ] {
        assert_eq!(allowed.allows_hostcall(name), is_allowed, "{name}");
    }
    assert!(allowed.allows_callback(Callback::Log) && !allowed.allows_callback(Callback::Done));
    assert!(
        allowed.allows_shared(b"other") && allowed.allows_shared(b"shared"),
        "and its own"
    );
    assert!(!allowed.allows_shared(b"third"));
    let url = |text| Target::parse_url(text).expect("a URL");
    assert!(allowed.allows_callout(&Target::Cluster("backend".into())));
    assert!(!allowed.allows_callout(&Target::Cluster("canary".into())));
    assert!(allowed.allows_callout(&url("https://api.example.com:443")));
    assert!(!allowed.allows_callout(&url("http://api.example.com")));
    assert_eq!(*plugin("audit").capabilities, Capabilities::default());
    assert_eq!(add.trailers, ["x-checksum"]);
    assert_eq!(add.yaml_path, "filters[0]");
    assert_eq!(add.position, "test.yaml:92:5");
    assert_eq!(
        plugin("audit").configuration,
        r#"[1,2.5,-3,null,{"b":"x","a":true}]"#
    );
    assert_eq!(plugin("audit").compat, Compat::SPEC);
    // One file, read once: both filters see the same bytes.
    assert_eq!(add.wasm.as_ptr(), plugin("greet").wasm.as_ptr());
}

#[test]
fn clusters_mean_what_they_say() {
    let config = accept(FULL);
    let cluster = &config.clusters[0];
    let endpoints: Vec<_> = cluster
        .endpoints
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.address, endpoint.weight))
        .collect();
    let expected = [
        "127.0.0.1:9000 1",
        "[::1]:9001 5",
        "both:9002 1",
        "six:9003 1",
    ];
    assert_eq!(endpoints, expected);
    assert_eq!(cluster.dns_family, Family::All);
    let dns = Dns {
        servers: vec![
            ([10, 0, 0, 2], 53).into(),
            "[::1]:5353".parse().expect("one"),
        ],
        timeout: Duration::from_secs(2),
        min_ttl: Duration::from_secs(1),
        max_ttl: Duration::from_secs(60),
    };
    assert_eq!((&*config.dns, &*config.callouts.dns), (&dns, &dns));
    assert_eq!(cluster.protocol, Protocol::Http2);
    assert_eq!(cluster.proxy_protocol, Some(ProxyVersion::V2));
    assert_eq!(config.clusters[1].proxy_protocol, None);
    let tls = cluster.tls.as_ref().expect("TLS");
    let settings = tls.tls.settings();
    assert_eq!(settings.alpn, [b"h2"]);
    assert_eq!(settings.min_version, MinVersion::Tls13);
    assert!(settings.pair.is_some() && !settings.resumption);
    assert_eq!(settings.allowed.0.len(), 2);
    assert_eq!(cluster.connect_timeout, Duration::from_millis(250));
}

#[test]
fn short_forms_are_accepted() {
    let config = accept(&with("access_log: stdout"));
    assert!(config.access_log.expect("asked for").file.is_none());
    for log in ["{}", "{ file: stdout }", "{ format: 'x %RESPONSE_CODE%' }"] {
        let config = accept(&with(&format!("access_log: {log}")));
        assert!(
            config.access_log.expect("asked for").file.is_none(),
            "{log}"
        );
    }
    for route in [
        "match: { path: '*', method: OPTIONS }, respond: {}",
        "match: { host: '[::1]' }, cluster: c",
        "match: { host: localhost, regex: '(?i)/A+' }, cluster: c, timeout: 0",
        "match: { method: PURGE }, redirect: { path: / }",
        "match: { path: /a }, cluster: c, prefix_rewrite: /b, idle_timeout: 0",
        "weighted_clusters: [{ cluster: c, weight: 0 }, { cluster: d, weight: 1000000 }]",
    ] {
        accept(&with_route(route));
    }
}

#[test]
fn hosts_are_kept_as_they_are_compared() {
    for (host, expected) in [
        ("Example.COM.", HostMatch::Exact("example.com".to_owned())),
        (
            "*.Example.com",
            HostMatch::Suffix(".example.com".to_owned()),
        ),
        ("127.0.0.1", HostMatch::Exact("127.0.0.1".to_owned())),
        ("[::1]", HostMatch::Exact("[::1]".to_owned())),
    ] {
        let config = accept(&with_route(&format!(
            "match: {{ host: '{host}' }}, respond: {{}}"
        )));
        assert_eq!(
            config.listeners[0].routes[0].matcher.host,
            Some(expected),
            "{host}"
        );
    }
}

#[test]
fn two_listeners_may_both_leave_the_port_to_the_system() {
    accept(
        "listeners:\n\
         - { name: a, address: '127.0.0.1:0', routes: [{ respond: {} }] }\n\
         - { name: b, address: '127.0.0.1:0', routes: [{ respond: {} }] }\n",
    );
}

#[test]
fn the_top_level_compat_is_where_filters_start() {
    let config = accept(&with(
        "compat: { preset: spec, old_property_names: 'on' }\n\
         filters:\n\
         - { name: f, module: { file: filters/a.wasm } }\n\
         - { name: g, module: { file: filters/a.wasm }, compat: { link: union } }\n\
         - { name: h, module: { file: filters/a.wasm }, compat: envoy }",
    ));
    let mut expected = Compat::SPEC;
    expected.old_property_names = true;
    assert_eq!(config.plugins[0].compat, expected);
    expected.link_union = true;
    assert_eq!(config.plugins[1].compat, expected);
    assert_eq!(config.plugins[2].compat, Compat::ENVOY);
}

#[test]
fn anchors_and_merges_work() {
    let config = accept(
        "listeners:\n\
         - &one { name: a, address: '127.0.0.1:81', idle_timeout: 7s, routes: &r [{ respond: {} }] }\n\
         - { <<: *one, name: b, address: '127.0.0.1:82' }\n\
         - { name: c, address: '127.0.0.1:83', routes: *r }\n",
    );
    assert_eq!(config.listeners[1].name, "b");
    assert_eq!(config.listeners[1].idle_timeout, 7 * SECOND);
    assert_eq!(config.listeners[2].routes.len(), 1);
}

#[test]
fn durations_and_sizes_read_back_as_written() {
    for text in ["0", "1ms", "1500ms", "30s", "90s", "5m", "1h", "25h", "1d"] {
        let duration = parse_duration(text).expect(text);
        assert_eq!(
            parse_duration(&duration_text(duration)),
            Some(duration),
            "{text}"
        );
    }
    for (text, bytes) in [("0", 0), ("17", 17), ("1KiB", 1024), ("10MB", 10_000_000)] {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
        assert_eq!(parse_size(&size_text(bytes)), Some(bytes), "{text}");
    }
    for text in [
        "",
        "s",
        "1",
        "-1s",
        "1.5s",
        "1 week",
        "1S",
        "99999999999999999999s",
        "1µs",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
    for text in [
        "",
        "B",
        "-1",
        "1.5MiB",
        "1Mib",
        "99999999999999999999",
        "18446744073709551615KB",
    ] {
        assert_eq!(parse_size(text), None, "{text}");
    }
}
