//! What the host does for a guest, and what it keeps on its way to others, costs the guest:
//! it has no more of either than its limits say, however it asks.

use std::time::Duration;

use cofferdam_abi::callout::Callout;
use cofferdam_abi::testing::map;
use cofferdam_abi::{Attributes, Chain, Exchange, Limits, RootEffect, Trap, TrapKind, Value, Way};

use crate::world::{Drive, Engine, Look, Setup};

/// Bytes of what the host moves or compares for one instruction of a guest.
const RATE: u32 = 16;
/// Instructions of one callback in these tests.
const TIME: u32 = 2_000_000;

/// How often a request's callback does this before its time is up, with a body of so many
/// bytes before it.
fn times(engine: Engine, callback: &str, before: &str, code: &str, body: usize) -> u32 {
    let guest = engine.guest(&format!(
        "on {callback}
        {before}
        (loop $again (global.set $g (i32.add (global.get $g) #1)) {code} (br $again))
        on foreign_function
        (!say (global.get $g))"
    ));
    let mut chain = guest.chain();
    chain.headers(Way::Request, body == 0);
    if body > 0 {
        chain.data(Way::Request, &"b".repeat(body), false);
    }
    let failure = format!("{:?}", chain.failure().expect("its time is up").reason);
    assert!(failure.contains("Deadline"), "{failure}");
    guest
        .vm
        .borrow_mut()
        .foreign_function(guest.root, 1, bytes::Bytes::new())
        .expect("called");
    guest.logs()[0].parse().expect("a number")
}

/// A root that may have eight megabytes, and calls a cluster once a tick.
fn calling(engine: Engine, code: &str) -> cofferdam_abi::testing::Guest {
    let limits = Limits {
        memory: 8 << 20,
        callback: Duration::from_secs(60),
        ..Limits::default()
    };
    let settings = cofferdam_abi::VmSettings {
        limits,
        ..Default::default()
    };
    let setup = Setup {
        settings,
        clusters: vec!["c".to_owned()],
        ..Setup::default()
    };
    let source = format!("raw\n (memory (export \"memory\") 20)\n{code}");
    engine.load(setup, &source).expect("loads")
}

/// Bytes that roots have asked to be sent, as the embedder gets them.
fn queued(guest: &cofferdam_abi::testing::Guest) -> usize {
    let effects = guest.vm.borrow_mut().take_root_effects();
    let size = |effect: &RootEffect| match effect {
        RootEffect::Send { message, .. } => message.len(),
        RootEffect::Call { call, .. } => match &**call {
            Callout::Grpc(call) => {
                let message = call.message.as_ref().map_or(0, bytes::Bytes::len);
                message + call.service.len() + call.method.len()
            }
            Callout::Http(_) | Callout::Redis(_) => 0,
        },
        _ => 0,
    };
    effects.iter().map(size).sum()
}

fn tick(guest: &cofferdam_abi::testing::Guest) -> Result<(), Trap> {
    guest.vm.borrow_mut().tick(guest.root)
}

/// How often a property is read before the quota of a call is used up.
fn readings(engine: Engine, certificate: usize, path: &str) -> u32 {
    let mut setup = Setup::default();
    setup.settings.limits.fuel = Some(400_000);
    let guest = engine.guest_of(
        setup,
        &format!(
            "on request_headers
        (loop $again
            (global.set $g (i32.add (global.get $g) #1))
            (drop (!get_property {{\"{path}\"}} @out))
            (br_if $again (i32.lt_u (global.get $g) #1000)))
        on foreign_function\n (!say (global.get $g))"
        ),
    );
    let exchange = Exchange::new(map(&[]), Box::new(Certified(certificate))).share();
    let mut chain = Chain::begin(exchange, [guest.handle()], false);
    chain.headers(Way::Request, true);
    let mut vm = guest.vm.borrow_mut();
    vm.foreign_function(guest.root, 1, bytes::Bytes::new())
        .expect("called");
    drop(vm);
    guest.logs()[0].parse().expect("a number")
}

/// A connection with a certificate of so many bytes, which has no name.
struct Certified(usize);

impl Attributes for Certified {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        match path {
            [b"connection", b"subject_peer_certificate"] => Some(Value::text("CN=x")),
            [b"connection", b"id"] => Some(Value::Uint(1)),
            _ => None,
        }
    }

    fn bytes_read(&self, path: &[&[u8]]) -> usize {
        if path
            .last()
            .is_some_and(|name| name.ends_with(b"_certificate"))
        {
            self.0
        } else {
            0
        }
    }
}

each_engine! {
    fn reading_a_certificate_costs_its_length(engine) {
        for (length, path, most) in [
            (10_000, "connection\\00subject_peer_certificate", 10),
            (1_000, "connection\\00subject_peer_certificate", 100),
            (10_000, "connection\\00dns_san_peer_certificate", 10),
        ] {
            let read = readings(engine, length, path);
            assert!((most / 2..=most).contains(&read), "{path} {length}: {read}");
        }
        assert_eq!(readings(engine, 10_000, "connection\\00id"), 1000);
    }

    fn moving_a_long_body_costs_its_length(engine) {
        let body = 8 << 20;
        let code = "(drop (!set_buffer_bytes #0 #0 #0 #0 #1))";
        let times = times(engine, "request_body", "", code, body as usize);
        assert!((1..=TIME / (body / RATE) + 1).contains(&times), "{times}");
    }

    fn joining_a_long_value_costs_its_length(engine) {
        let long = 60_000;
        let before = format!("(drop (!replace_header_map_value #0 {{\":path\"}} #0 #{long}))");
        let code = "(drop (!add_header_map_value #0 {\":path\"} #0 #1))";
        let times = times(engine, "request_headers", &before, code, 0);
        assert!((10..=TIME / (long / RATE) + 1).contains(&times), "{times}");
    }

    fn comparing_long_names_costs_their_length(engine) {
        let long = 120_000;
        // They differ in the last byte alone.
        let before = format!("(i32.store8 #{long} #1) (drop (!add_header_map_value #0 #0 #{long} #0 #0))");
        for code in [
            format!("(drop (!get_header_map_value #0 #1 #{long} @out))"),
            format!("(drop (!remove_header_map_value #0 #1 #{long}))"),
        ] {
            let times = times(engine, "request_headers", &before, &code, 0);
            assert!((10..=TIME / (long / RATE) + 1).contains(&times), "{code}: {times}");
        }
        // Many of that length make a comparison each.
        let before = "(local $n i32)
            (loop $more
                (i32.store #0 (local.get $n)) (drop (!add_header_map_value #0 #0 #4000 #0 #0))
                (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #100)))
            (i32.store8 #4999 #1)";
        let code = "(drop (!get_header_map_value #0 #1000 #4000 @out))";
        let times = times(engine, "request_headers", before, code, 0);
        assert!((10..=TIME / (100 * 4_000 / RATE) + 1).contains(&times), "{times}");
    }

    fn joining_maps_of_long_names_costs_their_length(engine) {
        let before = "(local $n i32)
            (loop $more
                (i32.store #3990 (local.get $n)) (drop (!add_header_map_value #0 #0 #4000 #0 #0))
                (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #100)))
            (global.set $h (global.get $heap))";
        let code = "(drop (!get_property {\"request\\00headers\"} @out)) (global.set $heap (global.get $h))";
        let times = times(engine, "request_headers", before, code, 0);
        assert!((1..=TIME / (100 * 400_000 / RATE) + 1).contains(&times), "{times}");
    }

    fn messages_that_wait_to_be_sent_have_an_end(engine) {
        let open = "(drop (!grpc_stream {\"c\"} {\"s\"} {\"m\"} #0 #0 #24))";
        let send = "(drop (!grpc_send (i32.load #24) #0 #1000000 #0))";
        let guest = calling(engine, &format!("on tick\n (local $n i32) {open}\n (loop $again {send} (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #40)))"));
        assert_eq!(tick(&guest).expect_err("too much").kind, TrapKind::Memory);
        let size = queued(&guest);
        assert!((4 << 20..=8 << 20).contains(&size), "{size}");
        // Once they are gone, there is room for others.
        let five = send.repeat(5);
        let guest = calling(engine, &format!("on tick\n (if (i32.eqz (i32.load #24)) (then {open}))\n {five}"));
        for _ in 0..5 {
            tick(&guest).expect("few enough");
            assert_eq!(queued(&guest) / 1_000_000, 5);
        }
    }

    fn calls_that_are_given_up_at_once_keep_no_more_than_others(engine) {
        let guest = calling(engine, "on tick
            (local $n i32)
            (loop $again
                (global.set $g (i32.add (global.get $g)
                    (i32.eqz (!grpc_call {\"c\"} #0 #500000 #0 #500000 #0 #0 #0 #1000000 #0 #24))))
                (drop (!grpc_cancel (i32.load #24)))
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #30)))
            (!say (global.get $g))");
        assert_eq!(guest.tick(), ["4"], "two million bytes each");
        assert_eq!(queued(&guest), 0, "nobody has heard of them");
        assert_eq!(guest.tick(), ["8"]);
    }
}
