//! What a guest may do (section 1.8, last lines): which hostcalls it has, which of its
//! callbacks are called, whom it may call, whose shared queues it may look for.
//!
//! Capabilities belong to a VM's settings, so VMs are shared only by plugins that may do
//! the same: plugins of one VM have one memory, and through it each could have another do
//! what it may not do itself.

use crate::callbacks::Callback;
use crate::callout::Target;
use crate::hostcalls::{self, Hostcalls};

/// What the guests of one VM may do. The default is everything but callouts to URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    pub(crate) hostcalls: Hostcalls,
    pub(crate) callbacks: Callbacks,
    /// Whom it may call; `None` is every cluster.
    callouts: Option<Vec<Target>>,
    /// The VM ids whose queues may be resolved; `None` is any.
    shared: Option<Vec<String>>,
}

/// A set of callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Callbacks(u64);

const _: () = assert!(Callback::COUNT <= 64, "a set of callbacks is one word");

// === impl Capabilities ===

impl Capabilities {
    /// Names of the hostcalls that can be allowed or not; the few functions of module
    /// `env` that compilers ask for (`abort` and its kin) cannot be taken away.
    pub fn hostcall_names() -> impl Iterator<Item = &'static str> {
        hostcalls::names().filter(|name| hostcalls::is_restrictable(name))
    }

    /// Names of the callbacks that can be allowed or not.
    pub fn callback_names() -> impl Iterator<Item = &'static str> {
        Callback::ALL.iter().map(|callback| callback.name())
    }

    /// Allows these hostcalls only; names that no hostcall has allow nothing. A guest that
    /// calls another one is answered INTERNAL_FAILURE, or by WASI NOTCAPABLE.
    pub fn restrict_hostcalls(&mut self, allowed: &[&str]) {
        self.hostcalls = hostcalls::names()
            .enumerate()
            .filter(|(_, name)| !hostcalls::is_restrictable(name) || allowed.contains(name))
            .map(|(number, _)| number)
            .collect();
    }

    /// Calls these callbacks only, as if the module exported no other; names that no
    /// callback has allow nothing.
    pub fn restrict_callbacks(&mut self, allowed: &[&str]) {
        self.callbacks = Callback::ALL
            .iter()
            .filter(|callback| allowed.contains(&callback.name()))
            .fold(Callbacks(0), |set, callback| set.with(*callback));
    }

    /// Allows callouts to these targets only.
    pub fn restrict_callouts(&mut self, targets: Vec<Target>) {
        self.callouts = Some(targets);
    }

    /// Allows the queues of these VM ids only.
    pub fn restrict_shared(&mut self, vm_ids: Vec<String>) {
        self.shared = Some(vm_ids);
    }

    /// Whether a hostcall of that name may be called.
    #[must_use]
    pub fn allows_hostcall(&self, name: &str) -> bool {
        hostcalls::names()
            .position(|other| other == name)
            .is_none_or(|number| self.hostcalls.contains(number))
    }

    /// Whether that callback is called where a module exports it.
    #[must_use]
    pub fn allows_callback(&self, callback: Callback) -> bool {
        self.callbacks.contains(callback)
    }

    /// Whom it may call, where that is restricted.
    #[must_use]
    pub fn callouts(&self) -> Option<&[Target]> {
        self.callouts.as_deref()
    }

    /// Whether it may be called.
    #[must_use]
    pub fn allows_callout(&self, target: &Target) -> bool {
        match &self.callouts {
            Some(allowed) => allowed.contains(target),
            None => matches!(target, Target::Cluster(_)),
        }
    }

    /// Whether the queues of that VM id may be resolved.
    #[must_use]
    pub fn allows_shared(&self, vm_id: &[u8]) -> bool {
        self.shared
            .as_ref()
            .is_none_or(|allowed| allowed.iter().any(|id| id.as_bytes() == vm_id))
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            hostcalls: Hostcalls::ALL,
            callbacks: Callbacks(u64::MAX),
            callouts: None,
            shared: None,
        }
    }
}

// === impl Callbacks ===

impl Callbacks {
    const fn with(self, callback: Callback) -> Self {
        Self(self.0 | 1 << callback as u64)
    }

    /// Those of this set that `also` says yes to.
    pub(crate) fn and(self, also: impl Fn(Callback) -> bool) -> Self {
        Callback::ALL
            .iter()
            .filter(|callback| self.contains(**callback) && also(**callback))
            .fold(Self(0), |set, callback| set.with(*callback))
    }

    pub(crate) const fn contains(self, callback: Callback) -> bool {
        self.0 & (1 << callback as u64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_allows_everything() {
        let capabilities = Capabilities::default();
        for name in Capabilities::hostcall_names() {
            assert!(capabilities.allows_hostcall(name), "{name}");
        }
        for callback in Callback::ALL {
            assert!(capabilities.allows_callback(*callback), "{callback:?}");
        }
        assert!(capabilities.allows_shared(b"any"));
    }

    #[test]
    fn callouts_go_to_clusters_unless_others_are_listed() {
        let url = |text| Target::parse_url(text).expect("a URL");
        let (one, other) = (
            Target::Cluster("one".into()),
            Target::Cluster("other".into()),
        );
        let mut capabilities = Capabilities::default();
        assert!(capabilities.allows_callout(&one) && capabilities.allows_callout(&other));
        assert!(!capabilities.allows_callout(&url("https://api")));
        capabilities.restrict_callouts(vec![one.clone(), url("https://api")]);
        assert!(capabilities.allows_callout(&one) && !capabilities.allows_callout(&other));
        assert!(capabilities.allows_callout(&url("https://API:443")));
        for text in [
            "http://api:443",
            "https://api:8443",
            "https://api.x",
            "api:443",
        ] {
            assert!(!capabilities.allows_callout(&url(text)), "{text}");
        }
    }

    #[test]
    fn what_is_not_listed_is_not_allowed() {
        for allowed in Capabilities::hostcall_names() {
            let mut capabilities = Capabilities::default();
            capabilities.restrict_hostcalls(&[allowed]);
            for name in Capabilities::hostcall_names() {
                assert_eq!(
                    capabilities.allows_hostcall(name),
                    name == allowed,
                    "{name}"
                );
            }
            assert!(capabilities.allows_hostcall("abort"));
        }
        for allowed in Callback::ALL {
            let mut capabilities = Capabilities::default();
            capabilities.restrict_callbacks(&[allowed.name()]);
            for callback in Callback::ALL {
                assert_eq!(capabilities.allows_callback(*callback), callback == allowed);
            }
        }
        let mut capabilities = Capabilities::default();
        capabilities.restrict_shared(vec!["a".to_owned()]);
        assert!(capabilities.allows_shared(b"a"));
        assert!(!capabilities.allows_shared(b"ab") && !capabilities.allows_shared(b""));
    }
}
