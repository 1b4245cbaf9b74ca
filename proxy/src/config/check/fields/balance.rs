//! The keys that spread and bound a cluster's load, and those of retries.

use std::time::Duration;

use super::{DAY, HOUR, MILLI, duration, field};
use crate::config::yaml::Absent::{Default, Means};
use crate::config::yaml::{Kind, Table};

const PERCENT: Kind = Kind::Integer { min: 0, max: 100 };
const BOUND: Kind = Kind::Quota {
    min: 0,
    max: 1_000_000_000,
};
const IN_A_ROW: Kind = Kind::Integer {
    min: 0,
    max: 1_000_000,
};

/// `clusters[].circuit_breakers`.
pub static BREAKERS: Table = Table {
    name: "clusters[].circuit_breakers",
    doc: "Bounds over all workers. What goes past one is answered 503 at once, with the flag UO and the header `x-envoy-overloaded`; a retry past its bound is not made.",
    fields: &[
        field(
            "max_connections",
            BOUND,
            Default("none"),
            "Most connections; requests wait for one, or for a place on one that carries several, at most for `connect_timeout`, TCP connections do not. Each worker may have one to each endpoint whatever the bound.",
        ),
        field(
            "max_pending_requests",
            BOUND,
            Default("none"),
            "Most requests that wait for a connection.",
        ),
        field(
            "max_requests",
            BOUND,
            Default("none"),
            "Most requests under way.",
        ),
        field(
            "max_retries",
            BOUND,
            Default("3"),
            "Most retries under way. Of no meaning beside `retry_budget`.",
        ),
        field(
            "retry_budget",
            Kind::Table(&BUDGET),
            Means("`max_retries`"),
            "Retries as a share of the requests under way.",
        ),
    ],
};

/// `clusters[].circuit_breakers.retry_budget`.
pub static BUDGET: Table = Table {
    name: "clusters[].circuit_breakers.retry_budget",
    doc: "How many retries may be under way.",
    fields: &[
        field(
            "budget_percent",
            PERCENT,
            Default("20"),
            "Their share of the requests that are under way or wait for a connection.",
        ),
        field(
            "min_retry_concurrency",
            Kind::Integer {
                min: 0,
                max: 1_000_000_000,
            },
            Default("3"),
            "So many may always be.",
        ),
    ],
};

/// `clusters[].outlier_detection`.
pub static OUTLIER: Table = Table {
    name: "clusters[].outlier_detection",
    doc: "Leaves an endpoint out for a time when its answers are bad. Names, defaults and meaning are Envoy's; a count of 0 is never reached. Counts are over all workers.",
    fields: &[
        field(
            "consecutive_5xx",
            IN_A_ROW,
            Default("5"),
            "So many answers of 5xx, or requests without an answer, in a row.",
        ),
        field(
            "consecutive_gateway_failure",
            IN_A_ROW,
            Default("5"),
            "So many answers of 502, 503 or 504, or requests without an answer, in a row.",
        ),
        field(
            "consecutive_local_origin_failure",
            IN_A_ROW,
            Default("5"),
            "With `split_external_local_origin_errors`: so many requests without an answer in a row.",
        ),
        field(
            "split_external_local_origin_errors",
            Kind::Boolean,
            Default("false"),
            "Whether requests without an answer (no connection, a reset, a timeout) are counted apart from answers of 5xx.",
        ),
        field(
            "interval",
            duration(MILLI, DAY),
            Default("10s"),
            "How often success rates are compared, and ejections that are over end.",
        ),
        field(
            "base_ejection_time",
            duration(MILLI, DAY),
            Default("30s"),
            "How long the first ejection lasts; the second in a row twice as long, and so on.",
        ),
        field(
            "max_ejection_time",
            duration(MILLI, DAY),
            Default("5m"),
            "Longest ejection; at least `base_ejection_time`.",
        ),
        field(
            "max_ejection_percent",
            PERCENT,
            Default("10"),
            "Largest share of the endpoints that is ejected at a time.",
        ),
        field(
            "always_eject_one_host",
            Kind::Boolean,
            Default("false"),
            "Whether one endpoint may be ejected whatever the share.",
        ),
        field(
            "enforcing_consecutive_5xx",
            PERCENT,
            Default("100"),
            "The chance that `consecutive_5xx` ejects.",
        ),
        field(
            "enforcing_consecutive_gateway_failure",
            PERCENT,
            Default("0"),
            "The chance that `consecutive_gateway_failure` ejects.",
        ),
        field(
            "enforcing_consecutive_local_origin_failure",
            PERCENT,
            Default("100"),
            "The chance that `consecutive_local_origin_failure` ejects.",
        ),
        field(
            "enforcing_success_rate",
            PERCENT,
            Default("100"),
            "The chance that a low success rate ejects.",
        ),
        field(
            "success_rate_minimum_hosts",
            Kind::Integer {
                min: 0,
                max: 100_000,
            },
            Default("5"),
            "Success rates are compared where so many endpoints have had enough requests.",
        ),
        field(
            "success_rate_request_volume",
            Kind::Integer {
                min: 1,
                max: 1_000_000_000,
            },
            Default("100"),
            "So many requests of an interval are enough.",
        ),
        field(
            "success_rate_stdev_factor",
            Kind::Integer {
                min: 0,
                max: 100_000,
            },
            Default("1900"),
            "How far below the mean a success rate is too low, in thousandths of the standard deviation.",
        ),
    ],
};

/// `listeners[].routes[].retry_policy`.
pub static RETRY: Table = Table {
    name: "listeners[].routes[].retry_policy",
    doc: "When a request is sent again, below the filters: they see one request and its last response. Never after response headers have left, nor past the route's `timeout`. Names, defaults and meaning are Envoy's.",
    fields: &[
        field(
            "retry_on",
            Kind::Other("text with commas, or list", &[]),
            Default("connect-failure,refused-stream"),
            "Any of `5xx`, `gateway-error`, `reset`, `reset-before-request`, `connect-failure`, `retriable-4xx`, `refused-stream`, `retriable-status-codes`, `retriable-headers`, `envoy-ratelimited`, and for statuses of gRPC in response headers `cancelled`, `deadline-exceeded`, `internal`, `resource-exhausted`, `unavailable`.",
        ),
        field(
            "num_retries",
            Kind::Integer { min: 0, max: 1_000 },
            Default("1"),
            "Most retries of a request.",
        ),
        field(
            "per_try_timeout",
            duration(MILLI, HOUR),
            Means("the route's `timeout`"),
            "How long one attempt may take to bring response headers, from the end of the request on.",
        ),
        field(
            "retry_back_off",
            Kind::Table(&BACK_OFF),
            Means("the defaults"),
            "How long to wait before a retry.",
        ),
        field(
            "retriable_status_codes",
            Kind::Other("list of statuses", &[]),
            Means("none"),
            "For `retriable-status-codes`.",
        ),
        field(
            "retriable_headers",
            Kind::Other("list of header names", &[]),
            Means("none"),
            "For `retriable-headers`: a response with one of them.",
        ),
        field(
            "buffer_limit",
            Kind::Size {
                min: 0,
                max: 64 << 20,
            },
            Default("64KiB"),
            "Largest request body that is kept to be sent again, each piece that comes counting as 128 bytes at least; a request of which more has been sent is not repeated.",
        ),
    ],
};

/// `listeners[].routes[].retry_policy.retry_back_off`.
pub static BACK_OFF: Table = Table {
    name: "listeners[].routes[].retry_policy.retry_back_off",
    doc: "Exponential, with full jitter: before retry number N anything below (2^N - 1) times the base.",
    fields: &[
        field(
            "base_interval",
            duration(MILLI, HOUR),
            Default("25ms"),
            "The base.",
        ),
        field(
            "max_interval",
            duration(MILLI, HOUR),
            Means("ten times the base"),
            "Longest interval; at least the base.",
        ),
    ],
};

/// `listeners[].routes[].hash_policy[]`.
pub static HASH: Table = Table {
    name: "listeners[].routes[].hash_policy[]",
    doc: "One part of what an endpoint is chosen by in a cluster with `lb_policy: ring_hash` or `maglev`: exactly one of `header`, `cookie` and `source_ip`. A request with none of the parts goes anywhere.",
    fields: &[
        field(
            "header",
            Kind::Text("header name"),
            Means("another part"),
            "The values of a request header.",
        ),
        field(
            "cookie",
            Kind::Text("name"),
            Means("another part"),
            "The value of a cookie.",
        ),
        field(
            "source_ip",
            Kind::Boolean,
            Default("false"),
            "The client's address, without its port.",
        ),
        field(
            "terminal",
            Kind::Boolean,
            Default("false"),
            "If this part is there, those behind it are not looked at.",
        ),
    ],
};

/// Longest time between checks of health, and shortest.
pub(super) const CHECKS: Kind = duration(Duration::from_millis(100), HOUR);
