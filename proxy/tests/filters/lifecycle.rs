//! Log, done and delete: exactly once, whatever becomes of a stream.

use crate::support::{BOTH, Config, Filter, Guest, Proxy, Upstream, get, run};

#[test]
fn a_stream_without_bodies_goes_through_its_callbacks_in_order() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::wasm("f", Guest::new().build());
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let answer = proxy.client(http).await.send(get("/empty")).await;
            assert_eq!(answer.status, 204);
            proxy.logged(&["delete 2."]).await;
            let calls: Vec<_> = proxy.lines(&["filter: "]);
            println!("{calls:#?}");
        }
    });
}
