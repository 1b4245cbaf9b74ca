//! The interpreter's memory, without the pages nobody has written to.
//!
//! wasmi fills a guest's memory with zeros by hand, so that every page of it is there: of a
//! Rust guest, whose stack alone is a megabyte, some 1.1 MiB, of which it uses 70 KiB. Once
//! the guest has started, pages that are still all zero go back to the system, which makes
//! them again, zero, when they are touched.

#![allow(
    unsafe_code,
    reason = "madvise, on a slice that is ours alone; ARCHITECTURE.md lists this file"
)]

use std::ffi::c_void;

use rustix::mm::{Advice, madvise};

/// What is asked of the system at a time: the smallest page there is anywhere but on 16 and
/// 64 KiB machines, where a smaller piece is refused and nothing happens.
const PAGE: usize = 4096;

/// Gives back the pages of `memory` that hold zeros only. What it holds does not change.
pub(super) fn give_back_zeros(memory: &mut [u8]) {
    let skip = memory.as_ptr().align_offset(PAGE).min(memory.len());
    let (_, memory) = memory.split_at_mut(skip);
    let mut pages = memory.chunks_exact_mut(PAGE).peekable();
    while let Some(page) = pages.next() {
        if !is_zero(page) {
            continue;
        }
        let start = page.as_mut_ptr();
        let mut length = PAGE;
        while pages.next_if(|page| is_zero(page)).is_some() {
            length += PAGE;
        }
        // SAFETY: `start` and `length` cover whole, adjacent chunks of `memory`, which is
        // borrowed exclusively, so nobody reads or writes them meanwhile. They are part of a
        // `Vec`, whose memory is the global allocator's: private and anonymous, for which
        // MADV_DONTNEED means that the next access finds zeros. Zeros is what each of these
        // chunks was just seen to hold, so no value changes.
        let _refused = unsafe { madvise(start.cast::<c_void>(), length, Advice::LinuxDontNeed) };
    }
}

fn is_zero(page: &[u8]) -> bool {
    page.as_chunks::<16>()
        .0
        .iter()
        .all(|bytes| u128::from_ne_bytes(*bytes) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_holds_does_not_change() {
        for offset in [0, 1, 17, PAGE - 1] {
            let mut memory = vec![0_u8; 64 * PAGE + offset];
            for at in [0, 5 * PAGE + 7, 6 * PAGE, 40 * PAGE, 64 * PAGE - 1] {
                memory[at + offset] = 0xa5;
            }
            let before = memory.clone();
            give_back_zeros(&mut memory[offset..]);
            assert_eq!(memory, before);
            memory.fill(1);
            give_back_zeros(&mut memory);
            assert!(memory.iter().all(|byte| *byte == 1));
        }
        give_back_zeros(&mut []);
        give_back_zeros(&mut [0; 10]);
    }
}
