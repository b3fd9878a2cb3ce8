//! What the tests of keys elsewhere share: how a key is opened for them, and a process of their own
//! for those that need an environment of their own.

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use super::{
    Signer,
    remote::{Backend, Remote, RemoteBounds},
};
use crate::telemetry::{metrics::KeySeries, with_causes};

/// A key, and what was counted of it.
#[derive(Debug)]
pub(crate) struct Opened<B> {
    pub(crate) remote: Arc<Remote<B>>,
    pub(crate) series: KeySeries,
}

impl<B: Backend> Opened<B> {
    /// Why it does not sign.
    pub(crate) async fn told(&self) -> String {
        with_causes(&self.remote.sign(b"m").await.unwrap_err())
    }
}

/// With shorter pauses than at work, and patience for a machine that has other things to do.
pub(crate) fn bounds() -> RemoteBounds {
    RemoteBounds {
        deadline: Duration::from_secs(60),
        attempt: Duration::from_secs(20),
        pause: Duration::from_millis(5),
        throttled_pause: Duration::from_millis(10),
        ..RemoteBounds::default()
    }
}

/// Runs the test with this path again, in a process with more in its environment; it has to pass.
pub(crate) fn run_again(test: &str, environment: &[(&str, PathBuf)]) {
    let outcome = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .envs(environment.iter().cloned())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&outcome.stdout);
    let complained = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

/// For tests whose process does more than wait.
pub(crate) fn blocking<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}
