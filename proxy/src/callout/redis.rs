//! Redis: commands of filters on connections that they share (section 13 of `abi/ABI.md`).
//!
//! One connection for each cluster and way to log in, opened by the first command and
//! closed when it has been idle for as long as the cluster says. Commands are sent as they
//! come, without waiting for earlier ones; replies come in the same order, so a command
//! that would upset that order for the others is not sent. The hints of `redis_init` about
//! keeping commands back are not needed: what comes in one turn leaves in one write.

mod resp;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cofferdam_abi::RootId;
use cofferdam_abi::callout::{RedisCall, RedisClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::reports::{self, Matter};
use crate::upstream::{Raw, Upstream};
use crate::worker::Worker;

/// Most bytes of commands taken up before earlier ones have left.
const AHEAD: usize = 1 << 20;
/// Most commands of one connection without a reply, wanted still or not.
const UNANSWERED: usize = 10_000;
/// Most connections at a time: logins are the filters' to make up.
const CONNECTIONS: usize = 64;

/// What one worker's roots have set up, and the connections they share.
#[derive(Debug, Default)]
pub(super) struct Redis {
    /// By VM, root and cluster.
    clients: RefCell<HashMap<(usize, RootId, Bytes), Client>>,
    connections: RefCell<HashMap<Login, Connection>>,
}

#[derive(Debug, Clone)]
struct Client {
    login: Login,
    timeout: Option<Duration>,
}

/// What a connection is for: roots that log in alike share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Login {
    cluster: Bytes,
    user: Bytes,
    password: Bytes,
    database: u32,
}

/// The end of a connection at which commands go in.
#[derive(Debug)]
struct Connection {
    commands: mpsc::UnboundedSender<Command>,
    load: Rc<Load>,
    task: AbortHandle,
}

/// What a connection has been given and has not dealt with. Callers that time out leave
/// theirs behind, so their own bounds are none here.
#[derive(Debug, Default)]
struct Load {
    /// Bytes that have not been taken up.
    bytes: Cell<usize>,
    /// Commands without a reply.
    commands: Cell<usize>,
}

/// A command on its way; its reply may not be wanted any more when it comes.
struct Command {
    query: Bytes,
    reply: oneshot::Sender<Bytes>,
}

// === impl Redis ===

impl Redis {
    /// How a root speaks to a cluster from now on.
    pub(super) fn init(&self, vm: usize, root: RootId, client: RedisClient) {
        let key = (vm, root, client.cluster.clone());
        let login = Login {
            cluster: client.cluster,
            user: client.user,
            password: client.password,
            database: client.database,
        };
        let timeout = client.timeout;
        let client = Client { login, timeout };
        self.clients.borrow_mut().insert(key, client);
    }

    /// Forgets what a root has set up.
    pub(super) fn forget_root(&self, vm: usize, root: RootId) {
        let is_it = |key: &(usize, RootId, Bytes)| (key.0, key.1) == (vm, root);
        self.clients.borrow_mut().retain(|key, _| !is_it(key));
    }

    /// Forgets what the roots of a VM have set up.
    pub(super) fn forget(&self, vm: usize) {
        self.clients.borrow_mut().retain(|key, _| key.0 != vm);
    }

    /// The reply to a command; `None` when there is none.
    pub(super) async fn call(
        &self,
        worker: &Rc<Worker>,
        vm: usize,
        root: RootId,
        call: RedisCall,
    ) -> Option<Bytes> {
        let key = (vm, root, call.cluster);
        let client = self.clients.borrow().get(&key)?.clone();
        if let Err(why) = resp::check(&call.query) {
            reports::often(Matter::Redis, |left_out| {
                tracing::warn!(left_out, "a filter's Redis command is not sent: {why}");
            });
            return None;
        }
        let (reply, answer) = oneshot::channel();
        let command = Command {
            query: call.query,
            reply,
        };
        self.send(worker, &client.login, command)?;
        match client.timeout {
            None => answer.await.ok(),
            Some(limit) => tokio::time::timeout(limit, answer).await.ok()?.ok(),
        }
    }

    /// Connections to that cluster take no more commands; those they have are answered.
    pub(super) fn forget_cluster(&self, cluster: &str) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|login, _| *login.cluster != *cluster.as_bytes());
    }

    /// Sends it on the connection for that login, begun if there is none. One whose server
    /// does not keep up is given up: what waits for it would grow without end.
    fn send(&self, worker: &Rc<Worker>, login: &Login, command: Command) -> Option<()> {
        let most = worker.plugins.callouts.settings().message.saturating_mul(2);
        let mut connections = self.connections.borrow_mut();
        connections.retain(|_, connection| !connection.commands.is_closed());
        if let Some(connection) = connections.get(login) {
            if connection.load.add(command.query.len(), most) {
                return connection.commands.send(command).ok();
            }
            reports::often(Matter::Redis, |left_out| {
                tracing::warn!(
                    cluster = %reports::short(&login.cluster),
                    left_out,
                    "Redis does not keep up with filters: its connection is given up"
                );
            });
            connection.task.abort();
            connections.remove(login);
            return None;
        }
        if connections.len() >= CONNECTIONS {
            reports::often(Matter::Redis, |left_out| {
                tracing::warn!(
                    left_out,
                    "filters log in to Redis in more ways than {CONNECTIONS} at a time"
                );
            });
            return None;
        }
        let connection = Connection::begin(worker, login)?;
        connection.load.add(command.query.len(), usize::MAX);
        connection.commands.send(command).ok()?;
        connections.insert(login.clone(), connection);
        Some(())
    }
}

// === impl Connection ===

impl Connection {
    fn begin(worker: &Rc<Worker>, login: &Login) -> Option<Self> {
        let upstream = worker.setup().upstream_named(&login.cluster)?.clone();
        let (commands, receiver) = mpsc::unbounded_channel();
        let limit = worker.plugins.callouts.settings().body;
        let (login, load) = (login.clone(), Rc::new(Load::default()));
        let taken = load.clone();
        let task = tokio::task::spawn_local(async move {
            let cluster = upstream.cluster.name.clone();
            if let Err(why) = drive(&upstream, &login, limit, receiver, &taken).await {
                tracing::debug!(%cluster, "a connection of filters to Redis has ended: {why}");
            }
        });
        Some(Self {
            commands,
            load,
            task: task.abort_handle(),
        })
    }
}

// === impl Load ===

impl Load {
    /// Counts one more command, if there is room for it.
    fn add(&self, bytes: usize, most: usize) -> bool {
        let waiting = self.bytes.get().saturating_add(bytes);
        // The first has room whatever its size.
        let room = self.bytes.get() == 0 || waiting <= most;
        if !room || self.commands.get() >= UNANSWERED {
            return false;
        }
        self.bytes.set(waiting);
        self.commands.set(self.commands.get() + 1);
        true
    }

    /// It will be written now.
    fn taken(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }

    /// Its reply has come.
    fn answered(&self) {
        self.commands.set(self.commands.get().saturating_sub(1));
    }
}

/// One connection from its first command to its end. Commands that wait then have no reply.
async fn drive(
    upstream: &Upstream,
    login: &Login,
    limit: usize,
    mut commands: mpsc::UnboundedReceiver<Command>,
    load: &Load,
) -> Result<(), String> {
    let connected = upstream.connect_raw(None, None).await;
    let Raw {
        stream,
        open: _open,
        ..
    } = connected.map_err(|error| error.to_string())?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut outbox = BytesMut::new();
    // Replies to the greeting come first, and are ours.
    let mut greetings = resp::greeting(&mut outbox, login.database, &login.user, &login.password);
    let (mut inbox, mut next) = (BytesMut::new(), resp::Reply::default());
    let mut waiting: VecDeque<oneshot::Sender<Bytes>> = VecDeque::new();
    // Its cluster is gone, or has become another.
    let mut last = false;
    loop {
        let idle = greetings == 0 && waiting.is_empty() && outbox.is_empty();
        tokio::select! {
            // A command that comes as the time is up must not be lost.
            biased;
            command = commands.recv(), if !last && outbox.len() < AHEAD => {
                let Some(command) = command else {
                    last = true;
                    continue;
                };
                load.taken(command.query.len());
                outbox.extend_from_slice(&command.query);
                waiting.push_back(command.reply);
                // What else has come meanwhile leaves with it.
                while outbox.len() < AHEAD && let Ok(command) = commands.try_recv() {
                    load.taken(command.query.len());
                    outbox.extend_from_slice(&command.query);
                    waiting.push_back(command.reply);
                }
            }
            written = writer.write_buf(&mut outbox), if !outbox.is_empty() => {
                written.map_err(|error| error.to_string())?;
            }
            read = reader.read_buf(&mut inbox) => {
                if read.map_err(|error| error.to_string())? == 0 {
                    return Err("the server has closed it".to_owned());
                }
                while let Some(length) = next.length(&inbox)? {
                    let reply = inbox.split_to(length).freeze();
                    if greetings > 0 {
                        greetings -= 1;
                        if reply.first() == Some(&b'-') {
                            reports::often(Matter::Redis, |left_out| {
                                tracing::warn!(
                                    cluster = %upstream.cluster.name,
                                    left_out,
                                    "Redis does not let filters in: {}",
                                    reports::short(&reply)
                                );
                            });
                            return Err("it was refused".to_owned());
                        }
                    } else {
                        let asked = waiting.pop_front().ok_or("a reply that nobody asked for")?;
                        load.answered();
                        // Nobody may be waiting any more.
                        let _ = asked.send(reply);
                    }
                }
                if inbox.len() > limit {
                    return Err("a reply is longer than `callouts.body`".to_owned());
                }
            }
            () = unwanted(&mut waiting), if last => return Ok(()),
            () = tokio::time::sleep(upstream.cluster.idle_timeout), if idle => return Ok(()),
        }
    }
}

/// Until nobody waits for any of these replies, or any more: a server that gives none must not
/// keep a connection for ever that nobody can find.
async fn unwanted(waiting: &mut VecDeque<oneshot::Sender<Bytes>>) {
    for reply in waiting {
        reply.closed().await;
    }
}
