//! One batch after the other.
//!
//! In: entries from many tasks. Out: their indexes and timestamp, only after the commit that holds
//! them. Knows nothing of SCTs and of readers.
//!
//! There is no timer that fills batches: while one commit is in flight the next batch gathers in
//! the queue. The steps of a batch, in this order:
//! 1. a timestamp from the clock, never earlier than the head's;
//! 2. indexes, serialised entries, leaf hashes, the new root;
//! 3. the serialised entries are parsed and hashed again, and the roots compared: a bit that
//!    flipped in memory would otherwise be signed and end the log;
//! 4. the checkpoint is signed, and its signature verified;
//! 5. the commit; from here on the entries are in the log, whatever happens;
//! 6. the checkpoint is noted down beside the coordinator, so that the next start knows it;
//! 7. the tail that readers see; then the answers.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    StopReason, SubmitError,
    coordinator::{Commit, CommitOutcome, Head},
    core::Core,
    entries::EncodedEntries,
    recovery::{self, Seen},
    stop::with_causes,
    witness::Witness,
};
use crate::{
    ct::Entry,
    time::Timestamp,
    tlog::{Hash, Tree},
};

/// An entry on its way into the log.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) entry: Arc<Entry>,
    pub(super) placed: oneshot::Sender<Result<Placed, SubmitError>>,
}

/// Where an entry stands, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) index: u64,
    pub(super) timestamp: Timestamp,
}

/// The only writer of a log's head in this process.
#[derive(Debug)]
pub(super) struct Sequencer {
    core: Arc<Core>,
    inbox: mpsc::Receiver<Submission>,
    /// Tells the flusher of full tiles; dropped when the last batch is committed.
    full_tiles: mpsc::Sender<()>,
    /// `None` where the log has no directory of its own.
    witness: Option<Witness>,
    clock_is_behind: bool,
    /// The tree at `head`.
    tree: Tree,
    head: Head,
}

impl Sequencer {
    pub(super) fn new(
        core: Arc<Core>,
        inbox: mpsc::Receiver<Submission>,
        full_tiles: mpsc::Sender<()>,
        witness: Option<Witness>,
    ) -> Self {
        let (tree, head) = {
            let tail = core.tail();
            (tail.tree(), tail.head().clone())
        };
        Self { core, inbox, full_tiles, witness, clock_is_behind: false, tree, head }
    }

    /// Commits batches until the inbox is closed and empty, or the log stops. Submissions that are
    /// left get no answer; their senders look for the reason.
    pub(super) async fn run(mut self) {
        let core = Arc::clone(&self.core);
        tokio::select! {
            () = self.commit_all() => {}
            _ = core.stop.stopped() => {}
        }
    }

    async fn commit_all(&mut self) {
        // A full tile may have been left by the process before this one.
        let _ = self.full_tiles.try_send(());
        let mut batch = Vec::with_capacity(BATCH_ENTRIES);
        while self.inbox.recv_many(&mut batch, BATCH_ENTRIES).await > 0 {
            self.core.wait_for_flush().await;
            self.let_clock_catch_up().await;
            self.gather(&mut batch).await;
            let outcome = self.place(&batch).await;
            answer(batch.drain(..), outcome);
            if self.core.stop.reason().is_some() {
                break;
            }
        }
    }

    /// No timer, but the back of the queue, for as long as that brings entries: where the machine
    /// has other work, it is entries that are about to be submitted, and a commit costs the same
    /// for one as for many. Where it has none, this returns at once.
    async fn gather(&mut self, batch: &mut Vec<Submission>) {
        loop {
            tokio::task::yield_now().await;
            let before = batch.len();
            while batch.len() < BATCH_ENTRIES
                && let Ok(submission) = self.inbox.try_recv()
            {
                batch.push(submission);
            }
            if batch.len() == before || batch.len() == BATCH_ENTRIES {
                return;
            }
        }
    }

    /// RFC 6962, 3.5: each checkpoint's timestamp is later than the one before. Where commits come
    /// faster than milliseconds the clock gets one to catch up, so that timestamps do not run
    /// ahead of it; the batch grows meanwhile.
    async fn let_clock_catch_up(&self) {
        if self.core.clock.now() < self.head.timestamp {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Puts a batch into the log; answers with the place of its first entry.
    async fn place(&mut self, batch: &[Submission]) -> Result<Placed, SubmitError> {
        for _ in 0..ATTEMPTS {
            let timestamp = self.next_timestamp()?;
            let (encoded, tree) = self.encode(batch, timestamp)?;
            let next = self.sign_head(&tree, timestamp).await?;
            let place = Placed { index: self.head.size, timestamp };
            let commit = Commit {
                expected: self.head.clone(),
                next: next.clone(),
                entries: encoded.bytes.clone(),
            };
            match self.core.storage.coordinator.commit(commit).await {
                CommitOutcome::Committed => {
                    self.remember(&next)?;
                    self.advance(next, &encoded, tree);
                    return Ok(place);
                }
                CommitOutcome::Conflict => {
                    tracing::warn!(size = self.head.size, "another writer moved the head");
                    self.reload(None).await?;
                }
                CommitOutcome::Unknown(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(error, "a commit's outcome is unknown; reading the head again");
                    if self.reload(Some(&next)).await? {
                        return Ok(place);
                    }
                }
            }
        }
        Err(SubmitError::Contended)
    }

    /// A time that is not before the head's. A clock that fell far behind is an alarm: which of
    /// the two times is right is not ours to guess, and an SCT states a time.
    fn next_timestamp(&mut self) -> Result<Timestamp, SubmitError> {
        let now = self.core.clock.now();
        let behind_ms = self.head.timestamp.ms_since(now);
        let was_behind =
            std::mem::replace(&mut self.clock_is_behind, behind_ms > CLOCK_TOLERANCE_MS);
        if self.clock_is_behind {
            self.core.count_clock_alarm();
            // Once: a busy server would fill its log with it.
            if !was_behind {
                tracing::error!(
                    behind_ms,
                    "the clock is behind the log's last timestamp; no entries"
                );
            }
            return Err(SubmitError::ClockJump { behind_ms });
        }
        Ok(now.max(self.head.timestamp.plus_ms(1)))
    }

    /// Steps 2 and 3.
    fn encode(
        &self,
        batch: &[Submission],
        timestamp: Timestamp,
    ) -> Result<(EncodedEntries, Tree), SubmitError> {
        let first_index = self.head.size;
        let entries = batch.iter().map(|submission| &*submission.entry);
        let encoded = EncodedEntries::encode(entries, timestamp, first_index);
        let encoded = encoded.ok_or(SubmitError::Full)?;
        let mut tree = self.tree.clone();
        tree.extend(encoded.leaves.iter().copied());
        let mut again = self.tree.clone();
        let reread = EncodedEntries::decode(encoded.bytes.clone(), first_index)
            .map(|reread| again.extend(reread.leaves));
        if reread.is_err() || again.root() != tree.root() {
            self.core.stop.stop(StopReason::Mismatch { index: first_index });
            return Err(self.core.stopped_error());
        }
        Ok((encoded, tree))
    }

    /// Step 4.
    async fn sign_head(&self, tree: &Tree, timestamp: Timestamp) -> Result<Head, SubmitError> {
        let signed = self.core.storage.key.sign_head(tree.size(), tree.root(), timestamp).await;
        signed.map_err(|error| SubmitError::Sign(Arc::new(error)))
    }

    /// Step 6. Not flushed and in place, so that it costs less than handing it to another thread.
    fn remember(&mut self, head: &Head) -> Result<(), SubmitError> {
        let Some(witness) = &mut self.witness else { return Ok(()) };
        if let Err(source) = witness.remember(&head.checkpoint) {
            let path = witness.path().display().to_string();
            self.core.stop.stop(StopReason::Witness { path, source });
            return Err(self.core.stopped_error());
        }
        Ok(())
    }

    /// Step 7.
    fn advance(&mut self, head: Head, encoded: &EncodedEntries, tree: Tree) {
        let has_full_tiles = {
            let mut tail = self.core.tail_mut();
            tail.append(head.clone(), encoded);
            tail.unflushed_entry_tiles() > 0
        };
        (self.head, self.tree) = (head, tree);
        if has_full_tiles {
            // A full channel means that the flusher has been told already.
            let _ = self.full_tiles.try_send(());
        }
    }

    /// Recovers as at start-up; answers whether `ours` is in the log.
    async fn reload(&mut self, ours: Option<&Head>) -> Result<bool, SubmitError> {
        let seen = Seen {
            size: self.head.size,
            root: Hash::from_bytes(self.head.root),
            place: "this process".to_owned(),
        };
        let recovered = match recovery::recover(&self.core.storage, Some(&seen)).await {
            Ok(recovered) => recovered,
            Err(error) => {
                self.core.stop.stop(StopReason::Recovery(error));
                return Err(self.core.stopped_error());
            }
        };
        // The same size with the same root is the same entries.
        let is_ours = ours.is_some_and(|ours| {
            let tail = &recovered.tail;
            (tail.head().size, tail.head().root) == (ours.size, ours.root)
                || recovered.batch_roots.contains(&(ours.size, ours.root))
        });
        self.remember(recovered.tail.head())?;
        self.tree = recovered.tail.tree();
        self.head = recovered.tail.head().clone();
        *self.core.tail_mut() = recovered.tail;
        let _ = self.full_tiles.try_send(());
        Ok(is_ours)
    }
}

/// Tells each submitter the place of its own entry, or why there is none.
fn answer(batch: impl Iterator<Item = Submission>, mut outcome: Result<Placed, SubmitError>) {
    for submission in batch {
        let this = match &mut outcome {
            Ok(place) => {
                let this = *place;
                place.index += 1;
                Ok(this)
            }
            Err(error) => Err(error.clone()),
        };
        // A submitter that went away keeps its entry in the log and gets no SCT.
        let _ = submission.placed.send(this);
    }
}

/// About 600 KB of entries, half a millisecond of hashing.
const BATCH_ENTRIES: usize = 512;

/// How often a batch is tried when other writers are faster.
const ATTEMPTS: usize = 4;

/// Clocks are stepped by a few seconds in ordinary operation.
const CLOCK_TOLERANCE_MS: u64 = 10_000;
