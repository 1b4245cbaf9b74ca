//! Modules whose code is random: wasm-smith's, with our hostcalls as imports, and callbacks
//! as exports.

use std::fmt::Write as _;

use arbitrary::Unstructured;
use cofferdam_abi::testing::guest::{CALLBACKS, ENV, WASI, ty};
use wasm_smith::{Config, MemoryOffsetChoices, Module};

use super::dice::Dice;

/// Callbacks whose random answer would keep nearly every module from starting.
const STARTS: [&str; 3] = ["vm_start", "configure", "context_create"];

/// A module that ends by itself, whatever calls it.
///
/// # Panics
/// When what is asked of wasm-smith is no module, which the first one shows.
pub(super) fn any(dice: &mut Dice) -> Vec<u8> {
    loop {
        let config = config(dice);
        let bytes = dice.bytes(6_000);
        let mut chance = Unstructured::new(&bytes);
        // Fails where chance has run out.
        let Ok(mut module) = Module::new(config, &mut chance) else {
            continue;
        };
        // So that neither time nor stack runs out before this does.
        let fuel = 200 + dice.below(2_000);
        let ends = module.ensure_termination(u32::try_from(fuel).unwrap_or(200));
        let module = module.to_bytes();
        // References to the host's objects cannot be kept out otherwise. That both refuse
        // them alike, one in some shows.
        if ends.is_ok() && (runs(&module) || dice.one_in(8)) {
            return module;
        }
    }
}

fn runs(module: &[u8]) -> bool {
    let parsed = cofferdam_abi::Module::parse(module.to_vec().into());
    parsed.is_ok_and(|module| module.validate().is_ok())
}

/// What both engines run (the host crate's feature mask), and little enough of it to be
/// compiled at once.
fn config(dice: &mut Dice) -> Config {
    Config {
        available_imports: Some(wasm(&imports(dice))),
        exports: Some(wasm(&exports(dice))),
        max_imports: 12,
        min_funcs: 4,
        max_funcs: 24,
        max_instructions: 40 + dice.below(260),
        max_globals: 12,
        max_tables: 2,
        max_table_elements: 200,
        // Besides the exported one.
        max_memories: 0,
        max_type_size: 200,
        // Modules that fault at their first access prove little.
        disallow_traps: !dice.one_in(4),
        memory_offset_choices: MemoryOffsetChoices(95, 4, 1),
        allow_start_export: dice.one_in(8),
        reference_types_enabled: dice.one_in(2),
        simd_enabled: !dice.one_in(3),
        relaxed_simd_enabled: !dice.one_in(3),
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        memory64_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        shared_everything_threads_enabled: false,
        ..Config::default()
    }
}

fn imports(dice: &mut Dice) -> String {
    let mut text = String::from("(module");
    let env = ENV.iter().map(|row| ("env", "proxy_", row, true));
    let wasi = WASI
        .iter()
        .map(|row| ("wasi_snapshot_preview1", "", row, row.0 != "proc_exit"));
    for (module, prefix, (name, params), result) in env.chain(wasi) {
        if !dice.one_in(4) {
            let ty = ty(params, result);
            let _ = write!(text, "(import \"{module}\" \"{prefix}{name}\" (func {ty}))");
        }
    }
    text + ")"
}

fn exports(dice: &mut Dice) -> String {
    let mut text = String::from(
        "(module (memory (export \"memory\") 1 20)
         (func (export \"proxy_abi_version_0_2_1\"))
         (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) unreachable)",
    );
    for (name, params, answer) in CALLBACKS {
        let rare = STARTS.contains(name);
        if dice.one_in(if rare { 12 } else { 1 }) && (rare || !dice.one_in(4)) {
            let params = " i32".repeat(*params);
            let result = answer.map_or("", |_| "(result i32)");
            let _ = write!(
                text,
                "(func (export \"proxy_on_{name}\") (param{params}) {result} unreachable)"
            );
        }
    }
    text + ")"
}

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a list of imports or exports")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_module() {
        let [one, again] = [7, 7].map(|seed| any(&mut Dice::new(seed)));
        assert_eq!(one, again);
        assert_ne!(one, any(&mut Dice::new(8)));
    }
}
