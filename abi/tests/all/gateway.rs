//! Marker 0.2.100: what guests of other gateways have besides the specification.

use std::cell::RefCell;
use std::rc::Rc;

use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{AbiVersion, Attributes, Chain, Compat, Exchange, Module, Value, Way};

use crate::guest::{Shape, module};
use crate::world::{Drive, Engine, Look, Setup};

const MARKER: &str = "proxy_abi_version_0_2_100";
/// Hostcalls of that marker alone.
const IMPORTS: &str = "imports
    (import \"env\" \"proxy_inject_encoded_data_to_filter_chain\" (func $inject (param i32 i32 i32) (result i32)))
    (import \"env\" \"proxy_get_upstream_hosts\" (func $hosts (param i32 i32) (result i32)))
    (import \"env\" \"proxy_set_upstream_override_host\" (func $aim (param i32 i32) (result i32)))\n";

fn load(engine: Engine, source: &str) -> Guest {
    engine
        .load(Setup::version(MARKER), &format!("{IMPORTS}{source}"))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A response that has begun; what may leave of it.
fn responding(guest: &Guest, end: bool) -> (Chain, Vec<String>) {
    let mut chain = guest.chain();
    chain.headers(Way::Request, true);
    let out = chain.respond(end);
    (chain, out)
}

/// Ticks, and what then may leave.
fn tick(guest: &Guest, chain: &mut Chain) -> Vec<String> {
    let ticked = guest.vm.borrow_mut().tick(guest.root);
    ticked.unwrap_or_else(|trap| panic!("{trap}"));
    chain.poll();
    chain.out(Way::Response)
}

/// A cluster of two, and what was chosen of it.
#[derive(Debug, Clone, Default)]
struct Cluster {
    chosen: Rc<RefCell<Vec<String>>>,
    unknown: bool,
}

impl Attributes for Cluster {
    fn attribute(&self, _path: &[&[u8]]) -> Option<Value> {
        None
    }

    fn upstream_hosts(&self) -> Option<Vec<String>> {
        (!self.unknown).then(|| vec!["127.0.0.1:80".to_owned(), "[::1]:81".to_owned()])
    }

    fn override_upstream(&self, address: &str) -> bool {
        self.chosen.borrow_mut().push(address.to_owned());
        address != "bad"
    }
}

fn through(guest: &Guest, cluster: &Cluster) -> Chain {
    let headers = testing::map(&[(":method", "GET"), (":path", "/")]);
    let exchange = Exchange::new(headers, Box::new(cluster.clone())).share();
    Chain::begin(exchange, [guest.handle()], false)
}

each_engine! {
    fn the_marker_loads_and_is_refused_where_only_standard_ones_are(engine) {
        let source = "on request_headers\n (!say #1)";
        assert_eq!(load(engine, source).get(), ["1"]);
        let wat = module(source, Shape { marker: MARKER, ..Shape::default() });
        let parsed = Module::parse(wat::parse_str(&wat).expect("WAT").into()).expect("a module");
        assert_eq!((parsed.version, parsed.version.as_str()), (AbiVersion::V0_2_100, "0.2.100"));
        for compat in [Compat::ENVOY, Compat::SPEC] {
            let error = engine.wat(Setup::compat(compat), &wat).expect_err("refused");
            assert_eq!(error.to_string(), "not a usable module: proxy_abi_version_0_2_100 is no version of the \
                specification (`compat.link: union` allows it)");
        }
    }

    fn a_standard_marker_beside_it_counts(engine) {
        let wat = "(module (func (export \"proxy_abi_version_0_2_100\")) (func (export \"proxy_abi_version_0_2_1\")))";
        for compat in crate::world::PRESETS {
            engine.wat(Setup::compat(compat), wat).expect("loads");
        }
        let parsed = Module::parse(wat::parse_str(wat).expect("WAT").into()).expect("a module");
        assert_eq!(parsed.version, AbiVersion::V0_2_1);
    }

    fn answer_1_of_a_header_callback_holds_the_headers_only(engine) {
        let guest = load(engine, "on request_headers\n (return #1)
            on request_body\n (!say (local.get $b)) (return (i32.eqz (local.get $c)))");
        let mut chain = guest.chain();
        assert!(chain.headers(Way::Request, false).is_empty());
        assert!(chain.data(Way::Request, "ab", false).is_empty());
        assert_eq!(guest.logs(), ["2"], "the body is shown although the headers are held");
        assert_eq!(chain.data(Way::Request, "c", true), ["headers", "data:abc."]);
        // The same guest under a standard marker holds all.
        let guest = engine.guest("on request_headers\n (return #1)\non request_body\n (!say (local.get $b))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "ab", true);
        assert!(guest.logs().is_empty());
    }

    fn the_other_answers_are_those_of_the_table(engine) {
        for (answer, leaves) in [(0, true), (2, true), (3, false), (4, false), (5, false)] {
            let guest = load(engine, &format!("on request_headers\n (return #{answer})\non request_body\n (!say #9)"));
            let mut chain = guest.chain();
            assert_eq!(chain.headers(Way::Request, false).len() == 1, leaves, "{answer}");
            chain.data(Way::Request, "a", true);
            assert_eq!(guest.logs().len() == 1, leaves, "{answer}");
        }
        for (answer, sizes, out) in [
            (0, "1 2", "data:a data:bc."), (1, "1 3", "data:abc."), (2, "1 2", "data:abc."), (3, "1 2", "data:bc."),
        ] {
            let guest = load(engine, &format!("on request_body
                (!say (local.get $b)) (if (i32.eqz (local.get $c)) (then (return #{answer})))"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            let mut left = chain.data(Way::Request, "a", false);
            left.extend(chain.data(Way::Request, "bc", true));
            assert_eq!((guest.logs().join(" "), left.join(" ")), (sizes.to_owned(), out.to_owned()), "{answer}");
        }
    }

    fn bytes_are_put_into_a_response_that_is_held(engine) {
        let guest = load(engine, "on response_headers\n (global.set $g (local.get $a)) (return #4)
            on response_body\n (!say #99)
            on tick
            (drop (!set_effective_context (global.get $g)))
            (global.set $h (i32.add (global.get $h) #1))
            (if (i32.eq (global.get $h) #1) (then
                (!say (!inject {\"one \"} #0)) (!say (!inject {\"two\"} #0))))
            (if (i32.eq (global.get $h) #2) (then (!say (!inject {\"two\"} #0))))
            (if (i32.eq (global.get $h) #3) (then (!say (!inject {\".\"} #1)) (!say (!inject {\"x\"} #0))))
            (if (i32.eq (global.get $h) #4) (then (!say (!inject {\"late\"} #1))))");
        let (mut chain, out) = responding(&guest, false);
        assert!(out.is_empty() && chain.data(Way::Response, "from upstream", false).is_empty());
        assert_eq!(tick(&guest, &mut chain), ["headers", "data:one two"]);
        assert!(chain.changed_body(Way::Response), "the length is another now");
        assert_eq!(tick(&guest, &mut chain), ["data:two"], "the same again is not once");
        assert!(chain.data(Way::Response, "more", false).is_empty(), "what is held stays held");
        assert_eq!(tick(&guest, &mut chain), ["data:.."]);
        assert!(chain.data(Way::Response, "dropped", true).is_empty());
        assert!(tick(&guest, &mut chain).is_empty(), "nothing comes behind the end");
        assert_eq!(guest.logs(), ["0", "0", "0", "0", "2", "0"]);
    }

    fn what_was_held_goes_on_behind_injected_bytes(engine) {
        let guest = load(engine, "on response_headers\n (global.set $g (local.get $a)) (return #4)
            on response_body\n (!say (local.get $b)) (!say (local.get $c))
            on tick
            (drop (!set_effective_context (global.get $g)))
            (if (global.get $h) (then (drop (!continue_stream #1)) (return)))
            (global.set $h #1)
            (drop (!inject {\"first \"} #0))");
        let (mut chain, _) = responding(&guest, false);
        chain.data(Way::Response, "second", true);
        assert_eq!(tick(&guest, &mut chain), ["headers", "data:first "]);
        assert_eq!(tick(&guest, &mut chain), ["data:second."]);
        assert_eq!(guest.logs(), ["6", "1"]);

        // A response without a body gets one, and its end when it is let go.
        let guest = load(engine, "on response_headers\n (global.set $g (local.get $a)) (return #3)
            on tick
            (drop (!set_effective_context (global.get $g)))
            (if (global.get $h) (then (drop (!continue_stream #1)) (return)))
            (global.set $h #1)
            (drop (!inject {\"body\"} #0))");
        let (mut chain, out) = responding(&guest, true);
        assert!(out.is_empty());
        assert!(!chain.sees_body(Way::Response), "it has no callback for it");
        assert_eq!(tick(&guest, &mut chain), ["headers", "data:body"]);
        assert!(chain.sees_body(Way::Response), "but has changed it");
        assert_eq!(tick(&guest, &mut chain), ["data:."]);
    }

    fn bytes_injected_in_a_body_callback_go_before_what_it_lets_go(engine) {
        let guest = load(engine, "on response_body
            (drop (!inject {\"<\"} (i32.eq (local.get $b) #3)))
            (if (i32.eq (local.get $b) #2) (then (return #3)))");
        let (mut chain, out) = responding(&guest, false);
        assert_eq!(out, ["headers"]);
        assert_eq!(chain.data(Way::Response, "a", false), ["data:<", "data:a"]);
        assert_eq!(chain.data(Way::Response, "bc", false), ["data:<"], "in its place");
        assert_eq!(chain.data(Way::Response, "def", false), ["data:<."], "and the end of it");
        assert!(chain.data(Way::Response, "g", true).is_empty());
    }

    fn filters_behind_see_injected_bytes_and_those_before_do_not(engine) {
        let watch = "on response_body\n (!say (local.get $b)) (!say (local.get $c))";
        let (client, upstream) = (engine.guest(watch), engine.guest(watch));
        let middle = load(engine, "on response_headers\n (drop (!inject {\"abc\"} #1)) (return #4)");
        let handles = [client.handle(), middle.handle(), upstream.handle()];
        let mut chain = Chain::begin(testing::get(), handles, false);
        chain.headers(Way::Request, true);
        assert_eq!(chain.respond(false), ["headers", "data:abc."]);
        chain.data(Way::Response, "x", true);
        assert_eq!(client.logs(), ["3", "1"]);
        assert!(upstream.logs().is_empty(), "the exchange is complete");
    }

    fn bytes_can_be_injected_by_a_foreign_function_too(engine) {
        let guest = load(engine, "raw
            (func $by_name (param i32 i32) (result i32)
                (!call_foreign_function {\"inject_encoded_data_to_filter_chain_on_header\"}
                    (local.get 0) (local.get 1) #0 #0))
            on response_headers
            (!say (!by_name {\"\\0a\\04one \"}))
            (!say (!by_name {\"\\0a\\03two\\10\\01\"}))
            (!say (!by_name {\"\\0a\\ff\"}))
            (return #4)
            on tick\n (!say (!by_name {\"\\0a\\01x\"}))");
        let (mut chain, mut out) = responding(&guest, false);
        out.extend(chain.data(Way::Response, "theirs", true));
        assert_eq!(out.concat(), "headersdata:one two.");
        assert_eq!(guest.logs(), ["0", "0", "2"]);
        assert_eq!(guest.tick(), ["1"], "a root has no response");
    }

    fn there_must_be_a_response_to_put_bytes_into(engine) {
        let guest = load(engine, "on request_headers\n (!say (!inject {\"x\"} #0))
            on tick\n (!say (!inject {\"x\"} #0)) (!say (!inject #-1 #1 #0))");
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, true), ["headers."]);
        assert_eq!(guest.logs(), ["1"]);
        assert_eq!(guest.tick(), ["1", "6"]);
        // After all of it has left, too late is no error.
        let guest = load(engine, "on response_headers\n (global.set $g (local.get $a))
            on tick\n (drop (!set_effective_context (global.get $g))) (!say (!inject {\"x\"} #1))");
        let (mut chain, out) = responding(&guest, true);
        assert_eq!(out, ["headers."]);
        assert!(tick(&guest, &mut chain).is_empty());
        assert_eq!(guest.logs(), ["0"]);
    }

    fn injected_bytes_that_nobody_takes_are_bounded(engine) {
        let mut setup = Setup::version(MARKER);
        setup.plugin.body_limit = 10_000;
        let guest = engine.load(setup, &format!("{IMPORTS}on response_headers
            (global.set $g (local.get $a)) (return #4)
            on tick
            (drop (!set_effective_context (global.get $g))) (drop (!inject #0 #4000 #0))")).expect("loads");
        let (mut chain, _) = responding(&guest, false);
        for held in [false, false, true, true] {
            guest.vm.borrow_mut().tick(guest.root).expect("ticks");
            chain.poll();
            assert_eq!(chain.is_reset(), held);
        }
        assert!(chain.failure().is_some());
        // What is taken makes room.
        let mut setup = Setup::version(MARKER);
        setup.plugin.body_limit = 10_000;
        let guest = engine.load(setup, &format!("{IMPORTS}on response_headers
            (global.set $g (local.get $a)) (return #4)
            on tick
            (drop (!set_effective_context (global.get $g))) (drop (!inject #0 #4000 #0))")).expect("loads");
        let (mut chain, _) = responding(&guest, false);
        for _ in 0..20 {
            tick(&guest, &mut chain);
            assert!(!chain.is_reset());
        }
    }

    fn hosts_of_the_cluster_are_pairs(engine) {
        let guest = load(engine, "on request_headers
            (!say (!hosts @out)) (!text (i32.load #16) (i32.load #20)) (!say (!hosts #-1 #20))
            on tick\n (!say (!hosts @out))");
        let cluster = Cluster::default();
        through(&guest, &cluster).headers(Way::Request, true);
        assert_eq!(guest.logs(), [
            "0", "\u{2}\0\0\0\u{c}\0\0\0\0\0\0\0\u{8}\0\0\0\0\0\0\x00127.0.0.1:80\0\0[::1]:81\0\0", "6",
        ]);
        through(&guest, &Cluster { unknown: true, ..cluster }).headers(Way::Request, true);
        assert_eq!(guest.logs()[0], "1");
        assert_eq!(guest.tick(), ["1"], "a root has no cluster");
    }

    fn a_stream_can_be_sent_to_an_endpoint(engine) {
        let guest = load(engine, "on request_headers
            (!say (!aim {\"127.0.0.1:81\"})) (!say (!aim {\"bad\"})) (!say (!aim {\"\\ff\"})) (!say (!aim #-1 #1))
            on tick\n (!say (!aim {\"127.0.0.1:81\"}))");
        let cluster = Cluster::default();
        through(&guest, &cluster).headers(Way::Request, true);
        assert_eq!(guest.logs(), ["0", "2", "2", "6"]);
        assert_eq!(*cluster.chosen.borrow(), ["127.0.0.1:81", "bad"]);
        assert_eq!(guest.tick(), ["1"]);
    }
}
