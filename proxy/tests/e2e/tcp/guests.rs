//! A filter written with the `proxy-wasm` crate.

use std::net::TcpStream;

use super::{Backend, connect, end, expect, rest, send, yaml};
use crate::support::{Proxy, Setup, require};

fn start(backend: &Backend, configuration: &str) -> Option<Proxy> {
    let module = require::guest("tcp.wasm")?;
    let text = yaml(backend.address, "lines", "", "")
        + &format!(
            "filters: [{{ name: lines, module: {{ file: '{}' }}, configuration: '{configuration}' }}]\n",
            module.display()
        );
    let setup = Setup::new().with(&["--log", "info,filter=trace"]);
    Some(setup.start(&text))
}

#[test]
fn a_stream_context_sees_edits_holds_and_ends() {
    let backend = Backend::new();
    let Some(proxy) = start(&backend, "20") else {
        return;
    };
    let client: TcpStream = connect(&proxy);
    let server = backend.accept();
    let address = client.local_addr().unwrap();
    proxy.log.wait_for(&format!("2 from {address}, path None"));
    send(&client, "my sec");
    proxy.log.wait_for("2 client 6 false");
    send(&client, "ret\n");
    expect(&server, "my ******\n");
    proxy.log.wait_for("2 client 10 false");
    send(&server, "answer");
    expect(&client, "ANSWER");
    send(&client, "slow\n");
    proxy.log.wait_for("2 goes on");
    expect(&server, "slow\n");
    end(&server);
    assert_eq!(rest(&client), "");
    proxy.log.wait_for("2 upstream 0 true");
    proxy.log.wait_for("2 upstream closed Unknown");
    send(&client, "unfinished");
    end(&client);
    assert_eq!(rest(&server), "unfinished");
    proxy.log.wait_for("2 client 10 true");
    proxy.log.wait_for("2 is gone");
    let order = ["2 client closed Remote", "2 is done", "2 log", "2 is gone"];
    let lines = proxy.log.all();
    let at = order.map(|text| {
        let found: Vec<usize> = (0..lines.len())
            .filter(|line| lines[*line].contains(text))
            .collect();
        assert_eq!(found.len(), 1, "{text}");
        found[0]
    });
    assert!(at.is_sorted(), "{at:?}");
}

#[test]
fn a_stream_context_closes_its_connection() {
    let backend = Backend::new();
    let Some(proxy) = start(&backend, "20") else {
        return;
    };
    let client = connect(&proxy);
    let server = backend.accept();
    send(&server, "welcome ");
    expect(&client, "WELCOME ");
    send(&client, "quit\n");
    assert_eq!(rest(&client), "");
    assert_eq!(rest(&server), "", "it goes no further");
    proxy.log.wait_for("2 client closed Local");
    proxy
        .stdout
        .wait_for("- 5 8 LR wasm_close_stream backend -");
}
