//! Bodies that are wanted whole.
//!
//! Pieces are joined as they come. Kept one by one until the end, as `http-body-util` does it, a
//! piece of one byte takes forty, and who sends decides how large pieces are.

use std::error::Error;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};

/// All of a body.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Reads a body to its end.
///
/// # Errors
/// It breaks off, or has more than `limit` bytes.
pub(crate) async fn whole<B>(body: B, limit: usize) -> Result<Whole, Box<dyn Error + Send + Sync>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = pin!(Limited::new(body, limit));
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Whole {
        bytes: bytes.freeze(),
        trailers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use http_body::Frame;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// So many pieces of one byte, and trailers.
    struct Pieces(usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(left) = self.0.checked_sub(1) else {
                return Poll::Ready(None);
            };
            self.0 = left;
            let field = (
                HeaderName::from_static("x-t"),
                HeaderValue::from_static("v"),
            );
            let frame = match left {
                0 => Frame::trailers(HeaderMap::from_iter([field])),
                _ => Frame::data(Bytes::from_static(b"a")),
            };
            Poll::Ready(Some(Ok(frame)))
        }
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_limit() {
        let it = whole(Pieces(1_001), 1_000).await.expect("whole");
        assert_eq!(it.bytes, vec![b'a'; 1_000]);
        assert_eq!(it.trailers.expect("trailers")["x-t"], "v");
        whole(Pieces(1_002), 1_000).await.expect_err("too long");
    }
}
