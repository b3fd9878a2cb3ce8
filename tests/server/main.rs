//! The whole server, in this process, over its real port: what it answers, what it refuses, what
//! it leaves behind. Issuer keys are static here (`jwks` in the issuer file), so that every token
//! can be made wrong on purpose; real providers and clients are in `tests/e2e`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says what it saw"
)]

mod attacks;
mod certificate;
mod chains;
mod client_algorithms;
mod connections;
mod every_route;
mod faults;
mod followed;
mod golden;
mod grpc;
mod hostile;
#[expect(dead_code, reason = "the tests beside src/keys use the rest")]
#[path = "../support/key_services/mod.rs"]
mod key_services;
mod keys_elsewhere;
mod legacy;
mod load;
mod metrics;
mod operations;
mod ports;
mod precertificates;
mod process;
mod refusals;
mod reload;
mod rotation;
mod routes;
mod secrecy;
mod shards;
mod tls;
mod token;
mod unlogged;
mod world;
