//! The host crate in process, with virtual time: nothing waits, nothing is scheduled by
//! chance, so a failure here is the host's own. A column for each engine; what native code
//! does is also compared with what the interpreter does.
//!
//! [`world`] embeds the host as the proxy does: VMs, roots, timers, callouts. [`exchange`] is
//! one request with a scripted client and a scripted upstream, [`tcp`] one connection.
//! [`peer`] and [`grpc`] answer callouts.

mod exchange;
mod facts;
mod grpc;
mod host;
mod peer;
mod tcp;
mod world;

use std::time::Duration;

use cofferdam_abi::Compat;

use self::world::World;
use super::Driver;
use crate::engines::Engine;
use crate::suite::case::{Case, Profile};
use crate::suite::outcome::{Outcome, Record};
use crate::{Error, Result};

/// After the last step nothing is waited for longer than this.
const AFTERMATH: Duration = Duration::from_millis(1);

/// The column of one engine.
#[derive(Debug)]
pub struct Abi(pub Engine);

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
        let host = host::SuiteHost::new();
        match World::load(case, self.0, compat, host.clone()) {
            Err(refused) => outcome.refused = Some(refused),
            Ok(mut world) => {
                for step in &case.steps {
                    if let Some(wait) = step.wait {
                        world.wait(wait.0);
                    } else if step.shutdown {
                        world.shut_down();
                    } else if !step.connection.is_empty() {
                        outcome.steps.push(world.connection(&step.connection));
                    } else {
                        let seen = world.together(step).map_err(Error::Failed)?;
                        outcome.steps.extend(seen);
                    }
                }
                world.wait(AFTERMATH);
                outcome.peer = world.take_peer();
                outcome.metrics = host.metrics();
            }
        }
        let name = |record: &Record| {
            if record.filter.is_empty() {
                case.filters()[0].name.clone()
            } else {
                record.filter.clone()
            }
        };
        outcome.logs = host
            .take_records()
            .into_iter()
            .map(|record| Record {
                filter: name(&record),
                ..record
            })
            .collect();
        Ok(outcome)
    }
}
