//! Trailers of the async layer, in the host's own state machine.

use cofferdam_sdk::prelude::*;
use cofferdam_sdk::testing::{Answer, Ask, Seen, Tester, splits};
use cofferdam_sdk::{Reply, filter::Trailers};

/// Reads one, changes one, adds one, removes one.
fn edit(trailers: &mut Trailers<'_>, way: &str) -> Result<()> {
    let sum = trailers.get("x-sum").unwrap_or_default();
    trailers.set("x-sum", [sum.as_bytes(), b"!"].concat())?;
    trailers.add("x-way", way)?;
    trailers.remove("x-internal")?;
    Ok(())
}

mod streams {
    use super::*;

    #[filter]
    pub(crate) async fn streams(request: Request<Body>, http: Http) -> Result<Response<Body>> {
        let looks = request.headers().contains("x-look");
        let asks = request.headers().contains("x-ask");
        let mut request = request.stream();
        while looks && request.chunk().await.is_some() {}
        if let Some(mut trailers) = request.trailers().await {
            if asks {
                let _ = http.call(HttpCall::get("sums", "/")).await?;
            }
            edit(&mut trailers, "in")?;
        }
        let mut response = request.forward().await?.stream();
        while looks && response.chunk().await.is_some() {}
        if let Some(mut trailers) = response.trailers().await {
            edit(&mut trailers, "out")?;
        }
        Ok(response.finish())
    }
}

mod whole {
    use super::*;

    #[filter]
    pub(crate) async fn whole(mut request: Request<Held>) -> Result<Response<Held>> {
        let body = request.body(64).await?;
        if let Some(mut trailers) = request.trailers() {
            edit(&mut trailers, "in")?;
            request
                .headers_mut()
                .set("x-size", body.len().to_string())?;
        }
        let mut response = request.forward().await?;
        let _ = response.body(64).await?;
        if let Some(mut trailers) = response.trailers() {
            edit(&mut trailers, "out")?;
        }
        Ok(response)
    }
}

fn tester(of: fn(&str) -> Tester) -> Tester {
    let mut tester = of("");
    tester.cluster("sums", |_| Reply::new(200));
    tester.pieces(2);
    tester.upstream(|seen| Reply::new(200).body(seen.body()));
    tester
}

fn with_trailers(ask: Ask<'_>) -> Answer {
    ask.trailer("x-sum", "3").trailer("x-internal", "1").send()
}

fn changed(answer: &Answer, seen: &Seen) {
    assert_eq!((seen.body(), answer.body()), (&b"abc"[..], &b"abc"[..]));
    for (message, way) in [(seen, "in"), (answer.response(), "out")] {
        assert_eq!(message.trailer("x-sum"), Some("3!"), "{way}");
        assert_eq!(message.trailer("x-way"), Some(way));
        assert_eq!(message.trailer("x-internal"), None);
    }
}

#[test]
fn those_of_both_ways_are_read_changed_added_and_removed() {
    for of in [Tester::of::<streams::streams>, Tester::of::<whole::whole>] {
        for chunks in splits(b"abc") {
            for header in ["x-none", "x-look", "x-ask"] {
                let mut tester = tester(of);
                tester.upstream_trailer("x-sum", "3");
                tester.upstream_trailer("x-internal", "1");
                let ask = tester.request("POST", "/").chunks(chunks.clone());
                let answer = with_trailers(ask.header(header, "1"));
                changed(&answer, answer.upstream().unwrap());
                assert!(!answer.is_stuck() && !answer.is_cut());
                tester.no_leaks();
            }
        }
    }
}

#[test]
fn a_message_without_trailers_is_given_some() {
    for of in [Tester::of::<streams::streams>, Tester::of::<whole::whole>] {
        for header in ["x-none", "x-look"] {
            let mut tester = tester(of);
            let ask = tester.request("POST", "/").chunks(["a", "bc"]);
            let answer = ask.header(header, "1").send();
            for message in [answer.upstream().unwrap(), answer.response()] {
                assert_eq!(
                    (message.body(), message.trailer("x-sum")),
                    (&b"abc"[..], Some("!"))
                );
            }
            tester.no_leaks();
        }
    }
}

#[test]
fn past_another_wait_they_cannot_be_made_and_the_filter_is_told() {
    let mut tester = tester(Tester::of::<streams::streams>);
    tester.without_hostile_headers();
    let ask = tester.request("POST", "/").chunks(["abc"]);
    assert_eq!(ask.header("x-ask", "1").send().status(), 500);
    tester.no_leaks();
}

#[test]
fn a_message_without_a_body_has_none() {
    for of in [Tester::of::<streams::streams>, Tester::of::<whole::whole>] {
        let mut tester = tester(of);
        let answer = tester.get("/").send();
        assert_eq!((answer.status(), answer.trailer("x-way")), (200, None));
        assert_eq!(answer.upstream().unwrap().trailer("x-way"), None);
        tester.no_leaks();
    }
}
