//! Bodies in the async layer, in the host's own state machine: whole, mapped, by piece, however
//! they are cut.

use std::time::Duration;

use cofferdam_sdk::Reply;
use cofferdam_sdk::filter::BodyError;
use cofferdam_sdk::metrics::Counter;
use cofferdam_sdk::prelude::*;
use cofferdam_sdk::testing::{Tester, splits};

mod whole {
    use super::*;

    #[filter]
    pub(crate) async fn whole(mut request: Request<Held>) -> Result<Response<Held>> {
        let body = match request.body(16).await {
            Err(BodyError::TooLarge { limit }) => {
                return Ok(Response::new(413).with_body(format!("at most {limit}")));
            }
            body => body?,
        };
        if !body.is_empty() {
            request.set_body(&[b"<", &body[..], b">"].concat())?;
        }
        let mut response = request.forward().await?;
        let body = response.body(1 << 10).await?;
        if !body.is_empty() {
            response.set_body(&body.to_ascii_uppercase())?;
        }
        response
            .headers_mut()
            .set("x-was", body.len().to_string())?;
        Ok(response)
    }
}

#[test]
fn whole_bodies_are_read_and_replaced_before_their_headers_leave() {
    for chunks in splits(b"abcdef") {
        for piece in [1, 2, 100] {
            let mut tester = Tester::of::<whole::whole>("");
            tester.pieces(piece);
            tester.upstream(|seen| {
                Reply::new(200)
                    .header("content-length", "8")
                    .body(seen.body())
            });
            let ask = tester.request("POST", "/").header("content-length", "6");
            let answer = ask.chunks(chunks.clone()).send();
            let seen = answer.upstream().unwrap();
            assert_eq!(
                (seen.body(), seen.header("content-length")),
                (&b"<abcdef>"[..], Some("8"))
            );
            assert_eq!(
                (answer.text(), answer.header("content-length")),
                ("<ABCDEF>", Some("8"))
            );
            assert_eq!(answer.header("x-was"), Some("8"), "{chunks:?} {piece}");
            tester.no_leaks();
        }
    }
}

#[test]
fn a_body_that_ends_with_trailers_is_whole_too() {
    let mut tester = Tester::of::<whole::whole>("");
    let ask = tester
        .request("POST", "/")
        .chunks(["ab", "c"])
        .trailer("x-sum", "3");
    let answer = ask.send();
    let seen = answer.upstream().unwrap();
    assert_eq!(
        (seen.body(), seen.trailer("x-sum")),
        (&b"<abc>"[..], Some("3"))
    );
}

#[test]
fn a_message_without_a_body_is_an_empty_one() {
    let mut tester = Tester::of::<whole::whole>("");
    let answer = tester.get("/").send();
    assert_eq!(answer.upstream().unwrap().body(), b"");
    assert_eq!(answer.header("x-was"), Some("0"));
}

#[test]
fn past_its_limit_a_body_is_refused_and_not_kept() {
    let mut tester = Tester::of::<whole::whole>("");
    let answer = tester
        .request("POST", "/")
        .chunks(["0123456789", "0123456789"])
        .send();
    assert_eq!((answer.status(), answer.text()), (413, "at most 16"));
    assert!(answer.upstream().is_none());
}

#[test]
fn a_host_that_does_not_hold_headers_is_named_and_nobody_hangs() {
    let mut tester = Tester::of::<whole::whole>("");
    tester.hold_no_headers();
    let answer = tester.post("/", "abc").send();
    assert_eq!(answer.status(), 500);
    let said = tester.logs().join("\n");
    assert!(said.contains("allow_on_headers_stop_iteration"), "{said}");
}

mod streams {
    use super::*;

    /// Doubles every letter `a`, whatever pieces it comes in.
    #[filter]
    pub(crate) async fn streams(request: Request<Body>, http: Http) -> Result<Response<Body>> {
        let mut request = request.stream();
        while let Some(mut chunk) = request.chunk().await {
            // With something to wait for while a piece is held back.
            let _ = http.call(HttpCall::get("scan", "/")).await?;
            let doubled: Vec<u8> = chunk.bytes().iter().flat_map(double).collect();
            chunk.replace(&doubled)?;
        }
        let mut response = request.forward().await?.stream();
        while let Some(mut chunk) = response.chunk().await {
            let doubled: Vec<u8> = chunk.bytes().iter().flat_map(double).collect();
            chunk.replace(&doubled)?;
        }
        Ok(response.finish())
    }

    fn double(byte: &u8) -> impl Iterator<Item = u8> + use<> {
        std::iter::repeat_n(*byte, if *byte == b'a' { 2 } else { 1 })
    }
}

#[test]
fn a_body_can_be_changed_piece_by_piece_with_waits_between() {
    for chunks in splits(b"banana") {
        for delay in [0, 5] {
            let mut tester = Tester::of::<streams::streams>("");
            tester.without_hostile_headers();
            let delay = Duration::from_millis(delay);
            tester.slow_cluster("scan", delay, |_| Some(Reply::new(200)));
            tester.pieces(2);
            tester.upstream(|seen| {
                Reply::new(200)
                    .header("content-length", "9")
                    .body(seen.body())
            });
            let ask = tester.request("POST", "/").header("content-length", "6");
            let answer = ask.chunks(chunks.clone()).send();
            let seen = answer.upstream().unwrap();
            assert_eq!(seen.body(), b"baanaanaa", "{chunks:?}");
            assert_eq!(seen.header("content-length"), None);
            assert_eq!(
                (answer.text(), answer.is_stuck()),
                ("baaaanaaaanaaaa", false)
            );
            assert_eq!(answer.header("content-length"), None);
            tester.no_leaks();
        }
    }
}

mod maps {
    use super::*;

    #[filter]
    pub(crate) async fn maps(mut request: Request<Body>) -> Result<Response<Body>> {
        request.map_body(|piece, _| {
            let loud = piece.bytes().to_ascii_uppercase();
            assert_eq!(piece.replace(&loud), Ok(()));
        });
        let mut response = request.forward().await?;
        response.map_body(|piece, last| {
            if last {
                assert_eq!(piece.append(b"!"), Ok(()));
            }
        });
        Ok(response)
    }
}

#[test]
fn every_piece_that_goes_on_is_mapped() {
    for chunks in splits(b"abcd") {
        let mut tester = Tester::of::<maps::maps>("");
        tester.pieces(3);
        tester.upstream(|seen| Reply::new(200).body(seen.body()));
        let answer = tester.request("POST", "/").chunks(chunks).send();
        assert_eq!(answer.upstream().unwrap().body(), b"ABCD");
        assert_eq!(answer.text(), "ABCD!");
    }
}

mod ends {
    use super::*;

    static ENDS: Counter = Counter::new("ends");

    #[filter]
    pub(crate) async fn ends(mut request: Request<Body>) -> Result<Response> {
        request.watch_body(|_, last| {
            assert_eq!(ENDS.add(u64::from(last)), Ok(()));
        });
        request.forward().await
    }
}

#[test]
fn a_map_is_told_of_the_end_also_where_trailers_follow() {
    let mut tester = Tester::of::<ends::ends>("");
    tester.request("POST", "/").chunks(["a", "b"]).send();
    assert_eq!(tester.metric("ends"), 1);
    let ask = tester.request("POST", "/").chunks(["a", "b"]);
    ask.trailer("x-sum", "2").send();
    assert_eq!(tester.metric("ends"), 2);
    tester.no_leaks();
}

mod lets_out {
    use cofferdam_sdk::callbacks::Data;

    use super::*;

    /// Turns `ab` into `x`, wherever it is cut: a piece that ends with `a` waits.
    #[filter]
    pub(crate) async fn lets_out(mut request: Request<Body>) -> Result<Response<Body>> {
        request.decide_body(|piece, last| {
            let bytes = piece.bytes();
            if bytes.ends_with(b"a") && !last {
                return Data::Buffer;
            }
            let text = String::from_utf8_lossy(&bytes).replace("ab", "x");
            assert!(text.len() == bytes.len() || piece.replace(text.as_bytes()).is_ok());
            Data::Continue
        });
        let mut response = request.forward().await?;
        response.decide_body(|piece, _| match piece.bytes()[..] {
            [b'-', ..] => Data::Drop,
            _ => Data::Buffer,
        });
        Ok(response)
    }
}

#[test]
fn a_body_waits_where_its_filter_says_and_goes_on_with_trailers_too() {
    for chunks in splits(b"cabaaba") {
        for trailer in [false, true] {
            let mut tester = Tester::of::<lets_out::lets_out>("");
            tester.pieces(1);
            tester.upstream(|seen| Reply::new(200).body(seen.body()));
            let ask = tester.request("POST", "/").chunks(chunks.clone());
            let ask = if trailer {
                ask.trailer("x-sum", "7")
            } else {
                ask
            };
            let answer = ask.send();
            let seen = answer.upstream().unwrap();
            assert_eq!(seen.body(), b"cxaxa", "{chunks:?}");
            assert_eq!(seen.trailer("x-sum"), trailer.then_some("7"));
            // What always waits goes on in the end.
            assert_eq!((answer.text(), answer.is_stuck()), ("cxaxa", false));
            tester.no_leaks();
        }
    }
    let mut tester = Tester::of::<lets_out::lets_out>("");
    tester.pieces(1);
    tester.upstream(|_| Reply::new(200).body("--a"));
    assert_eq!(tester.get("/").send().text(), "a");
}

mod sealed {
    use super::*;

    #[filter]
    pub(crate) async fn sealed(request: Request<Body>) -> Result<Response<Body>> {
        let mut request = request.stream();
        let mut pieces = 0;
        while let Some(chunk) = request.chunk().await {
            pieces += 1;
            if chunk.is_last() {
                break;
            }
        }
        let added = request.append(format!("|{pieces}").as_bytes());
        let mut response = request.forward().await?.stream();
        while response.chunk().await.is_some() {}
        response.append(format!("|{}", added.is_ok()).as_bytes())?;
        Ok(response.finish())
    }
}

#[test]
fn bytes_can_be_put_behind_a_body_that_streams() {
    for chunks in splits(b"abcd") {
        let mut tester = Tester::of::<sealed::sealed>("");
        tester.upstream(|seen| Reply::new(200).body(seen.body()));
        let pieces = chunks.len();
        let answer = tester.request("POST", "/").chunks(chunks).send();
        assert_eq!(answer.text(), format!("abcd|{pieces}|true"));
        tester.no_leaks();
    }
    let mut tester = Tester::of::<sealed::sealed>("");
    tester.upstream(|seen| Reply::new(200).body(seen.body()));
    let ask = tester.request("POST", "/").chunks(["ab"]);
    // No host takes bytes any more where trailers have come.
    assert_eq!(ask.trailer("x-sum", "2").send().text(), "ab|false");
    tester.no_leaks();
}

mod steals {
    use super::*;

    #[filter]
    pub(crate) async fn steals(request: Request<Body>) -> Result<Response> {
        let mut request = request.stream();
        let mut seen = 0;
        while let Some(chunk) = request.chunk().await {
            seen += chunk.bytes().len();
            if chunk.bytes().contains(&b'!') {
                return Ok(Response::new(400).with_body(format!("after {seen}")));
            }
        }
        request.forward().await
    }
}

#[test]
fn a_streaming_request_can_still_be_answered_here() {
    let mut tester = Tester::of::<steals::steals>("");
    let answer = tester.request("POST", "/").chunks(["ab", "c!", "d"]).send();
    assert_eq!((answer.status(), answer.text()), (400, "after 4"));
    let answer = tester.request("POST", "/").chunks(["ab", "c", "d"]).send();
    assert_eq!(answer.upstream().unwrap().body(), b"abcd");
    tester.no_leaks();
}

mod lasts {
    use super::*;

    #[filter]
    pub(crate) async fn lasts(request: Request<Body>, http: Http) -> Result<Response> {
        let mut request = request.stream();
        let mut pieces = Vec::new();
        while let Some(chunk) = request.chunk().await {
            let text = String::from_utf8_lossy(chunk.bytes()).into_owned();
            pieces.push(format!("{text} {}", chunk.is_last()));
            // Meanwhile the rest comes, and the end with it.
            let _ = http.call(HttpCall::get("slow", "/")).await?;
        }
        let mut response = request.forward().await?;
        response.headers_mut().set("x-pieces", pieces.join(","))?;
        Ok(response)
    }
}

#[test]
fn a_piece_that_came_with_the_end_says_so() {
    let mut tester = Tester::of::<lasts::lasts>("");
    let delay = Duration::from_millis(5);
    tester.slow_cluster("slow", delay, |_| Some(Reply::new(200)));
    let answer = tester.request("POST", "/").chunks(["a", "b", "c"]).send();
    assert_eq!(answer.header("x-pieces"), Some("a false,bc true"));
    // Likewise where trailers are the end.
    let ask = tester.request("POST", "/").chunks(["a", "b", "c"]);
    let answer = ask.trailer("x-sum", "3").send();
    assert_eq!(answer.header("x-pieces"), Some("a false,bc true"));
    tester.no_leaks();
}
