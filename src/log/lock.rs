//! One process per log directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use super::OpenError;

/// Held while the log may write; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `directory`, or says that another process has.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("lock");
        let failed = |doing| {
            let path = path.clone();
            move |source| OpenError::Directory { path, doing, source }
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open it"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { lock: path }),
            Err(TryLockError::Error(source)) => Err(failed("lock it")(source)),
        }
    }
}
