//! A worker goes over to another configuration.
//!
//! Made ready first, while requests go on: filters are started one by one, with other work in
//! between. Then, when every worker is ready, in one step that nothing comes between: whoever
//! comes after it is served by the new setup, whoever came before by the one of that time.

use std::rc::Rc;
use std::sync::Arc;

use crate::door::{Door, Entrance};
use crate::plugins::Fresh;
use crate::reload::Blueprint;
use crate::setup::Setup;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// What is ready to take over.
pub(super) struct Prepared {
    setup: Rc<Setup>,
    fresh: Fresh,
}

impl Worker {
    /// Makes another configuration ready.
    ///
    /// # Errors
    /// Why a filter of it cannot be started here.
    pub(crate) async fn prepare(self: &Rc<Self>, blueprint: &Arc<Blueprint>) -> Result<(), String> {
        let old = self.setup();
        let (slots, fresh) = self.plugins.prepare(self, blueprint).await?;
        let config = &blueprint.config;
        let clusters = config.clusters.iter().zip(&blueprint.clusters);
        let upstreams = clusters.zip(&blueprint.kept.clusters);
        let upstreams = upstreams.map(|((cluster, served), kept)| match kept {
            Some(kept) => old.upstreams[*kept].clone(),
            None => {
                let backends = Some(served.backends.clone());
                Rc::new(Upstream::new(cluster.clone(), backends))
            }
        });
        let sink = match &old.sink {
            Some(sink) if blueprint.kept.access_log => Some(sink.clone()),
            _ => blueprint.sink(&self.traffic),
        };
        let setup = {
            let words = (&*self.traffic, self.index);
            Setup::new(config.clone(), upstreams.collect(), slots, sink, words)
        };
        self.prepared.replace(Some(Prepared { setup, fresh }));
        Ok(())
    }

    /// It will not be.
    pub(crate) fn abandon(self: &Rc<Self>) {
        if let Some(Prepared { fresh, .. }) = self.prepared.take() {
            self.plugins.abandon(self, fresh);
        }
    }

    /// Goes over to what was made ready. What is waited for is only that addresses which are
    /// not listened on any more can be listened on again.
    pub(crate) async fn adopt(self: &Rc<Self>, blueprint: &Arc<Blueprint>) {
        for entrance in self.go_over(blueprint) {
            entrance.closed.wait().await;
        }
    }

    /// The entrances that close.
    fn go_over(self: &Rc<Self>, blueprint: &Arc<Blueprint>) -> Vec<Rc<Entrance>> {
        let Some(Prepared { setup, fresh }) = self.prepared.take() else {
            return Vec::new();
        };
        let old = self.setup.replace(setup.clone());
        old.precedes(&setup);
        self.plugins.adopt(self, &old, &setup, fresh);
        if !blueprint.kept.callouts {
            self.plugins.callouts.renew(&setup.config.callouts);
        }
        // All workers have one in common.
        if self.is_first()
            && let Some(tracer) = &self.tracer
        {
            tracer.follow(blueprint);
        }
        for upstream in &old.upstreams {
            if !setup
                .upstreams
                .iter()
                .any(|other| Rc::ptr_eq(other, upstream))
            {
                upstream.close_idle();
                self.plugins.callouts.leave(&upstream.cluster.name);
            }
        }
        let closing = self.move_doors(&old, &setup, blueprint);
        // Others must not wait for one that listens no more, so it takes what it does not use.
        let sockets = blueprint.take_sockets(self.index);
        if !self.drain.is_started() {
            sockets.into_iter().for_each(|socket| self.listen(socket));
        }
        closing
    }

    /// What stays open shows the new setup, what is gone closes.
    fn move_doors(
        self: &Rc<Self>,
        old: &Rc<Setup>,
        new: &Rc<Setup>,
        blueprint: &Blueprint,
    ) -> Vec<Rc<Entrance>> {
        let mut closing = Vec::new();
        let mut entrances = self.entrances.borrow_mut();
        entrances.retain(|entrance| {
            let door = entrance.door();
            let (shown, listener) = door.setup();
            let kept = &blueprint.kept;
            let now = kept
                .addresses
                .iter()
                .position(|kept| *kept == Some(listener));
            let Some(now) = now.filter(|_| Rc::ptr_eq(&shown, old)) else {
                self.close(entrance);
                closing.push(entrance.clone());
                return false;
            };
            if kept.doors[now] {
                door.show(new, now);
            } else {
                let door = Door::new(new.clone(), now);
                self.watch(&door);
                let before = entrance.hang(door);
                before.closing.happen();
            }
            true
        });
        closing
    }

    /// Nothing listens there any more: its connections may finish what they have begun, in the
    /// time that there is for that.
    fn close(self: &Rc<Self>, entrance: &Entrance) {
        entrance.closing.happen();
        let door = entrance.door();
        door.closing.happen();
        let (setup, _) = door.setup();
        let limit = setup.config.drain_time;
        // Without connections there is nothing to cut, and no setup to keep for that.
        let door = Rc::downgrade(&door);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(limit).await;
            if let Some(door) = door.upgrade() {
                door.cut.happen();
            }
        });
    }
}
