//! A log's rows: what the transactions of a coordinator read and write.
//!
//! In: a connection and values. Out: values and rows. Knows nothing of threads and locks.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{
    super::{Batch, Commit, CoordinatorError, Head, LogIdentity, Stored},
    storage,
};
use crate::{ct::LogId, time::Timestamp};

/// The first rows of a log; refuses where there are some.
pub(super) fn create(
    connection: &mut Connection,
    store: &str,
    identity: &LogIdentity,
    head: &Head,
) -> Result<(), CoordinatorError> {
    let failed = |error| storage(store, "create the log", error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let logs: i64 =
        transaction.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).map_err(failed)?;
    if logs != 0 {
        return Err(CoordinatorError::AlreadyExists { store: store.to_owned() });
    }
    transaction
        .execute(
            "INSERT INTO log (only, format, instance, log_id, origin) VALUES (1, ?1, ?2, ?3, ?4)",
            params![FORMAT, identity.instance, identity.log_id.0, identity.origin],
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
pub(super) fn step(
    connection: &mut Connection,
    store: &str,
    commit: &Commit,
) -> Result<bool, CoordinatorError> {
    let failed = |error| storage(store, "commit a batch", error);
    let Commit { expected, next, entries } = commit;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
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

/// Deletes the batches that end at or below entry `below`.
pub(super) fn drop_batches(
    connection: &mut Connection,
    store: &str,
    below: u64,
) -> Result<(), CoordinatorError> {
    connection
        .prepare_cached("DELETE FROM batch WHERE size_after <= ?1")
        .and_then(|mut delete| delete.execute([to_sql(below)]))
        .map_err(|error| storage(store, "drop flushed batches", error))?;
    Ok(())
}

/// Head and batches as of one moment; `None` where there is no log.
pub(super) fn load(
    connection: &mut Connection,
    store: &str,
) -> Result<Option<Stored>, CoordinatorError> {
    let failed = |error| storage(store, "read the log", error);
    let transaction = connection.transaction().map_err(failed)?;
    // A file that is no log of ours has no such table: that is an answer, not a broken disk.
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'log'", [], |row| row.get(0))
        .map_err(failed)?;
    if tables == 0 {
        return Ok(None);
    }
    let identity = transaction
        .query_row("SELECT format, instance, log_id, origin FROM log", [], |row| {
            let log_id = LogId(row.get(2)?);
            Ok((
                row.get::<_, i64>(0)?,
                LogIdentity { instance: row.get(1)?, log_id, origin: row.get(3)? },
            ))
        })
        .optional()
        .map_err(failed)?;
    let Some((format, identity)) = identity else {
        return Ok(None);
    };
    if format != FORMAT {
        let what = format!("table log, format {format} (this version knows {FORMAT}),");
        return Err(CoordinatorError::Damaged { store: store.to_owned(), what });
    }
    let head = transaction
        .query_row("SELECT size, root, timestamp_ms, checkpoint FROM head", [], |row| {
            Ok(Head {
                size: from_sql(row, 0)?,
                root: row.get(1)?,
                timestamp: Timestamp::from_unix_ms(from_sql(row, 2)?),
                checkpoint: Bytes::from(row.get::<_, Vec<u8>>(3)?),
            })
        })
        .map_err(failed)?;
    let batches = load_batches(&transaction, store)?;
    Ok(Some(Stored { identity, head, batches }))
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
    // The tree does not cover a precertificate's own signature and its chain; this does.
    let sound = |(batch, sha256): (Batch, [u8; 32])| {
        if digest(&SHA256, &batch.entries).as_ref() == sha256 {
            return Ok(batch);
        }
        let what = format!("table batch, first_index {}", batch.first_index);
        Err(CoordinatorError::Damaged { store: store.to_owned(), what })
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

/// The layout of the tables below.
const FORMAT: i64 = 1;

/// One row for the log, one for its head, one per batch that is not yet in tiles.
pub(super) const SCHEMA: &str = "
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
