//! The transparency log of a configuration, opened.
//!
//! In: a [`Config`]. Out: the [`Log`] with its earlier shards, or the settings to open it with. Knows
//! nothing of requests.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{StartError, open_key};
use crate::{
    ca::CaSet,
    config::{Config, LogChoice},
    log::{EndedShard, FrozenLog, Log, LogSettings},
    telemetry::{metrics::Metrics, with_causes},
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

/// The log that follows the one in effect: it must have been created, and is empty or was filled by
/// an earlier process.
pub(super) async fn open_shard(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Option<Log>, StartError> {
    match log_settings(config, clock, metrics).await? {
        Some(settings) => Ok(Some(Log::open(settings).await?)),
        None => Ok(None),
    }
}

/// The other shard is in use, so this cannot be taken back, and its failure harms nobody but who
/// starts the service anew: that start says the same.
pub(super) async fn freeze(ended: EndedShard, data: &Path, now: Timestamp) {
    match ended.freeze(data, now).await {
        Ok(()) => tracing::info!(data = %data.display(), "the log's earlier shard is frozen"),
        Err(error) => {
            let error = with_causes(&error);
            tracing::error!(%error, "the log's earlier shard is not frozen: mayfly log freeze");
        }
    }
}

/// Whether `new` is the log that follows `old`: another one, with `old` as the last of its frozen
/// shards. Answers with the directory of `old`.
pub(super) fn succession<'a>(old: &'a LogChoice, new: &LogChoice) -> Option<&'a PathBuf> {
    let LogChoice::Embedded { data, .. } = old else { return None };
    let earlier = frozen_shards(old).iter().chain([data]);
    let follows = earlier.eq(frozen_shards(new));
    let another = !matches!(new, LogChoice::Embedded { data: new, .. } if new == data);
    (follows && another).then_some(data)
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
    for certificate in ca.logged_at(now) {
        log.add_issuer(certificate.der()).await?;
    }
    Ok(())
}
