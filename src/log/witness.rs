//! The log's own memory of the latest checkpoint, beside the coordinator.
//!
//! In: each checkpoint, after its commit and before anyone sees it. Out: at the next start, the
//! latest one. Knows nothing of what it is compared with.
//!
//! A coordinator that was restored from an old copy, or that lost its last commits to a damaged
//! write-ahead log, is sound in itself: nothing in it says that the log signed more. Going on from
//! there would sign a second history. This file says it.
//!
//! Two slots are written in turn, so that a torn write leaves the other one. Nothing is flushed:
//! a process that is killed loses nothing, and after a power cut the file may be behind the
//! coordinator, never ahead of it. It guards against mistakes, not against who can write here.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{OpenError, key::LogKey};
use crate::tlog::TreeHead;

/// The open file; one process at a time, by the directory's lock.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    file: File,
    next_slot: u64,
}

impl Witness {
    /// Whether a log was here, whatever else is left of it.
    pub(super) fn exists(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// The file in `directory`, made where there is none, and the latest checkpoint in it that
    /// `key` signed. Changes nothing that is in it.
    pub(super) fn open(
        directory: &Path,
        key: &LogKey,
    ) -> Result<(Self, Option<TreeHead>), OpenError> {
        let path = directory.join(FILE);
        let failed = |doing| {
            let path = path.clone();
            move |source| OpenError::Directory { path, doing, source }
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(failed("open it"))?;
        let mut bytes = Vec::new();
        (&file).take(FILE_BYTES).read_to_end(&mut bytes).map_err(failed("read it"))?;
        let heads = bytes.chunks(SLOT_BYTES).zip(0..).filter_map(|(slot, number)| {
            let checkpoint = slot.split(|byte| *byte == 0).next()?;
            Some((key.open_checkpoint(checkpoint)?, number))
        });
        let latest = heads.max_by_key(|(head, _)| (head.size, head.timestamp));
        let next_slot = latest.map_or(0, |(_, number): (_, u64)| number + 1);
        Ok((Self { path, file, next_slot }, latest.map(|(head, _)| head)))
    }

    /// Makes the file ready, flushed, with the checkpoint that this process begins with. Takes all
    /// its blocks now, so that a full disk shows here rather than after a commit.
    pub(super) fn begin(&mut self, checkpoint: &[u8]) -> Result<(), OpenError> {
        self.write_all_blocks().and_then(|()| self.remember(checkpoint)).map_err(|source| {
            OpenError::Directory { path: self.path.clone(), doing: "write it", source }
        })
    }

    fn write_all_blocks(&mut self) -> io::Result<()> {
        let length = self.file.seek(SeekFrom::End(0))?;
        let missing = FILE_BYTES.saturating_sub(length);
        io::copy(&mut io::repeat(0).take(missing), &mut self.file)?;
        self.file.sync_all()?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Remembers a checkpoint that was committed. A few microseconds: it reaches the page cache,
    /// which outlives the process.
    pub(super) fn remember(&mut self, checkpoint: &[u8]) -> io::Result<()> {
        let mut slot = Vec::with_capacity(checkpoint.len() + 1);
        slot.extend_from_slice(checkpoint);
        slot.push(0);
        if slot.len() > SLOT_BYTES {
            return Err(io::Error::other("the checkpoint is larger than its slot"));
        }
        if is_removed(&self.file)? {
            return Err(io::Error::other("the log's files were removed while it was open"));
        }
        let slot_number = self.next_slot % SLOTS as u64;
        self.file.seek(SeekFrom::Start(slot_number * SLOT_BYTES as u64))?;
        self.file.write_all(&slot)?;
        self.next_slot = slot_number + 1;
        Ok(())
    }

    /// For messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A file without a name takes writes as before, and is gone with the process: commits as well.
#[cfg(unix)]
fn is_removed(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() == 0)
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_removed(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// In the log's data directory.
pub(super) const FILE: &str = "latest-checkpoint";

/// A block, so that a torn write reaches one slot only. Checkpoints are far smaller: an origin
/// has at most [`super::key::MAX_ORIGIN_BYTES`].
const SLOT_BYTES: usize = 4096;
const SLOTS: usize = 2;
const FILE_BYTES: u64 = (SLOT_BYTES * SLOTS) as u64;
