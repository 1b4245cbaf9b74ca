//! The end of the process while connections are open.

use rustix::process::Signal;

use super::{Backend, chained, connect, end, expect, gone, plain, rest, said, send, telling};

#[test]
fn a_connection_may_go_on_and_the_process_ends_with_it() {
    let backend = Backend::new();
    let mut proxy = plain(&backend);
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "before");
    expect(&server, "before");
    proxy.begin_to_end(Signal::TERM);
    send(&client, "after");
    expect(&server, "after");
    end(&client);
    assert_eq!(rest(&server), "");
    send(&server, "answer");
    drop(server);
    assert_eq!(rest(&client), "answer");
    // Connections that only asked whether anybody still listens.
    drop(backend);
    assert_eq!(proxy.exit().code(), Some(0));
    proxy.stdout.wait_for("- 11 6 - - backend -");
}

#[test]
fn what_is_left_after_the_drain_time_is_cut_and_its_filters_end_before_their_root() {
    let backend = Backend::new();
    for held in [&[][..], &[("new_connection", "(return #1)")]] {
        let guest = telling(held);
        let mut proxy = chained(&backend, &[("guest", &guest, "")], "drain_time: 300ms\n");
        let client = connect(&proxy);
        let server = held.is_empty().then(|| backend.accept());
        proxy.log.wait_for("new_connection");
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.exit().code(), Some(0));
        gone(&client);
        if let Some(server) = server {
            gone(&server);
        }
        proxy.log.wait_for("drain_time is over");
        assert_eq!(
            said(&proxy),
            "new_connection downstream_connection_close 1 done log delete done delete"
        );
        proxy.stdout.wait_for("- 0 0 - - backend -");
    }
}
