//! Guests in a few lines: WAT with the tedious parts left out.
//!
//! A source is lines of `on NAME` and `raw`, each followed by its text. `on NAME` begins
//! the export `proxy_on_NAME`, whose parameters are `$a` to `$e`; it answers what lets
//! things go on unless it returns something else. `raw` begins module fields, `imports`
//! those that must come first. In all of them:
//!
//! | written | means |
//! |---|---|
//! | `#7` | `(i32.const 7)` |
//! | `{"text"}` | address and length of that text |
//! | `@out` | two addresses for a value the host hands over |
//! | `!name` | `call $name`; hostcalls (without `proxy_`) are imported when used |
//!
//! There are `$say` (logs a number), `$text` (logs a text), `$show` (logs the value at
//! `@out`), two globals `$g` and `$h`, and an allocator that grows memory when it must.

use std::fmt::Write as _;

/// What is left out of a guest, or differs, from one that loads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) marker: &'static str,
    pub(crate) allocator: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            marker: "proxy_abi_version_0_2_1",
            allocator: "proxy_on_memory_allocate",
        }
    }
}

/// Module `env`, names without `proxy_`: parameters (`i` is i32, `l` i64) and result.
pub(crate) const ENV: &[(&str, &str)] = &[
    ("log", "iii"),
    ("get_log_level", "i"),
    ("get_current_time_nanoseconds", "i"),
    ("set_tick_period_milliseconds", "i"),
    ("get_status", "iii"),
    ("get_configuration", "ii"),
    ("get_property", "iiii"),
    ("set_property", "iiii"),
    ("get_buffer_bytes", "iiiii"),
    ("get_buffer_status", "iii"),
    ("set_buffer_bytes", "iiiii"),
    ("get_header_map_size", "ii"),
    ("get_header_map_pairs", "iii"),
    ("set_header_map_pairs", "iii"),
    ("get_header_map_value", "iiiii"),
    ("add_header_map_value", "iiiii"),
    ("replace_header_map_value", "iiiii"),
    ("remove_header_map_value", "iii"),
    ("continue_stream", "i"),
    ("close_stream", "i"),
    ("continue_request", ""),
    ("continue_response", ""),
    ("clear_route_cache", ""),
    ("send_local_response", "iiiiiiii"),
    ("set_effective_context", "i"),
    ("done", ""),
    ("http_call", "iiiiiiiiii"),
    ("grpc_call", "iiiiiiiiiiii"),
    ("grpc_stream", "iiiiiiiii"),
    ("grpc_send", "iiii"),
    ("grpc_cancel", "i"),
    ("grpc_close", "i"),
    ("get_shared_data", "iiiii"),
    ("set_shared_data", "iiiii"),
    ("register_shared_queue", "iii"),
    ("resolve_shared_queue", "iiiii"),
    ("enqueue_shared_queue", "iii"),
    ("dequeue_shared_queue", "iii"),
    ("define_metric", "iiii"),
    ("increment_metric", "il"),
    ("record_metric", "il"),
    ("get_metric", "ii"),
    ("call_foreign_function", "iiiiii"),
];

/// WASI preview 1, all of which answers an i32 but `proc_exit`.
pub(crate) const WASI: &[(&str, &str)] = &[
    ("fd_write", "iiii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_pread", "iiili"),
    ("fd_seek", "ilii"),
    ("fd_close", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_allocate", "ill"),
    ("fd_datasync", "i"),
    ("fd_sync", "i"),
    ("fd_advise", "illi"),
    ("fd_tell", "ii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("path_open", "iiiiillii"),
    ("path_filestat_get", "iiiii"),
    ("path_create_directory", "iii"),
    ("path_remove_directory", "iii"),
    ("path_unlink_file", "iii"),
    ("path_rename", "iiiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_symlink", "iiiii"),
    ("path_readlink", "iiiiii"),
    ("environ_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("args_sizes_get", "ii"),
    ("args_get", "ii"),
    ("clock_time_get", "ili"),
    ("clock_res_get", "ii"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// Exports of the host's choosing: parameters, and the answer that lets things go on.
pub(crate) const CALLBACKS: &[(&str, usize, Option<u32>)] = &[
    ("context_create", 2, None),
    ("vm_start", 2, Some(1)),
    ("configure", 2, Some(1)),
    ("tick", 1, None),
    ("queue_ready", 2, None),
    ("foreign_function", 3, None),
    ("new_connection", 1, Some(0)),
    ("downstream_data", 3, Some(0)),
    ("upstream_data", 3, Some(0)),
    ("downstream_connection_close", 2, None),
    ("upstream_connection_close", 2, None),
    ("request_headers", 3, Some(0)),
    ("request_body", 3, Some(0)),
    ("request_trailers", 2, Some(0)),
    ("request_metadata", 2, Some(0)),
    ("response_headers", 3, Some(0)),
    ("response_body", 3, Some(0)),
    ("response_trailers", 2, Some(0)),
    ("response_metadata", 2, Some(0)),
    ("http_call_response", 5, None),
    ("grpc_receive_initial_metadata", 3, None),
    ("grpc_receive", 3, None),
    ("grpc_receive_trailing_metadata", 3, None),
    ("grpc_close", 3, None),
    ("done", 1, Some(1)),
    ("log", 1, None),
    ("delete", 1, None),
];

const LIBRARY: &str = r#"
    (global $heap (mut i32) (i32.const 65536))
    (global $g (mut i32) (i32.const 0))
    (global $h (mut i32) (i32.const 0))
    (func $allocate (param $size i32) (result i32) (local $at i32)
        (local.set $at (global.get $heap))
        (global.set $heap (i32.add (local.get $at) (local.get $size)))
        (block $enough (loop $more
            (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
            (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
            (return (i32.const 0))))
        (local.get $at))
    (func $text (param $at i32) (param $length i32)
        (drop (call $log (i32.const 2) (local.get $at) (local.get $length))))
    (func $say (param $value i32) (local $at i32)
        (local.set $at (i32.const 64))
        (loop $digit
            (local.set $at (i32.sub (local.get $at) (i32.const 1)))
            (i32.store8 (local.get $at)
                (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
            (local.set $value (i32.div_u (local.get $value) (i32.const 10)))
            (br_if $digit (local.get $value)))
        (call $text (local.get $at) (i32.sub (i32.const 64) (local.get $at))))
    (func $show (call $text (i32.load (i32.const 16)) (i32.load (i32.const 20))))
"#;

/// The module of a source.
pub(crate) fn module(source: &str, shape: Shape) -> String {
    let mut texts = Texts::default();
    let (mut imported, mut fields) = (String::new(), String::new());
    for block in blocks(source) {
        let (head, body) = block.split_once('\n').unwrap_or((block, ""));
        let body = texts.expand(body);
        match head.trim().split_once(' ') {
            Some(("on", name)) => fields.push_str(&callback(name.trim(), &body, shape.marker)),
            None if head.trim() == "imports" => imported.push_str(&body),
            _ => fields.push_str(&body),
        }
    }
    let code = format!("{LIBRARY}{fields}");
    let mut module = String::from("(module\n");
    imports(&mut module, &code);
    module.push_str(&imported);
    if !code.contains("(memory ") {
        module.push_str("(memory (export \"memory\") 2)\n");
    }
    if !shape.marker.is_empty() {
        let _ = writeln!(module, "(func (export \"{}\"))", shape.marker);
    }
    if !shape.allocator.is_empty() {
        let _ = writeln!(module, "(export \"{}\" (func $allocate))", shape.allocator);
    }
    module.push_str(&code);
    module.push_str(&texts.data);
    module.push(')');
    module
}

/// A declaration of every import that `code` calls.
fn imports(module: &mut String, code: &str) {
    let used = |name: &str| {
        code.match_indices(&format!("call ${name}"))
            .any(|(at, found)| {
                let after = code[at + found.len()..].chars().next();
                !after.is_some_and(|next| next.is_alphanumeric() || next == '_')
            })
    };
    for (name, params) in ENV.iter().filter(|(name, _)| used(name)) {
        let ty = ty(params, true);
        let _ = writeln!(
            module,
            "(import \"env\" \"proxy_{name}\" (func ${name} {ty}))"
        );
    }
    for (name, params) in WASI.iter().filter(|(name, _)| used(name)) {
        let ty = ty(params, *name != "proc_exit");
        let _ = writeln!(
            module,
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {ty}))"
        );
    }
}

/// A function type in WAT.
pub(crate) fn ty(params: &str, result: bool) -> String {
    let mut text = String::from("(param");
    for param in params.chars() {
        text.push_str(if param == 'l' { " i64" } else { " i32" });
    }
    text.push_str(if result { ") (result i32)" } else { ")" });
    text
}

fn callback(name: &str, body: &str, marker: &str) -> String {
    let row = CALLBACKS.iter().find(|row| row.0 == name);
    let (_, mut params, answer) = *row.unwrap_or_else(|| panic!("no callback {name}"));
    if marker.ends_with("0_1_0") && name.ends_with("_headers") {
        params = 2;
    }
    let mut text = format!("(func (export \"proxy_on_{name}\")");
    for param in ["$a", "$b", "$c", "$d", "$e"].iter().take(params) {
        let _ = write!(text, " (param {param} i32)");
    }
    if let Some(answer) = answer {
        let _ = write!(text, " (result i32)\n{body}\n(i32.const {answer}))");
    } else {
        let _ = write!(text, "\n{body})");
    }
    text.push('\n');
    text
}

/// The source, cut in front of every line that begins a block.
fn blocks(source: &str) -> Vec<&str> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        let head = line.trim();
        if head.starts_with("on ") || head == "raw" || head == "imports" {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().copied().skip(1).chain([source.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| source[*start..end].trim_start())
        .collect()
}

/// Texts of a guest, placed behind each other from address 4096 on.
#[derive(Default)]
struct Texts {
    data: String,
    used: usize,
}

impl Texts {
    fn expand(&mut self, mut source: &str) -> String {
        let mut out = String::new();
        while let Some(start) = source.find("{\"") {
            short_forms(&source[..start], &mut out);
            let rest = &source[start + 2..];
            let end = rest.find("\"}").expect("text has an end");
            let (text, at) = (&rest[..end], 4096 + self.used);
            let length = length(text);
            let _ = write!(out, "(i32.const {at}) (i32.const {length})");
            let _ = writeln!(self.data, "(data (i32.const {at}) \"{text}\")");
            self.used += length;
            source = &rest[end + 2..];
        }
        short_forms(source, &mut out);
        out
    }
}

fn short_forms(source: &str, out: &mut String) {
    let source = source
        .replace("@out", "(i32.const 16) (i32.const 20)")
        .replace("(!", "(call $");
    let mut number = false;
    for letter in source.chars() {
        if number && !(letter.is_alphanumeric() || letter == '-' || letter == '_') {
            out.push(')');
            number = false;
        }
        if letter == '#' {
            out.push_str("(i32.const ");
            number = true;
        } else {
            out.push(letter);
        }
    }
    if number {
        out.push(')');
    }
}

/// Bytes a WAT text stands for, whose only escapes are of two hexadecimal digits.
fn length(text: &str) -> usize {
    text.len() - 2 * text.matches('\\').count()
}
