//! Connections that are not HTTP: from the client through its filters to a cluster and
//! back.
//!
//! Both ways are carried by one task and never wait for each other: each reads only what
//! it can send on. Neither knows of messages; the end of one way is passed on as the end
//! of that way, and the connection is over when both have ended, when either side has
//! failed, when a filter closes it, or when nothing has moved for too long. Whatever ends
//! it, [`Relay`] tells the filters and the access log when it goes.

mod copy;
mod pump;
mod relay;

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::{Peer, Way};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::access_log::Flags;
use crate::config::TcpForward;
use crate::connection::Connection;
use crate::facts::Facts;
use crate::plugins::Refused;
use crate::traffic::Event;
use crate::upstream::{ConnectError, Io, Raw};
use crate::worker::Worker;

pub(crate) use copy::{Failed, copy};
use pump::pump;
pub(crate) use relay::Filters;
use relay::Relay;

/// Why a connection is over.
#[derive(Debug)]
enum Over {
    /// Both ways have ended.
    Ended,
    /// A filter closed it, or broke.
    Closed,
    /// There is no upstream.
    NotConnected(ConnectError),
    /// The client went away; with what error, where it was read from.
    ClientGone(Option<ErrorKind>),
    /// The upstream went away.
    UpstreamGone(ErrorKind),
    /// Nothing has moved for too long.
    Idle,
}

/// How long what may still leave for the client may take once a filter closes.
const FLUSH: Duration = Duration::from_secs(5);

/// Serves one connection.
pub(crate) async fn serve<S>(worker: Rc<Worker>, connection: Connection, mut client: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let facts = Rc::new(Facts::of_connection(Rc::new(connection)));
    let config = facts.listener().config.clone();
    let Some(forward) = &config.tcp else {
        return;
    };
    let Some(cluster) = route(forward, facts.connection.server_name()) else {
        facts.listener().traffic.happened(Event::NoRoute);
        let relay = Relay::new(worker, facts, None);
        relay.explain(Flags::NO_ROUTE, "filter_chain_not_found");
        drop(relay);
        linger(client).await;
        return;
    };
    facts.cluster.set(Some(cluster));
    let (filters, refused) = match worker.plugins.connect(&worker, &forward.filters, &facts) {
        Ok(filters) => (filters, None),
        Err(refused) => (None, Some(refused)),
    };
    let relay = Relay::new(worker, facts, filters);
    if let Some(Refused { filter }) = refused {
        relay.explain(
            Flags::WASM_FAILURE,
            &format!("wasm_fail_stream{{{filter}}}"),
        );
        return;
    }
    let over = tokio::select! {
        biased;
        over = run(&relay, &mut client, cluster) => over,
        () = relay.idle(config.idle_timeout) => Over::Idle,
        () = async { relay.closing().await; tokio::time::sleep(FLUSH).await } => Over::Closed,
    };
    // An upstream that broke off must not look as if it had ended.
    let ended_here = matches!(over, Over::Closed | Over::NotConnected(_) | Over::Idle);
    relay.conclude(&over);
    drop(relay);
    if ended_here {
        linger(client).await;
    }
}

/// The cluster for a connection that asks for `name`.
fn route(forward: &TcpForward, name: Option<&str>) -> Option<usize> {
    let named = name.and_then(|name| forward.names.find(name));
    named.or(forward.cluster)
}

/// From the first filter to the end of both ways.
async fn run<S>(relay: &Relay, client: &mut S, cluster: usize) -> Over
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !relay.opened().await {
        return Over::Closed;
    }
    let upstream = relay.facts.setup.upstream(cluster);
    let wanted = relay.facts.wanted_endpoint.get();
    let told = &*relay.facts.connection;
    let connected = tokio::select! {
        biased;
        connected = upstream.connect_raw(wanted, Some(told)) => connected,
        () = relay.closed() => return Over::Closed,
    };
    let facts = &relay.facts;
    facts.attempts.set(1);
    match connected {
        Ok(Raw {
            stream,
            address,
            name,
            wire,
            open: _open,
        }) => {
            facts.upstream.set(Some(address));
            facts.set_wire(&wire);
            relay.note(|notes| notes.connected(address, name.as_deref(), Some(&wire.line)));
            relay.touch();
            carry(relay, client, stream).await
        }
        Err(error) => {
            tracing::debug!(cluster = %upstream.cluster.name, "{error}");
            facts.not_connected(&error);
            if let Some(address) = error.address() {
                let name = || upstream.name_of(address);
                relay.note(|notes| notes.connected(address, name().as_deref(), None));
            }
            Over::NotConnected(error)
        }
    }
}

/// Bytes both ways.
async fn carry<S>(relay: &Relay, client: &mut S, upstream: Box<dyn Io>) -> Over
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let up = async {
        let ended = if relay.filters.is_none() {
            copy(from_client, to_upstream, |bytes| {
                relay.count(Way::Request, bytes);
            })
            .await
            .map_err(Into::into)
        } else {
            pump(relay, Way::Request, from_client, to_upstream).await
        };
        match ended {
            Ok(()) => relay.closed_by(Peer::Remote),
            Err(Stopped::Read(kind)) => return Err(Over::ClientGone(Some(kind))),
            // What it has sent before may still be on its way here.
            Err(Stopped::Write) => relay.flag(Flags::UPSTREAM_CONNECTION_TERMINATION),
            // What may still leave for the client leaves first.
            Err(Stopped::Closed) => {}
        }
        Ok(())
    };
    let down = async {
        let ended = if relay.filters.is_none() {
            copy(from_upstream, to_client, |bytes| {
                relay.count(Way::Response, bytes);
            })
            .await
            .map_err(Into::into)
        } else {
            pump(relay, Way::Response, from_upstream, to_client).await
        };
        match ended {
            Ok(()) => relay.closed_by(Peer::Local),
            Err(Stopped::Read(kind)) => return Err(Over::UpstreamGone(kind)),
            Err(Stopped::Write) => return Err(Over::ClientGone(None)),
            Err(Stopped::Closed) => return Err(Over::Closed),
        }
        Ok(())
    };
    match tokio::try_join!(up, down) {
        Ok(((), ())) if relay.is_closing() => Over::Closed,
        Ok(((), ())) => Over::Ended,
        Err(over) => over,
    }
}

/// Why one way stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// Who sends is gone.
    Read(ErrorKind),
    /// Who receives is gone.
    Write,
    /// A filter closes the connection.
    Closed,
}

/// Ends a connection that was closed here without hurting what was sent last: a socket
/// that is closed while bytes of the client wait in it is reset, and takes with it what
/// the client has not read yet.
async fn linger<S>(mut client: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const LONGEST: Duration = Duration::from_secs(1);
    const MOST: usize = 1 << 20;

    let reading = async {
        if client.shutdown().await.is_err() {
            return;
        }
        let mut buffer = vec![0; 4 << 10];
        let mut left = MOST;
        while let Ok(read @ 1..) = client.read(&mut buffer).await {
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(LONGEST, reading).await;
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Read(kind) => Self::Read(kind),
            Failed::Write => Self::Write,
        }
    }
}
