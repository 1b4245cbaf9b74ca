//! Connections to upstreams that are told of one client.
//!
//! What a header of the PROXY protocol says holds for a whole connection. So such a connection
//! carries the requests of one client's connection and no other's: it is kept beside that, and
//! ends with it. Nobody has to find it by addresses, and there are at most as many pools as a
//! client has reached endpoints.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::pool::Pool;
use crate::config::ProxyVersion;
use crate::connection::Connection;
use crate::proxy_protocol::header;

/// A client's own connections: of each endpoint, the pool that all share and the client's.
#[derive(Default)]
pub(crate) struct Own(RefCell<Vec<(Rc<Pool>, Rc<Pool>)>>);

// === impl Own ===

impl Own {
    /// The connections of `client`, whose own these are, to the endpoint of `shared`.
    pub(super) fn pool(
        &self,
        client: &Connection,
        version: ProxyVersion,
        shared: Rc<Pool>,
    ) -> Rc<Pool> {
        let mut pools = self.0.borrow_mut();
        // Endpoints, and whole clusters, go.
        pools.retain(|(shared, _)| !shared.is_closed());
        if let Some((_, own)) = pools.iter().find(|(known, _)| Rc::ptr_eq(known, &shared)) {
            return own.clone();
        }
        let own = shared.for_client(header(version, client.peer, client.local));
        pools.push((shared, own.clone()));
        own
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for (_, own) in self.0.get_mut() {
            own.close();
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Own").field(&self.0.borrow().len()).finish()
    }
}
