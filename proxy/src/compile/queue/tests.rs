//! In a test `/proc/self/exe` is the test itself, which refuses a child's command line: so
//! each child here is one that ends with a complaint. What good ones do is tested on the
//! real binary.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cofferdam_abi::{Limits, Module};

use super::super::idle_ticks;
use super::*;
use crate::config;
use crate::modules::{Native, NativeConfig};

fn queue() -> Queue {
    let artifacts = config::Artifacts {
        directory: Some("/nowhere".into()),
        ..config::Artifacts::default()
    };
    Queue::new(Arc::new(Artifacts::new(&artifacts)), Compiler::default())
}

/// Submits a module; each name makes another one.
fn submit(
    queue: &Queue,
    name: &'static str,
) -> Receiver<(&'static str, Result<Artifact, Failure>)> {
    let wat =
        format!(r#"(module (func (export "proxy_abi_version_0_2_1")) (func (export "{name}")))"#);
    let wasm = wat::parse_str(wat).expect("a module");
    let config = NativeConfig {
        stack: Limits::default().stack,
        fuel: false,
        compact: false,
    };
    let (sender, receiver) = channel();
    queue.submit(Job {
        name: name.to_owned(),
        module: Arc::new(Module::parse(wasm.into()).expect("a module")),
        native: Native::new(config, &idle_ticks()).expect("an engine"),
        config,
        done: Box::new(move |result| sender.send((name, result)).expect("somebody asks")),
    });
    receiver
}

fn failure(receiver: &Receiver<(&'static str, Result<Artifact, Failure>)>) -> Failure {
    let told = receiver.recv_timeout(Duration::from_secs(10));
    told.expect("an answer").1.expect_err("it fails")
}

#[test]
fn what_has_failed_is_not_tried_again_before_something_is_loaded() {
    let queue = queue();
    let crashed = |failure| matches!(failure, Failure::Crashed(how) if how.contains("parent"));
    assert!(crashed(failure(&submit(&queue, "one"))));
    assert_eq!(failure(&submit(&queue, "one")), Failure::Again);
    assert!(crashed(failure(&submit(&queue, "another"))));
    queue.forget();
    assert!(crashed(failure(&submit(&queue, "one"))));
}

#[test]
fn everybody_who_waits_is_told_also_at_the_end() {
    let queue = queue();
    let waiting: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .map(|name| submit(&queue, name))
        .collect();
    queue.close();
    for receiver in waiting {
        assert!(matches!(
            failure(&receiver),
            Failure::Ending | Failure::Crashed(_)
        ));
    }
    assert_eq!(failure(&submit(&queue, "e")), Failure::Ending);
}
