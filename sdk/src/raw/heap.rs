//! The memory of a module: an allocator of some hundred bytes in the place of libc's eleven
//! thousand, and faster, because a filter allocates little and often.
//!
//! Sizes are rounded up to powers of two. Blocks of up to half a page (64 KiB) are cut from
//! pages and, when freed, kept for the next of their size, since what a filter needs once it
//! tends to need again. Larger ones are whole pages; freed ones are merged with their
//! neighbours and used first fit.
//!
//! A module has one thread, so nothing is locked.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr::null_mut;

const PAGE: usize = 1 << 16;
/// The smallest block: it must have room for a [`Run`], and be aligned for everything common.
const SMALLEST: usize = 16;
/// Block sizes, from the smallest to half a page.
const CLASSES: usize = 12;

/// Where pages come from.
pub(super) trait Pages {
    /// The first byte of so many fresh pages, aligned to a page; null where there are none.
    fn grow(pages: usize) -> *mut u8;
}

/// An allocator for one thread.
pub(super) struct Heap<P> {
    /// Freed blocks of each class; each holds the address of the next.
    free: [Cell<*mut u8>; CLASSES],
    /// What is left of the page that blocks are cut from.
    rest: Cell<*mut u8>,
    left: Cell<usize>,
    /// Freed runs of pages, in the order of addresses.
    runs: Cell<*mut Run>,
    pages: core::marker::PhantomData<P>,
}

/// At the beginning of freed pages.
struct Run {
    next: *mut Self,
    pages: usize,
}

// SAFETY: the one static of this type is in modules without threads, and in tests each has
// its own.
unsafe impl<P> Sync for Heap<P> {}

impl<P: Pages> Heap<P> {
    pub(super) const fn new() -> Self {
        Self {
            free: [const { Cell::new(null_mut()) }; CLASSES],
            rest: Cell::new(null_mut()),
            left: Cell::new(0),
            runs: Cell::new(null_mut()),
            pages: core::marker::PhantomData,
        }
    }

    /// The class of blocks for a layout and their size; `None` for whole pages.
    fn class(&self, layout: Layout) -> Option<(&Cell<*mut u8>, usize)> {
        if layout.size() > PAGE / 2 || layout.align() > SMALLEST {
            return None;
        }
        let size = layout.size().max(SMALLEST).next_power_of_two();
        let class = size.trailing_zeros() - SMALLEST.trailing_zeros();
        Some((self.free.get(class as usize)?, size))
    }

    /// A block cut from the page at hand, or from the next.
    fn cut(&self, size: usize) -> *mut u8 {
        if self.left.get() < size {
            let page = P::grow(1);
            if page.is_null() {
                return page;
            }
            // What is left of the page before is lost: less than a block of this size.
            self.rest.set(page);
            self.left.set(PAGE);
        }
        let block = self.rest.get();
        self.left.set(self.left.get() - size);
        self.rest.set(block.wrapping_add(size));
        block
    }

    /// So many pages: from those that were freed, or fresh ones.
    fn take_run(&self, pages: usize) -> *mut u8 {
        let (mut before, mut run) = (null_mut::<Run>(), self.runs.get());
        while !run.is_null() {
            // SAFETY: every run in the list begins with a `Run` that `put_run` wrote.
            let Run { next, pages: has } = unsafe { run.read() };
            if has > pages {
                let pages_left = has - pages;
                let shorter = Run {
                    next,
                    pages: pages_left,
                };
                // SAFETY: the run is still ours; its first page stays in the list.
                unsafe { run.write(shorter) };
                return run.cast::<u8>().wrapping_add(pages_left * PAGE);
            }
            if has == pages {
                if before.is_null() {
                    self.runs.set(next);
                } else {
                    // SAFETY: `before` is a run of the list, as above.
                    unsafe { (*before).next = next };
                }
                return run.cast();
            }
            (before, run) = (run, next);
        }
        P::grow(pages)
    }

    /// Keeps freed pages, in the order of addresses, as one run with those beside them.
    fn put_run(&self, block: *mut u8, mut pages: usize) {
        let run = block.cast::<Run>();
        let (mut before, mut next) = (null_mut::<Run>(), self.runs.get());
        while !next.is_null() && next < run {
            before = next;
            // SAFETY: a run of the list.
            next = unsafe { (*next).next };
        }
        if !next.is_null() && block.wrapping_add(pages * PAGE) == next.cast() {
            // SAFETY: a run of the list.
            let behind = unsafe { next.read() };
            (next, pages) = (behind.next, pages + behind.pages);
        }
        if before.is_null() {
            self.runs.set(run);
        } else {
            // SAFETY: a run of the list.
            let Run { pages: has, .. } = unsafe { before.read() };
            if before.cast::<u8>().wrapping_add(has * PAGE) == block {
                let pages = has + pages;
                // SAFETY: likewise; it reaches over the freed pages now.
                return unsafe { before.write(Run { next, pages }) };
            }
            // SAFETY: likewise.
            unsafe { (*before).next = run };
        }
        // SAFETY: whole pages that nobody uses any more, aligned to a page.
        unsafe { run.write(Run { next, pages }) };
    }
}

// SAFETY: a block is handed out once, until it is freed: it leaves its list, or is cut from
// where nothing was. It is as long as asked for, or longer, and aligned: pages are to a page,
// blocks to the 16 bytes that all sizes are multiples of.
unsafe impl<P: Pages> GlobalAlloc for Heap<P> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((free, size)) = self.class(layout) else {
            return match layout.align() <= PAGE {
                true => self.take_run(layout.size().max(1).div_ceil(PAGE)),
                false => null_mut(),
            };
        };
        let block = free.get();
        if block.is_null() {
            return self.cut(size);
        }
        // SAFETY: a freed block of this list holds the address of the next.
        free.set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.class(layout) {
            Some((free, _)) => {
                // SAFETY: the block has 16 bytes at least, aligned to 16, and is nobody's.
                unsafe { block.cast::<*mut u8>().write(free.get()) };
                free.set(block);
            }
            None => self.put_run(block, layout.size().max(1).div_ceil(PAGE)),
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The caller promises a size that makes a layout.
        let Ok(grown) = Layout::from_size_align(size, layout.align()) else {
            return null_mut();
        };
        let fits = match (self.class(layout), self.class(grown)) {
            (Some((_, before)), Some((_, after))) => before == after,
            (None, None) => layout.size().div_ceil(PAGE) == size.div_ceil(PAGE),
            _ => false,
        };
        if fits {
            return block;
        }
        // SAFETY: as this function's caller has promised.
        let fresh = unsafe { self.alloc(grown) };
        if !fresh.is_null() {
            let length = layout.size().min(size);
            // SAFETY: both are blocks of that length at least, and different ones.
            unsafe { fresh.copy_from_nonoverlapping(block, length) };
            // SAFETY: as this function's caller has promised.
            unsafe { self.dealloc(block, layout) };
        }
        fresh
    }
}

/// Memory of a module, which grows at its end.
#[cfg(target_arch = "wasm32")]
mod module {
    use super::{Heap, PAGE, Pages, null_mut};

    struct Memory;

    impl Pages for Memory {
        fn grow(pages: usize) -> *mut u8 {
            match core::arch::wasm32::memory_grow::<0>(pages) {
                usize::MAX => null_mut(),
                before => (before * PAGE) as *mut u8,
            }
        }
    }

    #[global_allocator]
    static HEAP: Heap<Memory> = Heap::new();
}

#[cfg(test)]
mod tests {
    use std::alloc::{alloc_zeroed, dealloc};
    use std::cell::RefCell;

    use super::*;

    /// Pages of the machine, at most 256 for each test.
    struct Machine;

    thread_local! {
        static GROWN: RefCell<Vec<(usize, Layout)>> = const { RefCell::new(Vec::new()) };
    }

    impl Pages for Machine {
        fn grow(pages: usize) -> *mut u8 {
            GROWN.with_borrow_mut(|grown| {
                let so_far: usize = grown.iter().map(|(_, layout)| layout.size() / PAGE).sum();
                if so_far + pages > 256 {
                    return null_mut();
                }
                let layout = Layout::from_size_align(pages * PAGE, PAGE).unwrap();
                // SAFETY: the layout is not empty.
                let block = unsafe { alloc_zeroed(layout) };
                grown.push((block as usize, layout));
                block
            })
        }
    }

    fn give_back() {
        GROWN.with_borrow_mut(|grown| {
            for (block, layout) in grown.drain(..) {
                // SAFETY: `grow` got it with that layout.
                unsafe { dealloc(block as *mut u8, layout) };
            }
        });
    }

    /// A number after the other, the same each time.
    fn next(seed: &mut u64) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 33) as usize
    }

    #[test]
    fn blocks_never_overlap_and_keep_what_is_in_them() {
        let heap = Heap::<Machine>::new();
        let mut seed = 1;
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for round in 0..20_000 {
            let mark = (round % 251) as u8;
            let size = match next(&mut seed) % 50 {
                0 => 1 + next(&mut seed) % 300_000,
                1..5 => 1 + next(&mut seed) % 20_000,
                _ => 1 + next(&mut seed) % 200,
            };
            let align = 1 << (next(&mut seed) % 6);
            let layout = Layout::from_size_align(size, align).unwrap();
            match next(&mut seed) % 3 {
                0 if !live.is_empty() => {
                    let (block, layout, mark) = live.swap_remove(next(&mut seed) % live.len());
                    check(block, layout, mark);
                    // SAFETY: it is live, with that layout.
                    unsafe { heap.dealloc(block, layout) };
                }
                1 if !live.is_empty() => {
                    let at = next(&mut seed) % live.len();
                    let (block, before, old) = live[at];
                    // SAFETY: it is live, with that layout; the size is not zero.
                    let moved = unsafe { heap.realloc(block, before, size) };
                    if !moved.is_null() {
                        let after = Layout::from_size_align(size, before.align()).unwrap();
                        let kept = Layout::from_size_align(size.min(before.size()), 1).unwrap();
                        check(moved, kept, old);
                        fill(moved, after, mark);
                        live[at] = (moved, after, mark);
                    }
                }
                _ => {
                    // SAFETY: the size is not zero.
                    let block = unsafe { heap.alloc(layout) };
                    if !block.is_null() {
                        assert_eq!(block as usize % layout.align(), 0);
                        fill(block, layout, mark);
                        live.push((block, layout, mark));
                    }
                }
            }
        }
        for (block, layout, mark) in live {
            check(block, layout, mark);
        }
        give_back();
    }

    #[test]
    fn what_is_freed_is_used_again() {
        let heap = Heap::<Machine>::new();
        for _ in 0..1_000 {
            for size in [1, 100, 5_000, 40_000, 200_000] {
                let layout = Layout::from_size_align(size, 8).unwrap();
                // SAFETY: the size is not zero.
                let block = unsafe { heap.alloc(layout) };
                assert!(!block.is_null());
                // SAFETY: it is live, with that layout.
                unsafe { heap.dealloc(block, layout) };
            }
        }
        GROWN.with_borrow(|grown| assert!(grown.len() < 5, "{} times", grown.len()));
        give_back();
    }

    fn fill(block: *mut u8, layout: Layout, mark: u8) {
        // SAFETY: a live block of that size.
        unsafe { block.write_bytes(mark, layout.size()) };
    }

    fn check(block: *mut u8, layout: Layout, mark: u8) {
        // SAFETY: a live block of that size, filled.
        let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
        assert!(bytes.iter().all(|byte| *byte == mark));
    }
}
