//! `wrapped:` URIs: a file, and the key that encrypted it.
//!
//! In: the text after `wrapped:`. Out: a [`WrappedUri`], or what is wrong with the text. Opens
//! nothing.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::keys::{KeyUri, KeyUriError};

/// Where the file is, and which key decrypts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedUri {
    /// The file.
    pub path: PathBuf,
    /// The key encryption key. From here and not from the file, so that whoever may write the file
    /// cannot choose whom this process asks with its credentials.
    pub kek: KeyUri,
}

/// Why a text names no wrapped key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrappedUriError {
    #[error("'wrapped:' is not followed by a path")]
    NoPath,
    #[error(
        "'wrapped:': no key encryption key is named; write 'wrapped:PATH?kek=URI', such as \
         '?kek=awskms:///alias/mayfly-kek'"
    )]
    NoKek,
    #[error("'wrapped:': after '?' stands 'kek=' and the URI of a key, and nothing else")]
    Parameter,
    #[error("'wrapped:': a '{scheme}:' key encrypts no keys here; one of a key service does")]
    KekScheme { scheme: &'static str },
    #[error("'wrapped:': its 'kek': {0}")]
    Kek(Box<KeyUriError>),
}

impl WrappedUri {
    /// The same key with a relative path taken from `directory`.
    #[must_use]
    pub fn resolved_in(self, directory: &Path) -> Self {
        Self { path: directory.join(self.path), kek: self.kek }
    }
}

impl FromStr for WrappedUri {
    type Err = WrappedUriError;

    fn from_str(text: &str) -> Result<Self, WrappedUriError> {
        // The URI after `kek=` has parameters of its own, so it goes to the end as it is.
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        if path.is_empty() {
            return Err(WrappedUriError::NoPath);
        }
        let kek = query.ok_or(WrappedUriError::NoKek)?.strip_prefix("kek=");
        let kek = kek.ok_or(WrappedUriError::Parameter)?;
        if kek.is_empty() {
            return Err(WrappedUriError::NoKek);
        }
        for scheme in ["file", "pkcs11", "wrapped"] {
            if kek.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')) {
                return Err(WrappedUriError::KekScheme { scheme });
            }
        }
        let kek = kek.parse().map_err(|error| WrappedUriError::Kek(Box::new(error)))?;
        Ok(Self { path: PathBuf::from(path), kek })
    }
}

impl fmt::Display for WrappedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrapped:{}?kek={}", self.path.display(), self.kek)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_the_key_of_a_service_are_named() {
        let text = "keys/ca.wrapped?kek=awskms:///alias/kek?region=eu-west-1";
        let uri: WrappedUri = text.parse().unwrap();
        assert_eq!(uri.path, Path::new("keys/ca.wrapped"));
        assert_eq!(uri.kek.to_string(), "awskms:///alias/kek?region=eu-west-1");
        assert_eq!(uri.to_string(), format!("wrapped:{text}"));
        let resolved = uri.resolved_in(Path::new("/etc/mayfly"));
        assert_eq!(resolved.path, Path::new("/etc/mayfly/keys/ca.wrapped"));
    }

    #[test]
    fn what_names_no_wrapped_key_is_told() {
        for (text, message) in [
            ("", "is not followed by a path"),
            ("?kek=awskms:///alias/kek", "is not followed by a path"),
            ("ca.wrapped", "no key encryption key is named"),
            ("ca.wrapped?kek=", "no key encryption key is named"),
            ("ca.wrapped?key=awskms:///alias/kek", "after '?' stands 'kek='"),
            ("ca.wrapped?kek=awskms:///nothing", "its 'kek': 'awskms:'"),
            ("ca.wrapped?kek=file:kek.pem", "a 'file:' key encrypts no keys here"),
            ("ca.wrapped?kek=wrapped:b?kek=awskms:///alias/kek", "a 'wrapped:' key encrypts no"),
            ("ca.wrapped?kek=awskm:///alias/kek", "did you mean 'awskms:'"),
        ] {
            let error = text.parse::<WrappedUri>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
