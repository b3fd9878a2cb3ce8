//! Honest clients: certificates at a fixed rate, over connections that they keep for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::connection::{Connection, Target};

/// What they saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Of each certificate, from when it should have been asked for; connecting counts.
    pub(crate) latencies: Vec<Duration>,
    /// Requests without a certificate.
    pub(crate) failures: u64,
}

/// Open loop, as a server that stalls must not hide it: requests are due at fixed times, `rate` a
/// second, for `turn`. Each of a few clients takes the next, and a new connection now and then.
pub(crate) async fn ask(target: &Target, rate: u32, turn: Duration) -> Seen {
    let total = u64::from(rate) * turn.as_secs();
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (target, next) = (target.clone(), Arc::clone(&next));
        clients.spawn(async move {
            let (mut seen, mut connection) = (Seen::default(), None);
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= total {
                    return seen;
                }
                let due = begun + Duration::from_secs_f64(nth as f64 / f64::from(rate));
                sleep_until(due).await;
                if nth % KEPT_FOR == 0 {
                    connection = None;
                }
                match timeout(PATIENCE, one(&target, connection.take())).await {
                    Ok(Ok(kept)) => {
                        connection = Some(kept);
                        seen.latencies.push(due.elapsed());
                    }
                    Ok(Err(_)) | Err(_) => seen.failures += 1,
                }
            }
        });
    }
    let mut all = Seen::default();
    while let Some(Ok(mut seen)) = clients.join_next().await {
        all.latencies.append(&mut seen.latencies);
        all.failures += seen.failures;
    }
    all.latencies.sort_unstable();
    all
}

async fn one(target: &Target, kept: Option<Connection>) -> std::io::Result<Connection> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(target).await?,
    };
    connection.ask().await?;
    Ok(connection)
}

const CLIENTS: usize = 32;
/// Requests, of all clients together: one in so many needs a new connection.
const KEPT_FOR: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(10);
