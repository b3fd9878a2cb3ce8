//! THE pipeline: from a request to an issued certificate, every step a type.
//!
//! In: a [`Request`], as any adapter made it from its bytes. Out: an [`Issued`] certificate that
//! stands in the log, or the [`Error`] of the first step that refused. Knows nothing of HTTP,
//! gRPC, files and configuration.
//!
//! The order of effects is part of the contract: audit *intent*, sign the precertificate, commit
//! it to the log, sign the certificate, audit *issued*, answer. From the first signature on the
//! work runs in a task of its own, so that a client that hangs up cannot leave a certificate
//! signed but not recorded.

mod error;
mod measure;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{
    audit::{AuditError, AuditLog, Event, Issuance},
    ca::{CaSet, Issued, Serial},
    identity::Profiles,
    log::Log,
    oidc::{IssuerTable, RefreshTasks},
    policy::{Approved, Policy},
    proof::{self, Possession},
    secret::Secret,
    telemetry::{
        RequestId,
        metrics::{IssuerCounters, Metrics, Step},
    },
    time::{Clock, Timestamp},
};

pub use error::{Error, Refused, Stage};

use measure::{Steps, claimed_issuer, key_kind};

/// What a client asks for, whatever protocol it spoke.
#[derive(Debug)]
pub struct Request {
    /// Given by the adapter that read the request.
    pub id: RequestId,
    /// The OIDC token, as text.
    pub token: Secret,
    /// The key and what shows that the client holds it.
    pub possession: Possession,
}

/// One configuration in effect. A request takes one snapshot and uses nothing else, so a reload
/// in its midst cannot mix two (NT-50).
#[derive(Debug)]
pub struct Generation {
    /// Whose tokens are trusted.
    pub issuers: Arc<IssuerTable>,
    /// Keeps the issuers' keys fresh for as long as this configuration is in use.
    pub refresh: RefreshTasks,
    /// How their claims become identities.
    pub profiles: Profiles,
    /// Which identities may have which keys certified.
    pub policy: Policy,
    /// Who signs, and what verifiers must know.
    pub ca: CaSet,
    /// What counts the certificates for each issuer's tokens.
    pub counters: IssuerCounters,
}

/// What bounds the work of a [`Service`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Issuances under way at once; the next one is [`Error::Overloaded`].
    pub in_flight: u32,
    /// From the request's arrival to its answer, all stages together.
    pub deadline: Duration,
}

/// How much of what a [`Service`] may do at once it does now.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Issuances under way.
    pub in_flight: usize,
    /// [`Bounds::in_flight`].
    pub limit: usize,
}

/// Where what a [`Service`] did is written down.
#[derive(Clone, Debug)]
pub struct Records {
    /// For auditors; what it does not take is not done.
    pub audit: Arc<AuditLog>,
    /// For operators.
    pub metrics: Arc<Metrics>,
}

/// Issues certificates. One per process, shared by all adapters.
#[derive(Debug)]
pub struct Service {
    generation: ArcSwap<Generation>,
    log: Option<Log>,
    audit: Arc<AuditLog>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    slots: Arc<Semaphore>,
    slot_count: u32,
    deadline: Duration,
}

impl Service {
    /// A service over the given stores. `log` is `None` only where the operator wrote `log: none`.
    pub fn new(
        generation: Generation,
        log: Option<Log>,
        records: Records,
        clock: Arc<dyn Clock>,
        bounds: Bounds,
    ) -> Self {
        Self {
            generation: ArcSwap::from_pointee(generation),
            log,
            audit: records.audit,
            metrics: records.metrics,
            clock,
            slots: Arc::new(Semaphore::new(
                usize::try_from(bounds.in_flight).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            slot_count: bounds.in_flight,
            deadline: bounds.deadline,
        }
    }

    /// Verifies, approves, signs, logs, and answers with the certificate.
    ///
    /// # Errors
    /// The first step that refused or failed; nothing was issued then, and the audit log says so.
    pub async fn issue(self: &Arc<Self>, request: Request) -> Result<Issued, Refused> {
        let generation = self.generation.load_full();
        let error = match self.run(&request, &generation).await {
            Ok(issued) => return Ok(issued),
            Err(error) => error,
        };
        let issuer = claimed_issuer(&generation, &request, &error);
        if !error.is_recorded()
            && let Err(error) = self.record_refusal(&request.id, &error.to_string())
        {
            return Err(Refused { error: error.into(), issuer });
        }
        Err(Refused { error, issuer })
    }

    /// Records a request that an adapter refused before it became a [`Request`].
    ///
    /// # Errors
    /// The audit log takes no lines.
    pub fn record_refusal(&self, request: &RequestId, reason: &str) -> Result<(), AuditError> {
        // What a caller can make long is not worth a long line.
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
        self.audit.record(self.clock.now(), &Event::Refused { request, reason })
    }

    /// The configuration in effect.
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// Puts another configuration into effect for the requests that come.
    pub fn replace_generation(&self, generation: Generation) {
        self.generation.store(Arc::new(generation));
    }

    /// The log, where there is one.
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// Whether a good request could be served now: an authority signs, the log takes entries, and
    /// so does the audit log.
    pub fn can_issue(&self) -> bool {
        let log_works = self.log.as_ref().is_none_or(|log| log.status().stopped.is_none());
        let signs = self.generation().ca.signs_at(self.now());
        log_works && signs && self.audit.is_writable()
    }

    /// The audit log.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// What is counted here.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How busy the service is.
    pub fn load(&self) -> Load {
        let limit = usize::try_from(self.slot_count).unwrap_or(Semaphore::MAX_PERMITS);
        Load { in_flight: limit.saturating_sub(self.slots.available_permits()), limit }
    }

    /// The current time, for whatever is answered without a request to issue.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Resolves once no issuance is under way, be it that its client hung up or was answered that
    /// it took too long: each has then said in the audit log how it ended.
    pub async fn idle(&self) {
        // Fails only for a closed semaphore, and nothing closes this one.
        let _all_slots = self.slots.acquire_many(self.slot_count).await;
    }

    async fn run(
        self: &Arc<Self>,
        request: &Request,
        generation: &Arc<Generation>,
    ) -> Result<Issued, Error> {
        let mut steps = Steps::begin(&self.metrics);
        let deadline = steps.began + self.deadline;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Error::Overloaded)?;
        let now = self.clock.now();

        let token = request.token.expose_text().ok_or(Error::TokenNotText)?;
        let verified = generation.issuers.verify(token, now);
        let token = within(deadline, Stage::Token, verified).await??;
        steps.done(Step::Token);
        let identity = generation.profiles.derive(token)?;
        let key = proof::check(&request.possession, &identity)?;
        let approved = generation.policy.decide(identity, key)?;
        steps.done(Step::Proof);

        let (service, generation, id) = (Arc::clone(self), Arc::clone(generation), request.id);
        let certified =
            tokio::spawn(
                async move { service.certify(&generation, &id, approved, now, slot).await },
            );
        within(deadline, Stage::Signing, certified).await?.map_err(|_| Error::Aborted)?
    }

    /// Everything after the decision. Runs to its end whoever waits for it, and holds its slot
    /// that long.
    async fn certify(
        &self,
        generation: &Generation,
        request: &RequestId,
        approved: Approved,
        now: Timestamp,
        _slot: OwnedSemaphorePermit,
    ) -> Result<Issued, Error> {
        let serial = Serial::from_random(random()?);
        let record = Record::new(&approved, &serial);
        let counter = generation
            .counters
            .certificates(approved.identity().configured_as(), key_kind(approved.key().key()));
        self.audit.record(now, &Event::Intent(record.issuance(request, None)))?;
        let signed = AssertUnwindSafe(self.sign_and_log(generation, approved, now, serial));
        // A bug must leave its line as well. Nothing that it could have left half done is looked
        // at again: the approval and the precertificate are gone with it.
        match signed.catch_unwind().await.unwrap_or(Err(Error::Aborted)) {
            Ok(issued) => {
                let issuance = record.issuance(request, issued.log_index());
                self.audit.record(now, &Event::Issued(issuance))?;
                if let Some(counter) = counter {
                    self.metrics.issued(counter);
                }
                Ok(issued)
            }
            Err(error) => {
                let reason = error.to_string();
                let serial = &record.serial;
                self.audit.record(now, &Event::Failed { request, serial, reason: &reason })?;
                Err(error)
            }
        }
    }

    async fn sign_and_log(
        &self,
        generation: &Generation,
        approved: Approved,
        now: Timestamp,
        serial: Serial,
    ) -> Result<Issued, Error> {
        let issuer = generation.ca.signing_at(now)?;
        let mut steps = Steps::begin(&self.metrics);
        let Some(log) = &self.log else {
            let issued = issuer.certify_unlogged(approved, now, serial).await?;
            steps.done(Step::Certificate);
            return Ok(issued);
        };
        let precert = issuer.precertify(approved, now, serial).await?;
        steps.done(Step::Precertificate);
        let sct = log.submit(Arc::clone(precert.log_entry())).await?;
        steps.done(Step::Log);
        let issued = precert.finish(sct).await?;
        steps.done(Step::Certificate);
        Ok(issued)
    }
}

/// What the audit log says of an issuance, taken from the approval before it is consumed.
struct Record {
    issuer: String,
    subject: String,
    san: String,
    key_sha256: String,
    serial: String,
}

impl Record {
    fn new(approved: &Approved, serial: &Serial) -> Self {
        let identity = approved.identity();
        Self {
            issuer: identity.issuer().to_owned(),
            subject: identity.subject().to_owned(),
            san: identity.san().value().to_owned(),
            key_sha256: hex::encode(digest(&SHA256, approved.key().key().spki_der())),
            serial: serial.to_string(),
        }
    }

    fn issuance<'a>(&'a self, request: &'a RequestId, log_index: Option<u64>) -> Issuance<'a> {
        Issuance {
            request,
            issuer: &self.issuer,
            subject: &self.subject,
            san: &self.san,
            key_sha256: &self.key_sha256,
            serial: &self.serial,
            log_index,
        }
    }
}

/// Waits for `work` until `deadline`; work in a task of its own goes on after that.
async fn within<T>(
    deadline: Instant,
    stage: Stage,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    timeout_at(deadline, work).await.map_err(|_| Error::Deadline { stage })
}

/// Fresh random bytes from the operating system's generator, by way of AWS-LC.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Randomness)?;
    Ok(bytes)
}

/// Of a refusal's reason in the audit log. The caller's answer has all of it.
const REASON_BYTES: usize = 1024;
