//! What becomes of a connection whose filter breaks.

use cofferdam_abi::tcp::Closing;
use cofferdam_abi::{FailureReason, Peer, TcpChain, Way};

use super::{Drive as _, connect, telling};
use crate::world::{Look as _, Setup};

fn broken_in(chain: &TcpChain) -> Option<&'static str> {
    match &chain.failure()?.reason {
        FailureReason::Trap(trap) => Some(trap.callback),
        FailureReason::TooLarge(_) => None,
    }
}

each_engine! {
    fn a_connection_of_a_vm_that_ends_is_closed(engine) {
        let guest = telling(engine, Setup::default(), &[("new_connection", "(return #1)")]);
        let holds = || guest.vm.borrow().holds_streams();
        let mut chain = connect(&[&guest]);
        assert!(holds(), "it has not let the connection go");
        guest.vm.borrow_mut().retire();
        guest.vm.borrow_mut().fail_streams("no more time");
        assert!(chain.closing().is_none(), "nobody has looked");
        chain.poll();
        assert_eq!(chain.closing(), Some(Closing::Failure));
        assert_eq!(broken_in(&chain), Some("no callback"));
        assert!(!holds() && !guest.vm.borrow().is_failed());
        guest.logs();
        assert_eq!(chain.end(Peer::Local), []);
        assert_eq!(guest.logs(), [""; 0]);
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn what_a_connection_holds_is_known_to_its_vm(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("downstream_data", "(return (local.get $c))"),
            ("tick", "(drop (!set_effective_context #2)) (drop (!continue_stream #2))"),
        ]);
        let holds = || guest.vm.borrow().holds_streams();
        let mut chain = connect(&[&guest]);
        chain.client("ab");
        assert!(!holds());
        chain.client_ends();
        assert!(holds());
        guest.tick();
        chain.poll();
        assert!(!holds());
    }

    fn a_trap_closes_the_connection_and_the_others_are_told(engine) {
        for callback in ["context_create", "new_connection", "downstream_data", "upstream_data"] {
            // A root is made by the same callback: only a stream's has a parent.
            let crash = if callback == "context_create" {
                "(if (local.get $b) (then (unreachable)))"
            } else {
                "(unreachable)"
            };
            let well = telling(engine, Setup::default(), &[]);
            let ill = telling(engine, Setup::default(), &[(callback, crash)]);
            let mut chain = connect(&[&well, &ill]);
            chain.client("ab");
            chain.upstream("cd");
            assert_eq!(chain.closing(), Some(Closing::Failure), "{callback}");
            assert_eq!(broken_in(&chain), Some(&*format!("proxy_on_{callback}")));
            assert!(ill.vm.borrow().is_failed());
            assert_eq!(chain.end(Peer::Local), []);
            assert!(
                well.logs().join(" ").ends_with("downstream_connection_close 1 done log delete"),
                "{callback}"
            );
            let ill = ill.logs().join(" ");
            assert!(!ill.contains("done") && !ill.contains("connection_close 1"), "{ill}");
        }
    }

    fn what_left_before_a_trap_is_still_sent(engine) {
        let code = "(if (i32.eq (local.get $b) #3) (then (unreachable)))";
        let guest = telling(engine, Setup::default(), &[("upstream_data", code)]);
        let mut chain = connect(&[&guest]);
        chain.push(Way::Response, super::chunk("ab", false));
        chain.push(Way::Response, super::chunk("cde", false));
        assert_eq!(chain.closing(), Some(Closing::Failure));
        assert_eq!(chain.out(Way::Response), ["ab"]);
    }

    fn a_trap_at_the_end_harms_nobody(engine) {
        for callback in ["downstream_connection_close", "done", "log", "delete"] {
            let ill = telling(engine, Setup::default(), &[(callback, "(unreachable)")]);
            let well = telling(engine, Setup::default(), &[]);
            let mut chain = connect(&[&ill, &well]);
            let failures = chain.end(Peer::Remote);
            assert_eq!(failures.len(), 1, "{callback}");
            let last = ill.logs().into_iter().rfind(|record| record != "2");
            // After a crash in its done a context still has its log and its delete.
            let expected = if callback == "done" { "delete" } else { callback };
            assert_eq!(last.as_deref(), Some(expected), "nothing comes after it");
            assert!(well.logs().join(" ").ends_with("done log delete"));
            assert_eq!(ill.vm.borrow_mut().streams(), 0);
        }
    }

    fn a_trap_in_the_close_of_the_upstream_closes_the_connection(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("upstream_connection_close", "(unreachable)"),
        ]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.upstream_ends(), [""; 0]);
        assert_eq!(broken_in(&chain), Some("proxy_on_upstream_connection_close"));
    }

    fn a_root_that_crashes_fails_what_it_holds_and_nothing_else(engine) {
        for (callback, held) in [
            ("new_connection", true), ("downstream_data", true), ("upstream_data", true),
            ("tick", false),
        ] {
            let mut code = vec![("tick", "(unreachable)")];
            if held {
                code.insert(0, (callback, "(return #1)"));
            }
            let guest = telling(engine, Setup::default(), &code);
            let mut chain = connect(&[&guest]);
            chain.client("ab");
            chain.upstream("cd");
            let ticked = guest.vm.borrow_mut().tick(guest.root);
            assert!(ticked.is_err());
            chain.poll();
            assert_eq!(chain.closing().is_some(), held, "{callback}");
            let failed = if held { Some("proxy_on_tick") } else { None };
            assert_eq!(broken_in(&chain), failed);
        }
    }

    fn what_a_filter_asked_before_it_crashed_is_void(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("downstream_data", "(drop (!continue_stream #2)) (unreachable)"),
        ]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.client("ab"), [""; 0]);
        chain.poll();
        assert_eq!(chain.out(Way::Request), [""; 0]);
    }
}
