//! Passive health: endpoints whose answers are bad are left out for a time, as Envoy's
//! outlier detection does it.
//!
//! Workers count what comes in a row; whoever reaches a threshold ejects. What Envoy does at
//! every interval (ending ejections, comparing success rates) is done by the first worker
//! that selects an endpoint after an interval has passed, so a cluster without requests wakes
//! nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::host::{Host, Word};
use crate::config::OutlierDetection;

/// How a request to an endpoint has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this status.
    Answered(u16),
    /// Without an answer: no connection, or one that was cut.
    Failed,
    /// Without an answer in time.
    TimedOut,
}

/// What looks for outliers in one cluster.
#[derive(Debug)]
pub(crate) struct Detector {
    settings: OutlierDetection,
    cluster: String,
    began: Instant,
    /// When the interval is over, in milliseconds since `began`.
    due: AtomicU64,
    records: Mutex<Vec<Record>>,
}

/// What is remembered of one endpoint.
#[derive(Debug)]
struct Record {
    host: Arc<Host>,
    ejected_at: Option<Instant>,
    /// How many ejections there have been in a row, less the quiet intervals since.
    times: u32,
    /// Sums at the last interval's end.
    requests: u64,
    successes: u64,
}

// === impl Detector ===

impl Detector {
    pub(crate) fn new(settings: OutlierDetection, cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            began: Instant::now(),
            due: AtomicU64::new(millis(settings.interval)),
            settings,
            records: Mutex::default(),
        }
    }

    /// The endpoints there are now.
    pub(crate) fn watch(&self, hosts: &[Arc<Host>]) {
        let mut records = self.records();
        records.retain(|record| hosts.iter().any(|host| Arc::ptr_eq(host, &record.host)));
        for host in hosts {
            if !records.iter().any(|record| Arc::ptr_eq(host, &record.host)) {
                records.push(Record {
                    host: host.clone(),
                    ejected_at: None,
                    times: 0,
                    requests: 0,
                    successes: 0,
                });
            }
        }
    }

    /// Counts an outcome. True when that has ejected the endpoint.
    pub(crate) fn note(&self, host: &Arc<Host>, outcome: Outcome) -> bool {
        let settings = &self.settings;
        let local = !matches!(outcome, Outcome::Answered(_));
        if settings.split_external_local_origin_errors {
            if local {
                return reached(
                    &host.local_failures,
                    settings.consecutive_local_origin_failure,
                ) && self.eject(
                    host,
                    settings.enforcing_consecutive_local_origin_failure,
                    "consecutive_local_origin_failure",
                );
            }
            clear(&host.local_failures);
        }
        let status = match outcome {
            Outcome::Answered(status) => status,
            Outcome::Failed => 503,
            Outcome::TimedOut => 504,
        };
        if status < 500 {
            clear(&host.server_errors);
            clear(&host.gateway_failures);
            return false;
        }
        let mut ejected = false;
        if !matches!(status, 502..=504) {
            clear(&host.gateway_failures);
        } else if reached(&host.gateway_failures, settings.consecutive_gateway_failure) {
            ejected = self.eject(
                host,
                settings.enforcing_consecutive_gateway_failure,
                "consecutive_gateway_failure",
            );
        }
        if reached(&host.server_errors, settings.consecutive_5xx) {
            ejected |= self.eject(host, settings.enforcing_consecutive_5xx, "consecutive_5xx");
        }
        ejected
    }

    /// Does what is due at the end of an interval. True when an ejection has ended or begun.
    pub(crate) fn tick(&self) -> bool {
        let now = Instant::now();
        let due = self.due.load(Ordering::Relaxed);
        let elapsed = millis(now - self.began);
        if elapsed < due {
            return false;
        }
        // Whoever is first does it.
        let interval = millis(self.settings.interval).max(1);
        let next = elapsed + interval;
        if (self.due)
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        let passed = u32::try_from(1 + (elapsed - due) / interval).unwrap_or(u32::MAX);
        let mut records = self.records();
        let mut changed = false;
        for record in &mut *records {
            changed |= self.reconsider(record, now, passed);
        }
        let outliers = self.outliers(&mut records);
        for index in outliers {
            let chance = self.settings.enforcing_success_rate;
            changed |= self.eject_one(&mut records, index, chance, "success_rate", now);
        }
        changed
    }

    fn reconsider(&self, record: &mut Record, now: Instant, passed: u32) -> bool {
        let Some(since) = record.ejected_at else {
            record.times = record.times.saturating_sub(passed);
            return false;
        };
        let bounds = (
            self.settings.base_ejection_time,
            self.settings.max_ejection_time,
        );
        if now - since < length(bounds, record.times) {
            return false;
        }
        record.ejected_at = None;
        record.host.ejected.store(false, Ordering::Relaxed);
        for word in [
            &record.host.server_errors,
            &record.host.gateway_failures,
            &record.host.local_failures,
        ] {
            word.store(0, Ordering::Relaxed);
        }
        tracing::warn!(cluster = %self.cluster, endpoint = %record.host.address, "endpoint is no longer ejected");
        true
    }

    /// Endpoints whose success rate of the last interval is too far below the others'.
    fn outliers(&self, records: &mut [Record]) -> Vec<usize> {
        let mut rates = Vec::new();
        for (index, record) in records.iter_mut().enumerate() {
            let successes = record.host.sum(Word::Successes);
            let requests = successes.wrapping_add(record.host.sum(Word::Errors));
            let of_interval = requests.wrapping_sub(record.requests);
            let good = successes.wrapping_sub(record.successes);
            (record.requests, record.successes) = (requests, successes);
            if of_interval >= self.settings.success_rate_request_volume
                && record.ejected_at.is_none()
            {
                rates.push((index, good as f64 / of_interval as f64));
            }
        }
        if rates.is_empty() || rates.len() < self.settings.success_rate_minimum_hosts as usize {
            return Vec::new();
        }
        let threshold = threshold(&rates, self.settings.success_rate_stdev_factor);
        rates.retain(|(_, rate)| *rate < threshold);
        rates.into_iter().map(|(index, _)| index).collect()
    }

    fn eject(&self, host: &Arc<Host>, chance: u8, why: &str) -> bool {
        let mut records = self.records();
        let index = records
            .iter()
            .position(|record| Arc::ptr_eq(host, &record.host));
        index.is_some_and(|index| self.eject_one(&mut records, index, chance, why, Instant::now()))
    }

    fn eject_one(
        &self,
        records: &mut [Record],
        index: usize,
        chance: u8,
        why: &str,
        now: Instant,
    ) -> bool {
        if records[index].ejected_at.is_some() || !happens(chance) {
            return false;
        }
        let ejected = records.iter().filter(|it| it.ejected_at.is_some()).count();
        let settings = &self.settings;
        let fits =
            (ejected + 1) * 100 <= records.len() * usize::from(settings.max_ejection_percent);
        let first = settings.always_eject_one_host && ejected == 0;
        if !fits && !first {
            return false;
        }
        let record = &mut records[index];
        record.ejected_at = Some(now);
        // No further once the longest is reached: it must come down again in as many
        // quiet intervals.
        if settings.base_ejection_time.saturating_mul(record.times) <= settings.max_ejection_time {
            record.times += 1;
        }
        record.host.ejected.store(true, Ordering::Relaxed);
        tracing::warn!(cluster = %self.cluster, endpoint = %record.host.address, why, "endpoint is ejected");
        true
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more in a row; true when these are `threshold`, and counting begins anew.
fn reached(word: &std::sync::atomic::AtomicU32, threshold: u32) -> bool {
    if threshold == 0 || word.fetch_add(1, Ordering::Relaxed) + 1 < threshold {
        return false;
    }
    word.store(0, Ordering::Relaxed);
    true
}

/// Read first: a healthy endpoint's words are shared by all workers and stay so.
fn clear(word: &std::sync::atomic::AtomicU32) {
    if word.load(Ordering::Relaxed) != 0 {
        word.store(0, Ordering::Relaxed);
    }
}

/// How long an ejection lasts, the `times`-th in a row.
fn length((base, most): (Duration, Duration), times: u32) -> Duration {
    base.saturating_mul(times).min(most)
}

fn happens(percent: u8) -> bool {
    percent >= 100 || fastrand::u8(..100) < percent
}

/// The success rate below which an endpoint is an outlier.
fn threshold(rates: &[(usize, f64)], factor: u32) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let square = |rate: &f64| (rate - mean) * (rate - mean);
    let variance = rates.iter().map(|(_, rate)| square(rate)).sum::<f64>() / count;
    mean - variance.sqrt() * f64::from(factor) / 1000.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_too_low_by_so_many_standard_deviations() {
        let rates: Vec<_> = [1.0, 1.0, 1.0, 1.0, 0.0].into_iter().enumerate().collect();
        // The mean is 0.8, the deviation 0.4.
        assert!((threshold(&rates, 1900) - 0.04).abs() < 1e-9);
        assert!((threshold(&rates, 0) - 0.8).abs() < 1e-9);
    }

    #[test]
    fn each_ejection_is_longer_up_to_a_bound() {
        let bounds = (Duration::from_secs(30), Duration::from_secs(70));
        let seconds: Vec<_> = (1..5)
            .map(|times| length(bounds, times).as_secs())
            .collect();
        assert_eq!(seconds, [30, 60, 70, 70]);
    }

    #[test]
    fn a_count_of_nothing_is_never_reached_and_others_begin_anew() {
        let word = std::sync::atomic::AtomicU32::new(0);
        assert!((0..9).all(|_| !reached(&word, 0)));
        let seen: Vec<_> = (0..6).map(|_| reached(&word, 3)).collect();
        assert_eq!(seen, [false, false, true, false, false, true]);
    }
}
