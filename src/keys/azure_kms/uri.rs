//! `azurekms://VAULT/KEY[/VERSION]?…`: a key in Azure Key Vault or Managed HSM.
//!
//! In: the text after `azurekms:`. Out: an [`AzureKmsUri`], or what is wrong with the text. Reads
//! nothing else.

use std::{fmt, path::Path, str::FromStr};

use crate::keys::service::{Endpoint, Query, SecretSource, ServiceUriError, authority_and_query};

/// Which key, and what of the way to it the environment does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureKmsUri {
    /// The vault's name or host, as written.
    pub vault: String,
    /// The key's name.
    pub key: String,
    /// The version that signs; the latest where none is named.
    pub version: Option<String>,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) authority: Option<Endpoint>,
    pub(super) tenant_id: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<SecretSource>,
}

impl AzureKmsUri {
    /// The same key with relative paths taken from `directory`.
    #[must_use]
    pub fn resolved_in(self, directory: &Path) -> Self {
        let client_secret = self.client_secret.map(|source| source.resolved_in(directory));
        Self { client_secret, ..self }
    }

    /// The vault's host: `NAME.vault.azure.net`, unless a host is written.
    pub(super) fn host(&self) -> String {
        if self.vault.contains('.') {
            self.vault.clone()
        } else {
            format!("{}.{PUBLIC_CLOUD}", self.vault)
        }
    }

    /// The service that tokens are for: the host without the vault's name, in every cloud.
    pub(super) fn resource(&self) -> String {
        let host = self.host();
        let service = host.split_once('.').map_or(PUBLIC_CLOUD, |(_, service)| service);
        format!("https://{service}")
    }
}

impl FromStr for AzureKmsUri {
    type Err = ServiceUriError;

    fn from_str(text: &str) -> Result<Self, ServiceUriError> {
        let form = || ServiceUriError::Form { scheme: SCHEME, expected: FORM };
        let (names, query) = authority_and_query(text).ok_or_else(form)?;
        let (vault, key, version) = match names.split('/').collect::<Vec<_>>()[..] {
            [vault, key] => (vault, key, None),
            [vault, key, version] => (vault, key, Some(version)),
            _ => return Err(form()),
        };
        let labels = || vault.split('.').all(is_label);
        if !(labels() && is_label(key) && version.is_none_or(is_label)) {
            return Err(form());
        }
        let mut query = Query::parse(SCHEME, query, PARAMETERS)?;
        let endpoint = query.take_as("endpoint", Endpoint::EXPECTED, Endpoint::parse)?;
        let authority = query.take_as("authority", Endpoint::EXPECTED, Endpoint::parse)?;
        let client_secret =
            query.take_as("client-secret", SecretSource::EXPECTED, SecretSource::parse)?;
        Ok(Self {
            vault: vault.to_ascii_lowercase(),
            key: key.to_owned(),
            version: version.map(str::to_owned),
            endpoint,
            authority,
            tenant_id: query.take("tenant-id"),
            client_id: query.take("client-id"),
            client_secret,
        })
    }
}

impl fmt::Display for AzureKmsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}/{}", self.vault, self.key)?;
        match &self.version {
            Some(version) => write!(f, "/{version}"),
            None => Ok(()),
        }
    }
}

/// Letters, digits and hyphens, as Azure has it for names of vaults and keys.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

const SCHEME: &str = "azurekms";
const FORM: &str = "'//VAULT/KEY' or '//VAULT/KEY/VERSION', VAULT being a name or a host";
const PUBLIC_CLOUD: &str = "vault.azure.net";
const PARAMETERS: &[&str] = &["endpoint", "authority", "tenant-id", "client-id", "client-secret"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_is_a_name_or_a_host_of_any_cloud() {
        for (text, host, resource) in [
            ("//Ca-Vault/key", "ca-vault.vault.azure.net", "https://vault.azure.net"),
            ("//v.vault.azure.cn/key", "v.vault.azure.cn", "https://vault.azure.cn"),
            (
                "//h.managedhsm.azure.net/key",
                "h.managedhsm.azure.net",
                "https://managedhsm.azure.net",
            ),
        ] {
            let uri: AzureKmsUri = text.parse().unwrap();
            assert_eq!((uri.host(), uri.resource()), (host.to_owned(), resource.to_owned()));
        }
        let text = "//v/key/0123abcd?tenant-id=t&client-id=c&client-secret=file:s";
        let uri: AzureKmsUri = text.parse().unwrap();
        assert_eq!(uri.to_string(), "azurekms://v/key/0123abcd");
        let uri = uri.resolved_in(Path::new("/etc/mayfly"));
        assert_eq!(uri.client_secret, Some(SecretSource::File("/etc/mayfly/s".into())));
    }

    #[test]
    fn nt_60_mistakes_are_explained_and_values_not_repeated() {
        for text in ["v/key", "//v", "//v/", "//v/../key", "//v/key/1/2", "//v..x/key", "//v/k%2f"]
        {
            let error = text.parse::<AzureKmsUri>().unwrap_err().to_string();
            assert!(error.starts_with("'azurekms:' is not followed by '//VAULT/KEY'"), "{text}");
        }
        let error = "//v/key?client-secret=abc8Q~secret".parse::<AzureKmsUri>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "'azurekms:': 'client-secret' must be file:PATH or env:NAME, because secrets do not \
             belong in a configuration"
        );
    }
}
