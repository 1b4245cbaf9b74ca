//! The proxy-wasm host, sans-IO and engine-neutral.
//!
//! Hostcalls never block: a guest *asks* and is *called back*. So a host is a state
//! machine. An embedder pushes what arrives into a [`Chain`] of filters, pops what may
//! leave, and does the input and output itself; this crate has no sockets, no clock, no
//! paths and no runtime.
//!
//! What it speaks is described in `abi/ABI.md`: `(section 6.3)` in a comment of this crate, with no
//! other document named, is a section of that.
//!
//! ```
//! use std::rc::Rc;
//! use cofferdam_abi::engine::wasmi::Wasmi;
//! use cofferdam_abi::{Compat, Module, Plugin, Vm, VmSettings, testing};
//!
//! let wasm = wat::parse_str(r#"(module
//!     (memory (export "memory") 1)
//!     (func (export "proxy_abi_version_0_2_1"))
//!     (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
//!     (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0))"#)?;
//! let module = Module::parse(wasm.into())?;
//! assert!(module.problems(&Compat::SUPERSET).is_empty());
//! let code = Wasmi::new(512 << 10).compile(&module, &Compat::SUPERSET)?;
//! let host = Rc::new(testing::RecordingHost::default());
//! let mut vm = Vm::start(&*code, module.version, Rc::new(VmSettings::default()), host)?;
//! vm.create_root(Rc::new(Plugin::default()))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | type | life | what it is |
//! |---|---|---|
//! | [`Module`] | until unloaded | bytes and what can be read off them |
//! | [`engine::Code`] | module × engine | compiled, shared by workers |
//! | [`Vm`] | worker × VM settings × code | an instance and its contexts |
//! | [`Plugin`] | configuration | what becomes a root context |
//! | [`Shared`] | process | data, queues and metrics of all VMs |
//! | [`Exchange`] | stream | maps and properties all filters of a chain share |
//! | [`Chain`] | stream | the filters in order, and what they hold back |
//! | [`TcpChain`] | connection | the same where there is no HTTP |

pub mod callbacks;
pub mod callout;
pub mod capabilities;
pub mod chain;
pub mod codec;
pub mod compat;
pub mod engine;
pub mod error;
pub mod exchange;
pub mod filter_state;
pub mod guest;
#[cfg(any(test, feature = "harness"))]
pub mod harness;
pub mod headers;
pub mod host;
mod hostcalls;
pub mod limits;
mod log;
pub mod module;
mod output;
pub mod plugin;
pub mod property;
pub mod reply;
pub mod shared;
mod state;
mod stream;
pub mod tcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tier;
pub mod types;
pub mod usage;
pub mod version;
mod vm;
mod window;

pub use callbacks::Callback;
pub use callout::{Callout, GrpcEvent, HttpOutcome, Target, Token};
pub use capabilities::Capabilities;
pub use chain::{Chain, Failure, FailureReason, FilterHandle, Observer};
pub use compat::Compat;
pub use error::{LoadError, Trap, TrapKind};
pub use exchange::{Exchange, LocalReply, SharedExchange};
pub use filter_state::FilterState;
pub use headers::Headers;
pub use host::{Host, Origin};
#[cfg(feature = "foreign")]
pub use hostcalls::foreign::LoneExpression as Expression;
pub use limits::{Limit, Limits};
pub use module::Module;
pub use plugin::{Plugin, VmSettings};
pub use property::{Attributes, Message, Value};
pub use shared::Shared;
pub use state::{HostState, RootEffect};
pub use stream::Part;
pub use tcp::TcpChain;
pub use types::{LogLevel, Peer, Way};
pub use version::AbiVersion;
pub use vm::{Condition, RootId, StreamId, Vm, Watch};
