//! How a configuration names a key.
//!
//! In: text such as `file:keys/issuing.pem`. Out: a [`KeyUri`], or what is wrong with the text.
//! Opens nothing.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{
    aws_kms::{AwsKmsUri, AwsKmsUriError},
    azure_kms::AzureKmsUri,
    gcp_kms::GcpKmsUri,
    pkcs11::{Pkcs11Uri, Pkcs11UriError},
    service::ServiceUriError,
    vault::VaultUri,
    wrapped::{WrappedUri, WrappedUriError},
};

/// Where a private key lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyUri {
    /// `file:PATH`: PKCS #8 in a file, see [`super::file`].
    File(PathBuf),
    /// `pkcs11:…`: in an HSM or other token, see [`super::pkcs11`].
    Pkcs11(Box<Pkcs11Uri>),
    /// `azurekms://…`: in Azure Key Vault, see [`super::azure_kms`].
    AzureKms(Box<AzureKmsUri>),
    /// `gcpkms://…`: in Google Cloud KMS, see [`super::gcp_kms`].
    GcpKms(Box<GcpKmsUri>),
    /// `hashivault://…`: in the transit engine of Vault or OpenBao, see [`super::vault`].
    Vault(Box<VaultUri>),
    /// `awskms:…`: in AWS KMS, see [`super::aws_kms`].
    AwsKms(Box<AwsKmsUri>),
    /// `wrapped:…`: in a file that a key service encrypted, see [`super::wrapped`].
    Wrapped(Box<WrappedUri>),
}

/// Why a text names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyUriError {
    #[error("'{text}' has no scheme; a key in a file is written 'file:{text}'")]
    NoScheme { text: String },
    #[error("'file:' is not followed by a path")]
    NoPath,
    #[error(
        "'{text}' names a host; a relative path is written 'file:PATH', an absolute one \
         'file:/PATH'"
    )]
    Host { text: String },
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11UriError),
    #[error(transparent)]
    Service(#[from] ServiceUriError),
    #[error(transparent)]
    AwsKms(#[from] AwsKmsUriError),
    #[error(transparent)]
    Wrapped(#[from] WrappedUriError),
    #[error("there are no keys of scheme '{scheme}:'{}", Hint(*.suggestion))]
    Unknown { scheme: String, suggestion: Option<&'static str> },
}

impl KeyUri {
    /// The same key with a relative path taken from `directory`.
    #[must_use]
    pub fn resolved_in(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            Self::Pkcs11(uri) => Self::Pkcs11(Box::new(uri.resolved_in(directory))),
            Self::AzureKms(uri) => Self::AzureKms(Box::new(uri.resolved_in(directory))),
            Self::GcpKms(uri) => Self::GcpKms(Box::new(uri.resolved_in(directory))),
            Self::Vault(uri) => Self::Vault(Box::new(uri.resolved_in(directory))),
            Self::AwsKms(uri) => Self::AwsKms(uri),
            Self::Wrapped(uri) => Self::Wrapped(Box::new(uri.resolved_in(directory))),
        }
    }
}

impl FromStr for KeyUri {
    type Err = KeyUriError;

    fn from_str(text: &str) -> Result<Self, KeyUriError> {
        let (scheme, rest) =
            text.split_once(':').ok_or_else(|| KeyUriError::NoScheme { text: text.to_owned() })?;
        match scheme {
            FILE => file_path(text, rest).map(Self::File),
            AWS_KMS => Ok(Self::AwsKms(Box::new(rest.parse()?))),
            PKCS11 => Ok(Self::Pkcs11(Box::new(rest.parse()?))),
            AZUREKMS => Ok(Self::AzureKms(Box::new(rest.parse()?))),
            GCPKMS => Ok(Self::GcpKms(Box::new(rest.parse()?))),
            HASHIVAULT => Ok(Self::Vault(Box::new(rest.parse()?))),
            WRAPPED => Ok(Self::Wrapped(Box::new(rest.parse()?))),
            _ => {
                Err(KeyUriError::Unknown { scheme: scheme.to_owned(), suggestion: nearest(scheme) })
            }
        }
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // RFC 8089: what follows two slashes would be a host, so an empty one is written before.
            Self::File(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                write!(f, "{FILE}://{}", path.display())
            }
            Self::File(path) => write!(f, "{FILE}:{}", path.display()),
            Self::Pkcs11(uri) => uri.fmt(f),
            Self::AzureKms(uri) => uri.fmt(f),
            Self::GcpKms(uri) => uri.fmt(f),
            Self::Vault(uri) => uri.fmt(f),
            Self::AwsKms(uri) => uri.fmt(f),
            Self::Wrapped(uri) => uri.fmt(f),
        }
    }
}

/// `PATH`, or `//` and an absolute path as in RFC 8089; no host.
fn file_path(text: &str, rest: &str) -> Result<PathBuf, KeyUriError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        Err(KeyUriError::NoPath)
    } else if path.len() < rest.len() && !path.starts_with('/') {
        Err(KeyUriError::Host { text: text.to_owned() })
    } else {
        Ok(PathBuf::from(path))
    }
}

fn nearest(scheme: &str) -> Option<&'static str> {
    let scheme = scheme.to_ascii_lowercase();
    SCHEMES
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(known, &scheme), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(known) => write!(f, "; did you mean '{known}:'?"),
            None => Ok(()),
        }
    }
}

const FILE: &str = "file";
const PKCS11: &str = "pkcs11";
const AZUREKMS: &str = "azurekms";
const GCPKMS: &str = "gcpkms";
const HASHIVAULT: &str = "hashivault";
const AWS_KMS: &str = "awskms";
const WRAPPED: &str = "wrapped";
const SCHEMES: [&str; 7] = [FILE, PKCS11, AWS_KMS, AZUREKMS, GCPKMS, HASHIVAULT, WRAPPED];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<KeyUri, KeyUriError> {
        text.parse()
    }

    #[test]
    fn a_file_is_named_by_a_relative_or_an_absolute_path() {
        for (text, path) in [
            ("file:keys/issuing.pem", "keys/issuing.pem"),
            ("file:/etc/mayfly/ca.pem", "/etc/mayfly/ca.pem"),
            ("file:///etc/mayfly/ca.pem", "/etc/mayfly/ca.pem"),
            ("file:C:ca.pem", "C:ca.pem"),
        ] {
            assert_eq!(parsed(text), Ok(KeyUri::File(path.into())), "{text}");
        }
        let resolved = parsed("file:a.pem").unwrap().resolved_in(Path::new("/etc"));
        assert_eq!(resolved.to_string(), "file:/etc/a.pem");
        let absolute = parsed("file:/a.pem").unwrap().resolved_in(Path::new("/etc"));
        assert_eq!(absolute.to_string(), "file:/a.pem");
    }

    /// Found by fuzzing: it was named `file://a.pem`, where `a.pem` would be a host.
    #[test]
    fn a_path_that_begins_with_two_slashes_keeps_its_name() {
        let key = parsed("file:////a.pem").unwrap();
        assert_eq!(key, KeyUri::File("//a.pem".into()));
        assert_eq!(key.to_string(), "file:////a.pem");
        assert_eq!(parsed(&key.to_string()), Ok(key));
    }

    #[test]
    fn the_keys_of_services_are_named_and_told_the_same() {
        let wrapped = "wrapped:keys/ca.wrapped?kek=awskms:///alias/kek?region=eu-west-1";
        for text in ["awskms:///alias/ca", wrapped] {
            let key = parsed(text).unwrap();
            assert_eq!(key.to_string(), text);
            assert_eq!(parsed(&key.to_string()), Ok(key));
        }
        let resolved = parsed(wrapped).unwrap().resolved_in(Path::new("/etc")).to_string();
        assert_eq!(resolved, wrapped.replace("keys/", "/etc/keys/"));
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, message) in [
            (
                "keys/ca.pem",
                "'keys/ca.pem' has no scheme; a key in a file is written 'file:keys/ca.pem'",
            ),
            ("file:", "'file:' is not followed by a path"),
            ("file://", "'file:' is not followed by a path"),
            (
                "file://keys/ca.pem",
                "'file://keys/ca.pem' names a host; a relative path is written 'file:PATH', an \
                 absolute one 'file:/PATH'",
            ),
            ("aws-kms://a", "there are no keys of scheme 'aws-kms:'; did you mean 'awskms:'?"),
            ("File:a", "there are no keys of scheme 'File:'; did you mean 'file:'?"),
            ("https://a", "there are no keys of scheme 'https:'"),
        ] {
            assert_eq!(parsed(text).unwrap_err().to_string(), message);
        }
    }
}
