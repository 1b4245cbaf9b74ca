//! Hostcalls that link but are not built: they answer UNIMPLEMENTED and are named once
//! when the module is loaded (section 12). A row that gets built moves to the list in
//! `hostcalls`.

use super::{Signature, Wire};

const fn row(name: &'static str, params: &'static [Wire]) -> Signature {
    Signature {
        name,
        params,
        result: Some(Wire::I32),
    }
}

const I32: [Wire; 12] = [Wire::I32; 12];

const fn i32s(count: usize) -> &'static [Wire] {
    I32.split_at(count).0
}

/// Calls of sections 2 and 13 that this host does not have yet.
pub(crate) static LATER: &[Signature] = &[row("envoy_resolve_dns", i32s(3))];

/// Whether `name` is of section 13, which no numbered version of the ABI has.
pub(crate) fn is_extension(name: &str) -> bool {
    matches!(
        name,
        "proxy_redis_init"
            | "proxy_redis_call"
            | "proxy_inject_encoded_data_to_filter_chain"
            | "proxy_get_upstream_hosts"
            | "proxy_set_upstream_override_host"
    )
}
