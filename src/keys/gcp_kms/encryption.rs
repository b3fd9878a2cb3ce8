//! Keys of Cloud KMS that encrypt other keys.
//!
//! In: a data key and what it is bound to. Out: what Cloud KMS made of it, and back. Knows nothing
//! of files.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CloudKms, is_crc32c_of};
use crate::{
    keys::{
        remote::{Fault, FaultKind},
        service::fault,
        wrapped::{Binding, KeyEncryption},
    },
    secret::Secret,
};

/// A symmetric key, used through `encrypt` and `decrypt`.
#[derive(Debug)]
pub(super) struct KmsEncryption {
    pub(super) kms: CloudKms,
}

impl KmsEncryption {
    async fn encrypt(&self, data_key: &Secret, binding: &Binding) -> Result<Vec<u8>, Fault> {
        let plaintext = Secret::from(STANDARD.encode(data_key.expose()));
        let aad = binding.to_bytes();
        let body = json!({
            "plaintext": plaintext.expose_text(),
            "plaintextCrc32c": crc32c::crc32c(data_key.expose()).to_string(),
            "additionalAuthenticatedData": STANDARD.encode(&aad),
            "additionalAuthenticatedDataCrc32c": crc32c::crc32c(&aad).to_string(),
        });
        // A version may encrypt; none named is the primary one.
        let path = format!("{}:encrypt", self.kms.name);
        let answer: Encrypted =
            self.kms.call(ENCRYPT, &path, Some(&body)).await?.expected(ENCRYPT)?;
        let ciphertext = STANDARD.decode(&answer.ciphertext).unwrap_or_default();
        let verified = answer.verified_plaintext_crc32c
            && answer.verified_additional_authenticated_data_crc32c;
        if !verified || !is_crc32c_of(&answer.ciphertext_crc32c, &ciphertext) {
            return Err(damaged(ENCRYPT));
        }
        Ok(ciphertext)
    }

    async fn decrypt(&self, wrapped: &[u8], binding: &Binding) -> Result<Secret, Fault> {
        let aad = binding.to_bytes();
        let body = json!({
            "ciphertext": STANDARD.encode(wrapped),
            "ciphertextCrc32c": crc32c::crc32c(wrapped).to_string(),
            "additionalAuthenticatedData": STANDARD.encode(&aad),
            "additionalAuthenticatedDataCrc32c": crc32c::crc32c(&aad).to_string(),
        });
        // The version that decrypts stands in the ciphertext.
        let key = self.kms.name.split("/cryptoKeyVersions/").next().unwrap_or_default();
        let path = format!("{key}:decrypt");
        let answer: Decrypted =
            self.kms.call(DECRYPT, &path, Some(&body)).await?.expected(DECRYPT)?;
        let plaintext = Secret::from(answer.plaintext);
        let plaintext = STANDARD.decode(plaintext.expose()).map(Secret::new);
        let checked = |secret: &Secret| is_crc32c_of(&answer.plaintext_crc32c, secret.expose());
        plaintext.ok().filter(checked).ok_or_else(|| damaged(DECRYPT))
    }
}

impl KeyEncryption for KmsEncryption {
    fn wrap<'a>(
        &'a self,
        data_key: &'a Secret,
        binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Vec<u8>, Fault>> {
        Box::pin(self.encrypt(data_key, binding))
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Secret, Fault>> {
        Box::pin(self.decrypt(wrapped, binding))
    }
}

fn damaged(operation: &'static str) -> Fault {
    let code = "the key was damaged on its way (CRC32C)".to_owned();
    fault(FaultKind::Transient, operation, code)
}

/// Flags are left out where they are false.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Encrypted {
    ciphertext: String,
    ciphertext_crc32c: Value,
    #[serde(default)]
    verified_plaintext_crc32c: bool,
    #[serde(default)]
    verified_additional_authenticated_data_crc32c: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decrypted {
    #[serde(default)]
    plaintext: String,
    plaintext_crc32c: Value,
}

const ENCRYPT: &str = "encrypt";
const DECRYPT: &str = "decrypt";
