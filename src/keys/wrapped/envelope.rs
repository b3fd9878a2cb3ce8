//! The file of a wrapped key.
//!
//! In: a private key, a data key, the data key as the service encrypted it. Out: JSON, and back.
//! Asks nobody.
//!
//! `mayfly_wrapped_key` is the version of the format. `public_key` is a DER SubjectPublicKeyInfo;
//! `data_key` what the service made of the data key; `ciphertext` is DER PKCS #8 under AES-256-GCM
//! with the data key, `nonce`, and [`AAD_PREFIX`] with the public key as additional data. Binary
//! values are base64. `kek` is for people: nothing is decided by it.

use std::{fs::File, io::Read, path::Path};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::WrappedFault;
use crate::secret::Secret;

/// What a wrapped data key is bound to: the purpose, and the public key that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    public_key_sha256: String,
}

impl Binding {
    /// To the key with this DER SubjectPublicKeyInfo.
    pub fn to_key(public_key_der: &[u8]) -> Self {
        Self { public_key_sha256: hex::encode(digest(&SHA256, public_key_der)) }
    }

    /// Names and values, for services that take those: AWS's encryption context.
    pub fn pairs(&self) -> [(&'static str, &str); 2] {
        [("purpose", PURPOSE), ("public-key-sha256", &self.public_key_sha256)]
    }

    /// One string of bytes, for services that take that: additional authenticated data.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [(purpose, is), (key, hash)] = self.pairs();
        format!("{purpose}={is},{key}={hash}").into_bytes()
    }
}

/// What is in the file: nothing of it is secret by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    mayfly_wrapped_key: u32,
    kek: String,
    public_key: Binary,
    data_key: Binary,
    nonce: Binary,
    ciphertext: Binary,
}

/// Why a file gives no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the file has more than {limit_bytes} bytes, so it is no wrapped key")]
    TooLong { limit_bytes: usize },
    #[error("the file is no wrapped key: {reason}")]
    Form { reason: String },
    #[error("the file is a wrapped key of format {version}; this version reads {VERSION}")]
    Version { version: u32 },
    #[error("the cryptography library could not encrypt the key")]
    Library,
}

impl Envelope {
    /// Encrypts `pkcs8` under `data_key`, which is used for nothing else.
    pub(super) fn seal(
        pkcs8: &[u8],
        public_key_der: &[u8],
        data_key: &Secret,
        nonce: [u8; NONCE_BYTES],
        kek: String,
        wrapped_data_key: Vec<u8>,
    ) -> Result<Self, EnvelopeError> {
        let key = cipher(data_key).ok_or(EnvelopeError::Library)?;
        // Encrypted in its place, so that no plaintext is left: with room for the tag from the
        // start, because a buffer that grows leaves a copy.
        let mut buffer = zeroize::Zeroizing::new(Vec::with_capacity(pkcs8.len() + TAG_BYTES));
        buffer.extend_from_slice(pkcs8);
        let aad = additional_data(public_key_der);
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut *buffer,
        )
        .map_err(|_| EnvelopeError::Library)?;
        Ok(Self {
            mayfly_wrapped_key: VERSION,
            kek,
            public_key: Binary(public_key_der.to_vec()),
            data_key: Binary(wrapped_data_key),
            nonce: Binary(nonce.to_vec()),
            ciphertext: Binary(buffer.to_vec()),
        })
    }

    /// The file's content.
    pub fn to_file(&self) -> Vec<u8> {
        format!("{:#}\n", serde_json::json!(self)).into_bytes()
    }

    pub(super) fn read(path: &Path) -> Result<Self, WrappedFault> {
        let failed = |source| WrappedFault::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut content = Vec::new();
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content).map_err(failed)?;
        Ok(Self::parse(&content)?)
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// It is of another form or version.
    pub fn parse(content: &[u8]) -> Result<Self, EnvelopeError> {
        #[derive(Deserialize)]
        struct AnyVersion {
            mayfly_wrapped_key: u32,
        }
        if content.len() > MAX_FILE_BYTES {
            return Err(EnvelopeError::TooLong { limit_bytes: MAX_FILE_BYTES });
        }
        // The version first: what else stands in a file of another one is not known.
        let form = |error: serde_json::Error| EnvelopeError::Form { reason: error.to_string() };
        let AnyVersion { mayfly_wrapped_key: version } =
            serde_json::from_slice(content).map_err(form)?;
        if version != VERSION {
            return Err(EnvelopeError::Version { version });
        }
        serde_json::from_slice(content).map_err(form)
    }

    pub(super) fn binding(&self) -> Binding {
        Binding::to_key(&self.public_key.0)
    }

    pub(super) fn kek(&self) -> &str {
        &self.kek
    }

    pub(super) fn wrapped_data_key(&self) -> &[u8] {
        &self.data_key.0
    }

    pub(super) fn public_key_der(&self) -> &[u8] {
        &self.public_key.0
    }

    /// DER PKCS #8; `None` where the data key is another one, or anything was changed.
    pub(super) fn open(&self, data_key: &Secret) -> Option<Secret> {
        let nonce = self.nonce.0.as_slice().try_into().ok()?;
        let key = cipher(data_key)?;
        let mut buffer = zeroize::Zeroizing::new(self.ciphertext.0.clone());
        let aad = additional_data(&self.public_key.0);
        let pkcs8 = key
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer)
            .ok()?;
        Some(Secret::new(pkcs8.to_vec()))
    }
}

/// Bytes that stand as base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binary(Vec<u8>);

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| de::Error::custom("a value is not base64"))
    }
}

/// `None` where the data key has another length than ours.
fn cipher(data_key: &Secret) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, data_key.expose()).ok().map(LessSafeKey::new)
}

fn additional_data(public_key_der: &[u8]) -> Vec<u8> {
    [AAD_PREFIX, public_key_der].concat()
}

const VERSION: u32 = 1;
const PURPOSE: &str = "mayfly-wrapped-key-1";
const AAD_PREFIX: &[u8] = b"mayfly-wrapped-key-1\0";
/// AES-256.
pub(super) const DATA_KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = NONCE_LEN;
const TAG_BYTES: usize = 16;
/// As for other key files.
const MAX_FILE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{SignatureAlgorithm, file};

    fn sealed() -> (Envelope, Secret, Secret) {
        let key = file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let data_key = Secret::new(vec![7; DATA_KEY_BYTES]);
        let (pkcs8, spki) = (key.pkcs8.expose(), key.signer.public_key_der());
        let kek = "awskms:///alias/kek".to_owned();
        let envelope =
            Envelope::seal(pkcs8, spki, &data_key, [9; NONCE_BYTES], kek, vec![1, 2, 3]).unwrap();
        (envelope, data_key, key.pkcs8)
    }

    #[test]
    fn what_was_sealed_opens_with_its_data_key_and_with_no_other() {
        let (envelope, data_key, pkcs8) = sealed();
        let file = envelope.to_file();
        let read = Envelope::parse(&file).unwrap();
        assert_eq!(read, envelope);
        assert_eq!(read.open(&data_key).unwrap().expose(), pkcs8.expose());
        for other in [vec![8; DATA_KEY_BYTES], vec![7; 16], Vec::new()] {
            assert!(read.open(&Secret::new(other)).is_none());
        }
        let private = pkcs8.expose();
        assert!(!file.windows(16).any(|window| private.windows(16).any(|part| part == window)));
    }

    #[test]
    fn each_bit_of_each_part_matters() {
        let (envelope, data_key, _) = sealed();
        let parts: [fn(&mut Envelope) -> &mut Vec<u8>; 3] = [
            |envelope| &mut envelope.public_key.0,
            |envelope| &mut envelope.nonce.0,
            |envelope| &mut envelope.ciphertext.0,
        ];
        for part in parts {
            for bit in 0..part(&mut envelope.clone()).len() * 8 {
                let mut changed = envelope.clone();
                part(&mut changed)[bit / 8] ^= 1 << (bit % 8);
                assert!(changed.open(&data_key).is_none(), "{bit}");
            }
            let mut shorter = envelope.clone();
            part(&mut shorter).pop();
            assert!(shorter.open(&data_key).is_none());
        }
    }

    #[test]
    fn a_file_of_another_form_or_version_is_refused_by_name() {
        let (envelope, ..) = sealed();
        let good = String::from_utf8(envelope.to_file()).unwrap();
        for (bad, message) in [
            (
                good.replace("key\": 1", "key\": 2"),
                "a wrapped key of format 2; this version reads 1",
            ),
            (good.replace("\"kek\"", "\"kex\""), "unknown field `kex`"),
            (good.replace("\"nonce\": \"", "\"nonce\": \"!"), "a value is not base64"),
            (good[..good.len() / 2].to_owned(), "the file is no wrapped key: EOF"),
            ("-----BEGIN PRIVATE KEY-----".to_owned(), "the file is no wrapped key"),
            (" ".repeat(MAX_FILE_BYTES + 1), "more than 65536 bytes"),
        ] {
            let error = Envelope::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_binding_names_purpose_and_key() {
        let binding = Binding::to_key(b"spki");
        let hash = hex::encode(digest(&SHA256, b"spki"));
        assert_eq!(binding.pairs()[1], ("public-key-sha256", hash.as_str()));
        let text = format!("purpose=mayfly-wrapped-key-1,public-key-sha256={hash}");
        assert_eq!(binding.to_bytes(), text.into_bytes());
        assert_ne!(binding, Binding::to_key(b"other"));
    }
}
