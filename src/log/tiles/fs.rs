//! Tiles as files.
//!
//! In: objects. Out: files that were flushed, with their directories, before anyone hears of
//! them. Knows nothing of what is in them.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Object, TileStore, TileStoreError};

/// A directory of tiles that one process writes.
#[derive(Clone, Debug)]
pub struct FsTiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Directories whose own entry is known to be on disk.
    durable: Mutex<HashSet<PathBuf>>,
    next_temporary: AtomicU64,
}

impl FsTiles {
    /// Takes a directory that exists; temporary files that a crash left there are removed.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn open(root: &Path) -> Result<Self, TileStoreError> {
        let temporary = root.join(TEMPORARY);
        let failed = |error| storage(&temporary, "make an empty directory of it", error);
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir(&temporary).map_err(failed)?,
        }
        let shared = Shared {
            root: root.to_owned(),
            durable: Mutex::default(),
            next_temporary: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl TileStore for FsTiles {
    fn create(&self, object: Object, bytes: Bytes) -> BoxFuture<'_, Result<(), TileStoreError>> {
        let shared = Arc::clone(&self.shared);
        blocking(object, move || shared.create(object, &bytes))
    }

    fn read(&self, object: Object) -> BoxFuture<'_, Result<Option<Bytes>, TileStoreError>> {
        let shared = Arc::clone(&self.shared);
        blocking(object, move || shared.read(object))
    }
}

fn blocking<T: Send + 'static>(
    object: Object,
    work: impl FnOnce() -> Result<T, TileStoreError> + Send + 'static,
) -> BoxFuture<'static, Result<T, TileStoreError>> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| {
            let source = io::Error::other("the work was cut short");
            let path = object.to_string();
            Err(TileStoreError::Storage { path, doing: "finish", source })
        })
    })
}

impl Shared {
    /// Flushes a temporary file, then gives it its name. `link` fails where the name is taken, so
    /// that nothing is ever replaced; `rename` would.
    fn create(&self, object: Object, bytes: &[u8]) -> Result<(), TileStoreError> {
        let path = self.root.join(object.to_string());
        let directory = path.parent().unwrap_or(&self.root);
        self.make_durable(directory)?;
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(TEMPORARY).join(number.to_string());
        write_flushed(&temporary, bytes).map_err(|error| storage(&temporary, "write it", error))?;
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary).map_err(|error| storage(&temporary, "remove it", error))?;
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A crash may have come between the link and the directory's flush, so that a
                // file that is there is not a file that stays there: flush it once more.
                confirm_same(&path, bytes)?;
            }
            Err(error) => return Err(storage(&path, "name it", error)),
        }
        sync_directory(directory)
    }

    fn read(&self, object: Object) -> Result<Option<Bytes>, TileStoreError> {
        let path = self.root.join(object.to_string());
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(storage(&path, "read it", error)),
        }
    }

    /// Makes `directory`, and flushes each directory above it that this process did not flush:
    /// one that is there may have been made by a process that crashed before its flush.
    fn make_durable(&self, directory: &Path) -> Result<(), TileStoreError> {
        // Held while flushing: whoever finds a directory in the set may rely on it.
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if directory == self.root || durable.contains(directory) {
            return Ok(());
        }
        fs::create_dir_all(directory).map_err(|error| storage(directory, "make it", error))?;
        let mut above = directory;
        while above != self.root
            && let Some(parent) = above.parent()
        {
            sync_directory(parent)?;
            durable.insert(above.to_owned());
            above = parent;
        }
        Ok(())
    }
}

fn write_flushed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn confirm_same(path: &Path, bytes: &[u8]) -> Result<(), TileStoreError> {
    let failed = |error| storage(path, "compare it", error);
    if fs::read(path).map_err(failed)? != bytes {
        return Err(TileStoreError::Differs { path: path.display().to_string() });
    }
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

fn sync_directory(directory: &Path) -> Result<(), TileStoreError> {
    fs::File::open(directory)
        .and_then(|open| open.sync_all())
        .map_err(|error| storage(directory, "flush it", error))
}

fn storage(path: &Path, doing: &'static str, source: io::Error) -> TileStoreError {
    TileStoreError::Storage { path: path.display().to_string(), doing, source }
}

/// Files that have no name yet; on the same file system as the names they will get.
const TEMPORARY: &str = "tmp";
