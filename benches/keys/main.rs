//! What a signature costs, by where its key is.
//!
//! In: nothing, or `--seconds N --json`. Out: for keys in a file, on a token (SoftHSM, in this
//! process) and in a key service (MiniStack, another process), with 1, 8 and 64 callers at once:
//! signatures per second, p50 and p99, and the CPU time that the signing process itself spends on
//! each. Of the service that is our code, the SDK and the kernel's part in the connection, and
//! nothing of the service. `instant` is a service that costs nothing: our code alone. Each signature is verified, as in a server; what that costs is told too.
//!
//! Each key is measured in a process of its own, which finds credentials and tokens in its
//! environment. Run it with `cargo bench --bench keys`; tests/run installs the peers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark tells its numbers, and ends where its peers are not there"
)]

mod instant;
mod level;
#[path = "../shared/process.rs"]
#[expect(dead_code, reason = "another benchmark measures memory")]
mod process;
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::{
    error::Error,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::Parser;
use serde::{Deserialize, Serialize};

use level::Level;
use support::{
    aws::{AwsKms, AwsUser},
    softhsm::{self, SoftHsm},
};

/// Measure what signatures cost by keys in files, on tokens and in key services
#[derive(Debug, Parser)]
struct Options {
    /// How long each number of callers signs
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Measure this key, in this process, and print JSON: what this program calls itself with
    #[arg(long, hide = true)]
    key: Option<String>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// The numbers for one key.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    place: String,
    algorithm: String,
    /// To verify one signature, which is part of `cpu_us` where the key is elsewhere.
    verify_us: f64,
    levels: Vec<Level>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.key {
        Some(uri) => level::measure(uri, options.seconds).map(|measured| {
            println!("{}", serde_json::json!(measured));
        }),
        None => all(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keys: {error}");
            ExitCode::from(2)
        }
    }
}

fn all(options: &Options) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (hsm, kms) = (SoftHsm::new(), AwsKms::ministack());
    let token = vec![(softhsm::VARIABLE, hsm.configuration())];
    let pin = format!("&pin-source=file:{}", hsm.pin_file().display());
    let mut results = Vec::new();
    for (curve, softhsm_kind, spec) in
        [("P-256", "EC:prime256v1", "ECC_NIST_P256"), ("P-384", "EC:secp384r1", "ECC_NIST_P384")]
    {
        let file = directory.path().join(curve);
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "EC", "-out"])
            .arg(&file)
            .args(["-pkeyopt", &format!("ec_paramgen_curve:{curve}")])
            .output()?;
        if !made.status.success() {
            return Err("openssl makes no key".into());
        }
        hsm.generate(softhsm_kind, curve, if curve == "P-256" { "01" } else { "02" });
        kms.create_signing_key(spec, curve);
        for (uri, environment) in [
            (format!("instant:{curve}"), Vec::new()),
            (format!("file:{}", file.display()), Vec::new()),
            (softhsm::uri(curve) + &pin, token.clone()),
            (kms.uri(&format!("alias/{curve}")), AwsUser::root().environment()),
        ] {
            eprintln!("{uri} …");
            results.push(in_a_process(&uri, environment, options.seconds)?);
        }
    }
    if options.json {
        println!("{:#}", serde_json::json!({ "results": results }));
    } else {
        print!("{}", table(&results));
    }
    Ok(())
}

fn in_a_process(
    uri: &str,
    environment: Vec<(&'static str, PathBuf)>,
    seconds: u64,
) -> Result<Measured, Box<dyn Error>> {
    let outcome = Command::new(std::env::current_exe()?)
        .args(["--key", uri, "--seconds", &seconds.to_string()])
        .envs(environment)
        .output()?;
    if !outcome.status.success() {
        return Err(String::from_utf8_lossy(&outcome.stderr).into());
    }
    Ok(serde_json::from_slice(&outcome.stdout)?)
}

fn table(results: &[Measured]) -> String {
    let mut text =
        "| key | verify us | callers | signatures/s | p50 ms | p99 ms | CPU us |\n".to_owned();
    text += "| --- | --- | --- | --- | --- | --- | --- |\n";
    for Measured { place, algorithm, verify_us, levels } in results {
        for Level { callers, per_second, p50_ms, p99_ms, cpu_us } in levels {
            text += &format!(
                "| {place} {algorithm} | {verify_us:.0} | {callers} | {per_second:.0} | \
                 {p50_ms:.3} | {p99_ms:.3} | {cpu_us:.0} |\n"
            );
        }
    }
    text
}
