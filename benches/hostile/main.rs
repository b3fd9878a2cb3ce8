//! What honest clients notice of a thousand hostile connections.
//!
//! In: nothing, or `--connections N --rate N --seconds N --rounds N --only TEXT --json`. Out: for
//! each attack of `tests/server/attacks.rs`, the latency of certificates for honest clients alone
//! and under attack, in turns, what failed, and what the server used. The server and the attackers
//! are processes of their own; all share the machine's cores. Attacks that live on their speed are
//! measured twice: as fast as the attackers can, where they take whatever the kernel's scheduler
//! gives to a process, and at 100 frames a second on each connection.
//!
//! Run it with `cargo bench --bench hostile`, on a machine that does nothing else.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark tells its numbers")]

mod attackers;
#[path = "../../tests/server/attacks.rs"]
mod attacks;
#[path = "../shared/connection.rs"]
mod connection;
mod honest;
#[path = "../shared/installation.rs"]
mod installation;
#[path = "../shared/process.rs"]
mod process;
mod siege;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;

/// Measure what honest clients notice of hostile connections
#[derive(Debug, Parser)]
struct Options {
    /// Hostile connections
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Certificates a second that honest clients ask for
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Of each turn, alone and under attack
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only attacks with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Be the attackers of this address
    #[arg(long, hide = true)]
    attack: Option<SocketAddr>,
    /// The attack's number
    #[arg(long, hide = true, default_values_t = Vec::<usize>::new())]
    number: Vec<usize>,
    /// Do not go beyond 100 frames a second on each connection
    #[arg(long, hide = true)]
    bounded: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(address) = options.attack {
        let kinds = options.number.iter().filter_map(|number| attacks::ATTACKS.get(*number));
        let kinds: Vec<_> = kinds.copied().collect();
        return runtime.block_on(attackers::attack(
            &kinds,
            address,
            options.connections,
            options.bounded,
        ));
    }
    let plan = siege::Plan {
        connections: options.connections,
        rate: options.rate,
        turn: Duration::from_secs(options.seconds),
        rounds: options.rounds,
    };
    let measured = runtime.block_on(siege::measure(&plan, &options.only))?;
    if options.json {
        println!("{:#}", serde_json::json!({ "results": measured }));
    } else {
        print!("{}", siege::render(&measured));
    }
    Ok(())
}
