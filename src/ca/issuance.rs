//! From what was approved to a certificate that is in the log.
//!
//! The order is held by moves: [`Issuer::precertify`] takes the [`Approved`], [`Precert::finish`]
//! takes the [`Precert`] and the SCT. The precertificate keeps the issuer that signed it, so a
//! rotation between the two signatures cannot mix issuers (NT-46). Either the CA key signs both, or
//! only the final certificate, and a key that it certified for that signs the precertificate.

use std::sync::Arc;

use super::{Issuer, Serial};
use crate::{
    ct::{
        Entry, EntryKind, OutOfBounds, SignedCertificateTimestamp, SignedCertificateTimestampList,
    },
    identity::Identity,
    keys::SignError,
    log::LoggedSct,
    policy::Approved,
    time::Timestamp,
    x509::{
        Validity,
        leaf::{Leaf, LeafError},
        lint::{self, BrokenRule, Stage},
        pem,
        template::{LeafFields, LeafTbs},
        validity::TimeOutOfRange,
    },
};

/// A leaf is valid for exactly ten minutes.
pub const LEAF_LIFETIME_SECONDS: u64 = 600;

/// A signed precertificate, waiting for the log.
///
/// Not `Clone`: two final certificates for one precertificate do not compile.
///
/// ```compile_fail,E0599
/// # fn twice(precert: mayfly::ca::Precert) {
/// let second = precert.clone();
/// # }
/// ```
///
/// Made only by [`Issuer::precertify`], which takes an [`Approved`] and nothing less:
///
/// ```compile_fail,E0308
/// # async fn bypass(issuer: std::sync::Arc<mayfly::ca::Issuer>, now: mayfly::time::Timestamp,
/// #     identity: mayfly::identity::Identity, serial: mayfly::ca::Serial) {
/// let precert = issuer.precertify(identity, now, serial).await;
/// # }
/// ```
#[derive(Debug)]
pub struct Precert {
    issuer: Arc<Issuer>,
    approved: Approved,
    serial: Serial,
    validity: Validity,
    tbs: LeafTbs,
    /// Shared with the log, which keeps it until its batch is committed.
    entry: Arc<Entry>,
}

/// The final certificate with its chain, and what is known of its making.
#[derive(Debug)]
pub struct Issued {
    issuer: Arc<Issuer>,
    approved: Approved,
    serial: Serial,
    validity: Validity,
    der: Vec<u8>,
    pem: String,
    /// The SCT and the index in the log; `None` only where the operator wrote `log: none`.
    logged: Option<(SignedCertificateTimestamp, u64)>,
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("no authority signs at this time")]
    NoneActive,
    /// NT-43. The profile demands exactly ten minutes, so the lifetime is not cut short.
    #[error(
        "the issuing chain is valid from {valid_from} to {valid_until}, which does not cover a \
         certificate issued at {now}"
    )]
    IssuerExpiring { valid_from: Timestamp, valid_until: Timestamp, now: Timestamp },
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the entry or timestamp has no encoding")]
    Encode(#[from] OutOfBounds),
    /// NT-51.
    #[error("the log answered for another entry than it was given")]
    OtherEntry,
    /// NT-50.
    #[error("the final certificate is not the one that was logged")]
    NotAsLogged,
    #[error("a certificate that Mayfly wrote breaks the profile")]
    Profile(#[from] BrokenRule),
    #[error("a certificate that Mayfly wrote cannot be read back")]
    Unreadable(#[from] LeafError),
}

impl CaError {
    /// Whether the key could not be reached: the request may be made again.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Sign(SignError::Unavailable { .. }))
    }
}

impl Issuer {
    /// Builds and signs the precertificate. With [`Precert::finish`] the only way of bytes to the
    /// CA key.
    ///
    /// # Errors
    /// The chain does not outlive the certificate, or the key did not sign.
    pub async fn precertify(
        self: Arc<Self>,
        approved: Approved,
        now: Timestamp,
        serial: Serial,
    ) -> Result<Precert, CaError> {
        let validity = self.validity_from(now)?;
        let fields = fields_of(&approved, &validity, &serial);
        let tbs = self.template().leaf(&fields);
        let precertificate = match self.precert_signer() {
            None => self.sign_precertificate(&tbs, &approved).await?,
            Some(signer) => signer.precertificate(&fields).await?,
        };
        // What the CA key will sign, whoever signed the precertificate (RFC 6962, 3.2).
        let kind = EntryKind::Precert {
            issuer_key_hash: self.key_hash(),
            tbs_certificate: tbs.logged_tbs(),
            precertificate,
        };
        let entry = Arc::new(Entry::new(kind, self.chain_fingerprints().to_vec())?);
        Ok(Precert { issuer: self, approved, serial, validity, tbs, entry })
    }

    /// Builds and signs a certificate that stands in no log and carries no SCT; only for an
    /// installation whose operator wrote `log: none`. Sigstore clients refuse it.
    ///
    /// # Errors
    /// As [`Issuer::precertify`].
    pub async fn certify_unlogged(
        self: Arc<Self>,
        approved: Approved,
        now: Timestamp,
        serial: Serial,
    ) -> Result<Issued, CaError> {
        let validity = self.validity_from(now)?;
        let to_sign = self.template().leaf(&fields_of(&approved, &validity, &serial)).logged_tbs();
        self.lint(&Leaf::parse_tbs(&to_sign)?, Stage::Unlogged, &approved)?;
        let signature = self.sign(&to_sign).await?;
        let der = self.template().certificate(&to_sign, &signature);
        let pem = leaf_pem(&der);
        Ok(Issued { issuer: self, approved, serial, validity, der, pem, logged: None })
    }

    /// A precertificate that breaks the profile is misissued from the moment it is signed, whether or
    /// not a certificate follows (RFC 6962, 3.1): it never is.
    async fn sign_precertificate(
        &self,
        tbs: &LeafTbs,
        approved: &Approved,
    ) -> Result<Vec<u8>, CaError> {
        let to_sign = tbs.precertificate_tbs();
        self.lint(&Leaf::parse_tbs(&to_sign)?, Stage::Precertificate, approved)?;
        let signature = self.sign(&to_sign).await?;
        Ok(self.template().certificate(&to_sign, &signature))
    }

    fn validity_from(&self, now: Timestamp) -> Result<Validity, CaError> {
        let validity = Validity::starting_at(now, LEAF_LIFETIME_SECONDS)?;
        self.check_outlives(&validity)?;
        Ok(validity)
    }

    fn lint(&self, leaf: &Leaf<'_>, stage: Stage, approved: &Approved) -> Result<(), BrokenRule> {
        lint::check(leaf, stage, LEAF_LIFETIME_SECONDS)?;
        lint::check_origin(leaf, &self.origin(approved.key().key()))
    }

    fn check_outlives(&self, validity: &Validity) -> Result<(), CaError> {
        let (valid_from, valid_until) = (self.valid_from(), self.valid_until());
        if validity.not_before() < valid_from || validity.not_after() > valid_until {
            let now = validity.not_before();
            return Err(CaError::IssuerExpiring { valid_from, valid_until, now });
        }
        Ok(())
    }
}

impl Precert {
    /// What the log is to take up.
    pub fn log_entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Its number, which the final certificate will have too.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The authority that signed it.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Builds and signs the final certificate.
    ///
    /// # Errors
    /// The SCT is for another entry, the key did not sign, or the result is not what was logged.
    pub async fn finish(self, sct: LoggedSct) -> Result<Issued, CaError> {
        self.finish_with(sct.sct(), sct.entry_digest(), sct.index()).await
    }

    pub(super) async fn finish_with(
        self,
        sct: &SignedCertificateTimestamp,
        entry_digest: &[u8; 32],
        log_index: u64,
    ) -> Result<Issued, CaError> {
        if *entry_digest != self.entry.digest() {
            return Err(CaError::OtherEntry);
        }
        let sct_list = SignedCertificateTimestampList(vec![sct.clone()]).encode()?;
        let to_sign = self.tbs.final_tbs(&sct_list);
        // The CA key has signed nothing with these fields yet: they have not been looked at.
        if self.issuer.precert_signer().is_some() {
            self.check_as_logged(&Leaf::parse_tbs(&to_sign)?, &sct_list)?;
        }
        let signature = self.issuer.sign(&to_sign).await?;
        let der = self.issuer.template().certificate(&to_sign, &signature);
        self.check_as_logged(&Leaf::parse_certificate(&der)?, &sct_list)?;
        Ok(Issued {
            pem: leaf_pem(&der),
            der,
            logged: Some((sct.clone(), log_index)),
            issuer: self.issuer,
            approved: self.approved,
            serial: self.serial,
            validity: self.validity,
        })
    }

    /// What will be handed out, as it was read back from its bytes: its TBS without the SCT list is the
    /// one in the log, byte for byte, or no verifier will accept the SCT (RFC 6962, 3.2; NT-50).
    fn check_as_logged(&self, leaf: &Leaf<'_>, sct_list: &[u8]) -> Result<(), CaError> {
        self.issuer.lint(leaf, Stage::Certificate, &self.approved)?;
        let logged = match self.entry.kind() {
            EntryKind::Precert { tbs_certificate, .. } => tbs_certificate,
            EntryKind::X509 { .. } => return Err(CaError::NotAsLogged),
        };
        if leaf.logged_tbs()? == *logged && leaf.sct_list()? == sct_list {
            Ok(())
        } else {
            Err(CaError::NotAsLogged)
        }
    }
}

impl Issued {
    /// The certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Leaf first, root last; each PEM without its last line end, as the reference answers.
    pub fn pem_chain(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.pem).chain(self.issuer.pem_tail()).map(String::as_str)
    }

    /// Its number.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// First instant of validity.
    pub fn not_before(&self) -> Timestamp {
        self.validity.not_before()
    }

    /// Last second of validity.
    pub fn not_after(&self) -> Timestamp {
        self.validity.not_after()
    }

    /// Who it is for.
    pub fn identity(&self) -> &Identity {
        self.approved.identity()
    }

    /// The authority that signed it.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The timestamp embedded in it; `None` where there is no log.
    pub fn sct(&self) -> Option<&SignedCertificateTimestamp> {
        self.logged.as_ref().map(|(sct, _)| sct)
    }

    /// Where its precertificate stands in the log; `None` where there is none.
    pub fn log_index(&self) -> Option<u64> {
        self.logged.as_ref().map(|(_, index)| *index)
    }
}

fn fields_of<'a>(
    approved: &'a Approved,
    validity: &'a Validity,
    serial: &'a Serial,
) -> LeafFields<'a> {
    let identity = approved.identity();
    LeafFields {
        serial,
        validity,
        public_key: approved.key().key(),
        san: identity.san(),
        extensions: identity.extensions(),
    }
}

/// As the reference answers: without the last line end.
fn leaf_pem(der: &[u8]) -> String {
    let mut pem = pem::encode("CERTIFICATE", der);
    pem.truncate(pem.trim_end().len());
    pem
}

#[cfg(test)]
#[path = "issuance_tests.rs"]
mod tests;
