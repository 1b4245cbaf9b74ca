//! Every hostcall once, with arguments that work.

use crate::suite::case::Filter;

/// A hostcall and a call of it that succeeds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// Without `proxy_`; WASI's as they are.
    pub(super) name: &'static str,
    pub(super) args: &'static [Arg],
    /// What must have been done before, while the root is configured.
    pub(super) setup: &'static str,
    /// The version that has it; empty for all.
    pub(super) abi: &'static str,
    /// The callback in which its arguments mean something.
    pub(super) on: &'static str,
}

/// An argument (a text is two: its address and its length).
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg {
    /// A text or a map, as the guest language writes it.
    Text(&'static str),
    /// Where to put something.
    Out,
    /// An enumeration: a value that works, the highest there is.
    Enum(u32, u32),
    /// Anything else.
    Word(&'static str),
}

use Arg::{Enum, Out, Text, Word};

const HEADERS: &str = "request_headers";
const REQUEST: &str = r#"{pairs ":method" "GET" ":path" "/ok" ":authority" "peer"}"#;
const NONE: Arg = Text("#0 #0");

const METRIC: &str = r#"(drop (!define_metric #1 {"gauge"} #0)) (global.set $g (i32.load #0))"#;
const DATA: &str = r#"(drop (!set_shared_data {"key"} {"value"} #0))"#;
const QUEUE: &str = r#"(drop (!register_shared_queue {"queue"} #0)) (global.set $g (i32.load #0))
   (loop $more (drop (!enqueue_shared_queue (global.get $g) {"item"}))
    (global.set $h (i32.add (global.get $h) #1))
    (br_if $more (i32.lt_u (global.get $h) #40)))"#;

const fn call(name: &'static str, args: &'static [Arg]) -> Call {
    Call {
        name,
        args,
        setup: "",
        abi: "",
        on: HEADERS,
    }
}

const fn after(setup: &'static str, name: &'static str, args: &'static [Arg]) -> Call {
    Call {
        setup,
        ..call(name, args)
    }
}

const fn of(abi: &'static str, name: &'static str, args: &'static [Arg]) -> Call {
    Call {
        abi,
        ..call(name, args)
    }
}

/// Module `env`.
pub(super) const ENV: &[Call] = &[
    call("log", &[Enum(2, 5), Text(r#"{"text"}"#)]),
    of("0.2.1", "get_log_level", &[Out]),
    call("get_current_time_nanoseconds", &[Out]),
    call("set_tick_period_milliseconds", &[Word("#100")]),
    call("get_status", &[Out, Out, Out]),
    of("0.1.0", "get_configuration", &[Out, Out]),
    call("get_property", &[Text(r#"{"plugin_name"}"#), Out, Out]),
    call("set_property", &[Text(r#"{"own"}"#), Text(r#"{"value"}"#)]),
    call(
        "get_buffer_bytes",
        &[Enum(6, 8), Word("#0"), Word("#9"), Out, Out],
    ),
    call("get_buffer_status", &[Enum(6, 8), Out, Out]),
    Call {
        on: "request_body",
        ..call(
            "set_buffer_bytes",
            &[Enum(0, 8), Word("#0"), Word("#0"), Text(r#"{"x"}"#)],
        )
    },
    call("get_header_map_size", &[Enum(0, 7), Out]),
    call("get_header_map_pairs", &[Enum(0, 7), Out, Out]),
    call("set_header_map_pairs", &[Enum(0, 7), Text(REQUEST)]),
    call(
        "get_header_map_value",
        &[Enum(0, 7), Text(r#"{":path"}"#), Out, Out],
    ),
    call(
        "add_header_map_value",
        &[Enum(0, 7), Text(r#"{"x-new"}"#), Text(r#"{"1"}"#)],
    ),
    call(
        "replace_header_map_value",
        &[Enum(0, 7), Text(r#"{"x-new"}"#), Text(r#"{"1"}"#)],
    ),
    call(
        "remove_header_map_value",
        &[Enum(0, 7), Text(r#"{"x-new"}"#)],
    ),
    call("continue_stream", &[Enum(0, 3)]),
    call("close_stream", &[Enum(0, 3)]),
    of("0.1.0", "continue_request", &[]),
    of("0.1.0", "continue_response", &[]),
    of("0.1.0", "clear_route_cache", &[]),
    call(
        "send_local_response",
        &[
            Word("#403"),
            Text(r#"{"details"}"#),
            Text(r#"{"body"}"#),
            Text(r#"{pairs "x-local" "1"}"#),
            Word("#-1"),
        ],
    ),
    call("set_effective_context", &[Word("#1")]),
    call("done", &[]),
    call(
        "http_call",
        &[
            Text(r#"{"peer"}"#),
            Text(REQUEST),
            Text(r#"{"body"}"#),
            Text(r#"{pairs "x-trailer" "1"}"#),
            Word("#1000"),
            Out,
        ],
    ),
    call(
        "grpc_call",
        &[
            Text(r#"{"grpc"}"#),
            Text(r#"{"conformance.Peer"}"#),
            Text(r#"{"Echo"}"#),
            Text(r#"{pairs "x-meta" "1"}"#),
            Text(r#"{"message"}"#),
            Word("#1000"),
            Out,
        ],
    ),
    call(
        "grpc_stream",
        &[
            Text(r#"{"grpc"}"#),
            Text(r#"{"conformance.Peer"}"#),
            Text(r#"{"Chat"}"#),
            Text(r#"{pairs "x-meta" "1"}"#),
            Out,
        ],
    ),
    after(
        r#"(drop (!grpc_stream {"grpc"} {"conformance.Peer"} {"Chat"} #0 #0 #0))
   (global.set $g (i32.load #0))"#,
        "grpc_send",
        &[Word("(global.get $g)"), Text(r#"{"message"}"#), Word("#0")],
    ),
    call("grpc_cancel", &[Word("#5")]),
    call("grpc_close", &[Word("#5")]),
    after(
        DATA,
        "get_shared_data",
        &[Text(r#"{"key"}"#), Out, Out, Out],
    ),
    call(
        "set_shared_data",
        &[Text(r#"{"key"}"#), Text(r#"{"value"}"#), Word("#0")],
    ),
    call("register_shared_queue", &[Text(r#"{"queue"}"#), Out]),
    after(
        QUEUE,
        "resolve_shared_queue",
        &[NONE, Text(r#"{"queue"}"#), Out],
    ),
    after(
        QUEUE,
        "enqueue_shared_queue",
        &[Word("(global.get $g)"), Text(r#"{"item"}"#)],
    ),
    after(
        QUEUE,
        "dequeue_shared_queue",
        &[Word("(global.get $g)"), Out, Out],
    ),
    call("define_metric", &[Enum(1, 2), Text(r#"{"gauge"}"#), Out]),
    after(
        METRIC,
        "increment_metric",
        &[Word("(global.get $g)"), Word("(i64.const 1)")],
    ),
    after(
        METRIC,
        "record_metric",
        &[Word("(global.get $g)"), Word("(i64.const 1)")],
    ),
    after(METRIC, "get_metric", &[Word("(global.get $g)"), Out]),
    call(
        "call_foreign_function",
        &[Text(r#"{"compress"}"#), Text(r#"{"plain"}"#), Out, Out],
    ),
];

/// WASI: those that have something to do with memory.
pub(super) const WASI: &[Call] = &[
    // Vectors lie at address 64: the text at 4096, and 4 bytes of it.
    call("fd_write", &[Word("#1"), Text("#64 #1"), Out]),
    call("fd_tell", &[Word("#1"), Out]),
    call("environ_sizes_get", &[Out, Out]),
    call("environ_get", &[Out, Out]),
    call("args_sizes_get", &[Out, Out]),
    call("clock_time_get", &[Word("#0"), Word("(i64.const 0)"), Out]),
    call("clock_res_get", &[Word("#0"), Out]),
    call("random_get", &[Text("#128 #8")]),
    call("poll_oneoff", &[Word("#0"), Word("#0"), Word("#0"), Out]),
];

// === impl Call ===

impl Call {
    /// Its name in the module.
    pub(super) fn import(&self) -> String {
        let wasi = WASI.iter().any(|other| other.name == self.name);
        format!("{}{}", if wasi { "" } else { "proxy_" }, self.name)
    }

    /// The call, with `spoilt` in the place of the argument of that number.
    pub(super) fn text(&self, spoilt: Option<(usize, &str)>) -> String {
        let mut out = format!("(!{}", self.name);
        for (index, arg) in self.args.iter().enumerate() {
            out.push(' ');
            match (spoilt, arg) {
                (Some((at, instead)), _) if at == index => out.push_str(instead),
                (_, Text(text) | Word(text)) => out.push_str(text),
                (_, Enum(value, _)) => out.push_str(&format!("#{value}")),
                // Below what `$say` writes to, eight bytes apart.
                (_, Out) => out.push_str(&format!("#{}", 8 * (index % 4))),
            }
        }
        out.push(')');
        out
    }

    /// A guest that says what each of these calls answers.
    pub(super) fn guest(&self, calls: &[String]) -> Filter {
        let mut source = String::new();
        if !self.setup.is_empty() {
            source.push_str(&format!("on configure\n   {}\n", self.setup));
        }
        source.push_str(&format!("on {}\n", self.on));
        if self.on == "request_body" {
            source.push_str("   (if (global.get $h) (then (return #0))) (global.set $h #1)\n");
        }
        for call in calls {
            source.push_str(&format!("   (!say {call})\n"));
        }
        let mut filter = Filter::guest(&source);
        filter.set_abi(self.abi);
        filter
            .environment
            .insert("NAME".to_owned(), "value".to_owned());
        filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_abi::testing::guest;

    #[test]
    fn no_hostcall_of_these_versions_is_left_out() {
        for (name, _) in guest::ENV {
            let later = [
                "redis_init",
                "redis_call",
                "inject_encoded_data_to_filter_chain",
            ]
            .contains(name)
                || name.starts_with("get_upstream_hosts")
                || name.starts_with("set_upstream_override_host");
            let listed = ENV.iter().any(|call| call.name == *name);
            assert!(listed != later, "{name}");
        }
    }

    #[test]
    fn arguments_are_as_many_as_the_type_has() {
        for call in ENV.iter().chain(WASI) {
            let count = |arg: &Arg| if matches!(arg, Text(_)) { 2 } else { 1 };
            let all = guest::ENV.iter().chain(guest::WASI);
            let ty = all.clone().find(|(name, _)| *name == call.name);
            let wanted = ty.map(|(_, params)| params.len());
            assert_eq!(
                wanted,
                Some(call.args.iter().map(count).sum()),
                "{}",
                call.name
            );
        }
    }
}
