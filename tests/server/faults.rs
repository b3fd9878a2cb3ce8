//! A fault at each step of the pipeline: no certificate comes out, the answer is the one that the
//! table says, and the audit log says what happened.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{FutureExt, future::BoxFuture};
use mayfly::{
    api::status::Status,
    audit::AuditLog,
    ca::{self, CaSet, Issued},
    issue::{Bounds, Error, Generation, Records, Request, Service, Stage},
    keys::{self, SignError, SignatureAlgorithm, Signer},
    log::Log,
    oidc::IssuerTable,
    policy::{ClientAlgorithms, Policy},
    proof::Possession,
    secret::Secret,
    serve,
    telemetry::{RequestId, metrics::Metrics},
    time::{Clock, SystemClock},
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::{
    token::{IssuerKey, email_claims, key_and_proof},
    world::{issuers, load, mayfly_yaml, write_authority},
};

/// What a key does instead of signing.
#[derive(Clone, Debug)]
enum Fault {
    Unreachable,
    Refuses,
    /// What Azure and PKCS #11 call a signature.
    RawSignature,
    /// The right form, of another message.
    OtherMessage,
    Panics,
    /// Until the gate opens; then it signs.
    Hangs(Arc<Semaphore>),
    /// Signs, but the audit log takes no lines from then on.
    BreaksAudit(Arc<File>),
}

/// A key that fails at one of its signatures, counted from when the service is ready.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Signer>,
    fault: Option<(usize, Fault)>,
    /// Signatures until the service is ready: of a CA key its proof.
    ready_after: usize,
    calls: AtomicUsize,
}

impl Signer for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }

    fn public_key_der(&self) -> &[u8] {
        self.inner.public_key_der()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.as_ref();
        match fault.filter(|(at, _)| call == at + self.ready_after).map(|(_, fault)| fault) {
            Some(fault) => self.fail(fault.clone(), message).boxed(),
            None => self.inner.sign(message),
        }
    }
}

impl Faulty {
    async fn fail(&self, fault: Fault, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let key = || self.name().to_owned();
        match fault {
            Fault::Unreachable => Err(SignError::Unavailable { key: key(), source: None }),
            Fault::Refuses => Err(SignError::Failed { key: key() }),
            Fault::RawSignature => Ok(vec![0x5a; 64]),
            Fault::OtherMessage => self.inner.sign(b"another message").await,
            Fault::Panics => panic!("a bug in a signer"),
            Fault::Hangs(gate) => {
                drop(gate.acquire().await.unwrap());
                self.inner.sign(message).await
            }
            Fault::BreaksAudit(file) => {
                seal(&file);
                self.inner.sign(message).await
            }
        }
    }
}

/// From now on nothing can be appended.
fn seal(file: &File) {
    fcntl_add_seals(file, SealFlags::GROW).unwrap();
}

/// Faults to be built into a service.
#[derive(Default)]
struct Faults {
    ca_key: Option<(usize, Fault)>,
    log_key: Option<(usize, Fault)>,
    chain_unknown_to_log: bool,
}

/// The pipeline without its ports.
struct Pipeline {
    folder: TempDir,
    issuer_key: IssuerKey,
    service: Arc<Service>,
    audit_path: PathBuf,
    audit: Arc<File>,
}

impl Pipeline {
    async fn with(faults: impl FnOnce(&Arc<File>) -> Faults) -> Self {
        // A file in memory, because such a one can be forbidden to grow.
        let audit = File::from(memfd_create("audit", MemfdFlags::ALLOW_SEALING).unwrap());
        let audit_path = PathBuf::from(format!("/proc/self/fd/{}", audit.as_raw_fd()));
        let audit = Arc::new(audit);
        let faults = faults(&audit);
        let folder = tempfile::tempdir().unwrap();
        let issuer_key = IssuerKey::generate();
        write_authority(folder.path(), "issuing", SignatureAlgorithm::EcdsaP256Sha256).await;
        let log_key = keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        log_key.write_new(&folder.path().join("log.pem")).unwrap();
        fs::write(folder.path().join("issuers.yaml"), issuers(&issuer_key)).unwrap();
        fs::write(folder.path().join("mayfly.yaml"), mayfly_yaml("issuing", "")).unwrap();
        let service = service(&folder, &audit_path, faults).await;
        Self { folder, issuer_key, service, audit_path, audit }
    }

    fn request(&self) -> Request {
        let (public_key, proof) = key_and_proof("jane@example.com");
        Request {
            id: RequestId::from_random([7; 16]),
            token: Secret::from(self.issuer_key.sign(&email_claims())),
            possession: Possession::Signature {
                public_key: public_key.into_bytes(),
                signature: STANDARD.decode(proof).unwrap(),
            },
        }
    }

    async fn issue(&self) -> Result<Issued, Error> {
        self.service.issue(self.request()).await.map_err(|refused| refused.error)
    }

    fn log_size(&self) -> u64 {
        self.service.log().unwrap().status().size
    }

    fn audit_lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.audit_path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn audited(&self) -> Vec<String> {
        let lines = self.audit_lines();
        lines.iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
    }
}

async fn service(folder: &TempDir, audit_path: &std::path::Path, faults: Faults) -> Arc<Service> {
    let config = load(folder.path()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut settings =
        serve::log_settings(&config, &clock, &Metrics::new()).await.unwrap().unwrap();
    Log::init(&settings).await.unwrap();
    let (inner, calls) = (settings.signer, AtomicUsize::new(0));
    settings.signer = Arc::new(Faulty { inner, fault: faults.log_key, ready_after: 0, calls });
    let log = Log::open(settings).await.unwrap();

    let authority = config.authorities.into_iter().next().unwrap();
    let inner = keys::open(&authority.key, None).await.unwrap();
    let calls = AtomicUsize::new(0);
    let signer = Arc::new(Faulty { inner, fault: faults.ca_key, ready_after: 1, calls });
    let now = clock.now();
    let issuer = ca::Issuer::new(signer, authority.chain, now).await.unwrap();
    for certificate in issuer.chain().iter().filter(|_| !faults.chain_unknown_to_log) {
        log.add_issuer(certificate.der()).await.unwrap();
    }
    let authority = ca::Authority { issuer: Arc::new(issuer), activate: None, retire: None };
    let issuers = Arc::new(IssuerTable::new(config.issuers, Arc::clone(&clock)).unwrap());
    let metrics = Arc::new(Metrics::new());
    let published = config.profiles.published().iter();
    let counters = metrics
        .issuers(published.map(|issuer| (issuer.name.as_str(), issuer.issuer_type.as_str())));
    let generation = Generation {
        refresh: issuers.spawn_refresh(),
        issuers,
        profiles: config.profiles,
        policy: Policy::new(ClientAlgorithms::default()),
        ca: CaSet::new(vec![authority]).unwrap(),
        counters,
    };
    let records = Records { audit: Arc::new(AuditLog::open(audit_path).unwrap()), metrics };
    let bounds = Bounds { in_flight: 4, deadline: Duration::from_millis(400) };
    Arc::new(Service::new(generation, Some(log), records, clock, bounds))
}

/// What must be said and left behind.
struct Outcome {
    status: u16,
    label: &'static str,
    audited: &'static [&'static str],
    log_size: u64,
}

async fn fails(what: &str, pipeline: &Pipeline, outcome: Outcome) {
    let error = pipeline.issue().await.expect_err(what);
    let status = Status::from(&error);
    assert_eq!((status.http.as_u16(), status.label), (outcome.status, outcome.label), "{what}");
    let folder = pipeline.folder.path().to_str().unwrap();
    assert!(!status.message.contains(folder), "{what}: {}", status.message);
    assert_eq!(pipeline.audited(), outcome.audited, "{what}");
    assert_eq!(pipeline.log_size(), outcome.log_size, "{what}");
    let lines = pipeline.audit_lines();
    if let [intent, failed] = lines.as_slice()
        && failed["event"] == "failed"
    {
        assert_eq!(intent["serial"], failed["serial"], "{what}");
        assert!(!failed["reason"].as_str().unwrap().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn without_a_fault_the_pipeline_issues() {
    let pipeline = Pipeline::with(|_| Faults::default()).await;
    let issued = pipeline.issue().await.unwrap();
    assert_eq!(pipeline.audited(), ["intent", "issued"]);
    assert_eq!((pipeline.log_size(), issued.log_index()), (1, Some(0)));
    assert_eq!(pipeline.audit_lines()[1]["serial"], issued.serial().to_string());
}

#[tokio::test]
async fn nt_05_a_ca_key_that_does_not_sign_leaves_no_certificate() {
    let failed: &[&str] = &["intent", "failed"];
    for (what, at, fault, status, label, audited, log_size) in [
        ("no precertificate", 0, Fault::Unreachable, 503, "ca_unavailable", failed, 0),
        ("refuses the precertificate", 0, Fault::Refuses, 500, "ca", failed, 0),
        ("raw signature on the precertificate", 0, Fault::RawSignature, 500, "ca", failed, 0),
        ("panics at the precertificate", 0, Fault::Panics, 500, "internal", failed, 0),
        ("no certificate", 1, Fault::Unreachable, 503, "ca_unavailable", failed, 1),
        ("refuses the certificate", 1, Fault::Refuses, 500, "ca", failed, 1),
        ("raw signature on the certificate", 1, Fault::RawSignature, 500, "ca", failed, 1),
        ("panics at the certificate", 1, Fault::Panics, 500, "internal", failed, 1),
    ] {
        let ca_key = Some((at, fault));
        let pipeline = Pipeline::with(|_| Faults { ca_key, ..Faults::default() }).await;
        fails(what, &pipeline, Outcome { status, label, audited, log_size }).await;
        // One bad signature is not the end of the service.
        pipeline.issue().await.expect(what);
    }
}

#[tokio::test]
async fn nt_05_nt_51_a_log_that_does_not_promise_leaves_no_certificate() {
    for (what, at, fault, log_size) in [
        ("no checkpoint", 0, Fault::Refuses, 0),
        ("a checkpoint of another message", 0, Fault::OtherMessage, 0),
        ("no SCT", 1, Fault::Unreachable, 1),
        ("an SCT of another message", 1, Fault::OtherMessage, 1),
        ("a raw signature as SCT", 1, Fault::RawSignature, 1),
    ] {
        let log_key = Some((at, fault));
        let pipeline = Pipeline::with(|_| Faults { log_key, ..Faults::default() }).await;
        let audited = &["intent", "failed"];
        let outcome = Outcome { status: 503, label: "log_unavailable", audited, log_size };
        fails(what, &pipeline, outcome).await;
    }
}

#[tokio::test]
async fn nt_05_a_log_that_refuses_or_ends_leaves_no_certificate() {
    let chain_unknown_to_log = true;
    let pipeline = Pipeline::with(|_| Faults { chain_unknown_to_log, ..Faults::default() }).await;
    let audited = &["intent", "failed"];
    let outcome = Outcome { status: 500, label: "log", audited, log_size: 0 };
    fails("a chain that the log does not have", &pipeline, outcome).await;

    let pipeline = Pipeline::with(|_| Faults::default()).await;
    pipeline.service.log().unwrap().shutdown().await;
    let outcome = Outcome { status: 503, label: "log_unavailable", audited, log_size: 0 };
    fails("a log that was shut down", &pipeline, outcome).await;
}

#[tokio::test]
async fn nt_05_a_log_that_stops_on_a_damaged_store_takes_nothing_more() {
    let pipeline = Pipeline::with(|_| Faults::default()).await;
    let tile = pipeline.folder.path().join("log/static/tile/data/000");
    fs::create_dir_all(tile.parent().unwrap()).unwrap();
    fs::write(tile, "not the tile that the log will write").unwrap();
    let mut issued = 0;
    let error = loop {
        match pipeline.issue().await {
            Ok(_) => issued += 1,
            Err(error) => break error,
        }
        assert!(issued < 2000, "the log goes on over a damaged tile");
    };
    assert_eq!(Status::from(&error).label, "log_unavailable");
    assert!(issued >= 256 && pipeline.log_size() >= issued, "every certificate stands in the log");
    pipeline.service.log().unwrap().stopped().await;
}

#[tokio::test]
async fn nt_05_an_audit_log_that_takes_no_line_lets_nothing_out() {
    let pipeline = Pipeline::with(|_| Faults::default()).await;
    seal(&pipeline.audit);
    for what in ["the intent is not written", "and not tried again"] {
        let outcome = Outcome { status: 503, label: "audit", audited: &[], log_size: 0 };
        fails(what, &pipeline, outcome).await;
    }
    let refused = pipeline.service.record_refusal(&RequestId::from_random([1; 16]), "x");
    assert!(refused.is_err());

    let breaks = |audit: &Arc<File>| Faults {
        ca_key: Some((1, Fault::BreaksAudit(Arc::clone(audit)))),
        ..Faults::default()
    };
    let pipeline = Pipeline::with(breaks).await;
    let outcome = Outcome { status: 503, label: "audit", audited: &["intent"], log_size: 1 };
    fails("the certificate is signed but not recorded", &pipeline, outcome).await;
}

fn hanging(at: usize) -> (Arc<Semaphore>, impl FnOnce(&Arc<File>) -> Faults) {
    let gate = Arc::new(Semaphore::new(0));
    let ca_key = Some((at, Fault::Hangs(Arc::clone(&gate))));
    (gate, |_: &Arc<File>| Faults { ca_key, ..Faults::default() })
}

#[tokio::test]
async fn a_key_that_hangs_is_answered_in_time_and_the_task_records_its_end() {
    for at in [0, 1] {
        let (gate, faults) = hanging(at);
        let pipeline = Pipeline::with(faults).await;
        let started = tokio::time::Instant::now();
        let error = pipeline.issue().await.expect_err("out of time");
        let waited = started.elapsed();
        assert!(matches!(error, Error::Deadline { stage: Stage::Signing }), "{error:?}");
        assert_eq!(Status::from(&error).http, 503);
        assert!((300..3000).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!(pipeline.audited(), ["intent"]);
        gate.add_permits(1);
        pipeline.service.idle().await;
        assert_eq!(pipeline.audited(), ["intent", "issued"]);
        assert_eq!(pipeline.log_size(), 1);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_recorded_end() {
    let (gate, faults) = hanging(0);
    let pipeline = Pipeline::with(faults).await;
    let hung_up = tokio::time::timeout(Duration::from_millis(100), pipeline.issue()).await;
    assert!(hung_up.is_err());
    assert_eq!(pipeline.audited(), ["intent"]);
    gate.add_permits(1);
    pipeline.service.idle().await;
    assert_eq!(pipeline.audited(), ["intent", "issued"]);
}

#[tokio::test]
async fn keys_that_hang_take_up_all_places_and_not_more() {
    let (gate, faults) = hanging(0);
    let pipeline = Pipeline::with(faults).await;
    // Only the first hangs: the other three places are free and are free again.
    let first = pipeline.issue();
    let others = async {
        for _ in 0..3 {
            pipeline.issue().await.unwrap();
        }
        gate.add_permits(1);
    };
    let (first, ()) = futures_util::future::join(first, others).await;
    first.unwrap();
    let five = futures_util::future::join_all((0..5).map(|_| pipeline.issue())).await;
    assert!(five.iter().any(Result::is_ok));
    for refused in five.iter().filter_map(|each| each.as_ref().err()) {
        assert!(matches!(refused, Error::Overloaded), "{refused:?}");
    }
}
