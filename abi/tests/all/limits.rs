//! What a guest may use: time, memory, tables, frames, and the host's own memory and time.

use std::time::Duration;

use cofferdam_abi::testing::Guest;
use cofferdam_abi::{FailureReason, Limits, LoadError, Trap, TrapKind, VmSettings, Way};

use crate::world::{Drive, Engine, Look, Setup};

fn limited(limits: Limits) -> Setup {
    let settings = VmSettings {
        limits,
        ..VmSettings::default()
    };
    Setup {
        settings,
        ..Setup::default()
    }
}

/// How a guest's timer ends.
fn tick(guest: &Guest) -> Result<(), Trap> {
    guest.vm.borrow_mut().tick(guest.root)
}

fn kind(engine: Engine, setup: Setup, code: &str) -> TrapKind {
    let guest = engine.load(setup, code).expect("loads");
    let trap = tick(&guest).expect_err("trap");
    assert_eq!(trap.callback, "proxy_on_tick");
    assert!(guest.vm.borrow().is_failed());
    trap.kind
}

/// How a guest's request callback ends that repeats this for ever.
fn repeated(engine: Engine, setup: Setup, code: &str) -> TrapKind {
    let source = format!(
        "on request_headers\n (loop $again {code} (br $again)) (return #0)
        on request_body\n (loop $again {code} (br $again)) (return #0)"
    );
    let guest = engine.load(setup, &source).expect("loads");
    let mut chain = guest.chain();
    chain.headers(Way::Request, false);
    match &chain.failure().expect("a failure").reason {
        FailureReason::Trap(trap) => trap.kind,
        FailureReason::TooLarge(_) => panic!("not a trap"),
    }
}

/// How a start fails that comes up against a limit.
fn start(loaded: Result<(), LoadError>) -> (TrapKind, String) {
    match loaded {
        Err(LoadError::Trapped(trap)) => (trap.kind, trap.message),
        other => panic!("not a trap: {other:?}"),
    }
}

/// A guest that may call cluster `c`.
fn calling(engine: Engine, code: &str) -> Guest {
    let setup = Setup {
        clusters: vec!["c".to_owned()],
        ..Setup::default()
    };
    engine.load(setup, code).expect("loads")
}

each_engine! {
    fn a_loop_without_end_ends(engine) {
        assert_eq!(kind(engine, Setup::default(), "on tick\n (loop $again (br $again))"), TrapKind::Deadline);
    }

    fn every_callback_gets_the_whole_time_again(engine) {
        let limits = Limits { callback: Duration::from_millis(2), ..Limits::default() };
        let guest = engine.load(limited(limits), "on tick
            (local $n i32)
            (loop $again (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #2000)))
            (!say #1)").expect("loads");
        for _ in 0..100 {
            assert_eq!(guest.tick(), ["1"]);
        }
    }

    fn the_allocator_runs_on_the_time_of_the_call_it_serves(engine) {
        // Every allocation costs a thousand turns; no single one is near the limit.
        let slow = "raw
            (func (export \"malloc\") (param i32) (result i32) (local $n i32)
                (loop $again
                    (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #1000)))
                #512)
            on tick
            (loop $again (drop (!get_property {\"plugin_root_id\"} @out)) (br $again))";
        let mut setup = limited(Limits { callback: Duration::from_millis(20), ..Limits::default() });
        setup.shape.allocator = "";
        setup.plugin.root_id = "long enough".into();
        assert_eq!(kind(engine, setup, slow), TrapKind::Deadline);
    }

    fn an_allocator_that_never_returns_ends_the_call(engine) {
        let mut setup = Setup::default();
        setup.shape.allocator = "";
        setup.plugin.root_id = "r".into();
        assert_eq!(kind(engine, setup, "raw
            (func (export \"malloc\") (param i32) (result i32) (loop $again (br $again)) #0)
            on tick\n (drop (!get_property {\"plugin_root_id\"} @out)) (!say #9)"), TrapKind::Deadline);
    }

    fn starting_is_limited_too(engine) {
        for source in [
            "raw\n (func (export \"_initialize\") (loop $again (br $again)))",
            "raw\n (func (export \"_start\") (loop $again (br $again)))",
            "raw\n (func $s (loop $again (br $again))) (start $s)",
            "on context_create\n (loop $again (br $again))",
            "on vm_start\n (loop $again (br $again))",
            "on configure\n (loop $again (br $again))",
        ] {
            let error = engine.load(Setup::default(), source).expect_err("refused");
            assert!(matches!(&error, LoadError::Trapped(trap) if trap.kind == TrapKind::Deadline), "{error}");
        }
    }

    fn memory_ends_at_its_limit(engine) {
        let limits = || Limits { memory: 1 << 20, ..Limits::default() };
        assert_eq!(kind(engine, limited(limits()), "on tick\n (loop $more (drop (memory.grow #1)) (br $more))"), TrapKind::Memory);
        let guest = engine.load(limited(limits()), "on tick\n (!say (memory.grow #14))").expect("loads");
        assert_eq!(guest.tick(), ["2"], "the last page is allowed");
        assert_eq!(guest.vm.borrow().memory_size(), 1 << 20);
    }

    fn a_module_that_begins_past_the_limit_does_not_load(engine) {
        let limits = Limits { memory: 65536, ..Limits::default() };
        let error = engine.load(limited(limits), "raw\n (memory (export \"memory\") 3)").map(drop);
        assert_eq!(start(error), (TrapKind::Memory, "it wants 196608 bytes".to_owned()));
        let limits = Limits { memory: 65536, ..Limits::default() };
        let error = engine.load(limited(limits), "on tick\n").map(drop);
        assert_eq!(start(error).0, TrapKind::Memory);
    }

    fn a_start_that_takes_more_fuel_than_there_is_ends_at_that_limit(engine) {
        let source = "raw\n (func (export \"_initialize\") (loop $again (br $again)))";
        let limits = Limits { fuel: Some(1_000), ..Limits::default() };
        assert_eq!(start(engine.load(limited(limits), source).map(drop)).0, TrapKind::Fuel);
    }

    fn tables_end_at_their_limit(engine) {
        let source = "raw\n (table $t 1 funcref)\non tick\n (loop $more (drop (table.grow $t (ref.null func) #100)) (br $more))";
        assert_eq!(kind(engine, Setup::default(), source), TrapKind::Table);
        let error = engine.load(Setup::default(), "raw\n (table $t 10001 funcref)").map(drop);
        assert_eq!(start(error), (TrapKind::Table, "it wants 10001 elements of a table".to_owned()));
        engine.guest("raw\n (table $t 10000 funcref)");
    }

    fn recursion_ends_at_its_limit(engine) {
        assert_eq!(kind(engine, Setup::default(), "raw\n (func $down (call $down))\non tick\n (!down)"), TrapKind::Stack);
        // Large frames run out of stack before they run out of number.
        let locals = "(local i64) ".repeat(500);
        assert_eq!(kind(engine, Setup::default(), &format!("raw
            (func $down (param i64) {locals} (call $down (i64.const 1)) (local.set 3 (i64.const 1)))
            on tick\n (call $down (i64.const 0))")), TrapKind::Stack);
    }

    fn a_stack_is_as_deep_as_its_limit(engine) {
        let depth = |stack: usize| {
            let limits = Limits { stack, callback: Duration::from_secs(60), ..Limits::default() };
            let guest = engine.load(limited(limits), "raw
                (func $down (global.set $g (i32.add (global.get $g) #1)) (call $down))
                on tick\n (!down)
                on foreign_function\n (!say (global.get $g))").expect("loads");
            assert_eq!(tick(&guest).expect_err("a trap").kind, TrapKind::Stack);
            guest.vm.borrow_mut().foreign_function(guest.root, 1, bytes::Bytes::new()).expect("called");
            guest.logs()[0].parse::<usize>().expect("a number")
        };
        // The least, the default, and the most that a configuration may ask for.
        let run = move || [16 << 10, 512 << 10, 8 << 20].map(depth);
        let thread = std::thread::Builder::new().stack_size(12 << 20);
        let depths = std::thread::scope(|scope| {
            thread.spawn_scoped(scope, run).expect("a thread").join().expect("depths")
        });
        assert!(depths[0] > 200 && depths[1] > 20 * depths[0] && depths[2] > 10 * depths[1], "{depths:?}");
    }

    fn recursion_below_the_limit_is_fine(engine) {
        let guest = engine.guest("raw
            (func $down (param $n i32) (result i32)
                (if (result i32) (local.get $n)
                    (then (i32.add #1 (call $down (i32.sub (local.get $n) #1)))) (else #0)))
            on tick\n (!say (!down #5000))");
        assert_eq!(guest.tick(), ["5000"]);
    }

    fn a_vm_can_be_called_again_after_any_limit(engine) {
        for code in [
            "(loop $again (br $again))", "(drop (memory.grow #60000))", "(call $down)", "unreachable",
            "(loop $again (memory.fill #0 #7 #131072) (br $again))",
            "(loop $again (memory.copy #0 #65536 #65536) (br $again))",
            "(memory.fill #131071 #0 #2)",
        ] {
            let guest = engine.guest(&format!("raw\n (func $down (call $down))\non tick\n {code}\non request_headers\n (!say #1)"));
            tick(&guest).expect_err("trap");
            assert!(guest.vm.borrow().is_failed());
            assert_eq!(guest.get(), ["1"], "streams that began on it may finish");
        }
    }

    fn a_hostcall_costs_time_however_little_it_does(engine) {
        assert_eq!(repeated(engine, Setup::default(), "(drop (!continue_stream #0))"), TrapKind::Deadline);
        assert_eq!(repeated(engine, Setup::default(), "(drop (!log #-1 #0 #0))"), TrapKind::Deadline);
        assert_eq!(repeated(engine, Setup::default(), "(drop (!sched_yield))"), TrapKind::Deadline);
    }

    fn a_callback_has_time_for_so_many_hostcalls_and_no_more(engine) {
        // 2,000,000 units of fuel in these tests, and no hostcall costs less than 20.
        let guest = engine.guest("on tick
            (if (global.get $g) (then (!say (global.get $g)) (return)))
            (loop $again (drop (!sched_yield)) (global.set $g (i32.add (global.get $g) #1)) (br $again))");
        tick(&guest).expect_err("deadline");
        let calls: u32 = guest.tick()[0].parse().expect("a number");
        assert!((10_000..=100_000).contains(&calls), "{calls}");
    }

    fn long_messages_cost_more_time_than_short_ones(engine) {
        let count = |length: u32| {
            let limits = Limits { log: None, ..Limits::default() };
            let guest = engine.guest_of(limited(limits), &format!("on tick
                (loop $again (drop (!log #2 #0 #{length})) (br $again))"));
            tick(&guest).expect_err("deadline");
            guest.logs().len()
        };
        let (short, long) = (count(1), count(131_072));
        // A call has 2,000,000 instructions here; a record costs 3,000 and a sixteenth of its bytes.
        assert!((500..=2_000_000 / 3_020).contains(&short), "{short} short ones");
        assert!((100..=2_000_000 / (3_020 + 131_072 / 16)).contains(&long), "{long} long ones");
    }

    fn other_long_hostcalls_cost_time_as_well(engine) {
        for code in [
            "(drop (!random_get #0 #65536))",
            "(drop (!set_header_map_pairs #0 #65536 #65536))",
            "(drop (!set_property {\"k\"} #0 #131072))",
            "(drop (!get_header_map_pairs #0 @out)) (global.set $heap #65536)",
            "(drop (!get_property {\"request\\00headers\"} @out)) (global.set $heap #65536)",
            "(drop (!send_local_response #200 #0 #0 #0 #131072 #0 #0 #-1))",
            "(drop (!fd_write #1 #0 #1024 #0))",
        ] {
            assert_eq!(repeated(engine, Setup::default(), code), TrapKind::Deadline, "{code}");
        }
    }

    fn callouts_that_are_given_up_at_once_cost_their_time(engine) {
        let guest = calling(engine, "on tick
            (loop $again
             (drop (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24))
             (drop (!grpc_cancel (i32.load #24)))
             (global.set $g (i32.add (global.get $g) #1)) (br $again))
            on foreign_function\n (!say (global.get $g))");
        tick(&guest).expect_err("deadline");
        guest.vm.borrow_mut().foreign_function(guest.root, 1, bytes::Bytes::new()).expect("called");
        // A call has 2,000,000 instructions here, a callout costs 10,000.
        let calls: u32 = guest.logs()[0].parse().expect("a number");
        assert!((50..=2_000_000 / 10_000).contains(&calls), "{calls}");
    }

    fn looking_through_what_is_asked_for_costs_time(engine) {
        let guest = calling(engine, "on tick
            (loop $again
             (drop (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24))
             (drop (!grpc_cancel (i32.load #24)))
             (global.set $g (i32.add (global.get $g) #1))
             (br_if $again (i32.lt_u (global.get $g) #100)))
            (global.set $g #0)
            (loop $ever
             (drop (!set_tick_period_milliseconds #5))
             (global.set $g (i32.add (global.get $g) #1)) (br $ever))
            on foreign_function
             (!say (global.get $g))");
        tick(&guest).expect_err("deadline");
        guest.vm.borrow_mut().take_root_effects();
        guest.vm.borrow_mut().foreign_function(guest.root, 1, bytes::Bytes::new()).expect("called");
        let calls: u32 = guest.logs()[0].parse().expect("a number");
        // 1,000,000 are left; each looks through 200 and more, at 10 each.
        assert!((100..=500).contains(&calls), "{calls}");
    }

    fn many_small_pairs_cost_more_than_their_bytes(engine) {
        let pairs = "(i32.store #4096 #1000) (drop (!set_header_map_pairs #0 #4096 #13004))";
        let code = |times: u32| format!("on request_headers
            (local $n i32) (local.set $n #{times})
            (loop $again {pairs} (br_if $again (local.tee $n (i32.sub (local.get $n) #1))))");
        for (times, ends) in [(10, false), (25, true)] {
            let guest = engine.guest(&code(times));
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            assert_eq!(chain.failure().is_some(), ends, "{times}");
        }
    }

    fn what_the_host_keeps_for_a_guest_has_an_end(engine) {
        // Each with another name, so that nothing is replaced.
        let next = "(global.set $g (i32.add (global.get $g) #1)) (i32.store #64 (global.get $g))";
        let settings = Limits { callback: Duration::from_secs(60), ..Limits::default() };
        for code in [
            "(drop (!set_property #64 #4 #1024 #8192))",
            "(drop (!set_property #64 #4 #0 #0))",
            "(drop (!add_header_map_value #0 #64 #4 #1024 #8192))",
            "(drop (!add_header_map_value #0 #64 #4 #0 #0))",
            "(drop (!add_header_map_value #0 {\":path\"} #1024 #8192))",
            "(drop (!replace_header_map_value #0 #64 #4 #1024 #8192))",
        ] {
            let kind = repeated(engine, limited(settings.clone()), &format!("{next} {code}"));
            assert_eq!(kind, TrapKind::Memory, "{code}");
        }
    }

    fn replacing_a_property_does_not_count_twice(engine) {
        let guest = engine.guest("on request_headers
            (local $n i32)
            (loop $again
                (drop (!set_property {\"k\"} #0 #100000))
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #50)))
            (!say #1)");
        assert_eq!(guest.get(), ["1"]);
    }

    fn a_host_stack_is_not_a_guests_to_use_up(engine) {
        // Twenty thousand of each kind of call within one callback.
        for code in [
            "(drop (!sched_yield))", "(drop (call $f))", "(drop (call_indirect (type $t) #0))",
            "(drop (call_indirect (type $t) #1))", "(drop (memory.grow #0))", "(drop (!log #9 #0 #0))",
            "(memory.fill #0 #0 #1)", "(memory.copy #0 #1 #1)", "(drop (table.size 0))",
            "(drop (table.grow 0 (ref.null func) #0))", "(table.set 0 #2 (table.get 0 #1))",
            "(global.set $g (global.get $g))", "(drop (call $r))", "(drop (f64.sqrt (f64.const 2)))",
            "(drop (i32.trunc_sat_f64_s (f64.const 2)))", "(drop (i64.div_s (i64.const 7) (i64.const 2)))",
            "(drop (i32x4.add (v128.const i32x4 1 1 1 1) (v128.const i32x4 1 1 1 1)))",
        ] {
            let limits = Limits { callback: Duration::from_secs(1), ..Limits::default() };
            let guest = engine.load(limited(limits), &format!("raw
                (type $t (func (result i32)))
                (table 3 funcref) (elem (i32.const 0) $f $sched_yield)
                (func $f (result i32) #1)
                (func $r (result i32) (return_call $f))
                on tick
                (local $n i32)
                (drop (!sched_yield))
                (loop $again
                    {code}
                    (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #20000)))
                (!say #1)")).expect("loads");
            assert_eq!(guest.tick(), ["1"], "{code}");
        }
    }
}

/// How deep a function recurses that has so many values, all of which are wanted after its
/// call, or none but its parameter.
fn depth(engine: Engine, values: usize, wanted: bool) -> usize {
    let each = |text: &dyn Fn(usize) -> String| (0..values).map(text).collect::<String>();
    let locals = each(&|n| format!("(local $l{n} i64) "));
    let set = each(&|n| match wanted {
        true => format!("(local.set $l{n} (i64.load offset={} #0))\n", 8 * n),
        // Made again when it is wanted.
        false => format!(
            "(local.set $l{n} (i64.mul (local.get $p) (i64.const {})))\n",
            n + 3
        ),
    });
    let rest = each(&|n| {
        format!(
            "(local.set $p (i64.xor (i64.rotl (local.get $p) (i64.const 1)) (local.get $l{n})))\n"
        )
    });
    let limits = Limits {
        callback: Duration::from_secs(60),
        ..Limits::default()
    };
    let source = format!(
        "raw
        (func $down (param $p i64) (result i64)
            {locals}
            (global.set $g (i32.add (global.get $g) #1))
            {set}
            (local.set $p (call $down (i64.add (local.get $p) (i64.const 1))))
            {rest}
            (local.get $p))
        on tick\n (drop (call $down (i64.extend_i32_u (global.get $h))))
        on foreign_function\n (!say (global.get $g))"
    );
    let guest = engine.load(limited(limits), &source).expect("loads");
    assert_eq!(tick(&guest).expect_err("a trap").kind, TrapKind::Stack);
    let told = (guest.vm.borrow_mut()).foreign_function(guest.root, 1, bytes::Bytes::new());
    told.expect("called");
    guest.logs()[0].parse().expect("a number")
}

/// A filter that has done well on the interpreter must do as native code, and the other way.
#[test]
fn a_guest_recurses_about_as_deep_on_either_engine() {
    for values in [0, 2, 5, 10, 20, 50, 100, 300] {
        for (wanted, least, most) in [(true, 0.5, 4.0), (false, 0.15, 1.0)] {
            if !wanted && values > 50 {
                continue;
            }
            let [cold, hot] =
                [Engine::Wasmi, Engine::Wasmtime].map(|engine| depth(engine, values, wanted));
            let ratio = cold as f64 / hot as f64;
            println!("{values} values, wanted {wanted}: {cold} and {hot}, {ratio:.2}");
            assert!(
                (least..=most).contains(&ratio),
                "{values}: {cold} and {hot}"
            );
        }
    }
}
