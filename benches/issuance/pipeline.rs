//! The pipeline in this process: everything between HTTP and the disk, without HTTP.
//!
//! The service is put together as `mayfly serve` does it, durable log and audit log included, and
//! asked directly. What the server costs beyond this is HTTP.

use std::{error::Error, hint::black_box, sync::Arc, time::Instant};

use mayfly::{
    ca::LEAF_LIFETIME_SECONDS,
    cli::{
        client::{ClientKey, KeyAlgorithm},
        demo::issuer::DevIssuer,
    },
    config::{self, LoadOptions},
    issue::{Request, Service},
    keys::SignatureAlgorithm,
    proof::Possession,
    secret::Secret,
    serve,
    telemetry::RequestId,
    time::{Clock, SystemClock},
    x509::{
        Leaf,
        lint::{self, Stage},
    },
};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    installation::{EMAIL, new_home},
    process,
    server::Load,
};

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pipeline {
    pub(crate) certificates_per_second: f64,
    pub(crate) cpu_us_per_certificate: f64,
    /// Reading one certificate back and checking every rule of the profile. Done twice for each:
    /// before the precertificate is signed, and before the certificate is given out.
    pub(crate) lint_us: f64,
}

/// Issues `load.certificates` with `load.connections` at a time.
pub(crate) fn measure(ca: SignatureAlgorithm, load: &Load) -> Result<Pipeline, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(ca, load))
}

async fn run(ca: SignatureAlgorithm, load: &Load) -> Result<Pipeline, Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuer = DevIssuer::start(Arc::clone(&clock)).await?;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (home, _) = new_home(directory.path(), ca, &issuer, &clock).await?;
    let config = config::load(&home.config_path, LoadOptions { dev: false })?;
    let running = serve::start(config, clock).await?;
    let question = Arc::new(Question::new(&issuer)?);

    // Discovery and the first pages of everything are not what a certificate costs. The first
    // request fetches the issuer's keys; few may wait for that at once.
    issue(running.service(), &question, load, 1).await?;
    issue(running.service(), &question, load, load.certificates.div_ceil(50)).await?;
    let (begun, cpu_before) = (Instant::now(), process::cpu_time(std::process::id())?);
    issue(running.service(), &question, load, load.certificates).await?;
    let cpu = process::cpu_time(std::process::id())?.saturating_sub(cpu_before);
    let took = begun.elapsed();
    let issued = running.service().issue(question.request()).await?;
    let lint_us = time_lint(issued.der())?;
    running.shutdown().await;
    Ok(Pipeline {
        certificates_per_second: load.certificates as f64 / took.as_secs_f64(),
        cpu_us_per_certificate: cpu.as_secs_f64() * 1e6 / load.certificates as f64,
        lint_us,
    })
}

fn time_lint(der: &[u8]) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    for _ in 0..LINT_ROUNDS {
        let leaf = Leaf::parse_certificate(black_box(der))?;
        lint::check(black_box(&leaf), Stage::Certificate, LEAF_LIFETIME_SECONDS)?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(LINT_ROUNDS))
}

async fn issue(
    service: &Arc<Service>,
    question: &Arc<Question>,
    load: &Load,
    total: u64,
) -> Result<(), Box<dyn Error>> {
    let workers = load.connections as u64;
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let (service, question) = (Arc::clone(service), Arc::clone(question));
        let share = total / workers + u64::from(worker < total % workers);
        tasks.spawn(async move {
            for _ in 0..share {
                service.issue(question.request()).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// One token, one key, one proof, asked again and again.
struct Question {
    token: String,
    public_key: Vec<u8>,
    signature: Vec<u8>,
}

impl Question {
    fn new(issuer: &DevIssuer) -> Result<Self, Box<dyn Error>> {
        let key = ClientKey::generate(KeyAlgorithm::P256)?;
        Ok(Self {
            token: issuer.mint(EMAIL)?.expose_text().unwrap_or_default().to_owned(),
            public_key: key.public_pem().into_bytes(),
            signature: key.proof_of_possession(EMAIL)?,
        })
    }

    #[expect(clippy::expect_used, reason = "without randomness there is nothing to measure")]
    fn request(&self) -> Request {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
        let (public_key, signature) = (self.public_key.clone(), self.signature.clone());
        Request {
            id: RequestId::from_random(random),
            token: Secret::from(self.token.clone()),
            possession: Possession::Signature { public_key, signature },
        }
    }
}

const LINT_ROUNDS: u32 = 20_000;
