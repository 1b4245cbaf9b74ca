//! A leak, told by the input that makes it.
//!
//! LeakSanitizer needs a compiler that is not everywhere. Counting does not: what an input
//! allocates must be gone when it is over. The first times it may leave something behind (a
//! table that grew, a function compiled late); an input that leaves more behind *each* time
//! leaks.

use stats_alloc::{INSTRUMENTED_SYSTEM, Stats};

/// How often an input must grow the heap to be called a leak.
const TIMES: usize = 5;

/// Runs `input`, more than once if it leaves memory behind.
///
/// # Panics
/// When it leaves memory behind every time.
pub fn without_leak(mut input: impl FnMut()) {
    let mut grown = 0;
    for _ in 0..TIMES {
        let before = live(&INSTRUMENTED_SYSTEM.stats());
        input();
        grown = live(&INSTRUMENTED_SYSTEM.stats()) - before;
        if grown <= 0 {
            return;
        }
    }
    panic!("leaks: {grown} bytes more after each of {TIMES} runs");
}

fn live(stats: &Stats) -> i64 {
    let allocated = stats.bytes_allocated.cast_signed() as i64;
    allocated - stats.bytes_deallocated.cast_signed() as i64
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    #[test]
    #[should_panic(expected = "leaks: ")]
    fn what_is_left_behind_every_time_is_a_leak() {
        super::without_leak(|| {
            let _ = Box::leak(Box::new([0_u8; 64]));
        });
    }

    #[test]
    fn what_grows_once_is_not() {
        let table = RefCell::new(Vec::new());
        super::without_leak(|| {
            if table.borrow().is_empty() {
                table.borrow_mut().push([0_u8; 64]);
            }
        });
        assert_eq!(table.borrow().len(), 1);
    }
}
