//! The command `mayfly`: parse the command line, call the library, exit code. Nothing else.

use std::process::ExitCode;

use clap::Parser;
use mayfly::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
