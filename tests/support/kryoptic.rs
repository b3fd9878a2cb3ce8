//! Another HSM in software: kryoptic, which tests/run builds.
//!
//! It has nothing in common with SoftHSM: what one of them permits beyond the specification, the
//! other may refuse.

use std::{fs, ops::Deref};

use super::softhsm::token::Token;

/// A token with no keys yet.
#[derive(Debug)]
pub(crate) struct Kryoptic {
    token: Token,
}

impl Kryoptic {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("kryoptic.conf");
        let objects = directory.path().join("token.sql");
        let slot = format!(
            "[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n",
            objects.display()
        );
        fs::write(&configuration, slot).unwrap();
        let token = Token::new(directory, MODULE, vec![("KRYOPTIC_CONF", configuration)]);
        token.initialise();
        Self { token }
    }
}

impl Deref for Kryoptic {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.token
    }
}

pub(crate) const MODULE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/kryoptic/libkryoptic_pkcs11.so");
