//! Every step of a batch and of a flush fails once: persisted or not, and then alone or for good.

use std::sync::Arc;

use super::{Promises, check_log, doubles::*, faulty, memory, start, submit};
use crate::log::{StopReason, SubmitError};

/// Submits over a fault, checks, restarts without faults, checks, and goes on.
async fn survive(step: Step, call: usize, fault: Fault) {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let clock = ManualClock::ticking();
    let plan = FaultPlan::new(step, call, fault);
    let log = start(faulty(&storage, &plan), &clock).await;
    let mut promises = Promises::new();
    let mut refused = 0;
    for round in 0..5 {
        for (number, outcome) in submit(&log, round * 200..(round + 1) * 200).await {
            match outcome {
                Ok(promise) => assert!(promises.insert(number, promise).is_none()),
                Err(SubmitError::Stopped(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        check_log(&log, &signer, &promises).await;
    }
    log.shutdown().await;
    assert!(plan.happened(), "the step was not reached");
    check_log(&log, &signer, &promises).await;
    let stopped = log.status().stopped;
    if step == Step::Commit && matches!(fault, Fault::PersistedOnce | Fault::LostOnce) {
        assert!(stopped.is_none() && refused == 0, "the head was read again: {stopped:?}");
        assert_eq!(promises.len(), 1000);
        assert_eq!(log.status().size, 1000, "nothing was committed twice");
    } else {
        let stopped = stopped.expect("the log must stop");
        assert!(
            matches!(
                (step, &*stopped),
                (Step::Commit, StopReason::Recovery(_))
                    | (Step::DropBatches, StopReason::Coordinator(_))
                    | (Step::CreateTile, StopReason::Tiles(_) | StopReason::Recovery(_))
            ),
            "{stopped:?}",
        );
    }
    let log = start(storage, &clock).await;
    check_log(&log, &signer, &promises).await;
    for (number, outcome) in submit(&log, 1000..1300).await {
        promises.insert(number, outcome.unwrap());
    }
    check_log(&log, &signer, &promises).await;
    log.shutdown().await;
    check_log(&log, &signer, &promises).await;
}

#[tokio::test]
async fn commits_that_fail_lose_no_promise() {
    for fault in Fault::ALL {
        for call in 0..5 {
            survive(Step::Commit, call, fault).await;
        }
    }
}

#[tokio::test]
async fn tiles_that_cannot_be_written_lose_no_promise() {
    for fault in Fault::ALL {
        for call in 0..6 {
            survive(Step::CreateTile, call, fault).await;
        }
    }
}

#[tokio::test]
async fn batches_that_cannot_be_dropped_lose_no_promise() {
    for fault in Fault::ALL {
        survive(Step::DropBatches, 0, fault).await;
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_again_stops_the_log() {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let clock = ManualClock::ticking();
    let plan = FaultPlan::new(Step::Commit, 0, Fault::PersistedAndBroken);
    let log = start(faulty(&storage, &plan), &clock).await;
    let outcomes = submit(&log, 0..3).await;
    let stopped =
        outcomes.iter().all(|(_, outcome)| matches!(outcome, Err(SubmitError::Stopped(_))));
    assert!(stopped, "{outcomes:?}");
    assert!(matches!(&*log.stopped().await, StopReason::Recovery(_)));
    // The entries are in the log all the same; only nobody was promised anything.
    let log = start(storage, &clock).await;
    assert_eq!(log.status().size, 3);
    check_log(&log, &signer, &Promises::new()).await;
}

#[tokio::test]
async fn a_batch_that_meets_another_writer_is_put_behind_its_entries() {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let clock = ManualClock::ticking();
    let one = start(storage.clone(), &clock).await;
    let other = start(storage, &clock).await;
    let mut promises = Promises::new();
    for round in 0..6 {
        let log = if round % 2 == 0 { &one } else { &other };
        for (number, outcome) in submit(log, round * 40..(round + 1) * 40).await {
            promises.insert(number, outcome.unwrap());
        }
        check_log(log, &signer, &promises).await;
    }
    assert_eq!(promises.values().map(super::LoggedSct::index).max(), Some(239));
}
