//! What filters do to connections, over sockets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_abi::testing::guest::{Shape, module};

use super::{
    Backend, chained, connect, end, expect, filtered, gone, reset, rest, said, send, telling, yaml,
};
use crate::support::{LONGEST, Setup};

/// Lets context 2 go on from a timer that `configure` or another callback has set.
const RESUME: &str = "(drop (!set_effective_context #2)) (drop (!continue_stream #2))";

#[test]
fn a_connection_is_told_from_its_beginning_to_its_end() {
    let backend = Backend::new();
    let proxy = filtered(&backend, &telling(&[]), "");
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "hello");
    expect(&server, "hello");
    send(&server, "hi");
    expect(&client, "hi");
    end(&client);
    assert_eq!(rest(&server), "");
    drop(server);
    assert_eq!(rest(&client), "");
    proxy.log.wait_for("delete");
    assert_eq!(
        said(&proxy),
        "new_connection downstream_data 5 0 upstream_data 2 0 downstream_data 0 1 \
         upstream_data 0 1 upstream_connection_close 0 downstream_connection_close 1 \
         done log delete"
    );
    proxy.stdout.wait_for("- 5 2 - - backend -");
}

#[test]
fn a_client_that_leaves_is_told_from_one_that_is_left() {
    let backend = Backend::new();
    let proxy = filtered(&backend, &telling(&[]), "");
    let client = connect(&proxy);
    let server = backend.accept();
    drop(client);
    assert_eq!(rest(&server), "");
    drop(server);
    proxy.log.wait_for("delete");
    assert!(said(&proxy).contains(
        "upstream_data 0 1 upstream_connection_close 0 downstream_connection_close 1 done"
    ));

    let proxy = filtered(&backend, &telling(&[]), "");
    let client = connect(&proxy);
    let server = backend.accept();
    end(&server);
    assert_eq!(rest(&client), "");
    drop(client);
    assert_eq!(rest(&server), "");
    proxy.log.wait_for("delete");
    let told = "downstream_data 0 1 downstream_connection_close 2 done log delete";
    assert!(said(&proxy).ends_with(told), "{}", said(&proxy));

    let proxy = filtered(&backend, &telling(&[]), "");
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "x");
    expect(&server, "x");
    reset(client);
    gone(&server);
    proxy.log.wait_for("delete");
    let told = "downstream_data 1 0 downstream_connection_close 2 done log delete";
    assert!(said(&proxy).ends_with(told), "{}", said(&proxy));

    let proxy = filtered(&backend, &telling(&[]), "");
    let client = connect(&proxy);
    reset(backend.accept());
    gone(&client);
    proxy.log.wait_for("delete");
    let told = "new_connection downstream_connection_close 1 done log delete";
    assert_eq!(said(&proxy), told);
}

#[test]
fn without_an_upstream_filters_still_end() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = Backend {
        address: free.local_addr().unwrap(),
        accepted: std::sync::mpsc::channel().1,
    };
    drop(free);
    let proxy = filtered(&nobody, &telling(&[]), "");
    assert_eq!(rest(&connect(&proxy)), "");
    proxy.log.wait_for("delete");
    assert_eq!(
        said(&proxy),
        "new_connection downstream_connection_close 1 done log delete"
    );
}

#[test]
fn both_ways_are_edited_by_each_filter_in_its_turn() {
    let backend = Backend::new();
    let append = |name: &str| {
        format!(
            "on downstream_data
             (if (i32.eqz (local.get $c)) (then
                (drop (!set_buffer_bytes #2 #0x7fffffff #0 {{\"{name}\"}}))))
             on upstream_data
             (if (i32.eqz (local.get $c)) (then
                (drop (!set_buffer_bytes #3 #0x7fffffff #0 {{\"{name}\"}}))))"
        )
    };
    let (one, two) = (append("1"), append("2"));
    let proxy = chained(&backend, &[("one", &one, ""), ("two", &two, "")], "");
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "x");
    expect(&server, "x12");
    send(&server, "y");
    expect(&client, "y21");
}

#[test]
fn a_connection_that_is_held_reaches_no_upstream_until_it_is_let_go() {
    let backend = Backend::new();
    let guest = telling(&[
        (
            "new_connection",
            "(drop (!set_tick_period_milliseconds #3000)) (return #1)",
        ),
        ("tick", RESUME),
    ]);
    let proxy = filtered(&backend, &guest, "");
    let client = connect(&proxy);
    send(&client, "early");
    proxy.log.wait_for("new_connection");
    assert!(
        backend
            .accepted
            .recv_timeout(Duration::from_millis(100))
            .is_err()
    );
    let server = backend.accept();
    expect(&server, "early");
    proxy.log.wait_for(" filter: 0 ");
    assert_eq!(said(&proxy), "new_connection downstream_data 5 0");
}

#[test]
fn what_is_paused_goes_on_from_a_timer() {
    let backend = Backend::new();
    let guest = telling(&[
        (
            "downstream_data",
            "(drop (!set_tick_period_milliseconds #200)) (return #1)",
        ),
        ("tick", RESUME),
    ]);
    let proxy = filtered(&backend, &guest, "");
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "ab");
    proxy.log.wait_for("downstream_data");
    expect(&server, "ab");
    send(&client, "cd");
    end(&client);
    assert_eq!(rest(&server), "cd");
}

/// However much a client sends to a filter that holds it, the proxy takes in a bounded
/// amount, and nothing of it is lost.
#[test]
fn a_large_upload_that_is_held_waits_outside() {
    const LENGTH: usize = 64 << 20;
    let backend = Backend::new();
    let guest = "on downstream_data
        (if (i32.eqz (global.get $g)) (then (return #1)))
        on upstream_data
        (global.set $g #1) (drop (!continue_stream #2))";
    let proxy = filtered(&backend, guest, ", limits: { body: 256KiB }");
    let client = connect(&proxy);
    let server = backend.accept();
    let before = proxy.status("VmHWM");
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = std::thread::spawn({
        let sent = sent.clone();
        let mut client = client.try_clone().unwrap();
        client.set_write_timeout(None).unwrap();
        move || {
            let mut at = 0;
            while at < LENGTH {
                let piece: Vec<u8> = (at..at + 65536).map(|at| (at % 251) as u8).collect();
                client.write_all(&piece).unwrap();
                at += piece.len();
                sent.store(at, Ordering::SeqCst);
            }
            end(&client);
        }
    });
    let (mut last, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        let now = sent.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(last > 0 && last < LENGTH / 2, "{last} bytes were taken in");
    let grown = proxy.status("VmHWM").saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
    send(&server, "go");
    let mut reader = &server;
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let read = reader.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        assert!(
            buffer[..read]
                .iter()
                .enumerate()
                .all(|(index, byte)| *byte == ((at + index) % 251) as u8),
            "after {at} bytes"
        );
        at += read;
    }
    assert_eq!(at, LENGTH);
    sending.join().unwrap();
    let grown = proxy.status("VmHWM").saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
}

#[test]
fn a_filter_that_closes_lets_what_left_before_arrive() {
    const LENGTH: usize = 1 << 20;
    for side in ["2", "3"] {
        let backend = Backend::new();
        let code = format!("(if (local.get $c) (then (drop (!close_stream #{side}))))");
        let guest = telling(&[("upstream_data", &code)]);
        let proxy = filtered(&backend, &guest, "");
        let client = connect(&proxy);
        // Bytes that nobody will read must not turn the close into a reset.
        let mut talking = client.try_clone().unwrap();
        let talker = std::thread::spawn(move || {
            while talking.write_all(&[0; 512]).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut server = backend.accept();
        let mut draining = server.try_clone().unwrap();
        let drain = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(1..) = draining.read(&mut buffer) {}
        });
        server.write_all(&vec![b'x'; LENGTH]).unwrap();
        end(&server);
        proxy.log.wait_for("upstream_connection_close");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(rest(&client).len(), LENGTH);
        proxy.log.wait_for("delete");
        let told = "upstream_connection_close 0 downstream_connection_close 1 done log delete";
        assert!(said(&proxy).ends_with(told), "{}", said(&proxy));
        proxy
            .stdout
            .wait_for(" 1048576 LR wasm_close_stream backend -");
        drop(client);
        drain.join().unwrap();
        talker.join().unwrap();
    }
}

#[test]
fn a_filter_closes_while_the_upstream_does_not_read() {
    let backend = Backend::new();
    let guest = telling(&[("upstream_data", "(drop (!close_stream #2))")]);
    let proxy = filtered(&backend, &guest, "");
    let mut client = connect(&proxy);
    let server = backend.accept();
    client
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // Until every buffer on the way is full.
    let full = loop {
        if let Err(error) = client.write_all(&[0; 65536]) {
            break error;
        }
    };
    assert!(matches!(
        full.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    send(&server, "x");
    proxy.log.wait_for("delete");
    proxy.stdout.wait_for(" 0 LR wasm_close_stream backend -");
    drop(server);
}

#[test]
fn a_filter_that_closes_is_not_kept_by_a_client_that_does_not_read() {
    let backend = Backend::new();
    let guest = telling(&[
        (
            "upstream_data",
            "(drop (!set_tick_period_milliseconds #500))",
        ),
        (
            "tick",
            "(drop (!set_effective_context #2)) (drop (!close_stream #2))",
        ),
    ]);
    let proxy = filtered(&backend, &guest, "");
    let client = connect(&proxy);
    let mut server = backend.accept();
    server
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    while server.write_all(&[0; 65536]).is_ok() {}
    proxy.log.wait_for("delete");
    proxy.stdout.wait_for(" LR wasm_close_stream backend -");
    drop(client);
}

#[test]
fn a_crash_costs_its_connection_and_the_next_has_a_fresh_vm() {
    let backend = Backend::new();
    let guest = telling(&[(
        "downstream_data",
        "(if (i32.eq (local.get $b) #4) (then (unreachable)))",
    )]);
    let proxy = filtered(&backend, &guest, "");
    let other = connect(&proxy);
    let other_server = backend.accept();
    let client = connect(&proxy);
    let server = backend.accept();
    send(&server, "well");
    expect(&client, "well");
    send(&client, "evil");
    assert_eq!(rest(&client), "");
    gone(&server);
    proxy.log.wait_for("filter crashed");
    proxy
        .stdout
        .wait_for("- 4 4 WF wasm_fail_stream backend guest/proxy_on_downstream_data");
    let fresh = connect(&proxy);
    let server = backend.accept();
    send(&fresh, "ok");
    expect(&server, "ok");
    // What began in the crashed one finishes there.
    send(&other, "hello");
    expect(&other_server, "hello");
    end(&other);
    assert_eq!(rest(&other_server), "");
}

#[test]
fn on_failure_decides_what_comes_while_there_is_no_vm() {
    for policy in ["closed", "open"] {
        let backend = Backend::new();
        let guest = telling(&[("downstream_data", "(unreachable)")]);
        let more = format!(", on_failure: {policy}, compat: envoy");
        let proxy = filtered(&backend, &guest, &more);
        let client = connect(&proxy);
        let server = backend.accept();
        send(&client, "x");
        gone(&client);
        gone(&server);
        let client = connect(&proxy);
        if policy == "open" {
            let server = backend.accept();
            send(&client, "x");
            expect(&server, "x");
        } else {
            gone(&client);
            proxy
                .stdout
                .wait_for("- 0 0 WF wasm_fail_stream{guest} backend -");
        }
    }
}

#[test]
fn a_timer_that_crashes_fails_what_its_filter_holds_only() {
    let backend = Backend::new();
    let guest = telling(&[
        (
            "downstream_data",
            "(if (i32.eq (local.get $b) #4)
                (then (drop (!set_tick_period_milliseconds #50)) (return #1)))",
        ),
        ("tick", "(unreachable)"),
    ]);
    let proxy = filtered(&backend, &guest, "");
    let free = connect(&proxy);
    let free_server = backend.accept();
    let held = connect(&proxy);
    let held_server = backend.accept();
    send(&held, "held");
    gone(&held);
    gone(&held_server);
    send(&free, "ok");
    expect(&free_server, "ok");
    proxy
        .stdout
        .wait_for("- 4 0 WF wasm_fail_stream backend guest/proxy_on_tick");
}

#[test]
fn properties_are_those_of_a_connection() {
    let backend = Backend::new();
    let mut code = String::new();
    for path in [
        "source\\00address",
        "destination\\00address",
        "upstream\\00address",
        "upstream\\00local_address",
        "plugin_name",
    ] {
        code.push_str(&format!(
            "(!say (!get_property {{\"{path}\"}} @out)) (!show)\n"
        ));
    }
    for path in [
        "request\\00path",
        "request\\00protocol",
        "response\\00code",
        "connection\\00id",
        "source\\00port",
        "upstream\\00port",
        "connection\\00mtls",
    ] {
        code.push_str(&format!("(!say (!get_property {{\"{path}\"}} @out))\n"));
    }
    let guest = format!("on downstream_data\n{code}(!text {{\"all\"}})");
    let proxy = filtered(&backend, &guest, "");
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "x");
    expect(&server, "x");
    proxy.log.wait_for("all");
    let told = format!(
        "0 {} 0 {} 0 {} 0 {} 0 guest 1 1 1 0 0 0 0 all",
        client.local_addr().unwrap(),
        proxy.web(),
        backend.address,
        server.peer_addr().unwrap(),
    );
    assert_eq!(said(&proxy), told);
}

#[test]
fn many_connections_at_once_are_not_mixed_up() {
    const CONNECTIONS: usize = 200;
    let backend = Backend::new();
    let guest = "on downstream_data
        (if (i32.lt_u (local.get $b) #8) (then (return (i32.eqz (local.get $c)))))";
    let proxy = filtered(&backend, guest, "");
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| connect(&proxy)).collect();
    let servers: Vec<_> = (0..CONNECTIONS).map(|_| backend.accept()).collect();
    for (number, client) in clients.iter().enumerate() {
        send(client, &format!("{number:04}"));
    }
    for (number, client) in clients.iter().enumerate() {
        send(client, &format!("{number:04}"));
    }
    let mut seen = Vec::new();
    for server in &servers {
        let mut bytes = [0; 8];
        let mut reader = server;
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes[..4], bytes[4..]);
        seen.push(bytes);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), CONNECTIONS);
    drop(clients);
    let until = Instant::now() + LONGEST;
    drop(servers);
    while proxy.stdout.count("- 8 0 ") < CONNECTIONS {
        assert!(Instant::now() < until, "{}", proxy.stdout.count("- 8 0 "));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_filter_chooses_the_endpoint_of_a_connection() {
    let (first, second) = (Backend::new(), Backend::new());
    let source = format!(
        "imports
         (import \"env\" \"proxy_set_upstream_override_host\"
            (func $aim (param i32 i32) (result i32)))
         on new_connection
         (!say (call $aim {{\"{}\"}}))",
        second.address
    );
    let setup = Setup::new().with(&["--log", "info,filter=trace"]);
    let wasm = wat::parse_str(module(&source, Shape::default())).unwrap();
    let file = setup.dir.write("guest.wasm", wasm);
    let both = format!("'{}', '{}'", first.address, second.address);
    let text = yaml(first.address, "guest", "", "").replace(&format!("'{}'", first.address), &both)
        + &format!(
            "filters: [{{ name: guest, module: {{ file: '{}' }} }}]\n",
            file.display()
        );
    let proxy = setup.start(&text);
    for _ in 0..3 {
        let client = connect(&proxy);
        send(&client, "x");
        expect(&second.accept(), "x");
    }
    assert!(first.accepted.try_recv().is_err());
}
