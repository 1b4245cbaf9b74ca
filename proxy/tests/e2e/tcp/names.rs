//! Where connections go by the name that a client asks for in TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use cofferdam_abi::testing::guest::{Shape, module};
use rustls::{ClientConfig, ClientConnection, ServerConnection, StreamOwned};

use super::{Backend, connect, end, expect, gone, rest, said, send};
use crate::proxied::{V1, admin, happened};
use crate::reload::reload;
use crate::support::pki::Pki;
use crate::support::{Client, LONGEST, Proxy, Setup, require};

const BY_NAME: &str = "{ sni: [a.test], cluster: a }, { sni: ['*.b.test'], cluster: b }";

/// A listener with `routes` and more keys before three upstreams; the access log has the name
/// that was asked for.
fn yaml(tcp: &str, listener: &str, [a, b, other]: [SocketAddr; 3]) -> String {
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, {listener} tcp: {{ {tcp} }} }}]\n\
         clusters:\n- {{ name: a, endpoints: ['{a}'] }}\n- {{ name: b, endpoints: ['{b}'] }}\n\
         - {{ name: other, endpoints: ['{other}'] }}\n\
         workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         access_log: {{ format: '%REQUESTED_SERVER_NAME% %UPSTREAM_CLUSTER% %RESPONSE_FLAGS% \
         %RESPONSE_CODE_DETAILS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' }}\n"
    )
}

/// A TLS server that answers what comes with its own name before it.
fn server(name: &'static str, pki: &Pki) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = pki.server(&[]);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(LONGEST)).unwrap();
                let mut stream = StreamOwned::new(tls, stream);
                let mut bytes = [0; 4];
                // Its client may not like the certificate.
                if stream.read_exact(&mut bytes).is_ok() {
                    let _ = stream.write_all(&[name.as_bytes(), b":", &bytes].concat());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            });
        }
    });
    address
}

/// What a server says to a client that believes `pki` and asks for `name`.
fn asked(proxy: &Proxy, config: Arc<ClientConfig>, name: &str) -> String {
    let mut client = Client::connect_tls(proxy.web(), config, name);
    client.send("ping");
    String::from_utf8(client.rest().0).unwrap()
}

/// The bytes of a ClientHello for `name`.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let name = name.to_owned().try_into().unwrap();
    let config = Pki::new(&["x.test"]).client(alpn);
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// The same cut into records of so many bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = hello;
    while let Some((head, after)) = rest.split_first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        message.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

#[test]
fn tls_is_passed_to_the_upstream_whose_name_is_asked_for() {
    let (a, b, other) = (
        Pki::new(&["a.test"]),
        Pki::new(&["*.b.test"]),
        Pki::new(&["c.test"]),
    );
    let servers = [server("a", &a), server("b", &b), server("other", &other)];
    let proxy = Proxy::start(&yaml(
        &format!("routes: [{BY_NAME}], cluster: other"),
        "",
        servers,
    ));
    for _ in 0..3 {
        // Each with its own certificate: nobody else can have answered.
        assert_eq!(asked(&proxy, a.client(&[]), "a.test"), "a:ping");
        assert_eq!(asked(&proxy, b.client(&[]), "x.b.test"), "b:ping");
        assert_eq!(asked(&proxy, other.client(&[]), "c.test"), "other:ping");
    }
    let old = a.client_of(&rustls::version::TLS12);
    assert_eq!(asked(&proxy, old, "a.test"), "a:ping");
    for line in ["a.test a - - ", "x.b.test b - - ", "c.test other - - "] {
        proxy.stdout.wait_for(line);
    }
    let admin = admin(&proxy);
    happened(admin, "tls_inspector.tls_found", 10.0);
    happened(admin, "tls_inspector.sni_found", 10.0);
}

#[test]
fn routes_may_change_and_who_is_connected_goes_on() {
    let pki = Pki::new(&["a.test"]);
    let servers = [server("a", &pki), server("b", &pki), server("other", &pki)];
    let to = |cluster: &str| {
        let routes = format!("routes: [{{ sni: [a.test], cluster: {cluster} }}], cluster: other");
        yaml(&routes, "", servers)
    };
    let proxy = Proxy::start(&to("a"));
    let connected = || {
        let mut client = Client::connect_tls(proxy.web(), pki.client(&[]), "a.test");
        while client.tls().is_handshaking() {
            client.send("");
        }
        client
    };
    let mut before = connected();
    reload(&proxy, &to("b"));
    let mut between = connected();
    for _ in 0..8 {
        assert_eq!(asked(&proxy, pki.client(&[]), "a.test"), "b:ping");
    }
    // No route any more: whatever else there is.
    let none = yaml(
        "routes: [{ sni: [b.test], cluster: b }], cluster: other",
        "",
        servers,
    );
    reload(&proxy, &none);
    assert_eq!(asked(&proxy, pki.client(&[]), "a.test"), "other:ping");
    for (client, told) in [(&mut before, "a:ping"), (&mut between, "b:ping")] {
        client.send("ping");
        assert_eq!(String::from_utf8(client.rest().0).unwrap(), told);
    }
    assert_eq!(
        proxy.log.count("listening: web"),
        1,
        "one socket all the time"
    );
    assert_eq!(proxy.log.count("no longer listening"), 0);
}

#[test]
fn openssl_is_routed_by_what_it_asks_for() {
    let Some(openssl) = require::tool("openssl") else {
        return;
    };
    let (a, b) = (Pki::new(&["a.test"]), Pki::new(&["*.b.test"]));
    let servers = [server("a", &a), server("b", &b), server("other", &b)];
    let proxy = Proxy::start(&yaml(
        &format!("routes: [{BY_NAME}], cluster: other"),
        "",
        servers,
    ));
    for (arguments, told) in [
        (&["-servername", "A.Test"][..], "a:ping"),
        (&["-servername", "deep.er.B.test", "-tls1_2"], "b:ping"),
        (&["-noservername"], "other:ping"),
    ] {
        let mut client = Command::new(&openssl)
            .args(["s_client", "-quiet", "-connect", &proxy.web().to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        client.stdin.as_mut().unwrap().write_all(b"ping").unwrap();
        let mut said = vec![0; told.len()];
        client
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .unwrap();
        let _ = client.kill();
        client.wait().unwrap();
        assert_eq!(String::from_utf8_lossy(&said), told, "{arguments:?}");
    }
    proxy.stdout.wait_for("a.test a ");
    proxy.stdout.wait_for("deep.er.b.test b ");
    proxy.stdout.wait_for("- other ");
}

/// Three upstreams in a test's hands.
fn held(tcp: &str, listener: &str) -> ([Backend; 3], Proxy) {
    let backends = [Backend::new(), Backend::new(), Backend::new()];
    let addresses = backends.each_ref().map(|backend| backend.address);
    let proxy = Proxy::start(&yaml(tcp, listener, addresses));
    (backends, proxy)
}

/// What comes next of a connection.
fn bytes(mut stream: &TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_hello_arrives_as_it_came_however_it_was_cut() {
    let ([a, b, _], proxy) = held(&format!("routes: [{BY_NAME}], cluster: other"), "");
    let plain = hello("a.test", &[]);
    for hello in [plain.clone(), in_records(&plain, 7), in_records(&plain, 1)] {
        let mut client = connect(&proxy);
        client.set_nodelay(true).unwrap();
        for byte in &hello {
            client.write_all(&[*byte]).unwrap();
        }
        let server = a.accept();
        assert_eq!(bytes(&server, hello.len()), hello);
        send(&client, "more");
        expect(&server, "more");
        send(&server, "and back");
        expect(&client, "and back");
    }
    // As long as those to come.
    let names: Vec<String> = (0..80).map(|number| format!("{number:0100}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &name[..]).collect();
    let long = hello("x.b.test", &names);
    assert!(long.len() > 8_000, "{}", long.len());
    let mut client = connect(&proxy);
    client.write_all(&long).unwrap();
    assert_eq!(bytes(&b.accept(), long.len()), long);
}

#[test]
fn what_asks_for_no_known_name_goes_where_all_others_go() {
    let ([_a, _b, other], proxy) = held(&format!("routes: [{BY_NAME}], cluster: other"), "");
    let admin = admin(&proxy);
    for name in ["b.test", "a.a.test", "192.0.2.1"] {
        let client = connect(&proxy);
        let hello = hello(name, &[]);
        (&client).write_all(&hello).unwrap();
        assert_eq!(bytes(&other.accept(), hello.len()), hello);
    }
    happened(admin, "tls_inspector.sni_found", 2.0);
    happened(admin, "tls_inspector.sni_not_found", 1.0);
    // No TLS, and the beginning of it.
    let client = connect(&proxy);
    send(&client, "G");
    let server = other.accept();
    expect(&server, "G");
    send(&client, "ET");
    expect(&server, "ET");
    let client = connect(&proxy);
    send(&client, "\u{16}\u{3}");
    end(&client);
    assert_eq!(rest(&other.accept()), "\u{16}\u{3}");
    let client = connect(&proxy);
    end(&client);
    assert_eq!(rest(&other.accept()), "");
    happened(admin, "tls_inspector.tls_not_found", 3.0);
    happened(admin, "tls_inspector.tls_found", 3.0);
}

#[test]
fn without_a_place_for_others_they_are_closed() {
    let ([a, ..], proxy) = held(&format!("routes: [{BY_NAME}]"), "");
    for bytes in [hello("c.test", &[]), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let client = connect(&proxy);
        (&client).write_all(&bytes).unwrap();
        gone(&client);
    }
    proxy
        .stdout
        .wait_for("c.test - NR filter_chain_not_found 127.0.0.1");
    proxy
        .stdout
        .wait_for("- - NR filter_chain_not_found 127.0.0.1");
    happened(admin(&proxy), "no_filter_chain_match", 2.0);
    let client = connect(&proxy);
    let hello = hello("a.test", &[]);
    (&client).write_all(&hello).unwrap();
    assert_eq!(bytes(&a.accept(), hello.len()), hello);
}

#[test]
fn a_hello_that_does_not_come_in_time_or_is_too_long_ends_the_connection() {
    let tcp = format!("routes: [{BY_NAME}], cluster: other");
    let ([_a, _b, other], proxy) = held(&tcp, "header_timeout: 200ms,");
    let admin = admin(&proxy);
    let hello = hello("a.test", &[]);
    for begun in [&b""[..], &hello[..3], &hello[..hello.len() - 1]] {
        let client = connect(&proxy);
        (&client).write_all(begun).unwrap();
        gone(&client);
    }
    happened(admin, "downstream_pre_cx_timeout", 3.0);
    let client = connect(&proxy);
    // It says itself that it has 65,536 bytes.
    (&client).write_all(&[22, 3, 1, 0, 4, 1, 1, 0, 0]).unwrap();
    gone(&client);
    happened(admin, "tls_inspector.client_hello_too_large", 1.0);
    assert!(other.accepted.try_recv().is_err());
}

#[test]
fn where_tls_ends_here_the_name_of_the_handshake_decides() {
    let front = Pki::new(&["a.test", "*.b.test", "c.test"]);
    let setup = Setup::new();
    front.write(&setup.dir, "front");
    let backends = [Backend::new(), Backend::new(), Backend::new()];
    let addresses = backends.each_ref().map(|backend| backend.address);
    let tls = "tls: { certificate: front.pem, key: front.key },";
    let text = yaml(&format!("routes: [{BY_NAME}]"), tls, addresses);
    let proxy = setup.start(&text);
    for (name, backend) in [("a.test", &backends[0]), ("x.b.test", &backends[1])] {
        let mut client = Client::connect_tls(proxy.web(), front.client(&[]), name);
        client.send("in the clear");
        let server = backend.accept();
        expect(&server, "in the clear");
        drop(server);
        client.assert_ended();
    }
    // Its client goes without a word.
    proxy.stdout.wait_for("x.b.test b DC");
    let mut client = Client::connect_tls(proxy.web(), front.client(&[]), "c.test");
    let _ = client.try_send("x");
    client.assert_ended();
    proxy
        .stdout
        .wait_for("c.test - NR filter_chain_not_found 127.0.0.1");
}

#[test]
fn filters_see_what_is_passed_through_the_name_and_the_client() {
    let backend = Backend::new();
    let setup = Setup::new().with(&["--log", "info,filter=trace"]);
    let mut guest = "on downstream_data\n(!say (local.get $b))\n".to_owned();
    for path in [
        "connection\\00requested_server_name",
        "source\\00address",
        "destination\\00address",
    ] {
        guest.push_str(&format!(
            "(!say (!get_property {{\"{path}\"}} @out)) (!show)\n"
        ));
    }
    guest.push_str("(!text {\"all\"})");
    let wasm = wat::parse_str(module(&guest, Shape::default())).unwrap();
    let file = setup.dir.write("guest.wasm", wasm);
    let tcp = format!("routes: [{BY_NAME}], filters: [guest]");
    let believed = "proxy_protocol: { from: [127.0.0.1] },";
    let text = yaml(&tcp, believed, [backend.address; 3])
        + &format!(
            "filters: [{{ name: guest, module: {{ file: '{}' }} }}]\n",
            file.display()
        );
    let proxy = setup.start(&text);
    let mut client = connect(&proxy);
    client.write_all(V1).unwrap();
    let hello = hello("y.x.b.test", &[]);
    client.write_all(&hello).unwrap();
    assert_eq!(bytes(&backend.accept(), hello.len()), hello);
    proxy.log.wait_for("all");
    let length = hello.len();
    let told = format!("{length} 0 y.x.b.test 0 192.0.2.1:40000 0 198.51.100.2:443 all");
    assert_eq!(said(&proxy), told);
}

#[test]
fn a_load_balancer_may_stand_before_it() {
    let tcp = format!("routes: [{BY_NAME}]");
    let ([a, ..], proxy) = held(&tcp, "proxy_protocol: { from: [127.0.0.1] },");
    let hello = hello("a.test", &[]);
    let client = connect(&proxy);
    // In one piece: what was read beyond the header is looked at too.
    (&client).write_all(&[V1, &hello[..]].concat()).unwrap();
    let server = a.accept();
    assert_eq!(bytes(&server, hello.len()), hello);
    drop((client, server));
    proxy.stdout.wait_for("a.test a - - 192.0.2.1");
}
