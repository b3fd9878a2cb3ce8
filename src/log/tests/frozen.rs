//! A log that takes no more entries: what makes it so, who may read it, and what damage looks like.

use std::{fs, path::Path, sync::Arc};

use super::{
    doubles::*,
    entry,
    storage::{flip_byte, log_of, refusal, settings, sql},
};
use crate::{
    log::{
        FILE, FinalCheckpoint, FrozenLog, Log, LogSettings, OpenError, TILE_DIRECTORY,
        frozen::FINAL_FILE,
    },
    tlog::{TILE_WIDTH, Tile, tiles_for_growth},
};

async fn open(data: &Path) -> Result<FrozenLog, OpenError> {
    FrozenLog::open(data, Arc::new(ManualClock::ticking())).await
}

/// Every path that a log of `size` has.
fn paths(size: u64) -> Vec<String> {
    let width = u64::from(TILE_WIDTH);
    let entries = (0..size.div_ceil(width)).map(|index| {
        let entries_in_tile = u16::try_from((size - index * width).min(width)).unwrap();
        Tile::entries(index, entries_in_tile).unwrap()
    });
    entries.chain(tiles_for_growth(0, size)).map(|tile| tile.to_string()).collect()
}

#[tokio::test]
async fn a_frozen_log_reads_as_before_under_a_final_checkpoint_and_without_its_key() {
    for count in [0, 1, 255, 256, 600] {
        let (directory, signer, _) = log_of(count).await;
        let data = directory.path();
        let log = Log::open(settings(data, &signer)).await.unwrap();
        let id = log.id();
        let mut before = Vec::new();
        for path in paths(u64::from(count)) {
            before.push((log.read(&path).await.unwrap().unwrap(), path));
        }
        let last_seen = log.status().timestamp;
        log.shutdown().await;

        let last = Log::freeze(settings(data, &signer)).await.unwrap();
        assert_eq!((last.id(), last.size), (id, u64::from(count)));
        assert_eq!(last.origin, super::ORIGIN);
        assert!(last.timestamp > last_seen, "{} after {last_seen}", last.timestamp);
        drop(signer);

        let frozen = open(data).await.unwrap();
        assert_eq!((frozen.id(), frozen.origin()), (id, super::ORIGIN));
        for (answer, path) in before {
            assert_eq!(frozen.read(&path).await.unwrap().unwrap(), answer, "{path}");
        }
        let checkpoint = frozen.read("checkpoint").await.unwrap().unwrap().bytes;
        let head = last.key.open_checkpoint(&checkpoint).unwrap();
        assert_eq!((head.size, head.timestamp), (last.size, last.timestamp));
        assert_eq!(frozen.read("tile/0/999").await.unwrap(), None);
        // What never changes may have many readers.
        open(data).await.unwrap();
    }
}

#[tokio::test]
async fn a_frozen_log_takes_nothing_ever_again() {
    let (directory, signer, _) = log_of(3).await;
    let data = directory.path();
    assert!(matches!(open(data).await, Err(OpenError::NotFrozen { .. })));
    let open_log = Log::open(settings(data, &signer)).await.unwrap();
    let in_use = Log::freeze(settings(data, &signer)).await;
    assert!(matches!(in_use, Err(OpenError::InUse { .. })), "{in_use:?}");
    open_log.submit(entry(3)).await.unwrap();
    open_log.shutdown().await;

    let first = Log::freeze(settings(data, &signer)).await.unwrap();
    let refused = refusal(data, &signer).await;
    assert!(matches!(refused, OpenError::Frozen { .. }), "{refused:?}");
    assert!(refused.to_string().contains("'frozen'"), "{refused}");
    let again = Log::freeze(settings(data, &signer)).await;
    assert!(matches!(again, Err(OpenError::Frozen { .. })), "{again:?}");
    let refused = Log::init(&settings(data, &signer)).await;
    assert!(matches!(refused, Err(OpenError::Exists { .. })), "{refused:?}");
    assert_eq!(FinalCheckpoint::read(data).unwrap().timestamp, first.timestamp);
}

#[tokio::test]
async fn nt_54_a_frozen_log_that_is_not_what_its_final_checkpoint_says_is_refused() {
    let (directory, signer, _) = log_of(600).await;
    let data = directory.path();
    Log::freeze(settings(data, &signer)).await.unwrap();
    let file = data.join(FINAL_FILE);
    let good = fs::read_to_string(&file).unwrap();

    for (from, to) in [("\\n600\\n", "\\n599\\n"), ("2026", "2027"), ("origin", "orign"), ("{", "")]
    {
        fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let refused = open(data).await.unwrap_err();
        let named = refused.to_string().contains(FINAL_FILE);
        assert!(matches!(refused, OpenError::Damaged { .. }) && named, "{from}: {refused:?}");
    }
    fs::write(&file, &good).unwrap();
    flip_byte(&data.join(TILE_DIRECTORY).join("tile/0/000"), 5);
    let refused = open(data).await.unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    flip_byte(&data.join(TILE_DIRECTORY).join("tile/0/000"), 5);

    // A copy from before went on, under the same key: two histories, or a longer one.
    fs::remove_file(&file).unwrap();
    let log = Log::open(settings(data, &signer)).await.unwrap();
    log.submit(entry(1000)).await.unwrap();
    log.shutdown().await;
    fs::write(&file, &good).unwrap();
    let longer = open(data).await.unwrap_err();
    assert!(longer.to_string().contains("more entries than its final checkpoint"), "{longer}");
    sql(data, "DELETE FROM batch");
    let refused = open(data).await.unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    fs::remove_file(data.join(FILE)).unwrap();
    assert!(matches!(open(data).await, Err(OpenError::Missing { .. })));
}

#[tokio::test]
async fn shards_are_read_by_their_ids_and_none_may_be_mistaken_for_another() {
    let (old, old_signer, _) = log_of(3).await;
    let last = Log::freeze(settings(old.path(), &old_signer)).await.unwrap();
    let new = tempfile::tempdir().unwrap();
    let signer = Arc::new(TestSigner::new());
    let of_new = |signer: &Arc<TestSigner>, origin: &str| LogSettings {
        origin: origin.to_owned(),
        ..settings(new.path(), signer)
    };
    let origin = "log.example.com/2027";
    Log::init(&of_new(&signer, origin)).await.unwrap();
    let log = Log::open(of_new(&signer, origin)).await.unwrap();
    let log = log.beside(vec![open(old.path()).await.unwrap()]).unwrap();
    log.submit(entry(7)).await.unwrap();
    let read = async |path: String| log.read(&path).await.unwrap().map(|answer| answer.bytes);
    let current = read("checkpoint".to_owned()).await;
    assert_eq!(read(format!("{}/checkpoint", log.id())).await, current);
    let former = read(format!("{}/checkpoint", last.id())).await;
    assert!(former.is_some() && former != current);
    assert!(read(format!("{}/tile/0/000.p/3", last.id())).await.is_some());
    assert_eq!(read("tile/0/000.p/3".to_owned()).await, None, "the current one has one entry");
    for path in [
        "0".repeat(64) + "/checkpoint",
        format!("{}", last.id()),
        format!("{0}/{0}/checkpoint", last.id()),
    ] {
        assert_eq!(read(path).await, None);
    }

    let twice = vec![open(old.path()).await.unwrap(), open(old.path()).await.unwrap()];
    assert!(matches!(log.clone().beside(twice), Err(OpenError::Twins { .. })));
    log.shutdown().await;
    // Another key under the name of the old one.
    let same_name = tempfile::tempdir().unwrap();
    let namesake = settings(same_name.path(), &signer);
    Log::init(&namesake).await.unwrap();
    let log = Log::open(namesake).await.unwrap();
    let refused = log.clone().beside(vec![open(old.path()).await.unwrap()]);
    assert!(matches!(refused, Err(OpenError::Twins { .. })));
    log.shutdown().await;
}
