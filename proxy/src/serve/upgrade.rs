//! Connections that stop being HTTP: `Upgrade` over HTTP/1.1 (WebSocket and others), and
//! extended CONNECT over HTTP/2, which is sent on as an HTTP/1.1 upgrade. It is shown as one from
//! the start: routes, filters and logs see GET, `upgrade` and `connection`, as in Envoy. Where the
//! upgrade does not come about, CONNECT is never a plain GET: any 2xx would say that it has.

use std::future::poll_fn;

use cofferdam_abi::{Part, Way};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, WriteHalf};

use super::{Cut, ResponseBody, answer, head, response};
use crate::flow::End;
use crate::headers;
use crate::pump::{Pump, Source};
use crate::tcp::copy;
use crate::timer::Timer;
use crate::upstream::Tunnel;
use crate::worker::ConnectionGuard;

/// A client's wish to leave HTTP.
pub(crate) struct Upgrade {
    on: OnUpgrade,
    protocol: HeaderValue,
    /// Asked for by HTTP/2's CONNECT: the answer is 200, not 101.
    connect: bool,
}

/// The wish in a request's head, if there is one. Over HTTP/2 the head is made to say it as
/// HTTP/1 does.
pub(crate) fn take(head: &mut Parts) -> Option<Upgrade> {
    if let Some(protocol) = head.extensions.remove::<hyper::ext::Protocol>() {
        let protocol = HeaderValue::from_str(protocol.as_str()).ok()?;
        if is_ours(&protocol) {
            return None;
        }
        let on = head.extensions.remove::<OnUpgrade>()?;
        head.method = Method::GET;
        head.headers.insert(header::UPGRADE, protocol.clone());
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(header::CONNECTION, upgrade);
        return Some(Upgrade {
            on,
            protocol,
            connect: true,
        });
    }
    let protocol = wanted(&head.headers)?.clone();
    let on = head.extensions.remove::<OnUpgrade>()?;
    Some(Upgrade {
        on,
        protocol,
        connect: false,
    })
}

/// The protocol that fields ask for, if it is one that may be asked for.
fn wanted(headers: &HeaderMap) -> Option<&HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let asked = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    let mut lines = headers.get_all(header::UPGRADE).iter();
    (asked && !lines.any(is_ours)).then_some(protocol)
}

/// Whether a protocol that is asked for is between the client and us, or one of several is: a
/// move to HTTP/2 (which we offer by prior knowledge), another HTTP, or TLS. An upstream that
/// agreed would be spoken to past our routes and filters. Whatever a careless parser could take
/// for such a name counts as one.
fn is_ours(protocols: &HeaderValue) -> bool {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let mut words = protocols.as_bytes().split(|byte| !in_name(byte));
    words.any(|word| OURS.iter().any(|ours| word.eq_ignore_ascii_case(ours)))
}

const OURS: [&[u8]; 3] = [b"h2c", b"http", b"tls"];

// === impl Upgrade ===

impl Upgrade {
    /// Whether its request can have this method of a filter's: CONNECT would ask an upstream of
    /// HTTP/1 for another kind of tunnel.
    pub(crate) fn allows(method: &Method) -> bool {
        method != Method::CONNECT
    }

    /// Whether a head that filters have seen still asks for it.
    pub(crate) fn is_asked(head: &Parts) -> bool {
        wanted(&head.headers).is_some()
    }

    /// Whether the client cannot be answered as if it had not asked.
    pub(crate) fn is_connect(&self) -> bool {
        self.connect
    }

    /// Writes the wish into the request for the upstream.
    pub(crate) fn prepare(&self, head: &mut Parts, rng: &mut fastrand::Rng) {
        head.headers.insert(header::UPGRADE, self.protocol.clone());
        head.headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if self.connect
            && self.protocol == "websocket"
            && !head.headers.contains_key(header::SEC_WEBSOCKET_KEY)
        {
            // Not a secret: it only shows that the upstream speaks WebSocket.
            if let Ok(key) = HeaderValue::from_str(&base64(&rng.u128(..).to_le_bytes())) {
                head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
            }
        }
    }
}

/// The upstream has agreed: answers the client and carries bytes both ways from then on.
pub(crate) async fn switch(
    end: End,
    upgrade: Upgrade,
    response: &mut Response<Incoming>,
    mut timer: Timer,
    held: Tunnel,
) -> Result<Response<ResponseBody>, Cut> {
    let flow = end.0.clone();
    let upstream = hyper::upgrade::on(&mut *response);
    let mut headers = std::mem::take(response.headers_mut());
    if let Some(filters) = &flow.filters {
        headers::strip_hop_by_hop(&mut headers, true);
        let pairs = headers::response_map(response.status(), &headers);
        filters.exchange.borrow_mut().response_headers = Some(pairs);
        flow.facts.status.set(Some(response.status().as_u16()));
        flow.with_chain(Way::Response, |chain| {
            chain.push(Way::Response, Part::Headers { end: false });
        });
        let mut pump = Pump::new(flow.clone(), Way::Response, None, false);
        let Part::Headers { end: ended } = response::next(&flow, &mut pump, &mut timer).await?
        else {
            return Err(Cut);
        };
        if filters.chain.borrow().response_is_local() {
            return response::released(end, pump, ended, timer, response::Upstream::default())
                .await;
        }
        let pairs = {
            let exchange = filters.exchange.borrow();
            let map = exchange.response_headers.as_ref();
            map.map(|map| map.entries().to_vec()).unwrap_or_default()
        };
        match headers::response_from_pairs(&pairs, filters.invalid) {
            Ok(made) if made.status == StatusCode::SWITCHING_PROTOCOLS => {
                head::report_dropped(&made.dropped);
                headers = made.headers;
                headers.remove(header::CONTENT_LENGTH);
            }
            // The upstream has switched; a filter cannot make it say something else.
            Ok(_) => {
                let bad = headers::BadHeaders::Malformed(":status");
                return Ok(response::bad_head(end, &bad));
            }
            Err(bad) => return Ok(response::bad_head(end, &bad)),
        }
    }
    let status = if upgrade.connect {
        for name in [
            header::UPGRADE,
            header::CONNECTION,
            header::SEC_WEBSOCKET_ACCEPT,
        ] {
            headers.remove(name);
        }
        StatusCode::OK
    } else {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade.protocol.clone());
        StatusCode::SWITCHING_PROTOCOLS
    };
    // The exchange ends with the tunnel: the tunnel holds its end, the response's body,
    // of which there is nothing, does not.
    flow.facts.status.set(Some(status.as_u16()));
    let response = response::head(&flow, status, headers, ResponseBody::nothing());
    // The codec is done with the connection now; draining still waits for it.
    let guard = ConnectionGuard::new(flow.worker.clone());
    tokio::task::spawn_local(async move {
        let connection = end.0.facts.connection.clone();
        tokio::select! {
            () = tunnel(end, upgrade.on, upstream, timer) => {}
            () = connection.door.cut.wait() => {}
        }
        drop((guard, held));
    });
    Ok(response)
}

/// Bytes both ways until both have ended, one has failed, or a clock has run out.
async fn tunnel(end: End, client: OnUpgrade, upstream: OnUpgrade, mut timer: Timer) {
    let flow = end.0.clone();
    let (Ok(client), Ok(upstream)) = (client.await, upstream.await) else {
        return;
    };
    let (client, upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    // An end that is lost ends both ways.
    let both = async {
        if flow.filters.is_none() {
            let moved = |way| {
                let flow = &flow;
                move |bytes| {
                    flow.touch();
                    flow.facts.count(way, bytes);
                }
            };
            let up = copy(from_client, to_upstream, moved(Way::Request));
            let down = copy(from_upstream, to_client, moved(Way::Response));
            return tokio::try_join!(up, down).is_ok();
        }
        let pump = |way, from| Pump::new(flow.clone(), way, Some(Source::Raw(from)), false);
        let up = carry(pump(Way::Request, from_client), to_upstream);
        let down = carry(pump(Way::Response, from_upstream), to_client);
        tokio::try_join!(up, down).is_ok()
    };
    let expired = poll_fn(|cx| timer.poll(cx, &flow));
    tokio::select! {
        _ = both => {}
        expired = expired => answer::cut(&flow, expired),
    }
}

type Writer = WriteHalf<TokioIo<Upgraded>>;

/// One way of a tunnel through the filters.
async fn carry(mut pump: Pump, mut to: Writer) -> std::io::Result<()> {
    loop {
        match poll_fn(|cx| pump.poll_part(cx)).await {
            Ok(Part::Data { bytes, end }) => {
                to.write_all(&bytes).await?;
                pump.count_sent(bytes.len());
                if end {
                    return to.shutdown().await;
                }
            }
            Ok(Part::Headers { .. }) => {}
            Ok(Part::Trailers) | Err(_) => return to.shutdown().await,
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * index)) as usize & 63];
            out.push(if index <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_padded_as_rfc_4648_shows() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
