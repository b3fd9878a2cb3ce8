use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::secret::Secret;

/// Where the passphrase of a key comes from; never the passphrase itself, which does not belong
/// in a configuration.
#[derive(Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH`: the first line of a file.
    File(PathBuf),
}

/// Only which kind it is: the text after `env:` is the place where people mistakenly put the
/// passphrase itself.
impl fmt::Debug for PassphraseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Env(_) => "Env(..)",
            Self::File(_) => "File(..)",
        })
    }
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The variable is not set, or not text.
    #[error("the environment variable of the passphrase is not set, empty or not text")]
    NoVariable,
    /// The file cannot be read.
    #[error("the file of the passphrase, '{}', cannot be read", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An empty passphrase protects nothing.
    #[error("the file of the passphrase, '{}', has an empty first line", path.display())]
    Empty {
        /// Its path.
        path: PathBuf,
    },
}

impl PassphraseSource {
    /// From `env:NAME` or `file:PATH`. Whoever refuses another text does not repeat it: it may be
    /// the passphrase itself.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = |name: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            name.bytes().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() && is_name(name) => Some(Self::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(Self::File(PathBuf::from(path))),
            _ => None,
        }
    }

    /// The same source with a relative path taken from `directory`.
    #[must_use]
    pub fn resolved_in(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            Self::Env(name) => Self::Env(name),
        }
    }

    /// Fetches the passphrase.
    ///
    /// # Errors
    /// It is not where the configuration says, or is empty.
    pub fn read(&self) -> Result<Secret, PassphraseError> {
        match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(Secret::from(text)),
                _ => Err(PassphraseError::NoVariable),
            },
            Self::File(path) => {
                let unreadable =
                    |source| PassphraseError::Unreadable { path: path.clone(), source };
                let whole = Secret::new(std::fs::read(path).map_err(unreadable)?);
                let line = whole.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.is_empty() {
                    return Err(PassphraseError::Empty { path: path.clone() });
                }
                Ok(Secret::new(line.to_vec()))
            }
        }
    }
}
