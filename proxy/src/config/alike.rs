//! By what a reload knows that something is the same.

use std::collections::BTreeMap;

use super::PluginConfig;

/// A digest of something written in the file.
pub type Mark = [u8; 32];

/// What parts of a configuration are known by: where two are equal, a reload changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// All of it; not of what is in the files that it names.
    pub whole: Mark,
    /// Of what is written under each key of the whole.
    pub keys: BTreeMap<String, Mark>,
    /// Of [`super::Config::access_log`].
    pub access_log: Mark,
    /// Of [`super::Config::callouts`].
    pub callouts: Mark,
    /// What each of [`super::Config::listeners`] says of its connections; not its routes, its filters
    /// and its name.
    pub listeners: Vec<Mark>,
    /// All that each of them says.
    pub whole_listeners: Vec<Mark>,
    /// Of each of [`super::Config::clusters`].
    pub clusters: Vec<Mark>,
}

// === impl PluginConfig ===

impl PluginConfig {
    /// Whether it is the same plugin, its module apart: nothing of it would run differently.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let Self {
            name,
            // Where it is written is for messages only.
            position: _,
            yaml_path: _,
            places: _,
            file: _,
            wasm: _,
            precompiled,
            root_id,
            vm_id,
            vm_configuration,
            configuration,
            environment,
            on_failure,
            limits,
            body_limit,
            compat,
            capabilities,
            allow_on_headers_stop_iteration,
            trailers,
            uses,
            // Held against the module when it is read.
            sha256: _,
            engine,
            tier_up,
            isolation,
            recycle,
        } = self;
        *name == other.name
            && *precompiled == other.precompiled
            && *root_id == other.root_id
            && *vm_id == other.vm_id
            && *vm_configuration == other.vm_configuration
            && *configuration == other.configuration
            && *environment == other.environment
            && *on_failure == other.on_failure
            && *limits == other.limits
            && *body_limit == other.body_limit
            && *compat == other.compat
            && *capabilities == other.capabilities
            && *allow_on_headers_stop_iteration == other.allow_on_headers_stop_iteration
            && *trailers == other.trailers
            && *uses == other.uses
            && *engine == other.engine
            && *tier_up == other.tier_up
            && *isolation == other.isolation
            && *recycle == other.recycle
    }
}
