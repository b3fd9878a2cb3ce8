//! The log's own key, and the two things it signs.
//!
//! In: a [`Signer`], tree heads, entries with their place. Out: checkpoints and SCTs, each verified
//! under the public key before anyone sees it. Knows nothing of storage.

use std::sync::Arc;

use bytes::Bytes;

use super::{OpenError, coordinator::Head};
use crate::{
    ct::{Entry, Extensions, LeafIndex, LogId, SignedCertificateTimestamp},
    keys::{SignError, SignatureAlgorithm, Signer, VerifyingKey},
    time::Timestamp,
    tlog::{Hash, KeyName, TreeHead, TreeHeadKey},
};

/// A P-256 key under the name of one log.
#[derive(Debug)]
pub(super) struct LogKey {
    signer: Arc<dyn Signer>,
    verifier: VerifyingKey,
    id: LogId,
    tree_head: TreeHeadKey,
}

impl LogKey {
    /// Takes `signer` for the log named `origin`.
    pub(super) fn new(signer: Arc<dyn Signer>, origin: &str) -> Result<Self, OpenError> {
        let key = || signer.name().to_owned();
        let verifier = VerifyingKey::parse_der(signer.public_key_der())
            .map_err(|source| OpenError::UnreadableKey { key: key(), source })?;
        for algorithm in [signer.algorithm(), verifier.algorithm()] {
            if algorithm != SignatureAlgorithm::EcdsaP256Sha256 {
                return Err(OpenError::KeyAlgorithm { key: key(), algorithm });
            }
        }
        let name = KeyName::new(origin).map_err(|error| OpenError::Origin {
            origin: origin.to_owned(),
            reason: error.to_string(),
        })?;
        // static-ct-api: the origin is the submission prefix as a schema-less URL.
        if origin.contains("://") || origin.ends_with('/') {
            let reason = "it has a scheme, or a slash at its end".to_owned();
            return Err(OpenError::Origin { origin: origin.to_owned(), reason });
        }
        if origin.len() > MAX_ORIGIN_BYTES {
            let reason = format!("it has more than {MAX_ORIGIN_BYTES} bytes");
            return Err(OpenError::Origin { origin: origin.to_owned(), reason });
        }
        let id = LogId::from_spki(signer.public_key_der());
        let tree_head = TreeHeadKey::new(name, &id.0);
        Ok(Self { signer, verifier, id, tree_head })
    }

    /// RFC 6962, 3.2.
    pub(super) const fn id(&self) -> LogId {
        self.id
    }

    /// DER SubjectPublicKeyInfo.
    pub(super) fn public_key_der(&self) -> &[u8] {
        self.signer.public_key_der()
    }

    /// The key's name for messages.
    pub(super) fn name(&self) -> &str {
        self.signer.name()
    }

    /// The log's name.
    pub(super) fn origin(&self) -> &str {
        self.tree_head.origin().as_str()
    }

    /// The head of a tree with its signed checkpoint.
    pub(super) async fn sign_head(
        &self,
        size: u64,
        root: Hash,
        timestamp: Timestamp,
    ) -> Result<Head, SignError> {
        let head = TreeHead { timestamp, size, root };
        let signature = self.sign(&head.signed_data()).await?;
        let note = self.tree_head.seal(&head, &signature).map_err(|_| self.bad_signature())?;
        let checkpoint = Bytes::from(note.to_string());
        Ok(Head { size, root: *root.as_bytes(), timestamp, checkpoint })
    }

    /// What a checkpoint says, if this key signed it for this log.
    pub(super) fn open_checkpoint(&self, checkpoint: &[u8]) -> Option<TreeHead> {
        let verify = |message: &[u8], signature: &[u8]| self.verifier.verifies(message, signature);
        self.tree_head.open(checkpoint, verify).ok()
    }

    /// Whether the checkpoint is signed by this key and says what the head says.
    pub(super) fn confirms(&self, head: &Head) -> bool {
        let Head { size, root, timestamp, ref checkpoint } = *head;
        let says = TreeHead { timestamp, size, root: Hash::from_bytes(root) };
        self.open_checkpoint(checkpoint) == Some(says)
    }

    /// The promise for an entry that is in the log at `index` since `timestamp`.
    pub(super) async fn sign_sct(
        &self,
        entry: &Entry,
        index: LeafIndex,
        timestamp: Timestamp,
    ) -> Result<SignedCertificateTimestamp, SignError> {
        let extensions = Extensions::from(index);
        let signature = self.sign(&entry.sct_signed_data(timestamp, &extensions)).await?;
        Ok(SignedCertificateTimestamp { log_id: self.id, timestamp, extensions, signature })
    }

    /// A signature that was verified: a faulty key or memory must not speak for the log.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.signer.sign(message).await?;
        if self.verifier.verifies(message, &signature) {
            return Ok(signature);
        }
        Err(self.bad_signature())
    }

    fn bad_signature(&self) -> SignError {
        SignError::BadSignature { key: self.signer.name().to_owned() }
    }
}

/// Longer than any name that DNS lets a log have, with a path.
pub(super) const MAX_ORIGIN_BYTES: usize = 512;
