//! The cluster `peer`, in process: fixed answers by path, as `conformance/README.md` has them.

use std::time::Duration;

use bytes::Bytes;

use crate::peers::JWKS;
use crate::suite::outcome::Message;

/// What came of a request to it.
pub(super) struct Answered {
    /// After which time.
    pub(super) delay: Duration,
    /// With what; `None`: the connection was cut before anything came.
    pub(super) response: Option<Message>,
}

/// Its answer to a request.
pub(super) fn answer(request: &Message) -> Answered {
    let path = request.values(":path").first().copied().unwrap_or("/");
    let path = path.strip_prefix("/peer").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    let mut delay = Duration::from_millis(2);
    let mut status = "200";
    let mut body = Bytes::from_static(b"peer ok");
    let (mut headers, mut trailers) = (Vec::new(), Vec::new());
    let mut complete = true;
    match path {
        "/echo" => {
            body = request.body.clone();
            let method = request.values(":method").first().copied().unwrap_or("");
            headers.push(("x-method".to_owned(), method.to_owned()));
            let echoed = request.headers.iter();
            headers.extend(
                echoed
                    .filter(|(name, _)| name.starts_with("x-echo-"))
                    .cloned(),
            );
        }
        "/slow" => {
            delay = Duration::from_secs(5);
            body = Bytes::from_static(b"slow");
        }
        "/wait" => {
            delay = Duration::from_millis(100);
            body = Bytes::from_static(b"waited");
        }
        "/big" => body = Bytes::from(vec![b'x'; 512 << 10]),
        "/cookies" => {
            body = Bytes::new();
            headers.push(("set-cookie".to_owned(), "a=1".to_owned()));
            headers.push(("set-cookie".to_owned(), "b=2".to_owned()));
        }
        "/trailers" => {
            body = Bytes::from_static(b"with trailers");
            trailers.push(("x-t".to_owned(), "v".to_owned()));
        }
        "/jwks" => body = Bytes::from_static(JWKS.as_bytes()),
        "/fail" => {
            status = "500";
            body = Bytes::from_static(b"failed");
        }
        "/reset" => {
            return Answered {
                delay,
                response: None,
            };
        }
        "/half" => {
            body = Bytes::from_static(b"hal");
            complete = false;
        }
        _ => {}
    }
    let announced = if path == "/half" { 6 } else { body.len() };
    let mut all = vec![
        (":status".to_owned(), status.to_owned()),
        ("x-peer".to_owned(), "1".to_owned()),
    ];
    if trailers.is_empty() {
        all.push(("content-length".to_owned(), announced.to_string()));
    }
    all.extend(headers);
    Answered {
        delay,
        response: Some(Message {
            headers: all,
            body,
            trailers,
            complete,
        }),
    }
}
