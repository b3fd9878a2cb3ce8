//! What the machine says beside the configuration: variables and files that the services' own
//! tools use too.
//!
//! In: names. Out: text and secrets. Knows nothing of services.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::ServiceFault;
use crate::secret::Secret;

/// The environment variables that a key service's settings are looked for in.
#[derive(Clone)]
pub(in crate::keys) struct Environment(Lookup);

type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Environment {
    /// Those of this process.
    pub(in crate::keys) fn of_process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok()))
    }

    #[cfg(test)]
    pub(in crate::keys) fn fixed(variables: &[(&'static str, &str)]) -> Self {
        let variables: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self(Arc::new(move |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        }))
    }

    /// The value of a variable; an empty one is as good as none.
    pub(in crate::keys) fn var(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}

/// Variables hold secrets: none is shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)")
    }
}

/// Where a secret is: `file:PATH` or `env:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The file's content without the end of its last line.
    File(PathBuf),
    /// The variable's value.
    Variable(String),
}

impl SecretSource {
    /// What [`Self::parse`] takes, for messages.
    pub(in crate::keys) const EXPECTED: &str =
        "file:PATH or env:NAME, because secrets do not belong in a configuration";

    pub(in crate::keys) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty())?;
        match kind {
            "file" => Some(Self::File(rest.into())),
            "env" => Some(Self::Variable(rest.to_owned())),
            _ => None,
        }
    }

    /// The same with a relative path taken from `directory`.
    #[must_use]
    pub(in crate::keys) fn resolved_in(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            variable @ Self::Variable(_) => variable,
        }
    }

    /// Reads it now: what is in a file may be another secret than last time.
    pub(in crate::keys) fn read(&self, environment: &Environment) -> Result<Secret, ServiceFault> {
        match self {
            Self::File(path) => {
                let content = read_file(path)?;
                let text = content.expose().trim_ascii_end().to_vec();
                if text.is_empty() {
                    return Err(ServiceFault::EmptyFile { path: path.clone() });
                }
                Ok(Secret::new(text))
            }
            Self::Variable(name) => environment
                .var(name)
                .map(Secret::from)
                .ok_or_else(|| ServiceFault::NoVariable { name: name.clone() }),
        }
    }
}

/// A file of credentials or certificates, bounded.
pub(in crate::keys) fn read_file(path: &Path) -> Result<Secret, ServiceFault> {
    let failed = |source| ServiceFault::Unreadable { path: path.to_owned(), source };
    let mut content = Vec::with_capacity(MAX_FILE_BYTES + 1);
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content);
    let content = Secret::new(content);
    read.map_err(failed)?;
    if content.expose().len() > MAX_FILE_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large")));
    }
    Ok(content)
}

const MAX_FILE_BYTES: usize = 256 * 1024;
