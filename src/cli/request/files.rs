//! The files that a request reads and makes.
//!
//! In: paths. Out: small contents, and new files that are filled when the certificate is there, or
//! removed when none came. No file of the caller is ever overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::RequestArguments;
use crate::{
    cli::{CliError, FileAction, client::Answer},
    secret::Secret,
};

/// The files that were asked for, created before the request and filled after it.
#[derive(Debug, Default)]
pub(super) struct NewFiles {
    key: Option<(PathBuf, File)>,
    certificate: Option<(PathBuf, File)>,
    chain: Option<(PathBuf, File)>,
}

impl NewFiles {
    pub(super) fn create(arguments: &RequestArguments) -> Result<Self, CliError> {
        let mut files = Self::default();
        let created = files.create_each(arguments);
        match created {
            Ok(()) => Ok(files),
            Err(error) => {
                files.remove();
                Err(error)
            }
        }
    }

    fn create_each(&mut self, arguments: &RequestArguments) -> Result<(), CliError> {
        let key_out = arguments.key_out.as_ref().filter(|_| !arguments.prints_key());
        for (path, slot, mode) in [
            (key_out, &mut self.key, OWNER_ONLY),
            (arguments.cert_out.as_ref(), &mut self.certificate, READABLE),
            (arguments.chain_out.as_ref(), &mut self.chain, READABLE),
        ] {
            if let Some(path) = path {
                *slot = Some((path.clone(), create_new(path, mode)?));
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, answer: &Answer, private_pem: &Secret) -> Result<(), CliError> {
        let [leaf, above @ ..] = answer.pem_chain.as_slice() else {
            return Ok(());
        };
        for (slot, content) in [
            (&mut self.key, private_pem.expose()),
            (&mut self.certificate, leaf.as_bytes()),
            (&mut self.chain, above.concat().as_bytes()),
        ] {
            let Some((path, file)) = slot else { continue };
            let written = file.write_all(content).and_then(|()| file.sync_all());
            let failed =
                |source| CliError::File { action: FileAction::Create, path: path.clone(), source };
            written.map_err(failed)?;
        }
        Ok(())
    }

    /// Nothing came of it: the empty files that this run made go again.
    pub(super) fn remove(self) {
        for (path, file) in [self.key, self.certificate, self.chain].into_iter().flatten() {
            drop(file);
            // The refusal that led here is what the caller must hear, not this one.
            let _ = fs::remove_file(path);
        }
    }
}

/// The content of a file with a token, a key or a password, or of standard input for `-`.
pub(super) fn read_small(path: &Path) -> Result<Secret, CliError> {
    let failed =
        |source| CliError::File { action: FileAction::Read, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let mut reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    reader.by_ref().take(MAX_SMALL_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Secret::new(bytes))
}

/// Creates `path`, which must not exist.
fn create_new(path: &Path, mode: u32) -> Result<File, CliError> {
    use std::os::unix::fs::OpenOptionsExt;

    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    created.map_err(|source| CliError::File {
        action: FileAction::Create,
        path: path.to_owned(),
        source,
    })
}

/// Twice what a server takes: enough to let it refuse, little enough to hold.
const MAX_SMALL_BYTES: u64 = 64 << 10;
const OWNER_ONLY: u32 = 0o600;
const READABLE: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_ever_overwritten_and_a_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.pem");
        create_new(&path, OWNER_ONLY).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create_new(&path, OWNER_ONLY), Err(CliError::File { .. })));
    }
}
