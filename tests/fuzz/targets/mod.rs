//! What Mayfly reads of others, one function for each parser.
//!
//! In: any bytes. Out: nothing, or a panic where a parser panics or breaks a promise: what it
//! takes is what was written, says what it means once, and is bounded; what it refuses, it refuses
//! in words that give nothing away. `tests/fuzz_corpus.rs` runs all of them in every run of the
//! tests, `tests/fuzz/run` one of them under libFuzzer.

mod api;
mod ca;
mod config;
mod log;
mod oidc;
mod world;
mod x509;

/// A target: its name, which is that of its folder in `tests/fuzz/corpus`, and what it runs. That
/// says whether the parser took the input.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All there are.
pub const TARGETS: &[Target] = &[
    ("token", oidc::token),
    ("claims", oidc::claims),
    ("key_set", oidc::key_set),
    ("discovery", oidc::discovery),
    ("pem", x509::pem),
    ("spki", x509::spki),
    ("csr", x509::csr),
    ("certificate", x509::certificate),
    ("leaf", x509::leaf),
    ("issuer_file", config::issuer_file),
    ("server_file", config::server_file),
    ("template", config::template),
    ("key_file", config::key_file),
    ("names", config::names),
    ("body_v2", api::body_v2),
    ("body_v1", api::body_v1),
    ("body_grpc", api::body_grpc),
    ("possession", ca::possession),
    ("tile", log::tile),
    ("hash_tiles", log::hash_tiles),
    ("note", log::note),
    ("sct", log::sct),
    ("audit", log::audit),
];

/// Runs the target of this name. Whether its parser took the input.
///
/// # Panics
/// There is none, or the input shows a mistake in Mayfly.
pub fn run(name: &str, input: &[u8]) -> bool {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no target '{name}'"));
    target(input)
}
