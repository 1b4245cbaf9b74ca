//! Redis, against the real server.

mod reload;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{
    Config, Filter, Guest, Http, PATIENCE, Proxy, Upstream, get, installed, run, within,
};

const CALLS: &str = r#"(import "env" "proxy_redis_init" (func $redis_init
    (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_redis_call" (func $redis_call (param i32 i32 i32 i32 i32) (result i32)))"#;

/// A server of its own, with `secret` as password; killed when this goes.
struct Server {
    child: Child,
    address: SocketAddr,
}

// === impl Server ===

impl Server {
    fn start() -> Option<Self> {
        let program = installed("redis-server")?;
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let port = address.port().to_string();
        let child = Command::new(program)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--requirepass", "secret", "--dir", "/tmp"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server");
        let server = Self { child, address };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command in RESP.
fn resp(words: &[&str]) -> String {
    let word = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    format!(
        "*{}\r\n{}",
        words.len(),
        words.iter().map(word).collect::<String>()
    )
}

/// A guest whose requests wait for the replies to these queries, all sent at once.
fn asking(upstream: &str, password: &str, queries: &[String]) -> Guest {
    asking_within(1_000, upstream, password, queries)
}

/// The same of a guest that waits as many milliseconds for each.
fn asking_within(timeout: u32, upstream: &str, password: &str, queries: &[String]) -> Guest {
    let cluster = upstream.split('?').next().expect("a name");
    let calls: String = queries
        .iter()
        .map(|query| {
            format!(
                "(call $note «asked» (i32.const 1)
                   (call $redis_call «{cluster}» «{query}» (i32.const 8)) (i32.const 0) (i32.const 0))"
            )
        })
        .collect();
    let count = queries.len();
    Guest::new()
        .import(CALLS)
        .define("(global $replies (mut i32) (i32.const 0))")
        .on(
            "configure",
            format!(
                "(call $note «init» (i32.const 1) (call $redis_init «{upstream}» (i32.const 0) (i32.const 0)
                   «{password}» (i32.const {timeout})) (i32.const 0) (i32.const 0))"
            ),
        )
        .on(
            "request_headers",
            format!("(global.set $replies (i32.const 0)) {calls} (return (i32.const 1))"),
        )
        .on(
            "redis_call_response",
            format!(
                "(if (i32.eqz (local.get $2)) (then
                   (drop (call $get_buffer (i32.const 9) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
                   (if (i32.lt_u (local.get $3) (i32.const 100)) (then
                     (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))))))
                 (call $note «status» (i32.const 2) (local.get $2) (local.get $3) (i32.const 0))
                 (global.set $replies (i32.add (global.get $replies) (i32.const 1)))
                 (if (i32.eq (global.get $replies) (i32.const {count})) (then
                   (call $resume (global.get $stream) (i32.const 0))))"
            ),
        )
        .define("(global $stream (mut i32) (i32.const 0))")
        .on("context_create", "(global.set $stream (local.get $0))")
}

async fn start(guest: &Guest, server: SocketAddr) -> (Proxy, Upstream) {
    let upstream = Upstream::start();
    let config = Config::new(upstream.address)
        .filter(Filter::wasm("f", guest.build()))
        .cluster(format!("{{ name: redis, endpoints: ['{server}'] }}"));
    (Proxy::start(&config).await, upstream)
}

/// What the guest told of replies, in order.
fn told(proxy: &Proxy) -> Vec<String> {
    let lines = proxy.lines(&[" filter: "]);
    let said = lines.iter().filter_map(|line| line.split_once(" filter: "));
    let said = said.map(|(_, said)| said.split(" filter=").next().unwrap_or("").to_owned());
    said.filter(|said| said.starts_with(['+', '-', ':', '$', '*']) || said.starts_with("status"))
        .collect()
}

#[test]
fn replies_come_in_order_byte_for_byte() {
    let Some(server) = Server::start() else {
        return;
    };
    run(async {
        let large = "v".repeat(20_000);
        let queries = [
            resp(&["SET", "key", "value"]),
            resp(&["GET", "key"]),
            resp(&["GET", "nothing"]),
            resp(&["INCR", "key"]),
            resp(&["RPUSH", "list", "a", ""]),
            resp(&["LRANGE", "list", "0", "-1"]),
            resp(&["SET", "large", &large]),
            resp(&["GET", "large"]),
        ];
        let (proxy, _upstream) =
            start(&asking("redis?db=3", "secret", &queries), server.address).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
        proxy.logged(&["filter: delete 2."]).await;
        let wanted = [
            "+OK\\r\\n",
            "status 0 5.",
            "$5\\r\\nvalue\\r\\n",
            "status 0 11.",
            "$-1\\r\\n",
            "status 0 5.",
            "-ERR value is not an integer or out of range\\r\\n",
            "status 0 46.",
            ":2\\r\\n",
            "status 0 4.",
            "*2\\r\\n$1\\r\\na\\r\\n$0\\r\\n\\r\\n",
            "status 0 17.",
            "+OK\\r\\n",
            "status 0 5.",
            "status 0 20010.",
        ];
        assert_eq!(told(&proxy), wanted);
        // It is all in the database that the options named.
        let answer = within("redis-cli", async { ask(server.address, 3, "EXISTS key") }).await;
        assert_eq!(answer, ":1\r\n");
    });
}

/// Asks the server itself.
fn ask(address: SocketAddr, database: u32, command: &str) -> String {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "AUTH secret\r\nSELECT {database}\r\n{command}\r\n").expect("a command");
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    for _ in 0..3 {
        line.clear();
        lines.read_line(&mut line).expect("a reply");
    }
    line
}

#[test]
fn commands_that_a_shared_connection_cannot_carry_have_no_reply() {
    let Some(server) = Server::start() else {
        return;
    };
    run(async {
        let queries = [
            resp(&["SUBSCRIBE", "x"]),
            resp(&["client", "REPLY", "OFF"]),
            format!("{0}{0}", resp(&["PING"])),
            "*2\r\n$4\r\nECHO\r\n$100\r\nshort\r\n".to_owned(),
            "*1\r\n".repeat(2_000),
            resp(&["PING"]),
        ];
        let (proxy, _upstream) = start(&asking("redis", "secret", &queries), server.address).await;
        for times in 1..=2 {
            assert_eq!(
                proxy.client(Http::One).await.send(get("/a")).await.status,
                200
            );
            proxy.logged_times(&["filter: delete "], times).await;
        }
        let told = told(&proxy);
        assert_eq!(
            told.iter().filter(|said| *said == "status 1 0.").count(),
            10,
            "{told:?}"
        );
        assert_eq!(
            told.iter().filter(|said| *said == "+PONG\\r\\n").count(),
            2,
            "{told:?}"
        );
        assert_eq!(told.len(), 14, "{told:?}");
    });
}

#[test]
fn no_server_and_a_wrong_password_give_no_reply() {
    let Some(server) = Server::start() else {
        return;
    };
    run(async {
        let queries = [resp(&["PING"])];
        for (password, address) in [("wrong", server.address), ("secret", Upstream::nowhere())] {
            let (proxy, _upstream) = start(&asking("redis", password, &queries), address).await;
            for times in 1..=2 {
                assert_eq!(
                    proxy.client(Http::One).await.send(get("/a")).await.status,
                    200
                );
                proxy.logged_times(&["filter: status 1 0."], times).await;
            }
        }
    });
}

#[test]
fn a_server_that_goes_and_comes_again_is_found_again() {
    let Some(server) = Server::start() else {
        return;
    };
    run(async {
        let queries = [resp(&["PING"])];
        let (proxy, _upstream) = start(&asking("redis", "secret", &queries), server.address).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/a")).await.status, 200);
        proxy.logged(&["filter: +PONG"]).await;
        // All connections are cut.
        ask(server.address, 0, "CLIENT KILL TYPE normal SKIPME yes");
        assert_eq!(client.send(get("/b")).await.status, 200);
        assert_eq!(client.send(get("/c")).await.status, 200);
        proxy.logged_times(&["filter: +PONG"], 2).await;
    });
}
