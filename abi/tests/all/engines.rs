//! What both engines must agree on: which modules they run, what those compute where the
//! specification leaves it open, and where memory, tables and recursion end.

use cofferdam_abi::{TrapKind, VmSettings};

use crate::world::{Engine, Look, Setup};

/// A module that is nothing else.
fn module(fields: &str) -> String {
    format!("(module (func (export \"proxy_abi_version_0_2_1\")) {fields})")
}

/// What keeps that engine from running a module.
fn refusal(engine: Engine, fields: &str) -> String {
    let refused = engine.wat(Setup::default(), &module(fields));
    refused.expect_err(fields).to_string()
}

/// Proposals that are not in the mask: a module that uses each, and what must be said.
const REFUSED: [(&str, &str, &str); 11] = [
    ("exceptions", "(tag $e) (func (throw $e))", "exceptions"),
    ("threads", "(memory 1 1 shared)", "threads"),
    (
        "atomics",
        "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
        "threads",
    ),
    ("memory64", "(memory i64 1)", "memory64"),
    ("table64", "(table i64 1 funcref)", "memory64"),
    ("multi-memory", "(memory 1) (memory 1)", "multi"),
    ("gc", "(type (struct (field i32)))", "gc"),
    (
        "function references",
        "(func (param (ref func)))",
        "function references",
    ),
    (
        "custom page sizes",
        "(memory 1 (pagesize 1))",
        "custom page sizes",
    ),
    (
        "wide arithmetic",
        "(func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2)))",
        "wide arithmetic",
    ),
    ("host references", "(func (param externref))", "gc"),
];

#[test]
fn what_is_not_in_the_mask_is_refused_by_both_in_the_same_words() {
    for (name, fields, words) in REFUSED {
        let [interpreter, native] = [Engine::Wasmi, Engine::Wasmtime].map(|on| refusal(on, fields));
        assert_eq!(interpreter, native, "{name}");
        assert!(interpreter.contains(words), "{name}: {interpreter}");
    }
}

/// What a guest says in its timer.
fn says(engine: Engine, fields: &str, code: &str) -> Vec<String> {
    engine
        .guest(&format!("raw\n {fields}\non tick\n {code}"))
        .tick()
}

each_engine! {
    fn vectors_are_run(engine) {
        let said = says(engine, "", "
            (!say (i32x4.extract_lane 2
                (i32x4.mul (v128.const i32x4 1 2 3 4) (i32x4.splat #14))))
            (!say (i8x16.bitmask (i8x16.splat #-1)))");
        assert_eq!(said, ["42", "65535"]);
    }

    fn relaxed_vectors_have_one_result(engine) {
        // Outside the sixteen bytes a choice takes nothing; a product and a sum are rounded
        // once: twice would be 0.
        let said = says(engine, "", "
            (!say (i8x16.extract_lane_u 0
                (i8x16.relaxed_swizzle (i8x16.splat #7) (i8x16.splat #100))))
            (!say (i32.reinterpret_f32 (f32x4.extract_lane 0 (f32x4.relaxed_madd
                (f32x4.splat (f32.const 0x1.000002p0)) (f32x4.splat (f32.const 0x1.000002p0))
                (f32x4.splat (f32.const -0x1.000004p0))))))
            (!say (i32x4.extract_lane 0
                (i32x4.relaxed_trunc_f32x4_s (f32x4.splat (f32.const nan)))))
            (!say (i32.reinterpret_f32 (f32x4.extract_lane 0
                (f32x4.relaxed_min (f32x4.splat (f32.const -0.0)) (f32x4.splat (f32.const 0))))))");
        assert_eq!(said, ["0", "679477248", "0", "2147483648"]);
    }

    fn tail_calls_take_no_stack(engine) {
        let said = says(engine, "
            (func $down (param $n i32) (result i32)
                (if (i32.eqz (local.get $n)) (then (return #7)))
                (return_call $down (i32.sub (local.get $n) #1)))", "(!say (!down #100000))");
        assert_eq!(said, ["7"]);
    }

    fn constants_may_be_computed(engine) {
        let said = says(engine, "(global $answer i32 (i32.add (i32.mul #6 #6) #6))", "
            (!say (global.get $answer))");
        assert_eq!(said, ["42"]);
    }

    fn memory_is_moved_and_filled_at_once(engine) {
        let said = says(engine, "(data $d \"abcdef\")", "
            (memory.init $d #512 #1 #4) (memory.copy #513 #512 #4) (memory.fill #516 #33 #1)
            (data.drop $d) (!text #512 #5)");
        assert_eq!(said, ["bbcd!"]);
    }

    fn functions_are_values_in_tables(engine) {
        let said = says(engine, "
            (type $f (func (result i32)))
            (table $t 1 5 funcref) (elem declare func $seven)
            (func $seven (result i32) #7)", "
            (!say (ref.is_null (table.get $t #0)))
            (!say (table.grow $t (ref.func $seven) #1))
            (table.set $t #0 (ref.func $seven))
            (!say (call_indirect $t (type $f) #1))
            (!say (table.size $t))");
        assert_eq!(said, ["1", "1", "7", "2"]);
    }

    fn blocks_have_many_results_and_conversions_end_somewhere(engine) {
        let said = says(engine, "", "
            (!say (i32.sub (block (result i32 i32) #9 #2)))
            (!say (i32.extend8_s #255))
            (!say (i32.trunc_sat_f64_s (f64.const 1e20)))");
        assert_eq!(said, ["7", "4294967295", "2147483647"]);
    }

    fn there_is_one_nan(engine) {
        let zero = "(f64.sub (f64.const 1) (f64.const 1))";
        let bits = |code: &str| format!("(!say (i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 {code}) (i64.const 32))))");
        let said = says(engine, "", &[
            bits(&format!("(f64.div {zero} {zero})")),
            bits("(f64.sqrt (f64.const -4))"),
            bits("(f64.sub (f64.const inf) (f64.const inf))"),
            bits("(f64.add (f64.const nan:0xf123456789abc) (f64.const 1))"),
            bits("(f64.min (f64.const 1) (f64.const -nan))"),
            bits("(f64.promote_f32 (f32.const -nan:0x7fffff))"),
            // What is no arithmetic keeps the bits.
            bits("(f64.neg (f64.const nan))"),
            bits("(f64.copysign (f64.const nan:0xf123456789abc) (f64.const -1))"),
        ].join("\n"));
        let (one, negative) = ("2146959360", "4294443008");
        assert_eq!(said, [one, one, one, one, one, one, negative, &0xffff_1234_u32.to_string()]);
    }

    fn recursion_of_ordinary_depth_is_fine(engine) {
        // Values of all types that live across the call, two thousand times.
        let said = says(engine, "
            (func $down (param $n i32) (param $a i64) (param $b f64) (param $c i32) (param $d i64)
                (result i32) (local $e i64) (local $f i32)
                (if (i32.eqz (local.get $n)) (then (return (local.get $c))))
                (local.set $e (i64.mul (local.get $a) (i64.const 3)))
                (local.set $f (i32.add (local.get $c) #1))
                (i32.add (i32.wrap_i64 (i64.and (i64.const 0)
                        (i64.add (local.get $e) (i64.trunc_sat_f64_s (local.get $b)))))
                    (call $down (i32.sub (local.get $n) #1) (local.get $e)
                        (f64.add (local.get $b) (f64.const 1.5)) (local.get $f)
                        (i64.xor (local.get $d) (local.get $e)))))", "
            (!say (!down #2000 (i64.const 1) (f64.const 1) #0 (i64.const 5)))");
        assert_eq!(said, ["2000"]);
    }

    fn recursion_without_end_is_out_of_stack(engine) {
        let recursions = [
            "(func $f (call $f))",
            "(type $v (func)) (table funcref (elem $f)) (func $f (call_indirect (type $v) #0))",
            "(func $f (call $g)) (func $g (param) (call $f))",
            "(func $f (drop (call $g #1))) (func $g (param i32) (result i32) (i32.add (local.get 0) (call $g (local.get 0))))",
        ];
        for recursion in recursions {
            let guest = engine.guest(&format!("raw\n {recursion}\non tick\n (!f)"));
            let trap = guest.vm.borrow_mut().tick(guest.root).expect_err("trap");
            assert_eq!(trap.kind, TrapKind::Stack, "{recursion}");
        }
    }

    fn growth_past_what_the_module_has_set_only_does_not_happen(engine) {
        let said = says(engine, "
            (memory (export \"memory\") 2 3) (table $t 1 2 funcref)", "
            (!say (memory.grow #2)) (!say (memory.grow #60000)) (!say (memory.grow #-1))
            (!say (memory.grow #1)) (!say (memory.size))
            (!say (table.grow $t (ref.null func) #2)) (!say (table.grow $t (ref.null func) #-1))
            (!say (table.grow $t (ref.null func) #1)) (!say (table.size $t))");
        let no = "4294967295";
        assert_eq!(said, [no, no, no, "2", "3", no, no, "1", "2"]);
    }

    fn growth_past_what_is_possible_only_does_not_happen(engine) {
        let said = says(engine, "(table $t 1 funcref)", "
            (!say (memory.grow #65535)) (!say (memory.grow #-1))
            (!say (table.grow $t (ref.null func) #-1))");
        let no = "4294967295";
        assert_eq!(said, [no, no, no]);
    }

    fn growth_past_a_limit_ends_the_call(engine) {
        let settings = VmSettings::default();
        let pages = settings.limits.memory >> 16;
        let kind = |code: &str| {
            let guest = engine.guest(&format!("raw\n (table $t 1 funcref)\non tick\n {code}"));
            let trap = guest.vm.borrow_mut().tick(guest.root).expect_err("trap");
            trap.kind
        };
        assert_eq!(kind(&format!("(drop (memory.grow #{pages}))")), TrapKind::Memory);
        assert_eq!(kind("(drop (table.grow $t (ref.null func) #10000))"), TrapKind::Table);
    }

    fn a_choice_by_a_comparison_with_zero_is_right(engine) {
        // Whatever the instruction before has left behind.
        let choose = |condition: &str| format!(
            "(drop (global.get $g)) (!say (select #1 #2 {condition}))"
        );
        let said = says(engine, "", &format!("
            (local $zero i32) (local $one i32)
            (local.set $one #1) (global.set $g #7)
            {} {} {} {} {} {}
            (drop (global.get $g))
            (!say (i32.div_u #42 (select #1 (local.get $zero) (i32.eqz (local.get $zero)))))
            (drop (global.get $g))
            (!say (i32.wrap_i64 (select (result i64) (i64.const 5) (i64.const 6) (i32.eqz (local.get $zero)))))
            (drop (global.get $g))
            (!say (i32.trunc_f64_s (select (f64.const 5) (f64.const 6) (i32.eqz (local.get $one)))))",
            choose("(i32.eqz (local.get $zero))"),
            choose("(i32.eqz (local.get $one))"),
            choose("(i32.eq (local.get $zero) #0)"),
            choose("(i32.ne (local.get $zero) #0)"),
            choose("(i32.ne (local.get $one) #0)"),
            choose("(i32.eqz (i32.eqz (local.get $zero)))"),
        ));
        assert_eq!(said, ["1", "2", "1", "2", "1", "2", "42", "5", "6"]);
    }
}

/// How many pages of it are there: bit 63 of each word that the kernel tells.
#[cfg(target_os = "linux")]
fn pages_there(memory: &[u8]) -> usize {
    use std::os::unix::fs::FileExt as _;
    const PAGE: usize = 4096;
    let pagemap = std::fs::File::open("/proc/self/pagemap").expect("a map of pages");
    let first = memory.as_ptr().addr() / PAGE;
    let mut words = vec![0; memory.len() / PAGE * 8];
    pagemap
        .read_exact_at(&mut words, first as u64 * 8)
        .expect("words");
    let words = words.as_chunks::<8>().0.iter();
    words.filter(|word| word[7] & 0x80 != 0).count()
}

/// Not for native code, whose memory is not there before it is written to.
#[cfg(target_os = "linux")]
#[test]
fn an_interpreted_guest_keeps_no_pages_of_zeros() {
    // Seventeen pages of wasm, as a guest in Rust has; of the kernel's, 272.
    let source = "raw\n (memory (export \"memory\") 17) (data (i32.const 1048576) \"data\")
        on tick\n (memory.fill #0 #1 #1114112)";
    let guest = Engine::Wasmi.guest(source);
    let there = pages_there(guest.vm.borrow().memory());
    assert!(there < 16, "{there} pages");
    guest.tick();
    let there = pages_there(guest.vm.borrow().memory());
    assert!(there > 256, "{there} pages, all of them written to");
}
