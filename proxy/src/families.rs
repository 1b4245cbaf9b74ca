//! Every metric of the proxy's own, described once: the pages and the reference go by this
//! list.
//!
//! Labels come from the configuration and from the code, never from a request or a guest, so
//! that whoever sends requests cannot make series; and those by route are bounded
//! ([`crate::traffic`]).

use std::sync::Arc;

use cofferdam_abi::shared::{Counter, Metrics};

/// What a family's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All metrics of one name.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
    /// Its name on `/stats`, Envoy's where Envoy has such a thing, with labels in braces.
    pub(crate) stat: &'static str,
}

// === impl Kind ===

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

// === impl Family ===

impl Family {
    const fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The counter with these labels' values. It takes a lock, so it is for the caller to
    /// keep.
    pub(crate) fn count(&self, metrics: &Metrics, values: &[&str]) -> Arc<Counter> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let labels: Vec<_> = self
            .labels
            .iter()
            .copied()
            .zip(values.iter().copied())
            .collect();
        metrics.counter(self.name, self.help, &labels)
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    stat: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        labels,
        help,
        stat,
    }
}

macro_rules! families {
    ($($(#[$doc:meta])* $id:ident = $family:expr;)*) => {
        $($(#[$doc])* pub(crate) static $id: Family = $family;)*

        /// All of them, in the order of the pages.
        pub(crate) static ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    UPTIME = counter("cofferdam_uptime_seconds", &[], "Since the start, in seconds.", "server.uptime").of(Kind::Gauge);
    LIVE = counter("cofferdam_ready", &[], "1 while /ready answers 200.", "server.live").of(Kind::Gauge);
    BUILD = counter("cofferdam_build_info", &["version"], "1, with the version.", "server.version.{version}").of(Kind::Gauge);
    GENERATION = counter("cofferdam_config_generation", &[], "Which configuration runs: 1 is that of the start, one more with each reload that changed something in it or took another module into use.", "config.generation").of(Kind::Gauge);
    RELOADS = counter("cofferdam_config_reloads", &["result"], "Reloads: `good`, those that changed nothing among them, and `refused`.", "config.reload_{result}");
    RESIDENT = counter("cofferdam_process_resident_memory_bytes", &[], "Memory of the process, as the system counts it.", "server.memory_physical_size").of(Kind::Gauge);
    DESCRIPTORS = counter("cofferdam_process_open_fds", &[], "Open file descriptors.", "server.open_fds").of(Kind::Gauge);

    CONNECTIONS = counter("cofferdam_downstream_connections", &["listener"], "Connections accepted.", "listener.{listener}.downstream_cx_total");
    CONNECTIONS_ACTIVE = counter("cofferdam_downstream_connections_active", &["listener"], "Connections now.", "listener.{listener}.downstream_cx_active").of(Kind::Gauge);
    RECEIVED = counter("cofferdam_downstream_received_bytes", &["listener"], "Bytes of bodies from clients.", "listener.{listener}.downstream_rx_bytes_total");
    SENT = counter("cofferdam_downstream_sent_bytes", &["listener"], "Bytes of bodies to clients.", "listener.{listener}.downstream_tx_bytes_total");
    PROTOCOL_ERRORS = counter("cofferdam_downstream_protocol_errors", &["listener"], "What was no valid HTTP: requests of HTTP/1, connections of HTTP/2.", "listener.{listener}.downstream_cx_protocol_error");
    REQUESTS = counter("cofferdam_downstream_requests", &["listener", "route", "class"], "Requests that are over, by the class of their status; `none` where none was sent.", "http.{listener}.{route}.downstream_rq_{class}");
    REQUESTS_ACTIVE = counter("cofferdam_downstream_requests_active", &["listener"], "Requests now.", "http.{listener}.downstream_rq_active").of(Kind::Gauge);
    DURATION = counter("cofferdam_downstream_request_duration_seconds", &["listener", "route"], "From the complete head of a request to the end of its response.", "http.{listener}.{route}.downstream_rq_time").of(Kind::Histogram);
    FLAGS = counter("cofferdam_downstream_response_flags", &["listener", "flag"], "Response flags of requests and connections that are over, as in the access log.", "http.{listener}.response_flag.{flag}");
    LISTENER_EVENTS = counter("cofferdam_downstream_connection_events", &["listener", "event"], "What has happened to connections, by Envoy's names where it has one: headers of the PROXY protocol, ClientHellos that are passed through, time-outs before they were served; accepting that failed; connections ended for a flood of HTTP/2 frames, for a head that came too slowly, because nothing was taken of what was sent.", "listener.{listener}.{event}");
    LOG_LINES_LOST = counter("cofferdam_access_log_dropped_lines", &[], "Lines of the access log that could not be written.", "access_log.write_failed");
    SPANS = counter("cofferdam_tracing_spans", &["result"], "Spans that their collector has taken (`sent`) or not (`failed`), and those for which there was no room (`dropped`).", "tracing.spans.{result}");

    CLUSTER_ENDPOINTS = counter("cofferdam_cluster_endpoints", &["cluster", "state"], "Endpoints: `total`, `healthy` by active checks, `ejected` by outlier detection.", "cluster.{cluster}.membership_{state}").of(Kind::Gauge);
    CLUSTER_CONNECTIONS = counter("cofferdam_cluster_connections", &["cluster"], "Connections made to endpoints.", "cluster.{cluster}.upstream_cx_total");
    CLUSTER_CONNECTIONS_ACTIVE = counter("cofferdam_cluster_connections_active", &["cluster"], "Connections to endpoints now.", "cluster.{cluster}.upstream_cx_active").of(Kind::Gauge);
    CLUSTER_CONNECT_FAILED = counter("cofferdam_cluster_connect_failures", &["cluster"], "Connections that could not be made.", "cluster.{cluster}.upstream_cx_connect_fail");
    CLUSTER_REQUESTS = counter("cofferdam_cluster_requests", &["cluster"], "Requests sent to endpoints, retries among them.", "cluster.{cluster}.upstream_rq_total");
    CLUSTER_REQUESTS_ACTIVE = counter("cofferdam_cluster_requests_active", &["cluster"], "Requests at endpoints now.", "cluster.{cluster}.upstream_rq_active").of(Kind::Gauge);
    CLUSTER_SUCCESSES = counter("cofferdam_cluster_requests_successful", &["cluster"], "Answers below 500.", "cluster.{cluster}.upstream_rq_success");
    CLUSTER_ERRORS = counter("cofferdam_cluster_requests_failed", &["cluster"], "Answers of 5xx, and requests without an answer.", "cluster.{cluster}.upstream_rq_error");
    CLUSTER_EVENTS = counter("cofferdam_cluster_events", &["cluster", "event"], "What is rare, by Envoy's names: retries, overflows of bounds, time-outs, ejections.", "cluster.{cluster}.{event}");
    TLS_HANDSHAKES = counter("cofferdam_tls_handshakes", &["side", "name", "result"], "TLS handshakes with the clients of a listener or the servers of a cluster, by what they came to: `full`, `resumed` or `failed`.", "{side}.{name}.ssl.handshake_{result}");
    CERTIFICATES = counter("cofferdam_certificate_expiration_timestamp_seconds", &["side", "name", "used_as", "file", "serial"], "Until when a certificate in use is good, in seconds since 1970.", "{side}.{name}.ssl.certificate.{used_as}.{file}.{serial}.expiration").of(Kind::Gauge);

    FILTER_CALLS = counter("cofferdam_filter_calls", &["filter", "callback", "engine"], "Calls into filters; `start` is what a module runs before them, once in each VM.", "filter.{filter}.{callback}.{engine}.calls");
    FILTER_FUEL = counter("cofferdam_filter_fuel", &["filter", "callback", "engine"], "Fuel that filters burnt on the interpreter: about one for each instruction.", "filter.{filter}.{callback}.{engine}.fuel");
    FILTER_CPU = counter("cofferdam_filter_cpu_seconds", &["filter", "callback", "engine"], "CPU time that filters ran as native code: of calls for streams one of 128 is measured, and long ones all; starts and calls for roots (configuring, ticks) all.", "filter.{filter}.{callback}.{engine}.cpu_seconds");
    FILTER_TIMES = counter("cofferdam_filter_call_duration_seconds", &["filter", "callback"], "How long calls into filters took: of those for streams one of sixteen is timed, and counted as sixteen.", "filter.{filter}.{callback}.time").of(Kind::Histogram);
    FILTER_VMS = counter("cofferdam_filter_vms", &["filter", "engine"], "VMs of a filter that there are, those that drain among them.", "filter.{filter}.{engine}.vms").of(Kind::Gauge);
    FILTER_MEMORY = counter("cofferdam_filter_memory_bytes", &["filter"], "Linear memory of all of a filter's VMs; VMs that filters share count for each.", "filter.{filter}.memory").of(Kind::Gauge);
    FILTER_PEAK = counter("cofferdam_filter_memory_peak_bytes", &["filter"], "The largest linear memory that one of a filter's VMs has had.", "filter.{filter}.memory_peak").of(Kind::Gauge);
    FILTER_STARTS = counter("cofferdam_filter_vm_starts", &["filter", "engine"], "VMs that a filter was started in, by what runs them.", "filter.{filter}.{engine}.vm_starts");
    FILTER_REPLACED = counter("cofferdam_filter_vm_replacements", &["filter", "reason"], "VMs of a filter in whose place another was put, by why: `native_code` is a promotion, `no_room` its contrary, for want of addresses.", "filter.{filter}.vm_replaced.{reason}");
    FILTER_CUT_SHORT = counter("cofferdam_filter_vms_cut_short", &["filter", "reason"], "VMs of a filter in whose place another was put, or whose only stream had ended, and that went before they were done: `filter_drain_time` was over (`drain_time`), or those that had no stream left would have kept more than `limits.memory` together (`memory`).", "filter.{filter}.vm_cut_short.{reason}");
    FILTER_HELD_BACK = counter("cofferdam_filter_held_back", &["filter"], "How often a filter was held back because it kept crashing, on all workers.", "filter.{filter}.held_back");
    FILTER_TRAPS = counter("cofferdam_filter_traps", &["filter", "callback", "kind"], "Calls into filters that ended early.", "filter.{filter}.{callback}.trap.{kind}");
    FILTER_LIMITS = counter("cofferdam_filter_limit_hits", &["filter", "limit", "callback"], "How often filters came up against their limits; of `log`, records that were dropped.", "filter.{filter}.{callback}.limit.{limit}");
    FILTER_REFUSALS = counter("cofferdam_filter_refusals", &["filter"], "What filters were refused for want of a capability.", "filter.{filter}.refusals");
    FILTER_REPLIES = counter("cofferdam_filter_local_replies", &["filter"], "Requests that filters answered themselves.", "filter.{filter}.local_replies");
    FILTER_CALLOUTS = counter("cofferdam_filter_callouts", &["filter", "kind", "result"], "Calls of filters to other services that have ended, with an answer (`ok`) or without (`failed`).", "filter.{filter}.callout.{kind}.{result}");
    FILTER_CALLOUT_TIMES = counter("cofferdam_filter_callout_duration_seconds", &["filter", "kind"], "How long calls of filters to other services took, whatever came of them.", "filter.{filter}.callout.{kind}.time").of(Kind::Histogram);

    EVICTIONS = counter("cofferdam_shared_data_evictions", &["vm_id"], "Entries of shared data that made room for others.", "shared_data.{vm_id}.evictions");
    DATA_ENTRIES = counter("cofferdam_shared_data_entries", &["vm_id"], "Entries of shared data.", "shared_data.{vm_id}.entries").of(Kind::Gauge);
    DATA_BYTES = counter("cofferdam_shared_data_bytes", &["vm_id"], "Bytes of shared data, keys and values.", "shared_data.{vm_id}.bytes").of(Kind::Gauge);
    QUEUE_ITEMS = counter("cofferdam_shared_queue_items", &["vm_id"], "Items in shared queues.", "shared_queue.{vm_id}.items").of(Kind::Gauge);
    QUEUE_BYTES = counter("cofferdam_shared_queue_bytes", &["vm_id"], "Bytes in shared queues.", "shared_queue.{vm_id}.bytes").of(Kind::Gauge);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_described_and_has_a_name_of_its_own() {
        for (at, family) in ALL.iter().enumerate() {
            let Family {
                name,
                labels,
                help,
                stat,
                kind,
            } = family;
            assert!(
                name.starts_with("cofferdam_") && help.ends_with('.'),
                "{name}"
            );
            assert!(!name.ends_with("_total"), "{name}: samples of counters do");
            assert!(ALL[..at].iter().all(|other| other.name != *name), "{name}");
            assert!(ALL[..at].iter().all(|other| other.stat != *stat), "{stat}");
            for label in *labels {
                assert!(stat.contains(&format!("{{{label}}}")), "{stat}: {label}");
                assert!(*kind != Kind::Histogram || *label != "le", "{name}");
            }
            assert_eq!(stat.matches('{').count(), labels.len(), "{stat}");
        }
    }
}
