//! Waits for pieces, ends and responses that are given up, or that others' combinators make:
//! nothing gets past a filter unseen, and nobody waits for ever.

use std::time::Duration;

use cofferdam_sdk::Reply;
use cofferdam_sdk::callbacks::Data;
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::testing::{Tester, splits};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

/// Pieces come 10 ms apart: while nobody waits for them, some come.
const MEANWHILE: Duration = Duration::from_millis(35);

mod given_up {
    use super::*;

    #[filter]
    pub(crate) async fn seeing(request: Request<Body>, clock: Clock) -> Result<Response<Body>> {
        let mut request = request.stream();
        loop {
            match clock
                .timeout(Duration::from_millis(1), request.chunk())
                .await
            {
                Ok(Some(mut chunk)) => {
                    let seen = chunk.bytes().to_ascii_uppercase();
                    chunk.replace(&seen)?;
                }
                Ok(None) => break,
                Err(_) => clock.sleep(MEANWHILE).await,
            }
        }
        let mut response = request.forward().await?.stream();
        loop {
            match clock
                .timeout(Duration::from_millis(1), response.chunk())
                .await
            {
                Ok(Some(mut chunk)) => {
                    let seen = chunk.bytes().to_ascii_uppercase();
                    chunk.replace(&seen)?;
                }
                Ok(None) => break,
                Err(_) => clock.sleep(MEANWHILE).await,
            }
        }
        Ok(response.finish())
    }
}

#[test]
fn a_piece_that_comes_when_a_wait_was_given_up_waits_for_the_next() {
    for chunks in splits(b"first evil") {
        let mut tester = Tester::of::<given_up::seeing>("");
        tester.pieces(2);
        tester.upstream(|_| Reply::new(200).body("an answer"));
        let answer = tester.request("POST", "/").chunks(chunks.clone()).send();
        let upstream = answer.upstream().unwrap();
        assert_eq!(upstream.body(), b"FIRST EVIL", "{chunks:?}");
        assert_eq!(answer.text(), "AN ANSWER", "{chunks:?}");
        tester.no_leaks();
    }
}

mod dropping {
    use super::*;

    #[filter]
    pub(crate) async fn nothing(mut request: Request<Body>) -> Result<Response<Body>> {
        request.decide_body(|_, _| Data::Drop);
        let mut response = request.forward().await?;
        response.decide_body(|_, _| Data::Drop);
        Ok(response)
    }

    #[filter]
    pub(crate) async fn late(mut request: Request<Body>, clock: Clock) -> Result<Response> {
        request.decide_body(|_, last| if last { Data::Drop } else { Data::Buffer });
        clock.sleep(MEANWHILE).await;
        request.forward().await
    }
}

#[test]
fn a_body_whose_last_piece_is_dropped_still_ends() {
    for chunks in splits(b"abc") {
        for piece in [1, 100] {
            let mut tester = Tester::of::<dropping::nothing>("");
            tester.pieces(piece);
            tester.upstream(|seen| {
                assert_eq!(seen.body(), b"");
                Reply::new(200).body("an answer")
            });
            let answer = tester.request("POST", "/").chunks(chunks.clone()).send();
            assert_eq!(answer.upstream().unwrap().body(), b"", "{chunks:?}");
            assert_eq!(answer.text(), "");
            tester.no_leaks();

            let mut tester = Tester::of::<dropping::late>("");
            tester.pieces(piece);
            let answer = tester.request("POST", "/").chunks(chunks.clone()).send();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.upstream().unwrap().body(), b"", "{chunks:?}");
            tester.no_leaks();
        }
    }
}

mod others {
    use super::*;

    /// One of several futures; polled when it was woken, not before.
    #[filter]
    pub(crate) async fn unordered(request: Request<Body>) -> Result<Response<Body>> {
        let mut request = request.stream();
        let mut seen = 0;
        loop {
            let mut first = FuturesUnordered::new();
            first.push(request.chunk());
            let Some(Some(chunk)) = first.next().await else {
                break;
            };
            seen += chunk.bytes().len();
        }
        let mut first: FuturesUnordered<_> = [request.forward()].into_iter().collect();
        let mut response = first.next().await.ok_or_else(|| Error::new("nobody"))??;
        response.headers_mut().set("x-seen", seen.to_string())?;
        Ok(response)
    }

    #[filter]
    pub(crate) async fn whole(mut request: Request<Held>) -> Result<Response> {
        {
            let mut first: FuturesUnordered<_> = [request.body(100)].into_iter().collect();
            first.next().await.ok_or_else(|| Error::new("nobody"))??;
        }
        request.forward().await
    }
}

#[test]
fn combinators_that_wait_to_be_woken_are_woken() {
    for chunks in splits(b"abcdef") {
        let mut tester = Tester::of::<others::unordered>("");
        let answer = tester.request("POST", "/").chunks(chunks.clone()).send();
        assert_eq!((answer.status(), answer.header("x-seen")), (200, Some("6")));
        assert_eq!(answer.upstream().unwrap().body(), b"abcdef");
        let mut tester = Tester::of::<others::whole>("");
        let answer = tester.request("POST", "/").chunks(chunks.clone()).send();
        assert_eq!(answer.upstream().unwrap().body(), b"abcdef", "{chunks:?}");
    }
}
