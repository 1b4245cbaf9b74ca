//! Traffic of every kind, a few seconds each: what a release is optimised for.
//!
//! A compiler that is told what ran takes what did not for cold, and makes it small instead of
//! fast. So what is hot anywhere must be here: both protocols, TLS on both sides, filters on both
//! engines, bodies, calls, access logs, TCP. No filter of the benchmark beside Envoy is here, whose figures would be worth less
//! for it; four of those in filters/COSTS.md are.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::frame::{Client, LIMIT, Subject, load, tell};
use crate::peer::nginx;
use crate::scratch::{self, Scratch};
use crate::{Error, Result, process, tool};

const USUAL: &[&str] = &[
    "-t1",
    "-c16",
    "-H",
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
    "-H",
    "accept: text/html,application/json;q=0.9",
    "-H",
    "cookie: session=0123456789abcdef",
];
const STREAMS: &[&str] = &["-t1", "-c4", "-m8", "-H", "accept: application/json"];
const POSTS: &[&str] = &["-t1", "-c8", "-s", "bodies.lua"];
const CALLS: &[&str] = &["-t1", "-c8", "-H", "x-call: http up GET /a"];

/// Listeners by name, and what they do.
const LISTENERS: [(&str, &str); 9] = [
    (
        "plain",
        "routes: [{ match: { path: /here }, respond: { body: here } }, { match: { prefix: / }, cluster: up }]",
    ),
    (
        "secure",
        "tls: { certificate: cert.pem, key: key.pem }, routes: [{ cluster: up }]",
    ),
    ("onward", "routes: [{ cluster: secure }]"),
    ("newer", "routes: [{ cluster: newer }]"),
    (
        "filtered",
        "filters: [transform, limit, add], routes: [{ cluster: up }]",
    ),
    ("cold", "filters: [interpreted], routes: [{ cluster: up }]"),
    ("masked", "filters: [mask], routes: [{ cluster: up }]"),
    ("calling", "filters: [calls], routes: [{ cluster: up }]"),
    ("bytes", "tcp: { cluster: up }"),
];

/// A client, the listener it talks to, and what it asks for there.
type Kind = (Client, &'static str, &'static str);

const KINDS: &[Kind] = &[
    (("HTTP/1.1", "wrk", USUAL), "plain", "/api/items?page=2"),
    (
        (
            "a connection for each request",
            "wrk",
            &["-t1", "-c4", "-H", "connection: close"],
        ),
        "plain",
        "/",
    ),
    (("HTTP/2", "h2load", STREAMS), "plain", "/api"),
    (("answers of its own", "wrk", USUAL), "plain", "/here"),
    (("bodies", "wrk", POSTS), "plain", "/body"),
    (("TLS, HTTP/1.1", "wrk", USUAL), "secure", "/api"),
    (("TLS, HTTP/2", "h2load", STREAMS), "secure", "/api"),
    (("TLS to the upstream", "wrk", USUAL), "onward", "/api"),
    (("HTTP/2 to the upstream", "wrk", USUAL), "newer", "/api"),
    (("filters, HTTP/1.1", "wrk", USUAL), "filtered", "/api"),
    (("filters, HTTP/2", "h2load", STREAMS), "filtered", "/api"),
    (("filters, interpreted", "wrk", USUAL), "cold", "/api"),
    (("filters of bodies", "wrk", POSTS), "masked", "/body"),
    (("calls of a filter", "wrk", CALLS), "calling", "/"),
    (("TCP", "wrk", USUAL), "bytes", "/api"),
];

/// Runs each kind for so many seconds with the proxy at `program`, and again for one second with
/// each of two access logs; each process ends by SIGTERM. Returns whether every kind had answers and
/// nothing else.
///
/// # Errors
/// Something that is needed is not there.
pub fn run(program: &Path, seconds: u64) -> Result<bool> {
    let scratch = Scratch::new("soak-train")?;
    certify(&scratch)?;
    let script = "wrk.method = 'POST'\nwrk.body = string.rep('card 4111 1111 1111 1111\\n', 640)\n";
    scratch.write("bodies.lua", script)?;
    let json = "access_log: { file: access.log, json: { time: '%START_TIME%', path: '%REQ(:PATH)%', \
                status: '%RESPONSE_CODE%', took: '%DURATION%', by: '%UPSTREAM_HOST%' } }\n";
    let text = "access_log: { file: access.log }\n";
    let mut well = true;
    for (more, seconds) in [("", seconds), (json, 1), (text, 1)] {
        well &= pass(program, more, seconds, &scratch)?;
    }
    Ok(well)
}

/// All kinds, with one process.
fn pass(program: &Path, more: &str, seconds: u64, scratch: &Scratch) -> Result<bool> {
    let ports = scratch::free_ports::<{ LISTENERS.len() + 1 }>()?.map(scratch::loopback);
    let [listeners @ .., upstream] = ports;
    let behind = Scratch::new("soak-train-upstream")?;
    let _nginx = nginx::start_upstream(upstream, &behind)?;
    let at = |name: &str| {
        let mut known = LISTENERS.iter().zip(listeners);
        let found = known.find(|((known, _), _)| *known == name);
        let found = found.map(|(_, address)| address);
        found.ok_or_else(|| Error::Failed(format!("no listener is called {name}")))
    };
    let text = configuration(&at, upstream)? + more;
    let file = scratch.write("proxy.yaml", &text)?;
    let log = scratch.path().join("proxy.log");
    let mut proxy = Subject::start(program, &file, log, at("plain")?)?;
    let mut done = Vec::new();
    for (client, listener, path) in KINDS {
        let scheme = if *listener == "secure" {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{}{path}", at(listener)?);
        done.push((client.0, load(client, &url, seconds, scratch)?));
    }
    let (requests, failures) = tell(&done);
    let errors = proxy.errors()?;
    println!("  {requests} requests; {failures} failed");
    proxy.server.terminate(LIMIT)?;
    let all = done.iter().all(|(_, (requests, _))| *requests > 0);
    Ok(all && failures == 0 && errors == 0)
}

fn configuration(at: &dyn Fn(&str) -> Result<SocketAddr>, upstream: SocketAddr) -> Result<String> {
    let module = |name: &str| -> Result<String> {
        let file = super::guest(name)?;
        Ok(format!("module: {{ file: '{}' }}", file.display()))
    };
    let transform = r#"{"rules":[{"request":{"remove":["x-internal"],"set":[{"name":"x-client","value":"{header.user-agent|unknown}"}]},"response":{"remove":["server"],"set":[{"name":"x-served","value":"{status}"}]}}]}"#;
    let limit = r#"{"rules":[{"key":["ip"],"limit":100000000,"per":"second"}]}"#;
    let mask = r#"{"rules":[{"patterns":["card"]}]}"#;
    let mut text = format!(
        "workers: 2\n\
         artifacts: {{ directory: native }}\n\
         filters:\n\
         - {{ name: transform, {}, configuration: '{transform}', engine: aot }}\n\
         - {{ name: limit, {}, configuration: '{limit}', engine: aot }}\n\
         - {{ name: add, {}, configuration: {{ response: {{ x-added: '1' }} }}, engine: aot }}\n\
         - {{ name: interpreted, {}, configuration: '{transform}', engine: interpreter }}\n\
         - {{ name: mask, {}, configuration: '{mask}', engine: aot }}\n\
         - {{ name: calls, {}, engine: aot }}\n\
         clusters:\n\
         - {{ name: up, endpoints: ['{upstream}'] }}\n\
         - {{ name: secure, endpoints: ['{}'], tls: {{ server_name: localhost, ca: cert.pem }} }}\n\
         - {{ name: newer, endpoints: ['{}'], protocol: http2 }}\n\
         listeners:\n",
        module("header_transform")?,
        module("local_rate_limit")?,
        module("add_header")?,
        module("header_transform")?,
        module("pii_mask")?,
        module("callouts")?,
        at("secure")?,
        at("plain")?,
    );
    for (name, rest) in LISTENERS {
        let address = at(name)?;
        text += &format!("- {{ name: {name}, address: '{address}', {rest} }}\n");
    }
    Ok(text)
}

/// A key, and a certificate that is its own authority.
fn certify(scratch: &Scratch) -> Result<()> {
    let mut command = Command::new(tool::find("openssl", "openssl")?);
    command.current_dir(scratch.path()).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]);
    let done = process::run(command, Duration::from_secs(20))?;
    if done.success {
        return Ok(());
    }
    Err(Error::failed("openssl", done.stderr))
}
