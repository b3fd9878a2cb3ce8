//! A TPM in software, swtpm, as a token of tpm2-pkcs11.
//!
//! In: nothing. Out: a [`Token`], and its power switch. Nothing manages the TPM's memory here, as
//! the kernel does for one in hardware (`/dev/tpmrm0`).

use std::{
    fs,
    ops::Deref,
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::softhsm::token::Token;

/// A TPM that runs, and its token with no keys yet.
#[derive(Debug)]
pub(crate) struct Tpm {
    token: Token,
    process: Child,
}

impl Tpm {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        for name in ["state", "store"] {
            fs::create_dir(place(name)).unwrap();
        }
        let transport = format!("swtpm:path={}", place("socket").display());
        let environment =
            vec![("TPM2_PKCS11_STORE", place("store")), ("TPM2_PKCS11_TCTI", transport.into())];
        let token = Token::new(directory, &module(), environment);
        let process = start(&token);
        let this = Self { token, process };
        this.initialise();
        this
    }

    /// The TPM is gone from one moment to the next.
    pub(crate) fn cut_power(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The TPM is back, with what it does not forget.
    pub(crate) fn power_on(&mut self) {
        self.process = start(&self.token);
    }
}

impl Deref for Tpm {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.token
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn start(token: &Token) -> Child {
    // The module expects the socket for control beside the other, by this name.
    let [state, socket, control] = ["state", "socket", "socket.ctrl"].map(|name| token.path(name));
    // A process that was killed leaves its sockets behind.
    for left in [&socket, &control] {
        drop(fs::remove_file(left));
    }
    let mut process = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args(["--tpmstate", &format!("dir={}", state.display())])
        .args(["--server", &format!("type=unixio,path={}", socket.display())])
        .args(["--ctrl", &format!("type=unixio,path={}", control.display())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("swtpm: {error}; tests/run installs it"));
    let deadline = Instant::now() + START_TIMEOUT;
    while UnixStream::connect(&control).is_err() {
        assert!(process.try_wait().unwrap().is_none(), "swtpm ended");
        assert!(Instant::now() < deadline, "swtpm does not answer");
        thread::sleep(Duration::from_millis(10));
    }
    process
}

/// Where Debian puts it.
pub(crate) fn module() -> String {
    format!("/usr/lib/{}-linux-gnu/pkcs11/libtpm2_pkcs11.so", std::env::consts::ARCH)
}

const START_TIMEOUT: Duration = Duration::from_secs(30);
