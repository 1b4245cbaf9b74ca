//! Every pointer of every hostcall led astray, every number that is none: generated, so
//! that none is forgotten.

use cofferdam_abi::{Way, testing};

use crate::guest::{self, Shape};
use crate::world::{Drive, Engine, Look, Setup};

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arg {
    /// A number that may be anything.
    Number(&'static str),
    /// A number with this largest value.
    Enum(u32),
    /// Start and length of a text: two arguments.
    Text(&'static str),
    /// Where a result of so many bytes goes.
    Out(u32),
}

use Arg::{Enum, Number, Out, Text};

/// Hostcalls that are built, with arguments under which they answer 0 in a request's body
/// callback at its end.
const CALLS: &[(&str, &[Arg])] = &[
    ("log", &[Enum(5), Text("m")]),
    ("get_log_level", &[Out(4)]),
    ("get_current_time_nanoseconds", &[Out(8)]),
    ("set_tick_period_milliseconds", &[Number("5")]),
    ("get_status", &[Out(4), Out(4), Out(4)]),
    ("get_configuration", &[Out(4), Out(4)]),
    ("get_property", &[Text("plugin_name"), Out(4), Out(4)]),
    ("set_property", &[Text("k"), Text("v")]),
    (
        "get_buffer_bytes",
        &[Enum(8), Number("0"), Number("9"), Out(4), Out(4)],
    ),
    ("get_buffer_status", &[Enum(8), Out(4), Out(4)]),
    (
        "set_buffer_bytes",
        &[Enum(8), Number("0"), Number("0"), Text("v")],
    ),
    ("get_header_map_size", &[Enum(7), Out(4)]),
    ("get_header_map_pairs", &[Enum(7), Out(4), Out(4)]),
    ("set_header_map_pairs", &[Enum(7), Text("")]),
    (
        "get_header_map_value",
        &[Enum(7), Text("x"), Out(4), Out(4)],
    ),
    ("add_header_map_value", &[Enum(7), Text("x"), Text("y")]),
    ("replace_header_map_value", &[Enum(7), Text("x"), Text("y")]),
    ("remove_header_map_value", &[Enum(7), Text("x")]),
    ("continue_stream", &[Enum(3)]),
    ("close_stream", &[Enum(3)]),
    ("set_effective_context", &[Number("0")]),
    (
        "call_foreign_function",
        &[Text("compress"), Text("v"), Out(4), Out(4)],
    ),
    (
        "send_local_response",
        &[Number("200"), Text("d"), Text("b"), Text(""), Number("-1")],
    ),
    ("get_shared_data", &[Text("k"), Out(4), Out(4), Out(4)]),
    ("set_shared_data", &[Text("k"), Text("v"), Number("0")]),
    ("register_shared_queue", &[Text("q"), Out(4)]),
    ("resolve_shared_queue", &[Text("vm"), Text("q"), Out(4)]),
    ("enqueue_shared_queue", &[Number("1"), Text("i")]),
    ("dequeue_shared_queue", &[Number("1"), Out(4), Out(4)]),
    ("define_metric", &[Enum(2), Text("m"), Out(4)]),
    ("increment_metric", &[Number("4"), Number("L")]),
    ("record_metric", &[Number("4"), Number("L")]),
    ("get_metric", &[Number("4"), Out(8)]),
    (
        "http_call",
        &[
            Text("c"),
            Text(REQUEST),
            Text("b"),
            Text(""),
            Number("0"),
            Out(4),
        ],
    ),
    (
        "grpc_call",
        &[
            Text("c"),
            Text("s"),
            Text("m"),
            Text(""),
            Text("b"),
            Number("0"),
            Out(4),
        ],
    ),
    (
        "grpc_stream",
        &[Text("c"), Text("s"), Text("m"), Text(""), Out(4)],
    ),
    ("grpc_send", &[Number("6"), Text("b"), Number("0")]),
    ("grpc_close", &[Number("6")]),
    ("grpc_cancel", &[Number("6")]),
    (
        "redis_init",
        &[Text("c"), Text("u"), Text("p"), Number("0")],
    ),
    ("redis_call", &[Text("c"), Text("q"), Out(4)]),
];

/// What those need to be there.
const PREPARE: &str = "(drop (!set_shared_data {\"k\"} {\"v\"} #0))
    (drop (!register_shared_queue {\"q\"} #512))
    (local.set $a #9)
    (loop $more
        (drop (!enqueue_shared_queue #1 #0 #1))
        (br_if $more (local.tee $a (i32.sub (local.get $a) #1))))
    (drop (!define_metric #0 {\"m\"} #512))
    (drop (!grpc_stream {\"c\"} #0 #0 #0 #0 #0 #0 #512))
    (drop (!redis_init {\"c\"} #0 #0 #0 #0 #0))";

/// The least a request has, as pairs.
const REQUEST: &str = "\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00\\0a\\00\\00\\00\\01\\00\\00\\00:method\\00GET\\00:path\\00/\\00:authority\\00a\\00";

/// WASI likewise: pointers only, and none with lengths of their own but these.
const WASI: &[(&str, &[Arg])] = &[
    (
        "fd_write",
        &[Number("1"), Number("512"), Number("0"), Out(4)],
    ),
    ("fd_fdstat_get", &[Number("1"), Out(24)]),
    ("fd_tell", &[Number("2"), Out(8)]),
    ("environ_sizes_get", &[Out(4), Out(4)]),
    ("environ_get", &[Out(4), Out(4)]),
    ("args_sizes_get", &[Out(4), Out(4)]),
    ("clock_time_get", &[Number("0"), Number("L"), Out(8)]),
    ("clock_res_get", &[Number("1"), Out(8)]),
    (
        "poll_oneoff",
        &[Number("0"), Number("0"), Number("0"), Out(4)],
    ),
];

/// 128 KiB of memory: starts that leave it, for a range of so many bytes.
fn astray(length: u32) -> Vec<String> {
    let last = 131_072 - length + 1;
    vec![
        last.to_string(),
        "131072".into(),
        "0x7fffffff".into(),
        "0x80000000".into(),
        "-4".into(),
        "-1".into(),
    ]
}

/// A call with one argument's form replaced.
fn call(name: &str, args: &[Arg], bad: Option<(usize, &str)>) -> String {
    let mut text = format!("(!{name}");
    let mut place = 512;
    for (index, arg) in args.iter().enumerate() {
        text.push(' ');
        match bad {
            Some((at, form)) if at == index => {
                text.push_str(form);
                continue;
            }
            _ => {}
        }
        place += 32;
        text.push_str(&match arg {
            // The request's body and the request's headers.
            Enum(_) => "#0".to_owned(),
            Number("L") => "(i64.const 1)".to_owned(),
            Number(number) => format!("#{number}"),
            Text("") => "#0 #0".to_owned(),
            Text(text) => format!("{{\"{text}\"}}"),
            Out(_) => format!("#{place}"),
        });
    }
    text.push(')');
    text
}

/// Runs calls where headers and body of a request can be changed; what they answer.
fn answers(engine: Engine, calls: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for some in calls.chunks(100) {
        let says: String = some.iter().map(|call| format!("(!say {call})\n")).collect();
        let mut setup = Setup::real_stop();
        setup.plugin.name = "name".into();
        setup.settings.vm_id = "vm".into();
        setup.settings.environment = vec![("A".into(), "b".into())];
        setup.plugin.configuration = "c".into();
        setup.settings.limits.callouts = 200;
        setup.clusters = vec!["c".into()];
        let guest = engine
            .load(setup, &format!("on request_headers\n (drop (!add_header_map_value #0 {{\"x\"}} {{\"y\"}})) {PREPARE} (return #1)\non request_body\n {says}"))
            .unwrap_or_else(|error| panic!("{error}"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "hello", true);
        assert_eq!(chain.failure(), None);
        all.extend(
            guest
                .logs()
                .into_iter()
                .filter(|log| log.len() < 3 && log != "m"),
        );
    }
    assert_eq!(all.len(), calls.len(), "{all:?}");
    all
}

/// Checks that each of these calls gives that answer.
fn all_answer(engine: Engine, calls: &[String], answer: &str) {
    for (call, given) in calls.iter().zip(answers(engine, calls)) {
        assert_eq!(given, answer, "{call}");
    }
}

each_engine! {
    fn the_table_names_every_hostcall_that_is_built(engine) {
        let _ = engine;
        let names: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
        let calls: String = guest::ENV.iter().map(|(name, params)| {
            let args: String = params.chars().map(|p| if p == 'l' { "(i64.const 0)" } else { "#0" }).collect();
            format!("(drop (!{name} {args}))")
        }).collect();
        let wat = guest::module(&format!("on tick\n {calls}"), Shape::default());
        let module = cofferdam_abi::Module::parse(wat::parse_str(wat).expect("WAT").into()).expect("parses");
        let later: Vec<&str> = module.later().map(|import| import.name.trim_start_matches("proxy_")).collect();
        let without_arguments = [
            "continue_request",
            "continue_response",
            "clear_route_cache",
            "done",
        ];
        for (name, _) in guest::ENV {
            let known = names.contains(name) || later.contains(name) || without_arguments.contains(name);
            assert!(known, "{name} is built and not in the table");
            assert!(!(names.contains(name) && later.contains(name)), "{name} is not built");
        }
    }

    fn every_call_of_the_table_works_when_nothing_is_wrong(engine) {
        let good: Vec<String> = CALLS
            .iter()
            .filter(|(name, _)| !matches!(*name, "set_header_map_pairs" | "remove_header_map_value"))
            .map(|(name, args)| call(name, args, None))
            .collect();
        // The stream is continued and closed on the way: its maps are read-only from then on.
        let (before, after) = good.split_at(CALLS.iter().position(|(name, _)| *name == "continue_stream").expect("there") - 2);
        all_answer(engine, before, "0");
        all_answer(engine, after, "0");
        let wasi: Vec<String> = WASI.iter().map(|(name, args)| call(name, args, None)).collect();
        all_answer(engine, &wasi, "0");
    }

    fn every_text_that_leaves_memory_answers_6(engine) {
        let mut calls = Vec::new();
        for (name, args) in CALLS {
            for (index, arg) in args.iter().enumerate() {
                if !matches!(arg, Text(_)) {
                    continue;
                }
                for length in [1, 2, 4, 65_536] {
                    for start in astray(length) {
                        calls.push(call(name, args, Some((index, &format!("#{start} #{length}")))));
                    }
                }
                for (start, length) in [("0", "131073"), ("1", "131072"), ("1", "-1"), ("-1", "-1"), ("-1", "2"), ("0", "0x80000000"), ("131073", "0")] {
                    calls.push(call(name, args, Some((index, &format!("#{start} #{length}")))));
                }
            }
        }
        assert!(calls.len() > 300);
        all_answer(engine, &calls, "6");
    }

    fn every_result_that_leaves_memory_answers_6(engine) {
        let mut calls = Vec::new();
        for (name, args) in CALLS {
            for (index, arg) in args.iter().enumerate() {
                if let Out(size) = arg {
                    calls.extend(astray(*size).iter().map(|start| call(name, args, Some((index, &format!("#{start}"))))));
                }
            }
        }
        assert!(calls.len() > 90);
        all_answer(engine, &calls, "6");
    }

    fn every_result_of_wasi_that_leaves_memory_answers_21(engine) {
        let mut calls = Vec::new();
        for (name, args) in WASI {
            for (index, arg) in args.iter().enumerate() {
                if let Out(size) = arg {
                    calls.extend(astray(*size).iter().map(|start| call(name, args, Some((index, &format!("#{start}"))))));
                }
            }
        }
        all_answer(engine, &calls, "21");
    }

    fn every_enum_past_its_last_answers_2_even_with_bad_pointers(engine) {
        let mut calls = Vec::new();
        for (name, args) in CALLS {
            for (index, arg) in args.iter().enumerate() {
                let Enum(last) = arg else { continue };
                for value in [last + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                    let form = format!("#{value}");
                    calls.push(call(name, args, Some((index, &form))));
                    // Its name comes first, as in Envoy.
                    if *name == "define_metric" {
                        continue;
                    }
                    let rest: String = args[index + 1..].iter().map(|arg| match arg {
                        Text(_) => " #-1 #-1",
                        _ => " #-1",
                    }).collect();
                    calls.push(format!("(!{name} {form}{rest})"));
                }
            }
        }
        all_answer(engine, &calls, "2");
    }

    fn results_may_lie_at_the_very_end_of_memory_and_unaligned(engine) {
        let mut calls = Vec::new();
        for (name, args) in CALLS.iter().chain(WASI) {
            for (index, arg) in args.iter().enumerate() {
                // The environment's own text does not fit there.
                if let Out(size) = arg && *name != "environ_get" {
                    for start in [131_072 - size, 1001] {
                        calls.push(call(name, args, Some((index, &format!("#{start}")))));
                    }
                }
            }
        }
        all_answer(engine, &calls, "0");
    }

    fn a_guest_without_memory_gets_6_for_everything(engine) {
        let imports = "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $c (param i32 i64 i32) (result i32)))
            (import \"wasi_snapshot_preview1\" \"random_get\" (func $r (param i32 i32) (result i32)))";
        let guest = engine.wat(Setup::default(), &format!("(module {imports}
            (func (export \"proxy_abi_version_0_2_1\"))
            (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
                (if (i32.ne (call $c (i32.const 0) (i64.const 0) (i32.const 0)) (i32.const 21)) (then unreachable))
                (if (i32.ne (call $r (i32.const 0) (i32.const 4)) (i32.const 21)) (then unreachable))
                (i32.const 0)))")).expect("loads");
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, true), ["headers."]);
    }

    fn any_numbers_at_all_break_nothing(engine) {
        // A fixed sequence of arguments in all sizes, for every import there is.
        let mut seed = 0x9e37_79b9_u32;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            match seed % 5 {
                0 => seed % 10,
                1 => seed % 140_000,
                2 => u32::MAX - seed % 10,
                3 => 0,
                _ => seed,
            }
        };
        for round in 0..40 {
            let mut code = String::new();
            for (name, params) in guest::ENV.iter().chain(guest::WASI) {
                if *name == "proc_exit" {
                    continue;
                }
                let args: String = params
                    .chars()
                    .map(|param| if param == 'l' { format!(" (i64.const {})", next()) } else { format!(" #{}", next()) })
                    .collect();
                code += &format!("(drop (!{name}{args}))\n");
            }
            let names = ["request_headers", "request_body", "request_trailers", "response_headers", "response_body", "log", "tick"];
            let source: String = names.iter().map(|name| format!("on {name}\n {code}")).collect();
            let guest = engine.guest(&source);
            guest.vm.borrow_mut().tick(guest.root).unwrap_or_else(|trap| panic!("round {round}: {trap}"));
            let mut chain = cofferdam_abi::Chain::begin(testing::get(), [guest.handle(), guest.handle()], false);
            chain.headers(Way::Request, false);
            chain.data(Way::Request, "body", false);
            chain.trailers(Way::Request, &[("t", "1")]);
            chain.respond(false);
            chain.data(Way::Response, "body", true);
            chain.poll();
            chain.end();
            guest.logs();
        }
    }
}
