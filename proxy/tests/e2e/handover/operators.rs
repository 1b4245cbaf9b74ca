//! What operators and their programs see of it.

use std::os::unix::net::UnixDatagram;

use super::*;

fn with_admin(dir: &Dir, body: &str) -> String {
    answering(dir, body, 1) + "admin: { address: '127.0.0.1:0' }\n"
}

fn admin(proxy: &Proxy) -> std::net::SocketAddr {
    let line = proxy.log.wait_for("listening: admin ");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn post(admin: std::net::SocketAddr, path: &str) -> Message {
    let request = format!("POST {path} HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    Client::connect(admin).request(&request)
}

#[test]
fn admin_is_handed_over_and_has_it_done() {
    let setup = Setup::new();
    let (before, after) = (
        with_admin(&setup.dir, "before"),
        with_admin(&setup.dir, "after"),
    );
    let mut line = Line::start(setup, &before);
    let admin = admin(&line);
    // It keeps the old process, and is answered by it to its end.
    let mut kept = line.client();
    assert_eq!(kept.get("/").text(), "before");
    let mut watching = Client::connect(admin);
    assert_eq!(watching.get("/ready").status(), 200);
    line.dir.write("config.yaml", &after);
    assert_eq!(post(admin, "/upgrade").status(), 202);
    line.log.wait_for("this process has taken over from");
    line.log
        .wait_for("draining: another process takes new connections");
    let request = format!("GET /config HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    until(&line, "the new one's", || {
        let answers = (0..8).map(|_| Client::connect(admin).request(&request).text());
        answers.filter(|text| text.contains("after")).count() == 8
    });
    assert_eq!(client::get(admin, "/ready").status(), 200);
    assert!(line.is_running());
    last_answer(&mut kept, "before");
    assert_eq!(line.exit().code(), Some(0));
    assert_eq!(client::get(admin, "/live").status(), 200);
    assert_eq!(line.get("/").text(), "after");
}

#[test]
fn admin_says_where_it_cannot_be() {
    let setup = Setup::new();
    let yaml = with_admin(&setup.dir, "x").replace(&place(&setup.dir), "");
    let proxy = setup.start(&yaml);
    let answer = post(admin(&proxy), "/upgrade");
    assert_eq!(answer.status(), 409);
    assert!(answer.text().contains("upgrade: { socket: FILE }"));
}

#[test]
fn the_service_manager_is_told_who_is_the_main_process() {
    let setup = Setup::new();
    let path = setup.dir.join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LONGEST)).unwrap();
    let hears = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let yaml = answering(&setup.dir, "x", 1);
    let line = Line::start(setup.env("NOTIFY_SOCKET", path.as_os_str()), &yaml);
    assert_eq!(hears(), "READY=1");
    let new = line.upgrade();
    let mut heard = [hears(), hears()];
    heard.sort();
    assert_eq!(heard, [format!("MAINPID={new}"), "READY=1".to_owned()]);
    signal(new, Signal::TERM);
    assert_eq!(hears(), "STOPPING=1");
}
