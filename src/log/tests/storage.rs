//! A log on a real disk: who may make it, who may open it, and what damage looks like.

use std::{fs, ops::Range, path::Path, sync::Arc};

use super::{Promises, check_log, doubles::*, entry, submit};
use crate::log::{
    DirectoryLock, FILE, Log, LogSettings, OpenError, ReadError, StopReason, SubmitError,
    TILE_DIRECTORY,
    coordinator::CoordinatorError,
    key::LogKey,
    sha256,
    tiles::TileStoreError,
    witness::{FILE as WITNESS_FILE, Witness},
};

pub(super) fn settings(data: &Path, signer: &Arc<TestSigner>) -> LogSettings {
    LogSettings {
        data: data.to_owned(),
        origin: super::ORIGIN.to_owned(),
        signer: Arc::clone(signer) as _,
        clock: Arc::new(ManualClock::ticking()),
    }
}

/// A log of `count` entries in a fresh directory, shut down.
pub(super) async fn log_of(count: u32) -> (tempfile::TempDir, Arc<TestSigner>, Promises) {
    let directory = tempfile::tempdir().unwrap();
    let signer = Arc::new(TestSigner::new());
    Log::init(&settings(directory.path(), &signer)).await.unwrap();
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    let promises = submit(&log, 0..count).await.into_iter();
    let promises: Promises = promises.map(|(number, sct)| (number, sct.unwrap())).collect();
    check_log(&log, &signer, &promises).await;
    log.shutdown().await;
    check_log(&log, &signer, &promises).await;
    (directory, signer, promises)
}

pub(super) async fn refusal(directory: &Path, signer: &Arc<TestSigner>) -> OpenError {
    Log::open(settings(directory, signer)).await.expect_err("must be refused")
}

pub(super) fn sql(directory: &Path, statement: &str) {
    let file = rusqlite::Connection::open(directory.join(FILE)).unwrap();
    assert!(file.execute(statement, []).unwrap() > 0);
}

pub(super) fn flip_byte(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_log_goes_on_where_it_ended() {
    for count in [0, 1, 255, 256, 257, 700] {
        let (directory, signer, mut promises) = log_of(count).await;
        for round in 1..4 {
            let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
            check_log(&log, &signer, &promises).await;
            let number = count + round;
            promises.insert(number, log.submit(entry(number)).await.unwrap());
            log.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_log_never_creates_itself() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Arc::new(TestSigner::new());
    for data in [directory.path().to_owned(), directory.path().join("not/there")] {
        let refused = refusal(&data, &signer).await;
        assert!(matches!(refused, OpenError::Missing { .. }), "{refused:?}");
        assert!(refused.to_string().contains("mayfly log init"));
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn init_refuses_where_a_log_or_a_part_of_one_is() {
    let (directory, signer, _) = log_of(3).await;
    let settings = settings(directory.path(), &signer);
    let refused = Log::init(&settings).await;
    assert!(matches!(refused, Err(OpenError::Exists { .. })), "{refused:?}");
    fs::remove_file(directory.path().join(FILE)).unwrap();
    let refused = Log::init(&settings).await;
    assert!(matches!(refused, Err(OpenError::Exists { .. })), "{refused:?}");
    let refused = Log::open(settings).await;
    assert!(matches!(refused, Err(OpenError::Missing { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_foreign_log_is_refused_by_what_is_foreign() {
    let (directory, signer, _) = log_of(300).await;
    let other_key = refusal(directory.path(), &Arc::new(TestSigner::new())).await;
    assert!(matches!(other_key, OpenError::OtherKey { .. }), "{other_key:?}");
    let other_origin = LogSettings {
        origin: "log.example.com/2027".to_owned(),
        ..settings(directory.path(), &signer)
    };
    let refused = Log::open(other_origin).await;
    assert!(matches!(refused, Err(OpenError::OtherOrigin { .. })), "{refused:?}");
    let (other, _, _) = log_of(300).await;
    fs::remove_dir_all(directory.path().join(TILE_DIRECTORY)).unwrap();
    fs::rename(other.path().join(TILE_DIRECTORY), directory.path().join(TILE_DIRECTORY)).unwrap();
    let refused = refusal(directory.path(), &signer).await;
    assert!(matches!(refused, OpenError::OtherInstance { .. }), "{refused:?}");
}

#[tokio::test]
async fn two_processes_cannot_open_one_log() {
    let (directory, signer, _) = log_of(3).await;
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    let second = refusal(directory.path(), &signer).await;
    assert!(matches!(second, OpenError::InUse { .. }), "{second:?}");
    assert!(DirectoryLock::take(directory.path()).is_err());
    assert_eq!(log.submit(entry(3)).await.unwrap().index(), 3, "the first is not disturbed");
    log.shutdown().await;
    Log::open(settings(directory.path(), &signer)).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn nt_54_a_flipped_byte_in_a_tile_is_found_and_named() {
    for path in ["tile/0/000", "tile/0/001"] {
        for at in [0, 31, 8191] {
            let (directory, signer, _) = log_of(600).await;
            flip_byte(&directory.path().join(TILE_DIRECTORY).join(path), at);
            let refused = refusal(directory.path(), &signer).await;
            assert!(matches!(&refused, OpenError::Damaged { what, .. } if what.contains(path)));
        }
    }
}

#[tokio::test]
async fn nt_54_a_tile_that_is_cut_or_gone_is_named() {
    let (directory, signer, _) = log_of(600).await;
    let tile = directory.path().join(TILE_DIRECTORY).join("tile/0/001");
    fs::write(&tile, [0; 100]).unwrap();
    let refused = refusal(directory.path(), &signer).await;
    assert!(matches!(&refused, OpenError::Damaged { what, .. } if what == "tile/0/001"));
    fs::remove_file(&tile).unwrap();
    let refused = refusal(directory.path(), &signer).await;
    assert!(matches!(&refused, OpenError::MissingTile { object, .. } if object == "tile/0/001"));
}

/// Caches would keep what they are given for ever.
#[tokio::test]
async fn nt_54_what_was_cut_off_in_the_store_is_not_served() {
    let (directory, signer, _) = log_of(256).await;
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    log.add_issuer(b"a certificate").await.unwrap();
    let issuer = format!("issuer/{}", hex::encode(sha256(b"a certificate")));
    for path in ["tile/0/000", "tile/data/000", &issuer] {
        let file = directory.path().join(TILE_DIRECTORY).join(path);
        let whole = fs::read(&file).unwrap();
        assert_eq!(log.read(path).await.unwrap().unwrap().bytes, whole);
        for damaged in [&whole[..whole.len() - 1], &[whole.as_slice(), b"x"].concat(), b""] {
            fs::write(&file, damaged).unwrap();
            let read = log.read(path).await;
            assert!(matches!(read, Err(ReadError::Damaged { .. })), "{path}: {:?}", read.is_ok());
        }
    }
    log.shutdown().await;
}

/// Commits into files without a name would be gone with the process.
#[tokio::test]
async fn a_log_whose_directory_is_removed_promises_nothing_more() {
    let (directory, signer, _) = log_of(3).await;
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    assert!(log.submit(entry(3)).await.is_ok());
    fs::remove_dir_all(directory.path()).unwrap();
    let refused = log.submit(entry(4)).await;
    assert!(matches!(refused, Err(SubmitError::Stopped(_))), "{refused:?}");
    assert!(matches!(&*log.stopped().await, StopReason::Witness { .. } | StopReason::Recovery(_)));
    log.shutdown().await;
}

#[tokio::test]
async fn nt_54_a_damaged_row_is_found_and_named() {
    let damages = [
        "UPDATE batch SET entries = CAST(substr(entries, 1, 40) || x'ff' || substr(entries, 42) AS BLOB)",
        "UPDATE batch SET entries = CAST(substr(entries, 1, length(entries) - 1) || x'ff' AS BLOB)",
        "UPDATE batch SET entries = substr(entries, 1, length(entries) - 5)",
        "UPDATE batch SET root_after = zeroblob(32)",
        "UPDATE batch SET size_after = size_after + 1",
        "UPDATE batch SET first_index = first_index + 1",
        "DELETE FROM batch",
        "UPDATE head SET size = size - 1",
        "UPDATE head SET root = zeroblob(32)",
        "UPDATE head SET timestamp_ms = timestamp_ms + 1",
        "UPDATE head SET checkpoint = CAST(substr(checkpoint, 1, 30) || 'A' || substr(checkpoint, 32) AS BLOB)",
        "UPDATE head SET checkpoint = CAST(
             substr(checkpoint, 1, length(checkpoint) - 9) || 'AAAAAAA=' || char(10) AS BLOB)",
    ];
    for damage in damages {
        let (directory, signer, _) = log_of(100).await;
        sql(directory.path(), damage);
        let refused = refusal(directory.path(), &signer).await;
        let what = match &refused {
            OpenError::Damaged { what, .. }
            | OpenError::Coordinator(CoordinatorError::Damaged { what, .. }) => what,
            other => panic!("{damage}: {other:?}"),
        };
        let table = if damage.contains("head") { "table head" } else { "table batch" };
        assert!(what.contains(table), "{damage}: {refused:?}");
    }
}

#[tokio::test]
async fn nt_54_a_flipped_byte_in_the_file_is_never_served() {
    let (directory, signer, promises) = log_of(100).await;
    let file = directory.path().join(FILE);
    let length = fs::read(&file).unwrap().len();
    let mut refused = 0;
    for at in (0..length).step_by(97) {
        flip_byte(&file, at);
        match Log::open(settings(directory.path(), &signer)).await {
            // A byte that nothing is kept in.
            Ok(log) => {
                check_log(&log, &signer, &promises).await;
                log.shutdown().await;
            }
            Err(_) => refused += 1,
        }
        flip_byte(&file, at);
    }
    assert!(refused > 50, "{refused} of {}", length / 97);
}

#[tokio::test]
async fn init_refuses_where_only_the_latest_checkpoint_is_left() {
    let (directory, signer, _) = log_of(3).await;
    fs::remove_file(directory.path().join(FILE)).unwrap();
    fs::remove_dir_all(directory.path().join(TILE_DIRECTORY)).unwrap();
    let refused = Log::init(&settings(directory.path(), &signer)).await;
    assert!(matches!(refused, Err(OpenError::Exists { .. })), "{refused:?}");
}

#[tokio::test]
async fn nt_54_a_coordinator_from_an_old_copy_is_refused() {
    for newer in [101, 150, 256, 600] {
        let (directory, signer, _) = log_of(100).await;
        let old = fs::read(directory.path().join(FILE)).unwrap();
        grow(directory.path(), &signer, 100..newer).await;
        fs::write(directory.path().join(FILE), old).unwrap();
        let refused = refusal(directory.path(), &signer).await;
        assert!(
            matches!(&refused, OpenError::HeadBehind { size: 100, seen_size, .. }
                if *seen_size == u64::from(newer)),
            "{refused:?}",
        );
        assert!(refused.to_string().contains("restore the newest copy"), "{refused}");
        let again = refusal(directory.path(), &signer).await;
        assert!(matches!(again, OpenError::HeadBehind { .. }), "asking twice changes nothing");
        if newer > 256 {
            fs::remove_file(directory.path().join(WITNESS_FILE)).unwrap();
            let refused = refusal(directory.path(), &signer).await;
            assert!(matches!(refused, OpenError::HeadBehindTiles { .. }), "{refused:?}");
        }
    }
}

/// SQLite takes a frame with a wrong checksum for the end of its write-ahead log.
#[tokio::test]
async fn nt_54_a_damaged_write_ahead_log_does_not_take_the_head_back() {
    let (directory, signer, mut promises) = log_of(100).await;
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    for number in 100..130 {
        promises.insert(number, log.submit(entry(number)).await.unwrap());
    }
    // As a process leaves it that is killed.
    let crashed = tempfile::tempdir().unwrap();
    copy(directory.path(), crashed.path());
    log.shutdown().await;
    let wal = crashed.path().join(format!("{FILE}-wal"));
    let length = fs::read(&wal).unwrap().len();
    for at in (4..10).map(|tenth| length * tenth / 10) {
        let damaged = tempfile::tempdir().unwrap();
        copy(crashed.path(), damaged.path());
        flip_byte(&damaged.path().join(format!("{FILE}-wal")), at);
        let refused = refusal(damaged.path(), &signer).await;
        assert!(matches!(refused, OpenError::HeadBehind { seen_size: 130, .. }), "{refused:?}");
    }
    let log = Log::open(settings(crashed.path(), &signer)).await.unwrap();
    check_log(&log, &signer, &promises).await;
    log.shutdown().await;
}

#[tokio::test]
async fn a_latest_checkpoint_that_lags_is_caught_up_with() {
    let (directory, signer, _) = log_of(0).await;
    let witness = directory.path().join(WITNESS_FILE);
    let mut older = vec![Vec::new(), b"torn".to_vec(), vec![0xff; 9000]];
    let mut size = 0;
    for newer in [1, 2, 255, 256, 257, 300, 700] {
        older.push(fs::read(&witness).unwrap());
        grow(directory.path(), &signer, size..newer).await;
        size = newer;
    }
    for older in older {
        fs::write(&witness, older).unwrap();
        grow(directory.path(), &signer, size..size + 1).await;
        size += 1;
        let key = LogKey::new(Arc::clone(&signer) as _, super::ORIGIN).unwrap();
        let (_, latest) = Witness::open(directory.path(), &key).unwrap();
        assert_eq!(latest.unwrap().size, u64::from(size));
    }
    fs::remove_file(&witness).unwrap();
    grow(directory.path(), &signer, size..size + 1).await;
    assert!(witness.is_file());
}

#[tokio::test]
async fn nt_54_another_history_of_the_same_log_is_refused() {
    let (directory, signer, _) = log_of(100).await;
    let other = tempfile::tempdir().unwrap();
    copy(directory.path(), other.path());
    for others_size in [101, 140, 256, 300] {
        let longer = tempfile::tempdir().unwrap();
        let shorter = tempfile::tempdir().unwrap();
        copy(directory.path(), longer.path());
        copy(other.path(), shorter.path());
        grow(longer.path(), &signer, 1100..1700).await;
        grow(shorter.path(), &signer, 100..others_size).await;
        fs::copy(shorter.path().join(WITNESS_FILE), longer.path().join(WITNESS_FILE)).unwrap();
        let refused = refusal(longer.path(), &signer).await;
        assert!(matches!(refused, OpenError::OtherHistory { .. }), "{refused:?}");
    }
}

/// Opens the log, submits `numbers`, and closes it.
async fn grow(directory: &Path, signer: &Arc<TestSigner>, numbers: Range<u32>) {
    let log = Log::open(settings(directory, signer)).await.unwrap();
    for (_, outcome) in submit(&log, numbers).await {
        outcome.unwrap();
    }
    log.shutdown().await;
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_tile_with_other_bytes_stops_writing_and_keeps_reading() {
    let (directory, signer, mut promises) = log_of(100).await;
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    let tile = directory.path().join(TILE_DIRECTORY).join("tile/data/000");
    fs::create_dir_all(tile.parent().unwrap()).unwrap();
    fs::write(&tile, "another log's").unwrap();
    for (number, outcome) in submit(&log, 100..400).await {
        promises.insert(number, outcome.unwrap());
    }
    let stopped = log.stopped().await;
    assert!(
        matches!(&*stopped, StopReason::Tiles(TileStoreError::Differs { path }) if path.ends_with("tile/data/000"))
    );
    assert!(matches!(log.submit(entry(400)).await, Err(SubmitError::Stopped(_))));
    assert!(matches!(log.add_issuer(b"x").await, Err(SubmitError::Stopped(_))));
    check_log(&log, &signer, &promises).await;
    log.shutdown().await;
    fs::remove_file(&tile).unwrap();
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    check_log(&log, &signer, &promises).await;
    log.shutdown().await;
    assert_ne!(fs::read(&tile).unwrap(), b"another log's");
}
