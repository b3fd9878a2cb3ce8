//! The end of writing.
//!
//! In: the first error after which the log cannot trust its storage or itself. Out: that error, to
//! whoever asks or waits. Knows nothing of what is stopped; reading goes on.

use std::sync::Arc;

use tokio::sync::watch;

use super::{coordinator::CoordinatorError, open_error::OpenError, tiles::TileStoreError};

/// Why a log does not take entries any more. It needs a new process, and perhaps an operator.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    /// The coordinator failed where it is not known what the disk holds.
    #[error("a commit could not be made durable")]
    Coordinator(#[source] CoordinatorError),
    /// A tile could not be written, or is there with other bytes.
    #[error("a tile could not be written")]
    Tiles(#[source] TileStoreError),
    /// The latest checkpoint could not be noted down beside the coordinator.
    #[error("{path}: the latest checkpoint could not be written")]
    Witness {
        /// The file.
        path: String,
        /// The system's own words.
        #[source]
        source: std::io::Error,
    },
    /// The state could not be read again after a commit with an unknown outcome.
    #[error("the state could not be read again")]
    Recovery(#[source] OpenError),
    /// A task of the log ended by itself.
    #[error("the log's {task} panicked")]
    Panicked {
        /// Which one.
        task: &'static str,
    },
    /// What was about to be signed is not what was submitted: the memory is not sound.
    #[error("entry {index}: its serialised form does not hash to its leaf")]
    Mismatch {
        /// The index it was about to get.
        index: u64,
    },
}

/// Thrown once; shared by everything that writes.
#[derive(Clone, Debug)]
pub(super) struct StopSwitch {
    reason: Arc<watch::Sender<Option<Arc<StopReason>>>>,
}

impl StopSwitch {
    pub(super) fn new() -> Self {
        Self { reason: Arc::new(watch::Sender::new(None)) }
    }

    /// Stops the log; the first reason stays.
    pub(super) fn stop(&self, reason: StopReason) {
        self.reason.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                tracing::error!(
                    reason = with_causes(&reason),
                    "the log stopped; restart to recover"
                );
                *first = Some(Arc::new(reason));
            }
            is_first
        });
    }

    /// Why the log stopped, if it did.
    pub(super) fn reason(&self) -> Option<Arc<StopReason>> {
        self.reason.borrow().clone()
    }

    /// Waits until the log stops.
    pub(super) async fn stopped(&self) -> Arc<StopReason> {
        let mut watched = self.reason.subscribe();
        loop {
            if let Some(reason) = watched.borrow_and_update().clone() {
                return reason;
            }
            if watched.changed().await.is_err() {
                // `self` keeps the sender; without it nobody could stop the log any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// An error and what it came from, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
