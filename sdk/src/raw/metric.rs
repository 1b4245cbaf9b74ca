//! Metrics.

use super::imports::{
    proxy_define_metric, proxy_get_metric, proxy_increment_metric, proxy_record_metric,
};
use crate::types::{MetricType, Status};

/// The id of the metric with this name, made if need be.
///
/// ```no_run
/// use cofferdam_sdk::{MetricType, raw};
///
/// let denied = raw::define_metric(MetricType::Counter, "denied")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn define_metric(kind: MetricType, name: &str) -> Result<u32, Status> {
    let mut metric = 0;
    // SAFETY: `name` is a live slice the host reads; `metric` is writable.
    Status::check(unsafe {
        proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut metric)
    })?;
    Ok(metric)
}

/// Adds to a counter or a gauge.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let denied = 4;
/// raw::increment_metric(denied, 1)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn increment_metric(metric: u32, offset: i64) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_increment_metric(metric, offset) })
}

/// Sets a gauge, adds to a counter, samples a histogram.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let size = 6;
/// raw::record_metric(size, 512)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn record_metric(metric: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_record_metric(metric, value) })
}

/// The value of a counter or a gauge.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let denied = 4;
/// let so_far = raw::metric(denied)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn metric(metric: u32) -> Result<u64, Status> {
    let mut value = 0;
    // SAFETY: `value` is writable and outlives the call.
    Status::check(unsafe { proxy_get_metric(metric, &raw mut value) })?;
    Ok(value)
}
