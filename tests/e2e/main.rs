//! Mayfly end to end: the binary on a real port, against software that others wrote.
//!
//! Who asks for certificates, who vouches for people and who judges the result are not ours; what
//! they are and how they start is in tests/support and tests/peers. tests/run installs them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy counts only functions marked as tests as tests; all of this is one"
)]

#[path = "../support/mod.rs"]
mod support;

mod ambient;
mod aws;
mod ceremony;
mod certificates;
mod ci;
mod crash;
mod hsm;
mod identities;
mod javascript;
mod lenient_provider;
mod login;
mod lying_tokens;
mod metrics;
mod python;
mod refusals;
mod rotation;
mod shards;
mod wrapped;
