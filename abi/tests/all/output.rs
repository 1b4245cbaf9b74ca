//! What guests write to their outputs becomes log records line by line.

use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Compat, Way};

use crate::guest::{Shape, module};
use crate::world::{Drive, Look, Setup};

/// `$put` writes a text to an output.
const PUT: &str = "raw
    (func $put (param $fd i32) (param $at i32) (param $length i32)
        (i32.store #512 (local.get $at)) (i32.store #516 (local.get $length))
        (if (!fd_write (local.get $fd) #512 #1 #520) (then unreachable))
        (if (i32.ne (i32.load #520) (local.get $length)) (then unreachable)))\n";

fn tick(guest: &Guest) {
    guest
        .vm
        .borrow_mut()
        .tick(guest.root)
        .unwrap_or_else(|trap| panic!("{trap}"));
}

fn source(code: &str) -> String {
    format!("{PUT}{code}")
}

each_engine! {
    fn words_wait_for_the_end_of_their_line(engine) {
        let writes = "on tick
            (!put #1 {\"one \"}) (!put #2 {\"panic: \"}) (!put #1 {\"two\"}) (!put #1 {\"\\0a\"})
            (!put #2 {\"at\\0asome\\0a\\0a\"}) (!put #1 {\"whole\\0aline\\0a\"}) (!put #1 {\"\\0a\"}) (!put #1 {\"\"})";
        for compat in [Compat::SUPERSET, Compat::SPEC] {
            let guest = engine.load(Setup::compat(compat), &source(writes)).expect("loads");
            tick(&guest);
            assert_eq!(guest.host.take_logs(), [
                "Info : one two", "Error : panic: at\nsome\n", "Info : whole\nline", "Info : ",
            ]);
        }
        let guest = engine.load(Setup::compat(Compat::ENVOY), &source(writes)).expect("loads");
        tick(&guest);
        assert_eq!(guest.host.take_logs(), [
            "Info : one ", "Error : panic: ", "Info : two", "Info : ", "Error : at\nsome\n", "Info : whole\nline",
            "Info : ",
        ]);
    }

    fn what_has_no_end_ends_with_the_call(engine) {
        let guest = engine.guest(&source("on tick
            (!put #2 {\"err\"}) (!put #1 {\"out\"})
            on log
            (!put #1 {\"later\"})"));
        tick(&guest);
        assert_eq!(guest.host.take_logs(), ["Info : out", "Error : err"]);
        guest.chain().end();
        assert_eq!(guest.host.take_logs(), ["Info : later"]);
        tick(&guest);
        assert_eq!(guest.host.take_logs().len(), 2, "nothing is left over");
    }

    fn a_crash_loses_nothing(engine) {
        let guest = engine.guest(&source("on request_headers
            (!put #2 {\"last \"}) (!put #2 {\"words\"}) unreachable"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(chain.failure().is_some());
        assert_eq!(guest.host.take_logs(), ["Error : last words"]);
    }

    fn a_crash_while_starting_loses_nothing(engine) {
        for code in [
            "raw\n (func (export \"_initialize\") (!put #2 {\"words\"}) unreachable)",
            "raw\n (func $s (!put #2 {\"words\"}) unreachable) (start $s)",
            "on vm_start\n (!put #2 {\"words\"}) unreachable",
        ] {
            let wat = module(&source(code), Shape::default());
            let (host, started) = engine.start(Setup::default(), &wat);
            assert!(started.is_err());
            assert!(host.take_logs()[0].ends_with(": words"), "{code}");
        }
    }

    fn a_log_call_comes_after_what_was_written_before_it(engine) {
        let guest = engine.guest(&source("on tick
            (!put #1 {\"before\"}) (!text {\"after\"}) (!put #1 {\"then\"})"));
        assert_eq!(guest.tick(), ["before", "after", "then"]);
    }

    fn a_line_without_end_does_not_grow_without_end(engine) {
        let guest = engine.guest(&source("on tick
            (loop $again
                (!put #1 {\"0123456789abcdef\"})
                (global.set $g (i32.add (global.get $g) #1))
                (br_if $again (i32.lt_u (global.get $g) #300)))
            (!put #1 #65536 #10000)"));
        tick(&guest);
        let records = guest.logs();
        let lengths: Vec<usize> = records.iter().map(String::len).collect();
        // After 256 writes it is long enough; the other 44 are joined by the long one.
        assert_eq!(lengths, [4096, 44 * 16 + 10_000]);
    }

    fn what_nobody_wants_is_not_kept(engine) {
        let guest = engine.guest(&source("on tick
            (!put #1 {\"info \"}) (!put #2 {\"error\"})
            on done
            (!put #1 {\"end\"})"));
        guest.host.level.set(cofferdam_abi::LogLevel::Warn);
        tick(&guest);
        guest.host.level.set(cofferdam_abi::LogLevel::Trace);
        guest.chain().end();
        assert_eq!(guest.host.take_logs(), ["Error : error", "Info : end"]);
    }
}
