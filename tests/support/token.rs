//! A token in software: a PKCS #11 module of somebody else, with a directory of the test's own.
//!
//! In: where the module is, and what its processes find in their environment. Out: keys on the
//! token, and how others reach them. A module finds its token by variables of the environment, and
//! this process has other tests: so whoever uses a token is another process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A token; its files are gone when dropped.
#[derive(Debug)]
pub(crate) struct Token {
    directory: TempDir,
    module: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Token {
    /// One of the library `module`, which is there with nothing on it yet.
    pub(crate) fn new(
        directory: TempDir,
        module: &str,
        environment: Vec<(&'static str, PathBuf)>,
    ) -> Self {
        Self { directory, module: PathBuf::from(module), environment }
    }

    /// Sets up the first token that the module shows, as [`LABEL`] with [`PIN`].
    pub(crate) fn initialise(&self) {
        let officer = ["--so-pin", OFFICER_PIN];
        let new = ["--init-token", "--slot-index", "0", "--label", LABEL];
        self.module_tool(&[&new[..], &officer[..]].concat());
        let login = ["--token-label", LABEL, "--login", "--login-type", "so"];
        let pin = ["--init-pin", "--new-pin", PIN];
        self.module_tool(&[&login[..], &officer[..], &pin[..]].concat());
    }

    /// What a process needs in its environment to see the token.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        self.environment.clone()
    }

    /// A path beside the token's files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The URI of a key.
    pub(crate) fn uri(&self, object: &str) -> String {
        uri_of(&self.module, object)
    }

    /// A file with the PIN.
    pub(crate) fn pin_file(&self) -> PathBuf {
        let path = self.path("pin");
        fs::write(&path, format!("{PIN}\n")).unwrap();
        path
    }

    /// Makes a key pair: `EC:prime256v1`, `EC:secp384r1`, `rsa:2048`.
    pub(crate) fn generate(&self, kind: &str, object: &str, id: &str) {
        let key = ["--keypairgen", "--key-type", kind, "--label", object, "--id", id];
        self.tool(&[&key[..], &["--usage-sign"]].concat());
    }

    /// Removes a private key and its public half from the token.
    pub(crate) fn remove_pair(&self, object: &str) {
        for kind in ["privkey", "pubkey"] {
            self.tool(&["--delete-object", "--type", kind, "--label", object]);
        }
    }

    /// Puts another P-256 private key in the place of one, and leaves the public key that was there:
    /// what the token signs from now on is not by the key that it shows.
    pub(crate) fn forge(&self, object: &str, id: &str) {
        let shown = self.path("shown.der");
        let shown = shown.to_str().unwrap();
        let public = ["--type", "pubkey", "--label", object, "--id", id];
        self.tool(&[&["--read-object", "--output-file", shown], &public[..]].concat());
        self.remove_pair(object);
        self.generate("EC:prime256v1", object, id);
        self.tool(&["--delete-object", "--type", "pubkey", "--label", object]);
        self.tool(&[&["--write-object", shown], &public[..]].concat());
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

    /// Runs pkcs11-tool on the token, logged in.
    pub(crate) fn tool(&self, arguments: &[&str]) -> String {
        let login = ["--token-label", LABEL, "--login", "--pin", PIN];
        self.module_tool(&[&login[..], arguments].concat())
    }

    fn module_tool(&self, arguments: &[&str]) -> String {
        let module = ["--module", self.module.to_str().unwrap()];
        self.run("pkcs11-tool", &[&module[..], arguments].concat())
    }

    /// Runs a program that sees the token.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let outcome = Command::new(program)
            .args(arguments)
            .envs(self.environment())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "{program} {arguments:?}: {said}");
        String::from_utf8(outcome.stdout).unwrap()
    }
}

/// The URI of a key on [`LABEL`], which the library `module` shows.
pub(crate) fn uri_of(module: &Path, object: &str) -> String {
    format!("pkcs11:token={LABEL};object={object}?module-path={}", module.display())
}

pub(crate) const LABEL: &str = "mayfly";
pub(crate) const PIN: &str = "1234-secret-pin";
pub(crate) const OFFICER_PIN: &str = "56785678";
