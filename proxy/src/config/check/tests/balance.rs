//! What balancing, bounds, ejection and retries mean.

use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::{FULL, accept, with, with_route};
use crate::config::{
    Balance, CircuitBreakers, HashOf, HashPolicy, HealthCheck, LbPolicy, OutlierDetection, Probe,
    RetryBudget, RetryOn, RetryPolicy,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn balancing_and_bounds_mean_what_they_say() {
    let config = accept(FULL);
    let cluster = &config.clusters[0];
    assert_eq!(cluster.max_idle, 16);
    assert_eq!(
        cluster.balance,
        Balance {
            policy: LbPolicy::Maglev,
            panic_threshold: 40
        }
    );
    let breakers = CircuitBreakers {
        max_connections: Some(100),
        max_pending_requests: Some(50),
        max_requests: None,
        max_retries: Some(3),
        retry_budget: Some(RetryBudget {
            budget_percent: 30,
            min_retry_concurrency: 5,
        }),
    };
    assert_eq!(cluster.circuit_breakers, breakers);
    let outlier = cluster.outlier_detection.expect("asked for");
    let expected = OutlierDetection {
        consecutive_5xx: 3,
        consecutive_gateway_failure: 4,
        consecutive_local_origin_failure: 2,
        split_external_local_origin_errors: true,
        interval: SECOND,
        base_ejection_time: 5 * SECOND,
        max_ejection_time: 20 * SECOND,
        max_ejection_percent: 50,
        always_eject_one_host: true,
        enforcing_consecutive_5xx: 90,
        enforcing_consecutive_gateway_failure: 80,
        enforcing_consecutive_local_origin_failure: 70,
        enforcing_success_rate: 60,
        success_rate_minimum_hosts: 3,
        success_rate_request_volume: 20,
        success_rate_stdev_factor: 2000,
    };
    assert_eq!(outlier, expected);
    let other = &config.clusters[1];
    assert_eq!(other.circuit_breakers.max_retries, Some(7));
    assert!(other.outlier_detection.is_none());
    assert_eq!(other.balance, Balance::default());
}

#[test]
fn outlier_detection_has_envoys_defaults() {
    let text = "clusters: [{ name: c, endpoints: [], outlier_detection: {} },\n\
                { name: d, endpoints: [], outlier_detection: { base_ejection_time: 10m } }]";
    let config = accept(&with(text));
    let outlier = config.clusters[0].outlier_detection.expect("asked for");
    let expected = OutlierDetection {
        consecutive_5xx: 5,
        consecutive_gateway_failure: 5,
        consecutive_local_origin_failure: 5,
        split_external_local_origin_errors: false,
        interval: 10 * SECOND,
        base_ejection_time: 30 * SECOND,
        max_ejection_time: 300 * SECOND,
        max_ejection_percent: 10,
        always_eject_one_host: false,
        enforcing_consecutive_5xx: 100,
        enforcing_consecutive_gateway_failure: 0,
        enforcing_consecutive_local_origin_failure: 100,
        enforcing_success_rate: 100,
        success_rate_minimum_hosts: 5,
        success_rate_request_volume: 100,
        success_rate_stdev_factor: 1900,
    };
    assert_eq!(outlier, expected);
    let longer = config.clusters[1].outlier_detection.expect("asked for");
    assert_eq!(longer.max_ejection_time, 600 * SECOND);
}

#[test]
fn retries_and_placement_mean_what_they_say() {
    let config = accept(FULL);
    let route = &config.listeners[0].routes[0];
    let expected = RetryPolicy {
        on: RetryOn::SERVER_ERROR
            | RetryOn::RETRIABLE_STATUS_CODES
            | RetryOn::RETRIABLE_HEADERS
            | RetryOn::grpc(14),
        num_retries: 4,
        per_try_timeout: Some(2 * SECOND),
        base_interval: Duration::from_millis(10),
        max_interval: Duration::from_millis(40),
        retriable_status_codes: vec![StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS],
        retriable_headers: vec![HeaderName::from_static("x-again")],
        buffer_limit: 1 << 20,
    };
    assert_eq!(route.retry.as_ref(), Some(&expected));
    let part = |of, terminal| HashPolicy { of, terminal };
    let parts = [
        part(HashOf::Header(HeaderName::from_static("x-user")), true),
        part(HashOf::Cookie("session".to_owned()), false),
        part(HashOf::SourceIp, false),
    ];
    assert_eq!(route.hash_policy, parts);
    assert!(route.attempt_count.request && route.attempt_count.response);
    assert!(config.listeners[0].trust_envoy_headers);
    assert!(!config.listeners[1].trust_envoy_headers);

    let config = accept(&with_route("cluster: c, retry_policy: {}"));
    let expected = RetryPolicy {
        on: RetryOn::CONNECT_FAILURE | RetryOn::REFUSED_STREAM,
        ..RetryPolicy::default()
    };
    assert_eq!(
        config.listeners[0].routes[0].retry.as_ref(),
        Some(&expected)
    );
    assert_eq!(expected.max_interval, Duration::from_millis(250));
    assert_eq!((expected.num_retries, expected.buffer_limit), (1, 64 << 10));
}

#[test]
fn checks_mean_what_they_say() {
    let config = accept(FULL);
    let check = config.clusters[1].health_check.as_ref().expect("asked for");
    let expected = HealthCheck {
        probe: Probe::Http {
            path: "/healthy".to_owned(),
            host: Some("check.test".to_owned()),
            expected: vec![204..=204, 300..=399],
        },
        interval: 10 * SECOND,
        timeout: 2 * SECOND,
        healthy_threshold: 2,
        unhealthy_threshold: 3,
    };
    assert_eq!(check, &expected);
    let check = config.clusters[2].health_check.as_ref().expect("asked for");
    let service = "a.B".to_owned();
    assert_eq!(check.probe, Probe::Grpc { service });
    for cluster in [
        "tls: { server_name: a.test, ca: ca.pem }, health_check: { path: / }",
        "protocol: http2, health_check: { path: / }",
        "protocol: http2, health_check: { grpc_service: '' }",
        "protocol: auto, tls: { server_name: a.test, ca: ca.pem }, health_check: { grpc_service: b }",
    ] {
        accept(&with(&format!(
            "clusters: [{{ name: c, endpoints: [], {cluster} }}]"
        )));
    }
}
