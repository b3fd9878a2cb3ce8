//! Follows the files of the configuration, and puts into effect what they hold.
//!
//! In: the path of `mayfly.yaml`. Out: the [`Config`] to start with; then, whenever one of the files
//! that were read for it changes or somebody asks, a reload of the [`Running`] service, told in one
//! log line. Knows nothing of what stands in them, nor of signals.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Running;
use crate::{
    config::{self, Config, ConfigErrors, LoadOptions},
    files::{Fingerprint, Snapshot, Watch},
    telemetry::with_causes,
};

/// A configuration that is followed. One at a time reloads a service.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    options: LoadOptions,
    /// Those that decide what the next reading finds.
    files: Arc<[PathBuf]>,
    watch: Watch,
    retry: Retry,
    looks: Interval,
}

/// Why the configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Asked,
    /// One of its files holds something else.
    FilesChanged,
    /// The last reading was refused for what may have passed.
    TriedAgain,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked to",
            Self::FilesChanged => "its files changed",
            Self::TriedAgain => "tried again",
        })
    }
}

impl Followed {
    /// Reads the configuration, and follows its files from then on. Within a tokio runtime.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path, options: LoadOptions) -> Result<(Config, Self), ConfigErrors> {
        let Reading { loaded, files, fingerprint } = Reading::of(path, options, &[]);
        let followed = Self {
            path: path.to_owned(),
            options,
            files,
            watch: Watch::from(fingerprint),
            retry: Retry::default(),
            looks: looks(),
        };
        Ok((loaded?, followed))
    }

    /// Resolves when there is a reason to [`reload`](Self::reload). May be dropped at any time.
    pub async fn changed(&mut self) -> Cause {
        loop {
            self.looks.tick().await;
            let files = Arc::clone(&self.files);
            let look = move || Snapshot::of(&files).fingerprint();
            let found = match tokio::task::spawn_blocking(look).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "the look at the configuration's files was aborted");
                    continue;
                }
            };
            if self.watch.look(found) {
                self.retry = Retry::default();
                return Cause::FilesChanged;
            }
            if self.retry.is_due() {
                return Cause::TriedAgain;
            }
        }
    }

    /// Reads the configuration again and puts it into effect, all of it or nothing (NT-65). What
    /// became of it stands in the log, the audit log, the metrics and readiness.
    pub async fn reload(&mut self, running: &Running, cause: Cause) {
        let Reading { loaded, files, fingerprint } =
            Reading::of(&self.path, self.options, &self.files);
        self.files = files;
        // What changes from here on, while keys are opened, is found by the next look.
        self.watch = Watch::from(fingerprint);
        let (error, may_pass) = match loaded {
            Ok(config) => match running.reload(config).await {
                Ok(()) => {
                    self.retry = Retry::default();
                    return tracing::info!(%cause, "configuration reloaded");
                }
                Err(error) => (with_causes(&error), error.may_pass()),
            },
            Err(errors) => {
                // If the audit log takes no lines, the next flush ends the process.
                let _recorded = running.record_refused_reload(&errors.to_string());
                (errors.to_string(), false)
            }
        };
        self.retry.refused(may_pass);
        tracing::error!(%error, %cause, "configuration not reloaded, the old one stays in effect");
    }
}

/// When files are looked at; also those of the public port's certificate.
pub(super) fn looks() -> Interval {
    let mut looks = interval(BETWEEN_LOOKS);
    // Two looks in quick succession would take a file that is being written for settled.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// What the files said, and which files these are.
struct Reading {
    loaded: Result<Config, ConfigErrors>,
    files: Arc<[PathBuf]>,
    fingerprint: Fingerprint,
}

impl Reading {
    /// Reads until nothing changed meanwhile, a few times at most, so that a swap of all files does
    /// not put old and new together. `files` is a guess of what will be read.
    fn of(path: &Path, options: LoadOptions, files: &[PathBuf]) -> Self {
        let mut reading = Self::once(path, options, files);
        for _ in 0..READINGS {
            if Snapshot::of(&reading.files).fingerprint() == reading.fingerprint {
                break;
            }
            let files = Arc::clone(&reading.files);
            reading = Self::once(path, options, &files);
        }
        reading
    }

    /// The fingerprint is taken before the files are read: what is newer counts as a change.
    fn once(path: &Path, options: LoadOptions, guessed: &[PathBuf]) -> Self {
        let fingerprint = Snapshot::of(guessed).fingerprint();
        let loaded = config::load(path, options);
        let read = match &loaded {
            Ok(config) => &config.files,
            Err(errors) => errors.files(),
        };
        let mut files = read.to_vec();
        files.sort_unstable();
        files.dedup();
        Self { loaded, files: files.into(), fingerprint }
    }
}

/// A refusal for what may pass, such as a key service that did not answer, is tried again: after a
/// minute, then after twice as long each time, up to an hour. Counted in looks.
#[derive(Debug)]
struct Retry {
    next: u32,
    left: Option<u32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: FIRST_RETRY_LOOKS, left: None }
    }
}

impl Retry {
    fn refused(&mut self, may_pass: bool) {
        self.left = may_pass.then_some(self.next);
        self.next = self.next.saturating_mul(2).min(LAST_RETRY_LOOKS);
    }

    /// Asked once for each look.
    fn is_due(&mut self) -> bool {
        let left = self.left.map(|left| left.saturating_sub(1));
        self.left = left.filter(|left| *left > 0);
        left == Some(0)
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Beyond the first. The first of all has no guess and is always repeated.
const READINGS: usize = 3;
const FIRST_RETRY_LOOKS: u32 = 60;
const LAST_RETRY_LOOKS: u32 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_ever_more_rarely_and_nothing_else_is() {
        let mut retry = Retry::default();
        let looks_until_due =
            |retry: &mut Retry| (1..=100_000).find(|_| retry.is_due()).unwrap_or_default();
        assert_eq!(looks_until_due(&mut retry), 0, "nothing was refused");
        let waits: Vec<u32> = (0..8)
            .map(|_| {
                retry.refused(true);
                looks_until_due(&mut retry)
            })
            .collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(looks_until_due(&mut retry), 0, "once for each refusal");
        retry.refused(false);
        assert_eq!(looks_until_due(&mut retry), 0, "a mistake in a file does not pass");
    }
}
