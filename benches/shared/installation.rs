//! A fresh installation, its server as its own process, and the request that it answers.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mayfly::{
    cli::{
        client::{ClientKey, KeyAlgorithm},
        demo::{
            home::{Home, Plan},
            issuer::DevIssuer,
        },
    },
    keys::SignatureAlgorithm,
    time::Clock,
};
use serde_json::json;

use crate::connection::Target;

/// A fresh installation, and where it will listen.
pub(crate) async fn new_home(
    directory: &Path,
    ca: SignatureAlgorithm,
    issuer: &DevIssuer,
    clock: &Arc<dyn Clock>,
) -> Result<(Home, SocketAddr), Box<dyn Error>> {
    let plan = Plan {
        listen: free_address()?,
        private: free_address()?,
        issuer_url: issuer.url(),
        ca_algorithm: ca,
    };
    let home = Home::create(&directory.join("home"), &plan, clock).await?;
    Ok((home, plan.listen))
}

/// The request that every connection repeats: one token, one key, one proof.
pub(crate) fn target(address: SocketAddr, issuer: &DevIssuer) -> Result<Target, Box<dyn Error>> {
    let token = issuer.mint(EMAIL)?;
    let key = ClientKey::generate(KeyAlgorithm::P256)?;
    let body = json!({
        "credentials": { "oidcIdentityToken": token.expose_text() },
        "publicKeyRequest": {
            "publicKey": { "content": key.public_pem() },
            "proofOfPossession": STANDARD.encode(key.proof_of_possession(EMAIL)?),
        },
    });
    Ok(Target::post(address, "/api/v2/signingCert", &body.to_string()))
}

/// `mayfly serve` over one configuration.
pub(crate) fn serve(config: &Path) -> Command {
    let mut command = Command::new(SERVER);
    command.args(["serve", "--config"]).arg(config);
    command
}

/// `mayfly serve`, stopped and waited for also when something here fails.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Returns when the server, of which `command` is the start, has said that it is ready.
    pub(crate) fn start(mut command: Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command
            // One log line for each request is part of serving; where it goes is not.
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let process = Self { child };
        let mut ready = String::new();
        BufReader::new(stdout.ok_or("no standard output")?).read_line(&mut ready)?;
        if !ready.starts_with("ready ") {
            return Err(format!("the server did not start: '{}'", ready.trim()).into());
        }
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and the exit code must be 0: a stop is graceful or it is a finding.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn Error>> {
        let status = Command::new("kill").arg(self.id().to_string()).status()?;
        let ended = self.child.wait()?;
        if status.success() && ended.success() {
            Ok(())
        } else {
            Err(format!("the server ended with {ended}").into())
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

pub(crate) const EMAIL: &str = "load@example.com";
pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_mayfly");
