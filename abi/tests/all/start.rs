//! How a module is started, and what it may do before it has a context.

use cofferdam_abi::{Compat, Plugin, VmSettings};

use crate::world::{Look, PRESETS, Setup};

each_engine! {
    fn initialize_runs_before_everything_else(engine) {
        let guest = engine.guest("raw
            (func (export \"_initialize\") (!say #1))
            on context_create
            (!say #2)
            on vm_start
            (!say #3)");
        assert_eq!(guest.logs(), ["1", "2", "3"]);
    }

    fn main_follows_initialize_with_two_zeros_and_any_answer(engine) {
        let guest = engine.guest("raw
            (func (export \"_initialize\") (!say #1))
            (func (export \"main\") (param $a i32) (param $b i32) (result i32)
                (!say (local.get $a)) (!say (local.get $b)) #77)");
        assert_eq!(guest.logs(), ["1", "0", "0"]);
    }

    fn main_void_follows_initialize(engine) {
        let guest = engine.guest("raw
            (func (export \"_initialize\") (!say #1))
            (func (export \"__main_void\") (result i32) (!say #2) #1)");
        assert_eq!(guest.logs(), ["1", "2"]);
    }

    fn of_both_mains_only_the_one_with_arguments_runs(engine) {
        let guest = engine.guest("raw
            (func (export \"_initialize\"))
            (func (export \"__main_void\") (result i32) (!say #2) #1)
            (func (export \"main\") (param i32 i32) (result i32) (!say #1) #0)");
        assert_eq!(guest.logs(), ["1"]);
    }

    fn start_alone_runs_once(engine) {
        let guest = engine.guest("raw\n (func (export \"_start\") (!say #1))\non vm_start\n (!say #2)");
        assert_eq!(guest.logs(), ["1", "2"]);
    }

    fn start_does_not_run_beside_initialize(engine) {
        let guest = engine.guest("raw
            (func (export \"_start\") (!say #1))
            (func (export \"_initialize\") (!say #2))");
        assert_eq!(guest.logs(), ["2"]);
    }

    fn main_alone_does_not_run(engine) {
        let guest = engine.guest("raw\n (func (export \"main\") (param i32 i32) (result i32) (!say #1) #0)");
        assert!(guest.logs().is_empty());
    }

    fn a_start_that_exits_in_order_loads(engine) {
        for compat in [Compat::SUPERSET, Compat::SPEC] {
            let guest = engine.load(Setup::compat(compat), "raw
                (func (export \"_start\") (!say #1) (!proc_exit #0) (!say #9))
                on vm_start
                (!say #2)").expect("loads");
            assert_eq!(guest.logs(), ["1", "2"]);
        }
    }

    fn a_start_that_exits_in_disorder_does_not_load(engine) {
        let error = engine.load(Setup::default(), "raw\n (func (export \"_start\") (!proc_exit #3))")
            .expect_err("refused");
        assert!(error.to_string().contains("guest exited in _start: proc_exit(3)"), "{error}");
        // Envoy was seen to refuse even the orderly one.
        let error = engine.load(Setup::compat(Compat::ENVOY), "raw\n (func (export \"_start\") (!proc_exit #0))")
            .expect_err("refused");
        assert!(error.to_string().contains("proc_exit is not allowed inside its start function"), "{error}");
    }

    fn a_start_that_traps_does_not_load(engine) {
        for name in ["_start", "_initialize"] {
            let error = engine.load(Setup::default(), &format!("raw\n (func (export \"{name}\") unreachable)"))
                .expect_err("refused");
            assert!(error.to_string().contains(&format!("guest aborted in {name}")), "{error}");
        }
        let error = engine.load(Setup::default(), "raw\n (func $s unreachable) (start $s)").expect_err("refused");
        assert!(error.to_string().contains("guest aborted in its start section"), "{error}");
    }

    fn elements_or_bytes_that_do_not_fit_are_a_trap(engine) {
        for segment in ["(table 1 funcref) (func $f) (elem (i32.const 1) $f)", "(data (i32.const -1) \"x\")"] {
            let error = engine.load(Setup::default(), &format!("raw\n {segment}")).expect_err("refused");
            assert!(error.to_string().contains("guest fault in its start section"), "{error}");
        }
    }

    fn the_start_section_can_already_log(engine) {
        let guest = engine.guest("raw\n (func $s (!say #5)) (start $s)");
        assert_eq!(guest.logs(), ["5"]);
    }

    fn logging_clocks_and_chance_work_during_start(engine) {
        for compat in PRESETS {
            let guest = engine.load(Setup::compat(compat), "raw
                (data (i32.const 256) \"\\00\\10\\00\\00\\05\\00\\00\\00\")
                (func (export \"_initialize\")
                    (!say (!log #1 {\"hello\"}))
                    (!say (!fd_write #1 #256 #1 #16))
                    (!say (!random_get #512 #4))
                    (!say (!clock_time_get #1 (i64.const 0) #512))
                    (!say (!environ_sizes_get #16 #20))
                    (!say (!poll_oneoff #512 #512 #0 #16))
                    (!say (!fd_fdstat_get #1 #512)))").expect("loads");
            assert_eq!(guest.logs(), ["hello", "0", "hello", "0", "0", "0", "0", "0", "0"]);
        }
    }

    fn other_hostcalls_during_start_answer_12_or_end_it(engine) {
        let source = "raw
            (func (export \"_initialize\")
                (!say (!get_property {\"plugin_name\"} @out))
                (!say (!set_tick_period_milliseconds #5))
                (!say (!define_metric #0 #0 #0 #0))
                (!say (!sched_yield)))";
        let guest = engine.load(Setup::default(), source).expect("loads");
        assert_eq!(guest.logs(), ["12", "12", "12", "52"]);
        assert_eq!(guest.host.notices.borrow().len(), 4);
        assert!(guest.vm.borrow_mut().take_root_effects().is_empty());
        for compat in [Compat::ENVOY, Compat::SPEC] {
            let error = engine.load(Setup::compat(compat), source).expect_err("refused");
            assert!(error.to_string().contains("proxy_get_property is not allowed inside its start"), "{error}");
            for call in ["(!set_tick_period_milliseconds #5)", "(!sched_yield)", "(!define_metric #0 #0 #0 #0)"] {
                let source = format!("raw\n (func (export \"_initialize\") (!say {call}))");
                let error = engine.load(Setup::compat(compat), &source).expect_err("refused");
                assert!(error.to_string().contains("is not allowed inside its start"), "{call}: {error}");
            }
        }
    }

    fn roots_are_created_then_started_then_configured(engine) {
        let guest = engine.guest("on context_create
            (!say #1) (!say (local.get $a)) (!say (local.get $b))
            on vm_start
            (!say #2) (!say (local.get $a))
            on configure
            (!say #3) (!say (local.get $a))");
        assert_eq!(guest.logs(), ["1", "1", "0", "2", "1", "3", "1"]);
    }

    fn sizes_of_configurations_are_told_exactly(engine) {
        let source = "on vm_start\n (!say (local.get $b))\non configure\n (!say (local.get $b))";
        let guest = engine.guest(source);
        assert_eq!(guest.logs(), ["0", "0"]);
        let setup = Setup {
            plugin: Plugin { configuration: "plugin".into(), ..Plugin::default() },
            settings: VmSettings { configuration: "vm\0".into(), ..VmSettings::default() },
            ..Setup::default()
        };
        assert_eq!(engine.load(setup, source).expect("loads").logs(), ["3", "6"]);
    }

    fn configurations_are_readable_when_the_table_says(engine) {
        let read = "(!say (!get_buffer_bytes #6 #0 #-1 @out)) (!show)
            (if (i32.eqz (!get_buffer_bytes #7 #0 #-1 @out)) (then (!show)) (else (!say #1)))";
        let source = format!(
            "on context_create\n {read}\non vm_start\n {read}\non configure\n {read}\non tick\n {read}");
        let setup = Setup {
            plugin: Plugin { configuration: "plugin".into(), ..Plugin::default() },
            settings: VmSettings { configuration: "vm".into(), ..VmSettings::default() },
            ..Setup::default()
        };
        let guest = engine.load(setup, &source).expect("loads");
        assert_eq!(guest.logs(), [
            "0", "vm", "plugin", // created
            "0", "vm", "1", // started
            "0", "vm", "plugin", // configured
        ]);
        assert_eq!(guest.tick(), ["0", "vm", "1"]);
    }

    fn old_guests_ask_for_the_configuration_of_the_moment(engine) {
        let read = "(!say (!get_configuration @out)) (!show)";
        let source = format!("on vm_start\n {read}\non configure\n {read}\non tick\n {read}");
        let setup = Setup {
            plugin: Plugin { configuration: "plugin".into(), ..Plugin::default() },
            settings: VmSettings { configuration: "vm".into(), ..VmSettings::default() },
            ..Setup::version("proxy_abi_version_0_1_0")
        };
        let guest = engine.load(setup, &source).expect("loads");
        assert_eq!(guest.logs(), ["0", "vm", "0", "plugin"]);
        assert_eq!(guest.tick(), ["0", "vm"]);
    }

    fn properties_of_the_plugin_are_there_from_the_first_callback(engine) {
        let read = "(!say (!get_property {\"plugin_root_id\"} @out)) (!show)
            (!say (!get_property {\"plugin_name\"} @out)) (!show)
            (!say (!get_property {\"plugin_vm_id\"} @out)) (!show)";
        let source = format!("on context_create\n {read}\non vm_start\n {read}");
        let setup = Setup {
            plugin: Plugin { name: "n".into(), root_id: "r".into(), ..Plugin::default() },
            settings: VmSettings { vm_id: "v".into(), ..VmSettings::default() },
            ..Setup::default()
        };
        let all = ["0", "r", "0", "n", "0", "v"];
        assert_eq!(engine.load(setup, &source).expect("loads").logs(), [all, all].concat());
    }

    fn a_guest_that_refuses_to_start_is_unusable(engine) {
        let error = engine.load(Setup::default(), "on vm_start\n (return #0)").expect_err("refused");
        assert_eq!(error.to_string(), "proxy_on_vm_start refused its configuration");
        let error = engine.load(Setup::default(), "on configure\n (return #0)").expect_err("refused");
        assert_eq!(error.to_string(), "proxy_on_configure refused its configuration");
    }

    fn any_answer_but_zero_is_consent(engine) {
        engine.guest("on vm_start\n (return #-1)\non configure\n (return #256)");
    }

    fn a_guest_that_traps_while_it_is_configured_is_unusable(engine) {
        for callback in ["context_create", "vm_start", "configure"] {
            let source = format!("on {callback}\n unreachable");
            let error = engine.load(Setup::default(), &source).expect_err("refused");
            assert!(error.to_string().contains(&format!("guest aborted in proxy_on_{callback}")), "{error}");
        }
    }
}
