//! The threads of the workers. All of them are there, with what they run on, before anything is
//! served: connections that wait in the sockets of a worker that could not be started would
//! wait for ever.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use pingora_core::server::ShutdownWatch;
use tokio::runtime::Runtime;

use crate::listener::Socket;
use crate::stack;
use crate::worker::{self, Shared};

/// What needs a thread from here on and panics where it has none: Pingora's two runtimes, and
/// what its service waits for, twice.
const OTHERS: usize = 4;

/// Threads that wait for what they are to serve by.
pub(super) struct Crew(Vec<(JoinHandle<()>, Sender<Job>)>);

type Job = (Arc<Shared>, ShutdownWatch);

/// A thread that does nothing but to be there: when it goes there is room for another.
#[derive(Debug)]
pub(super) struct Place {
    thread: JoinHandle<()>,
    stay: Sender<()>,
}

// === impl Crew ===

impl Crew {
    /// One for each list of sockets. There is room for the other threads of a start as well when
    /// this returns, and the place of the one that ends the process.
    ///
    /// # Errors
    /// What there is too little of, and what to do about it.
    pub(super) fn muster(sockets: Vec<Vec<Socket>>) -> Result<(Self, Place), String> {
        let workers = sockets.len();
        let mut crew = Vec::with_capacity(workers);
        for (index, sockets) in sockets.into_iter().enumerate() {
            crew.push(enlist(index, sockets).map_err(|error| {
                format!(
                    "worker {index} of {workers} cannot be started: {error}; set fewer `workers`, or allow the process more threads, memory or open files"
                )
            })?);
        }
        let last = Place::take();
        let others: io::Result<Vec<Place>> = (0..OTHERS).map(|_| Place::take()).collect();
        match last.and_then(|last| Ok((last, others?))) {
            Ok((last, others)) => {
                others.into_iter().for_each(Place::leave);
                Ok((Self(crew), last))
            }
            Err(error) => Err(format!(
                "beside {workers} workers there are no threads for the rest: {error}; set fewer `workers`, or allow the process more threads or memory"
            )),
        }
    }

    /// How many they are.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Has all of them serve, until `shutdown` turns true.
    pub(super) fn serve(
        self,
        shared: &Arc<Shared>,
        shutdown: &ShutdownWatch,
    ) -> Vec<JoinHandle<()>> {
        let serve = |(thread, begin): (JoinHandle<()>, Sender<Job>)| {
            // It waits for nothing else, unless it has panicked: whoever joins it says so.
            let _ = begin.send((shared.clone(), shutdown.clone()));
            thread
        };
        self.0.into_iter().map(serve).collect()
    }
}

fn enlist(index: usize, sockets: Vec<Socket>) -> io::Result<(JoinHandle<()>, Sender<Job>)> {
    let (begin, job) = channel();
    let (tell, told) = channel();
    let thread = Builder::new()
        .name(format!("worker-{index}"))
        .stack_size(stack::SIZE)
        .spawn(move || work(index, sockets, &tell, &job))?;
    match told.recv() {
        Ok(started) => started.map(|()| (thread, begin)),
        Err(_) => Err(io::Error::other("its thread panicked")),
    }
}

fn work(index: usize, sockets: Vec<Socket>, tell: &Sender<io::Result<()>>, job: &Receiver<Job>) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Who asked waits for it.
            let _ = tell.send(Err(error));
            return;
        }
    };
    let _ = tell.send(Ok(()));
    // Nothing comes where the start ends before.
    if let Ok((shared, shutdown)) = job.recv() {
        worker::run(&runtime, &shared, index, sockets, shutdown);
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

// === impl Place ===

impl Place {
    fn take() -> io::Result<Self> {
        let (stay, until) = channel();
        let thread = Builder::new().name("place".to_owned()).spawn(move || {
            // Until whoever has it lets go.
            let _ = until.recv();
        })?;
        Ok(Self { thread, stay })
    }

    /// For another thread, which nobody but the caller is to start.
    pub(super) fn leave(self) {
        drop(self.stay);
        // It cannot have panicked.
        let _ = self.thread.join();
    }
}
