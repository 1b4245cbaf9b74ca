//! The last part of a newcomer's path: the module in a running proxy, and what curl shows.

use std::path::Path;
use std::process::Command;

use crate::support::{LONGEST, Proxy, Upstream, proxy, require};

/// One template's module, in front of what it needs.
pub(super) fn template(template: &str, language: &str, module: &Path) {
    let Some(curl) = require::tool("curl") else {
        return;
    };
    let curl = Curl(curl);
    // Ours take JSON, the others text.
    let configured = |ours: &str, theirs: &str| {
        let configuration = if language == "rust" { ours } else { theirs };
        format!(
            "filters: [{{ name: mine, module: {{ file: '{}' }}, configuration: {configuration} }}]\n",
            module.display()
        )
    };
    match template {
        "headers" => headers(&curl, &configured("{ who: ann }", "ann")),
        "body" => body(&curl, &configured("{ line: '-- the end' }", "'-- the end'")),
        "auth" => auth(&curl, &configured("{ cluster: authz }", "authz")),
        "tcp" => tcp(&curl, &configured("'GET /'", "'GET /'")),
        other => panic!("nobody has tried {other}"),
    }
}

/// The program, as a newcomer has it: no file of settings is read.
struct Curl(std::path::PathBuf);

// === impl Curl ===

impl Curl {
    /// Its status, and what it shows of the answer: status line, headers, body.
    fn get(&self, proxy: &Proxy, path: &str, more: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(&self.0);
        command
            .args(["--disable", "--silent", "--include", "--noproxy", "*"])
            .args(["--max-time", &LONGEST.as_secs().to_string()])
            .args(more)
            .arg(format!("http://{}{path}", proxy.web()));
        let done = proxy::finish(&mut command);
        (
            done.status.code(),
            String::from_utf8(done.stdout)
                .expect("text")
                .replace('\r', ""),
        )
    }
}

/// A proxy with the filter in front of this upstream.
fn in_front_of(upstream: &Upstream, filter: &str) -> Proxy {
    Proxy::start(&(proxy::plain(upstream.address).replace(ROUTES, FILTERED) + filter))
}

const ROUTES: &str = "\x20 routes:";
const FILTERED: &str = "\x20 filters: [mine]\n\x20 routes:";

fn headers(curl: &Curl, filter: &str) {
    let upstream = Upstream::named("welcome");
    let proxy = in_front_of(&upstream, filter);
    let (status, shown) = curl.get(&proxy, "/hello", &[]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    assert!(shown.contains("x-hello: ann\n"), "{shown}");
    assert!(shown.ends_with("welcome\n"), "{shown}");
    let request = upstream.only_request();
    assert_eq!(request.field("x-hello"), Some("ann"));
}

fn body(curl: &Curl, filter: &str) {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\none\n";
    let upstream = Upstream::answering(answer);
    let proxy = in_front_of(&upstream, filter);
    let (status, shown) = curl.get(&proxy, "/", &[]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    assert!(shown.ends_with("\none\n-- the end\n"), "{shown}");
    assert!(!shown.contains("content-length: 4\n"), "{shown}");
}

fn auth(curl: &Curl, filter: &str) {
    let service = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            let answer = match request.field("authorization") {
                Some("Bearer x") => "HTTP/1.1 200 OK\r\nx-user: ann\r\ncontent-length: 0\r\n\r\n",
                _ => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
            };
            conn.send(answer);
        }
    });
    let upstream = Upstream::named("secret");
    let clusters = format!(
        "clusters: [{{ name: authz, endpoints: ['{}'] }}, ",
        service.address
    );
    let yaml = proxy::plain(upstream.address)
        .replace(ROUTES, FILTERED)
        .replace("clusters: [", &clusters);
    let proxy = Proxy::start(&(yaml + filter));
    let (_, shown) = curl.get(&proxy, "/none", &[]);
    assert!(shown.starts_with("HTTP/1.1 401"), "{shown}");
    assert!(shown.contains("www-authenticate: Bearer\n"), "{shown}");
    assert!(service.requests().is_empty());
    let (_, shown) = curl.get(&proxy, "/wrong", &["--header", "authorization: nonsense"]);
    assert!(shown.starts_with("HTTP/1.1 403"), "{shown}");
    assert!(upstream.requests().is_empty());
    // What a client says of itself does not count.
    let right = [
        "--header",
        "authorization: Bearer x",
        "--header",
        "x-user: eve",
    ];
    let (_, shown) = curl.get(&proxy, "/right", &right);
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    assert!(shown.ends_with("secret\n"), "{shown}");
    assert_eq!(upstream.only_request().all("x-user"), ["ann"]);
    let asked = service.requests();
    let paths: Vec<_> = asked.iter().filter_map(|one| one.field("x-path")).collect();
    assert_eq!(paths, ["/wrong", "/right"]);
}

fn tcp(curl: &Curl, filter: &str) {
    let upstream = Upstream::named("welcome");
    let routes = "\x20 routes: [{ match: { prefix: / }, cluster: backend }]\n";
    let connections = "\x20 tcp: { cluster: backend, filters: [mine] }\n";
    let yaml = proxy::plain(upstream.address);
    let tcp = yaml.replace(routes, connections);
    assert_ne!(yaml, tcp);
    let proxy = Proxy::start(&(tcp + filter));
    let (status, shown) = curl.get(&proxy, "/", &[]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.ends_with("welcome\n"), "{shown}");
    let (status, shown) = curl.get(&proxy, "/", &["--request", "PUT"]);
    // It was closed without an answer: an empty reply, or a reset.
    assert!(matches!(status, Some(52 | 56)), "{status:?} {shown}");
    assert_eq!(upstream.requests().len(), 1);
}
