//! Waiting for two things at once. For more there are the combinators of the `futures`
//! crates, which work here too.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// Waits for both.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn both(request: Request, http: Http) -> Result<Response> {
///     let (user, plan) = join(
///         http.call(HttpCall::get("users", "/me")),
///         http.call(HttpCall::get("plans", "/mine")),
///     )
///     .await;
///     if user?.status() == plan?.status() {
///         return request.forward().await;
///     }
///     Ok(Response::new(403))
/// }
/// ```
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(|cx| {
        if from_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            from_a = Some(output);
        }
        if from_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            from_b = Some(output);
        }
        match (from_a.take(), from_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            parts => {
                (from_a, from_b) = parts;
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits for the first of two that come to the same; the other is dropped, and so cancelled.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn either(request: Request, http: Http) -> Result<Response> {
///     let here = http.call(HttpCall::get("here", "/check"));
///     let there = http.call(HttpCall::get("there", "/check"));
///     match race(here, there).await?.status() {
///         Some(200) => request.forward().await,
///         _ => Ok(Response::new(403)),
///     }
/// }
/// ```
pub async fn race<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    match first(pin!(a), pin!(b)).await {
        Either::Left(output) | Either::Right(output) => output,
    }
}

pub(super) enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Waits for the first; `a` where both are ready.
pub(super) fn first<A: Future, B: Future>(
    mut a: Pin<&mut A>,
    mut b: Pin<&mut B>,
) -> impl Future<Output = Either<A::Output, B::Output>> {
    poll_fn(move |cx| {
        if let Poll::Ready(output) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(output));
        }
        b.as_mut().poll(cx).map(Either::Right)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};
    use std::task::{Context, Waker};

    use super::*;

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn join_waits_for_both_and_polls_neither_again() {
        let polls = Cell::new(0);
        let once = async {
            polls.set(polls.get() + 1);
            1
        };
        let mut late = 0;
        let late = poll_fn(|_| {
            late += 1;
            if late < 3 {
                Poll::Pending
            } else {
                Poll::Ready("b")
            }
        });
        let mut joined = pin!(join(once, late));
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!(joined.as_mut().poll(cx), Poll::Pending);
        assert_eq!(joined.as_mut().poll(cx), Poll::Pending);
        assert_eq!(joined.as_mut().poll(cx), Poll::Ready((1, "b")));
        assert_eq!(polls.get(), 1);
    }

    #[test]
    fn race_is_over_with_the_first() {
        assert_eq!(poll(race(pending(), ready(2))), Poll::Ready(2));
        assert_eq!(poll(race(ready(1), ready(2))), Poll::Ready(1));
    }
}
