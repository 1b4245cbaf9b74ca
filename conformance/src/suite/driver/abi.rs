//! The host crate in process, with virtual time: nothing waits, nothing is scheduled by
//! chance, so a failure here is the host's own. A column for each engine; what native code
//! does is also compared with what the interpreter does.
//!
//! The world around it is the host crate's own ([`cofferdam_abi::harness`]). [`exchange`] is
//! one request of a case in it, [`tcp`] one connection, [`plugin`] one filter; [`peers`] are
//! the clusters that answer callouts.

mod exchange;
mod grpc;
mod peer;
mod peers;
mod plugin;
mod tcp;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::Compat;
use cofferdam_abi::harness::{self, Act, Engine, TestHost, World};
use cofferdam_abi::property::Node;

use self::peers::Clusters;
use super::Driver;
use crate::suite::case::{Case, Filter, Profile};
use crate::suite::outcome::{Message, Outcome, Record, Seen};
use crate::suite::step::Step;
use crate::{Error, Result};

/// The clusters every driver provides.
const CLUSTERS: [&str; 5] = ["upstream", "peer", "refused", "grpc", "redis"];

/// After the last step nothing is waited for longer than this.
const AFTERMATH: Duration = Duration::from_millis(1);

/// The column of one engine.
#[derive(Debug)]
pub struct Abi(pub Engine);

/// What the cluster `peer` has been asked, callouts and requests.
type Asked = Rc<RefCell<Vec<Message>>>;

/// A case as it runs.
struct Stage {
    world: World,
    engine: Engine,
    compat: Compat,
    /// In the order of the case.
    filters: Vec<Filter>,
    asked: Asked,
}

impl Driver for Abi {
    fn column(&self) -> &'static str {
        match self.0 {
            Engine::Interpreter => "abi/wasmi",
            Engine::Native => "abi/aot",
        }
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn twin(&mut self, case: &Case, profile: Profile) -> Result<Option<Outcome>> {
        match self.0 {
            Engine::Interpreter => Ok(None),
            Engine::Native => Self(Engine::Interpreter).run(case, profile).map(Some),
        }
    }

    fn run(&mut self, case: &Case, profile: Profile) -> Result<Outcome> {
        let compat = Compat::preset(profile.name())
            .ok_or_else(|| Error::Failed(format!("there is no preset {profile}")))?;
        let mut outcome = Outcome::default();
        let node = Node {
            id: "node-id".to_owned(),
            cluster: "node-cluster".to_owned(),
            ..Node::default()
        };
        let host = TestHost::new(&CLUSTERS, Some(node));
        match Stage::set(case, self.0, compat, host.clone()) {
            Err(refused) => outcome.refused = Some(refused),
            Ok(mut stage) => {
                for step in &case.steps {
                    if let Some(wait) = step.wait {
                        stage.world.wait(wait.0);
                    } else if step.shutdown {
                        stage.world.shut_down();
                    } else if !step.connection.is_empty() {
                        let seen = tcp::run(&mut stage.world, &host, &step.connection);
                        outcome.steps.push(seen);
                    } else {
                        let seen = stage.together(step).map_err(Error::Failed)?;
                        outcome.steps.extend(seen);
                    }
                }
                stage.world.wait(AFTERMATH);
                outcome.peer = stage.asked.take();
                outcome.metrics = metrics(&host);
            }
        }
        let of_vm = &case.filters()[0].name;
        let records = host.take_records();
        outcome.logs = records.into_iter().map(|it| record(it, of_vm)).collect();
        Ok(outcome)
    }
}

// === impl Stage ===

impl Stage {
    /// Loads and starts all filters of a case.
    ///
    /// # Errors
    /// What the host says of a module that it will not have.
    fn set(
        case: &Case,
        engine: Engine,
        compat: Compat,
        host: Rc<TestHost>,
    ) -> std::result::Result<Self, String> {
        let asked = Asked::default();
        let clusters = Clusters {
            asked: asked.clone(),
        };
        let mut world = World::new(host, Box::new(clusters));
        for filter in case.filters() {
            let spec = plugin::spec(filter, engine, compat)?;
            world.load(spec).map_err(|error| error.to_string())?;
        }
        Ok(Self {
            world,
            engine,
            compat,
            filters: case.filters().to_vec(),
            asked,
        })
    }

    /// Runs what happens in a step side by side, until the last exchange is over.
    ///
    /// # Errors
    /// A module cannot be replaced.
    fn together(&mut self, step: &Step) -> std::result::Result<Vec<Seen>, String> {
        let mut acts = Vec::new();
        for member in step.members() {
            if let Some(reload) = &member.reload {
                let named = |filter: &Filter| filter.name == reload.filter;
                let index = self.filters.iter().position(named);
                let index = index.ok_or("there is no such filter")?;
                let filter = self.filters[index].with_guest(&reload.guest);
                let spec = plugin::spec(&filter, self.engine, self.compat)?;
                self.filters[index] = filter;
                acts.push(Act::Replace(index, spec));
            }
            if member.request.is_some() {
                let request = exchange::request(member, self.asked.clone());
                acts.push(Act::Request(Box::new(request)));
            }
        }
        let seen = self.world.together(acts);
        let seen = seen.map_err(|error| error.to_string())?.into_iter();
        Ok(seen.map(|it| Seen::Exchange(exchange::seen(it))).collect())
    }
}

/// A record as every driver has it; the VM's own are told as of the first filter.
fn record(of: harness::Record, of_vm: &str) -> Record {
    let filter = Some(of.plugin).filter(|name| !name.is_empty());
    Record {
        filter: filter.unwrap_or_else(|| of_vm.to_owned()),
        level: format!("{:?}", of.level).to_ascii_lowercase(),
        text: of.text,
    }
}

/// Counters and gauges: this host has no page, so by the names guests gave them.
fn metrics(host: &TestHost) -> Vec<(String, String)> {
    let named = host.metrics().into_iter().map(|(name, value)| {
        let name = String::from_utf8_lossy(&name).replace('.', "_");
        (name, value.to_string())
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}
