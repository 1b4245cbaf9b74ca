//! A whole proxy's worth of surroundings in one thread and without a socket: filters, a
//! client that says what it is told to, an upstream and clusters that answer what they are
//! told to, and time that stands still until somebody moves it.
//!
//! The filters run in the very state machine that a proxy embeds ([`Chain`](crate::Chain),
//! [`Vm`](crate::Vm)); only what a proxy has sockets and clocks for is played here. For those
//! who test filters, or measure them: nothing waits, nothing is scheduled by chance, so what
//! happens twice happens alike.
//!
//! | part | what it is |
//! |---|---|
//! | [`World`] | VMs that plugins share, roots, timers, callouts, and what becomes of a filter that crashed or is replaced |
//! | [`Request`] | one exchange: what the client sends, and when |
//! | [`Upstream`] | who answers it |
//! | [`Metered`] | a clock around an engine: what each call takes |
//! | [`Connected`] | what became of a TCP connection ([`World::connection`]) |
//! | [`Peers`] | who answers callouts |
//! | [`TestHost`] | what filters write: records, metrics, remarks of the host |

pub(crate) mod border;
#[cfg(feature = "wasmi")]
mod engine;
mod exchange;
mod facts;
mod host;
mod message;
mod meter;
mod tcp;
mod world;

pub use border::Border;
#[cfg(feature = "wasmi")]
pub use engine::{Engine, FUEL_PER_MS};
pub use exchange::{Piece, Reply, Request, Script, Seen, Upstream};
pub use facts::{Facts, Properties};
pub use host::{QueueNews, Record, TestHost, cpu_time};
pub use message::Message;
pub use meter::{Call, Metered, Taken};
pub use tcp::Connected;
pub use world::{Act, Events, GrpcStream, OnFailure, Peers, Role, Spec, World};
