//! Listeners on unix sockets.

use crate::support::{Client, Dir, Setup, Upstream, proxy};

#[test]
fn a_unix_socket_is_served_and_its_clients_have_no_address() {
    let upstream = Upstream::named("ok");
    let setup = Setup::new();
    let path = setup.dir.join("web.sock");
    let yaml = proxy::plain(upstream.address)
        .replace(
            "address: 127.0.0.1:0",
            &format!("address: 'unix:{}'", path.display()),
        )
        .replace("workers: 1", "workers: 2");
    let mut proxy = setup.start(&yaml);
    let line = proxy.log.wait_for("listening: web ");
    assert!(
        line.ends_with(&format!("unix:{}", path.display())),
        "{line}"
    );
    for _ in 0..4 {
        let mut client = Client::connect_unix(&path);
        assert_eq!(client.get("/a").text(), "ok");
        assert_eq!(client.get("/b").text(), "ok");
    }
    for request in upstream.requests() {
        assert_eq!(request.field("x-forwarded-for"), None);
        assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    }
    assert_eq!(proxy.drain().code(), Some(0));
}

#[test]
fn a_socket_file_that_nobody_answers_on_is_replaced() {
    let dir = Dir::new();
    let path = dir.join("web.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let yaml = proxy::plain(Upstream::named("ok").address).replace(
        "address: 127.0.0.1:0",
        &format!("address: 'unix:{}'", path.display()),
    );
    let proxy = Setup::new().start(&yaml);
    proxy.log.wait_for("listening: web ");
    assert_eq!(Client::connect_unix(&path).get("/").text(), "ok");
    // A second proxy must not take it away from the first.
    let (status, told) = proxy::refused(&dir, "run", &yaml);
    assert_eq!(status, Some(69), "{told:?}");
    assert!(
        told.iter()
            .any(|line| line.contains("listener web cannot listen on unix:")),
        "{told:?}"
    );
    assert_eq!(Client::connect_unix(&path).get("/").text(), "ok");
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let dir = Dir::new();
    let path = dir.write("web.sock", "precious");
    let yaml = proxy::plain(Upstream::named("ok").address).replace(
        "address: 127.0.0.1:0",
        &format!("address: 'unix:{}'", path.display()),
    );
    let (status, told) = proxy::refused(&dir, "run", &yaml);
    assert_eq!(status, Some(69), "{told:?}");
    let said = "a file is there that is no socket; give another path, or remove the file";
    assert!(told.len() == 1 && told[0].ends_with(said), "{told:?}");
    assert_eq!(dir.read("web.sock"), "precious");
}
