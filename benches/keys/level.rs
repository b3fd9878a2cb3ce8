//! One key, signed with by so many callers at once for so long.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use mayfly::{
    keys::{self, KeyUri, Signer, VerifyingKey},
    telemetry::metrics::Metrics,
};
use serde::{Deserialize, Serialize};

use crate::{Measured, instant, process};

/// The numbers for one number of callers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Level {
    pub(crate) callers: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Of this process, for each signature.
    pub(crate) cpu_us: f64,
}

/// Opens the key and measures it. Any failed signature ends it.
pub(crate) fn measure(uri: &str, seconds: u64) -> Result<Measured, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signer = match instant::algorithm(uri) {
            Some(algorithm) => instant::signer(algorithm, MESSAGE).await?,
            None => {
                let uri: KeyUri = uri.parse()?;
                keys::open_counted(&uri, None, Metrics::new().key("bench")).await?
            }
        };
        let mut levels = Vec::new();
        for callers in CALLERS {
            // Connections and sessions are opened by the first ones.
            run(&signer, callers, Duration::from_millis(500)).await?;
            levels.push(run(&signer, callers, Duration::from_secs(seconds)).await?);
        }
        Ok(Measured {
            place: uri.split(':').next().unwrap_or_default().to_owned(),
            algorithm: signer.algorithm().to_string(),
            verify_us: verify_us(&*signer).await?,
            levels,
        })
    })
}

async fn run(
    signer: &Arc<dyn Signer>,
    callers: usize,
    time: Duration,
) -> Result<Level, Box<dyn Error>> {
    let (begun, cpu_begun) = (Instant::now(), process::cpu_time(std::process::id())?);
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let signer = Arc::clone(signer);
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < time {
                let asked = Instant::now();
                signer.sign(MESSAGE).await?;
                latencies.push(asked.elapsed());
            }
            Ok::<_, keys::SignError>(latencies)
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let (took, cpu) = (begun.elapsed(), process::cpu_time(std::process::id())? - cpu_begun);
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    Ok(Level {
        callers,
        per_second: count / took.as_secs_f64(),
        p50_ms: percentile_ms(&latencies, 50),
        p99_ms: percentile_ms(&latencies, 99),
        cpu_us: cpu.as_secs_f64() * 1e6 / count,
    })
}

async fn verify_us(signer: &dyn Signer) -> Result<f64, Box<dyn Error>> {
    let key = VerifyingKey::parse_der(signer.public_key_der())?;
    let signature = signer.sign(MESSAGE).await?;
    let begun = Instant::now();
    for _ in 0..VERIFICATIONS {
        if !key.verifies(std::hint::black_box(MESSAGE), &signature) {
            return Err("a signature does not verify".into());
        }
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(VERIFICATIONS))
}

/// Of latencies in their order.
fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

const CALLERS: [usize; 3] = [1, 8, 64];
/// About as long as a certificate's to-be-signed part.
const MESSAGE: &[u8] = &[0x6d; 1000];
const VERIFICATIONS: u32 = 2_000;
