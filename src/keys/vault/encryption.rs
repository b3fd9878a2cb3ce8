//! Transit keys that encrypt other keys.
//!
//! In: a data key and what it is bound to. Out: what Vault made of it, and back. Knows nothing of
//! files.

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;

use super::{Envelope, Transit};
use crate::{
    keys::{
        remote::{Fault, FaultKind},
        service::fault,
        wrapped::{Binding, KeyEncryption},
    },
    secret::Secret,
};

/// A transit key, used through `encrypt` and `decrypt`.
#[derive(Debug)]
pub(super) struct TransitEncryption {
    pub(super) transit: Transit,
    /// What encrypts; what decrypts stands in the ciphertext.
    pub(super) version: Option<NonZeroU32>,
}

impl TransitEncryption {
    async fn encrypt(&self, data_key: &Secret, binding: &Binding) -> Result<Vec<u8>, Fault> {
        let plaintext = Secret::from(STANDARD.encode(data_key.expose()));
        let body = json!({
            "plaintext": plaintext.expose_text(),
            "associated_data": STANDARD.encode(binding.to_bytes()),
            "key_version": self.version.map_or(0, NonZeroU32::get),
        });
        let answer = self.transit.authorized(ENCRYPT, "encrypt", Some(&body)).await;
        let answer = answer.map_err(|fault| self.with_remedy(fault, "encrypt"))?;
        let Envelope { data: Encrypted { ciphertext } } = answer.expected(ENCRYPT)?;
        Ok(ciphertext.into_bytes())
    }

    async fn decrypt(&self, wrapped: &[u8], binding: &Binding) -> Result<Secret, Fault> {
        let wrong = |code: &str| fault(FaultKind::Permanent, DECRYPT, code.to_owned());
        let ciphertext = std::str::from_utf8(wrapped)
            .map_err(|_| wrong("the data key was not encrypted by Vault"))?;
        let body = json!({
            "ciphertext": ciphertext,
            "associated_data": STANDARD.encode(binding.to_bytes()),
        });
        let answer = self.transit.authorized(DECRYPT, "decrypt", Some(&body)).await;
        let answer = answer.map_err(|fault| self.with_remedy(fault, "decrypt"))?;
        let Envelope { data: Decrypted { plaintext } } = answer.expected(DECRYPT)?;
        let plaintext = Secret::from(plaintext);
        let decoded = STANDARD.decode(plaintext.expose()).map(Secret::new);
        decoded.map_err(|_| wrong("the answer is not base64"))
    }

    fn with_remedy(&self, fault: Fault, call: &str) -> Fault {
        if fault.kind != FaultKind::Unauthorized {
            return fault;
        }
        let Transit { mount, name, .. } = &self.transit;
        let code = format!("{}; it takes 'update' on '{mount}/{call}/{name}'", fault.code);
        Fault { code, ..fault }
    }
}

impl KeyEncryption for TransitEncryption {
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

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

const ENCRYPT: &str = "transit/encrypt";
const DECRYPT: &str = "transit/decrypt";
