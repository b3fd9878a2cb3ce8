//! The whole server, in this process, over its real port: what it answers, what it refuses, what
//! it leaves behind. Issuer keys are static here (`jwks` in the issuer file), so that every token
//! can be made wrong on purpose; real providers and clients are in `tests/e2e`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails the test")]

mod certificate;
mod faults;
mod ports;
mod refusals;
mod reload;
mod routes;
mod secrecy;
mod token;
mod world;
