//! What the targets share: a guest that does whatever its input says, and a watch over
//! what an input leaves behind.
//!
//! Each target is one file in `targets/`; `run.sh` builds and runs them.

mod hostile;
mod leak;
mod world;

pub use hostile::wasm;
pub use leak::without_leak;
pub use world::World;

/// Every live byte is counted, for [`without_leak`].
#[global_allocator]
static COUNTED: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;
