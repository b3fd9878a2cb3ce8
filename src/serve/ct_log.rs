//! The transparency log of a configuration, opened.
//!
//! In: a [`Config`]. Out: the [`Log`] with its earlier shards, or the settings to open it with. Knows
//! nothing of requests.

use std::{path::PathBuf, sync::Arc};

use super::{StartError, open_key};
use crate::{
    ca::CaSet,
    config::{Config, LogChoice},
    log::{FrozenLog, Log, LogSettings},
    telemetry::metrics::Metrics,
    time::{Clock, Timestamp},
};

/// The log that the configuration names, with the earlier shards that are read beside it; `None` for
/// `log: none`, which is said loudly.
///
/// # Errors
/// Its key, itself or one of the shards does not open.
pub(super) async fn open_log(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Option<Log>, StartError> {
    let Some(settings) = log_settings(config, clock, metrics).await? else {
        tracing::warn!(
            "log: none — certificates are issued without a transparency log and without an SCT; \
             Sigstore clients refuse them"
        );
        return Ok(None);
    };
    let mut frozen = Vec::new();
    for data in frozen_shards(&config.log) {
        frozen.push(FrozenLog::open(data, Arc::clone(clock)).await?);
    }
    Ok(Some(Log::open(settings).await?.beside(frozen)?))
}

/// The directories of the log's earlier shards.
pub fn frozen_shards(log: &LogChoice) -> &[PathBuf] {
    match log {
        LogChoice::Embedded { frozen, .. } => frozen,
        LogChoice::None => &[],
    }
}

/// The embedded log that the configuration names, with its key opened; `None` for `log: none`.
///
/// # Errors
/// The log's key does not open.
pub async fn log_settings(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Option<LogSettings>, StartError> {
    match &config.log {
        LogChoice::None => Ok(None),
        LogChoice::Embedded { data, origin, key, passphrase, .. } => Ok(Some(LogSettings {
            data: data.clone(),
            origin: origin.clone(),
            signer: open_key(key, passphrase.as_ref(), config.dev, metrics).await?,
            clock: Arc::clone(clock),
        })),
    }
}

/// The log can name a chain in an entry only once it serves that chain's certificates.
pub(super) async fn register_chains(
    log: Option<&Log>,
    ca: &CaSet,
    now: Timestamp,
) -> Result<(), StartError> {
    let Some(log) = log else { return Ok(()) };
    for certificate in ca.trusted_at(now).into_iter().flatten() {
        log.add_issuer(certificate.der()).await?;
    }
    Ok(())
}
