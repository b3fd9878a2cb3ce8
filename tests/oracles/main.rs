//! Foreign implementations and the specifications' own examples, against `tlog` and `ct`.
//!
//! The oracles share no code with us: `ct-merkle` and `tlog_tiles` (both over RustCrypto's SHA-256),
//! `x509-parser`'s SCT parser, `ed25519-dalek`, and RFC 6962's recursive definitions, written out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod notes;
mod rfc6962;
mod scts;
mod tiles;
mod trees;
