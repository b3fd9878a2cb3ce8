//! A coordinator in one SQLite file.
//!
//! In: batches, over a channel. Out: rows in a WAL that is flushed at every commit. One connection
//! lives on a thread of its own: SQLite blocks, and one writer is all a log needs. Knows nothing of
//! what the bytes mean.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::{
    Batch, Commit, CommitOutcome, Coordinator, CoordinatorError, Head, LogIdentity, Stored,
};
use crate::{ct::LogId, time::Timestamp};

/// A log in an SQLite file that no other process can have open.
#[derive(Debug)]
pub struct SqliteCoordinator {
    store: String,
    jobs: mpsc::Sender<Job>,
}

/// Whether opening may make the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFile {
    /// The file is made where there is none.
    OrCreate,
    /// Only a file that exists: a log never creates itself silently.
    Existing,
}

impl SqliteCoordinator {
    /// Opens `path` and locks it until [`Coordinator::close`].
    ///
    /// # Errors
    /// The file cannot be opened, is in use, is not sound, or cannot be made to flush commits.
    pub async fn open(path: &Path, open_file: OpenFile) -> Result<Self, CoordinatorError> {
        let store = path.display().to_string();
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (opened, opening) = oneshot::channel();
        let worker = (store.clone(), path.to_owned());
        thread::Builder::new()
            .name("log-commit".to_owned())
            .spawn(move || work(worker.0, &worker.1, open_file, opened, &inbox))
            .map_err(|error| storage(&store, "start its thread", error))?;
        opening
            .await
            .map_err(|_| closed(&store, "its thread ended"))??;
        Ok(Self { store, jobs })
    }

    /// Runs `job` on the connection's thread. The job runs to its end even if nobody waits.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection, &str) -> Result<T, CoordinatorError> + Send + 'static,
    ) -> Result<T, CoordinatorError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |worker| {
            // The receiver may have gone away; the work is done all the same.
            let _ = answer.send(worker.run(job));
        });
        self.jobs
            .send(job)
            .map_err(|_| closed(&self.store, "it was closed"))?;
        answered
            .await
            .map_err(|_| closed(&self.store, "it was closed"))?
    }
}

impl Coordinator for SqliteCoordinator {
    fn store(&self) -> &str {
        &self.store
    }

    fn create(
        &self,
        identity: LogIdentity,
        head: Head,
    ) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        Box::pin(self.run(move |connection, store| create(connection, store, &identity, &head)))
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<Stored>, CoordinatorError>> {
        Box::pin(self.run(load))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(async move {
            match self
                .run(move |connection, store| step(connection, store, &commit))
                .await
            {
                Ok(true) => CommitOutcome::Committed,
                Ok(false) => CommitOutcome::Conflict,
                Err(error) => CommitOutcome::Unknown(error),
            }
        })
    }

    fn drop_batches(&self, below: u64) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        Box::pin(self.run(move |connection, store| {
            connection
                .prepare_cached("DELETE FROM batch WHERE size_after <= ?1")
                .and_then(|mut delete| delete.execute([to_sql(below)]))
                .map_err(|error| storage(store, "drop flushed batches", error))?;
            Ok(())
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let close: Job = Box::new(move |worker| {
                // Closing the connection moves the WAL into the file and releases the lock.
                worker.connection = None;
                worker
                    .closed_by
                    .get_or_insert_with(|| "it was closed".to_owned());
                let _ = answer.send(());
            });
            if self.jobs.send(close).is_ok() {
                // An error here means that the thread is gone, and the connection with it.
                let _ = answered.await;
            }
        })
    }
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// The thread's state: the connection until the first error.
struct Worker {
    store: String,
    connection: Option<Connection>,
    closed_by: Option<String>,
}

impl Worker {
    fn run<T>(
        &mut self,
        job: impl FnOnce(&mut Connection, &str) -> Result<T, CoordinatorError>,
    ) -> Result<T, CoordinatorError> {
        let Some(connection) = self.connection.as_mut() else {
            let reason = self.closed_by.as_deref().unwrap_or("it was closed");
            return Err(closed(&self.store, reason));
        };
        let answer = job(connection, &self.store);
        if let Err(error @ CoordinatorError::Storage { .. }) = &answer {
            // After a failed write or flush the page cache may show what the disk does not hold.
            // The only honest reader is the next process (DESIGN.md, "On a storage error").
            self.closed_by = Some(format!("an earlier attempt failed: {error}"));
            self.connection = None;
        }
        answer
    }
}

fn work(
    store: String,
    path: &Path,
    open_file: OpenFile,
    opened: oneshot::Sender<Result<(), CoordinatorError>>,
    inbox: &mpsc::Receiver<Job>,
) {
    let connection = match open(&store, path, open_file) {
        Ok(connection) => connection,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    let mut worker = Worker {
        store,
        connection: Some(connection),
        closed_by: None,
    };
    while let Ok(job) = inbox.recv() {
        job(&mut worker);
    }
}

fn open(store: &str, path: &Path, open_file: OpenFile) -> Result<Connection, CoordinatorError> {
    let failed = |doing| move |error| storage(store, doing, error);
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if open_file == OpenFile::OrCreate {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags).map_err(failed("open it"))?;
    // EXCLUSIVE before WAL: no shared-memory file, and a second process is refused.
    connection
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;")
        .map_err(failed("lock it"))?;
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(failed("lock it; is another mayfly using this log?"))?;
    connection
        .execute_batch("PRAGMA synchronous = FULL")
        .map_err(failed("configure it"))?;
    let synchronous: i64 = connection
        .query_row("PRAGMA synchronous", [], |row| row.get(0))
        .map_err(failed("configure it"))?;
    if mode != "wal" || synchronous != 2 {
        let source = format!("journal mode {mode}, synchronous {synchronous}");
        return Err(storage(store, "make it flush every commit", source));
    }
    if open_file == OpenFile::OrCreate {
        connection
            .execute_batch(SCHEMA)
            .map_err(failed("write its tables"))?;
        sync_parent(path).map_err(|error| storage(store, "flush its directory", error))?;
    }
    check(store, &connection)?;
    Ok(connection)
}

/// The file holds only what is not yet in tiles, so that a whole check is cheap.
fn check(store: &str, connection: &Connection) -> Result<(), CoordinatorError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| storage(store, "check it", error))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(CoordinatorError::Damaged {
        store: store.to_owned(),
        what: verdict,
    })
}

/// SQLite flushes the directory for its WAL, but not for a new main file.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    std::fs::File::open(parent)?.sync_all()
}

fn create(
    connection: &mut Connection,
    store: &str,
    identity: &LogIdentity,
    head: &Head,
) -> Result<(), CoordinatorError> {
    let failed = |error| storage(store, "create the log", error);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let logs: i64 = transaction
        .query_row("SELECT count(*) FROM log", [], |row| row.get(0))
        .map_err(failed)?;
    if logs != 0 {
        return Err(CoordinatorError::AlreadyExists {
            store: store.to_owned(),
        });
    }
    transaction
        .execute(
            "INSERT INTO log (only, format, instance, log_id, origin) VALUES (1, ?1, ?2, ?3, ?4)",
            params![
                FORMAT,
                identity.instance,
                identity.log_id.0,
                identity.origin
            ],
        )
        .map_err(failed)?;
    transaction
        .execute(
            "INSERT INTO head (only, size, root, timestamp_ms, checkpoint)
             VALUES (1, ?1, ?2, ?3, ?4)",
            params![
                to_sql(head.size),
                head.root,
                to_sql(head.timestamp.unix_ms()),
                head.checkpoint.as_ref()
            ],
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// One step from head to head; `false` where the head is not the expected one.
fn step(
    connection: &mut Connection,
    store: &str,
    commit: &Commit,
) -> Result<bool, CoordinatorError> {
    let failed = |error| storage(store, "commit a batch", error);
    let Commit {
        expected,
        next,
        entries,
    } = commit;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let changed = transaction
        .prepare_cached(
            "UPDATE head SET size = ?1, root = ?2, timestamp_ms = ?3, checkpoint = ?4
             WHERE only = 1 AND size = ?5 AND root = ?6 AND timestamp_ms = ?7",
        )
        .and_then(|mut update| {
            update.execute(params![
                to_sql(next.size),
                next.root,
                to_sql(next.timestamp.unix_ms()),
                next.checkpoint.as_ref(),
                to_sql(expected.size),
                expected.root,
                to_sql(expected.timestamp.unix_ms()),
            ])
        })
        .map_err(failed)?;
    if changed != 1 {
        return Ok(false);
    }
    transaction
        .prepare_cached(
            "INSERT INTO batch (first_index, size_after, root_after, entries, entries_sha256)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                to_sql(expected.size),
                to_sql(next.size),
                next.root,
                entries.as_ref(),
                digest(&SHA256, entries).as_ref(),
            ])
        })
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(true)
}

fn load(connection: &mut Connection, store: &str) -> Result<Option<Stored>, CoordinatorError> {
    let failed = |error| storage(store, "read the log", error);
    let transaction = connection.transaction().map_err(failed)?;
    // A file that is no log of ours has no such table: that is an answer, not a broken disk.
    let tables: i64 = transaction
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'log'",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    if tables == 0 {
        return Ok(None);
    }
    let identity = transaction
        .query_row(
            "SELECT format, instance, log_id, origin FROM log",
            [],
            |row| {
                let log_id = LogId(row.get(2)?);
                Ok((
                    row.get::<_, i64>(0)?,
                    LogIdentity {
                        instance: row.get(1)?,
                        log_id,
                        origin: row.get(3)?,
                    },
                ))
            },
        )
        .optional()
        .map_err(failed)?;
    let Some((format, identity)) = identity else {
        return Ok(None);
    };
    if format != FORMAT {
        let what = format!("table log, format {format} (this version knows {FORMAT}),");
        return Err(CoordinatorError::Damaged {
            store: store.to_owned(),
            what,
        });
    }
    let head = transaction
        .query_row(
            "SELECT size, root, timestamp_ms, checkpoint FROM head",
            [],
            |row| {
                Ok(Head {
                    size: from_sql(row, 0)?,
                    root: row.get(1)?,
                    timestamp: Timestamp::from_unix_ms(from_sql(row, 2)?),
                    checkpoint: Bytes::from(row.get::<_, Vec<u8>>(3)?),
                })
            },
        )
        .map_err(failed)?;
    let batches = load_batches(&transaction, store)?;
    Ok(Some(Stored {
        identity,
        head,
        batches,
    }))
}

fn load_batches(
    transaction: &rusqlite::Transaction<'_>,
    store: &str,
) -> Result<Vec<Batch>, CoordinatorError> {
    let rows: Vec<(Batch, [u8; 32])> = transaction
        .prepare_cached(
            "SELECT first_index, size_after, root_after, entries, entries_sha256
             FROM batch ORDER BY first_index",
        )
        .and_then(|mut select| {
            let rows = select.query_map([], |row| {
                let batch = Batch {
                    first_index: from_sql(row, 0)?,
                    size_after: from_sql(row, 1)?,
                    root_after: row.get(2)?,
                    entries: Bytes::from(row.get::<_, Vec<u8>>(3)?),
                };
                Ok((batch, row.get(4)?))
            })?;
            rows.collect()
        })
        .map_err(|error| storage(store, "read its batches", error))?;
    // The tree does not cover a precertificate's own signature and its chain; this does (NT-54).
    let sound = |(batch, sha256): (Batch, [u8; 32])| {
        if digest(&SHA256, &batch.entries).as_ref() == sha256 {
            return Ok(batch);
        }
        let what = format!("table batch, first_index {}", batch.first_index);
        Err(CoordinatorError::Damaged {
            store: store.to_owned(),
            what,
        })
    };
    rows.into_iter().map(sound).collect()
}

/// SQLite's integers are signed; 2^63 entries or milliseconds are out of this world.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn storage(
    store: &str,
    doing: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> CoordinatorError {
    CoordinatorError::Storage {
        store: store.to_owned(),
        doing,
        source: source.into(),
    }
}

fn closed(store: &str, reason: &str) -> CoordinatorError {
    CoordinatorError::Closed {
        store: store.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The layout of the tables below.
const FORMAT: i64 = 1;

/// One row for the log, one for its head, one per batch that is not yet in tiles.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS log (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        format INTEGER NOT NULL,
        instance BLOB NOT NULL CHECK (length(instance) = 32),
        log_id BLOB NOT NULL CHECK (length(log_id) = 32),
        origin TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS head (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        size INTEGER NOT NULL CHECK (size >= 0),
        root BLOB NOT NULL CHECK (length(root) = 32),
        timestamp_ms INTEGER NOT NULL CHECK (timestamp_ms >= 0),
        checkpoint BLOB NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS batch (
        first_index INTEGER PRIMARY KEY CHECK (first_index >= 0),
        size_after INTEGER NOT NULL CHECK (size_after > first_index),
        root_after BLOB NOT NULL CHECK (length(root_after) = 32),
        entries BLOB NOT NULL,
        entries_sha256 BLOB NOT NULL CHECK (length(entries_sha256) = 32)
    ) STRICT;
";
