//! Files that are followed: read in one piece, and known again by what they hold.
//!
//! In: paths. Out: a [`Snapshot`] of what stands in them, its [`Fingerprint`], and from one look to
//! the next whether they [changed](Watch). Knows nothing of what the files are for.
//!
//! The file system is asked for contents, not for times or events: neither tells of every way in
//! which files are replaced, such as the symbolic links of Kubernetes (`..data` is swapped, and no
//! file is written to) or a network file system. A dozen small files in the page cache cost some
//! 100 us.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

/// What a number of files held, each by itself; private keys are among them.
pub struct Snapshot(Vec<io::Result<Zeroizing<Vec<u8>>>>);

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} files)", self.0.len())
    }
}

/// SHA-256 over what files held, or that they could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Snapshot {
    /// Reads until nothing changes, a few times at most, so that a swap in between does not put old
    /// and new together.
    pub fn of<P: AsRef<Path>>(paths: &[P]) -> Self {
        let mut snapshot = Self::once(paths);
        for _ in 0..READINGS {
            let again = Self::once(paths);
            if again.fingerprint() == snapshot.fingerprint() {
                break;
            }
            snapshot = again;
        }
        snapshot
    }

    fn once<P: AsRef<Path>>(paths: &[P]) -> Self {
        Self(paths.iter().map(|path| read(path.as_ref())).collect())
    }

    /// By this it is known again. What could not be read counts as that, for whatever reason.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut digest = Context::new(&SHA256);
        for file in &self.0 {
            let there = file.as_ref().ok();
            let length = there.map_or(u64::MAX, |bytes| bytes.len() as u64);
            digest.update(&length.to_be_bytes());
            digest.update(there.map_or(&[][..], |bytes| bytes));
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest.finish().as_ref());
        Fingerprint(sha256)
    }

    /// What each file held, in the order of the paths.
    pub fn into_contents(self) -> Vec<io::Result<Zeroizing<Vec<u8>>>> {
        self.0
    }
}

/// Reads a file, whatever length it claims to have. Only a regular one: what can be read but once, or
/// makes its readers wait, is not looked at again and again.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
    }
    let file = File::open(path)?;
    // One allocation: a vector that grows leaves copies of a private key behind.
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(LIMIT_BYTES) + 1));
    file.take(LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LIMIT_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Tells from one look to the next whether files changed, once for each change.
///
/// A change counts once two looks in a row found the same, so that a file that is being written is
/// left alone until it is whole.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// What was acted upon, for better or worse.
    acted_upon: Fingerprint,
    last: Fingerprint,
}

impl Watch {
    /// The files held this when they were acted upon.
    pub fn from(fingerprint: Fingerprint) -> Self {
        Self { acted_upon: fingerprint, last: fingerprint }
    }

    /// A look found this. True if it is new and settled, and then no more until the next change:
    /// what is bad is not tried again and again.
    pub fn look(&mut self, found: Fingerprint) -> bool {
        let settled = found == self.last;
        self.last = found;
        let changed = settled && found != self.acted_upon;
        if changed {
            self.acted_upon = found;
        }
        changed
    }
}

/// Of one snapshot, beyond the first.
const READINGS: usize = 3;
/// Larger than any file that is followed: chains, keys and configurations have a few KiB.
const LIMIT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn fingerprint(paths: &[&Path]) -> Fingerprint {
        Snapshot::of(paths).fingerprint()
    }

    #[test]
    fn a_change_is_told_once_it_has_settled_and_then_no_more() {
        let [old, half, new] = [[1; 32], [2; 32], [3; 32]].map(Fingerprint);
        let mut watch = Watch::from(old);
        for (found, changed) in [
            (old, false),
            (half, false),
            (new, false),
            (new, true),
            (new, false),
            // Away for a moment, as between two renames.
            (half, false),
            (new, false),
            (new, false),
            (old, false),
            (old, true),
        ] {
            assert_eq!(watch.look(found), changed, "{found:?} of {watch:?}");
        }
    }

    #[test]
    fn contents_make_the_fingerprint_and_not_names_times_or_borders() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let [a, b, gone] = ["a", "b", "gone"].map(path);
        let write = |one: &str, two: &str| {
            fs::write(&a, one).unwrap();
            fs::write(&b, two).unwrap();
            fingerprint(&[&a, &b])
        };
        let first = write("xy", "z");
        assert_eq!(first, write("xy", "z"));
        assert_ne!(first, write("x", "yz"));
        assert_ne!(fingerprint(&[&a]), fingerprint(&[&gone]));
        fs::write(&a, "").unwrap();
        assert_ne!(fingerprint(&[&a]), fingerprint(&[&gone]), "empty is not the same as gone");
    }

    #[test]
    fn a_swap_of_links_as_kubernetes_does_it_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("file"), text).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/file", path("file")).unwrap();
        let before = fingerprint(&[&path("file")]);
        symlink("..2", path("..tmp")).unwrap();
        fs::rename(path("..tmp"), path("..data")).unwrap();
        assert_ne!(before, fingerprint(&[&path("file")]));
    }

    #[test]
    fn what_never_ends_or_makes_its_readers_wait_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, long) = (folder.path().join("pipe"), folder.path().join("long"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        File::create(&long).unwrap().set_len(LIMIT_BYTES as u64 + 1).unwrap();
        let contents = Snapshot::of(&[Path::new("/dev/zero"), &pipe, &long]).into_contents();
        let kinds: Vec<io::ErrorKind> =
            contents.into_iter().map(|read| read.unwrap_err().kind()).collect();
        let no_file = io::ErrorKind::InvalidInput;
        assert_eq!(kinds, [no_file, no_file, io::ErrorKind::FileTooLarge]);
    }
}
