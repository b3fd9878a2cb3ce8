//! Full load and a fixed rate: many connections, answers counted.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::connection::{Connection, Target};

/// Closed loop: each of `connections` sends its next request when the last was answered, until
/// `total` were answered. Gives the time it took.
pub(crate) async fn closed_loop(
    target: &Target,
    connections: usize,
    total: u64,
) -> io::Result<Duration> {
    let taken = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (target, taken) = (target.clone(), Arc::clone(&taken));
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            while taken.fetch_add(1, Ordering::Relaxed) < total {
                connection.ask().await?;
            }
            io::Result::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(begun.elapsed())
}

/// Open loop: requests begin at fixed times, `per_second` of them, whether earlier ones were
/// answered or not. Latency counts from when a request should have begun, so that a server that
/// stalls cannot hide it. Gives all latencies, sorted.
pub(crate) async fn open_loop(
    target: &Target,
    connections: usize,
    per_second: f64,
    total: u64,
) -> io::Result<Vec<Duration>> {
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now() + Duration::from_millis(100);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (target, next) = (target.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            let mut latencies = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= total {
                    return io::Result::Ok(latencies);
                }
                let due = begun + Duration::from_secs_f64(nth as f64 / per_second);
                sleep_until(due).await;
                connection.ask().await?;
                latencies.push(due.elapsed());
            }
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.append(&mut ended??);
    }
    all.sort_unstable();
    Ok(all)
}
