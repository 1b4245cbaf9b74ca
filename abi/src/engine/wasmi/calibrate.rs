//! How much fuel this machine burns in a millisecond.

use std::time::Duration;

use wasmi::{Engine, Linker, Module, Store};

/// Runs a loop such as guests run until its fuel is gone, a few times; the fastest counts.
pub(super) fn measure(engine: &Engine, clock: impl Fn() -> Duration) -> Option<u64> {
    const ROUNDS: u32 = 5;
    const FUEL: u64 = 400_000;
    let compiled = Module::new(engine, CALIBRATION).ok()?;
    let mut store = Store::new(engine, ());
    let instance = Linker::new(engine)
        .instantiate_and_start(&mut store, &compiled)
        .ok()?;
    let spin = instance.get_typed_func::<(), ()>(&store, "spin").ok()?;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        store.set_fuel(FUEL).ok()?;
        let start = clock();
        // Ends when the fuel does.
        let _ = spin.call(&mut store, ());
        best = best.min(clock().saturating_sub(start));
    }
    let nanos = u64::try_from(best.as_nanos()).ok()?.max(1);
    Some((FUEL.saturating_mul(1_000_000) / nanos).max(1))
}

/// `(module (memory 1) (func (export "spin") (local i32) (loop (i32.store …) (br 0))))`:
/// arithmetic and memory in the proportion of a guest's byte loop.
const CALIBRATION: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // header
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00, // type () -> ()
    0x03, 0x02, 0x01, 0x00, // one function
    0x05, 0x03, 0x01, 0x00, 0x01, // memory 1
    0x07, 0x08, 0x01, 0x04, b's', b'p', b'i', b'n', 0x00, 0x00, // export
    0x0a, 0x21, 0x01, 0x1f, 0x01, 0x01, 0x7f, // code: one local i32
    0x03, 0x40, // loop
    0x20, 0x00, 0x41, 0xff, 0xff, 0x03, 0x71, // local & 0xffff
    0x20, 0x00, 0x41, 0x03, 0x6c, // local * 3
    0x3a, 0x00, 0x00, // i32.store8
    0x20, 0x00, 0x41, 0x01, 0x6a, 0x21, 0x00, // local += 1
    0x0c, 0x00, // br 0
    0x0b, 0x0b, // end, end
];
