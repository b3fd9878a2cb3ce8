//! One server, and one attack after the other.

use std::{
    error::Error,
    fmt::Write,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
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
    attackers::{Attackers, is_fast},
    attacks::ATTACKS,
    connection::{Target, percentile_ms},
    honest::{self, Seen},
    installation::{Process, SERVER, new_home, serve, target},
    process,
};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) rate: u32,
    pub(crate) turn: Duration,
    pub(crate) rounds: usize,
}

/// What was measured of one attack. Latencies are the medians of the turns.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) attack: String,
    pub(crate) alone_p50_ms: f64,
    pub(crate) attacked_p50_ms: f64,
    pub(crate) alone_p99_ms: f64,
    pub(crate) attacked_p99_ms: f64,
    /// Of the honest requests under attack.
    pub(crate) failures: u64,
    pub(crate) requests: u64,
    /// Of one core, under attack.
    pub(crate) server_cores: f64,
    pub(crate) attacker_cores: f64,
    /// The most that was seen.
    pub(crate) resident_mib: f64,
    pub(crate) open_files: usize,
}

/// An attack as it is to be measured.
struct Siege {
    name: String,
    numbers: Vec<usize>,
    bounded: bool,
    few_files: bool,
}

/// Measures every attack whose name has `only` in it.
pub(crate) async fn measure(plan: &Plan, only: &str) -> Result<Vec<Measured>, Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuer = DevIssuer::start(Arc::clone(&clock)).await?;
    let mut measured = Vec::new();
    for siege in sieges().into_iter().filter(|siege| siege.name.contains(only)) {
        eprintln!("{} …", siege.name);
        // A server for each, so that none pays for what another left behind.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let (home, address) = new_home(directory.path(), algorithm, &issuer, &clock).await?;
        let server = Process::start(command(&home.config_path, siege.few_files))?;
        let target = target(address, &issuer)?;
        // Past the first full tile, which some attacks ask for.
        honest::ask(&target, plan.rate.min(500), Duration::from_secs(1)).await;
        let row = one(&siege, plan, &server, &target, address).await?;
        // Hours of measuring are not lost when the last attack is cut short.
        eprint!("{}", render(std::slice::from_ref(&row)));
        measured.push(row);
        server.stop()?;
    }
    Ok(measured)
}

fn sieges() -> Vec<Siege> {
    let mut sieges = Vec::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        let one = |name: String, bounded| Siege {
            name,
            numbers: vec![number],
            bounded,
            few_files: false,
        };
        let within = if attack.breaks_a_bound { "" } else { " (breaks no bound)" };
        if is_fast(number) {
            sieges.push(one(format!("{}, bounded{within}", attack.name), true));
            sieges.push(one(format!("{}, raw{within}", attack.name), false));
        } else {
            sieges.push(one(format!("{}{within}", attack.name), false));
        }
    }
    let all = (0..ATTACKS.len()).collect();
    let name = "all of them, bounded".to_owned();
    sieges.push(Siege { name, numbers: all, bounded: true, few_files: false });
    let name = "silence, 256 open files".to_owned();
    sieges.push(Siege { name, numbers: vec![0], bounded: false, few_files: true });
    sieges
}

fn command(config: &Path, few_files: bool) -> Command {
    if !few_files {
        return serve(config);
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256; exec \"$0\" serve --config \"$1\"", SERVER]).arg(config);
    command
}

async fn one(
    siege: &Siege,
    plan: &Plan,
    server: &Process,
    target: &Target,
    address: SocketAddr,
) -> Result<Measured, Box<dyn Error>> {
    let (mut alone, mut attacked) = (Vec::new(), Vec::new());
    let (mut server_cpu, mut attacker_cpu, mut under_attack) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut resident_kib, mut open_files) = (0, 0);
    for _ in 0..plan.rounds {
        alone.push(honest::ask(target, plan.rate, plan.turn).await);
        let attackers = Attackers::start(&siege.numbers, address, plan.connections, siege.bounded)?;
        tokio::time::sleep(ARRIVAL).await;
        let (begun, cpu) = (Instant::now(), process::cpu_time(server.id())?);
        let attackers_before = process::cpu_time(attackers.id())?;
        attacked.push(honest::ask(target, plan.rate, plan.turn).await);
        under_attack += begun.elapsed();
        server_cpu += process::cpu_time(server.id())?.saturating_sub(cpu);
        attacker_cpu += process::cpu_time(attackers.id())?.saturating_sub(attackers_before);
        resident_kib = resident_kib.max(process::memory_kib(server.id())?.0);
        open_files = open_files.max(fs::read_dir(format!("/proc/{}/fd", server.id()))?.count());
        drop(attackers);
        tokio::time::sleep(ARRIVAL).await;
    }
    let cores = |cpu: Duration| cpu.as_secs_f64() / under_attack.as_secs_f64();
    Ok(Measured {
        attack: siege.name.clone(),
        alone_p50_ms: median_ms(&alone, 50),
        attacked_p50_ms: median_ms(&attacked, 50),
        alone_p99_ms: median_ms(&alone, 99),
        attacked_p99_ms: median_ms(&attacked, 99),
        failures: attacked.iter().map(|seen| seen.failures).sum(),
        requests: attacked.iter().map(|seen| seen.latencies.len() as u64 + seen.failures).sum(),
        server_cores: cores(server_cpu),
        attacker_cores: cores(attacker_cpu),
        resident_mib: resident_kib as f64 / 1024.0,
        open_files,
    })
}

fn median_ms(turns: &[Seen], percent: usize) -> f64 {
    let mut each: Vec<f64> =
        turns.iter().map(|seen| percentile_ms(&seen.latencies, percent)).collect();
    each.sort_by(f64::total_cmp);
    each.get(each.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A row for each attack, as docs/performance.md has them.
pub(crate) fn render(measured: &[Measured]) -> String {
    let mut text = String::from(HEADING);
    for one in measured {
        // Writing to a `String` cannot fail.
        let _written = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.1} | {:.2} | {:.2} | {:.1} | {}/{} | {:.2} | {:.2} | {:.0} | {} |",
            one.attack,
            one.alone_p50_ms,
            one.attacked_p50_ms,
            one.attacked_p50_ms / one.alone_p50_ms,
            one.alone_p99_ms,
            one.attacked_p99_ms,
            one.attacked_p99_ms / one.alone_p99_ms,
            one.failures,
            one.requests,
            one.server_cores,
            one.attacker_cores,
            one.resident_mib,
            one.open_files,
        );
    }
    text
}

const HEADING: &str = "\
| attack | p50 alone, ms | attacked | x | p99 alone, ms | attacked | x | failed | server, cores | attackers, cores | resident, MiB | open files |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";
/// Until all attackers are there, or gone.
const ARRIVAL: Duration = Duration::from_millis(1500);
