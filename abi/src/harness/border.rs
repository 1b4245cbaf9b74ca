//! What goes over the border between host and guest in hostcalls, counted by those who measure
//! filters.
//!
//! A counting interpreter ([`Wasmi::counting`](crate::engine::wasmi::Wasmi::counting)) links
//! other functions than a proxy does: they look at the arguments of a call that went well, by
//! the names that the hostcall lists give them. So the way of a request has nothing to pay.
//!
//! What is counted is what hostcalls carry: texts, maps, bodies. Numbers and pointers are not.

use std::cell::Cell;

/// What has gone over the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Border {
    /// Bytes that the host wrote into the guest's memory.
    pub to_guest: u64,
    /// Bytes that the host read from there.
    pub from_guest: u64,
    /// Calls of the guest's allocator by the host: one for each value that is not empty.
    pub allocations: u64,
}

thread_local! {
    /// Guests do not leave their thread.
    static COUNTED: Cell<Border> = const { Cell::new(Border {
        to_guest: 0,
        from_guest: 0,
        allocations: 0,
    }) };
}

/// What this thread's guests have exchanged since it was asked last.
pub(super) fn take() -> Border {
    COUNTED.take()
}

/// A hostcall went well, with these arguments; `memory` is the guest's, after it.
pub(crate) fn count(hostcall: &str, arguments: &[(&str, u64)], memory: &[u8]) {
    let mut counted = COUNTED.get();
    counted.add(hostcall, arguments, memory);
    COUNTED.set(counted);
}

/// Whether a hostcall's result says that it went well.
pub(crate) trait WentWell {
    fn went_well(&self) -> bool;
}

// === impl Border ===

impl Border {
    fn add(&mut self, hostcall: &str, arguments: &[(&str, u64)], memory: &[u8]) {
        // Written in place, where the guest has room for it.
        if let ("random_get", [_, (_, length)]) = (hostcall, arguments) {
            self.to_guest += length;
            return;
        }
        for pair in arguments.windows(2) {
            let [(name, pointer), (length_name, length)] = pair else {
                continue;
            };
            if !is_text(length_name, name) || hostcall == "proxy_get_buffer_status" {
                continue;
            }
            if is_answer(hostcall, name) {
                let length = word(memory, *length);
                self.to_guest += length;
                self.allocations += u64::from(length > 0);
            } else if *pointer != 0 {
                self.from_guest += length;
            }
        }
        // It answers how much it has taken.
        if let ("fd_write", [_, _, _, (_, out)]) = (hostcall, arguments) {
            self.from_guest += word(memory, *out);
        }
    }
}

/// `text` and `len`, `value` and `value_len`: an address, and how much lies there.
fn is_text(length: &str, name: &str) -> bool {
    length == "len" || length.strip_suffix("_len") == Some(name)
}

/// Whether the guest is handed this value: then the arguments say where its address and its
/// length are to be written.
fn is_answer(hostcall: &str, name: &str) -> bool {
    match name {
        "key" | "path" | "name" | "args" | "vm_id" => false,
        "result" => true,
        _ => hostcall.starts_with("proxy_get_") || hostcall == "proxy_dequeue_shared_queue",
    }
}

/// A number in the guest's memory; 0 where there is none.
fn word(memory: &[u8], at: u64) -> u64 {
    let at = usize::try_from(at).ok();
    let bytes = at.and_then(|at| memory.get(at..)?.first_chunk::<4>());
    bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

// === impl WentWell ===

impl WentWell for u32 {
    fn went_well(&self) -> bool {
        *self == 0
    }
}

impl WentWell for () {
    fn went_well(&self) -> bool {
        true
    }
}

impl WentWell for f64 {
    fn went_well(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Border;

    /// What a call adds, in a memory that says 5 at 8.
    fn added(hostcall: &str, arguments: &[(&str, u64)]) -> (u64, u64, u64) {
        let mut memory = [0; 16];
        memory[8] = 5;
        let mut border = Border::default();
        border.add(hostcall, arguments, &memory);
        (border.to_guest, border.from_guest, border.allocations)
    }

    #[test]
    fn what_the_names_of_arguments_say_is_counted() {
        let get = [
            ("map", 0),
            ("key", 1),
            ("key_len", 3),
            ("value", 4),
            ("value_len", 8),
        ];
        assert_eq!(added("proxy_get_header_map_value", &get), (5, 3, 1));
        assert_eq!(added("proxy_add_header_map_value", &get), (0, 11, 0));
        let empty = [
            ("buffer", 0),
            ("start", 0),
            ("max", 9),
            ("value", 4),
            ("value_len", 0),
        ];
        assert_eq!(added("proxy_get_buffer_bytes", &empty), (0, 0, 0));
        assert_eq!(
            added("proxy_log", &[("level", 2), ("text", 1), ("len", 7)]),
            (0, 7, 0)
        );
        assert_eq!(
            added(
                "proxy_get_buffer_status",
                &[("buffer", 0), ("len", 8), ("flags", 4)]
            ),
            (0, 0, 0)
        );
        assert_eq!(
            added(
                "fd_write",
                &[("fd", 1), ("iovs", 0), ("count", 1), ("out", 8)]
            ),
            (0, 5, 0)
        );
        assert_eq!(added("random_get", &[("buffer", 0), ("len", 6)]), (6, 0, 0));
        let foreign = [
            ("name", 1),
            ("name_len", 2),
            ("args", 1),
            ("args_len", 3),
            ("result", 4),
            ("result_len", 8),
        ];
        assert_eq!(added("proxy_call_foreign_function", &foreign), (5, 5, 1));
        assert_eq!(
            added(
                "proxy_get_property",
                &[
                    ("path", 1),
                    ("path_len", 2),
                    ("value", 4),
                    ("value_len", 99)
                ]
            ),
            (0, 2, 0)
        );
    }
}
