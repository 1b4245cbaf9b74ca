//! Where this host and Envoy part, switch by switch (`abi/ABI.md`, section 12).
//!
//! Every departure from what Envoy was measured to do has a name here, so that an
//! operator can turn it off and a conformance case can hold us to it.

/// The switches. Build one from a preset and change single fields by [`Compat::set`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compat {
    /// Request maps stay readable (not writable) after their callback.
    pub response_phase_request_maps: bool,
    /// `set_buffer_bytes` with 0 < start < length splices; off: BAD_ARGUMENT.
    pub splice_body: bool,
    /// A changed body fixes `content-length` or the framing.
    pub repair_content_length: bool,
    /// Names and values that cannot be sent are dropped when the headers leave; a bad
    /// pseudo-header ends the stream.
    pub reject_smuggling: bool,
    /// Malformed serialised pairs leave the map alone; off: they wipe it.
    pub keep_map_on_malformed_pairs: bool,
    /// `proc_exit` ends the call; off: it returns to the guest.
    pub proc_exit_traps: bool,
    /// Prefer `proxy_on_memory_allocate` to `malloc` when a guest has both.
    pub spec_allocator_first: bool,
    /// Callout failures carry a synthetic 504/503; off: no headers at all.
    pub callout_failure_headers: bool,
    /// HTTP streams end done, log, delete; off: log, done, delete.
    pub done_before_log: bool,
    /// Property names of older Envoys answer.
    pub old_property_names: bool,
    /// Hostcalls of every version link; off: only those of the module's own version.
    pub link_union: bool,
    /// Hostcalls not allowed during start answer UNIMPLEMENTED; off: they trap.
    pub lenient_start: bool,
    /// `on_failure` as this host defines it; off: as Envoy, the VM stays failed.
    pub recover_after_trap: bool,
    /// What a guest writes to its outputs becomes a record when its line ends; off: every
    /// write is one.
    pub whole_lines: bool,
}

/// One switch: its name in a configuration, the words for its two positions, and how to
/// reach it.
struct Switch {
    name: &'static str,
    on: &'static str,
    off: &'static str,
    field: fn(&mut Compat) -> &mut bool,
}

// === impl Compat ===

impl Compat {
    /// The default: everything Envoy does, and repairs where that harms nobody.
    pub const SUPERSET: Self = Self {
        response_phase_request_maps: true,
        splice_body: true,
        repair_content_length: true,
        reject_smuggling: true,
        keep_map_on_malformed_pairs: true,
        proc_exit_traps: true,
        spec_allocator_first: true,
        callout_failure_headers: true,
        done_before_log: false,
        old_property_names: true,
        link_union: true,
        lenient_start: true,
        recover_after_trap: true,
        whole_lines: true,
    };

    /// What the real Envoy was measured to do.
    pub const ENVOY: Self = Self {
        response_phase_request_maps: false,
        splice_body: false,
        repair_content_length: false,
        reject_smuggling: false,
        keep_map_on_malformed_pairs: false,
        proc_exit_traps: false,
        spec_allocator_first: false,
        callout_failure_headers: true,
        done_before_log: false,
        old_property_names: false,
        link_union: false,
        lenient_start: false,
        recover_after_trap: false,
        whole_lines: false,
    };

    /// What the specification's text says.
    pub const SPEC: Self = Self {
        response_phase_request_maps: true,
        splice_body: true,
        repair_content_length: true,
        reject_smuggling: true,
        keep_map_on_malformed_pairs: true,
        proc_exit_traps: true,
        spec_allocator_first: true,
        callout_failure_headers: false,
        done_before_log: true,
        old_property_names: false,
        link_union: false,
        lenient_start: false,
        recover_after_trap: false,
        whole_lines: true,
    };

    /// Names a preset may have.
    pub const PRESETS: [&'static str; 3] = ["superset", "envoy", "spec"];

    /// The preset of that name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "superset" => Some(Self::SUPERSET),
            "envoy" => Some(Self::ENVOY),
            "spec" => Some(Self::SPEC),
            _ => None,
        }
    }

    /// Names of all switches, in the order of section 12.
    pub fn switches() -> impl Iterator<Item = &'static str> {
        SWITCHES.iter().map(|switch| switch.name)
    }

    /// The two words the switch of that name takes.
    #[must_use]
    pub fn words(name: &str) -> Option<[&'static str; 2]> {
        let switch = SWITCHES.iter().find(|switch| switch.name == name)?;
        Some([switch.on, switch.off])
    }

    /// Puts the switch `name` to `word`.
    ///
    /// # Errors
    /// The words it takes (empty when there is no such switch).
    pub fn set(&mut self, name: &str, word: &str) -> Result<(), Vec<&'static str>> {
        let switch = SWITCHES
            .iter()
            .find(|switch| switch.name == name)
            .ok_or_else(Vec::new)?;
        let position = if word == switch.on {
            true
        } else if word == switch.off {
            false
        } else {
            return Err(vec![switch.on, switch.off]);
        };
        *(switch.field)(self) = position;
        Ok(())
    }
}

impl Default for Compat {
    fn default() -> Self {
        Self::SUPERSET
    }
}

const fn on_off(name: &'static str, field: fn(&mut Compat) -> &mut bool) -> Switch {
    Switch {
        name,
        on: "on",
        off: "off",
        field,
    }
}

static SWITCHES: [Switch; 14] = [
    on_off("response_phase_request_maps", |c| {
        &mut c.response_phase_request_maps
    }),
    Switch {
        name: "splice_body",
        on: "splice",
        off: "bad_argument",
        field: |c| &mut c.splice_body,
    },
    on_off("repair_content_length", |c| &mut c.repair_content_length),
    on_off("reject_smuggling", |c| &mut c.reject_smuggling),
    on_off("keep_map_on_malformed_pairs", |c| {
        &mut c.keep_map_on_malformed_pairs
    }),
    on_off("proc_exit_traps", |c| &mut c.proc_exit_traps),
    Switch {
        name: "allocator",
        on: "proxy_on_memory_allocate",
        off: "malloc",
        field: |c| &mut c.spec_allocator_first,
    },
    Switch {
        name: "callout_failure",
        on: "response",
        off: "no_headers",
        field: |c| &mut c.callout_failure_headers,
    },
    Switch {
        name: "end_order",
        on: "done_log_delete",
        off: "log_done_delete",
        field: |c| &mut c.done_before_log,
    },
    on_off("old_property_names", |c| &mut c.old_property_names),
    Switch {
        name: "link",
        on: "union",
        off: "own",
        field: |c| &mut c.link_union,
    },
    Switch {
        name: "restricted_start",
        on: "unimplemented",
        off: "trap",
        field: |c| &mut c.lenient_start,
    },
    Switch {
        name: "after_trap",
        on: "on_failure",
        off: "envoy",
        field: |c| &mut c.recover_after_trap,
    },
    Switch {
        name: "output",
        on: "lines",
        off: "writes",
        field: |c| &mut c.whole_lines,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_moves_both_ways_and_only_itself() {
        for name in Compat::switches() {
            let [on, off] = Compat::words(name).expect("listed");
            let (mut a, mut b) = (Compat::SUPERSET, Compat::SUPERSET);
            a.set(name, on).expect("on");
            b.set(name, off).expect("off");
            assert_ne!(a, b, "{name} changes nothing");
            a.set(name, off).expect("off again");
            assert_eq!(a, b, "{name} changes something else");
        }
    }

    #[test]
    fn unknown_names_and_words_are_told_apart() {
        let mut compat = Compat::default();
        assert_eq!(compat.set("nonsense", "on"), Err(vec![]));
        assert_eq!(
            compat.set("splice_body", "on"),
            Err(vec!["splice", "bad_argument"])
        );
        assert_eq!(compat, Compat::SUPERSET);
        assert_eq!(Compat::preset("envoi"), None);
    }
}
