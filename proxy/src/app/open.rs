//! What a process opens before anything of it runs: a port that is taken, or a file that cannot be
//! written, must keep the whole proxy from starting.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Lack, Unavailable};
use crate::access_log::LogFile;
use crate::admin::Admin;
use crate::config::{Config, Tracing};
use crate::handover::{self, Inheritance, Key, Own};
use crate::listener::{self, Socket};
use crate::reload::Served;
use crate::trace::export::{Collector, Outbox, Sending};

/// It is all there.
pub(super) struct Opened {
    /// Of each worker.
    pub(super) sockets: Vec<Vec<Socket>>,
    /// Of each listener, as it really is.
    pub(super) addresses: Vec<String>,
    /// Where the operator may look.
    pub(super) admin: Option<(SocketAddr, Admin)>,
    /// What another process may ask for, where one may.
    pub(super) own: Option<Own>,
    /// What has come from another process; what there was no use for is that one's alone.
    pub(super) inherited: BTreeSet<Key>,
    pub(super) log: Option<Arc<LogFile>>,
}

/// Where spans go, and who sends them.
type Export = (Option<(Arc<Tracing>, Outbox)>, Option<Sending>);

/// Opens everything, or takes it from another process.
pub(super) fn all(config: &Config, mut inherited: Inheritance) -> Result<Opened, Unavailable> {
    let upgrade = config.upgrade.as_ref();
    let place = upgrade
        .map(|upgrade| handover::listen(&upgrade.socket, &mut inherited))
        .transpose()
        .map_err(|why| Unavailable::from(format!("upgrade: {why}")))?;
    let sockets = listener::bind(config, |_| true, Vec::new(), &mut inherited)
        .map_err(|errors| Unavailable(errors.into_iter().map(Lack::Here).collect()))?;
    let first = sockets.first().map_or(&[][..], |sockets| &sockets[..]);
    let addresses = listener::addresses(config, first);
    let admin = match &config.admin {
        Some(config) => {
            let admin = Admin::bind(config, &mut inherited)
                .and_then(|admin| Ok((admin.address()?, admin)))
                .map_err(|error| {
                    Unavailable::from(format!("admin: {}: {error}", config.address))
                })?;
            Some(admin)
        }
        None => None,
    };
    let own = match place {
        Some(place) => {
            let admin = admin.as_ref().map(|(_, admin)| admin.offered());
            let admin = admin
                .transpose()
                .map_err(|error| Unavailable::from(format!("upgrade: {error}")))?;
            Some(Own { admin, place })
        }
        None => None,
    };
    let file = config.access_log.as_ref().and_then(|log| log.file.as_ref());
    let log = match file {
        Some(path) => {
            let why = |error| Unavailable::from(format!("access_log: {}: {error}", path.display()));
            Some(LogFile::open(path).map_err(why)?)
        }
        None => None,
    };
    Ok(Opened {
        sockets,
        addresses,
        admin,
        own,
        inherited: inherited.taken(),
        log,
    })
}

/// Starts what sends spans, where there is a collector.
pub(super) fn export(config: &Config, clusters: &[Arc<Served>]) -> Result<Export, Unavailable> {
    let Some(tracing) = &config.tracing else {
        return Ok((None, None));
    };
    let mut named = config.clusters.iter().zip(clusters);
    let Some((cluster, served)) = named.find(|(cluster, _)| cluster.name == tracing.cluster) else {
        return Ok((None, None));
    };
    let collector = Collector {
        cluster: cluster.clone(),
        backends: served.backends.clone(),
    };
    let (outbox, sending) = Outbox::open(tracing.clone(), collector)
        .map_err(|error| Unavailable::from(format!("tracing: {error}")))?;
    Ok((Some((tracing.clone(), outbox)), Some(sending)))
}
