//! Which modules load, and what is said of those that do not.

use bytes::Bytes;
use cofferdam_abi::module::Entry;
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{AbiVersion, Compat, LoadError, Module, VmSettings, Way};

use crate::guest::{self, Shape, ty};
use crate::world::{Drive, Engine, Look, PRESETS, Setup};

/// Why a module is refused.
fn refusal(engine: Engine, setup: Setup, wat: &str) -> String {
    match engine.wat(setup, wat) {
        Ok(_) => "it loads".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn parse(wat: &str) -> Module {
    Module::parse(wat::parse_str(wat).expect("WAT").into()).expect("a module")
}

/// A module whose one import of module `env` is this.
fn importing(marker: &str, name: &str, ty: &str) -> String {
    format!(
        r#"(module (import "env" "{name}" (func {ty})) (memory (export "memory") 1)
            (func (export "{marker}"))
            (func (export "malloc") (param i32) (result i32) i32.const 64))"#
    )
}

each_engine! {
    fn every_version_loads(engine) {
        for (marker, version) in [
            ("proxy_abi_version_0_1_0", AbiVersion::V0_1_0),
            ("proxy_abi_version_0_2_0", AbiVersion::V0_2_0),
            ("proxy_abi_version_0_2_1", AbiVersion::V0_2_1),
        ] {
            let source = "on vm_start\n (!say #7)";
            let guest = engine.load(Setup::version(marker), source).expect(marker);
            assert_eq!(guest.logs(), ["7"], "{marker}");
            let wat = guest::module(source, Setup::version(marker).shape);
            assert_eq!(parse(&wat).version, version);
        }
    }

    fn a_module_without_a_marker_is_refused(engine) {
        let text = refusal(engine, Setup::default(), "(module (memory (export \"memory\") 1))");
        assert!(text.contains("proxy_abi_version_0_2_1"), "{text}");
    }

    fn a_marker_of_another_version_is_named(engine) {
        let text = refusal(engine, Setup::default(),
            "(module (func (export \"proxy_abi_version_0_3_0\")))");
        assert!(text.contains("proxy_abi_version_0_3_0 is no version"), "{text}");
    }

    fn a_marker_that_is_a_global_is_none(engine) {
        let text = refusal(engine, Setup::default(),
            "(module (global (export \"proxy_abi_version_0_2_1\") i32 (i32.const 0)))");
        assert!(text.contains("not a proxy-wasm module"), "{text}");
    }

    fn of_two_markers_the_first_export_counts(engine) {
        let wat = |first: &str, second: &str| format!(
            "(module (memory (export \"memory\") 1)
                (func (export \"{first}\")) (func (export \"{second}\")))");
        for (first, second, version) in [
            ("proxy_abi_version_0_2_1", "proxy_abi_version_0_1_0", AbiVersion::V0_2_1),
            ("proxy_abi_version_0_1_0", "proxy_abi_version_0_2_1", AbiVersion::V0_1_0),
        ] {
            let wat = wat(first, second);
            assert_eq!(parse(&wat).version, version);
            engine.wat(Setup::default(), &wat).expect("loads");
        }
    }

    fn an_unknown_import_is_named(engine) {
        let wat = importing("proxy_abi_version_0_2_1", "proxy_nonsense", "(param i32)");
        for compat in PRESETS {
            assert_eq!(refusal(engine, Setup::compat(compat), &wat),
                "import env.proxy_nonsense: this host offers no such function");
        }
    }

    fn imports_that_are_no_functions_are_named(engine) {
        for (what, text) in [
            ("(memory 1)", "import env.x (a memory)"),
            ("(table 1 funcref)", "import env.x (a table)"),
            ("(global i32)", "import env.x (a global)"),
        ] {
            let wat = format!(
                "(module (import \"env\" \"x\" {what}) (func (export \"proxy_abi_version_0_2_1\")))");
            let refused = refusal(engine, Setup::default(), &wat);
            assert!(refused.starts_with(text), "{refused}");
        }
    }

    fn an_import_of_a_wrong_type_is_named_with_both_types(engine) {
        let wat = importing("proxy_abi_version_0_2_1", "proxy_log", "(param i32 i64) (result i32)");
        assert_eq!(refusal(engine, Setup::default(), &wat),
            "import env.proxy_log: imported as (i32, i64) -> i32, offered as (i32, i32, i32) -> i32");
        let wat = importing("proxy_abi_version_0_2_1", "proxy_done", "");
        assert_eq!(refusal(engine, Setup::default(), &wat),
            "import env.proxy_done: imported as (), offered as () -> i32");
    }

    fn a_callback_of_a_wrong_type_is_named_with_both_types(engine) {
        let wat = "(module (memory (export \"memory\") 1)
            (func (export \"proxy_abi_version_0_2_1\"))
            (func (export \"proxy_on_request_headers\") (param i32 i32) (result i32) i32.const 0))";
        assert_eq!(refusal(engine, Setup::default(), wat),
            "export proxy_on_request_headers: its type is (i32, i32) -> i32, \
             must be (i32, i32, i32) -> i32");
    }

    fn header_callbacks_of_0_1_0_take_two_or_three_numbers(engine) {
        for name in ["request_headers", "response_headers"] {
            let wat = |marker: &str, params: &str| format!("(module
                (import \"env\" \"proxy_set_tick_period_milliseconds\" (func $tick (param i32) (result i32)))
                (memory (export \"memory\") 1) (func (export \"{marker}\"))
                (func (export \"proxy_on_{name}\") (param {params}) (result i32)
                    (drop (call $tick (i32.add (i32.const 40) (local.get {}))))
                    i32.const 0))", params.matches("i32").count() - 1);
            for (params, last) in [("i32 i32", 46), ("i32 i32 i32", 41)] {
                let guest = engine.wat(Setup::default(), &wat("proxy_abi_version_0_1_0", params)).expect(params);
                let mut chain = guest.chain();
                chain.headers(Way::Request, true);
                if name == "response_headers" {
                    chain.exchange().borrow_mut().response_headers =
                        Some(cofferdam_abi::testing::map(&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", "")]));
                    chain.headers(Way::Response, true);
                }
                let effects = format!("{:?}", guest.vm.borrow_mut().take_root_effects());
                assert!(effects.contains(&format!("{last}ms")), "{name} {params}: {effects}");
            }
            // Envoy takes none but its own, and neither does another version.
            for compat in [Compat::ENVOY, Compat::SPEC] {
                engine.wat(Setup::compat(compat), &wat("proxy_abi_version_0_1_0", "i32 i32")).expect("loads");
                assert_eq!(refusal(engine, Setup::compat(compat), &wat("proxy_abi_version_0_1_0", "i32 i32 i32")),
                    format!("export proxy_on_{name}: its type is (i32, i32, i32) -> i32, must be (i32, i32) -> i32"));
            }
            assert!(refusal(engine, Setup::default(), &wat("proxy_abi_version_0_2_0", "i32 i32")).contains("its type is"));
            assert!(refusal(engine, Setup::default(), &wat("proxy_abi_version_0_1_0", "i32 i32 i32 i32")).contains("its type is"));
        }
    }

    fn an_allocator_or_start_function_of_a_wrong_type_is_named(engine) {
        for name in ["malloc", "proxy_on_memory_allocate", "_initialize", "_start", "main", "__main_void"] {
            let wat = format!("(module (memory (export \"memory\") 1)
                (func (export \"proxy_abi_version_0_2_1\")) (func (export \"{name}\") (param i64)))");
            let text = refusal(engine, Setup::default(), &wat);
            assert!(text.starts_with(&format!("export {name}: its type is (i64), must be ")), "{text}");
        }
    }

    fn every_problem_is_found_and_not_only_the_first(engine) {
        let _ = engine;
        let module = parse("(module (import \"env\" \"a\" (func)) (import \"wasi_unstable\" \"b\" (func))
            (import \"elsewhere\" \"proxy_log\" (func (param i32 i32 i32) (result i32)))
            (import \"env\" \"proxy_log\" (func (param i32 i32 i32) (result i32)))
            (func (export \"proxy_abi_version_0_2_1\")))");
        let problems: Vec<String> =
            module.problems(&Compat::SUPERSET).iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        for (problem, start) in problems.iter().zip([
            "import env.a:", "import wasi_unstable.b:", "import elsewhere.proxy_log:",
            "export proxy_on_memory_allocate:", "export memory:",
        ]) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    fn a_module_may_import_a_thousand_times_and_no_more(engine) {
        let _ = engine;
        let importing = |times: usize| {
            let imports = "(import \"env\" \"proxy_log\" (func (param i32 i32 i32) (result i32)))".repeat(times);
            format!("(module {imports} (func (export \"proxy_abi_version_0_2_1\")))")
        };
        assert_eq!(parse(&importing(1000)).imports.len(), 1000);
        let error = Module::parse(wat::parse_str(importing(1001)).expect("WAT").into()).expect_err("too many");
        assert!(error.to_string().contains("more than 1000"), "{error}");
    }

    fn a_type_of_any_length_is_shown_in_short(engine) {
        let _ = engine;
        let module = parse(&importing("proxy_abi_version_0_2_1", "proxy_log", &ty(&"i".repeat(1000), true)));
        let problem = module.problems(&Compat::SUPERSET)[0].to_string();
        assert!(problem.contains("i32, …) -> i32, offered as (i32, i32, i32) -> i32"), "{problem}");
        assert!(problem.len() < 200, "{problem}");
    }

    fn a_guest_that_takes_values_needs_an_allocator(engine) {
        let shape = Shape { allocator: "", ..Shape::default() };
        let setup = Setup { shape, ..Setup::default() };
        let error = engine.load(setup, "on tick\n (!say #1)").expect_err("refused");
        assert!(error.to_string().contains("missing, and so is malloc"), "{error}");
    }

    fn a_guest_that_takes_nothing_needs_no_allocator_and_no_memory(engine) {
        engine.wat(Setup::default(), "(module (func (export \"proxy_abi_version_0_2_1\")))").expect("loads");
    }

    fn either_allocator_alone_is_used(engine) {
        for allocator in ["malloc", "proxy_on_memory_allocate"] {
            let shape = Shape { allocator, ..Shape::default() };
            let setup = Setup { shape, ..Setup::default() };
            let guest = engine.load(setup, "on request_headers
                (!say (!get_header_map_value #0 {\"x-a\"} @out)) (!show)").expect(allocator);
            assert_eq!(guest.get(), ["0", "1"], "{allocator}");
        }
    }

    fn of_two_allocators_the_preset_chooses_and_only_that_one_is_called(engine) {
        let source = "raw
            (func (export \"malloc\") (param $size i32) (result i32)
                (!say #1) (!allocate (local.get $size)))
            (func (export \"proxy_on_memory_allocate\") (param $size i32) (result i32)
                (!say #2) (!allocate (local.get $size)))
        on request_headers
            (!say (!get_header_map_value #0 {\"x-a\"} @out))";
        let shape = Shape { allocator: "", ..Shape::default() };
        for (compat, called) in [(Compat::SUPERSET, "2"), (Compat::ENVOY, "1"), (Compat::SPEC, "2")] {
            let guest = engine.load(Setup { shape, ..Setup::compat(compat) }, source).expect("loads");
            assert_eq!(guest.get(), [called, "0"]);
        }
    }

    fn what_is_no_module_is_refused(engine) {
        let _ = engine;
        let good = wat::parse_str(guest::module("on tick\n (!say #1)", Shape::default())).expect("WAT");
        for (bytes, text) in [
            (&b""[..], "the file is empty"),
            (b"MZ\x90\0", "it does not begin as one"),
            (b"\0asm", "not a usable module"),
            (b"\0asm\x0d\0\x01\0", "not a usable module"),
        ] {
            let error = Module::parse(Bytes::copy_from_slice(bytes)).expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!(Module::parse(good.into()).is_ok());
    }

    fn a_module_cut_anywhere_harms_nobody(engine) {
        let good = wat::parse_str(guest::module("on tick\n (!say #1)", Shape::default())).expect("WAT");
        for end in 0..good.len() {
            if let Ok(module) = Module::parse(Bytes::copy_from_slice(&good[..end])) {
                let _ = module.problems(&Compat::SUPERSET);
                let _ = compiles(engine, &module);
            }
        }
    }

    fn a_module_with_any_byte_changed_harms_nobody(engine) {
        let good = wat::parse_str(guest::module("on tick\n (!say #1)", Shape::default())).expect("WAT");
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                if let Ok(module) = Module::parse(bad.into()) {
                    let _ = module.problems(&Compat::SUPERSET);
                    let _ = compiles(engine, &module);
                }
            }
        }
    }

    fn hostcalls_of_other_versions_link_unless_told_otherwise(engine) {
        for (marker, name, ty) in [
            ("proxy_abi_version_0_2_1", "proxy_get_configuration", "(param i32 i32) (result i32)"),
            ("proxy_abi_version_0_2_0", "proxy_get_log_level", "(param i32) (result i32)"),
            ("proxy_abi_version_0_2_1", "proxy_clear_route_cache", "(result i32)"),
            ("proxy_abi_version_0_1_0", "proxy_continue_stream", "(param i32) (result i32)"),
            ("proxy_abi_version_0_2_1", "proxy_redis_init", "(param i32 i32 i32 i32 i32 i32 i32) (result i32)"),
            ("proxy_abi_version_0_2_1", "abort", "(param i32 i32 i32 i32)"),
        ] {
            let wat = importing(marker, name, ty);
            engine.wat(Setup::default(), &wat).expect(name);
            for compat in [Compat::ENVOY, Compat::SPEC] {
                let text = refusal(engine, Setup::compat(compat), &wat);
                assert!(text.starts_with(&format!("import env.{name}: not part of version")), "{text}");
            }
        }
    }

    fn a_versions_own_hostcalls_link_under_every_preset(engine) {
        let own = [
            ("proxy_abi_version_0_1_0", "proxy_continue_request", "(result i32)"),
            ("proxy_abi_version_0_1_0", "proxy_get_configuration", "(param i32 i32) (result i32)"),
            ("proxy_abi_version_0_2_0", "proxy_close_stream", "(param i32) (result i32)"),
            ("proxy_abi_version_0_2_1", "proxy_get_log_level", "(param i32) (result i32)"),
            ("proxy_abi_version_0_2_1", "emscripten_notify_memory_growth", "(param i32)"),
            ("proxy_abi_version_0_2_1", "pthread_equal", "(param i32 i32) (result i32)"),
            ("proxy_abi_version_0_2_1", "envoy_resolve_dns", "(param i32 i32 i32) (result i32)"),
        ];
        for (marker, name, ty) in own {
            for compat in PRESETS {
                engine.wat(Setup::compat(compat), &importing(marker, name, ty)).expect(name);
            }
        }
    }

    fn the_calls_of_0_1_0_link_with_and_without_a_result(engine) {
        for name in ["proxy_continue_request", "proxy_continue_response", "proxy_clear_route_cache"] {
            for ty in ["", "(result i32)"] {
                let wat = importing("proxy_abi_version_0_1_0", name, ty);
                engine.wat(Setup::default(), &wat).expect(name);
            }
            let wat = importing("proxy_abi_version_0_1_0", name, "(param i32)");
            assert!(refusal(engine, Setup::default(), &wat).contains("imported as (i32)"));
        }
    }

    fn every_hostcall_links_with_its_type(engine) {
        for (name, params) in guest::ENV {
            let wat = importing("proxy_abi_version_0_2_1", &format!("proxy_{name}"), &ty(params, true));
            engine.wat(Setup::default(), &wat).expect(name);
        }
    }

    fn every_wasi_function_links_under_both_names(engine) {
        for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
            for (name, params) in guest::WASI {
                let ty = ty(params, *name != "proc_exit");
                let wat = format!("(module (import \"{module}\" \"{name}\" (func {ty}))
                    (memory (export \"memory\") 1) (func (export \"proxy_abi_version_0_2_1\")))");
                engine.wat(Setup::default(), &wat).expect(name);
            }
        }
    }

    fn an_import_listed_twice_links(engine) {
        let import = "(import \"env\" \"proxy_log\" (func (param i32 i32 i32) (result i32)))";
        let wat = format!("(module {import} {import} (memory (export \"memory\") 1)
            (func (export \"malloc\") (param i32) (result i32) i32.const 64)
            (func (export \"proxy_abi_version_0_2_1\")))");
        engine.wat(Setup::default(), &wat).expect("loads");
    }

    fn a_hostcall_that_is_not_built_answers_12_and_is_listed(engine) {
        let source = "imports\n (import \"env\" \"envoy_resolve_dns\" (func $dns (param i32 i32 i32) (result i32)))
            on tick\n (!say (call $dns #-1 #-1 #-1))";
        let guest: Guest = engine.guest(source);
        assert_eq!(guest.tick(), ["12"]);
        let module = parse(&guest::module(source, Shape::default()));
        let later: Vec<String> = module.later().map(|import| import.full_name()).collect();
        assert_eq!(later, ["env.envoy_resolve_dns"]);
    }

    fn grpc_calls_without_metadata_link_as_old_sdks_import_them(engine) {
        for (name, count) in [("proxy_grpc_call", 10), ("proxy_grpc_stream", 7)] {
            let wat = importing("proxy_abi_version_0_2_1", name, &ty(&"i".repeat(count), true));
            engine.wat(Setup::default(), &wat).expect(name);
        }
    }

    fn a_module_tells_how_it_starts_and_what_it_has(engine) {
        let _ = engine;
        let module = parse("(module (memory (export \"memory\") 2 9)
            (func (export \"proxy_abi_version_0_2_0\")) (func (export \"_initialize\"))
            (func (export \"main\") (param i32 i32) (result i32) i32.const 0)
            (func (export \"proxy_on_log\") (param i32)))");
        assert_eq!(module.entry, Entry::Initialize(Some("main")));
        assert_eq!(module.memory, Some((2, Some(9))));
        assert!(module.makes_stream_contexts());
        assert!(module.sections().any(|(name, size)| name == "export" && size > 0));
    }
}

fn compiles(engine: Engine, module: &Module) -> Result<(), LoadError> {
    engine.code(module, &VmSettings::default()).map(drop)
}
