//! The contract of [`Coordinator`], for every implementation.

use bytes::Bytes;

use super::*;
use crate::log::{
    coordinator::sqlite::{OpenFile, SqliteCoordinator},
    tests::doubles::MemoryCoordinator,
};

fn identity() -> LogIdentity {
    LogIdentity { instance: [1; 32], log_id: LogId([2; 32]), origin: "example.com/log".into() }
}

fn head(size: u64) -> Head {
    Head {
        size,
        root: [u8::try_from(size).unwrap(); 32],
        timestamp: Timestamp::from_unix_ms(1000 + size),
        checkpoint: Bytes::from(format!("checkpoint {size}")),
    }
}

fn step(from: u64, to: u64) -> Commit {
    let entries = Bytes::from(format!("entries {from} to {to}"));
    Commit { expected: head(from), next: head(to), entries }
}

fn batch(from: u64, to: u64) -> Batch {
    let Commit { next, entries, .. } = step(from, to);
    Batch { first_index: from, size_after: to, root_after: next.root, entries }
}

async fn committed(coordinator: &dyn Coordinator, commit: Commit) {
    let outcome = coordinator.commit(commit).await;
    assert!(matches!(outcome, CommitOutcome::Committed), "{outcome:?}");
}

async fn holds(coordinator: &dyn Coordinator) {
    assert_eq!(coordinator.load().await.unwrap(), None);
    coordinator.create(identity(), head(0)).await.unwrap();
    let again = coordinator.create(identity(), head(9)).await;
    let exists = matches!(again, Err(CoordinatorError::AlreadyExists { .. }));
    assert!(exists, "{again:?}");
    let size = steps_from_head_to_head(coordinator).await;
    drops_what_ends_below(coordinator, size).await;
    coordinator.close().await;
    coordinator.close().await;
    assert!(coordinator.load().await.is_err());
    assert!(coordinator.drop_batches(1).await.is_err());
    let outcome = coordinator.commit(step(size, size + 1)).await;
    assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
}

/// Leaves batches that begin at 0, 3 and 4; answers with the size.
async fn steps_from_head_to_head(coordinator: &dyn Coordinator) -> u64 {
    committed(coordinator, step(0, 3)).await;
    committed(coordinator, step(3, 4)).await;
    let batches = vec![batch(0, 3), batch(3, 4)];
    let expected = Stored { identity: identity(), head: head(4), batches };
    assert_eq!(coordinator.load().await.unwrap().as_ref(), Some(&expected));

    let mut same_size = step(4, 5);
    same_size.expected.root = [9; 32];
    let mut same_root = step(4, 5);
    same_root.expected.timestamp = Timestamp::from_unix_ms(1);
    for stale in [step(3, 7), step(0, 1), same_size, same_root] {
        let outcome = coordinator.commit(stale).await;
        assert!(matches!(outcome, CommitOutcome::Conflict), "{outcome:?}");
        assert_eq!(coordinator.load().await.unwrap().as_ref(), Some(&expected));
    }
    let (to_6, to_7) = (coordinator.commit(step(4, 6)), coordinator.commit(step(4, 7)));
    let (to_6, to_7) = futures_util::future::join(to_6, to_7).await;
    let won = |outcome| matches!(outcome, CommitOutcome::Committed);
    assert!(won(to_6) != won(to_7), "of two steps from one head one succeeds");
    coordinator.load().await.unwrap().unwrap().head.size
}

async fn drops_what_ends_below(coordinator: &dyn Coordinator, size: u64) {
    let kept: [(u64, &[u64]); 5] =
        [(2, &[0, 3, 4]), (3, &[3, 4]), (3, &[3, 4]), (size - 1, &[4]), (size, &[])];
    for (below, kept) in kept {
        coordinator.drop_batches(below).await.unwrap();
        let stored = coordinator.load().await.unwrap().unwrap();
        let first_indexes: Vec<u64> = stored.batches.iter().map(|b| b.first_index).collect();
        assert_eq!(first_indexes, kept, "below {below}");
        assert_eq!(stored.head, head(size));
    }
}

#[tokio::test]
async fn the_double_keeps_the_contract() {
    holds(&MemoryCoordinator::default()).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract_and_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.sqlite");
    let missing = SqliteCoordinator::open(&file, OpenFile::Existing).await;
    assert!(missing.is_err() && !file.exists(), "a log never creates itself");
    let coordinator = SqliteCoordinator::open(&file, OpenFile::OrCreate).await.unwrap();
    holds(&coordinator).await;
    let again = SqliteCoordinator::open(&file, OpenFile::Existing).await.unwrap();
    let stored = again.load().await.unwrap().unwrap();
    assert_eq!(stored.identity, identity());
    committed(&again, step(stored.head.size, 99)).await;
    // Not closed: the handle is dropped, as when a process ends.
    drop(again);
    let reopened = reopen(&file).await;
    let stored = reopened.load().await.unwrap().unwrap();
    assert_eq!((stored.head, stored.batches.len()), (head(99), 1));
}

/// The thread of a dropped handle takes a moment to let go of the file.
async fn reopen(file: &std::path::Path) -> SqliteCoordinator {
    for _ in 0..200 {
        if let Ok(opened) = SqliteCoordinator::open(file, OpenFile::Existing).await {
            return opened;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the file stays locked");
}

#[tokio::test]
async fn sqlite_lets_only_one_process_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.sqlite");
    let first = SqliteCoordinator::open(&file, OpenFile::OrCreate).await.unwrap();
    let second = SqliteCoordinator::open(&file, OpenFile::Existing).await;
    assert!(matches!(second, Err(CoordinatorError::Storage { .. })), "{second:?}");
    first.close().await;
    SqliteCoordinator::open(&file, OpenFile::Existing).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_made_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.sqlite");
    let coordinator = SqliteCoordinator::open(&file, OpenFile::OrCreate).await.unwrap();
    coordinator.create(identity(), head(0)).await.unwrap();
    let mut commit = coordinator.commit(step(0, 2));
    assert!(futures_util::poll!(&mut commit).is_pending());
    drop(commit);
    assert_eq!(coordinator.load().await.unwrap().unwrap().head, head(2));
}
