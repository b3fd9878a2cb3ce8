//! Keys of a vault that encrypt other keys: RSA, by OAEP.
//!
//! In: a data key. Out: what the vault made of it, and back. A vault binds it to nothing; the
//! encryption of the file does. Knows nothing of files.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use serde_json::json;

use super::{KeyVault, Operated, version_in};
use crate::{
    keys::{
        remote::{Fault, FaultKind},
        service::fault,
        wrapped::{Binding, KeyEncryption},
    },
    secret::Secret,
};

/// A key of a vault, used through `wrapkey` and `unwrapkey`.
#[derive(Debug)]
pub(super) struct VaultEncryption {
    pub(super) vault: KeyVault,
    pub(super) name: String,
    /// What encrypts; what decrypts is noted with the ciphertext.
    pub(super) version: Option<String>,
}

impl VaultEncryption {
    async fn operate(
        &self,
        operation: &'static str,
        version: &str,
        value: &str,
    ) -> Result<Operated, Fault> {
        let call = operation.trim_start_matches("keys/");
        let body = json!({ "alg": "RSA-OAEP-256", "value": value });
        let path = ["keys", &self.name, version, call];
        self.vault.call(operation, &path, Some(&body)).await?.expected(operation)
    }

    async fn encrypt(&self, data_key: &Secret) -> Result<Vec<u8>, Fault> {
        let plaintext = Secret::from(URL_SAFE_NO_PAD.encode(data_key.expose()));
        let version = self.version.as_deref().unwrap_or_default();
        let operated =
            self.operate(WRAP, version, plaintext.expose_text().unwrap_or_default()).await?;
        let version = version_in(&operated.kid, &self.name)
            .ok_or_else(|| fault(FaultKind::Permanent, WRAP, "another key encrypted".to_owned()))?;
        Ok(format!("{version}:{}", operated.value).into_bytes())
    }

    async fn decrypt(&self, wrapped: &[u8]) -> Result<Secret, Fault> {
        let wrong = |code: &str| fault(FaultKind::Permanent, UNWRAP, code.to_owned());
        let noted = std::str::from_utf8(wrapped).ok().and_then(|text| text.split_once(':'));
        let (version, value) = noted
            .filter(|(version, _)| version.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .ok_or_else(|| wrong("the data key was not encrypted by Key Vault"))?;
        let operated = self.operate(UNWRAP, version, value).await?;
        let plaintext = Secret::from(operated.value);
        let decoded = URL_SAFE_NO_PAD.decode(plaintext.expose()).map(Secret::new);
        decoded.map_err(|_| wrong("the answer is not base64url"))
    }
}

impl KeyEncryption for VaultEncryption {
    fn wrap<'a>(
        &'a self,
        data_key: &'a Secret,
        _binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Vec<u8>, Fault>> {
        Box::pin(self.encrypt(data_key))
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        _binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Secret, Fault>> {
        Box::pin(self.decrypt(wrapped))
    }
}

const WRAP: &str = "keys/wrapkey";
const UNWRAP: &str = "keys/unwrapkey";
