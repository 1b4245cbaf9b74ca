//! Without filters.

use std::io::{Read as _, Write as _};

use super::{Backend, connect, end, expect, gone, plain, reset, rest, send, yaml};
use crate::support::Proxy;

#[test]
fn bytes_go_both_ways_and_each_way_ends_for_itself() {
    let backend = Backend::new();
    let proxy = plain(&backend);
    let client = connect(&proxy);
    let server = backend.accept();
    send(&server, "hello first");
    expect(&client, "hello first");
    send(&client, "ping");
    expect(&server, "ping");
    end(&client);
    assert_eq!(rest(&server), "");
    send(&server, " late");
    expect(&client, " late");
    drop(server);
    assert_eq!(rest(&client), "");
    proxy.stdout.wait_for("- 4 16 - - backend -");
}

#[test]
fn the_upstream_may_end_first() {
    let backend = Backend::new();
    let proxy = plain(&backend);
    let client = connect(&proxy);
    let server = backend.accept();
    send(&server, "bye");
    end(&server);
    assert_eq!(rest(&client), "bye");
    send(&client, "still here");
    expect(&server, "still here");
    end(&client);
    assert_eq!(rest(&server), "");
    proxy.stdout.wait_for("- 10 3 - - backend -");
}

#[test]
fn much_goes_both_ways_at_once() {
    const LENGTH: usize = 8 << 20;
    let backend = Backend::new();
    let proxy = plain(&backend);
    let client = connect(&proxy);
    let server = backend.accept();
    let bytes = |seed: u8| -> Vec<u8> {
        (0..LENGTH)
            .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
            .collect()
    };
    std::thread::scope(|scope| {
        for (stream, out, back) in [(&client, 1, 2), (&server, 2, 1)] {
            let mut writer = stream;
            scope.spawn(move || {
                writer.write_all(&bytes(out)).unwrap();
                end(writer);
            });
            let mut reader = stream;
            scope.spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).unwrap();
                assert!(read == bytes(back), "{} bytes came", read.len());
            });
        }
    });
    proxy.stdout.wait_for("- 8388608 8388608 - - backend -");
}

#[test]
fn without_an_upstream_the_connection_is_closed() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let proxy = Proxy::start(&yaml(address, "", "", ""));
    gone(&connect(&proxy));
    proxy
        .stdout
        .wait_for("- 0 0 UF upstream_connection_failure backend -");
    let none = yaml(address, "", "", "").replace(&format!("'{address}'"), "");
    let proxy = Proxy::start(&none);
    gone(&connect(&proxy));
    proxy
        .stdout
        .wait_for("- 0 0 UH no_healthy_upstream backend -");
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_none() {
    let backend = Backend::new();
    // It takes the connection and says nothing to the handshake.
    let cluster = ", connect_timeout: 200ms, tls: { server_name: a.test }";
    let proxy = Proxy::start(&yaml(backend.address, "", "", cluster));
    let client = connect(&proxy);
    let server = backend.accept();
    gone(&client);
    proxy
        .stdout
        .wait_for("- 0 0 UF upstream_connection_failure backend -");
    drop(server);
}

#[test]
fn a_reset_of_either_side_ends_the_other() {
    let backend = Backend::new();
    let proxy = plain(&backend);
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "ab");
    expect(&server, "ab");
    reset(client);
    gone(&server);
    proxy
        .stdout
        .wait_for("- 2 0 DC downstream_remote_disconnect backend -");
    let client = connect(&proxy);
    let server = backend.accept();
    send(&server, "abc");
    expect(&client, "abc");
    reset(server);
    gone(&client);
    proxy
        .stdout
        .wait_for("- 0 3 UC upstream_remote_disconnect backend -");
}

#[test]
fn what_an_upstream_said_before_it_left_arrives_though_nobody_reads_the_client() {
    let backend = Backend::new();
    let proxy = plain(&backend);
    let client = connect(&proxy);
    let server = backend.accept();
    let much = "x".repeat(1 << 20);
    let sending = std::thread::spawn({
        let much = much.clone();
        move || {
            send(&server, &much);
            // With bytes of the client unread this is a reset after the last byte.
            end(&server);
            server
        }
    });
    assert_eq!(rest(&client).len(), much.len());
    let server = sending.join().unwrap();
    drop(server);
    let mut writer = &client;
    // Into the void, until the proxy has noticed.
    while writer.write_all(&[0; 4096]).is_ok() {}
    proxy.stdout.wait_for(" UC ");
}

#[test]
fn a_connection_that_sits_still_is_ended() {
    let backend = Backend::new();
    let idle = "\x20 idle_timeout: 300ms\n";
    let proxy = Proxy::start(&yaml(backend.address, "", idle, ""));
    let client = connect(&proxy);
    let server = backend.accept();
    // What moves keeps it, one way or the other.
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        send(&client, "a");
        expect(&server, "a");
    }
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        send(&server, "b");
        expect(&client, "b");
    }
    gone(&client);
    gone(&server);
    proxy
        .stdout
        .wait_for("- 4 4 SI stream_idle_timeout backend -");
}

#[test]
fn http_is_served_beside_it() {
    let backend = Backend::new();
    let more =
        "- name: http\n\x20 address: 127.0.0.1:0\n\x20 routes: [{ respond: { body: ok } }]\n";
    let proxy = Proxy::start(&yaml(backend.address, "", more, ""));
    let client = connect(&proxy);
    let server = backend.accept();
    let answer = crate::support::client::get(proxy.address("http"), "/");
    assert_eq!(answer.text(), "ok");
    send(&client, "GET / HTTP/1.1\r\n\r\n");
    expect(&server, "GET / HTTP/1.1\r\n\r\n");
}
