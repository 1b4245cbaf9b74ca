//! Foreign functions: what guests may call by name, and what the host may call in them.

mod expressions;
mod signatures;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{Chain, Limits, VmSettings, Way};

use crate::world::{Drive, Engine, Look, Setup};

/// Bytes as they stand in a source.
pub(crate) fn literal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}

/// A field of a protobuf message that has a length.
pub(crate) fn field(number: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// What a guest got.
pub(crate) type Answer = (String, Vec<u8>);

/// Calls functions one after the other in one `request_headers`: status and result of each.
pub(crate) fn calls_in(
    guest: &Guest,
    exchange: cofferdam_abi::SharedExchange,
    count: usize,
) -> Vec<Answer> {
    let mut chain = Chain::begin(exchange.clone(), [guest.handle()], false);
    chain.headers(Way::Request, true);
    let statuses = guest.logs();
    assert_eq!(statuses.len(), count, "{statuses:?}");
    let exchange = exchange.borrow();
    let stored = |index: usize| {
        let value = exchange.filter_state.value(format!("r{index}").as_bytes());
        value.map(|value| value.to_vec()).unwrap_or_default()
    };
    statuses
        .into_iter()
        .enumerate()
        .map(|(index, status)| (status, stored(index)))
        .collect()
}

/// The source that makes those calls.
pub(crate) fn calling(calls: &[(&str, Vec<u8>)]) -> String {
    let mut source = "on request_headers\n".to_owned();
    for (index, (name, args)) in calls.iter().enumerate() {
        let args = literal(args);
        let _ = writeln!(
            source,
            "(i32.store #16 #0) (i32.store #20 #0)
            (!say (!call_foreign_function {{\"{name}\"}} {{\"{args}\"}} @out))
            (drop (!set_property {{\"r{index}\"}} (i32.load #16) (i32.load #20)))"
        );
    }
    source
}

pub(crate) fn calls(engine: Engine, calls: &[(&str, Vec<u8>)]) -> Vec<Answer> {
    let guest = patient(engine, Limits::default().memory, calls);
    calls_in(&guest, testing::get(), calls.len())
}

/// A guest that makes those calls, with time for all of them.
pub(crate) fn patient(engine: Engine, memory: usize, calls: &[(&str, Vec<u8>)]) -> Guest {
    let limits = Limits {
        callback: Duration::from_secs(60),
        memory,
        ..Limits::default()
    };
    let settings = VmSettings {
        limits,
        ..VmSettings::default()
    };
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    engine.load(setup, &calling(calls)).expect("loads")
}

fn call(engine: Engine, name: &str, args: impl Into<Vec<u8>>) -> Answer {
    calls(engine, &[(name, args.into())]).remove(0)
}

fn ok(bytes: impl Into<Vec<u8>>) -> Answer {
    ("0".to_owned(), bytes.into())
}

fn refused(status: &str) -> Answer {
    (status.to_owned(), Vec::new())
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

/// Arguments of `declare_property`: a name, and fields that are numbers.
fn declare(name: &str, numbers: &[(u8, u8)]) -> Vec<u8> {
    let numbers = numbers
        .iter()
        .flat_map(|(number, value)| [number << 3, *value]);
    field(1, name).into_iter().chain(numbers).collect()
}

each_engine! {
    fn an_unknown_function_is_not_found(engine) {
        for name in ["nope", "", "COMPRESS", "compress\\00"] {
            assert_eq!(call(engine, name, "x"), refused("1"), "{name}");
        }
    }

    fn results_nobody_wants_are_not_handed_over(engine) {
        let guest = engine.guest("on request_headers
            (global.set $g (global.get $heap))
            (!say (!call_foreign_function {\"compress\"} {\"abc\"} #0 #0))
            (i32.store #20 #0) (!say (!call_foreign_function {\"compress\"} {\"abc\"} #0 #20))
            (!say (i32.gt_u (i32.load #20) #3))
            (i32.store #16 #7) (!say (!call_foreign_function {\"compress\"} {\"abc\"} #16 #0)) (!say (i32.load #16))
            (!say (i32.sub (global.get $heap) (global.get $g)))
            (!say (!call_foreign_function {\"clear_route_cache\"} #0 #0 @out)) (!say (i32.load #16)) (!say (i32.load #20))");
        assert_eq!(guest.get(), ["0", "0", "1", "0", "0", "0", "0", "0", "0"]);
    }

    fn bad_pointers_answer_6(engine) {
        let guest = engine.guest("on request_headers
            (!say (!call_foreign_function #-1 #1 #0 #0 @out)) (!say (!call_foreign_function {\"compress\"} #-1 #1 @out))
            (!say (!call_foreign_function {\"nope\"} #-1 #1 @out)) (!say (!call_foreign_function {\"compress\"} {\"a\"} #-1 #20))
            (!say (!call_foreign_function {\"compress\"} {\"a\"} #16 #-1))
            (!say (!call_foreign_function {\"expr_create\"} {\"1\"} #-1 #20))");
        assert_eq!(guest.get(), ["6", "6", "6", "6", "6", "6"]);
    }

    fn compress_and_uncompress_are_zlib_both_ways(engine) {
        let (text, long) = (b"some text, some text, some text".to_vec(), vec![b'x'; 300_000]);
        let (status, packed) = call(engine, "compress", text.clone());
        assert_eq!((status.as_str(), &packed[..1]), ("0", &b"\x78"[..]));
        assert!(packed.len() < text.len());
        assert_eq!(call(engine, "uncompress", packed.clone()), ok(text.clone()));
        assert_eq!(call(engine, "uncompress", deflated(&long)), ok(long));
        assert_eq!(call(engine, "uncompress", deflated(b"")), ok(""));
        // What follows the stream is somebody else's.
        let followed: Vec<u8> = packed.iter().chain(b"more").copied().collect();
        assert_eq!(call(engine, "uncompress", followed), ok(text));
        let (status, empty) = call(engine, "compress", "");
        assert_eq!((status.as_str(), call(engine, "uncompress", empty)), ("0", ok("")));
    }

    fn what_is_no_zlib_stream_answers_3(engine) {
        let packed = deflated(b"some text, some text, some text");
        let mut broken = packed.clone();
        *broken.last_mut().expect("not empty") ^= 1;
        for bytes in [b"".to_vec(), b"not zlib".to_vec(), packed[..packed.len() - 1].to_vec(), broken] {
            assert_eq!(call(engine, "uncompress", bytes.clone()), refused("3"), "{bytes:?}");
        }
    }

    fn a_stream_that_becomes_more_than_a_guest_may_hold_is_refused(engine) {
        let bomb = deflated(&vec![0; 8 << 20]);
        let guest = patient(engine, 1 << 20, &[("uncompress", bomb)]);
        assert_eq!(calls_in(&guest, testing::get(), 1), [refused("3")]);
    }

    fn work_is_charged_to_the_guest(engine) {
        let settings = VmSettings { limits: Limits { callback: Duration::from_micros(50), ..Limits::default() }, ..VmSettings::default() };
        let bomb = deflated(&vec![0; 32 << 20]);
        let setup = Setup { settings, ..Setup::default() };
        let guest = engine.load(setup, &calling(&[("uncompress", bomb)])).expect("loads");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(guest.vm.borrow().is_failed(), "its time is over");
    }

    fn clearing_the_route_cache_is_a_wish_of_the_exchange(engine) {
        for source in ["(!call_foreign_function {\"clear_route_cache\"} #0 #0 #0 #0)", "(!clear_route_cache)"] {
            let setup = Setup::version(if source.contains("foreign") { "proxy_abi_version_0_2_1" } else { "proxy_abi_version_0_1_0" });
            let source = format!("on request_headers\n (!say {source})\n on tick\n (!say {source})");
            let guest = engine.load(setup, &source).expect("loads");
            assert_eq!(guest.tick(), ["0"], "nothing to clear, no harm");
            let exchange = testing::get();
            let mut chain = Chain::begin(exchange.clone(), [guest.handle()], false);
            assert!(!exchange.borrow().route_cleared);
            chain.headers(Way::Request, true);
            assert_eq!(guest.logs(), ["0"]);
            assert!(exchange.borrow().route_cleared, "{source}");
        }
    }

    fn objects_of_filter_state_are_known_by_name(engine) {
        let object = |path: &str| [field(1, path), field(2, "v")].concat();
        let known = object("envoy.upstream.dynamic_host");
        let results = calls(engine, &[
            ("set_envoy_filter_state", known.clone()),
            ("set_envoy_filter_state", object("no.such.factory")),
            ("set_envoy_filter_state", b"\xff".to_vec()),
            ("set_envoy_filter_state", Vec::new()),
            ("set_envoy_filter_state", object("envoy.upstream.dynamic_port")),
            ("set_envoy_filter_state", [field(1, "envoy.upstream.dynamic_port"), field(2, "80")].concat()),
        ]);
        assert_eq!(results, [ok(""), refused("1"), refused("2"), refused("1"), refused("2"), ok("")]);
        let known = literal(&known);
        let guest = engine.guest(&format!("on request_headers
            (drop (!call_foreign_function {{\"set_envoy_filter_state\"}} {{\"{known}\"}} #0 #0))
            (!say (!get_property {{\"filter_state\\00envoy.upstream.dynamic_host\"}} @out)) (!show)
            (!say (!get_property {{\"envoy.upstream.dynamic_host\"}} @out))
            on tick
            (!say (!call_foreign_function {{\"set_envoy_filter_state\"}} {{\"{known}\"}} #0 #0))"));
        assert_eq!(guest.get(), ["0", "v", "1"]);
        assert_eq!(guest.tick(), ["1"], "a root has no stream");
    }

    fn a_name_is_declared_once_and_what_is_read_only_is_written_once(engine) {
        let (own, free) = (literal(&declare("own", &[(2, 1), (3, 1)])), literal(&declare("free", &[])));
        let guest = engine.guest(&format!("on configure
            (!say (!call_foreign_function {{\"declare_property\"}} {{\"{own}\"}} #0 #0))
            (!say (!call_foreign_function {{\"declare_property\"}} {{\"{own}\"}} #0 #0))
            (!say (!call_foreign_function {{\"declare_property\"}} {{\"{free}\"}} #0 #0))
            (!say (!call_foreign_function {{\"declare_property\"}} {{\"\\ff\"}} #0 #0))
            on request_headers
            (!say (!set_property {{\"own\"}} {{\"1\"}})) (!say (!set_property {{\"own\"}} {{\"2\"}}))
            (!say (!set_property {{\"free\"}} {{\"1\"}})) (!say (!set_property {{\"free\"}} {{\"2\"}}))
            (drop (!get_property {{\"own\"}} @out)) (!show) (drop (!get_property {{\"free\"}} @out)) (!show)"));
        assert_eq!(guest.logs(), ["0", "2", "0", "2"]);
        for _ in 0..2 {
            assert_eq!(guest.get(), ["0", "2", "0", "0", "1", "2"], "read-only in each request anew");
        }
    }

    fn what_a_stream_declares_holds_for_nobody(engine) {
        let own = literal(&declare("own", &[(2, 1)]));
        let guest = engine.guest(&format!("on request_headers
            (!say (!call_foreign_function {{\"declare_property\"}} {{\"{own}\"}} #0 #0))
            (!say (!call_foreign_function {{\"declare_property\"}} {{\"{own}\"}} #0 #0))
            (!say (!set_property {{\"own\"}} {{\"1\"}})) (!say (!set_property {{\"own\"}} {{\"2\"}}))"));
        for _ in 0..2 {
            assert_eq!(guest.get(), ["0", "2", "0", "0"]);
        }
    }

    fn a_guest_may_move_its_own_body_limit(engine) {
        let setup = Setup::body_limit(4);
        let source = |calls: &str| format!("on request_headers\n {calls}\non request_body\n (return #1)");
        let set = |limit: &str| format!("(!say (!call_foreign_function {{\"set_decoder_buffer_limit\"}} {{\"{limit}\"}} #0 #0))");
        let refused_after = |calls: &str, body: &'static str| {
            let guest = engine.load(setup.clone(), &source(calls)).expect("loads");
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            chain.push(Way::Request, cofferdam_abi::Part::Data { bytes: Bytes::from_static(body.as_bytes()), end: false });
            (guest.logs(), chain.failure().is_some())
        };
        assert_eq!(refused_after("", "12345"), (vec![], true));
        assert_eq!(refused_after(&set("5"), "12345"), (vec!["0".to_owned()], false));
        assert_eq!(refused_after(&set("5"), "123456"), (vec!["0".to_owned()], true));
        assert_eq!(refused_after(&set("-1"), "1234"), (vec!["2".to_owned()], false));
        assert_eq!(refused_after(&set("many"), "12345"), (vec!["2".to_owned()], true));
    }

    fn the_log_level_is_four_bytes(engine) {
        assert_eq!(call(engine, "get_log_level", ""), ok(vec![0, 0, 0, 0]));
    }

    fn the_host_may_call_a_guest(engine) {
        let guest = engine.guest("on foreign_function
            (!say (local.get $a)) (!say (local.get $b)) (!say (local.get $c))
            (!say (!get_buffer_bytes #8 #0 #99 @out)) (!show)
            (!say (!get_buffer_bytes #8 #1 #1 @out)) (!show)
            (!say (!get_buffer_status #8 @out)) (!say (i32.load #16))
            (!say (!set_buffer_bytes #8 #0 #0 {\"x\"}))
            (!say (!get_property {\"request\\00method\"} @out))
            on request_headers
            (!say (!get_buffer_bytes #8 #0 #99 @out)) (!say (!get_buffer_status #8 @out))");
        let (root, vm) = (guest.root, guest.vm.clone());
        vm.borrow_mut().foreign_function(root, 7, Bytes::from_static(b"args")).expect("no trap");
        let seen = ["7", "4", "0", "args", "0", "r", "0", "4", "2"];
        assert_eq!(guest.logs()[1..], [&seen[..], &["1"]].concat());
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(guest.logs(), ["1", "1"], "nothing outside the call");
        chain.foreign_function(0, 7, Bytes::from_static(b"args"));
        assert_eq!(guest.logs()[1..], [&seen[..], &["0"]].concat());
        chain.foreign_function(1, 7, Bytes::new());
        assert!(guest.logs().is_empty(), "no such filter");
    }

    fn what_a_guest_asks_of_its_stream_in_such_a_call_is_done(engine) {
        let guest = engine.guest("on foreign_function
            (if (i32.eqz (local.get $b)) (then (unreachable)))
            (drop (!send_local_response #418 #0 #0 #0 #0 #0 #0 #-1))
            on request_headers\n (return #1)");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.foreign_function(0, 1, Bytes::new());
        assert!(chain.has_output(Way::Response));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.foreign_function(0, 0, Bytes::new());
        assert!(chain.failure().is_some() && guest.vm.borrow().is_failed());
    }

    fn a_guest_without_that_export_is_not_called(engine) {
        let guest = engine.guest("on request_headers\n (!say #1)");
        let (root, vm) = (guest.root, guest.vm.clone());
        vm.borrow_mut().foreign_function(root, 1, Bytes::new()).expect("nothing happens");
        assert!(guest.logs().is_empty());
    }
}
