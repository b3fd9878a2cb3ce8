//! A coordinator in one SQLite file.
//!
//! In: batches, over a channel. Out: rows in a WAL that is flushed at every commit. One connection
//! lives on a thread of its own: SQLite blocks, and one writer is all a log needs. Knows nothing of
//! what the bytes mean.

mod rows;

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::{Commit, CommitOutcome, Coordinator, CoordinatorError, Head, LogIdentity, Stored};
use crate::log::stop::with_causes;

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
        opening.await.map_err(|_| closed(&store, "its thread ended"))??;
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
        self.jobs.send(job).map_err(|_| closed(&self.store, "it was closed"))?;
        answered.await.map_err(|_| closed(&self.store, "it was closed"))?
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
        Box::pin(
            self.run(move |connection, store| rows::create(connection, store, &identity, &head)),
        )
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<Stored>, CoordinatorError>> {
        Box::pin(self.run(rows::load))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(async move {
            match self.run(move |connection, store| rows::step(connection, store, &commit)).await {
                Ok(true) => CommitOutcome::Committed,
                Ok(false) => CommitOutcome::Conflict,
                Err(error) => CommitOutcome::Unknown(error),
            }
        })
    }

    fn drop_batches(&self, below: u64) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        Box::pin(self.run(move |connection, store| rows::drop_batches(connection, store, below)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let close: Job = Box::new(move |worker| {
                // Closing the connection moves the WAL into the file and releases the lock.
                worker.connection = None;
                worker.closed_by.get_or_insert_with(|| "it was closed".to_owned());
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
            // The only honest reader is the next process.
            let error = with_causes(error);
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
    let mut worker = Worker { store, connection: Some(connection), closed_by: None };
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
    // Heeded only while the file is empty. A batch takes half as many writes as with SQLite's
    // 4096, and a single entry still no more than two pages.
    connection.execute_batch("PRAGMA page_size = 8192").map_err(failed("configure it"))?;
    // EXCLUSIVE before WAL: no shared-memory file, and a second process is refused.
    connection
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;")
        .map_err(failed("lock it"))?;
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(failed("lock it; is another mayfly using this log?"))?;
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 500")
        .map_err(failed("configure it"))?;
    let synchronous: i64 = connection
        .query_row("PRAGMA synchronous", [], |row| row.get(0))
        .map_err(failed("configure it"))?;
    if mode != "wal" || synchronous != 2 {
        let source = format!("journal mode {mode}, synchronous {synchronous}");
        return Err(storage(store, "make it flush every commit", source));
    }
    if open_file == OpenFile::OrCreate {
        connection.execute_batch(rows::SCHEMA).map_err(failed("write its tables"))?;
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
    Err(CoordinatorError::Damaged { store: store.to_owned(), what: verdict })
}

/// SQLite flushes the directory for its WAL, but not for a new main file.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    std::fs::File::open(parent)?.sync_all()
}

fn storage(
    store: &str,
    doing: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> CoordinatorError {
    CoordinatorError::Storage { store: store.to_owned(), doing, source: source.into() }
}

fn closed(store: &str, reason: &str) -> CoordinatorError {
    CoordinatorError::Closed { store: store.to_owned(), reason: reason.to_owned() }
}
