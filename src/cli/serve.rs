//! `mayfly serve`: runs the service until it is told to stop.
//!
//! In: a configuration file. Out: one line when it is ready, log lines, and an exit code that says
//! whether it stopped because it was told to. SIGHUP reloads the configuration, as every change of its
//! files does.

use std::{io, sync::Arc};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, configuration::Configuration};
use crate::{
    serve::{
        self, Running,
        follow::{Cause, Followed},
    },
    telemetry,
    time::Clock,
};

/// Run the certificate authority
///
/// Log lines go to standard error: for people on a terminal, as JSON otherwise. SIGTERM and Ctrl-C
/// finish what began and stop. The configuration is read again when one of its files changes, and at
/// SIGHUP, and taken only if all of it is good.
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
    let runtime = |source| CliError::Runtime { source };
    // Before the port opens: no signal may find the default action once we are ready.
    let mut signals = Signals::listen().map_err(runtime)?;
    let (configuration, mut followed) = arguments.configuration.follow()?;
    let url = configuration.url.clone();
    let running =
        serve::start(configuration, clock).await.map_err(|source| CliError::Start { source })?;
    let ready = writeln!(out, "ready on {} as {url}", running.public_address());
    ready.and_then(|()| out.flush()).map_err(|source| CliError::Output { source })?;
    let outcome = loop {
        match signals.next_event(&running, &mut followed).await {
            Event::Reload(cause) => followed.reload(&running, cause).await,
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

enum Event {
    Reload(Cause),
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

    async fn next_event(&mut self, running: &Running, followed: &mut Followed) -> Event {
        tokio::select! {
            () = running.failed() => Event::Failed,
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hang_up.recv() => Event::Reload(Cause::Asked),
            cause = followed.changed() => Event::Reload(cause),
        }
    }
}

const AFTER_HELP: &str = "\
Example:
  mayfly serve --config mayfly.yaml

Exit code: 0 told to stop, 1 the configuration is wrong, 2 it did not start or could not go on.";
