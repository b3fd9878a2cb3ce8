//! `hashivault://KEY?…`: a key of the transit engine.
//!
//! In: the text after `hashivault:`. Out: a [`VaultUri`], or what is wrong with the text. Reads
//! nothing else.

use std::{
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::keys::service::{Endpoint, Query, SecretSource, ServiceUriError, authority_and_query};

/// Which key, and what of the way to it the environment does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultUri {
    /// The key's name.
    pub key: String,
    /// Where the transit engine is mounted.
    pub mount: Option<String>,
    /// The namespace of Vault Enterprise or OpenBao.
    pub namespace: Option<String>,
    /// The version that signs; the latest where none is named.
    pub version: Option<NonZeroU32>,
    pub(super) address: Option<Endpoint>,
    pub(super) ca_cert: Option<PathBuf>,
    pub(super) auth: VaultAuth,
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VaultAuth {
    Token { source: Option<SecretSource> },
    AppRole { mount: String, role_id: Option<String>, secret_id: Option<SecretSource> },
    Kubernetes { mount: String, role: String, jwt: PathBuf },
}

impl VaultUri {
    /// The same key with relative paths taken from `directory`.
    #[must_use]
    pub fn resolved_in(self, directory: &Path) -> Self {
        let source = |source: Option<SecretSource>| source.map(|it| it.resolved_in(directory));
        let auth = match self.auth {
            VaultAuth::Token { source: from } => VaultAuth::Token { source: source(from) },
            VaultAuth::AppRole { mount, role_id, secret_id } => {
                VaultAuth::AppRole { mount, role_id, secret_id: source(secret_id) }
            }
            VaultAuth::Kubernetes { mount, role, jwt } => {
                VaultAuth::Kubernetes { mount, role, jwt: directory.join(jwt) }
            }
        };
        Self { ca_cert: self.ca_cert.map(|path| directory.join(path)), auth, ..self }
    }
}

impl FromStr for VaultUri {
    type Err = ServiceUriError;

    fn from_str(text: &str) -> Result<Self, ServiceUriError> {
        let form = || ServiceUriError::Form { scheme: SCHEME, expected: "'//' and a key's name" };
        let (key, query) = authority_and_query(text).ok_or_else(form)?;
        if !is_name(key) {
            return Err(form());
        }
        let mut query = Query::parse(SCHEME, query, PARAMETERS)?;
        let mount = query.take_as("mount", MOUNT, path)?;
        let namespace = query.take_as("namespace", MOUNT, path)?;
        let version = query.take_as("version", "a number from 1", |text| text.parse().ok())?;
        let address = query.take_as("address", Endpoint::EXPECTED, Endpoint::parse)?;
        let ca_cert = query.take("ca-cert").map(PathBuf::from);
        let auth = auth(query)?;
        let key = key.to_owned();
        Ok(Self { key, mount, namespace, version, address, ca_cert, auth })
    }
}

/// What tells this key from others, and not how one logs in.
impl fmt::Display for VaultUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}", self.key)?;
        let version = self.version.map(|version| version.to_string());
        let encoded = |address: &Endpoint| address.as_str().replace('%', "%25").replace('&', "%26");
        let address = self.address.as_ref().map(encoded);
        let parts = [
            ("mount", self.mount.as_deref()),
            ("namespace", self.namespace.as_deref()),
            ("version", version.as_deref()),
            ("address", address.as_deref()),
        ];
        let given = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (number, (name, value)) in given.enumerate() {
            write!(f, "{}{name}={value}", if number == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

fn auth(mut query: Query) -> Result<VaultAuth, ServiceUriError> {
    let methods = "token, approle or kubernetes";
    let known = |text: &str| ["token", "approle", "kubernetes"].iter().position(|it| *it == text);
    let method = query.take_as("auth", methods, known)?.unwrap_or_default();
    match method {
        0 => {
            let source = query.take_as("token", SecretSource::EXPECTED, SecretSource::parse)?;
            query.refuse_rest("auth=approle or auth=kubernetes")?;
            Ok(VaultAuth::Token { source })
        }
        1 => {
            let mount = query.take_as("auth-mount", MOUNT, path)?;
            let mount = mount.unwrap_or_else(|| "approle".to_owned());
            let role_id = query.take("role-id");
            let secret_id =
                query.take_as("secret-id", SecretSource::EXPECTED, SecretSource::parse)?;
            query.refuse_rest("another 'auth'")?;
            Ok(VaultAuth::AppRole { mount, role_id, secret_id })
        }
        _ => {
            let mount = query.take_as("auth-mount", MOUNT, path)?;
            let mount = mount.unwrap_or_else(|| "kubernetes".to_owned());
            let (name, expected) = ("role", "given with 'auth=kubernetes'");
            let none = ServiceUriError::Value { scheme: SCHEME, name, expected };
            let role = query.take("role").ok_or(none)?;
            let jwt = query.take_as("jwt", "file:PATH", |text| {
                text.strip_prefix("file:").filter(|path| !path.is_empty()).map(PathBuf::from)
            })?;
            let jwt = jwt.unwrap_or_else(|| PathBuf::from(SERVICE_ACCOUNT_TOKEN));
            query.refuse_rest("another 'auth'")?;
            Ok(VaultAuth::Kubernetes { mount, role, jwt })
        }
    }
}

/// What the transit engine takes: letters, digits and `_`, and `-` and `.` between these.
pub(super) fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    bytes.iter().all(|byte| word(*byte) || matches!(byte, b'-' | b'.'))
        && bytes.first().is_some_and(|byte| word(*byte))
        && bytes.last().is_some_and(|byte| word(*byte))
}

/// A path of names, such as `team/transit`, with or without slashes around it.
pub(super) fn path(text: &str) -> Option<String> {
    let path = text.trim_matches('/');
    path.split('/').all(is_name).then(|| path.to_owned())
}

/// For messages.
pub(super) const MOUNT: &str = "a path such as 'team/transit'";
pub(super) const SCHEME: &str = "hashivault";
const PARAMETERS: &[&str] = &[
    "mount",
    "namespace",
    "version",
    "address",
    "ca-cert",
    "auth",
    "auth-mount",
    "token",
    "role-id",
    "secret-id",
    "role",
    "jwt",
];
/// Where Kubernetes puts it.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<VaultUri, ServiceUriError> {
        text.parse()
    }

    #[test]
    fn a_key_is_named_with_or_without_the_way_to_it() {
        let plain = parsed("//ca-key.2026").unwrap();
        assert_eq!(
            (plain.key.as_str(), &plain.mount, &plain.version),
            ("ca-key.2026", &None, &None)
        );
        assert_eq!(plain.auth, VaultAuth::Token { source: None });
        assert_eq!(plain.to_string(), "hashivault://ca-key.2026");

        let whole = "//ca?mount=/team/transit/&namespace=admin&version=3&ca-cert=ca.pem&\
                     address=https://bao.example.com:8200/&auth=approle&role-id=r1&\
                     secret-id=file:secret&auth-mount=ci";
        let whole = parsed(whole).unwrap().resolved_in(Path::new("/etc/mayfly"));
        assert_eq!(
            whole.to_string(),
            "hashivault://ca?mount=team/transit&namespace=admin&version=3&\
             address=https://bao.example.com:8200"
        );
        assert_eq!(whole.ca_cert.as_deref(), Some(Path::new("/etc/mayfly/ca.pem")));
        let secret_id = Some(SecretSource::File("/etc/mayfly/secret".into()));
        let (mount, role_id) = ("ci".to_owned(), Some("r1".to_owned()));
        assert_eq!(whole.auth, VaultAuth::AppRole { mount, role_id, secret_id });

        let odd = "hashivault://ca?address=https://bao.example.com/a%26version=3%2520";
        let uri = parsed(odd.strip_prefix("hashivault:").unwrap()).unwrap();
        assert_eq!((uri.to_string().as_str(), uri.version), (odd, None));

        let kubernetes = parsed("//ca?auth=kubernetes&role=mayfly").unwrap();
        let jwt = "/var/run/secrets/kubernetes.io/serviceaccount/token".into();
        let (mount, role) = ("kubernetes".to_owned(), "mayfly".to_owned());
        assert_eq!(kubernetes.auth, VaultAuth::Kubernetes { mount, role, jwt });
    }

    #[test]
    fn nt_60_mistakes_are_explained_and_values_not_repeated() {
        for (text, message) in [
            ("ca", "'hashivault:' is not followed by '//' and a key's name"),
            ("//", "'hashivault:' is not followed by '//' and a key's name"),
            ("//team/ca", "'hashivault:' is not followed by '//' and a key's name"),
            ("//..", "'hashivault:' is not followed by '//' and a key's name"),
            ("//ca?version=0", "'hashivault:': 'version' must be a number from 1"),
            ("//ca?mount=../sys", "'hashivault:': 'mount' must be a path such as 'team/transit'"),
            (
                "//ca?address=http://vault.example.com",
                "'hashivault:': 'address' must be https://HOST, or http://HOST if HOST is this \
                 machine's loopback address",
            ),
            (
                "//ca?token=hvs.secret",
                "'hashivault:': 'token' must be file:PATH or env:NAME, because secrets do not \
                 belong in a configuration",
            ),
            (
                "//ca?role-id=r1",
                "'hashivault:': 'role-id' goes with 'auth=approle or auth=kubernetes'",
            ),
            ("//ca?auth=approle&role=r", "'hashivault:': 'role' goes with 'another 'auth''"),
            ("//ca?auth=ldap", "'hashivault:': 'auth' must be token, approle or kubernetes"),
            ("//ca?auth=kubernetes", "'hashivault:': 'role' must be given with 'auth=kubernetes'"),
        ] {
            assert_eq!(parsed(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
