//! Data shared by all VMs of a VM id (section 2.8; cases 215 to 224).

use std::sync::Arc;
use std::time::Duration;

use cofferdam_abi::Shared;
use cofferdam_abi::shared::{Bounds, Eviction};

use crate::world::{Look, Setup};

/// Functions in a guest that say what they are answered: `$put` sets and `$take` gets,
/// then says value and CAS number.
const LIBRARY: &str = "raw
    (func $put (param $k i32) (param $kl i32) (param $v i32) (param $vl i32) (param $cas i32)
        (!say (!set_shared_data (local.get $k) (local.get $kl) (local.get $v) (local.get $vl) (local.get $cas))))
    (func $take (param $k i32) (param $kl i32) (local $status i32)
        (i32.store #24 #0)
        (local.set $status (!get_shared_data (local.get $k) (local.get $kl) @out #24))
        (!say (local.get $status))
        (if (i32.eqz (local.get $status)) (then (!show) (!say (i32.load #24)))))
";

fn source(on_tick: &str) -> String {
    format!("{LIBRARY}on tick\n {on_tick}")
}

fn of(vm_id: &str) -> Setup {
    let mut setup = Setup::default();
    setup.settings.vm_id = vm_id.to_owned();
    setup
}

/// A guest with much to do.
fn patient() -> Setup {
    let mut setup = Setup::default();
    setup.settings.limits.callback = Duration::from_secs(60);
    setup
}

fn bounded(bounds: Bounds) -> Setup {
    Setup {
        shared: Some(Arc::new(Shared::new(bounds))),
        ..Setup::default()
    }
}

each_engine! {
    fn a_key_that_is_not_there_answers_1(engine) {
        let guest = engine.guest(&source("(!take {\"k\"}) (!take #0 #0)"));
        assert_eq!(guest.tick(), ["1", "1"]);
    }

    fn what_is_set_can_be_had_with_its_number(engine) {
        let guest = engine.guest(&source("(!put {\"k\"} {\"value\"} #0) (!take {\"k\"})"));
        assert_eq!(guest.tick(), ["0", "0", "value", "1"]);
        assert_eq!(guest.tick(), ["0", "0", "value", "2"], "cas 0 replaces whatever is there");
    }

    fn the_right_number_replaces_and_a_stale_one_answers_8(engine) {
        let guest = engine.guest(&source("
            (!put {\"k\"} {\"a\"} #0) (!put {\"k\"} {\"b\"} #1) (!take {\"k\"})
            (!put {\"k\"} {\"c\"} #1) (!put {\"k\"} {\"c\"} #-1) (!take {\"k\"})"));
        assert_eq!(guest.tick(), ["0", "0", "0", "b", "2", "8", "8", "0", "b", "2"]);
    }

    fn any_number_does_for_a_missing_key(engine) {
        let guest = engine.guest(&source("(!put {\"k\"} {\"a\"} #5) (!take {\"k\"})"));
        assert_eq!(guest.tick(), ["0", "0", "a", "1"]);
    }

    fn one_counter_numbers_all_keys(engine) {
        let guest = engine.guest(&source("
            (!put {\"a\"} {\"x\"} #0) (!put {\"b\"} {\"y\"} #0) (!put {\"a\"} {\"z\"} #0)
            (!take {\"b\"}) (!take {\"a\"})"));
        assert_eq!(guest.tick(), ["0", "0", "0", "0", "y", "2", "0", "z", "3"]);
    }

    fn an_empty_value_is_null_with_its_number(engine) {
        let guest = engine.guest(&source("(i32.store #16 #77) (i32.store #20 #77)
            (!put {\"k\"} #0 #0 #0) (!take {\"k\"}) (!say (i32.load #16)) (!say (i32.load #20))"));
        assert_eq!(guest.tick(), ["0", "0", "", "1", "0", "0"]);
    }

    fn an_empty_key_is_a_key(engine) {
        let guest = engine.guest(&source("(!put #0 #0 {\"v\"} #0) (!take #0 #0)"));
        assert_eq!(guest.tick(), ["0", "0", "v", "1"]);
    }

    fn a_missing_key_beats_bad_results(engine) {
        let guest = engine.guest("on tick
            (!say (!get_shared_data {\"k\"} #-1 #-1 #-1))
            (drop (!set_shared_data {\"k\"} {\"v\"} #0))
            (!say (!get_shared_data {\"k\"} #-1 #-1 #-1))");
        assert_eq!(guest.tick(), ["1", "6"]);
    }

    fn a_failing_allocator_answers_6(engine) {
        let mut setup = Setup::default();
        setup.shape.allocator = "";
        let guest = engine.load(setup, "raw
            (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) #0)
            on tick
            (!say (!set_shared_data {\"k\"} {\"v\"} #0)) (!say (!get_shared_data {\"k\"} @out #24))").expect("loads");
        assert_eq!(guest.tick(), ["0", "6"]);
    }

    fn vms_of_one_vm_id_share_and_others_do_not(engine) {
        let writer = engine.guest_of(of("one"), &source("(!put {\"k\"} {\"v\"} #0)"));
        let shared = Some(writer.host.shared.clone());
        let reader = source("(!take {\"k\"})");
        let same = engine.guest_of(Setup { shared: shared.clone(), ..of("one") }, &reader);
        let other = engine.guest_of(Setup { shared: shared.clone(), ..of("two") }, &reader);
        let none = engine.guest_of(Setup { shared, ..of("") }, &reader);
        writer.tick();
        assert_eq!(same.tick(), ["0", "v", "1"]);
        assert_eq!(other.tick(), ["1"]);
        assert_eq!(none.tick(), ["1"]);
    }

    fn it_goes_with_the_last_vm_of_its_vm_id(engine) {
        let both = source("(!take {\"k\"}) (!put {\"k\"} {\"v\"} #0)");
        let first = engine.guest(&both);
        let shared = Some(first.host.shared.clone());
        let again = || engine.guest_of(Setup { shared: shared.clone(), ..Setup::default() }, &both);
        assert_eq!(first.tick(), ["1", "0"]);
        let second = again();
        drop(first);
        assert_eq!(second.tick(), ["0", "v", "1", "0"], "one is left");
        drop(second);
        let third = again();
        assert_eq!(third.tick(), ["1", "0"]);
    }

    fn it_is_kept_when_its_vm_crashes_and_another_comes(engine) {
        let guest = engine.guest(&format!("{LIBRARY}on tick\n (!put {{\"k\"}} {{\"v\"}} #0) unreachable"));
        assert!(guest.vm.borrow_mut().tick(guest.root).is_err());
        let shared = Some(guest.host.shared.clone());
        let fresh = engine.guest_of(Setup { shared, ..Setup::default() }, &source("(!take {\"k\"})"));
        drop(guest);
        assert_eq!(fresh.tick(), ["0", "v", "1"]);
    }

    fn another_thread_sees_it(engine) {
        let shared = Arc::new(Shared::default());
        let (set, read) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let setup = Setup { shared: Some(shared.clone()), ..Setup::default() };
                let guest = engine.guest_of(setup, &source("(!put {\"k\"} {\"v\"} #0)"));
                guest.tick();
                set.wait();
                // The VM lives until the other has looked.
                read.wait();
            });
            set.wait();
            let setup = Setup { shared: Some(shared.clone()), ..Setup::default() };
            let seen = engine.guest_of(setup, &source("(!take {\"k\"})")).tick();
            read.wait();
            assert_eq!(seen, ["0", "v", "1"]);
        });
    }

    fn entries_past_the_bound_make_room_and_the_host_hears(engine) {
        let bounds = Bounds { entries: 2, eviction: Eviction::Lru, ..Bounds::default() };
        let guest = engine.guest_of(bounded(bounds), &source("
            (!put {\"a\"} {\"1\"} #0) (!put {\"b\"} {\"2\"} #0) (!put {\"c\"} {\"3\"} #0)
            (!take {\"a\"}) (!take {\"b\"})"));
        assert_eq!(guest.tick(), ["0", "0", "0", "1", "0", "2", "2"]);
        assert_eq!(guest.host.evicted.get(), 1);
        assert_eq!(guest.host.shared.take_evictions(), [(String::new(), 1)]);
    }

    fn without_eviction_a_full_store_answers_10(engine) {
        let bounds = Bounds { entries: 1, eviction: Eviction::None, ..Bounds::default() };
        let guest = engine.guest_of(bounded(bounds), &source("
            (!put {\"a\"} {\"1\"} #0) (!put {\"b\"} {\"2\"} #0) (!put {\"a\"} {\"3\"} #0) (!take {\"a\"})"));
        assert_eq!(guest.tick(), ["0", "10", "0", "0", "3", "2"]);
        assert_eq!(guest.host.notices.borrow().len(), 1);
        assert_eq!(guest.host.evicted.get(), 0);
    }

    fn an_entry_larger_than_all_the_room_answers_10(engine) {
        for eviction in [Eviction::Slru, Eviction::Lru, Eviction::None] {
            let bounds = Bounds { bytes: 10, eviction, ..Bounds::default() };
            let guest = engine.guest_of(bounded(bounds), &source("
                (!put {\"a\"} {\"1\"} #0) (!put {\"b\"} {\"1234567890\"} #0) (!take {\"a\"})"));
            assert_eq!(guest.tick(), ["0", "10", "0", "1", "1"]);
        }
    }

    fn the_default_room_is_16_mebibytes_and_10000_entries(engine) {
        let guest = engine.guest_of(patient(), &source("
            (drop (memory.grow #300))
            (!say (!set_shared_data #0 #1 #0 #0xffffff #0))
            (!say (!set_shared_data #0 #1 #0 #0x1000000 #0))"));
        assert_eq!(guest.tick(), ["0", "10"]);
        // Keys are four bytes of a counter: one more than there is room for.
        let guest = engine.guest_of(patient(), "on tick
 (local $n i32)
            (loop $more
                (local.set $n (i32.add (local.get $n) #1))
                (i32.store #512 (local.get $n))
                (if (!set_shared_data #512 #4 #0 #0 #0) (then unreachable))
                (br_if $more (i32.le_u (local.get $n) #10000)))");
        guest.tick();
        assert_eq!(guest.host.shared.join("").data_size(), (10_000, 40_000));
        assert_eq!(guest.host.evicted.get(), 1);
    }

    fn entries_live_as_long_as_they_may(engine) {
        let ttl = Some(Duration::from_secs(60));
        let guest = engine.guest_of(bounded(Bounds { ttl, ..Bounds::default() }), &format!("{LIBRARY}
            on configure\n (!put {{\"k\"}} {{\"v\"}} #0)
            on tick\n (!take {{\"k\"}})"));
        let pass = |seconds| guest.host.now.set(guest.host.now.get() + Duration::from_secs(seconds));
        pass(59);
        assert_eq!(guest.tick(), ["0", "v", "1"]);
        pass(1);
        assert_eq!(guest.tick(), ["1"]);
    }
}
