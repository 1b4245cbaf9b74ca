//! Several filters in one chain, each in a VM of its own.

use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{Chain, Plugin, Way};

use crate::world::{Drive, Engine, Look, Setup};

fn filter(engine: Engine, source: &str) -> Guest {
    engine.guest(source)
}

const TELLS: &str = "on request_headers\n (!text {\"q-headers\"})
    on request_body\n (!text {\"q-body\"})
    on request_trailers\n (!text {\"q-trailers\"})
    on response_headers\n (!text {\"s-headers\"})
    on response_body\n (!text {\"s-body\"})
    on log\n (!text {\"log\"})
    on done\n (!text {\"done\"})";

const REPLY: &str = "(drop (!send_local_response #403 #0 #0 {\"no\"} #0 #0 #-1))";

fn chain(guests: &[&Guest]) -> Chain {
    Chain::begin(
        testing::get(),
        guests.iter().map(|guest| guest.handle()),
        false,
    )
}

each_engine! {
    fn requests_go_down_the_list_and_responses_up(engine) {
        let append = |letter: &str| filter(engine, &format!("on request_headers
            (drop (!add_header_map_value #0 {{\"way\"}} {{\"{letter}\"}}))
            on request_body\n (drop (!set_buffer_bytes #0 #-1 #0 {{\"{letter}\"}}))
            on response_headers\n (drop (!add_header_map_value #2 {{\"way\"}} {{\"{letter}\"}}))
            on response_body\n (drop (!set_buffer_bytes #1 #-1 #0 {{\"{letter}\"}}))"));
        let (a, b, c) = (append("a"), append("b"), append("c"));
        let mut chain = chain(&[&a, &b, &c]);
        chain.headers(Way::Request, false);
        assert_eq!(chain.request()[6..], ["way: a", "way: b", "way: c"]);
        assert_eq!(chain.data(Way::Request, ">", true), ["data:>abc."]);
        chain.respond(false);
        assert_eq!(chain.response()[2..], ["way: c", "way: b", "way: a"]);
        assert_eq!(chain.data(Way::Response, "<", true), ["data:<cba."]);
    }

    fn a_chain_without_filters_passes_everything(engine) {
        let _ = engine;
        let mut chain = chain(&[]);
        assert_eq!(chain.headers(Way::Request, false), ["headers"]);
        assert_eq!(chain.data(Way::Request, "a", true), ["data:a."]);
        assert_eq!(chain.respond(true), ["headers."]);
        assert!(chain.end().is_empty());
    }

    fn an_answer_of_the_second_passes_the_first_and_never_reaches_the_third(engine) {
        let (a, c) = (filter(engine, TELLS), filter(engine, TELLS));
        let b = filter(engine, &format!("on request_headers\n {REPLY}
            on response_headers\n (!text {{\"s-headers\"}})\non log\n (!text {{\"log\"}})"));
        let mut chain = chain(&[&a, &b, &c]);
        chain.headers(Way::Request, true);
        assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
        assert!(chain.out(Way::Request).is_empty());
        assert_eq!(a.logs(), ["q-headers", "s-headers", "s-body"]);
        assert_eq!(b.logs(), ["s-headers"]);
        chain.end();
        assert_eq!((a.logs(), b.logs()), (vec!["log".to_owned(), "done".to_owned()], vec!["log".to_owned()]));
        assert_eq!(c.logs(), ["log", "done"], "it has a context, and so an end");
    }

    fn the_answer_of_one_filter_passes_the_others_in_reverse_order(engine) {
        let append = |letter: &str, more: &str| filter(engine, &format!("on request_headers\n {more}
            on response_headers\n (drop (!add_header_map_value #2 {{\"way\"}} {{\"{letter}\"}}))"));
        let (a, b, c) = (append("a", ""), append("b", ""), append("c", REPLY));
        let mut chain = chain(&[&a, &b, &c]);
        chain.headers(Way::Request, true);
        assert_eq!(chain.response()[3..], ["way: c", "way: b", "way: a"]);
    }

    fn an_answer_from_response_headers_goes_around_the_others(engine) {
        let a = filter(engine, TELLS);
        let b = filter(engine, &format!("on request_headers\non response_headers\n {REPLY}"));
        let mut chain = chain(&[&a, &b]);
        chain.headers(Way::Request, true);
        a.logs();
        assert_eq!(chain.respond(false), ["headers", "data:no."]);
        assert!(a.logs().is_empty(), "straight out");
        chain.end();
        assert_eq!(a.logs(), ["log", "done"]);
    }

    fn an_answer_goes_around_a_filter_that_holds_the_response(engine) {
        let holds = filter(engine, "on request_headers\non response_headers\n (return #1)
            on tick\n (!say (!set_effective_context #2)) (drop (!continue_stream #1))");
        let replies = filter(engine, &format!("on request_headers\non tick
            (drop (!set_effective_context #2)) {REPLY}"));
        let mut chain = chain(&[&replies, &holds]);
        chain.headers(Way::Request, true);
        assert!(chain.respond(false).is_empty());
        assert!(chain.data(Way::Response, "upstream's", false).is_empty());
        replies.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
        assert!(!chain.changed_body(Way::Response));
        assert_eq!(holds.tick(), ["0"]);
        chain.poll();
        assert!(chain.out(Way::Response).is_empty(), "what it held is gone");
    }

    fn a_filter_may_answer_another_filters_answer(engine) {
        let a = filter(engine, "on request_headers\non response_headers
            (drop (!send_local_response #418 #0 #0 {\"page\"} #0 #0 #-1))");
        let b = filter(engine, &format!("on request_headers\n {REPLY}"));
        let mut chain = chain(&[&a, &b]);
        chain.headers(Way::Request, true);
        assert_eq!(chain.out(Way::Response), ["headers", "data:page."]);
        assert_eq!(chain.response()[0], ":status: 418");
        assert!(!chain.is_reset());
    }

    fn a_filter_that_has_answered_is_shown_nothing_more_of_the_request(engine) {
        for callback in ["request_headers", "request_body"] {
            // The first lets headers, body and trailers go at once.
            let a = filter(engine, "on request_headers\n (return #1)
                on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))");
            let b = filter(engine, &format!("on {callback}\n (!say #1) {REPLY}
                on request_trailers\n (!say #9)"));
            let mut chain = chain(&[&a, &b]);
            chain.headers(Way::Request, false);
            chain.data(Way::Request, "x", false);
            chain.trailers(Way::Request, &[("t", "1")]);
            a.tick();
            chain.poll();
            assert_eq!(b.logs(), ["1"], "{callback}");
            assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
            assert!(chain.out(Way::Request).is_empty());
        }
    }

    fn pauses_of_two_filters_add_up(engine) {
        let holding = || filter(engine, "on request_headers\n (return #1)
            on request_body\n (!say (local.get $b)) (!say (local.get $c))
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))");
        let (a, b) = (holding(), holding());
        let mut chain = chain(&[&a, &b]);
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "ab", false);
        b.tick();
        chain.poll();
        assert!(chain.out(Way::Request).is_empty(), "the second holds nothing yet");
        a.tick();
        chain.poll();
        assert!(chain.out(Way::Request).is_empty());
        assert_eq!((a.logs().join(" "), b.logs().join(" ")), ("2 0".into(), String::new()));
        chain.data(Way::Request, "cd", true);
        b.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers", "data:abcd."]);
        assert_eq!((a.logs().join(" "), b.logs().join(" ")), ("2 1".into(), "4 1".into()));
    }

    fn trailers_made_by_one_filter_are_trailers_to_the_next(engine) {
        let a = filter(engine, "on request_body
            (if (local.get $c) (then (drop (!add_header_map_value #1 {\"t\"} {\"1\"}))))");
        let b = filter(engine, "on request_body\n (!say (local.get $c))
            on request_trailers\n (!say (local.get $b)) (!say (!get_header_map_value #1 {\"t\"} @out))");
        let mut chain = chain(&[&a, &b]);
        chain.headers(Way::Request, false);
        assert_eq!(chain.data(Way::Request, "x", true), ["data:x", "trailers"]);
        assert_eq!(b.logs(), ["0", "1", "0"]);
    }

    fn one_guest_may_stand_in_a_chain_twice(engine) {
        let guest = filter(engine, "on request_headers\n (!say (local.get $a))
            on response_headers\n (!say (local.get $a))\non delete\n (!say (local.get $a))");
        let mut chain = chain(&[&guest, &guest]);
        chain.headers(Way::Request, true);
        chain.respond(true);
        chain.end();
        assert_eq!(guest.logs(), ["2", "3", "3", "2", "2", "3"]);
    }

    fn two_filters_of_one_vm_are_two_roots(engine) {
        let guest = filter(engine, "on request_headers
            (drop (!get_property {\"plugin_name\"} @out)) (!show)");
        let plugin = std::rc::Rc::new(Plugin { name: "other".into(), ..Plugin::default() });
        let root = guest.vm.borrow_mut().create_root(plugin.clone()).expect("root");
        let second = cofferdam_abi::FilterHandle { vm: guest.vm.clone(), root, plugin };
        let mut chain = Chain::begin(testing::get(), [guest.handle(), second], false);
        chain.headers(Way::Request, true);
        assert_eq!(guest.logs(), ["", "other"]);
    }

    fn streams_of_one_vm_do_not_mix(engine) {
        let guest = filter(engine, "on request_headers\n (drop (!add_header_map_value #0 {\"x\"} {\"y\"}))
            on request_body\n (return (i32.eqz (local.get $c)))");
        let mut chains: Vec<Chain> = (0..50).map(|_| guest.chain()).collect();
        for chain in &mut chains {
            assert_eq!(chain.headers(Way::Request, false), ["headers"]);
            assert_eq!(chain.request().len(), 7);
        }
        for (number, chain) in chains.iter_mut().enumerate() {
            assert!(chain.data(Way::Request, &format!("<{number}"), false).is_empty());
        }
        for (number, chain) in chains.iter_mut().enumerate().rev() {
            assert_eq!(chain.data(Way::Request, ">", true), [format!("data:<{number}>.")]);
        }
    }

    fn a_filter_with_a_real_stop_and_one_without_stand_side_by_side(engine) {
        let a = engine.load(Setup::real_stop(), "on request_headers\n (return #1)
            on request_body\n (return (i32.eqz (local.get $c)))").expect("loads");
        let b = filter(engine, TELLS);
        let mut chain = chain(&[&a, &b]);
        assert!(chain.headers(Way::Request, false).is_empty());
        assert!(chain.data(Way::Request, "ab", false).is_empty());
        assert!(b.logs().is_empty());
        assert_eq!(chain.data(Way::Request, "cd", true), ["headers", "data:abcd."]);
        assert_eq!(b.logs(), ["q-headers", "q-body"]);
    }
}
