//! Other people's programs on both sides: nginx as upstream, curl and h2load as clients,
//! and two filters built from Rust in between.

use std::process::{Command, Stdio};

use crate::nginx::Nginx;
use crate::support::pki::Pki;
use crate::support::{Proxy, Setup, require};

/// nginx, and in front of it a proxy with two filters: `web` in the clear, `tls` with TLS.
fn start() -> Option<(Nginx, Proxy)> {
    let nginx = Nginx::start(|address, at| {
        format!(
            "client_max_body_size 100m; server {{ listen {address}; root {at};\n\
             location = /headers {{ default_type text/plain;\n\
             return 200 'in=$http_x_on_the_way_in host=$http_host xff=$http_x_forwarded_for\\n'; }}\n\
             location = /none {{ return 204; }}\n\
             # Reads the whole request first: curl 7.88 hangs when HTTP/2 answers its upload early.\n\
             location = /read {{ proxy_pass http://{address}/none; }} }}"
        )
    })?;
    nginx.dir.write("file.bin", vec![b'n'; 3 << 20]);
    let (add_header, greet) = (
        require::guest("add_header.wasm")?,
        require::guest("greet.wasm")?,
    );
    let setup = Setup::new();
    Pki::new(&["localhost"]).write(&setup.dir, "server");
    let listener = "filters: [add-header, greet], routes: [{ cluster: nginx }]";
    let proxy = setup.start(&format!(
        "listeners:\n- {{ name: web, address: 127.0.0.1:0, {listener} }}\n\
         - {{ name: tls, address: 127.0.0.1:0, tls: {{ certificate: server.pem, key: server.key }}, {listener} }}\n\
         filters:\n- name: add-header\n  module: {{ file: '{}' }}\n  configuration:\n\
         \x20   request: {{ x-on-the-way-in: yes-in }}\n    response: {{ x-on-the-way-out: yes-out }}\n\
         - name: greet\n  module: {{ file: '{}' }}\n  configuration: {{ greeting: hello there }}\n\
         clusters: [{{ name: nginx, endpoints: ['{}'] }}]\nworkers: 2\naccess_log: stdout\n",
        add_header.display(),
        greet.display(),
        nginx.address,
    ));
    Some((nginx, proxy))
}

/// What curl writes, and its exit status.
fn curl(arguments: &[&str]) -> Option<(String, i32)> {
    let output = Command::new(require::tool("curl")?)
        .args(["--silent", "--show-error", "--max-time", "10"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Some((text, output.status.code().unwrap()))
}

#[test]
fn curl_reaches_nginx_through_two_filters_over_every_http() {
    let Some((_nginx, proxy)) = start() else {
        return;
    };
    let ca = proxy.dir.join("server-ca.pem");
    let ca = ca.to_str().unwrap();
    let tls = format!("localhost:{}:127.0.0.1", proxy.address("tls").port());
    let secure = format!("https://localhost:{}/headers", proxy.address("tls").port());
    let clear = format!("http://{}/headers", proxy.web());
    for (arguments, version) in [
        (vec!["--include", "--http1.1", &clear], "HTTP/1.1 200"),
        (vec!["--include", "--http1.0", &clear], "HTTP/1.0 200"),
        (
            vec!["--include", "--http2-prior-knowledge", &clear],
            "HTTP/2 200",
        ),
        (
            vec![
                "--include",
                "--http2",
                "--cacert",
                ca,
                "--resolve",
                &tls,
                &secure,
            ],
            "HTTP/2 200",
        ),
        (
            vec![
                "--include",
                "--http1.1",
                "--cacert",
                ca,
                "--resolve",
                &tls,
                &secure,
            ],
            "HTTP/1.1 200",
        ),
    ] {
        let Some((text, status)) = curl(&arguments) else {
            return;
        };
        assert_eq!(status, 0, "{arguments:?}: {text}");
        assert!(text.starts_with(version), "{arguments:?}: {text}");
        for part in [
            "in=yes-in ",
            "xff=127.0.0.1",
            "x-on-the-way-out: yes-out",
            "x-greeting: ",
            "server: cofferdam",
        ] {
            assert!(
                text.contains(part),
                "{part} is missing: {arguments:?}: {text}"
            );
        }
    }
}

#[test]
fn curl_gets_head_204_404_ranges_and_large_files() {
    let Some((nginx, proxy)) = start() else {
        return;
    };
    let web = proxy.web();
    for http in ["--http1.1", "--http2-prior-knowledge"] {
        let ask = |path: &str, more: &[&str]| {
            let url = format!("http://{web}{path}");
            let write = [
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code} %{size_download}",
                http,
            ];
            curl(&[&write, more, &[&url]].concat())
        };
        let Some((text, status)) = ask("/none", &[]) else {
            return;
        };
        assert_eq!((&text[..4], status), ("204 ", 0), "{text}");
        let (text, status) = ask("/headers", &["--head"]).unwrap();
        assert_eq!((&text[..4], status), ("200 ", 0), "{text}");
        let (text, status) = ask("/missing", &[]).unwrap();
        assert_eq!((&text[..4], status), ("404 ", 0), "{text}");
        let (text, status) = ask("/file.bin", &["--range", "0-99"]).unwrap();
        assert_eq!((&text[..4], status), ("206 ", 0), "{text}");
        let (text, status) = ask("/file.bin", &[]).unwrap();
        let size: usize = text.strip_prefix("200 ").unwrap().parse().unwrap();
        assert!(size >= 3 << 20, "{text}");
        assert_eq!(status, 0);
        let upload = format!("@{}", nginx.dir.join("file.bin").display());
        let (text, status) = ask("/read", &["--data-binary", &upload]).unwrap();
        assert_eq!((&text[..4], status), ("204 ", 0), "{text}");
    }
}

#[test]
fn h2load_gets_an_answer_to_every_request() {
    let Some((_nginx, proxy)) = start() else {
        return;
    };
    let Some(h2load) = require::tool("h2load") else {
        return;
    };
    let clear = format!("http://{}/headers", proxy.web());
    let secure = format!("https://{}/headers", proxy.address("tls"));
    for arguments in [
        vec!["--h1", "-n500", "-c8", &clear],
        vec!["-n2000", "-c8", "-m16", &clear],
        vec!["-n500", "-c4", "-m8", &secure],
    ] {
        let output = Command::new(&h2load)
            .args(&arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let count = arguments
            .iter()
            .find_map(|argument| argument.strip_prefix("-n"))
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        assert!(
            text.contains(&format!(
                "{count} succeeded, 0 failed, 0 errored, 0 timeout"
            )),
            "{arguments:?}: {text}"
        );
        assert!(
            text.contains(&format!("status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx")),
            "{arguments:?}: {text}"
        );
    }
}
