//! An HSM in software: SoftHSM 2, with a token directory of the test's own.
//!
//! In: what to put on a token. Out: the environment in which a process sees it, and URIs of its
//! keys.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
};

/// Found from here, so that whoever takes this file in takes that one in too.
#[path = "token.rs"]
pub(crate) mod token;

pub(crate) use token::{LABEL as TOKEN, PIN};
use token::{OFFICER_PIN, Token};

/// A directory of tokens; gone when dropped. Stands for its token [`TOKEN`].
#[derive(Debug)]
pub(crate) struct SoftHsm {
    token: Token,
}

impl SoftHsm {
    /// With one token, [`TOKEN`].
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tokens = directory.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        let environment = vec![(VARIABLE, directory.path().join(CONFIGURATION))];
        let this = Self { token: Token::new(directory, MODULE, environment) };
        fs::write(this.configuration(), configuration).unwrap();
        this.add_token(TOKEN);
        this
    }

    /// For the environment of whoever uses the tokens: [`VARIABLE`].
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path(CONFIGURATION)
    }

    /// Sets up another token.
    pub(crate) fn add_token(&self, label: &str) {
        let pins = ["--so-pin", OFFICER_PIN, "--pin", PIN];
        let token = ["--init-token", "--free", "--label", label];
        self.run("softhsm2-util", &[&token[..], &pins[..]].concat());
    }

    /// Sets up [`TOKEN`] anew, with another PIN: its keys are gone.
    pub(crate) fn set_up_anew(&self, pin: &str) {
        let pins = ["--so-pin", OFFICER_PIN, "--pin", pin];
        let token = ["--init-token", "--token", TOKEN, "--label", TOKEN, "--force"];
        self.run("softhsm2-util", &[&token[..], &pins[..]].concat());
    }

    /// Removes a private key from the token.
    pub(crate) fn remove_key(&self, object: &str) {
        self.tool(&["--delete-object", "--type", "privkey", "--label", object]);
    }

    /// The token is taken out: its files are elsewhere.
    pub(crate) fn take_out(&self) {
        let [tokens, elsewhere] = self.places();
        fs::rename(tokens, elsewhere).unwrap();
    }

    /// The token is back.
    pub(crate) fn put_back(&self) {
        let [tokens, elsewhere] = self.places();
        fs::rename(elsewhere, tokens).unwrap();
    }

    fn places(&self) -> [PathBuf; 2] {
        ["tokens", "elsewhere"].map(|name| self.path(name))
    }
}

impl Deref for SoftHsm {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.token
    }
}

/// The URI of a key on [`TOKEN`].
pub(crate) fn uri(object: &str) -> String {
    token::uri_of(Path::new(MODULE), object)
}

/// Where SoftHSM looks for its configuration.
pub(crate) const VARIABLE: &str = "SOFTHSM2_CONF";
/// Where Debian puts it.
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CONFIGURATION: &str = "softhsm2.conf";
