//! What the access log tells of a connection only where its format asks for it.

use super::{Backend, connect, end, expect, gone, reset, rest, send, yaml};
use crate::support::Proxy;

const FORMAT: &str = "%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT% \
     %UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_RECEIVED% %UPSTREAM_HOSTS_ATTEMPTED% \
     %DOWNSTREAM_DETECTED_CLOSE_TYPE% %UPSTREAM_DETECTED_CLOSE_TYPE% \
     %DOWNSTREAM_LOCAL_CLOSE_REASON% %UPSTREAM_LOCAL_CLOSE_REASON%|";

fn telling(backend: &Backend, listener: &str) -> Proxy {
    let yaml = yaml(backend.address, "", listener, "");
    let (before, _) = yaml.split_once("access_log: ").unwrap();
    Proxy::start(&format!("{before}access_log: {{ format: '{FORMAT}' }}\n"))
}

#[test]
fn bytes_and_the_endpoint_are_told() {
    let backend = Backend::new();
    let proxy = telling(&backend, "");
    let client = connect(&proxy);
    let server = backend.accept();
    send(&client, "four");
    expect(&server, "four");
    send(&server, "fives");
    expect(&client, "fives");
    end(&client);
    assert_eq!(rest(&server), "");
    drop(server);
    assert_eq!(rest(&client), "");
    let wanted = format!("4 5 4 5 {} Normal Normal - -|", backend.address);
    proxy.stdout.wait_for(&wanted);
}

#[test]
fn who_reset_it_or_closed_it_is_told() {
    let backend = Backend::new();
    let proxy = telling(&backend, "\x20 idle_timeout: 300ms\n");
    let begin = || {
        let client = connect(&proxy);
        let server = backend.accept();
        send(&client, "ab");
        expect(&server, "ab");
        (client, server)
    };
    let (client, server) = begin();
    reset(client);
    gone(&server);
    let wanted =
        " RemoteReset Normal - closing_upstream_tcp_connection_due_to_downstream_reset_close|";
    proxy.stdout.wait_for(wanted);
    let (client, server) = begin();
    reset(server);
    gone(&client);
    proxy.stdout.wait_for(" Normal RemoteReset - -|");
    let (client, server) = begin();
    gone(&client);
    gone(&server);
    let wanted = " Normal Normal tcp_session_idle_timeout closing_upstream_tcp_connection_due_to_downstream_local_close|";
    proxy.stdout.wait_for(wanted);
}
