//! What the embedder is told of a guest: what it says, and what it does wrong.

use super::HostState;
use crate::callbacks::Callback;
use crate::error::Trap;
use crate::host::{Host, Origin};
use crate::limits::Limit;
use crate::types::LogLevel;

impl HostState {
    /// Calls `tell` with who is speaking.
    fn with_origin(&self, tell: impl FnOnce(&dyn Host, &Origin<'_>)) {
        self.with_origin_of(self.current, tell);
    }

    fn with_origin_of(&self, id: u32, tell: impl FnOnce(&dyn Host, &Origin<'_>)) {
        let plugin = self.plugin_of(id);
        let origin = Origin {
            plugin: plugin.map_or("", |plugin| &plugin.name),
            root_id: plugin.map_or("", |plugin| &plugin.root_id),
            vm_id: &self.settings.vm_id,
            context: id,
        };
        tell(&*self.host, &origin);
    }

    /// Whether anybody wants a record of that level.
    pub(crate) fn is_wanted(&self, level: LogLevel) -> bool {
        level >= self.host.log_level() || level == LogLevel::Critical
    }

    /// A record of the guest.
    pub(crate) fn log(&self, level: LogLevel, message: &[u8]) {
        if !self.is_wanted(level) {
            return;
        }
        if self.may_write(message.len()) {
            self.with_origin(|host, origin| host.log(origin, level, message));
        } else {
            self.limited(Limit::Log);
        }
    }

    /// Whether the plugin may still write that much now.
    fn may_write(&self, length: usize) -> bool {
        let Some(rate) = self.settings.limits.log else {
            return true;
        };
        let written = self
            .root_of(self.current)
            .map_or(&self.written, |root| &root.written);
        written.add(rate, length, self.host.monotonic())
    }

    /// What the guest writes to an output of that level.
    pub(crate) fn write(&mut self, level: LogLevel, text: &[u8]) {
        if !self.settings.compat.whole_lines {
            return self.log(level, text.strip_suffix(b"\n").unwrap_or(text));
        }
        if self.is_wanted(level) {
            let mut output = std::mem::take(&mut self.output);
            output.write(level, text, |record| self.log(level, record));
            self.output = output;
        }
    }

    /// Logs what waits for the end of its line: the guest's call is over, or it has more to
    /// say that must not come first.
    #[inline]
    pub(crate) fn flush_output(&mut self) {
        if !self.output.is_empty() {
            self.write_out();
        }
    }

    #[cold]
    fn write_out(&mut self) {
        std::mem::take(&mut self.output).flush(|level, record| self.log(level, record));
    }

    /// The guest has come up against a limit in the running callback.
    #[cold]
    pub(crate) fn limited(&self, limit: Limit) {
        let callback = self.callback.map_or("", Callback::name);
        self.with_origin(|host, origin| host.limited(origin, limit, callback));
    }

    /// More is held of a body for a stream than may be; it was shown in `callback`.
    #[cold]
    pub(crate) fn body_too_large(&self, id: u32, callback: Callback) {
        let callback = callback.name();
        self.with_origin_of(id, |host, origin| {
            host.limited(origin, Limit::Body, callback)
        });
    }

    /// The running call has ended early.
    #[cold]
    pub(crate) fn trapped(&self, trap: &Trap) {
        if let Some(limit) = trap.kind.limit() {
            self.limited(limit);
        }
        self.with_origin(|host, origin| host.trapped(origin, trap));
    }

    /// The guest has asked for something its capabilities do not allow.
    #[cold]
    pub(crate) fn refuse(&self, capability: &str) {
        self.with_origin(|host, origin| host.refused(origin, capability));
    }

    /// A remark of ours.
    pub(crate) fn notice(&self, message: std::fmt::Arguments<'_>) {
        self.with_origin(|host, origin| host.notice(origin, message));
    }
}
