//! What a VM keeps while it is there, written into the words of every plugin that has a root
//! in it. VMs that plugins share count for each of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Usage;
use super::times::{lower, raise};
use crate::engine::Tier;

/// The words of one plugin on one worker.
#[derive(Debug, Default)]
pub(super) struct Words {
    vms: [AtomicU64; 2],
    memory: AtomicU64,
    peak: AtomicU64,
}

/// What the VMs of one plugin keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resident {
    /// How many there are, on the interpreter and as native code.
    pub vms: [u64; 2],
    /// Bytes of linear memory, all of them together.
    pub memory: u64,
    /// Bytes of the largest that there has been.
    pub peak: u64,
}

/// One VM's entry in them; it leaves them with the VM.
pub(crate) struct Residence {
    tier: Tier,
    size: u64,
    of: Vec<Arc<Usage>>,
}

// === impl Words ===

impl Words {
    pub(super) fn read(&self) -> Resident {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        Resident {
            vms: [load(&self.vms[0]), load(&self.vms[1])],
            memory: load(&self.memory),
            peak: load(&self.peak),
        }
    }

    fn reach(&self, size: u64) {
        if size > self.peak.load(Ordering::Relaxed) {
            self.peak.store(size, Ordering::Relaxed);
        }
    }
}

// === impl Resident ===

impl Resident {
    /// Adds what another worker has.
    pub(crate) fn add(&mut self, other: Self) {
        self.vms[0] += other.vms[0];
        self.vms[1] += other.vms[1];
        self.memory = self.memory.wrapping_add(other.memory);
        self.peak = self.peak.max(other.peak);
    }
}

// === impl Residence ===

impl Residence {
    pub(crate) const fn new(tier: Tier) -> Self {
        Self {
            tier,
            size: 0,
            of: Vec::new(),
        }
    }

    /// A plugin has a root in it.
    pub(crate) fn share(&mut self, usage: Arc<Usage>) {
        if self.of.iter().any(|known| Arc::ptr_eq(known, &usage)) {
            return;
        }
        let words = &usage.resident;
        raise(&words.vms[self.tier as usize], 1);
        raise(&words.memory, self.size);
        words.reach(self.size);
        self.of.push(usage);
    }

    /// Its memory has that many bytes now.
    pub(crate) fn measure(&mut self, size: usize) {
        if self.size != size as u64 {
            self.resize(size as u64);
        }
    }

    #[cold]
    fn resize(&mut self, size: u64) {
        for usage in &self.of {
            raise(&usage.resident.memory, size.wrapping_sub(self.size));
            usage.resident.reach(size);
        }
        self.size = size;
    }
}

impl Drop for Residence {
    fn drop(&mut self) {
        for usage in &self.of {
            lower(&usage.resident.vms[self.tier as usize], 1);
            lower(&usage.resident.memory, self.size);
        }
    }
}

impl fmt::Debug for Residence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residence")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_counts_for_its_plugins_while_it_is_there() {
        let (one, two) = (Arc::<Usage>::default(), Arc::<Usage>::default());
        let mut vm = Residence::new(Tier::Native);
        vm.measure(100);
        vm.share(one.clone());
        vm.share(one.clone());
        vm.measure(300);
        vm.share(two.clone());
        let mut other = Residence::new(Tier::Interpreter);
        other.share(one.clone());
        other.measure(50);
        let resident = |vms, memory, peak| Resident { vms, memory, peak };
        assert_eq!(one.resident(), resident([1, 1], 350, 300));
        assert_eq!(two.resident(), resident([0, 1], 300, 300));
        drop(vm);
        assert_eq!(one.resident(), resident([1, 0], 50, 300));
        assert_eq!(two.resident(), resident([0, 0], 0, 300));
        let mut sum = one.resident();
        sum.add(resident([1, 1], 7, 400));
        assert_eq!(sum, resident([2, 1], 57, 400));
    }
}
