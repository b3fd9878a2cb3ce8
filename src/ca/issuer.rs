//! One authority: a key and its chain, with everything prepared for signing.

use std::sync::Arc;

use super::{
    chain::{self, ChainError},
    precert_signer::{PrecertKey, PrecertSigner, PrecertSignerError},
};
use crate::{
    keys::{SignError, SignatureAlgorithm, Signer},
    time::Timestamp,
    x509::{Certificate, PublicKey, Template, lint::Origin, template::IssuerAlgorithm},
};

/// A key that signs certificates, its chain, and what all its certificates share.
#[derive(Clone, Debug)]
pub struct Issuer {
    signer: Arc<dyn Signer>,
    /// Issuing CA first, root last; never empty.
    chain: Vec<Certificate>,
    template: Template,
    /// The chain as a response carries it: one PEM each, without the last line end (clients
    /// compare the texts).
    pem_tail: Vec<String>,
    /// Of what stands above a precertificate.
    chain_fingerprints: Vec<[u8; 32]>,
    /// Signs precertificates instead of `signer`.
    precert_signer: Option<PrecertSigner>,
    key_hash: [u8; 32],
    /// The span in which every certificate of the chain is valid.
    valid_from: Timestamp,
    valid_until: Timestamp,
}

impl Issuer {
    /// Takes a key and its chain (issuing CA first, root last) into service, after the checks
    /// that [`ChainError`] lists and one signature by the key, made and verified, so that a
    /// wrong key is found now and not in the first request.
    ///
    /// # Errors
    /// Which certificate is at fault, why, and what to do about it.
    pub async fn new(
        signer: Arc<dyn Signer>,
        chain: Vec<Certificate>,
        now: Timestamp,
    ) -> Result<Self, ChainError> {
        let algorithm = issuer_algorithm(&*signer)?;
        let (issuing, key_id) = chain::check(&chain, now)?;
        check_key_is_the_chains(&*signer, &chain)?;
        prove_key(&*signer).await?;
        let template = Template::new(algorithm, issuing.subject_der(), key_id);
        let key_hash = sha256(issuing.spki_der());
        Ok(Self {
            template,
            key_hash,
            pem_tail: chain.iter().map(|ca| ca.pem().trim_end().to_owned()).collect(),
            chain_fingerprints: chain.iter().map(Certificate::fingerprint).collect(),
            valid_from: chain.iter().map(Certificate::not_before).max().unwrap_or(now),
            valid_until: chain.iter().map(Certificate::not_after).min().unwrap_or(now),
            signer,
            chain,
            precert_signer: None,
        })
    }

    /// The same issuer, whose key signs final certificates only: it certifies `key`, which is kept in
    /// memory, for precertificates (RFC 6962, 3.1).
    ///
    /// # Errors
    /// The CA key does not sign, or the issuing CA's certificate is not fit for it.
    pub async fn with_precert_signer(
        &self,
        key: PrecertKey,
        now: Timestamp,
    ) -> Result<Self, PrecertSignerError> {
        let mut issuer = self.clone();
        if let Some(issuing) = self.chain.first() {
            let until = self.valid_until;
            let below = PrecertSigner::below(issuing, &*self.signer, until, now, key).await?;
            let logged = [below.certificate()].into_iter().chain(&self.chain);
            issuer.chain_fingerprints = logged.map(Certificate::fingerprint).collect();
            issuer.precert_signer = Some(below);
        }
        Ok(issuer)
    }

    /// Issuing CA first, root last; never empty.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The last second in which every certificate of the chain is valid.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// What its key signs with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.signer.algorithm()
    }

    /// How messages name its key: a URI without secrets.
    pub fn key_name(&self) -> &str {
        self.signer.name()
    }

    /// The certificate under which a key of this process signs precertificates, where one does. For
    /// the log alone: it is in no chain and no trust bundle.
    pub fn precertificate_signing_certificate(&self) -> Option<&Certificate> {
        self.precert_signer.as_ref().map(PrecertSigner::certificate)
    }

    /// Whoever signs precertificates, unless it is the CA key itself.
    pub(super) fn precert_signer(&self) -> Option<&PrecertSigner> {
        self.precert_signer.as_ref()
    }

    pub(super) fn valid_from(&self) -> Timestamp {
        self.valid_from
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    /// What each of its certificates for `public_key` has to say.
    pub(super) fn origin<'a>(&'a self, public_key: &'a PublicKey) -> Origin<'a> {
        let issuing = self.chain.first();
        Origin {
            issuer: issuing.map_or(&[], Certificate::subject_der),
            issuer_key_id: issuing.and_then(Certificate::subject_key_id).unwrap_or_default(),
            issuer_valid_until: self.valid_until,
            algorithm: self.signer.algorithm().identifier_der(),
            public_key,
        }
    }

    /// The chain as PEM texts without the last line end.
    pub(super) fn pem_tail(&self) -> &[String] {
        &self.pem_tail
    }

    pub(super) fn chain_fingerprints(&self) -> &[[u8; 32]] {
        &self.chain_fingerprints
    }

    /// SHA-256 of the issuing CA's SubjectPublicKeyInfo (RFC 6962, 3.2: `issuer_key_hash`).
    pub(super) fn key_hash(&self) -> [u8; 32] {
        self.key_hash
    }

    /// Brings bytes to the CA key; in this module tree only, for [`super::Precert`] only.
    ///
    /// Only the signature's form is looked at here: a remote signer verifies what came back over
    /// the network before it hands it out (contract of [`Signer`]), and a signature made in this
    /// process would cost as much again to verify.
    pub(super) async fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.signer.sign(tbs).await?;
        if self.signer.algorithm().has_form(&signature) {
            Ok(signature)
        } else {
            Err(SignError::BadSignature { key: self.signer.name().to_owned() })
        }
    }
}

/// Everything for which [`Issuer::new`] would refuse a chain and, where one is given, its key.
/// The key signs once.
pub async fn chain_faults(
    chain: &[Certificate],
    signer: Option<&dyn Signer>,
    now: Timestamp,
) -> Vec<ChainError> {
    let mut found = chain::faults(chain, now);
    if let Some(signer) = signer {
        found.extend(issuer_algorithm(signer).err());
        found.extend(check_key_is_the_chains(signer, chain).err());
        found.extend(prove_key(signer).await.err());
    }
    found
}

fn check_key_is_the_chains(signer: &dyn Signer, chain: &[Certificate]) -> Result<(), ChainError> {
    let issuing = chain.first().ok_or(ChainError::Empty)?;
    if issuing.spki_der() == signer.public_key_der() {
        return Ok(());
    }
    Err(ChainError::OtherKey { key: signer.name().to_owned(), certificate: chain::place(chain, 0) })
}

/// Signs a text that is no certificate, and verifies the signature under the signer's own key.
pub(super) async fn prove_key(signer: &dyn Signer) -> Result<(), ChainError> {
    let key = || signer.name().to_owned();
    let signature = signer
        .sign(KEY_PROOF)
        .await
        .map_err(|source| ChainError::TestSignature { key: key(), source })?;
    let verified = PublicKey::parse_der(signer.public_key_der())
        .is_ok_and(|public_key| public_key.verifies(KEY_PROOF, &signature));
    if verified { Ok(()) } else { Err(ChainError::TestSignatureWrong { key: key() }) }
}

/// Clients verify leaves under P-256 and P-384 keys only, so no others issue.
pub(super) fn issuer_algorithm(signer: &dyn Signer) -> Result<IssuerAlgorithm, ChainError> {
    match signer.algorithm() {
        SignatureAlgorithm::EcdsaP256Sha256 => Ok(IssuerAlgorithm::EcdsaWithSha256),
        SignatureAlgorithm::EcdsaP384Sha384 => Ok(IssuerAlgorithm::EcdsaWithSha384),
        SignatureAlgorithm::RsaPkcs1Sha256 => {
            Err(ChainError::RsaIssuer { key: signer.name().to_owned() })
        }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    hash
}

/// Begins with an octet that no DER certificate begins with, so that the signature is good for
/// nothing else.
const KEY_PROOF: &[u8] = b"mayfly: proof that this key signs as its chain says";
