//! `peer`: an HTTP/1.1 server whose answers are fixed by path. `conformance/README.md` has the
//! table.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::socket::upstream::Upstream;
use crate::socket::{Frame, Pairs, Protocol, Received, Side, pairs};

/// How long a request's end is waited for, and the longest that anything is held.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts it.
pub(super) async fn start() -> io::Result<Upstream> {
    let serve = |side: Side| {
        tokio::spawn(async move {
            if side.wait(PATIENCE, |seen| seen.ending.is_some()).await {
                answer(&side).await;
            }
        });
    };
    Upstream::serving(Protocol::Http1, Arc::new(serve)).await
}

async fn answer(side: &Side) {
    let request = side.received();
    let path = request.field(":path").unwrap_or_default();
    let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
    match path.strip_prefix(b"/peer").unwrap_or(path) {
        b"/echo" => echo(side, &request),
        b"/slow" => after(Duration::from_secs(5), side, "slow").await,
        b"/wait" => after(Duration::from_millis(100), side, "waited").await,
        b"/big" => whole(side, "200", Pairs::new(), "x".repeat(512 * 1024)),
        b"/cookies" => {
            let cookies = pairs([("set-cookie", "a=1"), ("set-cookie", "b=2")]);
            whole(side, "200", cookies, "");
        }
        b"/trailers" => {
            head(side, "200", pairs([("trailer", "x-t")]), false);
            data(side, "with trailers", false);
            side.send(Frame::Trailers(pairs([("x-t", "v")])));
        }
        b"/jwks" => whole(side, "200", Pairs::new(), super::JWKS),
        b"/fail" => whole(side, "500", Pairs::new(), "failed"),
        b"/reset" => side.send(Frame::Reset),
        b"/half" => {
            head(side, "200", pairs([("content-length", "6")]), false);
            data(side, "hal", false);
            // Else the reset overtakes what was sent before it.
            tokio::time::sleep(Duration::from_millis(20)).await;
            side.send(Frame::Reset);
        }
        _ => whole(side, "200", Pairs::new(), "peer ok"),
    }
}

fn echo(side: &Side, request: &Received) {
    let fields = request.head.as_deref().unwrap_or_default();
    let repeated = fields
        .iter()
        .filter(|(name, _)| name.starts_with(b"x-echo-"));
    let mut own: Pairs = repeated.cloned().collect();
    let method = request.field(":method").unwrap_or_default();
    own.extend(pairs([("x-method", method)]));
    whole(side, "200", own, request.body.clone());
}

async fn after(time: Duration, side: &Side, body: &str) {
    tokio::time::sleep(time).await;
    whole(side, "200", Pairs::new(), body);
}

fn whole(side: &Side, status: &str, mut fields: Pairs, body: impl Into<Vec<u8>>) {
    let body = body.into();
    fields.extend(pairs([("content-length", body.len().to_string())]));
    let empty = body.is_empty();
    head(side, status, fields, empty);
    if !empty {
        data(side, body, true);
    }
}

fn head(side: &Side, status: &str, fields: Pairs, end: bool) {
    let mut all = pairs([(":status", status), ("x-peer", "1")]);
    all.extend(fields);
    side.send(Frame::Head { fields: all, end });
}

fn data(side: &Side, data: impl Into<Vec<u8>>, end: bool) {
    let data = Bytes::from(data.into());
    side.send(Frame::Data { data, end });
}
