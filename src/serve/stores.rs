//! Watches the stores: without them nothing may be issued.
//!
//! In: the log and the audit log. Out: one word, when either can go on no more. Knows nothing of
//! what is written there.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use crate::{audit::AuditLog, log::Log};

/// Flushes the audit log once a second, and tells when it or the log can go on no more.
pub(super) fn watch(
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
