//! Properties: paths, encodings, and what filters store.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_abi::property::{Node, ProtoKind, ProtoStruct, ProtoValue};
use cofferdam_abi::testing::{self, Guest, map};
use cofferdam_abi::{Attributes, Chain, Compat, Exchange, FilterState, Value, Way};

use crate::world::{Drive, Engine, Look, PRESETS, Setup};

/// One of each kind.
struct Kinds;

impl Attributes for Kinds {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        Some(match path {
            [b"k", b"text"] => Value::text("hello"),
            [b"k", b"empty"] => Value::text(""),
            [b"k", b"int"] => Value::Int(-2),
            [b"k", b"uint"] => Value::Uint(0x0102),
            [b"k", b"true"] => Value::Bool(true),
            [b"k", b"false"] => Value::Bool(false),
            [b"k", b"time"] => Value::Timestamp(Duration::from_nanos(0x0304)),
            [b"k", b"duration"] => Value::Duration(Duration::from_nanos(0x0506)),
            [b"k", b"map"] => Value::Map(vec![("a".into(), "1".into())]),
            [b"k", b"none"] => Value::Map(vec![]),
            [b"k", b"whole"] => Value::Unserialisable,
            [b"connection", b"id"] => Value::Uint(77),
            [b"xds", b"route_name"] => Value::text("route"),
            [b"request", b"path"] => Value::text("never asked"),
            [b"request", b"size" | b"total_size"] => Value::Int(5),
            _ => return None,
        })
    }
}

/// Filters of one connection.
struct OnConnection(Rc<RefCell<FilterState>>);

impl Attributes for OnConnection {
    fn attribute(&self, _path: &[&[u8]]) -> Option<Value> {
        None
    }

    fn connection_state(&self) -> Option<&RefCell<FilterState>> {
        Some(&self.0)
    }
}

/// Counts how often it is asked.
struct Asked(Rc<RefCell<usize>>);

impl Attributes for Asked {
    fn attribute(&self, _path: &[&[u8]]) -> Option<Value> {
        *self.0.borrow_mut() += 1;
        None
    }
}

fn node() -> Arc<Node> {
    let kind = Some(ProtoKind::StringValue("v".to_owned()));
    let fields = [("k".to_owned(), ProtoValue { kind })].into();
    Arc::new(Node {
        id: "me".to_owned(),
        metadata: Some(ProtoStruct { fields }),
        ..Node::default()
    })
}

/// Status and bytes of one property during a request.
fn get(engine: Engine, compat: Compat, path: &str) -> (String, Vec<u8>) {
    let source = format!(
        "on request_headers
        (i32.store #16 #0) (i32.store #20 #0)
        (!say (!get_property {{\"{path}\"}} @out))
        (drop (!set_property {{\"result\"}} (i32.load #16) (i32.load #20)))"
    );
    let guest = engine.load(Setup::compat(compat), &source).expect("loads");
    let headers = map(&[
        (":authority", "test"),
        (":path", "/p/q?a=1&b#frag"),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "me"),
        ("referer", "ref"),
        ("x-request-id", "id"),
        ("x-a", "1"),
        ("x-a", "2"),
    ]);
    let exchange = Exchange::new(headers, Box::new(Kinds)).share();
    let mut chain = Chain::begin(exchange.clone(), [guest.handle()], false);
    chain.headers(Way::Request, true);
    let value = exchange
        .borrow()
        .filter_state
        .value(b"result")
        .map(|value| value.to_vec());
    (guest.logs().join(" "), value.unwrap_or_default())
}

fn found(engine: Engine, path: &str) -> Vec<u8> {
    let (status, value) = get(engine, Compat::SUPERSET, path);
    assert_eq!(status, "0", "{path}");
    value
}

fn status(engine: Engine, path: &str) -> String {
    get(engine, Compat::SUPERSET, path).0
}

fn run(guest: &Guest) -> Vec<String> {
    guest.get()
}

each_engine! {
    fn a_path_of_many_parts_is_not_asked_for_part_by_part(engine) {
        let guest = engine.load(Setup::default(), "on request_headers
            (!say (!get_property #4096 #2000 @out))").expect("loads");
        let asked = Rc::new(RefCell::new(0));
        let attributes = Box::new(Asked(asked.clone()));
        let exchange = Exchange::new(map(&[(":path", "/")]), attributes).share();
        Chain::begin(exchange, [guest.handle()], false).headers(Way::Request, true);
        assert_eq!(guest.logs(), ["1"]);
        assert!((1..=6).contains(&*asked.borrow()), "{asked:?} for 1,999 parts");
    }

    fn every_kind_has_its_encoding(engine) {
        for (path, bytes) in [
            ("text", &b"hello"[..]),
            ("empty", b""),
            ("int", b"\xfe\xff\xff\xff\xff\xff\xff\xff"),
            ("uint", b"\x02\x01\0\0\0\0\0\0"),
            ("true", b"\x01"),
            ("false", b"\0"),
            ("time", b"\x04\x03\0\0\0\0\0\0"),
            ("duration", b"\x06\x05\0\0\0\0\0\0"),
            ("map", b"\x01\0\0\0\x01\0\0\0\x01\0\0\0a\x001\0"),
            ("none", b"\0\0\0\0"),
        ] {
            assert_eq!(found(engine, &format!("k\\00{path}")), bytes, "{path}");
        }
        assert_eq!(status(engine, "k\\00whole"), "3");
    }

    fn requests_have_their_properties(engine) {
        for (path, value) in [
            ("path", "/p/q?a=1&b#frag"), ("url_path", "/p/q"), ("query", "a=1&b"), ("host", "test"),
            ("scheme", "http"), ("method", "GET"), ("referer", "ref"), ("useragent", "me"), ("id", "id"),
            ("headers\\00x-a", "1,2"), ("headers\\00X-A", "1,2"), ("headers\\00:path", "/p/q?a=1&b#frag"), ("headers\\00Host", "test"),
        ] {
            assert_eq!(found(engine, &format!("request\\00{path}")), value.as_bytes(), "{path}");
        }
        // Lengths of all names and values.
        assert_eq!(found(engine, "request\\00headers_bytes"), 99_u64.to_le_bytes());
    }

    fn queries_are_cut_as_envoy_cuts_them(engine) {
        let guest = engine.guest("on request_headers
            (drop (!replace_header_map_value #0 {\":path\"} {\"/x#f?q\"}))
            (!say (!get_property {\"request\\00query\"} @out)) (!show)
            (drop (!get_property {\"request\\00url_path\"} @out)) (!show)
            (drop (!remove_header_map_value #0 {\":path\"}))
            (!say (!get_property {\"request\\00query\"} @out)) (!say (!get_property {\"request\\00path\"} @out))");
        assert_eq!(run(&guest), ["0", "q", "/x#f", "0", "1"]);
    }

    fn all_headers_are_a_map_of_distinct_names(engine) {
        let bytes = found(engine, "request\\00headers");
        assert_eq!(bytes[..4], 8_u32.to_le_bytes());
        assert!(bytes.windows(8).any(|window| window == b"x-a\x001,2\0"));
    }

    fn paths_that_are_none_answer_as_the_table_says(engine) {
        for (path, answer) in [
            ("request", "3"), ("request\\00", "3"), ("response", "3"), ("filter_state", "3"),
            ("request.path", "1"), ("REQUEST\\00path", "1"), ("request\\00PATH", "1"), ("nope", "1"),
            ("request\\00path\\00more", "1"), ("request\\00headers\\00nope", "1"), ("request\\00headers\\00x-a\\00b", "1"),
            ("\\00", "1"), ("response\\00", "3"), ("request\\00path\\00\\00", "1"), ("\\00\\00request\\00path", "1"), ("response\\00headers\\00x", "1"), ("k\\00", "1"), ("k\\00text\\00", "0"), ("request\\00path\\00", "0"), (" ", "1"),
        ] {
            assert_eq!(status(engine, path), answer, "{path}");
        }
        let guest = engine.guest("on request_headers\n (!say (!get_property #0 #0 @out)) (!say (!get_property #-1 #0 @out))
            on tick\n (!say (!get_property #0 #0 @out))");
        assert_eq!(run(&guest), ["3", "6"]);
        assert_eq!(guest.tick(), ["3"]);
    }

    fn a_status_that_is_not_0_touches_nothing(engine) {
        let guest = engine.guest("on request_headers
            (i32.store #16 #98) (i32.store #20 #99)
            (!say (!get_property {\"nope\"} @out)) (!say (!get_property {\"request\"} @out))
            (!say (i32.load #16)) (!say (i32.load #20))");
        assert_eq!(run(&guest), ["1", "3", "98", "99"]);
    }

    fn a_path_longer_than_any_name_is_not_found(engine) {
        let guest = engine.guest("on request_headers
            (drop (memory.grow #20)) (!say (!get_property #200000 #1000000 @out))");
        assert_eq!(run(&guest), ["1"]);
    }

    fn responses_have_their_properties_from_their_headers_on(engine) {
        let read = "(!say (!get_property {\"response\\00headers\\00x-up\"} @out))
            (drop (!get_property {\"response\\00headers_bytes\"} @out)) (!say (i32.load (i32.load #16)))
            (!say (!get_property {\"response\\00headers\"} @out)) (!say (i32.load #20))
            (!say (!get_property {\"request\\00method\"} @out))";
        let guest = engine.guest(&format!("on request_headers\n {read}\non response_headers\n {read}
            on response_trailers\n (!say (!get_property {{\"response\\00trailers\\00t\"}} @out)) (!show)"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(guest.logs(), ["1", "0", "0", "4", "0"]);
        chain.respond(false);
        assert_eq!(guest.logs(), ["0", "15", "0", "39", "0"]);
        chain.trailers(Way::Response, &[("t", "v")]);
        assert_eq!(guest.logs(), ["0", "v"]);
    }

    fn sizes_and_codes_are_made_of_maps_where_those_say_them(engine) {
        // No content-length: what has come so far; in all, with the headers.
        assert_eq!(found(engine, "request\\00size"), 5_u64.to_le_bytes());
        assert_eq!(found(engine, "request\\00total_size"), 104_u64.to_le_bytes());
        let read = "(!say (!get_property {\"request\\00size\"} @out))
            (!say (!get_property {\"response\\00code\"} @out))
            (!say (!get_property {\"response\\00grpc_status\"} @out))";
        let value = "(!say (i32.load (i32.load #16)))";
        let guest = engine.guest(&format!("on request_headers\n
            (drop (!add_header_map_value #0 {{\"content-length\"}} {{\"7\"}})) {read}\n
            (drop (!get_property {{\"request\\00size\"}} @out)) {value}
            on response_headers\n {read} {value}"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert_eq!(guest.logs(), ["0", "1", "1", "7"]);
        chain.respond(false);
        // 200 without a grpc-status is unknown to gRPC.
        assert_eq!(guest.logs(), ["0", "0", "0", "2"]);
    }

    fn what_the_embedder_knows_is_asked_of_it(engine) {
        assert_eq!(found(engine, "connection\\00id"), 77_u64.to_le_bytes());
        assert_eq!(found(engine, "xds\\00route_name"), b"route");
        assert_eq!(found(engine, "request\\00path"), b"/p/q?a=1&b#frag", "not of this one");
        for compat in PRESETS {
            assert_eq!(get(engine, compat, "connection_id").0, "0");
        }
    }

    fn old_names_answer_in_the_superset_only(engine) {
        assert_eq!(found(engine, "route_name"), b"route");
        assert_eq!(get(engine, Compat::ENVOY, "route_name").0, "1");
        assert_eq!(get(engine, Compat::SPEC, "route_name").0, "1");
        assert_eq!(status(engine, "cluster_name"), "1");
        let read = "(!say (!get_property {\"node\\00id\"} @out))";
        for (compat, answer) in [(Compat::SUPERSET, "0"), (Compat::ENVOY, "1"), (Compat::SPEC, "1")] {
            let guest = engine.load(Setup::compat(compat), &format!("on tick\n {read}")).expect("loads");
            guest.host.node.replace(Some(node()));
            assert_eq!(guest.tick(), [answer]);
        }
    }

    fn a_node_is_known_to_roots_and_streams(engine) {
        let read = |path: &str| format!("(!say (!get_property {{\"xds\\00node{path}\"}} @out)) (!show)");
        let all = ["\\00id", "\\00cluster", "\\00metadata\\00k", "\\00user_agent_version"].map(read).concat();
        let rest = "(!say (!get_property {\"xds\\00node\\00nope\"} @out)) (!say (!get_property {\"xds\\00node\\00metadata\\00nope\"} @out))
            (!say (!get_property {\"xds\\00node\\00id\\00more\"} @out)) (!say (!get_property {\"xds\"} @out)) (!say (!get_property {\"node\\00id\"} @out))
            (!say (!get_property {\"xds\\00node\"} @out)) (!say (i32.load #20))";
        let guest = engine.guest(&format!("on tick\n {all} {rest}\non request_headers\n {all} {rest}"));
        let none = ["1", "", "1", "", "1", "", "1", ""];
        assert_eq!(guest.tick()[..8], none);
        guest.host.node.replace(Some(node()));
        let seen = ["0", "me", "0", "", "0", "v", "0", "", "1", "1", "1", "3", "0", "0", "16"];
        assert_eq!(guest.tick(), seen);
        assert_eq!(guest.get(), seen);
    }

    fn values_of_a_connection_outlive_the_request(engine) {
        // declare_property: name, span 2 (downstream connection); read-only as well.
        let guest = engine.guest("on configure
            (drop (!call_foreign_function {\"declare_property\"} {\"\\0a\\01c\\28\\02\"} #0 #0))
            (drop (!call_foreign_function {\"declare_property\"} {\"\\0a\\01o\\10\\01\\28\\02\"} #0 #0))
            on request_headers
            (drop (!get_property {\"c\"} @out)) (!say (!get_property {\"c\"} @out)) (!say (!get_property {\"r\"} @out))
            (!say (!get_property {\"filter_state\\00wasm.c\"} @out))
            (!say (!set_property {\"c\"} {\"1\"})) (!say (!set_property {\"r\"} {\"1\"})) (!say (!set_property {\"o\"} {\"1\"}))");
        let connection = Rc::new(RefCell::new(FilterState::default()));
        let request = || {
            let exchange = Exchange::new(map(&[(":path", "/")]), Box::new(OnConnection(connection.clone())));
            let mut chain = Chain::begin(exchange.share(), [guest.handle()], false);
            chain.headers(Way::Request, true);
            guest.logs()
        };
        assert_eq!(request(), ["1", "1", "1", "0", "0", "0"]);
        assert_eq!(request(), ["0", "1", "0", "0", "0", "2"]);
        assert_eq!(connection.borrow().value(b"c").map(|value| &value[..]), Some(&b"1"[..]));
        // A stream whose embedder has no such place keeps them itself.
        assert_eq!(guest.get(), ["1", "1", "1", "0", "0", "0"]);
    }

    fn request_properties_go_with_their_headers_where_envoy_says_so(engine) {
        let read = "(!say (!get_property {\"request\\00path\"} @out)) (!say (!get_property {\"request\\00headers\"} @out)) (!say (i32.load #20))";
        for (compat, after) in [(Compat::SUPERSET, "0"), (Compat::SPEC, "0"), (Compat::ENVOY, "1")] {
            let guest = engine.load(Setup::compat(compat), &format!("on request_headers\n {read}\non response_headers\n {read}\non log\n {read}")).expect("loads");
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            let there = guest.logs();
            assert_eq!(there[0], "0");
            chain.respond(true);
            let now = guest.logs();
            assert_eq!(now[0], after);
            assert_eq!(now[2] == there[2], after == "0", "an empty map: {now:?}");
            chain.end();
            assert_eq!(guest.logs(), there, "and back in the log");
        }
    }

    fn what_is_set_is_read_back_by_its_one_name(engine) {
        let guest = engine.guest("on request_headers
            (!say (!set_property {\"my.key\"} {\"v\"})) (!say (!get_property {\"my.key\"} @out)) (!show)
            (!say (!get_property {\"filter_state\\00wasm.my.key\"} @out)) (!show)
            (!say (!get_property {\"filter_state\\00my.key\"} @out))
            (!say (!set_property {\"my\\00key\"} {\"v\"})) (!say (!get_property {\"my\\00key\"} @out))
            (!say (!set_property {\"my.key\"} #0 #0)) (!say (!get_property {\"my.key\"} @out)) (!say (i32.load #20))");
        assert_eq!(run(&guest), ["0", "0", "v", "0", "v", "1", "0", "1", "0", "0", "0"]);
    }

    fn what_is_built_in_is_shadowed_by_nothing(engine) {
        let guest = engine.guest("on request_headers
            (!say (!set_property {\"request\\00path\"} {\"/evil\"})) (!say (!set_property {\"plugin_name\"} {\"evil\"}))
            (drop (!get_property {\"request\\00path\"} @out)) (!show)
            (!say (!get_property {\"plugin_name\"} @out)) (!say (i32.load #20))");
        assert_eq!(run(&guest), ["0", "0", "/path?q=1", "0", "0"]);
    }

    fn a_root_can_set_nothing_and_sees_only_itself(engine) {
        let guest = engine.guest("on tick
            (!say (!set_property {\"a\"} {\"b\"})) (!say (!get_property {\"a\"} @out))
            (!say (!get_property {\"request\\00path\"} @out)) (!say (!get_property {\"request\"} @out))
            (!say (!get_property {\"plugin_root_id\"} @out))");
        assert_eq!(guest.tick(), ["1", "1", "1", "1", "0"]);
    }

    fn what_one_filter_sets_the_next_one_sees_and_the_next_request_does_not(engine) {
        let source = "on request_headers
            (if (i32.eqz (!get_property {\"a\"} @out)) (then (!show)) (else (!say #1)))
            (drop (!set_property {\"a\"} {\"b\"}))";
        let (first, second) = (engine.guest(source), engine.guest(source));
        for _ in 0..2 {
            let mut chain = Chain::begin(testing::get(), [first.handle(), second.handle()], false);
            chain.headers(Way::Request, true);
            assert_eq!((first.logs(), second.logs()), (vec!["1".to_owned()], vec!["b".to_owned()]));
        }
    }

    fn bad_pointers_answer_6(engine) {
        let guest = engine.guest("on request_headers
            (!say (!get_property #-1 #1 @out)) (!say (!get_property #131072 #1 @out))
            (!say (!get_property {\"plugin_name\"} #-1 #20)) (!say (!get_property {\"plugin_name\"} #16 #131069))
            (!say (!set_property #-1 #1 {\"v\"})) (!say (!set_property {\"k\"} #131071 #2))
            (!say (!get_property {\"k\"} @out))");
        assert_eq!(run(&guest), ["6", "6", "6", "6", "6", "6", "1"]);
    }
}
