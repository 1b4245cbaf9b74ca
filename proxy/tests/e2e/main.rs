//! The real binary over real sockets.

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod admin;
#[cfg(feature = "compiler")]
mod artifacts;
mod author;
mod balancing;
mod bodies;
mod breakers;
mod certificates;
mod command;
#[cfg(feature = "compiler")]
mod compile;
mod configuration;
mod descriptors;
mod dns;
mod drain;
mod durations;
mod endless;
mod failures;
mod floods;
mod grpc;
mod handover;
mod headers;
mod health;
mod http1;
mod http2;
mod idle;
mod metrics;
#[cfg(feature = "compiler")]
mod native;
mod nginx;
#[cfg(not(feature = "compiler"))]
mod no_compiler;
mod outliers;
mod patience;
mod peers;
#[cfg(feature = "compiler")]
mod process;
mod proxied;
mod reload;
mod retries;
mod retries_asked;
mod routing;
mod schema;
mod smuggling;
mod starting;
mod streams;
mod stuck;
mod tcp;
mod threads;
mod tls;
mod trailers;
mod unheard;
mod unix;
mod upgrades;
mod upstream_floods;
mod windows;
