//! The keys of native code: where it is kept, and what making it may cost.

use std::time::Duration;

use super::{HOUR, MILLI, duration, field};
use crate::config::yaml::Absent::{Default, Means};
use crate::config::yaml::{Kind, Table};

/// `artifacts`.
pub static ARTIFACTS: Table = Table {
    name: "artifacts",
    doc: "Where native code of modules is kept between runs. Processes may share the folder. It is made with mode 0700 when there is something to keep; one that belongs to another user, or that others may write to, is not used, and the log says so. It may be emptied at any time.",
    fields: &[
        field(
            "directory",
            Kind::Text("folder name"),
            Means(
                "`artifacts` in `$CACHE_DIRECTORY` (systemd), or `cofferdam/artifacts` in `$XDG_CACHE_HOME`, for root in `/var/cache`, else in `~/.cache`",
            ),
            "The folder. On a volume whose own folder is open to others, name one inside it.",
        ),
        field(
            "trusted_keys",
            Kind::Other("list of file names", &[]),
            Means("none"),
            "Ed25519 public keys (PEM) of those who may sign `module.precompiled`.",
        ),
    ],
};

/// `compiler`.
pub static COMPILER: Table = Table {
    name: "compiler",
    doc: "What making native code of one module may cost. It is made by a child process, one at a time. A module that goes past a bound stays on the interpreter, and is not tried again before the next reload.",
    fields: &[
        field(
            "memory",
            Kind::Size {
                min: 1 << 20,
                max: 64 << 30,
            },
            Default("512MiB"),
            "Most memory, beyond what the program itself takes; a filter of 150 KB takes 10 MiB. It counts towards what a container may have; where that is less, the system ends the compiler, not the proxy.",
        ),
        field(
            "cpu",
            duration(Duration::from_secs(1), HOUR),
            Default("30s"),
            "Most CPU time; parts of a second count as a whole one.",
        ),
        field(
            "wall",
            duration(MILLI, HOUR),
            Default("60s"),
            "Most time by the clock.",
        ),
    ],
};
