//! What an embedder is told so that it can put one VM in the place of another, and what a VM
//! that was replaced still does.

use std::sync::Arc;

use cofferdam_abi::engine::Tier;
use cofferdam_abi::shared::VmId;
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Condition, FailureReason, Limits, Shared, TrapKind, Watch, Way};

use crate::world::{Drive, Engine, Look, Setup};

/// Whether the VM has asked to be looked at since the last time.
fn wanted(guest: &Guest) -> bool {
    let wanted: Vec<VmId> = guest.host.attention.take();
    let id = guest.vm.borrow().id();
    assert!(wanted.iter().all(|vm| *vm == id));
    !wanted.is_empty()
}

fn condition(guest: &Guest) -> Condition {
    guest.vm.borrow().condition()
}

fn sharing(engine: Engine, shared: &Arc<Shared>, source: &str) -> Guest {
    let setup = Setup {
        shared: Some(shared.clone()),
        ..Setup::default()
    };
    engine.guest_of(setup, source)
}

const CONSUMER: &str =
    "on configure\n (drop (!register_shared_queue {\"q\"} #24)) (global.set $g (i32.load #24))
    on tick\n (drop (!enqueue_shared_queue (global.get $g) {\"i\"}))
    on queue_ready\n (!text {\"told\"})";

each_engine! {
    fn a_vm_that_failed_says_so_and_whose_call_it_was(engine) {
        let guest = engine.guest("on request_headers\n unreachable");
        assert!(!wanted(&guest));
        assert_eq!(condition(&guest), Condition::Well);
        guest.chain().headers(Way::Request, true);
        assert!(wanted(&guest));
        assert_eq!(condition(&guest), Condition::Failed(Some(guest.root)));
    }

    fn a_crash_at_the_end_of_a_stream_is_no_failure(engine) {
        let guest = engine.guest("on done\n unreachable");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.end();
        assert_eq!(condition(&guest), Condition::Well);
        assert!(!wanted(&guest));
    }

    fn memory_that_has_grown_is_told_between_streams(engine) {
        let guest = engine.guest("on request_headers\n (drop (memory.grow #8))
            on tick\n (drop (memory.grow #16))");
        let size = guest.vm.borrow().memory_size();
        let watch = |pages: usize| Watch { memory: size + pages * 65536, ..Watch::NEVER };
        guest.vm.borrow_mut().watch(watch(16));
        let mut first = guest.chain();
        first.headers(Way::Request, true);
        first.end();
        assert!(!wanted(&guest));
        let mut second = guest.chain();
        second.headers(Way::Request, true);
        assert!(!wanted(&guest), "its stream is still there");
        second.end();
        assert!(wanted(&guest));
        assert_eq!(condition(&guest), Condition::Grown);
        guest.vm.borrow_mut().watch(Watch::NEVER);
        assert_eq!(condition(&guest), Condition::Well);
        guest.vm.borrow_mut().watch(watch(20));
        guest.tick();
        assert!(wanted(&guest), "in a root's callback as well");
    }

    fn what_the_interpreter_spends_is_counted_and_told(engine) {
        let guest = engine.guest("on request_headers
            (local $n i32)
            (loop $again
                (local.set $n (i32.add (local.get $n) #1))
                (br_if $again (i32.lt_u (local.get $n) #1000)))");
        guest.vm.borrow_mut().watch(Watch { fuel: 5_000, ..Watch::NEVER });
        // The first call of a function is dearer: it is translated then.
        guest.get();
        guest.vm.borrow_mut().take_spent();
        guest.get();
        let once = guest.vm.borrow_mut().take_spent();
        let (settings, wat) = (Default::default(), cofferdam_abi::testing::guest::module("on log\n", Default::default()));
        let (code, _) = engine.compile(&settings, &wat).expect("compiles");
        if code.tier() == Tier::Native {
            assert_eq!(once, 0, "nobody waits for native code of native code");
            return;
        }
        assert!((2_000..100_000).contains(&once), "{once}");
        guest.vm.borrow_mut().watch(Watch { fuel: 2 * once + 1, ..Watch::NEVER });
        wanted(&guest);
        guest.get();
        guest.get();
        assert!(!wanted(&guest));
        guest.get();
        assert!(wanted(&guest));
        assert_eq!(guest.vm.borrow_mut().take_spent(), 3 * once);
    }

    fn a_vm_that_is_retired_says_when_its_last_stream_has_ended(engine) {
        let guest = engine.guest("on log\n (!text {\"log\"})");
        let (mut one, mut two) = (guest.chain(), guest.chain());
        guest.chain().end();
        assert!(!wanted(&guest), "it is not retired yet");
        guest.vm.borrow_mut().retire();
        assert!(guest.vm.borrow().is_retired());
        one.headers(Way::Request, true);
        one.end();
        assert!(!wanted(&guest));
        two.end();
        assert!(wanted(&guest));
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
        assert_eq!(guest.logs(), ["log"; 3]);
    }

    fn streams_that_wait_for_the_guest_are_known(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on response_body\n (return #1)
            on tick\n (drop (!set_effective_context (global.get $g))) (drop (!continue_stream (global.get $h)))
            on context_create\n (if (local.get $b) (then (global.set $g (local.get $a))))
            on response_trailers\n (global.set $h #1) (return #1)");
        let holds = || guest.vm.borrow().holds_streams();
        let mut chain = guest.chain();
        assert!(!holds());
        chain.headers(Way::Request, true);
        assert!(holds());
        guest.tick();
        chain.poll();
        assert!(!holds());
        chain.respond(false);
        assert!(!holds());
        chain.data(Way::Response, "x", false);
        assert!(holds());
        chain.trailers(Way::Response, &[("t", "1")]);
        assert!(holds());
        guest.tick();
        chain.poll();
        assert!(!holds(), "both are let go at once");
        chain.end();
        let mut gone = guest.chain();
        gone.headers(Way::Request, true);
        assert!(holds());
        gone.end();
        assert!(!holds());
    }

    fn a_stream_whose_filter_crashes_waits_for_nobody(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on request_body\n unreachable");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert!(guest.vm.borrow().holds_streams());
        guest.vm.borrow_mut().fail_streams("over");
        chain.poll();
        assert!(!guest.vm.borrow().holds_streams());
    }

    fn streams_that_are_ended_fail_whether_or_not_they_are_held(engine) {
        let guest = engine.guest("on request_headers\n (return (i32.rem_u (local.get $a) #2))
            on log\n (!text {\"log\"})");
        let (mut free, mut held, mut fresh) = (guest.chain(), guest.chain(), guest.chain());
        free.headers(Way::Request, true);
        held.headers(Way::Request, true);
        guest.vm.borrow_mut().fail_streams("no more time");
        for chain in [&mut free, &mut held] {
            chain.poll();
            let failure = chain.failure().expect("failed");
            let FailureReason::Trap(trap) = &failure.reason else { panic!("{failure:?}") };
            assert_eq!((trap.kind, &trap.message[..]), (TrapKind::Replaced, "no more time"));
            assert_eq!(chain.response()[0], ":status: 503");
            assert!(chain.end().is_empty());
        }
        fresh.headers(Way::Request, true);
        assert!(fresh.failure().is_some(), "it was there before");
        assert_eq!(guest.logs(), [""; 0], "nobody is told");
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
        // What begins afterwards is not meant.
        assert_eq!(guest.get().len(), 1);
    }

    fn callouts_of_all_roots_are_counted(engine) {
        let mut setup = Setup { clusters: vec!["up".to_owned()], ..Setup::default() };
        setup.settings.limits = Limits::default();
        let guest = engine.guest_of(setup, "on tick
            (drop (!http_call {\"up\"} {pairs \":method\" \"GET\" \":path\" \"/\" \":authority\" \"a\"} #0 #0 #0 #0 #1000 #16))");
        assert_eq!(guest.vm.borrow_mut().callouts(), 0);
        guest.tick();
        guest.tick();
        assert_eq!(guest.vm.borrow_mut().callouts(), 2);
        guest.vm.borrow_mut().end_root(guest.root).expect("ends");
        assert_eq!(guest.vm.borrow_mut().callouts(), 0);
    }

    fn news_of_a_queue_moves_on_to_whoever_registered_last(engine) {
        let shared = Arc::new(Shared::default());
        let old = sharing(engine, &shared, CONSUMER);
        old.tick();
        let news = old.host.queue_news.take();
        assert_eq!(news.len(), 1);
        assert!(!shared.queue_ready_moves_on(news[0]), "nobody else has registered");
        let new = sharing(engine, &shared, CONSUMER);
        assert!(shared.queue_ready_moves_on(news[0]));
        let moved = new.host.queue_news.take();
        assert_eq!(moved.len(), 1);
        assert_eq!((moved[0].vm, moved[0].queue), (new.vm.borrow().id(), news[0].queue));
        old.tick();
        assert!(old.host.queue_news.take().is_empty(), "the newest alone is told");
        assert_eq!(new.host.queue_news.take().len(), 1);
    }

    fn news_for_a_vm_that_is_gone_goes_to_the_one_before(engine) {
        let shared = Arc::new(Shared::default());
        let old = sharing(engine, &shared, CONSUMER);
        let new = sharing(engine, &shared, CONSUMER);
        old.tick();
        let news = new.host.queue_news.take();
        drop(new);
        shared.queue_ready_missed(news[0]);
        let back = old.host.queue_news.take();
        assert_eq!(back.len(), 1);
        assert_eq!(back[0].vm, old.vm.borrow().id());
        // With nobody left it is only accounted for.
        shared.queue_ready_missed(back[0]);
        assert!(old.host.queue_news.take().is_empty());
        old.tick();
        assert!(old.host.queue_news.take().is_empty(), "nobody is registered");
    }
}
