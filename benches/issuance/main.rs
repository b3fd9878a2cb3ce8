//! What an issuance costs, beside what it must cost.
//!
//! In: nothing, or `--certs N --connections N --quick --json`. Out: for P-256 and P-384 CA keys the
//! floor (the five signature operations alone, on one core), the pipeline in this process, and the
//! whole server over HTTP with its durable log, as a child process: certificates per second, its
//! CPU time per certificate, p50 and p99 at half load, memory, start time. The ratios are between
//! numbers of the same run.
//!
//! Run it with `cargo bench --bench issuance`, on a machine that does nothing else.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark tells its numbers")]

#[path = "../shared/connection.rs"]
mod connection;
mod floor;
#[path = "../shared/installation.rs"]
mod installation;
mod load;
mod pipeline;
#[path = "../shared/process.rs"]
mod process;
mod server;
mod table;

use std::process::ExitCode;

use clap::Parser;
use mayfly::keys::SignatureAlgorithm;
use serde::Serialize;

/// Measure issuance: the floor, and the server over HTTP with its durable log
#[derive(Debug, Parser)]
struct Options {
    /// Certificates issued under full load, for each kind of CA key
    #[arg(long, default_value_t = 100_000)]
    certs: u64,
    /// Connections of the load client
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// A short run: 5,000 certificates, less exact
    #[arg(long)]
    quick: bool,
    /// Only the floor
    #[arg(long)]
    floor_only: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// The numbers for one kind of CA key.
#[derive(Debug, Serialize)]
struct Measured {
    ca_key: &'static str,
    floor: floor::Floor,
    pipeline: Option<pipeline::Pipeline>,
    server: Option<server::Server>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (certificates, rounds) =
        if options.quick { (options.certs.min(5_000), 2_000) } else { (options.certs, 20_000) };
    let plan = server::Load { certificates, connections: options.connections };
    let mut results = Vec::new();
    for algorithm in [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::EcdsaP384Sha384] {
        match measure(algorithm, rounds, &plan, options.floor_only) {
            Ok(measured) => results.push(measured),
            Err(error) => {
                eprintln!("{algorithm}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    if options.json {
        println!("{:#}", serde_json::json!({ "results": results }));
    } else {
        print!("{}", table::render(&results));
    }
    ExitCode::SUCCESS
}

fn measure(
    algorithm: SignatureAlgorithm,
    rounds: u32,
    plan: &server::Load,
    floor_only: bool,
) -> Result<Measured, Box<dyn std::error::Error>> {
    let name = key_name(algorithm);
    eprintln!("{name}: the floor …");
    let floor = floor::measure(algorithm, rounds)?;
    let mut measured = Measured { ca_key: name, floor, pipeline: None, server: None };
    if !floor_only {
        eprintln!("{name}: the pipeline in process …");
        measured.pipeline = Some(pipeline::measure(algorithm, plan)?);
        eprintln!("{name}: the server over HTTP …");
        measured.server = Some(server::measure(algorithm, plan)?);
    }
    Ok(measured)
}

fn key_name(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => "P-256",
        SignatureAlgorithm::EcdsaP384Sha384 => "P-384",
        SignatureAlgorithm::RsaPkcs1Sha256 => "RSA",
    }
}
