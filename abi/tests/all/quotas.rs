//! Limits that are not of one call alone: what a plugin may write and keep, and that the
//! embedder is told of every limit by its name.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_abi::engine::Tier;
use cofferdam_abi::engine::wasmi::Wasmi;
use cofferdam_abi::shared::{Bounds, Eviction};
use cofferdam_abi::testing::{Guest, RecordingHost, cpu_time};
use cofferdam_abi::{
    Callback, FailureReason, Limits, Module, Shared, TrapKind, Vm, VmSettings, Way,
};

use crate::guest::{self, Shape};
use crate::world::{Drive, Engine, Look, Setup};

fn limited(limits: Limits) -> Setup {
    let settings = VmSettings {
        limits,
        ..VmSettings::default()
    };
    let mut setup = Setup {
        settings,
        ..Setup::default()
    };
    "f".clone_into(&mut setup.plugin.name);
    setup
}

/// What the embedder has been told of limits, and forgets it.
fn told(guest: &Guest) -> Vec<String> {
    guest.host.limited.take()
}

/// A loop that takes a share of 10 ms and more on that engine, as it is in these tests.
fn busy(engine: Engine, share: f64) -> String {
    let turns = match engine {
        // At 20,000 units of fuel a millisecond.
        Engine::Wasmi => 40_000.0,
        Engine::Wasmtime => 10_000_000.0,
    };
    let turns = turns * share;
    format!("(global.set $h #0)
        (loop $busy (global.set $h (i32.add (global.get $h) #1)) (br_if $busy (i32.lt_u (global.get $h) #{turns:.0})))")
}

each_engine! {
    fn a_plugin_writes_so_much_to_the_log_and_no_more(engine) {
        let limits = Limits { log: Some(1_000), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (local $n i32)
            (loop $again (drop (!log #2 #0 #100))
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #50)))
            on request_headers\n (!text {\"a request\"})");
        assert_eq!(guest.tick().len(), 10, "a second's worth at once");
        assert_eq!(told(&guest), vec!["f: log in proxy_on_tick"; 40]);
        assert!(guest.get().is_empty(), "of a stream's as well");
        assert_eq!(told(&guest), ["f: log in proxy_on_request_headers"]);
        guest.host.now.set(guest.host.now.get() + Duration::from_millis(500));
        assert_eq!(guest.tick().len(), 5);
        assert!(!guest.vm.borrow().is_failed());
        assert!(guest.host.trapped.borrow().is_empty());
    }

    fn what_is_written_to_standard_output_counts_too(engine) {
        let limits = Limits { log: Some(1_000), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (local $n i32)
            (i32.store #256 #4096) (i32.store #260 #100)
            (loop $again (drop (!fd_write #1 #256 #1 #264))
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #500)))");
        let written: usize = guest.tick().iter().map(String::len).sum();
        assert!((1_000..6_000).contains(&written), "{written}");
        assert!(!told(&guest).is_empty());
    }

    fn records_that_nobody_wants_are_not_held_against_a_plugin(engine) {
        let limits = Limits { log: Some(10), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (drop (!log #1 #0 #10)) (drop (!log #1 #0 #10)) (drop (!log #4 #0 #10)) (drop (!log #4 #0 #1))");
        guest.host.level.set(cofferdam_abi::LogLevel::Warn);
        assert_eq!(guest.tick().len(), 1);
        assert_eq!(told(&guest), ["f: log in proxy_on_tick"]);
    }

    fn plugins_of_one_vm_write_on_their_own_account(engine) {
        let limits = Limits { log: Some(100), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick\n (drop (!log #2 #0 #100)) (drop (!log #2 #0 #100))");
        let other = cofferdam_abi::Plugin { name: "g".to_owned(), ..cofferdam_abi::Plugin::default() };
        let other = guest.vm.borrow_mut().create_root(other.into()).expect("a root");
        assert_eq!(guest.tick().len(), 1);
        guest.vm.borrow_mut().tick(other).expect("no trap");
        assert_eq!(guest.logs().len(), 1);
        assert_eq!(told(&guest), ["f: log in proxy_on_tick", "g: log in proxy_on_tick"]);
    }

    fn a_flood_of_shared_data_stays_within_its_bound(engine) {
        // Each with another key.
        let flood = "on tick
            (loop $again
                (i32.store #64 (global.get $g))
                (global.set $h (!set_shared_data #64 #4 #64 #4 #0))
                (global.set $g (i32.add (global.get $g) #1)) (br_if $again (i32.lt_u (global.get $g) #100)))
            (!say (global.get $h))";
        for (eviction, last) in [(Eviction::Slru, "0"), (Eviction::Lru, "0"), (Eviction::None, "10")] {
            let shared = Arc::new(Shared::new(Bounds { eviction, ..Bounds::default() }));
            let limits = Limits { shared_entries: 40, ..Limits::default() };
            let mut setup = limited(limits);
            setup.shared = Some(shared.clone());
            let guest = engine.guest_of(setup, flood);
            assert_eq!(guest.tick(), [last], "{eviction:?}");
            assert_eq!(shared.spaces()[0].data_size().0, 40, "{eviction:?}");
            assert_eq!(told(&guest), vec!["f: shared_entries in proxy_on_tick"; 60], "{eviction:?}");
        }
    }

    fn every_limit_of_a_call_is_told_by_its_name(engine) {
        for (name, code) in [
            ("callback", "(loop $again (br $again))"),
            ("memory", "(drop (memory.grow #60000))"),
            ("table", "(drop (table.grow $t (ref.null func) #60000))"),
            ("stack", "(call $down)"),
        ] {
            let guest = engine.guest_of(limited(Limits::default()), &format!("raw
                (table $t 1 funcref)
                (func $down (call $down))
                on tick\n {code}"));
            guest.vm.borrow_mut().tick(guest.root).expect_err("a trap");
            assert_eq!(told(&guest), [format!("f: {name} in proxy_on_tick")]);
            assert_eq!(guest.host.trapped.take(), [format!("f: {name} in proxy_on_tick")]);
        }
    }

    fn a_trap_that_is_no_limits_is_told_as_such(engine) {
        for (kind, code) in [
            ("unreachable", "unreachable"),
            ("fault", "(drop (i32.load #-1))"),
            ("exit", "(!proc_exit #3)"),
        ] {
            let guest = engine.guest_of(limited(Limits::default()), &format!("on request_headers\n {code}"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            assert!(chain.failure().is_some(), "{kind}");
            assert!(told(&guest).is_empty(), "{kind}");
            assert_eq!(guest.host.trapped.take(), [format!("f: {kind} in proxy_on_request_headers")]);
        }
    }

    fn limits_that_a_guest_is_told_of_the_embedder_is_told_of_too(engine) {
        let limits = Limits { callouts: 1, metrics: 1, ..Limits::default() };
        let mut setup = limited(limits);
        setup.clusters = vec!["c".to_owned()];
        let guest = engine.guest_of(setup, "on tick
            (drop (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24))
            (!say (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24))
            (drop (!define_metric #0 {\"a\"} #24))
            (!say (!define_metric #0 {\"b\"} #24))");
        assert_eq!(guest.tick(), ["10", "10"]);
        assert_eq!(told(&guest), ["f: callouts in proxy_on_tick", "f: metrics in proxy_on_tick"]);
    }

    fn a_body_that_is_too_large_is_told_by_its_callback(engine) {
        for (way, callback) in [(Way::Request, "request_body"), (Way::Response, "response_body")] {
            let mut setup = limited(Limits::default());
            setup.plugin.body_limit = 10;
            let guest = engine.guest_of(setup, &format!("on {callback}\n (return #1)"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, way == Way::Response);
            if way == Way::Response {
                chain.respond(false);
            }
            chain.data(way, "longer than ten", false);
            assert!(chain.failure().is_some());
            assert_eq!(told(&guest), [format!("f: body in proxy_on_{callback}")]);
            assert!(guest.host.trapped.borrow().is_empty());
        }
    }

    fn a_stream_has_so_much_time_for_all_its_callbacks(engine) {
        let busy = busy(engine, 1.0);
        // Each call takes some 10 ms of the 100 it may; the stream has 50.
        let limits = Limits { stream_cpu: Some(Duration::from_millis(50)), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), &format!("on request_body
            (!text {{\"body\"}}) {busy}
            on done\n (!text {{\"done\"}})
            on delete\n (!text {{\"delete\"}})"));
        for _ in 0..2 {
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            let mut calls = 0;
            while chain.failure().is_none() && calls < 1_000 {
                chain.data(Way::Request, "x", false);
                calls += 1;
            }
            let Some(FailureReason::Trap(trap)) = chain.failure().map(|failure| &failure.reason) else {
                panic!("a trap, not {:?} after {calls}", chain.failure());
            };
            assert_eq!((trap.kind, trap.callback), (TrapKind::StreamCpu, "proxy_on_request_body"));
            assert!((2..1_000).contains(&calls), "{calls}");
            assert_eq!(chain.response()[0], ":status: 503");
            assert_eq!(told(&guest), ["f: stream_cpu in proxy_on_request_body"]);
            chain.end();
            let logs = guest.logs();
            // Cut in the midst of a call, nothing is said to it; between two, it is told.
            let last = logs.last().expect("a record");
            assert_eq!(last == "body", guest.vm.borrow().is_failed(), "{logs:?}");
            if guest.vm.borrow().is_failed() {
                break;
            }
        }
    }

    fn a_stream_that_is_past_its_time_between_calls_leaves_its_vm_whole(engine) {
        let limits = Limits { stream_cpu: Some(Duration::from_millis(20)), ..Limits::default() };
        let text = format!("on request_body
            {}
            on log\n (!text {{\"log\"}})
            on done\n (!text {{\"done\"}})
            on delete\n (!text {{\"delete\"}})", busy(engine, 0.02));
        let mut guest = engine.guest_of(limited(limits.clone()), &text);
        let (mut whole, mut cut) = (0, 0);
        while whole < 2 {
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            let mut calls = 0;
            while chain.failure().is_none() && calls < 100_000 {
                chain.data(Way::Request, "x", false);
                calls += 1;
            }
            assert!((20..100_000).contains(&calls), "{calls}");
            assert_eq!(told(&guest), ["f: stream_cpu in proxy_on_request_body"]);
            if guest.vm.borrow().is_failed() {
                // Where ticks are counted, a thread that did not get to run for two of them
                // may be cut in the midst of a call.
                cut += 1;
                assert!(cut < 20, "never between calls");
                drop(chain);
                guest = engine.guest_of(limited(limits.clone()), &text);
                continue;
            }
            whole += 1;
            assert_eq!(guest.logs(), ["done", "delete"], "so that it forgets the stream");
            chain.end();
            assert!(guest.logs().is_empty());
            assert!(!guest.vm.borrow().is_failed());
        }
    }

    fn one_call_may_not_take_more_than_its_stream_may(engine) {
        let limits = Limits {
            stream_cpu: Some(Duration::from_millis(5)),
            callback: Duration::from_secs(3_600),
            ..Limits::default()
        };
        let guest = engine.guest_of(limited(limits), "on request_headers\n (loop $again (br $again))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(chain.failure().is_some());
        assert_eq!(told(&guest), ["f: stream_cpu in proxy_on_request_headers"]);
        assert!(guest.vm.borrow().is_failed(), "cut in the midst of a call");
    }

    fn the_end_of_a_stream_is_not_held_against_it(engine) {
        let busy = busy(engine, 1.0);
        let limits = Limits { stream_cpu: Some(Duration::from_millis(20)), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), &format!("
            on log\n {busy} {busy} {busy} (!text {{\"log\"}})
            on done\n {busy} {busy} (!text {{\"done\"}})
            on delete\n {busy} (!text {{\"delete\"}})"));
        assert_eq!(guest.get(), ["log", "done", "delete"]);
        assert!(told(&guest).is_empty());
    }

    fn roots_have_no_stream_to_use_up(engine) {
        let busy = busy(engine, 1.0);
        let limits = Limits { stream_cpu: Some(Duration::from_millis(5)), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), &format!("on tick\n {busy} (!say #1)"));
        for _ in 0..5 {
            assert_eq!(guest.tick(), ["1"]);
        }
    }

    fn a_quota_of_fuel_ends_the_same_call_at_the_same_place(engine) {
        let limits = Limits { fuel: Some(50_000), ..Limits::default() };
        let turns = |limits: &Limits| {
            let guest = engine.guest_of(limited(limits.clone()), "on tick
                (global.set $h #0)
                (loop $again (global.set $h (i32.add (global.get $h) #1)) (br $again))
                on foreign_function\n (!say (global.get $h))");
            let mut places = Vec::new();
            for _ in 0..3 {
                let trap = guest.vm.borrow_mut().tick(guest.root).expect_err("a trap");
                assert_eq!(trap.kind, TrapKind::Fuel);
                assert_eq!(told(&guest), ["f: fuel in proxy_on_tick"]);
                guest.vm.borrow_mut().foreign_function(guest.root, 1, bytes::Bytes::new()).expect("called");
                places.push(guest.logs().remove(0));
            }
            places
        };
        let places = turns(&limits);
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
        let turned: u32 = places[0].parse().expect("a number");
        assert!((5_000..25_000).contains(&turned), "{turned}");
        assert_eq!(turns(&limits), places, "in another VM too");
        let double = turns(&Limits { fuel: Some(100_000), ..Limits::default() });
        let double: u32 = double[0].parse().expect("a number");
        assert!(double.abs_diff(2 * turned) < 20, "{turned} {double}");
    }

    fn a_quota_of_fuel_is_for_each_call(engine) {
        let limits = Limits { fuel: Some(20_000), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (local $n i32)
            (loop $again (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #1000)))
            (!say #1)");
        for _ in 0..50 {
            assert_eq!(guest.tick(), ["1"]);
        }
    }

    fn what_the_host_does_is_taken_from_the_quota(engine) {
        let limits = Limits { fuel: Some(20_000), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (loop $again (drop (!sched_yield)) (global.set $g (i32.add (global.get $g) #1)) (br $again))
            on foreign_function\n (!say (global.get $g))");
        let trap = guest.vm.borrow_mut().tick(guest.root).expect_err("a trap");
        assert_eq!(trap.kind, TrapKind::Fuel);
        guest.vm.borrow_mut().foreign_function(guest.root, 1, bytes::Bytes::new()).expect("called");
        let calls: u32 = guest.logs()[0].parse().expect("a number");
        assert!((100..=1_000).contains(&calls), "no hostcall costs less than 20: {calls}");
    }

    fn what_a_plugin_uses_is_counted_by_callback(engine) {
        let busy = busy(engine, 1.0);
        let guest = engine.guest_of(limited(Limits::default()), &format!("on request_headers\n {busy}
            on log\n nop
            on tick\n nop"));
        let used = |callback: Callback| {
            let used = guest.host.shared.used();
            let mut of = used.iter().filter(|(name, used)| name == "f" && used.callback == Some(callback));
            of.next().map_or((0, 0), |(_, used)| (used.calls, used.cost))
        };
        guest.tick();
        let mut calls = 0;
        // How many ticks of native code's clock fall into one of them, nobody knows.
        while calls < 3 || (used(Callback::RequestHeaders).1 == 0 && calls < 1_000) {
            guest.get();
            calls += 1;
        }
        assert_eq!(used(Callback::Tick).0, 1);
        assert_eq!(used(Callback::Log).0, calls);
        assert_eq!(used(Callback::RequestHeaders).0, calls);
        assert_eq!(used(Callback::Done), (0, 0), "it has none");
        let (busy, idle) = (used(Callback::RequestHeaders).1, used(Callback::Log).1);
        assert!(busy > 1_000 * idle.max(1), "{busy} {idle}");
        let used = guest.host.shared.used();
        let tier = match engine {
            Engine::Wasmi => Tier::Interpreter,
            Engine::Wasmtime => Tier::Native,
        };
        assert!(used.iter().all(|(_, used)| used.tier == tier));
    }

    fn what_is_rare_is_counted_each_time(engine) {
        let busy = busy(engine, 1.0);
        let guest = engine.guest_of(limited(Limits::default()), &format!("raw
            (func (export \"_initialize\") {busy})
            on configure\n {busy} (return #1)
            on tick\n {busy}"));
        guest.tick();
        guest.tick();
        let used = guest.host.shared.used();
        let costs = used.iter().map(|(_, used)| (used.name(), used.calls, used.cost));
        let costs: Vec<_> = costs.filter(|(name, ..)| *name != "proxy_on_context_create").collect();
        let calls: Vec<_> = costs.iter().map(|(name, calls, _)| (*name, *calls)).collect();
        assert_eq!(calls, [("start", 1), ("proxy_on_configure", 1), ("proxy_on_tick", 2)]);
        let [start, configure, tick] = [0, 1, 2].map(|index: usize| costs[index].2);
        assert!(configure > 1_000, "{costs:?}");
        // All are as long, and it is counted once.
        assert!(start > configure / 4, "{costs:?}");
        assert!(tick > configure / 2 && tick < configure * 8, "{costs:?}");
    }
}

#[test]
fn a_long_call_on_the_interpreter_goes_on_as_if_nothing_had_been() {
    // This clock makes the machine look so slow that a call gets fuel for a third of this;
    // but in truth there is time for all of it, and the thread's own clock says so.
    let readings = Cell::new(0);
    let engine = Wasmi::new(512 << 10).calibrate(|| {
        readings.set(readings.get() + 1);
        Duration::from_millis(100) * readings.get()
    });
    assert_eq!(engine.fuel_per_ms(), 4_000);
    let source = "raw
        (table $t 1 1000 funcref)
        on tick
        (local $n i32) (local $sum i64) (local $size i32)
        (loop $again
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.extend_i32_u (local.get $n))))
            (if (i32.eqz (i32.rem_u (local.get $n) #5000)) (then
                (memory.fill #8192 (local.get $n) #8192)
                (memory.copy #16384 #8192 #8192)
                (drop (memory.grow #1))
                (drop (table.grow $t (ref.null func) #1))
                (drop (!get_property {\"plugin_root_id\"} @out))
                (local.set $sum (i64.add (local.get $sum) (i64.load8_u #20000)))))
            (local.set $n (i32.add (local.get $n) #1))
            (br_if $again (i32.lt_u (local.get $n) #1000000)))
        (!say (i32.wrap_i64 (i64.shr_u (local.get $sum) (i64.const 33))))
        (!say (memory.size)) (!say (table.size $t))";
    let mut sum = 0_u64;
    for n in 0..1_000_000_u64 {
        sum = sum.wrapping_mul(31).wrapping_add(n);
        if n % 5000 == 0 {
            sum = sum.wrapping_add(n % 256);
        }
    }
    let limits = Limits {
        callback: Duration::from_millis(500),
        ..Limits::default()
    };
    let mut setup = limited(limits);
    "a root id to allocate for".clone_into(&mut setup.plugin.root_id);
    let wat = guest::module(source, Shape::default());
    let module = Module::parse(wat::parse_str(&wat).expect("WAT").into()).expect("a module");
    let code = engine
        .compile(&module, &setup.settings.compat)
        .expect("code");
    let host = Rc::new(RecordingHost::default());
    let settings = Rc::new(setup.settings);
    let mut vm = Vm::start(&*code, module.version, settings, host.clone()).expect("starts");
    let root = vm.create_root(Rc::new(setup.plugin)).expect("a root");
    vm.tick(root).expect("there is time");
    let said: Vec<String> = host.take_logs();
    let wanted = format!("Info f: {}", sum >> 33);
    assert_eq!(
        said,
        [wanted, "Info f: 202".to_owned(), "Info f: 201".to_owned()]
    );
    let used = host.shared.used();
    let tick = used
        .iter()
        .find(|(_, used)| used.callback == Some(Callback::Tick));
    let fuel = tick.expect("counted").1.cost;
    assert!(
        fuel > 3 * 500 * 4_000,
        "{fuel}: more than it was given at first"
    );
}

#[test]
fn what_native_code_uses_is_its_cpu_time() {
    // The monotonic clock stands still in these tests.
    let guest = Engine::Wasmtime.guest(
        "on request_headers
        (local $n i32)
        (loop $again (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #50000)))
        on log\n nop",
    );
    let begun = cpu_time();
    for _ in 0..8_000 {
        guest.get();
    }
    let all = (cpu_time() - begun).as_nanos();
    let used = guest.host.shared.used();
    let cost = |callback: Callback| {
        let mut of = used
            .iter()
            .filter(|(_, used)| used.callback == Some(callback));
        of.next().map_or(0, |(_, used)| u128::from(used.cost))
    };
    let (busy, idle) = (cost(Callback::RequestHeaders), cost(Callback::Log));
    assert!(busy > all / 3 && busy < all * 3 / 2, "{busy} of {all} ns");
    assert!(idle < busy / 5, "{idle} of {busy} ns");
}
