//! Files that a ceremony makes: new, never one that was there, and gone again if it fails. And the
//! one file that is replaced: the configuration.
//!
//! In: paths and contents. Out: synced files. What is not kept is removed when it is dropped.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::CaCommandError;
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
        self.file
            .write_all(content)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| sync_directory_of(&self.path))
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

/// Replaces a file in one step, if it still holds `before`: whoever reads it finds the old text or
/// the new one, also after a crash. Owner and mode stay. A symbolic link stays one, and what it
/// leads to is replaced, because relative paths in a configuration begin at the link.
///
/// The new text is written beside it first, in a file that only one process can create: two that
/// do this at once do not undo each other's work.
pub(super) fn replace_file(path: &Path, before: &[u8], after: &[u8]) -> Result<(), CliError> {
    let replacing =
        |source| CliError::File { action: FileAction::Write, path: path.into(), source };
    let target = fs::canonicalize(path).map_err(replacing)?;
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".new");
    let beside = target.with_file_name(name);
    let mut new = NewFile::create(&beside, Readers::Owner)?;
    new.fill(after)?;
    keep_owner_and_mode(&target, &new.file).map_err(replacing)?;
    if fs::read(&target).map_err(replacing)? != before {
        return Err(CaCommandError::ChangedMeanwhile { path: path.to_owned() }.into());
    }
    fs::rename(&beside, &target).map_err(replacing)?;
    new.keep();
    sync_directory_of(&target).map_err(replacing)
}

fn keep_owner_and_mode(of: &Path, new: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let (old, made) = (fs::metadata(of)?, new.metadata()?);
    if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(old.permissions())
}

/// A name is on the disk once its directory is.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File { action: FileAction::Create, path, source }
}
