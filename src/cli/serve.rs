//! `mayfly serve`: runs the service until it is told to stop.
//!
//! In: a configuration file. Out: one line when it is ready, log lines, and an exit code that says
//! whether it stopped because it was told to. SIGHUP reloads the configuration.

use std::{io, sync::Arc};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, configuration::Configuration};
use crate::{
    config,
    serve::{self, Running},
    telemetry,
    time::Clock,
};

/// Run the certificate authority
///
/// Log lines go to standard error: for people on a terminal, as JSON otherwise. SIGTERM and Ctrl-C
/// finish what began and stop; SIGHUP reads the configuration again and takes it only if all of it
/// is good.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ServeArguments {
    #[command(flatten)]
    configuration: Configuration,
}

/// Runs the command.
///
/// # Errors
/// The configuration is refused, the service does not start, or it cannot go on.
pub async fn run(
    arguments: ServeArguments,
    clock: Arc<dyn Clock>,
    out: &mut dyn io::Write,
) -> Result<(), CliError> {
    telemetry::install();
    let load = || arguments.configuration.load();
    let runtime = |source| CliError::Runtime { source };
    // Before the port opens: no signal may find the default action once we are ready.
    let mut signals = Signals::listen().map_err(runtime)?;
    let configuration = load()?;
    let url = configuration.url.clone();
    let running =
        serve::start(configuration, clock).await.map_err(|source| CliError::Start { source })?;
    let ready = writeln!(out, "ready on {} as {url}", running.public_address());
    ready.and_then(|()| out.flush()).map_err(|source| CliError::Output { source })?;
    let outcome = loop {
        match signals.next_event(&running).await {
            Event::Reload => reload(&running, load()).await,
            Event::Stop => break Ok(()),
            Event::Failed => break Err(CliError::Stopped),
        }
    };
    running.shutdown().await;
    outcome
}

/// Resolves at Ctrl-C or SIGTERM.
pub(super) async fn interrupted() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A bad configuration changes nothing: the old one stays in effect (NT-65).
async fn reload(running: &Running, loaded: Result<config::Config, config::ConfigErrors>) {
    let error = match loaded {
        Ok(configuration) => match running.reload(configuration).await {
            Ok(()) => return tracing::info!("configuration reloaded"),
            Err(error) => super::error::with_causes(&error),
        },
        Err(error) => {
            let error = super::error::with_causes(&error);
            // If the audit log takes no lines, the next flush ends the process.
            let _recorded = running.record_refused_reload(&error);
            error
        }
    };
    tracing::error!(%error, "configuration not reloaded, the old one stays in effect");
}

enum Event {
    Reload,
    Stop,
    Failed,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next_event(&mut self, running: &Running) -> Event {
        tokio::select! {
            () = running.failed() => Event::Failed,
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hang_up.recv() => Event::Reload,
        }
    }
}

const AFTER_HELP: &str = "\
Example:
  mayfly serve --config mayfly.yaml

Exit code: 0 told to stop, 1 the configuration is wrong, 2 it did not start or could not go on.";
