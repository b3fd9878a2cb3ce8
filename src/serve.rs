//! The composition root: configuration in, a running service out.
//!
//! In: a checked [`Config`]. Out: [`Running`], which serves until told to stop. This is the only
//! place where stores, keys and listeners are put together; it opens everything, proves that it
//! works, and only then opens a port. Knows nothing of the command line.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    api::http::{
        Shared, router,
        server::{self, ConnectionBounds},
    },
    audit::{AuditError, AuditLog, Event},
    ca::{self, CaError, CaSet, CaSetError, ChainError},
    config::{Authority, Config, Limits, LogChoice, PassphraseError, PassphraseSource},
    issue::{Bounds, Generation, Service},
    keys::{self, KeyUri, Signer, dev::DevelopmentKeyRefused, file::OpenKeyError},
    log::{Log, LogSettings, OpenError, SubmitError},
    oidc::{IssuerTable, IssuerTableError},
    policy::Policy,
    time::{Clock, Timestamp},
};

/// A running service.
#[derive(Debug)]
pub struct Running {
    public_address: SocketAddr,
    service: Arc<Service>,
    audit: Arc<AuditLog>,
    clock: Arc<dyn Clock>,
    fixed: Fixed,
    stop: watch::Sender<bool>,
    failed: watch::Receiver<bool>,
    stores: JoinHandle<()>,
    public: JoinHandle<()>,
}

/// What a reload cannot change: it would need another listener, log or audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fixed {
    listen: SocketAddr,
    audit: PathBuf,
    log: LogChoice,
    limits: Limits,
}

/// Opens every store and key, proves that they work together, and begins to serve.
///
/// # Errors
/// The first part that did not open or prove itself, by name; no port was opened then.
pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    let now = clock.now();
    let fixed = Fixed::of(&config);
    let (listen, limits) = (config.listen, config.limits);
    let log = open_log(&config, &clock).await?;
    let audit = Arc::new(AuditLog::open(&config.audit)?);
    let generation = generation(config, &clock, now, None).await?;
    register_chains(log.as_ref(), &generation.ca, now).await?;
    let listener = bind(listen).await?;
    let public_address = listener.local_addr().map_err(|source| bind_error(listen, source))?;

    let log_id = log.as_ref().map(|log| hex::encode(log.id().0));
    let started = Event::Started { version: VERSION, log_id: log_id.as_deref() };
    audit.record(now, &started)?;

    let bounds = Bounds {
        in_flight: limits.requests_in_flight,
        deadline: Duration::from_millis(limits.deadline_ms),
    };
    let service =
        Service::new(generation, log.clone(), Arc::clone(&audit), Arc::clone(&clock), bounds);
    let service = Arc::new(service);
    let (stop, stopping) = watch::channel(false);
    let (failure, failed) = watch::channel(false);
    let stores = watch_stores(log, Arc::clone(&audit), failure);
    let routes = router(Shared {
        service: Arc::clone(&service),
        body_limit_bytes: limits.body_bytes,
        body_timeout: Duration::from_millis(limits.header_timeout_ms),
    });
    let public = tokio::spawn(server::serve(listener, routes, connections(limits), stopping));
    Ok(Running { public_address, service, audit, clock, fixed, stop, failed, stores, public })
}

impl Running {
    /// Where the public port listens; the port the system chose where the configuration says 0.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// The pipeline, for the adapters of this process.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Puts another configuration into effect, all of it or nothing: whatever fails, the old one
    /// stays, and the audit log says why (NT-65).
    ///
    /// # Errors
    /// What of the new configuration did not prove itself, or cannot change without a restart.
    pub async fn reload(&self, config: Config) -> Result<(), StartError> {
        let outcome = self.try_reload(config).await;
        let error = outcome.as_ref().err().map(ToString::to_string);
        self.audit.record(self.clock.now(), &Event::Reload { error: error.as_deref() })?;
        outcome
    }

    async fn try_reload(&self, config: Config) -> Result<(), StartError> {
        self.fixed.refuse_change(&Fixed::of(&config))?;
        let now = self.clock.now();
        let in_effect = self.service.generation();
        let generation = generation(config, &self.clock, now, Some(&in_effect.issuers)).await?;
        register_chains(self.service.log(), &generation.ca, now).await?;
        self.service.replace_generation(generation);
        Ok(())
    }

    /// Resolves when a store failed and the process must end: what is in memory proves nothing
    /// any more, and the normal start recovers.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        // The sender lives in the watching task, which ends only after it has sent.
        let _ended = failed.wait_for(|failed| *failed).await;
    }

    /// Stops accepting, finishes what began, and closes the stores.
    pub async fn shutdown(self) {
        let _nobody_listens = self.stop.send(true);
        if let Err(error) = self.public.await {
            tracing::error!(%error, "the public port ended badly");
        }
        if let Some(log) = self.service.log() {
            log.shutdown().await;
        }
        // It holds the audit log, which the next process must be able to open.
        self.stores.abort();
        let _aborted = self.stores.await;
        let stopped = self.audit.record(self.clock.now(), &Event::Stopped);
        if let Err(error) = stopped.and_then(|()| self.audit.flush()) {
            tracing::error!(%error, "the audit log could not be closed in good order");
        }
    }
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.listen,
            audit: config.audit.clone(),
            log: config.log.clone(),
            limits: config.limits,
        }
    }

    fn refuse_change(&self, new: &Fixed) -> Result<(), StartError> {
        let changed = [
            ("listen", self.listen != new.listen),
            ("audit", self.audit != new.audit),
            ("log", self.log != new.log),
            ("limits", self.limits != new.limits),
        ];
        match changed.into_iter().find(|(_, changed)| *changed) {
            Some((key, _)) => Err(StartError::NeedsRestart { key }),
            None => Ok(()),
        }
    }
}

/// `previous`: the issuers in effect until now, whose keys and replay guards go on.
async fn generation(
    config: Config,
    clock: &Arc<dyn Clock>,
    now: Timestamp,
    previous: Option<&IssuerTable>,
) -> Result<Generation, StartError> {
    let mut authorities = Vec::with_capacity(config.authorities.len());
    for authority in config.authorities {
        authorities.push(open_authority(authority, now, config.dev).await?);
    }
    let ca = authorities_together(authorities, now)?;
    let clock = Arc::clone(clock);
    let issuers = Arc::new(match previous {
        Some(previous) => IssuerTable::succeeding(previous, config.issuers, clock)?,
        None => IssuerTable::new(config.issuers, clock)?,
    });
    Ok(Generation {
        refresh: issuers.spawn_refresh(),
        issuers,
        profiles: config.profiles,
        policy: Policy::unrestricted(),
        ca,
    })
}

/// Opens one authority's key and proves that it belongs to its chain.
///
/// # Errors
/// The key does not open, or key and chain do not fit.
pub async fn open_authority(
    authority: Authority,
    now: Timestamp,
    dev: bool,
) -> Result<ca::Authority, StartError> {
    let signer = open_key(&authority.key, authority.passphrase.as_ref(), dev).await?;
    let issuer = ca::Issuer::new(signer, authority.chain, now).await.map_err(|source| {
        StartError::Chain { chain: authority.chain_path, source: Box::new(source) }
    })?;
    let (activate, retire) = (authority.activate, authority.retire);
    Ok(ca::Authority { issuer: Arc::new(issuer), activate, retire })
}

/// Puts the authorities together, one of which must sign now: found here, and not by the first
/// request.
///
/// # Errors
/// They do not stand together, or none signs.
pub fn authorities_together(
    authorities: Vec<ca::Authority>,
    now: Timestamp,
) -> Result<CaSet, StartError> {
    let set = CaSet::new(authorities)?;
    set.signing_at(now)?;
    Ok(set)
}

async fn open_key(
    uri: &KeyUri,
    passphrase: Option<&PassphraseSource>,
    dev: bool,
) -> Result<Arc<dyn Signer>, StartError> {
    let passphrase = passphrase.map(PassphraseSource::read).transpose()?;
    let signer = keys::open(uri, passphrase.as_ref()).await?;
    keys::dev::refuse(uri, signer.public_key_der(), dev)?;
    Ok(signer)
}

async fn open_log(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Log>, StartError> {
    let Some(settings) = log_settings(config, clock).await? else {
        tracing::warn!(
            "log: none — certificates are issued without a transparency log and without an SCT; \
             Sigstore clients refuse them"
        );
        return Ok(None);
    };
    Ok(Some(Log::open(settings).await?))
}

/// The embedded log that the configuration names, with its key opened; `None` for `log: none`.
///
/// # Errors
/// The log's key does not open.
pub async fn log_settings(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Option<LogSettings>, StartError> {
    match &config.log {
        LogChoice::None => Ok(None),
        LogChoice::Embedded { data, origin, key, passphrase } => Ok(Some(LogSettings {
            data: data.clone(),
            origin: origin.clone(),
            signer: open_key(key, passphrase.as_ref(), config.dev).await?,
            clock: Arc::clone(clock),
        })),
    }
}

/// The log can name a chain in an entry only once it serves that chain's certificates.
async fn register_chains(log: Option<&Log>, ca: &CaSet, now: Timestamp) -> Result<(), StartError> {
    let Some(log) = log else { return Ok(()) };
    for certificate in ca.trusted_at(now).into_iter().flatten() {
        log.add_issuer(certificate.der()).await?;
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| bind_error(address, source))
}

fn bind_error(address: SocketAddr, source: io::Error) -> StartError {
    StartError::Bind { address, source }
}

fn connections(limits: Limits) -> ConnectionBounds {
    ConnectionBounds {
        open: OPEN_CONNECTIONS,
        header_timeout: Duration::from_millis(limits.header_timeout_ms),
        idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
        // What began has at most one deadline left.
        stop_timeout: Duration::from_millis(limits.deadline_ms),
    }
}

/// Flushes the audit log once a second, and tells when it or the log can go on no more.
fn watch_stores(
    log: Option<Log>,
    audit: Arc<AuditLog>,
    failure: watch::Sender<bool>,
) -> JoinHandle<()> {
    let log_stopped = async move {
        match log {
            Some(log) => {
                let reason = log.stopped().await;
                tracing::error!(%reason, "the log stopped");
            }
            None => std::future::pending().await,
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = log_stopped => {}
            () = flush_every_second(audit) => {}
        }
        let _nobody_listens = failure.send(true);
    })
}

/// Ends only when a flush fails.
async fn flush_every_second(audit: Arc<AuditLog>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let audit = Arc::clone(&audit);
        match tokio::task::spawn_blocking(move || audit.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the audit log cannot be written");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "the audit log's flush was aborted");
                return;
            }
        }
    }
}

/// Why the service did not start, or a reload was refused: which part, and what was wrong.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// What the configuration says.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// An authority's chain is not one that verifiers would accept for its key.
    #[error("chain {chain}: {source}")]
    Chain {
        /// The chain's file.
        chain: PathBuf,
        #[source]
        source: Box<ChainError>,
    },
    /// A reload named a change that takes a restart.
    #[error("'{key}' cannot change while the service runs: restart it")]
    NeedsRestart {
        /// The key of the configuration.
        key: &'static str,
    },
    /// The set of authorities does not stand together.
    #[error(transparent)]
    Authorities(#[from] CaSetError),
    /// No authority signs now.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A key does not open.
    #[error(transparent)]
    Key(#[from] OpenKeyError),
    /// A key that everyone has, without `--dev`.
    #[error(transparent)]
    Development(#[from] DevelopmentKeyRefused),
    /// A passphrase cannot be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The log does not open.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The log does not take up a chain's certificates.
    #[error(transparent)]
    LogIssuers(#[from] SubmitError),
    /// The audit log does not open or takes no lines.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The table of issuers does not stand together.
    #[error(transparent)]
    Issuers(#[from] IssuerTableError),
}

/// Connections open at once on one port: each costs a file descriptor and some 20 KiB.
const OPEN_CONNECTIONS: usize = 4096;
const VERSION: &str = env!("CARGO_PKG_VERSION");
