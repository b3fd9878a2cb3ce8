//! The whole server, as its own process: `mayfly serve` with the durable log.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
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
    time::{Clock, SystemClock},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    load::{Connection, Target, closed_loop, open_loop},
    process,
};

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) certificates: u64,
    pub(crate) connections: usize,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) certificates: u64,
    pub(crate) connections: usize,
    /// At full load; the load client shares the machine's cores.
    pub(crate) certificates_per_second: f64,
    pub(crate) cpu_us_per_certificate: f64,
    /// At half of that rate, open loop.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// After all certificates.
    pub(crate) resident_mib: f64,
    pub(crate) peak_mib: f64,
    /// From the start of the process to the first certificate, over the log filled so far.
    pub(crate) restart_ms: f64,
    pub(crate) restart_entries: u64,
}

/// Starts, loads, measures, stops, and starts once more over the filled log.
pub(crate) fn measure(ca: SignatureAlgorithm, load: &Load) -> Result<Server, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(ca, load))
}

async fn run(ca: SignatureAlgorithm, load: &Load) -> Result<Server, Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuer = DevIssuer::start(Arc::clone(&clock)).await?;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (home, address) = new_home(directory.path(), ca, &issuer, &clock).await?;

    let server = Process::start(&home.config_path)?;
    let target = target(address, &issuer)?;
    // Discovery and the first pages of everything are not what a certificate costs. The first
    // request fetches the issuer's keys; few may wait for that at once.
    Connection::open(&target).await?.ask().await?;
    let warm_up = load.certificates.div_ceil(50).min(1_000);
    closed_loop(&target, load.connections, warm_up).await?;

    let cpu_before = process::cpu_time(server.id())?;
    let took = closed_loop(&target, load.connections, load.certificates).await?;
    let cpu = process::cpu_time(server.id())?.saturating_sub(cpu_before);
    let (resident_kib, peak_kib) = process::memory_kib(server.id())?;
    let per_second = load.certificates as f64 / took.as_secs_f64();

    let halved = (load.certificates / 5).max(1_000);
    // A token lives ten minutes; a new one keeps long runs from outliving theirs.
    let target = self::target(address, &issuer)?;
    let latencies = open_loop(&target, load.connections, per_second / 2.0, halved).await?;
    server.stop()?;

    let restart = restart(&home.config_path, &self::target(address, &issuer)?).await?;
    Ok(Server {
        certificates: load.certificates,
        connections: load.connections,
        certificates_per_second: per_second,
        cpu_us_per_certificate: cpu.as_secs_f64() * 1e6 / load.certificates as f64,
        p50_ms: percentile_ms(&latencies, 50),
        p99_ms: percentile_ms(&latencies, 99),
        resident_mib: resident_kib as f64 / 1024.0,
        peak_mib: peak_kib as f64 / 1024.0,
        restart_ms: restart.as_secs_f64() * 1e3,
        restart_entries: warm_up + load.certificates + halved,
    })
}

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

/// From starting the process to its first certificate.
async fn restart(config: &Path, target: &Target) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let server = Process::start(config)?;
    Connection::open(target).await?.ask().await?;
    let took = begun.elapsed();
    server.stop()?;
    Ok(took)
}

/// The request that every connection repeats: one token, one key, one proof.
fn target(address: SocketAddr, issuer: &DevIssuer) -> Result<Target, Box<dyn Error>> {
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

/// `mayfly serve`, stopped and waited for also when something here fails.
struct Process {
    child: Child,
}

impl Process {
    /// Returns when the server has said that it is ready.
    fn start(config: &Path) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mayfly"))
            .args(["serve", "--config"])
            .arg(config)
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

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and the exit code must be 0: a stop is graceful or it is a finding.
    fn stop(mut self) -> Result<(), Box<dyn Error>> {
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

fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

pub(crate) const EMAIL: &str = "load@example.com";
