//! A key of this process that signs precertificates, so that the CA key signs each certificate once.
//!
//! In: an issuing CA, whose key certifies a fresh key for this one purpose. Out: precertificates under
//! that Precertificate Signing Certificate (RFC 6962, 3.1). Knows nothing of final certificates.
//!
//! What the fresh key signs is no certificate for anybody: its own certificate's extended key usage
//! is for precertificates alone, and the issuing CA allows no CA below itself, so that a path through
//! it fails everywhere (RFC 5280, 6.1.4 (l)). The key exists in memory only, as long as the [`Issuer`].

use std::sync::Arc;

use super::{
    CaError, Issuer, LEAF_LIFETIME_SECONDS, Serial,
    ceremony::{CeremonyError, NewCa, create_precertificate_signer},
    issuer::{issuer_algorithm, prove_key, sha256},
};
use crate::{
    keys::{
        Signer,
        file::{GenerateKeyError, generate},
    },
    time::Timestamp,
    x509::{
        Certificate, Leaf, Template,
        lint::{self, Origin, Stage},
        template::LeafFields,
    },
};

/// A key for precertificates, and what the CA says of it.
#[derive(Clone, Debug)]
pub(super) struct PrecertSigner {
    signer: Arc<dyn Signer>,
    certificate: Certificate,
    template: Template,
}

/// Why there is no key for precertificates.
#[derive(Debug, thiserror::Error)]
pub enum PrecertSignerError {
    /// Above one that allows CAs below itself, a path through the new one could be taken for good.
    #[error(
        "the issuing CA ({subject}) does not say that no CA may stand below it (path length 0): \
         without 'precertificate-signer' its own key signs precertificates"
    )]
    PathLength {
        /// Of the issuing CA.
        subject: String,
    },
    #[error(transparent)]
    Key(#[from] GenerateKeyError),
    #[error("no certificate for signing precertificates could be made")]
    Certificate(#[from] CeremonyError),
    #[error("the key for precertificates does not sign")]
    Signature,
}

/// A fresh key for precertificates that nobody has certified yet.
#[derive(Debug)]
pub struct PrecertKey {
    signer: Arc<dyn Signer>,
    serial: Serial,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub sha256: [u8; 32],
}

impl PrecertKey {
    /// One for precertificates of `issuer`, of the same kind as its own: the algorithm is among what
    /// precertificate and certificate have in common (RFC 6962, 3.2). `serial` is of the certificate.
    ///
    /// # Errors
    /// The issuing CA's certificate is not fit for it, or there is no key.
    pub fn generate(issuer: &Issuer, serial: Serial) -> Result<Self, PrecertSignerError> {
        if let Some(issuing) = issuer.chain().first()
            && issuing.path_len() != Some(0)
        {
            let subject = issuing.subject().to_owned();
            return Err(PrecertSignerError::PathLength { subject });
        }
        let signer: Arc<dyn Signer> = generate(issuer.algorithm())?.signer;
        let sha256 = sha256(signer.public_key_der());
        Ok(Self { signer, serial, sha256 })
    }

    /// Of the certificate that it will have.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }
}

impl PrecertSigner {
    /// The key, certified by the CA's key from `now` until `valid_until`, and tried.
    pub(super) async fn below(
        issuing: &Certificate,
        ca_signer: &dyn Signer,
        valid_until: Timestamp,
        now: Timestamp,
        PrecertKey { signer, serial, sha256 }: PrecertKey,
    ) -> Result<Self, PrecertSignerError> {
        let new = NewCa {
            organization: issuing.organization().unwrap_or_default(),
            // Names are compared, and each start has another key.
            common_name: &format!("precertificates {}", &hex::encode(sha256)[..16]),
            now,
            lifetime_seconds: valid_until.unix_seconds().saturating_sub(now.unix_seconds()),
            serial,
        };
        let certificate = create_precertificate_signer(issuing, ca_signer, &*signer, &new).await?;
        let algorithm = issuer_algorithm(&*signer).map_err(|_| PrecertSignerError::Signature)?;
        let key_id = certificate.subject_key_id().unwrap_or_default();
        let template = Template::new(algorithm, certificate.subject_der(), key_id);
        prove_key(&*signer).await.map_err(|_| PrecertSignerError::Signature)?;
        Ok(Self { signer, certificate, template })
    }

    /// What a log has to keep, and nobody else ever sees.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The precertificate of a leaf: issuer and authority key identifier are of this key's
    /// certificate, all else is as the final certificate will have it (RFC 6962, 3.2).
    pub(super) async fn precertificate(&self, fields: &LeafFields<'_>) -> Result<Vec<u8>, CaError> {
        let to_sign = self.template.leaf(fields).precertificate_tbs();
        let leaf = Leaf::parse_tbs(&to_sign)?;
        lint::check(&leaf, Stage::Precertificate, LEAF_LIFETIME_SECONDS)?;
        let origin = Origin {
            issuer: self.certificate.subject_der(),
            issuer_key_id: self.certificate.subject_key_id().unwrap_or_default(),
            issuer_valid_until: self.certificate.not_after(),
            algorithm: self.signer.algorithm().identifier_der(),
            public_key: fields.public_key,
        };
        lint::check_origin(&leaf, &origin)?;
        let signature = self.signer.sign(&to_sign).await?;
        Ok(self.template.certificate(&to_sign, &signature))
    }
}

#[cfg(test)]
#[path = "precert_signer_tests.rs"]
mod tests;
