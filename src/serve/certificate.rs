//! Keeps the public port's certificate as its files have it.
//!
//! In: the pair in use. Out: once a second a look at the files; what they hold is used if it is
//! good, and an alarm is raised if it is not. Knows nothing of what stands in them.

use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};

use super::follow::looks;
use crate::{
    api::http::tls::{Pair, Tls, TlsError},
    audit::Event,
    issue::Records,
    time::{Clock, Timestamp},
};

/// The pair in use, and the task that watches its files.
#[derive(Debug)]
pub(super) struct Certificate {
    tls: Arc<Tls>,
    watching: JoinHandle<()>,
}

impl Certificate {
    pub(super) fn watch(tls: Tls, records: Records, clock: Arc<dyn Clock>) -> Self {
        let tls = Arc::new(tls);
        let watching = tokio::spawn(watch(Arc::clone(&tls), records, clock));
        Self { tls, watching }
    }

    pub(super) fn tls(&self) -> Arc<Tls> {
        Arc::clone(&self.tls)
    }

    pub(super) fn load(&self, now: Timestamp) -> Result<Pair, TlsError> {
        self.tls.load(now)
    }

    pub(super) fn replace(&self, pair: Pair) {
        self.tls.replace(pair);
    }

    pub(super) async fn stop(self) {
        self.watching.abort();
        let _aborted = self.watching.await;
    }
}

async fn watch(tls: Arc<Tls>, records: Records, clock: Arc<dyn Clock>) {
    let mut looks = looks();
    loop {
        looks.tick().await;
        let (tls, now) = (Arc::clone(&tls), clock.now());
        let look = tokio::task::spawn_blocking(move || tls.look(now)).await;
        tell(look, &records, now);
    }
}

/// Says it in the process's log, in the metrics and, as of every reload, in the audit log.
fn tell(
    look: Result<Result<Option<Timestamp>, TlsError>, JoinError>,
    records: &Records,
    now: Timestamp,
) {
    let error = match look {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(valid_until))) => {
            tracing::info!(%valid_until, "the TLS certificate was read anew");
            None
        }
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "the TLS certificate in use stays");
            Some(error.to_string())
        }
        Err(error) => {
            tracing::error!(%error, "the look at the TLS certificate was aborted");
            return;
        }
    };
    records.metrics.tls_reloaded(now.unix_seconds(), error.is_none());
    if let Err(error) = records.audit.record(now, &Event::Reload { error: error.as_deref() }) {
        // The next issuance fails for the same reason, and says so to its caller.
        tracing::error!(%error, "the audit log takes no lines");
    }
}
