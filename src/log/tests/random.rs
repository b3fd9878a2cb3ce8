//! Random lists of what may happen to a log, with a clock that is moved by hand.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Promises, check_log, doubles::*, faulty, memory, start, submit};
use crate::log::SubmitError;

#[derive(Clone, Debug)]
enum Event {
    /// So many entries at once.
    Submit(u32),
    /// The clock is stepped.
    MoveClock(i64),
    /// An orderly end and a new start.
    Restart,
    /// A power cut: no store is reached any more; then a new start.
    Crash,
    /// One call of a store will fail after the next start, which comes at once.
    RestartWithFault(Step, usize, Fault),
}

fn event() -> impl Strategy<Value = Event> {
    let step = prop_oneof![Just(Step::Commit), Just(Step::CreateTile), Just(Step::DropBatches)];
    let fault = prop::sample::select(Fault::ALL.to_vec());
    prop_oneof![
        6 => (1_u32..40).prop_map(Event::Submit),
        3 => (200_u32..600).prop_map(Event::Submit),
        2 => (-12_000_i64..20_000).prop_map(Event::MoveClock),
        2 => Just(Event::Restart),
        2 => Just(Event::Crash),
        2 => (step, 0_usize..4, fault)
            .prop_map(|(step, call, fault)| Event::RestartWithFault(step, call, fault)),
    ]
}

async fn live(events: Vec<Event>) {
    let signer = Arc::new(TestSigner::new());
    let storage = memory(&signer).await;
    let clock = ManualClock::new();
    let mut plan = Arc::new(FaultPlan::default());
    let mut log = start(faulty(&storage, &plan), &clock).await;
    let mut promises = Promises::new();
    let mut next_number = 0;
    for event in events {
        match event {
            Event::Submit(count) => {
                let numbers = next_number..next_number + count;
                next_number += count;
                for (number, outcome) in submit(&log, numbers).await {
                    match outcome {
                        Ok(promise) => assert!(promises.insert(number, promise).is_none()),
                        Err(SubmitError::Stopped(_) | SubmitError::ClockJump { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
            Event::MoveClock(by_ms) => clock.move_ms(by_ms),
            Event::Restart | Event::Crash | Event::RestartWithFault(..) => {
                if matches!(event, Event::Crash) {
                    plan.break_all();
                } else {
                    log.shutdown().await;
                }
                plan = match event {
                    Event::RestartWithFault(step, call, fault) => FaultPlan::new(step, call, fault),
                    _ => Arc::new(FaultPlan::default()),
                };
                log = start(faulty(&storage, &plan), &clock).await;
            }
        }
        check_log(&log, &signer, &promises).await;
    }
    log.shutdown().await;
    check_log(&log, &signer, &promises).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_is_kept_whatever_happens(
        events in prop::collection::vec(event(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live(events));
    }
}
