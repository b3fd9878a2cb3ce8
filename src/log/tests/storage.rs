//! A log on a real disk: who may make it, who may open it, and what damage looks like (NT-54).

use std::{fs, path::Path, sync::Arc};

use super::{Promises, check_log, doubles::*, entry, submit};
use crate::log::{
    DirectoryLock, FILE, Log, LogSettings, OpenError, StopReason, SubmitError, TILE_DIRECTORY,
    coordinator::CoordinatorError, tiles::TileStoreError,
};

fn settings(data: &Path, signer: &Arc<TestSigner>) -> LogSettings {
    LogSettings {
        data: data.to_owned(),
        origin: super::ORIGIN.to_owned(),
        signer: Arc::clone(signer) as _,
        clock: Arc::new(ManualClock::ticking()),
    }
}

/// A log of `count` entries in a fresh directory, shut down.
async fn log_of(count: u32) -> (tempfile::TempDir, Arc<TestSigner>, Promises) {
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

async fn refusal(directory: &Path, signer: &Arc<TestSigner>) -> OpenError {
    Log::open(settings(directory, signer)).await.expect_err("must be refused")
}

fn sql(directory: &Path, statement: &str) {
    let file = rusqlite::Connection::open(directory.join(FILE)).unwrap();
    assert!(file.execute(statement, []).unwrap() > 0);
}

fn flip_byte(path: &Path, at: usize) {
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
async fn a_coordinator_from_an_old_copy_is_refused() {
    let (directory, signer, _) = log_of(100).await;
    let old = fs::read(directory.path().join(FILE)).unwrap();
    let log = Log::open(settings(directory.path(), &signer)).await.unwrap();
    submit(&log, 100..600).await;
    log.shutdown().await;
    fs::write(directory.path().join(FILE), old).unwrap();
    let refused = refusal(directory.path(), &signer).await;
    assert!(matches!(refused, OpenError::HeadBehindTiles { .. }), "{refused:?}");
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
