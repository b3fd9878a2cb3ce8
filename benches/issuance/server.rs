//! The whole server, as its own process: `mayfly serve` with the durable log.

use std::{
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use mayfly::{
    cli::demo::issuer::DevIssuer,
    keys::SignatureAlgorithm,
    time::{Clock, SystemClock},
};
use serde::Serialize;

use crate::{
    connection::{Connection, Target, percentile_ms},
    installation::{self, Process, new_home, serve},
    load::{closed_loop, open_loop},
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

    let server = Process::start(serve(&home.config_path))?;
    let target = installation::target(address, &issuer)?;
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
    let target = installation::target(address, &issuer)?;
    let latencies = open_loop(&target, load.connections, per_second / 2.0, halved).await?;
    server.stop()?;

    let restart = restart(&home.config_path, &installation::target(address, &issuer)?).await?;
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

/// From starting the process to its first certificate.
async fn restart(config: &Path, target: &Target) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let server = Process::start(serve(config))?;
    Connection::open(target).await?.ask().await?;
    let took = begun.elapsed();
    server.stop()?;
    Ok(took)
}
