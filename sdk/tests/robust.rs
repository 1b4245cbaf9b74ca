//! Hosts that call in any order, with any numbers, and back into what runs. Without a host
//! every hostcall fails, which must be no trouble either.

use std::cell::Cell;
use std::rc::Rc;

use cofferdam_sdk::callbacks::{Dispatcher, Entry, Exports, Head, HttpFilter, Plugin};
use cofferdam_sdk::filter::Runner;
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::{Headers, HttpCallResponse, export};

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

struct Nested;

#[export(calls)]
impl Plugin for Nested {
    type Stream = Stream;

    fn configure(_: &[u8]) -> Result<Self> {
        Ok(Self)
    }

    fn stream(_: &Rc<Self>) -> Stream {
        Stream
    }
}

struct Stream;

#[export]
impl HttpFilter for Stream {
    type Plugin = Nested;

    fn on_request_headers(&mut self, _: &mut Headers, end: bool) -> Head {
        CALLS.set(CALLS.get() + 1);
        if !end {
            Nested::with(|module| {
                // This very stream is busy; a new one is not.
                assert_eq!(module.request_headers(2, true), Head::Continue as u32);
                module.context_create(3, 1);
                assert_eq!(module.request_headers(3, true), Head::Stop as u32);
                module.delete(3);
                module.delete(2);
            });
        }
        Head::Stop
    }

    fn on_http_call_response(&mut self, _: u32, _: HttpCallResponse) {
        CALLS.set(CALLS.get() + 1);
    }
}

#[test]
fn a_host_that_calls_back_into_a_callback_finds_nobody_there() {
    Nested::with(|module| {
        assert!(module.configure(1));
        module.context_create(2, 1);
        assert_eq!(module.request_headers(2, false), Head::Stop as u32);
        // It was deleted while it ran.
        assert_eq!(module.request_headers(2, true), Head::Continue as u32);
    });
    assert_eq!(CALLS.get(), 2);
}

#[filter]
async fn everything(
    mut request: Request<Held>,
    http: Http,
    grpc: Grpc,
    clock: Clock,
) -> Result<Response<Held>> {
    let second = std::time::Duration::from_secs(1);
    let _ = clock.timeout(second, request.body(1 << 10)).await;
    let _ = join(
        http.call(HttpCall::get("a", "/")),
        grpc.call(GrpcCall::new("a", "b", "c")),
    )
    .await;
    request.watch_body(|piece, _| drop(piece.bytes()));
    let mut response = request.forward().await?;
    let body = response.body(1 << 10).await?;
    response.set_body(&body)?;
    Ok(response)
}

#[filter]
async fn pieces(request: Request<Body>, clock: Clock) -> Result<Response<Body>> {
    let mut request = request.stream();
    while let Some(mut chunk) = request.chunk().await {
        clock.sleep(std::time::Duration::from_secs(1)).await;
        let _ = chunk.replace(b"x");
    }
    let mut response = request.forward().await?.stream();
    while let Some(chunk) = response.chunk().await {
        drop(chunk);
    }
    Ok(response.finish())
}

#[filter]
async fn wire(mut connection: Connection, http: Http) -> Result<()> {
    let _ = connection.client.peek(3).await;
    let _ = http.call(HttpCall::get("a", "/")).await;
    while let Some(mut piece) = connection.server.chunk().await {
        let _ = piece.replace(b"");
    }
    Ok(())
}

/// Calls every export with small numbers, in an order that is different for each seed.
fn any_order<P: Plugin, E: Exports<P>>(seeds: u64) {
    for seed in 0..seeds {
        let module = Dispatcher::<P>::new();
        let mut state = seed;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..200 {
            let Some((_, call)) = E::CALLBACKS.get(next(E::CALLBACKS.len())) else {
                return;
            };
            let mut number = || match next(20) {
                0 => u32::MAX,
                1 => 1 << 20,
                small => small as u32 / 3,
            };
            call(&module, [number(), number(), number(), number(), number()]);
        }
    }
}

#[test]
fn any_order_of_callbacks_is_survived() {
    any_order::<Runner<everything>, everything>(500);
    any_order::<Runner<pieces>, pieces>(500);
    any_order::<Runner<wire>, wire>(500);
    any_order::<Nested, Nested>(100);
}
