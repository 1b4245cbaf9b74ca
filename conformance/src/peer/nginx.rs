//! nginx twice: as the upstream every proxy is measured in front of, and as the reverse
//! proxy that marks the floor.

use std::net::SocketAddr;
use std::path::Path;

use crate::Result;
use crate::process::Server;
use crate::scratch::{Scratch, free_ports, loopback};
use crate::tool;

/// The upstream's answer to `/`: 13 bytes, so that the proxies' own work is what is measured.
pub const BODY: &str = "Hello, world!";
/// How long the upstream's answer to `/body` is, in bytes; it is all `b`.
pub const LARGE_BODY: usize = 16 << 10;

/// Starts the upstream.
///
/// | path | answer |
/// |---|---|
/// | `/body` | [`LARGE_BODY`], once the request's body has been read whole |
/// | `/seen/body` | the same; `x-seen` is the first byte of the request's body |
/// | `/seen` | what filters did to the request: `x-hello,x-bench-one,x-internal` |
/// | any other | [`BODY`] |
///
/// # Errors
/// nginx cannot be had or started.
pub fn start_upstream(listen: SocketAddr, scratch: &Scratch) -> Result<Server> {
    let kib = "b".repeat(1 << 10);
    let [port] = free_ports()?;
    let inner = loopback(port);
    // `return` answers before the body has come, `proxy_pass` when it has.
    let whole = "client_body_buffer_size 64k;
      proxy_pass http://inner/;
      proxy_pass_request_body off;
      proxy_set_header content-length \"\";
      proxy_http_version 1.1;
      proxy_set_header connection \"\";
      proxy_buffers 8 8k;";
    let http = format!(
        "upstream inner {{ server {inner}; keepalive 64; keepalive_requests 1000000000; }}
  map $request_body $first {{ \"~^(?<byte>.)\" $byte; default none; }}
  server {{
    listen {inner};
    set $k \"{kib}\";
    set $q \"$k$k$k$k\";
    location / {{ default_type text/plain; return 200 \"$q$q$q$q\"; }}
  }}
  server {{
    listen {listen};
    location / {{ default_type text/plain; return 200 \"{BODY}\"; }}
    location = /seen {{ return 200 \"$http_x_hello,$http_x_bench_one,$http_x_internal\"; }}
    location = /body {{ {whole} }}
    location = /seen/body {{ {whole} add_header x-seen $first; }}
  }}"
    );
    start("nginx-upstream", &http, scratch)
}

/// Starts the reverse proxy, HTTP/1.1 and cleartext HTTP/2 on a port each: this version
/// cannot tell them apart on one.
///
/// # Errors
/// nginx cannot be had or started.
pub fn start_proxy(
    http1: SocketAddr,
    http2: SocketAddr,
    upstream: SocketAddr,
    scratch: &Scratch,
) -> Result<Server> {
    let http = format!(
        "upstream one {{
    server {upstream};
    keepalive 64;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen {http1};
    listen {http2} http2;
    client_body_buffer_size 64k;
    location / {{
      proxy_pass http://one;
      proxy_http_version 1.1;
      proxy_set_header connection \"\";
    }}
  }}"
    );
    start("nginx-proxy", &http, scratch)
}

fn start(name: &str, http: &str, scratch: &Scratch) -> Result<Server> {
    let program = tool::find("nginx", "nginx-light")?;
    let dir = scratch.dir(name)?;
    let file = scratch.write(&format!("{name}.conf"), &configuration(&dir, http))?;
    let (dir, file) = (dir.display().to_string(), file.display().to_string());
    let early_errors = format!("{dir}/early.log");
    let arguments = ["-p", &dir, "-e", &early_errors, "-c", &file];
    let log = scratch.path().join(format!("{name}.log"));
    Server::start(name, &program, arguments, log)
}

fn configuration(dir: &Path, http: &str) -> String {
    let dir = dir.display();
    // A worker of root's nginx would run as nobody, who may not enter a private checkout.
    let user = if crate::proc::is_root() {
        "user root;\n"
    } else {
        ""
    };
    format!(
        "{user}daemon off;
worker_processes 1;
pid \"{dir}/nginx.pid\";
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  # One connection must last for the whole run, like the other proxies' do.
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path \"{dir}/body\";
  proxy_temp_path \"{dir}/proxy\";
  fastcgi_temp_path \"{dir}/fastcgi\";
  uwsgi_temp_path \"{dir}/uwsgi\";
  scgi_temp_path \"{dir}/scgi\";
  {http}
}}
"
    )
}
