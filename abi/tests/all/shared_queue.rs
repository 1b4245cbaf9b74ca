//! Queues shared across VMs and threads (section 2.9; cases 225 to 233).

use std::sync::Arc;

use cofferdam_abi::shared::Bounds;
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Capabilities, Shared};

use crate::world::{Engine, Look, Setup};

/// Registers a queue as soon as the root is configured, and says what it hears of it.
const CONSUMER: &str = "on configure
    (drop (!register_shared_queue {\"q\"} #24))
on queue_ready
    (!text {\"ready\"}) (!say (local.get $a)) (!say (local.get $b))
    (!say (!dequeue_shared_queue (local.get $b) @out)) (!show)";

/// Puts one item into the queue of that name of another VM id.
fn producer(vm_id: &str) -> String {
    format!(
        "on tick
        (!say (!resolve_shared_queue {{\"{vm_id}\"}} {{\"q\"}} #24))
        (!say (!enqueue_shared_queue (i32.load #24) {{\"item\"}}))"
    )
}

fn joined(shared: &Arc<Shared>, vm_id: &str) -> Setup {
    let mut setup = Setup {
        shared: Some(shared.clone()),
        ..Setup::default()
    };
    setup.settings.vm_id = vm_id.to_owned();
    setup
}

/// What a guest logs while it is told all its news.
fn told(guest: &Guest) -> Vec<String> {
    guest.logs();
    for news in guest.host.queue_news.take() {
        let mut vm = guest.vm.borrow_mut();
        assert_eq!(news.vm, vm.id());
        vm.queue_ready(news.root, news.queue)
            .unwrap_or_else(|trap| panic!("{trap}"));
    }
    guest.logs()
}

fn bounded(engine: Engine, bounds: Bounds, source: &str) -> Guest {
    let shared = Some(Arc::new(Shared::new(bounds)));
    engine.guest_of(
        Setup {
            shared,
            ..Setup::default()
        },
        source,
    )
}

each_engine! {
    fn a_name_has_one_number_and_numbers_begin_at_1(engine) {
        let guest = engine.guest("on tick
            (!say (!register_shared_queue {\"a\"} #17)) (!say (i32.load #17))
            (!say (!register_shared_queue {\"b\"} #17)) (!say (i32.load #17))
            (!say (!enqueue_shared_queue #1 {\"item\"}))
            (!say (!register_shared_queue {\"a\"} #17)) (!say (i32.load #17))
            (!say (!dequeue_shared_queue #1 @out)) (!show)");
        assert_eq!(guest.tick(), ["0", "1", "0", "2", "0", "0", "1", "0", "item"]);
    }

    fn resolving_finds_what_is_registered_and_an_empty_vm_id_is_ones_own(engine) {
        let mut setup = Setup::default();
        setup.settings.vm_id = "mine".into();
        let guest = engine.guest_of(setup, "on tick
            (!say (!resolve_shared_queue #0 #0 {\"q\"} #24))
            (drop (!register_shared_queue {\"other\"} #24)) (drop (!register_shared_queue {\"q\"} #24))
            (!say (!resolve_shared_queue #0 #0 {\"q\"} #24)) (!say (i32.load #24))
            (i32.store #24 #0)
            (!say (!resolve_shared_queue {\"mine\"} {\"q\"} #24)) (!say (i32.load #24))
            (!say (!resolve_shared_queue {\"mine\"} {\"p\"} #24))
            (!say (!resolve_shared_queue {\"another\"} {\"q\"} #24))
            (!say (!resolve_shared_queue {\"\\ff\"} {\"q\"} #24))
            (!say (i32.load #24))");
        assert_eq!(guest.tick(), ["1", "0", "2", "0", "2", "1", "1", "1", "2"]);
    }

    fn the_same_name_is_another_queue_in_another_vm_id(engine) {
        let shared = Arc::default();
        let source = "on tick
            (drop (!register_shared_queue {\"q\"} #24)) (!say (i32.load #24))";
        assert_eq!(engine.guest_of(joined(&shared, "one"), source).tick(), ["1"]);
        assert_eq!(engine.guest_of(joined(&shared, "two"), source).tick(), ["2"]);
    }

    fn first_in_first_out_and_then_7(engine) {
        let guest = engine.guest("on tick
            (drop (!register_shared_queue {\"q\"} #24))
            (!say (!dequeue_shared_queue #1 @out))
            (drop (!enqueue_shared_queue #1 {\"a\"})) (drop (!enqueue_shared_queue #1 {\"b\"}))
            (drop (!enqueue_shared_queue #1 {\"c\"}))
            (!say (!dequeue_shared_queue #1 @out)) (!show)
            (!say (!dequeue_shared_queue #1 @out)) (!show)
            (!say (!dequeue_shared_queue #1 @out)) (!show)
            (!say (!dequeue_shared_queue #1 @out))");
        assert_eq!(guest.tick(), ["7", "0", "a", "0", "b", "0", "c", "7"]);
    }

    fn an_item_may_be_empty(engine) {
        let guest = engine.guest("on tick
            (drop (!register_shared_queue {\"q\"} #24))
            (i32.store #16 #77) (i32.store #20 #77)
            (!say (!enqueue_shared_queue #1 #0 #0)) (!say (!dequeue_shared_queue #1 @out))
            (!say (i32.load #16)) (!say (i32.load #20)) (!say (!dequeue_shared_queue #1 @out))");
        assert_eq!(guest.tick(), ["0", "0", "0", "0", "7"]);
    }

    fn a_number_nobody_has_answers_1_even_with_bad_results(engine) {
        let guest = engine.guest("on tick
            (!say (!enqueue_shared_queue #1 {\"i\"})) (!say (!dequeue_shared_queue #1 @out))
            (!say (!enqueue_shared_queue #0 {\"i\"})) (!say (!dequeue_shared_queue #-1 #-1 #-1))");
        assert_eq!(guest.tick(), ["1", "1", "1", "1"]);
    }

    fn what_cannot_be_handed_over_stays(engine) {
        let guest = engine.guest("on tick
            (drop (!register_shared_queue {\"q\"} #24)) (drop (!enqueue_shared_queue #1 {\"a\"}))
            (!say (!dequeue_shared_queue #1 #-1 #20)) (!say (!dequeue_shared_queue #1 #16 #-1))
            (!say (!dequeue_shared_queue #1 @out)) (!show)");
        assert_eq!(guest.tick(), ["6", "6", "0", "a"]);
    }

    fn the_root_that_registered_is_told_after_the_call(engine) {
        let guest = engine.guest(&format!("{CONSUMER}
            on tick
            (drop (!enqueue_shared_queue (i32.load #24) {{\"item\"}})) (!text {{\"enqueued\"}})"));
        assert_eq!(guest.tick(), ["enqueued"]);
        assert_eq!(told(&guest), ["ready", "1", "1", "0", "item"]);
        assert_eq!(told(&guest), [""; 0], "once for each item");
    }

    fn a_stream_registers_for_its_root(engine) {
        let guest = engine.guest("on request_headers
            (drop (!register_shared_queue {\"q\"} #24)) (drop (!enqueue_shared_queue #1 {\"i\"}))
            on queue_ready\n (!say (local.get $a))");
        guest.get();
        assert_eq!(told(&guest), ["1"]);
    }

    fn each_item_is_told_even_if_another_took_it(engine) {
        let guest = engine.guest("on configure
            (drop (!register_shared_queue {\"q\"} #24))
            (drop (!enqueue_shared_queue #1 {\"a\"})) (drop (!enqueue_shared_queue #1 {\"b\"}))
            on tick
            (drop (!dequeue_shared_queue #1 @out))
            on queue_ready
            (!say (!dequeue_shared_queue #1 @out))");
        guest.tick();
        assert_eq!(told(&guest), ["0", "7"]);
    }

    fn a_vm_enqueues_for_another_of_another_vm_id(engine) {
        let shared = Arc::default();
        let consumer = engine.guest_of(joined(&shared, "consumer"), CONSUMER);
        let producer = engine.guest_of(joined(&shared, "producer"), &producer("consumer"));
        assert_eq!(producer.tick(), ["0", "0"]);
        assert!(producer.host.queue_news.take().is_empty());
        assert_eq!(told(&consumer), ["ready", "1", "1", "0", "item"]);
    }

    fn a_vm_enqueues_for_another_on_another_thread(engine) {
        let shared = Arc::default();
        let consumer = engine.guest_of(joined(&shared, "consumer"), CONSUMER);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let producer = engine.guest_of(joined(&shared, "producer"), &producer("consumer"));
                assert_eq!(producer.tick(), ["0", "0"]);
            });
        });
        assert_eq!(told(&consumer), ["ready", "1", "1", "0", "item"]);
    }

    fn the_last_to_register_is_told(engine) {
        let shared = Arc::default();
        let first = engine.guest_of(joined(&shared, "v"), CONSUMER);
        let second = engine.guest_of(joined(&shared, "v"), CONSUMER);
        let producer = engine.guest_of(joined(&shared, "producer"), &producer("v"));
        producer.tick();
        assert_eq!(told(&first), [""; 0]);
        assert_eq!(told(&second), ["ready", "1", "1", "0", "item"]);
    }

    fn nobody_is_told_in_a_vm_that_has_crashed_or_a_root_that_is_gone(engine) {
        let source = format!("{CONSUMER}
            on tick\n (drop (!enqueue_shared_queue #1 {{\"i\"}}))
            on foreign_function\n unreachable
            on log\n unreachable");
        let guest = engine.guest(&source);
        guest.tick();
        guest.vm.borrow_mut().end_root(guest.root).expect("ends");
        assert_eq!(told(&guest), [""; 0]);
        let guest = engine.guest(&source);
        guest.tick();
        guest.chain().end();
        assert!(guest.vm.borrow().is_failed());
        assert_eq!(told(&guest), [""; 0]);
    }

    fn a_crash_in_it_fails_what_waits_for_it(engine) {
        let guest = engine.guest("on tick
            (drop (!register_shared_queue {\"q\"} #24)) (drop (!enqueue_shared_queue #1 {\"i\"}))
            on queue_ready\n unreachable
            on request_headers\n (return #1)");
        guest.tick();
        let mut chain = guest.chain();
        chain.push(cofferdam_abi::Way::Request, cofferdam_abi::Part::Headers { end: true });
        let news = guest.host.queue_news.take();
        assert_eq!(news.len(), 1);
        let trap = guest.vm.borrow_mut().queue_ready(news[0].root, news[0].queue).expect_err("traps");
        assert_eq!(trap.callback, "proxy_on_queue_ready");
        chain.poll();
        assert!(chain.failure().is_some());
        assert!(chain.has_output(cofferdam_abi::Way::Response));
    }

    fn a_full_queue_answers_10(engine) {
        let source = "on tick
            (drop (!register_shared_queue {\"q\"} #24))
            (!say (!enqueue_shared_queue #1 {\"ab\"})) (!say (!enqueue_shared_queue #1 {\"cd\"}))
            (!say (!enqueue_shared_queue #1 {\"ef\"}))
            (!say (!dequeue_shared_queue #1 @out)) (!say (!enqueue_shared_queue #1 {\"g\"}))";
        let guest = bounded(engine, Bounds { queue_items: 2, ..Bounds::default() }, source);
        assert_eq!(guest.tick(), ["0", "0", "10", "0", "0"]);
        assert_eq!(guest.host.notices.borrow().len(), 1);
        let guest = bounded(engine, Bounds { queue_bytes: 5, ..Bounds::default() }, source);
        assert_eq!(guest.tick(), ["0", "0", "10", "0", "0"]);
    }

    fn queues_without_end_answer_10(engine) {
        let guest = bounded(engine, Bounds { queues: 1, ..Bounds::default() }, "on tick
            (!say (!register_shared_queue {\"a\"} #24)) (!say (!register_shared_queue {\"b\"} #24))
            (!say (!register_shared_queue {\"a\"} #24))");
        assert_eq!(guest.tick(), ["0", "10", "0"]);
        let guest = engine.guest("on tick
            (!say (!register_shared_queue #0 #65536 #24)) (!say (!register_shared_queue #0 #65537 #24))");
        assert_eq!(guest.tick(), ["0", "10"]);
    }

    fn capabilities_name_the_vm_ids_whose_queues_may_be_used(engine) {
        let shared = Arc::default();
        let _consumer = engine.guest_of(joined(&shared, "consumer"), CONSUMER);
        let mut setup = joined(&shared, "producer");
        let mut capabilities = Capabilities::default();
        capabilities.restrict_shared(vec!["another".to_owned()]);
        setup.settings.capabilities = Arc::new(capabilities.clone());
        let source = format!("{}
            (!say (!enqueue_shared_queue #1 {{\"i\"}})) (!say (!dequeue_shared_queue #1 @out))
            (drop (!register_shared_queue {{\"own\"}} #24))
            (!say (!resolve_shared_queue #0 #0 {{\"own\"}} #24))
            (!say (!resolve_shared_queue {{\"producer\"}} {{\"own\"}} #24))
            (!say (!resolve_shared_queue {{\"another\"}} {{\"q\"}} #24))", producer("consumer"));
        let guest = engine.guest_of(setup.clone(), &source);
        assert_eq!(guest.tick(), ["10", "1", "10", "10", "0", "0", "1"]);
        assert_eq!(guest.host.refusals.borrow().len(), 3);
        assert_eq!(guest.host.refusals.borrow()[0], ": shared");
        capabilities.restrict_shared(vec!["consumer".to_owned()]);
        setup.settings.capabilities = Arc::new(capabilities);
        assert_eq!(engine.guest_of(setup, &source).tick()[..4], ["0", "0", "0", "0"]);
    }

    fn a_queue_goes_with_the_last_vm_of_its_vm_id(engine) {
        let shared = Arc::default();
        let consumer = engine.guest_of(joined(&shared, "consumer"), CONSUMER);
        let producer = engine.guest_of(joined(&shared, "producer"), &producer("consumer"));
        assert_eq!(producer.tick(), ["0", "0"]);
        drop(consumer);
        assert_eq!(producer.tick(), ["1", "1"], "the number is of nothing now");
    }
}
