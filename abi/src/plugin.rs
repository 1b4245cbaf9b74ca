//! What one configured filter is to its VM.

use std::sync::Arc;

use bytes::Bytes;

/// A module with one configuration: becomes one root context in a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its name in the configuration; property `plugin_name`.
    pub name: String,
    /// Property `plugin_root_id`.
    pub root_id: String,
    /// Buffer 7.
    pub configuration: Bytes,
    /// Header callbacks answering 1 hold the headers only (section 3.1).
    pub allow_on_headers_stop_iteration: bool,
    /// Largest body kept for one stream of this filter, in bytes and each way.
    pub body_limit: usize,
}

/// What all plugins of one VM have in common. VMs whose code and settings are equal are
/// the same VM (section 1.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VmSettings {
    /// Property `plugin_vm_id`.
    pub vm_id: String,
    /// Buffer 6.
    pub configuration: Bytes,
    /// WASI environment.
    pub environment: Vec<(String, String)>,
    /// Bounds.
    pub limits: crate::Limits,
    /// Switches.
    pub compat: crate::Compat,
    /// What the guests may do.
    pub capabilities: Arc<crate::Capabilities>,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            name: String::new(),
            root_id: String::new(),
            configuration: Bytes::new(),
            allow_on_headers_stop_iteration: false,
            body_limit: 1 << 20,
        }
    }
}
