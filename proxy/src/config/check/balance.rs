//! How a cluster's load is spread and bounded.

use crate::config::yaml::Object;
use crate::config::{Balance, CircuitBreakers, LbPolicy, OutlierDetection, RetryBudget};

/// `lb_policy` and `healthy_panic_threshold`.
pub(super) fn balance(cluster: &Object<'_>) -> Balance {
    Balance {
        policy: match cluster.choice("lb_policy") {
            "least_request" => LbPolicy::LeastRequest,
            "random" => LbPolicy::Random,
            "ring_hash" => LbPolicy::RingHash,
            "maglev" => LbPolicy::Maglev,
            _ => LbPolicy::RoundRobin,
        },
        panic_threshold: percent(cluster, "healthy_panic_threshold"),
    }
}

/// `circuit_breakers`.
pub(super) fn breakers(cluster: &Object<'_>) -> CircuitBreakers {
    let Some(table) = cluster.table("circuit_breakers") else {
        return CircuitBreakers::default();
    };
    if let Some(node) = table.get("max_retries")
        && table.get("retry_budget").is_some()
    {
        node.wrong(
            "`max_retries` means nothing beside `retry_budget`",
            "keep one of the two",
        );
    }
    CircuitBreakers {
        max_connections: table.quota("max_connections"),
        max_pending_requests: table.quota("max_pending_requests"),
        max_requests: table.quota("max_requests"),
        max_retries: table.quota("max_retries"),
        retry_budget: table.table("retry_budget").map(|budget| RetryBudget {
            budget_percent: percent(&budget, "budget_percent"),
            min_retry_concurrency: budget.integer("min_retry_concurrency").unwrap_or(0),
        }),
    }
}

/// `outlier_detection`.
pub(super) fn outlier(cluster: &Object<'_>) -> Option<OutlierDetection> {
    let table = cluster.table("outlier_detection")?;
    let number = |name| u32::try_from(table.integer(name).unwrap_or(0)).unwrap_or(u32::MAX);
    let base_ejection_time = table.duration("base_ejection_time");
    let max_ejection_time = match table.get("max_ejection_time") {
        // As Envoy: a longer first ejection is the longest, too.
        None => table.duration("max_ejection_time").max(base_ejection_time),
        Some(node) => {
            let longest = table.duration("max_ejection_time");
            if !longest.is_zero() && longest < base_ejection_time {
                node.wrong(
                    "`max_ejection_time` is shorter than `base_ejection_time`",
                    "make it at least as long",
                );
            }
            longest
        }
    };
    Some(OutlierDetection {
        consecutive_5xx: number("consecutive_5xx"),
        consecutive_gateway_failure: number("consecutive_gateway_failure"),
        consecutive_local_origin_failure: number("consecutive_local_origin_failure"),
        split_external_local_origin_errors: table.boolean("split_external_local_origin_errors"),
        interval: table.duration("interval"),
        base_ejection_time,
        max_ejection_time,
        max_ejection_percent: percent(&table, "max_ejection_percent"),
        always_eject_one_host: table.boolean("always_eject_one_host"),
        enforcing_consecutive_5xx: percent(&table, "enforcing_consecutive_5xx"),
        enforcing_consecutive_gateway_failure: percent(
            &table,
            "enforcing_consecutive_gateway_failure",
        ),
        enforcing_consecutive_local_origin_failure: percent(
            &table,
            "enforcing_consecutive_local_origin_failure",
        ),
        enforcing_success_rate: percent(&table, "enforcing_success_rate"),
        success_rate_minimum_hosts: number("success_rate_minimum_hosts"),
        success_rate_request_volume: table.integer("success_rate_request_volume").unwrap_or(0),
        success_rate_stdev_factor: number("success_rate_stdev_factor"),
    })
}

fn percent(table: &Object<'_>, name: &str) -> u8 {
    u8::try_from(table.integer(name).unwrap_or(0)).unwrap_or(100)
}
