//! Whose turn it is: effective contexts, and what they reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use cofferdam_abi::{Plugin, Way, testing};

use crate::world::{Drive, Look};

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

each_engine! {
    fn a_context_that_is_not_there_answers_2(engine) {
        let guest = engine.guest("on tick
            (!say (!set_effective_context #7)) (!say (!set_effective_context #-1))
            (!say (!set_effective_context #1)) (!say (!set_effective_context #2))");
        assert_eq!(guest.tick(), ["2", "2", "0", "2"]);
        let chain = guest.chain();
        assert_eq!(guest.tick(), ["2", "2", "0", "0"]);
        drop(chain);
        assert_eq!(guest.tick(), ["2", "2", "0", "2"]);
    }

    fn context_0_is_none(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick
            (drop (!set_effective_context #2)) (!say (!get_header_map_value #0 {\"x-a\"} @out))
            (!say (!set_effective_context #0)) (!say (!get_header_map_value #0 {\"x-a\"} @out))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(guest.tick(), ["0", "0", "2"]);
    }

    fn it_lasts_until_the_callback_returns(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick
            (!say (!get_header_map_value #0 {\"x-a\"} @out)) (drop (!set_effective_context #2))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(guest.tick(), ["2"]);
        assert_eq!(guest.tick(), ["2"]);
    }

    fn another_streams_headers_can_be_edited(engine) {
        let guest = engine.guest("on request_headers
            (if (i32.eq (local.get $a) #2) (then (return #1)))
            (!say (!set_effective_context #2))
            (!say (!replace_header_map_value #0 {\":path\"} {\"/by-3\"}))
            (!say (!continue_stream #0))");
        let (mut first, mut second) = (guest.chain(), guest.chain());
        assert!(first.headers(Way::Request, true).is_empty());
        assert_eq!(second.headers(Way::Request, true), ["headers."]);
        assert_eq!(guest.logs(), ["0", "0", "0"]);
        assert_eq!(first.request()[1], ":path: /by-3");
        assert_eq!(second.request()[1], ":path: /path?q=1");
        first.poll();
        assert_eq!(first.out(Way::Request), ["headers."]);
    }

    fn whoever_drives_the_other_stream_is_woken(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        let (request, response) = (Arc::new(Count::default()), Arc::new(Count::default()));
        for (way, count) in [(Way::Request, &request), (Way::Response, &response)] {
            chain.exchange().borrow_mut().set_waker(way, &Waker::from(count.clone()));
        }
        let woken = || (request.0.load(Ordering::Relaxed), response.0.load(Ordering::Relaxed));
        assert_eq!(woken(), (0, 0));
        guest.tick();
        assert_eq!(woken(), (1, 1));
        guest.tick();
        assert_eq!(woken(), (1, 1), "a waker is used up");
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers."]);
    }

    fn nobody_is_woken_by_a_streams_own_callback(engine) {
        let guest = engine.guest("on request_headers\n (drop (!continue_stream #0)) (return #1)");
        let mut chain = guest.chain();
        let count = Arc::new(Count::default());
        chain.exchange().borrow_mut().set_waker(Way::Request, &Waker::from(count.clone()));
        assert_eq!(chain.headers(Way::Request, true), ["headers."]);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    fn a_reset_wakes_both_ways(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (drop (!close_stream #0))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        let count = Arc::new(Count::default());
        chain.exchange().borrow_mut().set_waker(Way::Response, &Waker::from(count.clone()));
        guest.tick();
        chain.poll();
        assert!(chain.is_reset());
        assert!(count.0.load(Ordering::Relaxed) > 0);
    }

    fn a_stream_that_is_gone_cannot_be_continued_and_nothing_breaks(engine) {
        let guest = engine.guest("on tick
            (!say (!set_effective_context #2)) (!say (!continue_stream #0))");
        guest.chain().headers(Way::Request, true);
        assert_eq!(guest.tick(), ["2", "0"]);
    }

    fn a_stream_that_ends_with_an_unheard_effect_takes_it_along(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        guest.tick();
        chain.end();
        chain.poll();
        assert!(chain.out(Way::Request).is_empty());
    }

    fn the_allocator_keeps_the_effective_context(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick
            (drop (!set_effective_context #2))
            (!say (!get_header_map_value #0 {\":path\"} @out)) (!say (!get_header_map_value #0 {\":path\"} @out))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(guest.tick(), ["0", "0"]);
    }

    fn properties_follow_it(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick
            (!say (!get_property {\"request\\00method\"} @out)) (drop (!set_effective_context #2))
            (!say (!get_property {\"request\\00method\"} @out)) (!show)
            (drop (!get_property {\"plugin_name\"} @out)) (!show)");
        let other = Plugin { name: "other".into(), ..Plugin::default() };
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        let root = guest.vm.borrow_mut().create_root(std::rc::Rc::new(other)).expect("root");
        guest.vm.borrow_mut().tick(root).expect("tick");
        assert_eq!(guest.logs(), ["1", "0", "GET", ""], "the plugin is the stream's");
    }

    fn a_timer_set_under_it_belongs_to_that_contexts_root(engine) {
        let guest = engine.guest("on tick
            (drop (!set_effective_context #1)) (drop (!set_tick_period_milliseconds #9))");
        let root = guest.vm.borrow_mut().create_root(std::rc::Rc::default()).expect("root");
        guest.vm.borrow_mut().tick(root).expect("tick");
        let effects = guest.vm.borrow_mut().take_root_effects();
        assert_eq!(effects.len(), 1);
        assert_eq!(effects[0].root(), guest.root);
    }

    fn a_log_record_says_who_speaks_whatever_is_effective(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (!say #1)");
        let mut chain = cofferdam_abi::Chain::begin(testing::get(), [guest.handle()], false);
        chain.headers(Way::Request, true);
        let plugin = Plugin { name: "second".into(), ..Plugin::default() };
        let root = guest.vm.borrow_mut().create_root(std::rc::Rc::new(plugin)).expect("root");
        guest.host.take_logs();
        guest.vm.borrow_mut().tick(root).expect("tick");
        assert_eq!(guest.host.take_logs(), ["Info second: 1"]);
    }
}
