//! WASI as much as there is.

use std::time::Duration;

use cofferdam_abi::{Limits, VmSettings};

use crate::guest;
use crate::world::{Look, Setup};

each_engine! {
    fn clocks_0_and_1_tell_the_time_and_others_58(engine) {
        let guest = engine.guest("on tick
            (!say (!clock_time_get #0 (i64.const 0) #24)) (!say (i32.wrap_i64 (i64.load #24)))
            (!say (!clock_time_get #1 (i64.const 0) #24)) (!say (i32.wrap_i64 (i64.load #24)))
            (!say (!clock_time_get #2 (i64.const 0) #24)) (!say (!clock_time_get #3 (i64.const 0) #24))
            (!say (!clock_time_get #-1 (i64.const 0) #24))
            (!say (!clock_time_get #0 (i64.const 0) #131065)) (!say (!clock_time_get #1 (i64.const 0) #-1))");
        guest.host.now.set(Duration::from_nanos(12345));
        assert_eq!(guest.tick(), ["0", "12345", "0", "12345", "58", "58", "58", "21", "21"]);
    }

    fn clocks_have_a_resolution_of_1(engine) {
        let guest = engine.guest("on tick
            (!say (!clock_res_get #0 #24)) (!say (i32.wrap_i64 (i64.load #24)))
            (!say (!clock_res_get #1 #24)) (!say (!clock_res_get #2 #24)) (!say (!clock_res_get #1 #131065))");
        assert_eq!(guest.tick(), ["0", "1", "0", "58", "21"]);
    }

    fn chance_has_its_bounds(engine) {
        let guest = engine.guest("on tick
            (!say (!random_get #-1 #0)) (!say (!random_get #512 #65536)) (!say (!random_get #512 #65537))
            (!say (!random_get #-1 #-1)) (!say (!random_get #131071 #2)) (!say (!random_get #-1 #1))
            (!say (i32.ne (i32.load8_u #513) (i32.load8_u #514)))");
        assert_eq!(guest.tick(), ["0", "0", "28", "28", "21", "21", "1"]);
    }

    fn the_environment_is_laid_out_as_c_wants_it(engine) {
        let environment = vec![("A".to_owned(), "b".to_owned()), ("CC".to_owned(), "dd".to_owned())];
        let settings = VmSettings { environment, ..VmSettings::default() };
        let guest = engine.load(Setup { settings, ..Setup::default() }, "on tick
            (!say (!environ_sizes_get @out)) (!say (i32.load #16)) (!say (i32.load #20))
            (!say (!environ_get #201 #301)) (!say (i32.load #201)) (!say (i32.load #205)) (!text #301 #10)
            (!say (!environ_get #131069 #301)) (!say (!environ_get #201 #131070)) (!say (!environ_get #-1 #-1))
            (!say (!environ_sizes_get #16 #-1)) (!say (!environ_sizes_get #-1 #16))").expect("loads");
        assert_eq!(guest.tick(), [
            "0", "2", "10", "0", "301", "305", "A=b\0CC=dd\0", "21", "21", "21", "21", "21",
        ]);
    }

    fn there_are_no_arguments(engine) {
        let guest = engine.guest("on tick
            (i32.store #16 #9) (i32.store #20 #9)
            (!say (!args_sizes_get @out)) (!say (i32.load #16)) (!say (i32.load #20))
            (!say (!args_get #-1 #-1)) (!say (!args_sizes_get #-1 #20)) (!say (!args_sizes_get #16 #-1))");
        assert_eq!(guest.tick(), ["0", "0", "0", "0", "21", "21"]);
    }

    fn written_text_is_a_record(engine) {
        let guest = engine.guest("raw
            (data (i32.const 512) \"\\40\\02\\00\\00\\06\\00\\00\\00\\4a\\02\\00\\00\\05\\00\\00\\00\")
            (data (i32.const 576) \"one\\0atw....o\\0a\\0a\\0a\\0a\")
            on tick
            (!say (!fd_write #1 #512 #2 #25)) (!say (i32.load #25))
            (!say (!fd_pwrite #2 #512 #1 (i64.const 77) #25)) (!say (i32.load #25))");
        guest.vm.borrow_mut().tick(guest.root).expect("tick");
        assert_eq!(guest.host.take_logs(), [
            "Info : one\ntwo\n\n\n", "Info : 0", "Info : 11", "Error : one\ntw", "Info : 0", "Info : 6",
        ]);
    }

    fn nothing_written_is_no_record(engine) {
        let guest = engine.guest("on tick
            (i32.store #24 #99)
            (!say (!fd_write #1 #512 #0 #24)) (!say (i32.load #24))
            (!say (!fd_write #1 #512 #3 #24)) (!say (i32.load #24))");
        assert_eq!(guest.tick(), ["0", "0", "0", "0"]);
    }

    fn only_the_two_outputs_can_be_written_to(engine) {
        let guest = engine.guest("on tick
            (!say (!fd_write #0 #512 #0 #24)) (!say (!fd_write #3 #512 #0 #24))
            (!say (!fd_write #-1 #-1 #-1 #-1)) (!say (!fd_pwrite #0 #512 #0 (i64.const 0) #24))");
        assert_eq!(guest.tick(), ["8", "8", "8", "8"]);
    }

    fn bad_vectors_answer_21_and_log_nothing(engine) {
        let guest = engine.guest("raw
            (data (i32.const 512) \"\\00\\02\\00\\00\\04\\00\\00\\00\\ff\\ff\\ff\\ff\\01\\00\\00\\00\")
            on tick
            (!say (!fd_write #1 #131068 #1 #24)) (!say (!fd_write #1 #-1 #1 #24))
            (!say (!fd_write #1 #512 #2 #24)) (!say (!fd_write #1 #512 #1 #-1))
            (!say (!fd_write #1 #512 #1 #131069))");
        assert_eq!(guest.tick(), ["21", "21", "21", "21", "21"]);
    }

    fn more_vectors_than_1024_answer_28(engine) {
        let guest = engine.guest("on tick
            (!say (!fd_write #1 #512 #1024 #24)) (!say (!fd_write #1 #512 #1025 #24))
            (!say (!fd_write #1 #512 #0x20000000 #24)) (!say (!fd_write #2 #512 #-1 #24))
            (!say (!fd_pwrite #2 #512 #-1 (i64.const 0) #24))");
        assert_eq!(guest.tick(), ["0", "28", "28", "28", "28"]);
    }

    fn vectors_over_the_same_bytes_do_not_add_up_in_the_host(engine) {
        // 1024 times the whole memory would be 128 MiB.
        let limits = Limits { log: None, ..Limits::default() };
        let settings = VmSettings { limits, ..VmSettings::default() };
        let guest = engine.guest_of(Setup { settings, ..Setup::default() }, "on tick
            (local $at i32)
            (local.set $at #512)
            (loop $next
                (i32.store (i32.add (local.get $at) #4) #131072)
                (local.set $at (i32.add (local.get $at) #8))
                (br_if $next (i32.lt_u (local.get $at) #8704)))
            (!say (!fd_write #1 #512 #1024 #24)) (!say (i32.eq (i32.load #24) #134217728))");
        let logs = guest.tick();
        assert_eq!(logs[0].len(), 1 << 20);
        assert_eq!(logs[1..], ["0", "1"]);
    }

    fn the_outputs_have_the_right_to_be_written_to(engine) {
        let guest = engine.guest("on tick
            (memory.fill #201 #255 #24)
            (!say (!fd_fdstat_get #1 #201)) (!say (i32.wrap_i64 (i64.load #201)))
            (!say (i32.wrap_i64 (i64.load #209))) (!say (i32.wrap_i64 (i64.load #217)))
            (!say (!fd_fdstat_get #2 #201)) (!say (!fd_fdstat_get #0 #201)) (!say (!fd_fdstat_get #3 #201))
            (!say (!fd_fdstat_get #1 #131049)) (!say (!fd_fdstat_get #1 #-1))");
        assert_eq!(guest.tick(), ["0", "0", "64", "0", "0", "8", "8", "21", "21"]);
    }

    fn descriptors_are_what_they_are(engine) {
        for (call, answer) in [
            ("fd_read #0 #0 #0 #0", "52"),
            ("fd_pread #0 #0 #0 (i64.const 0) #0", "52"),
            ("fd_close #7", "0"),
            ("fd_fdstat_set_flags #1 #0", "52"),
            ("fd_fdstat_set_rights #1 (i64.const 0) (i64.const 0)", "0"),
            ("fd_fdstat_set_rights #3 (i64.const 0) (i64.const 0)", "8"),
            ("fd_filestat_get #1 #0", "8"),
            ("fd_prestat_get #3 #0", "8"),
            ("fd_prestat_dir_name #3 #0 #0", "52"),
            ("fd_filestat_set_size #1 (i64.const 0)", "0"),
            ("fd_filestat_set_size #0 (i64.const 0)", "8"),
            ("fd_filestat_set_times #2 (i64.const 0) (i64.const 0) #0", "0"),
            ("fd_filestat_set_times #5 (i64.const 0) (i64.const 0) #0", "8"),
            ("fd_allocate #1 (i64.const 0) (i64.const 0)", "0"),
            ("fd_allocate #0 (i64.const 0) (i64.const 0)", "8"),
            ("fd_datasync #1", "0"),
            ("fd_datasync #9", "8"),
            ("fd_sync #2", "0"),
            ("fd_sync #9", "8"),
            ("fd_advise #9 (i64.const 0) (i64.const 0) #0", "0"),
            ("fd_tell #1 #24", "0"),
            ("fd_tell #0 #24", "8"),
            ("fd_tell #1 #131065", "21"),
            ("fd_readdir #3 #0 #0 (i64.const 0) #24", "20"),
            ("fd_readdir #3 #0 #0 (i64.const 0) #-1", "21"),
            ("fd_renumber #1 #2", "58"),
            ("fd_renumber #1 #3", "8"),
            ("path_open #3 #0 #0 #0 #0 (i64.const 0) (i64.const 0) #0 #0", "44"),
            ("path_filestat_get #3 #0 #0 #0 #0", "58"),
            ("path_create_directory #3 #0 #0", "58"),
            ("path_remove_directory #3 #0 #0", "58"),
            ("path_unlink_file #3 #0 #0", "58"),
            ("path_rename #3 #0 #0 #3 #0 #0", "58"),
            ("path_filestat_set_times #3 #0 #0 #0 (i64.const 0) (i64.const 0) #0", "58"),
            ("path_link #3 #0 #0 #0 #3 #0 #0", "58"),
            ("path_symlink #0 #0 #3 #0 #0", "58"),
            ("path_readlink #3 #0 #0 #0 #0 #24", "58"),
            ("path_readlink #3 #0 #0 #0 #0 #-1", "21"),
            ("sched_yield", "0"),
            ("poll_oneoff #0 #0 #5 #24", "0"),
            ("poll_oneoff #0 #0 #5 #-1", "21"),
            ("sock_accept #3 #0 #24", "58"),
            ("sock_recv #3 #0 #0 #0 #24 #28", "58"),
            ("sock_recv #3 #0 #0 #0 #24 #131071", "21"),
            ("sock_send #3 #0 #0 #0 #24", "58"),
            ("sock_shutdown #3 #0", "58"),
        ] {
            let guest = engine.guest(&format!("on tick\n (i32.store #24 #9) (!say (!{call}))"));
            assert_eq!(guest.tick(), [answer], "{call}");
        }
    }

    fn results_of_what_is_refused_are_zeroed(engine) {
        for call in [
            "fd_readdir #3 #0 #0 (i64.const 0) #24",
            "path_readlink #3 #0 #0 #0 #0 #24",
            "poll_oneoff #0 #0 #5 #24",
            "sock_accept #3 #0 #24",
            "sock_recv #3 #0 #0 #0 #24 #28",
            "sock_send #3 #0 #0 #0 #24",
            "fd_tell #1 #24",
        ] {
            let guest = engine.guest(&format!(
                "on tick\n (i32.store #24 #9) (drop (!{call})) (!say (i32.load #24))"));
            assert_eq!(guest.tick(), ["0"], "{call}");
        }
    }

    fn a_seek_is_noted_and_does_nothing(engine) {
        let guest = engine.guest("on tick\n (!say (!fd_seek #1 (i64.const 5) #0 #-1))");
        guest.vm.borrow_mut().tick(guest.root).expect("tick");
        assert_eq!(guest.host.take_logs(), ["Trace : fd_seek on 1 ignored", "Info : 0"]);
    }

    fn the_old_module_name_means_the_same(engine) {
        let wat = guest::module("on tick
            (!say (!fd_prestat_get #3 #0)) (!say (!random_get #512 #65537)) (!say (!args_sizes_get @out))",
            guest::Shape::default());
        let wat = wat.replace("wasi_snapshot_preview1", "wasi_unstable");
        assert!(wat.contains("wasi_unstable"));
        assert_eq!(engine.wat(Setup::default(), &wat).expect("loads").tick(), ["8", "28", "0"]);
    }
}
