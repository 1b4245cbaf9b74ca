//! How much of bodies and answers the host keeps for a guest, whatever the guest answers.

use cofferdam_abi::tcp::{Chunk, Closing};
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Chain, Exchange, FailureReason, Limits, Part, TcpChain, VmSettings, Way};

use crate::world::{Drive as _, Engine, Look as _, Setup};

/// Bodies of at most 1,000 bytes.
fn load(engine: Engine, source: &str) -> Guest {
    let mut setup = Setup::body_limit(1_000);
    "f".clone_into(&mut setup.plugin.name);
    engine.load(setup, source).expect("loads")
}

/// Why it failed.
fn reason(chain: &Chain) -> Option<FailureReason> {
    chain.failure().map(|failure| failure.reason.clone())
}

/// The callback that it failed in.
fn place(chain: &Chain) -> &'static str {
    chain.failure().map_or("", |failure| failure.callback)
}

/// What the embedder has been told of limits; the guest must be well.
fn told(guest: &Guest) -> Vec<String> {
    assert!(!guest.vm.borrow().is_failed());
    guest.host.limited.take()
}

fn out_length(chain: &mut Chain, way: Way) -> usize {
    let mut length = 0;
    while let Some(part) = chain.pop(way) {
        if let Part::Data { bytes, .. } = part {
            length += bytes.len();
        }
    }
    length
}

const WAYS: [(Way, &str, u32); 2] = [
    (Way::Request, "request_body", 0),
    (Way::Response, "response_body", 1),
];

fn begun(guest: &Guest, way: Way) -> Chain {
    let mut chain = guest.chain();
    chain.headers(Way::Request, way == Way::Response);
    if way == Way::Response {
        chain.respond(false);
    }
    chain
}

each_engine! {
    fn what_a_callback_adds_is_bounded_whatever_it_answers(engine) {
        for (way, callback, buffer) in WAYS {
            // Before, behind and, of the five bytes that have come, in the midst.
            for (action, start) in [(0, "-1"), (1, "-1"), (2, "-1"), (3, "-1"), (2, "0"), (2, "1")] {
                let add = |size: u32| format!("on request_headers\non response_headers\non {callback}
                    (drop (!set_buffer_bytes #{buffer} #{start} #0 #0 #{size})) (return #{action})");
                let guest = load(engine, &add(1_001));
                let mut chain = begun(&guest, way);
                chain.data(way, "hello", false);
                assert_eq!(reason(&chain), Some(FailureReason::TooLarge(way)), "{action}");
                assert_eq!(place(&chain), format!("proxy_on_{callback}"));
                assert_eq!(told(&guest), [format!("f: body in proxy_on_{callback}")]);
                // And within the bound it is as it was, but that what is buffered is bounded, too.
                let guest = load(engine, &add(990));
                let mut chain = begun(&guest, way);
                chain.data(way, "hello", false);
                assert_eq!(reason(&chain), None, "{action}");
                assert!(told(&guest).is_empty());
            }
        }
    }

    fn a_body_is_replaced_by_a_larger_one(engine) {
        let guest = load(engine, "on request_body\n (drop (!set_buffer_bytes #0 #0 #-1 #0 #1900))");
        let mut chain = begun(&guest, Way::Request);
        chain.push(Way::Request, Part::Data { bytes: vec![7; 1_000].into(), end: true });
        assert_eq!(reason(&chain), None);
        assert_eq!(out_length(&mut chain, Way::Request), 1_900);
    }

    fn piece_by_piece_comes_to_the_same(engine) {
        let twice = "on request_body
            (drop (!set_buffer_bytes #0 #-1 #0 #0 #600)) (return #ACTION)";
        for (action, fails) in [("0", false), ("1", true), ("2", true)] {
            let guest = load(engine, &twice.replace("ACTION", action));
            let mut chain = begun(&guest, Way::Request);
            chain.data(Way::Request, "a", false);
            assert_eq!(reason(&chain), None, "{action}");
            chain.data(Way::Request, "b", false);
            // What has left is nobody's any more.
            assert_eq!(reason(&chain).is_some(), fails, "{action}");
        }
        // Nor does it help to do so in one callback, and to go on after it.
        let guest = load(engine, "on request_body (local $n i32)
            (loop $again (drop (!set_buffer_bytes #0 #0 #0 #0 #600))
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #100)))
            (!say #1)".replace("on request_body ", "on request_body\n").as_str());
        let mut chain = begun(&guest, Way::Request);
        assert_eq!(chain.data(Way::Request, "a", true), [""; 0]);
        assert_eq!(reason(&chain), Some(FailureReason::TooLarge(Way::Request)));
        assert_eq!(guest.logs(), ["1"], "its calls are answered");
        assert_eq!(told(&guest).len(), 1);
        assert_eq!(chain.response()[0], ":status: 413");
    }

    fn what_only_passes_is_not_bounded_nor_is_what_is_put_before_it(engine) {
        let guest = load(engine, "on request_body
            (if (local.get $c) (then (drop (!set_buffer_bytes #0 #0 #0 #0 #10)) (return #0)))
            (drop (!set_buffer_bytes #0 #0 #-1 #0 (local.get $b))) (return #2)");
        let mut chain = begun(&guest, Way::Request);
        for _ in 0..20 {
            chain.data(Way::Request, &"x".repeat(100), false);
        }
        chain.push(Way::Request, Part::Data { bytes: vec![7; 100].into(), end: true });
        assert_eq!(reason(&chain), None);
        assert_eq!(out_length(&mut chain, Way::Request), 2_110);
    }

    fn a_timer_may_not_add_more_either(engine) {
        let guest = load(engine, "on request_body\n (global.set $g (local.get $a)) (return #1)
            on tick
            (drop (!set_effective_context (global.get $g)))
            (drop (!set_buffer_bytes #0 #-1 #0 #0 #400))");
        let mut other = begun(&guest, Way::Request);
        let mut chain = begun(&guest, Way::Request);
        other.data(Way::Request, "hello", false);
        chain.data(Way::Request, "hello", false);
        for fails in [false, false, true] {
            guest.tick();
            chain.poll();
            assert_eq!(reason(&chain).is_some(), fails);
        }
        assert_eq!(told(&guest), ["f: body in proxy_on_tick"]);
        other.poll();
        assert_eq!(reason(&other), None);
    }

    fn an_answer_has_a_bound(engine) {
        // Whatever the filter may hold of a body, 64 KiB.
        for (size, status) in [
            (1_001, ":status: 200"),
            (65_536, ":status: 200"),
            (65_537, ":status: 500"),
        ] {
            let guest = load(engine, &format!("on request_headers
                (drop (!send_local_response #200 #0 #0 #0 #{size} #0 #0 #-1)) (return #0)"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            assert_eq!(chain.response()[0], status, "{size}");
            assert_eq!(reason(&chain).is_some(), size > 65_536);
            assert_eq!(place(&chain), if size > 65_536 { "proxy_on_request_headers" } else { "" });
            assert_eq!(told(&guest).len(), usize::from(size > 65_536));
        }
    }

    fn streams_of_a_vm_hold_no_more_together_than_it_may_have(engine) {
        for action in [1, 2] {
            let settings = VmSettings {
                limits: Limits { memory: 128 << 10, ..Limits::default() },
                ..VmSettings::default()
            };
            let setup = Setup { settings, ..Setup::body_limit(100_000) };
            let guest = engine.load(setup, &format!("on request_body\n (return #{action})")).expect("loads");
            let body = "x".repeat(60_000);
            let held = || {
                let mut chain = begun(&guest, Way::Request);
                chain.data(Way::Request, &body, false);
                chain
            };
            let (first, second) = (held(), held());
            assert_eq!((reason(&first), reason(&second)), (None, None));
            assert_eq!(reason(&held()), Some(FailureReason::TooLarge(Way::Request)));
            assert_eq!(told(&guest).len(), 1);
            // One that asks for no more is left alone, and one that ends makes room.
            drop(second);
            let mut third = held();
            assert_eq!(reason(&third), None);
            assert_eq!(reason(&held()), Some(FailureReason::TooLarge(Way::Request)));
            third.data(Way::Request, "", true);
            assert_eq!((reason(&first), reason(&third)), (None, None));
        }
    }

    fn what_has_gone_on_counts_no_more(engine) {
        let settings = VmSettings {
            limits: Limits { memory: 128 << 10, ..Limits::default() },
            ..VmSettings::default()
        };
        let setup = Setup { settings, ..Setup::body_limit(100_000) };
        let guest = engine.load(setup, "on request_body\n (return (i32.eqz (local.get $c)))").expect("loads");
        let body = "x".repeat(60_000);
        let mut chains = Vec::new();
        for _ in 0..10 {
            let mut chain = begun(&guest, Way::Request);
            chain.data(Way::Request, &body, false);
            chain.data(Way::Request, "", true);
            assert_eq!(reason(&chain), None);
            chains.push(chain);
        }
    }

    fn a_connection_has_the_same_bounds(engine) {
        // In the callback, and by what is held when it is over.
        let adds = "on downstream_data\n (drop (!set_buffer_bytes #2 #-1 #0 #0 #1001)) (return #1)";
        for (source, size) in [(adds, 1), ("on downstream_data\n (return #1)", 140_000)] {
            let limits = Limits { memory: 128 << 10, ..Limits::default() };
            let settings = VmSettings { limits, ..VmSettings::default() };
            let mut setup = Setup { settings, ..Setup::body_limit(1_000) };
            "f".clone_into(&mut setup.plugin.name);
            let guest = engine.load(setup, source).expect("loads");
            let mut chain = TcpChain::begin(Exchange::connection(Box::new(())).share(), vec![guest.handle()]);
            chain.push(Way::Request, Chunk { bytes: vec![7; size].into(), end: false });
            assert_eq!(chain.closing(), Some(Closing::Failure));
            let failure = chain.failure().expect("failed");
            assert_eq!(failure.reason, FailureReason::TooLarge(Way::Request));
            assert_eq!(failure.callback, "proxy_on_downstream_data");
            assert_eq!(told(&guest), ["f: body in proxy_on_downstream_data"]);
            assert!(!chain.has_output(Way::Request));
        }
    }
}
