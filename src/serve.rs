//! The composition root: configuration in, a running service out.
//!
//! In: a checked [`Config`]. Out: [`Running`], which serves until told to stop. This is the only
//! place where stores, keys and listeners are put together; it opens everything, proves that it
//! works, and only then opens a port. Knows nothing of the command line.

mod certificate;
mod ct_log;
mod error;
pub mod follow;
mod precert_signer;
mod stores;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

pub use ct_log::{frozen_shards, log_settings};
pub use error::StartError;

use certificate::Certificate;
use ct_log::{freeze, open_log, open_shard, register_chains, succession};

use crate::{
    api::http::{
        RequestBounds,
        private::{self, InEffect},
        router,
        server::{self, ConnectionBounds},
        tls::{Tls, TlsFiles},
    },
    audit::{AuditError, AuditLog, Event},
    ca::{self, CaSet, Phase},
    config::{Authority, Config, Limits, LogChoice, PassphraseSource, effective::Effective},
    issue::{Bounds, Generation, Records, Service},
    keys::{self, KeyUri, Signer},
    log::Log,
    oidc::IssuerTable,
    policy::Policy,
    telemetry::{metrics::Metrics, with_causes},
    time::{Clock, Timestamp},
};

/// A running service.
#[derive(Debug)]
pub struct Running {
    public: Port,
    private: Option<Port>,
    service: Arc<Service>,
    records: Records,
    in_effect: Arc<InEffect>,
    clock: Arc<dyn Clock>,
    /// What is in effect; a change of the log is the only one that a reload makes to it.
    fixed: Mutex<Fixed>,
    failed: watch::Receiver<bool>,
    stores: JoinHandle<()>,
    certificate: Option<Certificate>,
}

/// A listener that is served, and the word that ends it.
#[derive(Debug)]
struct Port {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// What a reload cannot change: it would need another listener, log or audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fixed {
    listen: SocketAddr,
    tls: Option<TlsFiles>,
    private: Option<SocketAddr>,
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
    let tls = fixed.tls.clone().map(|files| Tls::open(files, now)).transpose()?;
    let metrics = Arc::new(Metrics::new());
    let log = open_log(&config, &clock, &metrics).await?;
    let audit = Arc::new(AuditLog::open(&config.audit)?);
    let records = Records { audit, metrics };
    let shown = shown(&config, log.as_ref());
    let generation = generation(config, None, &records, &clock, now).await?;
    register_chains(log.as_ref(), &generation.ca, now).await?;
    // Both, before either serves: a process that cannot have all its ports does not start.
    let public = Bound::to(fixed.listen).await?;
    let private = match fixed.private {
        Some(address) => Some(Bound::to(address).await?),
        None => None,
    };

    let log_id = log.as_ref().map(|log| hex::encode(log.id().0));
    let started = Event::Started { version: VERSION, log_id: log_id.as_deref() };
    records.audit.record(now, &started)?;

    let limits = fixed.limits;
    let (failure, failed) = watch::channel(false);
    let stores = stores::watch(log.clone(), Arc::clone(&records.audit), failure);
    let bounds = issuances(limits);
    let service = Service::new(generation, log, records.clone(), Arc::clone(&clock), bounds);
    let service = Arc::new(service);
    let in_effect = Arc::new(InEffect::new(now, shown));
    let routes = router(Arc::clone(&service), requests(limits));
    let acceptor = tls.as_ref().map(Tls::acceptor);
    let crowd = connections(limits, open_connections(limits.connections));
    let public = public.serve(acceptor, routes, crowd);
    let certificate = tls.map(|tls| Certificate::watch(tls, records.clone(), Arc::clone(&clock)));
    let private = private.map(|private| {
        let watched = private::Watched {
            service: Arc::clone(&service),
            tls: certificate.as_ref().map(Certificate::tls),
            in_effect: Arc::clone(&in_effect),
            stopping: public.stop.subscribe(),
        };
        private.serve(None, private::router(watched), connections(limits, PRIVATE_CONNECTIONS))
    });
    Ok(Running {
        public,
        private,
        service,
        records,
        in_effect,
        clock,
        fixed: Mutex::new(fixed),
        failed,
        stores,
        certificate,
    })
}

impl Running {
    /// Where the public port listens; the port the system chose where the configuration says 0.
    pub fn public_address(&self) -> SocketAddr {
        self.public.address
    }

    /// Where the private port listens; `None` for `private: none`.
    pub fn private_address(&self) -> Option<SocketAddr> {
        self.private.as_ref().map(|private| private.address)
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
        let error = outcome.as_ref().err().map(|error| with_causes(error));
        self.record_reload(error.as_deref())?;
        outcome
    }

    /// Records a reload for which there is no configuration: its files could not be read.
    ///
    /// # Errors
    /// The audit log takes no lines.
    pub fn record_refused_reload(&self, reason: &str) -> Result<(), AuditError> {
        self.record_reload(Some(reason))
    }

    /// In the audit log, in the metrics, and for `GET /config`.
    fn record_reload(&self, error: Option<&str>) -> Result<(), AuditError> {
        let now = self.clock.now();
        self.records.metrics.reloaded(now.unix_seconds(), error.is_none());
        if let Some(error) = error {
            self.in_effect.keep(now, error);
        }
        self.records.audit.record(now, &Event::Reload { error })
    }

    async fn try_reload(&self, config: Config) -> Result<(), StartError> {
        let (old, fixed) = (self.fixed(), Fixed::of(&config));
        let ended = succession(&old.log, &fixed.log);
        old.refuse_change(&fixed, ended.is_some())?;
        let now = self.clock.now();
        let pair =
            self.certificate.as_ref().map(|certificate| certificate.load(now)).transpose()?;
        let current = self.service.generation();
        let metrics = &self.records.metrics;
        let next_log = match ended {
            Some(_) => open_shard(&config, &self.clock, metrics).await?,
            None => None,
        };
        let shown = shown(&config, next_log.as_ref().or(self.service.log()));
        let generation =
            generation(config, Some(&current), &self.records, &self.clock, now).await?;
        register_chains(self.service.log(), &generation.ca, now).await?;
        if let (Some(next), Some(log), Some(data)) = (&next_log, self.service.log(), ended) {
            // What is under way was signed by an authority of before.
            register_chains(next_log.as_ref(), &current.ca, now).await?;
            register_chains(next_log.as_ref(), &generation.ca, now).await?;
            let log_id = next.id().to_string();
            let ended = log.switch_to(next)?;
            self.records.audit.record(now, &Event::LogShard { log_id: &log_id })?;
            freeze(ended, data, now).await;
        }
        self.service.replace_generation(generation);
        self.in_effect.replace(now, shown);
        *self.fixed.lock().unwrap_or_else(PoisonError::into_inner) = fixed;
        if let (Some(certificate), Some(pair)) = (&self.certificate, pair) {
            certificate.replace(pair);
        }
        Ok(())
    }

    fn fixed(&self) -> Fixed {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Resolves when a store failed and the process must end: what is in memory proves nothing
    /// any more, and the normal start recovers.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        // The sender lives in the watching task, which ends only after it has sent.
        let _ended = failed.wait_for(|failed| *failed).await;
    }

    /// Stops accepting, finishes what began, and closes the stores. The private port goes last: it
    /// says meanwhile that the process is not ready any more.
    pub async fn shutdown(self) {
        let patience = Duration::from_millis(self.fixed().limits.deadline_ms);
        self.public.stop().await;
        // Issuances whose clients did not wait for them have their audit lines to write.
        if tokio::time::timeout(patience, self.service.idle()).await.is_err() {
            tracing::error!("issuances were cut that did not finish in time");
        }
        if let Some(log) = self.service.log() {
            log.shutdown().await;
        }
        if let Some(private) = self.private {
            private.stop().await;
        }
        if let Some(certificate) = self.certificate {
            certificate.stop().await;
        }
        // It holds the audit log, which the next process must be able to open.
        self.stores.abort();
        let _aborted = self.stores.await;
        let audit = &self.records.audit;
        let stopped = audit.record(self.clock.now(), &Event::Stopped);
        if let Err(error) = stopped.and_then(|()| audit.flush()) {
            tracing::error!(%error, "the audit log could not be closed in good order");
        }
    }
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.listen,
            tls: config.tls.clone(),
            private: config.private,
            audit: config.audit.clone(),
            log: config.log.clone(),
            limits: config.limits,
        }
    }

    /// `succeeds`: the new log follows the one in effect.
    fn refuse_change(&self, new: &Fixed, succeeds: bool) -> Result<(), StartError> {
        let changed = [
            ("listen", self.listen != new.listen),
            ("tls", self.tls != new.tls),
            ("private", self.private != new.private),
            ("audit", self.audit != new.audit),
            ("log", self.log != new.log && !succeeds),
            ("limits", self.limits != new.limits),
        ];
        match changed.into_iter().find(|(_, changed)| *changed) {
            Some((key, _)) => Err(StartError::NeedsRestart { key }),
            None => Ok(()),
        }
    }
}

/// Everything that a reload replaces. What the `previous` one knows of issuers that did not change
/// is taken over.
async fn generation(
    config: Config,
    previous: Option<&Generation>,
    records: &Records,
    clock: &Arc<dyn Clock>,
    now: Timestamp,
) -> Result<Generation, StartError> {
    let metrics = &records.metrics;
    let published = config.profiles.published().iter();
    let counters = metrics
        .issuers(published.map(|issuer| (issuer.name.as_str(), issuer.issuer_type.as_str())));
    let (mut authorities, mut with_precert_signer) = (Vec::new(), Vec::new());
    for authority in config.authorities {
        with_precert_signer.push(authority.precertificate_signer);
        authorities.push(open_authority(authority, now, config.dev, metrics).await?);
    }
    authorities_together(authorities.clone(), now)?;
    let clock = Arc::clone(clock);
    let issuers = match previous {
        None => IssuerTable::new(config.issuers, clock),
        Some(previous) => IssuerTable::succeeding(&previous.issuers, config.issuers, clock),
    };
    let issuers = Arc::new(issuers?);
    // Last, so that the CA key certifies nothing for a configuration that is refused.
    for (authority, wanted) in authorities.iter_mut().zip(with_precert_signer) {
        if wanted && authority.phase_at(now) <= Phase::Active {
            let certified = precert_signer::certified_by(&authority.issuer, &records.audit, now);
            authority.issuer = certified.await?;
        }
    }
    let ca = authorities_together(authorities, now)?;
    Ok(Generation {
        refresh: issuers.spawn_refresh(),
        issuers,
        profiles: config.profiles,
        policy: Policy::new(config.client_algorithms),
        ca,
        counters,
    })
}

/// A configuration as `GET /config` shows it.
fn shown(config: &Config, log: Option<&Log>) -> serde_json::Value {
    let mut effective = Effective::of(config);
    if let (Some(shown), Some(log)) = (&mut effective.log, log) {
        shown.id = Some(log.id().to_string());
    }
    serde_json::json!(effective)
}

/// Opens one authority's key and proves that it belongs to its chain.
///
/// # Errors
/// The key does not open, or key and chain do not fit.
pub async fn open_authority(
    authority: Authority,
    now: Timestamp,
    dev: bool,
    metrics: &Metrics,
) -> Result<ca::Authority, StartError> {
    let signer = open_key(&authority.key, authority.passphrase.as_ref(), dev, metrics).await?;
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

/// Opens one key, and refuses development keys unless `dev` is said.
///
/// # Errors
/// Its passphrase cannot be had, it cannot be opened, or everyone has it.
pub async fn open_key(
    uri: &KeyUri,
    passphrase: Option<&PassphraseSource>,
    dev: bool,
    metrics: &Metrics,
) -> Result<Arc<dyn Signer>, StartError> {
    let passphrase = passphrase.map(PassphraseSource::read).transpose()?;
    let signer = match uri {
        KeyUri::File(_) | KeyUri::Wrapped(_) => keys::open(uri, passphrase.as_ref()).await?,
        KeyUri::Pkcs11(_)
        | KeyUri::AwsKms(_)
        | KeyUri::AzureKms(_)
        | KeyUri::GcpKms(_)
        | KeyUri::Vault(_) => {
            let series = metrics.key(&uri.to_string());
            keys::open_counted(uri, passphrase.as_ref(), series).await?
        }
    };
    keys::dev::refuse(uri, signer.public_key_der(), dev)?;
    Ok(signer)
}

/// A listener that nobody serves yet.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    async fn to(address: SocketAddr) -> Result<Self, StartError> {
        let failed = |source| StartError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    fn serve(self, tls: Option<TlsAcceptor>, routes: Router, bounds: ConnectionBounds) -> Port {
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(server::serve(self.listener, tls, routes, bounds, stopping));
        Port { address: self.address, stop, serving }
    }
}

impl Port {
    async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, address = %self.address, "a port ended badly");
        }
    }
}

fn issuances(limits: Limits) -> Bounds {
    Bounds {
        in_flight: u32::try_from(limits.requests_in_flight).unwrap_or(u32::MAX),
        deadline: Duration::from_millis(limits.deadline_ms),
    }
}

fn requests(limits: Limits) -> RequestBounds {
    RequestBounds {
        body_bytes: limits.body_bytes,
        body_timeout: Duration::from_millis(limits.header_timeout_ms),
    }
}

fn connections(limits: Limits, open: usize) -> ConnectionBounds {
    ConnectionBounds {
        open,
        header_timeout: Duration::from_millis(limits.header_timeout_ms),
        idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
        // What began has at most one deadline left.
        stop_timeout: Duration::from_millis(limits.deadline_ms),
    }
}

/// How many connections the public port may hold: strangers must not be able to use up the file
/// descriptors, for without one the log cannot write its tiles, and stops (NT-08). Lifts the soft
/// limit as far as is needed and allowed.
fn open_connections(configured: usize) -> usize {
    let wanted = (configured + PRIVATE_CONNECTIONS + RESERVED_DESCRIPTORS) as u64;
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(u64::MAX).min(wanted);
    let current = limit.current.unwrap_or(u64::MAX);
    let lifted = Rlimit { current: Some(allowed), maximum: limit.maximum };
    let descriptors = if current < allowed && setrlimit(Resource::Nofile, lifted).is_ok() {
        allowed
    } else {
        current.min(wanted)
    };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let reserved = (PRIVATE_CONNECTIONS + RESERVED_DESCRIPTORS).min(descriptors / 2);
    let open = descriptors - reserved;
    if open < configured {
        tracing::warn!(
            open,
            "the limit on open files (ulimit -n) holds connections to this number"
        );
    }
    open
}

/// On the private port; a few scrapers and probes are all that is expected there.
const PRIVATE_CONNECTIONS: usize = 64;
/// For the stores, keys that are fetched, and what the process opens in passing.
const RESERVED_DESCRIPTORS: usize = 192;
const VERSION: &str = env!("CARGO_PKG_VERSION");
