//! What a call on the interpreter may use: fuel, a slice at a time.
//!
//! A call begins with the fuel of a millisecond. When that is gone, the thread's CPU clock is
//! looked at, and again after each slice more: it says how long they really took, and whether
//! the call gets another. So calls that are short, which is nearly all, look at no clock, and
//! those that are long end by time as native code does, whatever a millisecond of theirs burns:
//! one that mostly has the host work for it may burn a twentieth of it. Where there is no
//! clock, and for what cannot be stopped and go on later (the guest's allocator inside of a
//! hostcall, a module's start), fuel decides alone.

use std::time::Duration;

use crate::error::TrapKind;
use crate::limits::Limits;

/// The longest slice.
const SLICE: Duration = Duration::from_millis(10);
/// The slices before it is known what the call burns in a millisecond: the first, which nothing
/// measures, and the second.
const FIRST: Duration = Duration::from_millis(1);

/// Of one instance: what each of its calls may use, and what the running one has.
#[derive(Debug)]
pub(super) struct Meter {
    time: Duration,
    quota: u64,
    /// What a whole call's time is worth, or its quota.
    whole: u64,
    slice: u64,
    first: u64,
    per_ms: u64,
    /// For the next call alone, where it is shorter than `time`.
    shortened: Option<Duration>,
    /// Of the running call.
    limit: Duration,
    /// Fuel that the running call may be given, as far as is known.
    most: u64,
    /// What it has been given of it.
    given: u64,
    /// The CPU clock when the first slice was gone, and what that slice was worth.
    since: Option<(Duration, Duration)>,
    /// The CPU clock, and the fuel used, when it was last looked at.
    looked: Option<(Duration, u64)>,
}

// === impl Meter ===

impl Meter {
    pub(super) fn new(limits: &Limits, per_ms: u64) -> Self {
        let most = fuel(limits.callback, per_ms);
        let quota = limits.fuel.unwrap_or(u64::MAX);
        Self {
            time: limits.callback,
            quota,
            whole: most.min(quota),
            // Four looks at the clock for a short limit, too.
            slice: fuel(SLICE, per_ms).min(most.div_ceil(4)),
            first: fuel(FIRST, per_ms).min(most.div_ceil(4)),
            per_ms,
            shortened: None,
            limit: limits.callback,
            most: 0,
            given: 0,
            since: None,
            looked: None,
        }
    }

    /// What that much time is in fuel.
    pub(super) fn fuel_of(&self, time: Duration) -> u64 {
        fuel(time, self.per_ms)
    }

    /// The next call may take as long at most as that much fuel is worth.
    pub(super) fn shorten(&mut self, fuel: u64) {
        self.shortened = Some(time(fuel, self.per_ms));
    }

    /// A call begins; the fuel it begins with.
    pub(super) fn begin(&mut self) -> u64 {
        let first = self.first;
        self.start();
        self.hand_out(first)
    }

    /// A call begins that cannot be given more later.
    pub(super) fn begin_whole(&mut self) -> u64 {
        self.start();
        self.hand_out(u64::MAX)
    }

    /// What the running call has used that has `left`.
    pub(super) const fn used(&self, left: u64) -> u64 {
        self.given.saturating_sub(left)
    }

    /// The slice is gone but for `left`, and the guest cannot go on with less than `needed`:
    /// the fuel it goes on with. `clock` is the thread's CPU clock.
    ///
    /// # Errors
    /// Of which limit this is the end.
    pub(super) fn next_slice(
        &mut self,
        left: u64,
        needed: u64,
        clock: Option<Duration>,
    ) -> Result<u64, TrapKind> {
        let mut slice = self.slice;
        if let Some(now) = clock {
            let first = time(self.used(left), self.per_ms);
            let (since, first) = *self.since.get_or_insert((now, first));
            let used = first + now.saturating_sub(since);
            let Some(rest) = self.limit.checked_sub(used).filter(|rest| !rest.is_zero()) else {
                return Err(TrapKind::Deadline);
            };
            let pace = self.pace(now, left);
            slice = pace.map_or(self.first, |pace| fuel(SLICE, pace).min(self.slice));
            // As the end comes near, slices become shorter, but not too short to be worth it.
            let least = slice.div_ceil(8);
            let rest = fuel(rest, pace.unwrap_or(self.per_ms))
                .max(least)
                .max(needed);
            self.most = self.given.saturating_add(rest).min(self.quota);
        }
        let wanted = slice.max(needed.saturating_sub(left));
        let fuel = left.saturating_add(self.hand_out(wanted));
        if fuel < needed.max(1) {
            return Err(self.end());
        }
        Ok(fuel)
    }

    /// Takes the cost of something the host does; what is left of `left` then.
    ///
    /// # Errors
    /// Of which limit this is the end.
    pub(super) fn charge(
        &mut self,
        left: u64,
        cost: u64,
        clock: impl FnOnce() -> Option<Duration>,
    ) -> Result<u64, TrapKind> {
        match left.checked_sub(cost) {
            Some(left) => Ok(left),
            None => Ok(self.next_slice(left, cost, clock())?.saturating_sub(cost)),
        }
    }

    /// Something is to run inside of a hostcall, where nothing can stop and go on later: all
    /// the fuel there is, of which `left` is the slice's.
    pub(super) fn whole(&mut self, left: u64) -> u64 {
        left.saturating_add(self.hand_out(u64::MAX))
    }

    /// It has run, and of what [`Meter::whole`] gave, `left` is left. What the slice has
    /// then, which had `before`.
    pub(super) fn back(&mut self, whole: u64, left: u64, before: u64) -> u64 {
        let slice = before.saturating_sub(whole.saturating_sub(left)).min(left);
        self.given -= (left - slice).min(self.given);
        slice
    }

    /// What the call burned in a millisecond since the last look, but no more than is thought
    /// of any; none at the first.
    fn pace(&mut self, now: Duration, left: u64) -> Option<u64> {
        let used = self.used(left);
        let (at, before) = self.looked.replace((now, used))?;
        let micros = u64::try_from(now.saturating_sub(at).as_micros()).unwrap_or(u64::MAX);
        let burned = used.saturating_sub(before).saturating_mul(1_000);
        let pace = burned.checked_div(micros).unwrap_or(self.per_ms);
        Some(pace.clamp(1, self.per_ms.max(1)))
    }

    fn start(&mut self) {
        self.limit = self.time;
        self.most = self.whole;
        if let Some(time) = self.shortened.take() {
            self.limit = time.min(self.time);
            self.most = fuel(self.limit, self.per_ms).min(self.quota);
        }
        self.given = 0;
        self.since = None;
        self.looked = None;
    }

    /// As much of `fuel` as there is.
    fn hand_out(&mut self, fuel: u64) -> u64 {
        let fuel = fuel.min(self.most.saturating_sub(self.given));
        self.given += fuel;
        fuel
    }

    /// Which limit ends a call that has been given all there is.
    pub(super) const fn end(&self) -> TrapKind {
        if self.most == self.quota {
            TrapKind::Fuel
        } else {
            TrapKind::Deadline
        }
    }
}

/// Never zero.
fn fuel(time: Duration, per_ms: u64) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    (micros.saturating_mul(per_ms) / 1_000).max(1)
}

fn time(fuel: u64, per_ms: u64) -> Duration {
    let nanos = u128::from(fuel) * 1_000_000 / u128::from(per_ms.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn meter(callback: Duration, quota: Option<u64>) -> Meter {
        let limits = Limits {
            callback,
            fuel: quota,
            ..Limits::default()
        };
        Meter::new(&limits, 1_000)
    }

    /// Burns all it gets, each thousand units of fuel in `pace`; how long it ran, and how it
    /// ended.
    fn burn(meter: &mut Meter, pace: Duration) -> (Duration, TrapKind) {
        let (mut fuel, mut now) = (meter.begin(), Duration::from_secs(5));
        let begun = now;
        loop {
            now += pace * u32::try_from(fuel).expect("little") / 1_000;
            match meter.next_slice(0, 1, Some(now)) {
                Ok(more) => fuel = more,
                Err(kind) => return (now - begun, kind),
            }
        }
    }

    #[test]
    fn a_long_call_ends_by_the_clock_whatever_fuel_is_worth() {
        for (pace, most) in [(1, 102), (3, 110), (10, 115), (30, 140)] {
            let mut meter = meter(100 * MILLI, None);
            let (time, kind) = burn(&mut meter, MILLI * pace);
            assert_eq!(kind, TrapKind::Deadline);
            assert!(
                time >= 100 * MILLI && time <= MILLI * most,
                "{pace}: {time:?}"
            );
        }
        // Less is used in the first slice than is thought, so that it ends a little early.
        let (time, _) = burn(&mut meter(100 * MILLI, None), MILLI / 4);
        assert!(time > 90 * MILLI && time < 102 * MILLI, "{time:?}");
    }

    #[test]
    fn without_a_clock_fuel_decides() {
        let mut meter = meter(100 * MILLI, None);
        let mut sum = meter.begin();
        let kind = loop {
            match meter.next_slice(0, 1, None) {
                Ok(more) => sum += more,
                Err(kind) => break kind,
            }
        };
        assert_eq!((sum, kind), (100_000, TrapKind::Deadline));
        assert_eq!(meter.used(0), 100_000);
    }

    #[test]
    fn a_quota_ends_a_call_to_the_unit() {
        for clock in [None, Some(Duration::ZERO)] {
            let mut meter = meter(100 * MILLI, Some(12_345));
            let mut sum = meter.begin();
            let kind = loop {
                match meter.next_slice(0, 1, clock) {
                    Ok(more) => sum += more,
                    Err(kind) => break kind,
                }
            };
            assert_eq!((sum, kind), (12_345, TrapKind::Fuel));
        }
    }

    #[test]
    fn what_the_host_does_is_taken_beyond_the_slice() {
        let mut meter = meter(100 * MILLI, None);
        let first = meter.begin();
        let none = || None;
        assert_eq!(meter.charge(first, 100, none), Ok(first - 100));
        assert_eq!(meter.charge(first - 100, 50_000, none), Ok(0));
        assert_eq!(meter.used(0), 50_100);
        assert_eq!(meter.charge(0, 50_000, none), Err(TrapKind::Deadline));
        let late = || Some(Duration::from_secs(1));
        meter.begin();
        assert_eq!(meter.charge(0, 90_000, late), Ok(0), "the first look");
        let later = || Some(Duration::from_secs(2));
        assert_eq!(meter.charge(0, 10, later), Err(TrapKind::Deadline));
    }

    #[test]
    fn what_runs_inside_a_hostcall_gives_back_what_it_leaves() {
        let mut meter = meter(100 * MILLI, None);
        let first = meter.begin();
        let whole = meter.whole(first - 10);
        assert_eq!(whole, 100_000 - 10);
        assert_eq!(meter.back(whole, whole - 500, first - 10), first - 510);
        assert_eq!(meter.used(first - 510), 510);
        let whole = meter.whole(100);
        assert_eq!(
            meter.back(whole, whole - 500, 100),
            0,
            "more than the slice had"
        );
        assert_eq!(meter.used(0), first + 400);
    }

    #[test]
    fn one_operation_may_need_more_than_a_slice() {
        let mut meter = meter(100 * MILLI, None);
        let first = meter.begin();
        let more = meter.next_slice(first / 2, 60_000, None);
        assert_eq!(more, Ok(60_000));
        assert_eq!(
            meter.next_slice(60_000, 200_000, None),
            Err(TrapKind::Deadline)
        );
    }

    #[test]
    fn a_shortened_call_is_one_call() {
        let mut meter = meter(100 * MILLI, None);
        meter.shorten(20_000);
        assert_eq!(burn(&mut meter, MILLI).0, 20 * MILLI);
        assert_eq!(burn(&mut meter, MILLI).0, 100 * MILLI);
        meter.shorten(500_000);
        assert_eq!(burn(&mut meter, MILLI).0, 100 * MILLI);
    }
}
