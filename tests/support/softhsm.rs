//! An HSM in software: SoftHSM 2, with a token directory of the test's own.
//!
//! In: what to put on a token. Out: the environment in which a process sees it, and URIs of its
//! keys. SoftHSM finds its configuration by a variable of the environment, and this process has
//! other tests: so whoever uses the token is another process.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

/// A directory of tokens; gone when dropped.
#[derive(Debug)]
pub(crate) struct SoftHsm {
    directory: TempDir,
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
        fs::write(directory.path().join("softhsm2.conf"), configuration).unwrap();
        let this = Self { directory };
        this.add_token(TOKEN);
        this
    }

    /// For the environment of whoever uses the tokens: [`VARIABLE`].
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.path().join("softhsm2.conf")
    }

    /// A file with the PIN.
    pub(crate) fn pin_file(&self) -> PathBuf {
        let path = self.directory.path().join("pin");
        fs::write(&path, format!("{PIN}\n")).unwrap();
        path
    }

    /// Sets up another token.
    pub(crate) fn add_token(&self, label: &str) {
        let pins = ["--so-pin", "56785678", "--pin", PIN];
        let token = ["--init-token", "--free", "--label", label];
        self.run("softhsm2-util", &[&token[..], &pins[..]].concat());
    }

    /// Makes a key pair on the token: `EC:prime256v1`, `EC:secp384r1`, `rsa:2048`.
    pub(crate) fn generate(&self, kind: &str, object: &str, id: &str) {
        let key = ["--keypairgen", "--key-type", kind, "--label", object, "--id", id];
        self.tool(&[&key[..], &["--usage-sign"]].concat());
    }

    /// Removes a private key from the token.
    pub(crate) fn remove_key(&self, object: &str) {
        self.tool(&["--delete-object", "--type", "privkey", "--label", object]);
    }

    /// The public key of an elliptic curve key: its uncompressed point.
    pub(crate) fn public_point(&self, object: &str) -> Vec<u8> {
        let said = self.tool(&["--list-objects", "--type", "pubkey"]);
        let value = |listed: &str, name: &str| {
            let value = listed.lines().find_map(|line| line.trim().strip_prefix(name));
            value.map(|value| value.trim().to_owned())
        };
        let mut listed = said.split("Public Key Object");
        let named = |listed: &&str| value(listed, "label:").as_deref() == Some(object);
        let point = value(listed.find(named).unwrap(), "EC_POINT:").unwrap();
        let wrapped = hex::decode(point).unwrap();
        // 04, a length of one byte, and the point, which begins with 04 too.
        wrapped[2..].to_vec()
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
        ["tokens", "elsewhere"].map(|name| self.directory.path().join(name))
    }

    /// Runs pkcs11-tool on the token, logged in.
    pub(crate) fn tool(&self, arguments: &[&str]) -> String {
        let login = ["--token-label", TOKEN, "--login", "--pin", PIN];
        let module = ["--module", MODULE];
        self.run("pkcs11-tool", &[&module[..], &login[..], arguments].concat())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let outcome = Command::new(program)
            .args(arguments)
            .env(VARIABLE, self.configuration())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "{program} {arguments:?}: {said}");
        String::from_utf8(outcome.stdout).unwrap()
    }
}

/// The URI of a key on [`TOKEN`].
pub(crate) fn uri(object: &str) -> String {
    format!("pkcs11:token={TOKEN};object={object}?module-path={MODULE}")
}

/// Where SoftHSM looks for its configuration.
pub(crate) const VARIABLE: &str = "SOFTHSM2_CONF";
pub(crate) const TOKEN: &str = "mayfly";
pub(crate) const PIN: &str = "1234-secret-pin";
/// Where Debian puts it.
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
