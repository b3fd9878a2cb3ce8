//! Files that a ceremony makes: new, never one that was there, and gone again if it fails.
//!
//! In: paths and contents. Out: synced files. What is not kept is removed when it is dropped.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::cli::{CliError, FileAction};

/// A file that did not exist before.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

/// Who may read it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readers {
    /// Its owner: a private key.
    Owner,
    /// Everyone, as far as the umask lets them: a certificate.
    Everyone,
}

impl NewFile {
    /// Creates it, empty, so that nothing is signed for which there is no place.
    pub(super) fn create(path: &Path, readers: Readers) -> Result<Self, CliError> {
        use std::os::unix::fs::OpenOptionsExt;

        let mode = match readers {
            Readers::Owner => 0o600,
            Readers::Everyone => 0o644,
        };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map(|file| Self { path: path.to_owned(), file, kept: false })
            .map_err(failed(path))
    }

    /// Fills it, and waits until it and its name are on the disk.
    pub(super) fn fill(&mut self, content: &[u8]) -> Result<(), CliError> {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        self.file
            .write_all(content)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| File::open(directory)?.sync_all())
            .map_err(failed(&self.path))
    }

    /// It stays.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // The failure that led here is what the caller must hear, not this one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File { action: FileAction::Create, path, source }
}
