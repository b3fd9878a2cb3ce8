//! `mayfly demo`: the main job, from nothing, in one command.
//!
//! In: nothing but a directory and an address, both with defaults. Out: a fresh CA with its log,
//! serving; one certificate got and checked as a stranger would; lines that say so. Not one step
//! is taken inside the process that a real client would take over HTTP.

pub mod home;
pub mod issuer;
mod narrate;
mod shell;
mod walk;

use std::{
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use reqwest::Url;

use self::{
    home::{Home, HomeError, Plan},
    issuer::DevIssuer,
    narrate::Narrator,
    walk::{EMAIL, LOG_PREFIX, Walk},
};
use super::{
    CliError,
    client::ClientError,
    serve::interrupted,
    verify::{
        chain::ChainFault, inclusion::InclusionFault, presented::PresentedError, sct::SctFault,
    },
};
use crate::{
    config::{self, ConfigErrors, LoadOptions},
    keys::SignatureAlgorithm,
    serve::{self, Running, StartError},
    time::Clock,
};

/// See it work: a fresh CA, its log and a sign-in, one certificate, every check
///
/// Makes a CA, a transparency log and a development identity provider in a fresh directory, serves
/// them on loopback, gets one certificate as a client would, verifies it from every side, and prints
/// the shell lines to do the same by hand. Then it serves until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct DemoArguments {
    /// Stop after the walk; exit code 1 if anything did not verify
    #[arg(long)]
    once: bool,
    /// Begin in this new or empty directory and keep it [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Serve here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5555")]
    listen: SocketAddr,
}

/// Runs the command.
///
/// # Errors
/// A part did not start, or the certificate did not verify.
pub async fn run(
    arguments: DemoArguments,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let directory = Directory::choose(arguments.data)?;
    let mut say = Narrator::new(out);
    let demo = Demo::start(&directory, arguments.listen, clock, &mut say).await?;
    let outcome = demo.show(arguments.once, &mut say).await;
    demo.running.shutdown().await;
    Ok(outcome?)
}

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No directory, CA or log.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// No loopback port.
    #[error("cannot listen on {address}; another one can be chosen with --listen 127.0.0.1:0")]
    Port {
        /// Where.
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The demo's identity provider hands tokens to everyone.
    #[error("{address} is not a loopback address, and the demo signs in everyone who asks")]
    NotLoopback {
        /// Where.
        address: SocketAddr,
    },
    /// No identity provider.
    #[error("the development identity provider did not start")]
    Issuer {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The demo's own configuration was refused.
    #[error("the demo's own configuration was refused")]
    Config(#[from] ConfigErrors),
    /// No service.
    #[error("mayfly did not start")]
    Start {
        /// Why.
        #[source]
        source: StartError,
    },
    /// A URL put together here is none.
    #[error("'{url}' is no URL")]
    Url {
        /// The text.
        url: String,
    },
    /// No certificate.
    #[error("no certificate came")]
    Client(#[from] ClientError),
    /// A certificate of the chain.
    #[error("a certificate of the answer cannot be read")]
    Unreadable {
        /// Why.
        #[source]
        source: PresentedError,
    },
    /// Not for whom it was asked.
    #[error("the certificate is for '{found}', not for {EMAIL}")]
    OtherIdentity {
        /// For whom it is.
        found: String,
    },
    /// Does not verify.
    #[error("the certificate's chain does not verify")]
    Chain(#[from] ChainFault),
    /// Does not verify.
    #[error("the log's promise does not verify")]
    Sct(#[from] SctFault),
    /// Does not verify.
    #[error("the certificate's entry in the log does not verify")]
    Inclusion(#[from] InclusionFault),
    /// The service ended by itself.
    #[error("the service stopped because its log or its audit log failed")]
    Stopped,
    /// Standard output.
    #[error("the demo could not write its lines")]
    Output {
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// No signals.
    #[error("the operating system gives no signals")]
    Signals {
        /// What it says.
        #[source]
        source: io::Error,
    },
}

impl DemoError {
    /// Whether something was checked and did not hold, rather than not checked.
    pub fn is_an_answer(&self) -> bool {
        match self {
            Self::Client(error) | Self::Inclusion(InclusionFault::Fetch(error)) => {
                error.is_an_answer()
            }
            Self::Unreadable { .. } | Self::OtherIdentity { .. } | Self::Chain(_) => true,
            Self::Sct(_) | Self::Inclusion(_) | Self::Config(_) => true,
            Self::NotLoopback { .. } | Self::Home(HomeError::NotEmpty { .. }) => true,
            Self::Home(_) | Self::Port { .. } | Self::Issuer { .. } | Self::Start { .. } => false,
            Self::Url { .. } | Self::Stopped | Self::Output { .. } | Self::Signals { .. } => false,
        }
    }
}

/// Everything embedded, running.
#[derive(Debug)]
struct Demo {
    home: Home,
    issuer: DevIssuer,
    running: Running,
    base: Url,
    clock: Arc<dyn Clock>,
}

impl Demo {
    async fn start<W: Write + ?Sized>(
        directory: &Directory,
        listen: SocketAddr,
        clock: Arc<dyn Clock>,
        say: &mut Narrator<'_, W>,
    ) -> Result<Self, DemoError> {
        if !listen.ip().is_loopback() {
            return Err(DemoError::NotLoopback { address: listen });
        }
        let issuer = DevIssuer::start(Arc::clone(&clock))
            .await
            .map_err(|source| DemoError::Issuer { source })?;
        let plan = Plan {
            listen: free_address(listen)?,
            private: free_address(SocketAddr::new(listen.ip(), 0))?,
            issuer_url: issuer.url(),
            ca_algorithm: SignatureAlgorithm::EcdsaP384Sha384,
        };
        let home = Home::create(&directory.path, &plan, &clock).await?;
        let config = config::load(&home.config_path, LoadOptions { dev: false })?;
        let started = serve::start(config, Arc::clone(&clock)).await;
        let running = started.map_err(|source| DemoError::Start { source })?;
        let base = format!("http://{}", running.public_address());
        let base = base.parse().map_err(|_| DemoError::Url { url: base })?;
        let demo = Self { home, issuer, running, base, clock };
        demo.introduce(directory, say)?;
        Ok(demo)
    }

    fn introduce<W: Write + ?Sized>(
        &self,
        directory: &Directory,
        say: &mut Narrator<'_, W>,
    ) -> Result<(), DemoError> {
        say.title("Mayfly: an identity token in, a logged ten-minute certificate out.")?;
        say.step("Start a certificate authority, its log and an identity provider")?;
        say.detail(&format!("CA        {}", self.base.as_str().trim_end_matches('/')))?;
        say.detail(&format!(
            "          {}, below {}",
            self.home.issuing.subject(),
            self.home.root.subject()
        ))?;
        say.detail(&format!(
            "log       {}{}",
            self.base.as_str().trim_end_matches('/'),
            LOG_PREFIX
        ))?;
        say.detail(&format!(
            "sign-in   {} (for development: it believes everyone)",
            self.issuer.url()
        ))?;
        say.detail(&format!("files     {}{}", directory.path.display(), directory.fate()))
    }

    async fn show<W: Write + ?Sized>(
        &self,
        once: bool,
        say: &mut Narrator<'_, W>,
    ) -> Result<(), DemoError> {
        let clock = self.clock.as_ref();
        let walk = Walk { base: &self.base, home: &self.home, issuer: &self.issuer, clock };
        walk.run(say).await?;
        if once {
            say.title("\nEverything verified.")?;
            return Ok(());
        }
        say.step("Now by hand, in another terminal:")?;
        say.verbatim("")?;
        let token_url = self.issuer.token_url(EMAIL);
        say.verbatim(&shell::lines(&self.base, &token_url, EMAIL))?;
        say.title("\nEverything verified. Serving until Ctrl-C.")?;
        tokio::select! {
            signal = interrupted() => signal.map_err(|source| DemoError::Signals { source }),
            () = self.running.failed() => Err(DemoError::Stopped),
        }
    }
}

/// Where the demo lives; a temporary directory goes away with it.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    temporary: bool,
}

impl Directory {
    fn choose(data: Option<PathBuf>) -> Result<Self, DemoError> {
        if let Some(path) = data {
            return Ok(Self { path, temporary: false });
        }
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| HomeError::Randomness)?;
        let path = std::env::temp_dir().join(format!("mayfly-demo-{}", hex::encode(random)));
        Ok(Self { path, temporary: true })
    }

    fn fate(&self) -> &'static str {
        if self.temporary { " (removed at the end; --data DIRECTORY keeps them)" } else { "" }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.temporary {
            remove(&self.path);
        }
    }
}

/// The keys in it are worth nothing any more; if it cannot be removed, the system's own cleaning
/// of temporary files will do it.
fn remove(path: &Path) {
    let _left_behind = fs::remove_dir_all(path);
}

/// The configuration must name the port before it is opened, so a free one is looked for first.
/// Should another process take it in between, starting fails and says so.
fn free_address(address: SocketAddr) -> Result<SocketAddr, DemoError> {
    let failed = |source| DemoError::Port { address, source };
    TcpListener::bind(address).and_then(|listener| listener.local_addr()).map_err(failed)
}

const AFTER_HELP: &str = "\
Example, on another port, stopping after the walk:
  mayfly demo --once --listen 127.0.0.1:0

Exit code: 0 everything verified, 1 something did not, 2 could not tell.";
