//! Filters of connections, as the async layer has them, in the host's own state machine.

use std::time::Duration;

use cofferdam_sdk::Reply;
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::testing::{Tester, splits};

mod wire {
    use super::*;

    /// Asks about the first four bytes, then doubles every `a` of the client and shouts back.
    #[filter]
    pub(crate) async fn wire(mut connection: Connection, http: Http) -> Result<()> {
        let first = connection.client.peek(4).await;
        let path = format!("/{}", String::from_utf8_lossy(&first));
        let answer = http.call(HttpCall::get("authz", &path)).await?;
        if answer.status() != Some(200) {
            return Err(Error::new("not allowed"));
        }
        connection.server.map(|piece, _| {
            let loud = piece.bytes().to_ascii_uppercase();
            assert_eq!(piece.replace(&loud), Ok(()));
        });
        while let Some(mut piece) = connection.client.chunk().await {
            let doubled = String::from_utf8_lossy(piece.bytes()).replace('a', "aa");
            piece.replace(doubled.as_bytes())?;
        }
        Ok(())
    }

    /// Lets the connection go to the upstream only when it has been asked about.
    #[filter]
    pub(crate) async fn gate(connection: Connection, http: Http, clock: Clock) -> Result<()> {
        drop(connection.server);
        clock.sleep(Duration::from_millis(5)).await;
        match http.call(HttpCall::get("authz", "/")).await?.status() {
            Some(200) => Ok(()),
            _ => Err(Error::new("not allowed")),
        }
    }
}

#[test]
fn a_connection_is_looked_at_changed_and_let_go() {
    for chunks in splits(b"banana") {
        for delay in [0, 5] {
            let mut tester = Tester::of::<wire::wire>("");
            tester.slow_cluster("authz", Duration::from_millis(delay), |asked| {
                Some(Reply::new(if asked.path() == "/bana" { 200 } else { 403 }))
            });
            let wire = tester.connect(chunks.clone(), ["o", "k"]);
            assert_eq!(wire.server(), b"baanaanaa", "{chunks:?}");
            assert!(wire.client().eq_ignore_ascii_case(b"ok"));
            assert!(!wire.is_closed() && !wire.is_stuck());
            tester.no_leaks();
        }
    }
    let mut tester = Tester::of::<wire::wire>("");
    tester.cluster("authz", |_| Reply::new(403));
    let wire = tester.connect(["mallory"], ["ok"]);
    assert!(wire.is_closed());
    assert_eq!(wire.server(), b"");
    assert!(tester.logs().join("\n").contains("not allowed"));
    tester.no_leaks();
}

#[test]
fn a_connection_waits_until_its_filter_lets_it_go() {
    for (status, sent) in [(200, &b"hello"[..]), (401, b"")] {
        let mut tester = Tester::of::<wire::gate>("");
        tester.cluster("authz", move |_| Reply::new(status));
        let wire = tester.connect(["hel", "lo"], ["ok"]);
        assert_eq!((wire.server(), wire.is_closed()), (sent, status != 200));
        tester.no_leaks();
    }
}
