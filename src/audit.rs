//! The audit log: one JSON line per event, each carrying the hash of the line before it.
//!
//! In: an [`Event`], whose fields are the allow-list (no token, no key material). Out: a
//! line in an append-only file, or [`AuditError`], upon which nothing may be issued. Knows
//! nothing of tokens, certificates and HTTP.
//!
//! Every line ends with `"prev"`: the SHA-256, in hex, of the bytes of the line before it
//! without its newline (zeros for the first line), so an edited or removed line shows in the one
//! that follows. [`verify_chain`] checks a whole file.
//!
//! A line is handed to the operating system before the step it announces, and flushed to the
//! disk once a second: a crash of the process loses nothing, a power cut at most the last second.
//! What was certified in that second still stands in the transparency log, whose commits are
//! synchronous.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::{telemetry::RequestId, time::Timestamp};

/// What is recorded. The variants and their fields are the whole allow-list.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The process began to serve.
    Started { version: &'a str, log_id: Option<&'a str> },
    /// A certificate is about to be signed.
    Intent(Issuance<'a>),
    /// The certificate stands in the log and was signed; whoever still waited for it has it.
    Issued(Issuance<'a>),
    /// An announced issuance came to nothing.
    Failed { request: &'a RequestId, serial: &'a str, reason: &'a str },
    /// A request was refused before anything was signed.
    Refused { request: &'a RequestId, reason: &'a str },
    /// The configuration was read again; `error` says why the old one was kept.
    Reload { error: Option<&'a str> },
    /// The CA key is about to certify a key of this process for precertificates, and nothing else.
    PrecertificateSigner { issuer: &'a str, serial: &'a str, key_sha256: &'a str },
    /// Another shard of the log takes the entries from here on, but for those under way.
    LogShard { log_id: &'a str },
    /// The process stopped in good order.
    Stopped,
}

/// Who a certificate is for, and which one it is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Issuance<'a> {
    /// The id that stands in the answer and in the process's log lines too.
    pub request: &'a RequestId,
    /// `iss` of the token.
    pub issuer: &'a str,
    /// `sub` of the token.
    pub subject: &'a str,
    /// The subject alternative name, as text.
    pub san: &'a str,
    /// SHA-256 of the client's SubjectPublicKeyInfo, hex.
    pub key_sha256: &'a str,
    /// Serial number, hex.
    pub serial: &'a str,
    /// Index in the transparency log, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
}

/// An audit log that is open for appending; one process at a time.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    tail: Mutex<Tail>,
    /// Set by the first failed write or flush, never cleared: after a failed fsync the page
    /// cache may have dropped what it could not write, so later success would prove nothing.
    broken: AtomicBool,
}

#[derive(Debug)]
struct Tail {
    /// Shared with a flush, so that recording goes on while the disk works. No second handle:
    /// none can be had when the process is out of file descriptors, and the log would end there.
    file: Arc<File>,
    last_line_sha256: [u8; 32],
    /// Reused between lines, so that a record does not allocate.
    line: Vec<u8>,
}

impl AuditLog {
    /// Opens or creates the file at `path` and continues its chain. A last line that a crash cut
    /// short is ended and stays in the chain as it is.
    ///
    /// # Errors
    /// The file cannot be opened, read or locked, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Open { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(AuditError::NoFile { path: path.to_owned() });
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let last_line = last_line(&mut file).map_err(failed)?;
        let last_line_sha256 = last_line.map_or([0; 32], |line| sha256(&line));
        let tail = Tail { file: Arc::new(file), last_line_sha256, line: Vec::with_capacity(1024) };
        Ok(Self { path: path.to_owned(), tail: Mutex::new(tail), broken: AtomicBool::new(false) })
    }

    /// Appends one line. When this returns, the operating system has it.
    ///
    /// # Errors
    /// The line could not be written, now or earlier: the caller must not go on.
    pub fn record(&self, now: Timestamp, event: &Event<'_>) -> Result<(), AuditError> {
        self.refuse_if_broken()?;
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.append(now, event).map_err(|source| {
            self.broken.store(true, Ordering::Release);
            AuditError::Write { path: self.path.clone(), source }
        })
    }

    /// Flushes to the disk what was recorded. Called once a second; blocks for a disk write.
    ///
    /// # Errors
    /// As [`AuditLog::record`].
    pub fn flush(&self) -> Result<(), AuditError> {
        self.refuse_if_broken()?;
        let failed = |source| {
            self.broken.store(true, Ordering::Release);
            AuditError::Write { path: self.path.clone(), source }
        };
        let file = Arc::clone(&self.tail.lock().unwrap_or_else(PoisonError::into_inner).file);
        file.sync_data().map_err(failed)
    }

    /// Whether every line could be written so far; once it is not, nothing is issued any more.
    pub fn is_writable(&self) -> bool {
        !self.broken.load(Ordering::Acquire)
    }

    fn refuse_if_broken(&self) -> Result<(), AuditError> {
        if !self.is_writable() {
            return Err(AuditError::Broken { path: self.path.clone() });
        }
        Ok(())
    }
}

impl Tail {
    fn append(&mut self, now: Timestamp, event: &Event<'_>) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            time: String,
            #[serde(flatten)]
            event: &'a Event<'a>,
            prev: String,
        }
        let prev = hex::encode(self.last_line_sha256);
        self.line.clear();
        serde_json::to_writer(&mut self.line, &Line { time: now.to_string(), event, prev })?;
        let line_sha256 = sha256(&self.line);
        self.line.push(b'\n');
        (&*self.file).write_all(&self.line)?;
        self.last_line_sha256 = line_sha256;
        Ok(())
    }
}

/// The last line of the file without its newline, which is added where it is missing.
fn last_line(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let length_bytes = file.seek(SeekFrom::End(0))?;
    let mut tail_bytes = TAIL_BYTES;
    loop {
        let start = length_bytes.saturating_sub(tail_bytes);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        if tail.is_empty() {
            return Ok(None);
        }
        if tail.last() == Some(&b'\n') {
            tail.pop();
        } else {
            file.write_all(b"\n")?;
        }
        match tail.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => return Ok(Some(tail.split_off(newline + 1))),
            None if start == 0 => return Ok(Some(tail)),
            // The line is longer than what was read: read more.
            None => tail_bytes = tail_bytes.saturating_mul(2),
        }
    }
}

/// Checks the chain of a whole audit log.
///
/// Returns how many lines it has.
///
/// # Errors
/// The number (from 1) of the first line that does not name the hash of the line before it, or
/// the error that reading met. A cut at the very end cannot show here; compare the last `issued`
/// lines with the transparency log.
pub fn verify_chain(lines: impl Read) -> Result<u64, ChainError> {
    let mut expected_prev = [0; 32];
    let mut count = 0;
    for line in BufReader::new(lines).split(b'\n') {
        let line = line?;
        count += 1;
        // A line that a crash cut short carries no hash, but is covered by the next one's.
        let torn = line.last() != Some(&b'}');
        let suffix = format!("\"prev\":\"{}\"}}", hex::encode(expected_prev));
        if !torn && !line.ends_with(suffix.as_bytes()) {
            return Err(ChainError::Broken { line: count });
        }
        expected_prev = sha256(&line);
    }
    Ok(count)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The audit log does not take lines; nothing may be issued.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file could not be opened.
    #[error("audit log {path}: cannot be opened")]
    Open { path: PathBuf, source: io::Error },
    /// A device or a pipe has no last line from which the chain could go on.
    #[error("audit log {path}: is not a regular file")]
    NoFile { path: PathBuf },
    /// Another process writes to it.
    #[error("audit log {path}: another process is writing to it")]
    InUse { path: PathBuf },
    /// A line could not be written or flushed.
    #[error("audit log {path}: cannot be written")]
    Write { path: PathBuf, source: io::Error },
    /// An earlier line could not be written.
    #[error("audit log {path}: an earlier write failed; restart once the disk is well")]
    Broken { path: PathBuf },
}

/// Why an audit log's chain does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// This line does not name the hash of the line before it.
    #[error("line {line} does not follow from the line before it")]
    Broken { line: u64 },
    /// The file could not be read.
    #[error("cannot be read")]
    Read(#[from] io::Error),
}

/// How much of the end of the file is read at first to find the last line.
const TAIL_BYTES: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_132_800);

    fn refused(reason: &str) -> (RequestId, String) {
        (RequestId::from_random([7; 16]), reason.to_owned())
    }

    fn record(log: &AuditLog, reason: &str) -> Result<(), AuditError> {
        let (request, reason) = refused(reason);
        log.record(NOW, &Event::Refused { request: &request, reason: &reason })
    }

    #[test]
    fn the_chain_continues_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        for reason in ["one", "two", "three"] {
            record(&AuditLog::open(&path).unwrap(), reason).unwrap();
        }
        assert_eq!(verify_chain(File::open(&path).unwrap()).unwrap(), 3);
    }

    #[test]
    fn an_edited_and_a_removed_line_show() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let log = AuditLog::open(&path).unwrap();
        for reason in ["one", "two", "three"] {
            record(&log, reason).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let edited = text.replace("\"two\"", "\"owt\"");
        assert!(matches!(verify_chain(edited.as_bytes()), Err(ChainError::Broken { line: 3 })));
        let lines: Vec<&str> = text.lines().collect();
        let removed = format!("{}\n{}\n", lines[0], lines[2]);
        assert!(matches!(verify_chain(removed.as_bytes()), Err(ChainError::Broken { line: 2 })));
    }

    #[test]
    fn a_torn_last_line_is_ended_and_covered_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        record(&AuditLog::open(&path).unwrap(), "one").unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time\":\"20").unwrap();
        record(&AuditLog::open(&path).unwrap(), "two").unwrap();
        assert_eq!(verify_chain(File::open(&path).unwrap()).unwrap(), 3);
    }

    #[test]
    fn a_second_writer_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let _first = AuditLog::open(&path).unwrap();
        assert!(matches!(AuditLog::open(&path), Err(AuditError::InUse { .. })));
    }

    #[test]
    fn nt_05_after_one_failed_write_nothing_is_recorded_any_more() {
        let path = PathBuf::from("/dev/full");
        assert!(matches!(AuditLog::open(&path), Err(AuditError::NoFile { .. })));
        // It takes no byte.
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let tail = Tail { file: Arc::new(file), last_line_sha256: [0; 32], line: Vec::new() };
        let log = AuditLog { path, tail: Mutex::new(tail), broken: AtomicBool::new(false) };
        assert!(matches!(record(&log, "one"), Err(AuditError::Write { .. })));
        assert!(matches!(record(&log, "two"), Err(AuditError::Broken { .. })));
    }

    #[test]
    fn a_line_longer_than_the_first_read_is_found_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        record(&AuditLog::open(&path).unwrap(), &"x".repeat(40_000)).unwrap();
        record(&AuditLog::open(&path).unwrap(), "two").unwrap();
        assert_eq!(verify_chain(File::open(&path).unwrap()).unwrap(), 2);
    }
}
