//! What a submitter and a reader can rely on.

use std::sync::{Arc, atomic::Ordering};

use super::{ORIGIN, Promises, check_log, doubles::*, entry, faulty, memory, start, submit};
use crate::{
    ct::{Entry, LeafIndex, TileLeaves},
    keys::SignatureAlgorithm,
    log::{ContentKind, OpenError, StopReason, SubmitError, key::LogKey, sha256, tiles::Object},
    tlog::{Tile, tiles_for_growth},
};

#[tokio::test]
async fn nt_56_an_sct_carries_its_index_and_verifies_under_the_logs_key() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    let mut promises = Promises::new();
    for number in 0..20 {
        let promise = log.submit(entry(number)).await.unwrap();
        let extensions = &promise.sct().extensions;
        assert_eq!(LeafIndex::from_extensions(extensions).unwrap().get(), u64::from(number));
        assert_eq!(extensions.len(), 8);
        promises.insert(number, promise);
        check_log(&log, &signer, &promises).await;
    }
}

#[tokio::test]
async fn entries_that_gather_during_a_commit_share_the_next_checkpoint() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    let promises = submit(&log, 0..100).await;
    let timestamps: std::collections::BTreeSet<_> =
        promises.iter().map(|(_, promise)| promise.as_ref().unwrap().sct().timestamp).collect();
    assert!(timestamps.len() <= 2, "{} commits for 100 entries", timestamps.len());
}

#[tokio::test]
async fn timestamps_rise_with_every_checkpoint_also_when_the_clock_does_not() {
    let signer = Arc::new(TestSigner::new());
    let clock = ManualClock::new();
    let log = start(memory(&signer).await, &clock).await;
    let mut last = log.status().timestamp;
    for (number, move_ms) in (0_u32..).zip([0, 0, 5, -3000, 0, -4000, 9000]) {
        clock.move_ms(move_ms);
        let timestamp = log.submit(entry(number)).await.unwrap().sct().timestamp;
        assert!(timestamp > last, "RFC 6962, 3.5");
        assert_eq!(timestamp, log.status().timestamp);
        last = timestamp;
    }
    assert_eq!(log.status().clock_alarms, 0);
}

#[tokio::test]
async fn a_clock_that_fell_far_back_is_an_alarm_and_no_promise() {
    let signer = Arc::new(TestSigner::new());
    let clock = ManualClock::new();
    let log = start(memory(&signer).await, &clock).await;
    log.submit(entry(0)).await.unwrap();
    clock.move_ms(-20_000);
    let refused = log.submit(entry(1)).await;
    assert!(matches!(refused, Err(SubmitError::ClockJump { behind_ms: 20_001 })), "{refused:?}");
    assert_eq!((log.status().clock_alarms, log.status().size), (1, 1));
    clock.move_ms(20_000);
    assert_eq!(log.submit(entry(1)).await.unwrap().index(), 1);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_works_again_afterwards() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    let mut promises = Promises::new();
    let mut overloaded = 0;
    for (number, outcome) in submit(&log, 0..5000).await {
        match outcome {
            Ok(promise) => assert!(promises.insert(number, promise).is_none()),
            Err(SubmitError::Overloaded) => overloaded += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(overloaded, 5000 - super::super::QUEUE_ENTRIES);
    assert_eq!(log.status().size, promises.len() as u64);
    promises.insert(5000, log.submit(entry(5000)).await.unwrap());
    check_log(&log, &signer, &promises).await;
}

#[tokio::test]
async fn memory_holds_no_more_than_a_few_tiles() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    for round in 0..3 {
        for (_, outcome) in submit(&log, round * 4000..(round + 1) * 4000).await {
            outcome.unwrap();
        }
        assert!(log.status().unflushed_entry_tiles <= 18, "{:?}", log.status());
    }
    log.shutdown().await;
    assert_eq!(log.status().unflushed_entry_tiles, 0);
}

#[tokio::test]
async fn a_signature_that_does_not_verify_never_leaves() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    signer.signs_badly.store(true, Ordering::SeqCst);
    let refused = log.submit(entry(0)).await;
    assert!(matches!(refused, Err(SubmitError::Sign(_))), "{refused:?}");
    assert_eq!(log.status().size, 0, "a checkpoint that does not verify is not committed");
    signer.signs_badly.store(false, Ordering::SeqCst);
    assert_eq!(log.submit(entry(0)).await.unwrap().index(), 0);
}

#[tokio::test]
async fn a_task_that_panics_stops_the_log() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    let promises = [(0, log.submit(entry(0)).await.unwrap())].into();
    signer.panics.store(true, Ordering::SeqCst);
    assert!(log.submit(entry(1)).await.is_err());
    assert!(matches!(&*log.stopped().await, StopReason::Panicked { task: "sequencer" }));
    assert!(matches!(log.submit(entry(2)).await, Err(SubmitError::Stopped(_))));
    check_log(&log, &signer, &promises).await;
    log.shutdown().await;
}

#[tokio::test]
async fn entries_refer_only_to_issuers_that_can_be_read() {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let log = start(storage.clone(), &ManualClock::ticking()).await;
    let certificate = b"a certificate".as_slice();
    let fingerprint = sha256(certificate);
    let with_chain = Entry::new(entry(0).kind().clone(), vec![fingerprint]).unwrap();
    let refused = log.submit(with_chain.clone()).await;
    assert!(matches!(refused, Err(SubmitError::UnknownIssuer { .. })), "{refused:?}");
    log.add_issuer(certificate).await.unwrap();
    log.add_issuer(certificate).await.unwrap();
    assert_eq!(log.submit(with_chain.clone()).await.unwrap().index(), 0);
    let path = format!("issuer/{}", hex::encode(fingerprint));
    let answer = log.read(&path).await.unwrap().unwrap();
    assert_eq!((answer.bytes.as_ref(), answer.kind), (certificate, ContentKind::Issuer));
    let after_restart = start(storage, &ManualClock::ticking()).await;
    assert_eq!(after_restart.submit(with_chain).await.unwrap().index(), 1);
}

#[tokio::test]
async fn a_reader_with_an_older_checkpoint_still_gets_its_partial_tiles() {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let log = start(storage.clone(), &ManualClock::ticking()).await;
    let paths = ["tile/0/000.p/7", "tile/data/000.p/7"];
    submit(&log, 0..7).await;
    let mut early = Vec::new();
    for path in paths {
        early.push(log.read(path).await.unwrap().unwrap());
        assert!(log.read(&path.replace('7', "8")).await.unwrap().is_none(), "not committed yet");
    }
    submit(&log, 7..300).await;
    for full_tiles_in_store in [false, true] {
        for (path, early) in paths.iter().zip(&early) {
            assert_eq!(log.read(path).await.unwrap().as_ref(), Some(early));
        }
        for path in ["tile/0/001.p/45", "tile/0/002", "tile/1/000", "tile/1/000.p/2", "tile/2/000"]
        {
            assert!(log.read(path).await.unwrap().is_none(), "{path}");
        }
        if !full_tiles_in_store {
            log.shutdown().await;
            let first = Object::Tile(Tile::entries(0, 256).unwrap());
            assert!(storage.tiles.read(first).await.unwrap().is_some());
        }
    }
}

/// What a checkpoint covers is there from the moment the checkpoint is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_checkpoint_that_a_reader_gets_has_its_tiles_while_the_log_grows() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    let (looked_at, mut seen) = tokio::sync::watch::channel(0);
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            for round in 0..30 {
                let size = (round + 1) * 37;
                submit(&log, round * 37..size).await;
                // Now and then it waits for the reader, who is slow on a busy machine.
                if round % 5 == 4 {
                    seen.wait_for(|seen| *seen >= u64::from(size)).await.unwrap();
                }
            }
        }
    });
    let mut sizes = std::collections::BTreeSet::new();
    while !writer.is_finished() {
        let checkpoint = String::from_utf8(log.checkpoint().to_vec()).unwrap();
        let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
        for tile in tiles_for_growth(0, size) {
            let answer = log.read(&tile.to_string()).await.unwrap();
            let bytes = answer.unwrap_or_else(|| panic!("{tile} of {size}")).bytes;
            assert_eq!(bytes.len(), 32 * usize::from(tile.width()));
            if let Some(entries) = tile.entries_tile() {
                let bytes = log.read(&entries.to_string()).await.unwrap().unwrap().bytes;
                assert_eq!(TileLeaves::new(&bytes).count(), usize::from(tile.width()));
            }
        }
        sizes.insert(size);
        looked_at.send_replace(size);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert!(sizes.len() > 5, "{sizes:?}");
}

#[tokio::test]
async fn submitters_that_go_away_leave_a_whole_log() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    let mut promises = Promises::new();
    for number in 0..600 {
        let mut submitting = Box::pin(log.submit(entry(number)));
        // A third is dropped while it is queued or being committed, a third after its commit.
        if number % 3 == 0 {
            assert!(futures_util::poll!(&mut submitting).is_pending());
        } else if number % 3 == 1 {
            let patience = std::time::Duration::from_micros(u64::from(number % 90));
            if let Ok(promise) = tokio::time::timeout(patience, &mut submitting).await {
                promises.insert(number, promise.unwrap());
            }
        } else {
            promises.insert(number, submitting.await.unwrap());
        }
    }
    assert!(promises.len() >= 200);
    check_log(&log, &signer, &promises).await;
    log.shutdown().await;
    check_log(&log, &signer, &promises).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shutdown_under_load_answers_everyone_and_keeps_every_promise() {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let log = start(faulty(&storage, &Arc::default()), &ManualClock::ticking()).await;
    let submitters = (0..50).map(|submitter| {
        let log = log.clone();
        tokio::spawn(async move {
            let mut promises = Promises::new();
            for number in (0..).map(|count| submitter << 16 | count) {
                match log.submit(entry(number)).await {
                    Ok(promise) => assert!(promises.insert(number, promise).is_none()),
                    Err(SubmitError::ShuttingDown) => return promises,
                    Err(other) => panic!("{other:?}"),
                }
            }
            unreachable!()
        })
    });
    let submitters: Vec<_> = submitters.collect();
    while log.status().size < 700 {
        tokio::task::yield_now().await;
    }
    log.shutdown().await;
    let mut promises = Promises::new();
    for submitter in submitters {
        promises.extend(submitter.await.unwrap());
    }
    check_log(&log, &signer, &promises).await;
    let log = start(storage, &ManualClock::ticking()).await;
    assert!(promises.len() >= 700 && log.status().size >= promises.len() as u64);
    check_log(&log, &signer, &promises).await;
}

#[tokio::test]
async fn a_partial_tile_that_is_wider_than_the_tree_is_not_there() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    submit(&log, 0..260).await;
    for path in ["tile/0/001.p/5", "tile/0/001.p/255", "tile/data/001.p/5", "tile/1/000.p/2"] {
        assert_eq!(log.read(path).await.unwrap(), None, "{path}");
    }
    for path in ["tile/0/001.p/4", "tile/data/001.p/4", "tile/1/000.p/1", "tile/0/000.p/255"] {
        assert!(log.read(path).await.unwrap().is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_log_that_shut_down_keeps_reading_and_takes_nothing() {
    let signer = Arc::new(TestSigner::new());
    let log = start(memory(&signer).await, &ManualClock::ticking()).await;
    let promises = submit(&log, 0..10).await;
    log.shutdown().await;
    log.shutdown().await;
    assert!(matches!(log.submit(entry(10)).await, Err(SubmitError::ShuttingDown)));
    let promises = promises.into_iter().map(|(number, promise)| (number, promise.unwrap()));
    check_log(&log, &signer, &promises.collect()).await;
}

#[test]
fn nt_55_the_log_id_is_the_hash_of_the_spki_and_the_key_is_p256() {
    let signer = Arc::new(TestSigner::new());
    let key = LogKey::new(Arc::clone(&signer) as _, ORIGIN).unwrap();
    assert_eq!(key.id().0, sha256(crate::keys::Signer::public_key_der(&*signer)));
    let mut p384 = TestSigner::new();
    p384.algorithm = SignatureAlgorithm::EcdsaP384Sha384;
    let refused = LogKey::new(Arc::new(p384), ORIGIN);
    assert!(matches!(refused, Err(OpenError::KeyAlgorithm { .. })));
}

#[test]
fn an_origin_that_cannot_stand_in_a_checkpoint_is_refused() {
    for origin in
        ["", "https://log.example.com", "log example", "log+x", "log.example.com/", "a\nb"]
    {
        let refused = LogKey::new(Arc::new(TestSigner::new()), origin);
        assert!(matches!(refused, Err(OpenError::Origin { .. })), "{origin}");
    }
}

/// Big enough for hash tiles of level 2: recovery rebuilds two levels from full tiles.
#[tokio::test]
async fn a_log_with_three_levels_of_tiles_recovers() {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let clock = ManualClock::ticking();
    let log = start(faulty(&storage, &Arc::default()), &clock).await;
    for round in 0..17 {
        for (_, outcome) in submit(&log, round * 4000..(round + 1) * 4000).await {
            outcome.unwrap();
        }
    }
    log.shutdown().await;
    let log = start(storage, &clock).await;
    let promises = [(68_000, log.submit(entry(68_000)).await.unwrap())];
    check_log(&log, &signer, &promises.into()).await;
}
