//! What the targets share: a guest that does whatever its input says, and a watch over
//! what an input leaves behind. Guest and events are the host crate's, which offers them to
//! all who test hosts.
//!
//! Each target is one file in `targets/`; `run.sh` builds and runs them.

mod leak;

use std::time::Duration;

use cofferdam_abi::Module;
use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::wasmi::Wasmi;
use cofferdam_abi::testing::{Script, hostile};

pub use leak::without_leak;

/// Longest call.
const CALLBACK: Duration = Duration::from_millis(20);

/// Every live byte is counted, for [`without_leak`].
#[global_allocator]
static COUNTED: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

thread_local! {
    static CODE: (Module, Box<dyn Code>) = compile();
}

fn compile() -> (Module, Box<dyn Code>) {
    let module = Module::parse(hostile::wasm().into()).expect("the hostile guest parses");
    let code = Wasmi::new(10 << 10)
        .with_fuel_per_ms(20_000)
        .compile(&module, &cofferdam_abi::Compat::SUPERSET)
        .expect("the hostile guest compiles");
    (module, code)
}

/// Has a story happen to hostile guests on the interpreter, and looks for leaks.
pub fn play(script: Option<Script<'_>>) {
    let Some(script) = script else { return };
    CODE.with(|(module, code)| {
        without_leak(|| {
            script.play(&**code, module.version, script.settings(CALLBACK), false);
        });
    });
}
