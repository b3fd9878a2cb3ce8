//! Keys of this process that sign precertificates, where the configuration wants them.
//!
//! In: issuers as they were opened, the audit log. Out: the same with such a key, and a line for each
//! that was certified: beside certificates for clients it is all that a running server's CA key signs.

use std::sync::Arc;

use super::StartError;
use crate::{
    audit::{AuditError, AuditLog, Event},
    ca::{CaSet, Issuer, Serial},
    time::Timestamp,
};

/// The same issuer, with a fresh key that it certified for precertificates.
pub(super) async fn certified_by(
    issuer: &Issuer,
    now: Timestamp,
) -> Result<Arc<Issuer>, StartError> {
    let mut random = [0; 20];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StartError::Randomness)?;
    let serial = Serial::from_random(random);
    let certified = issuer.with_precert_signer(now, serial).await;
    let key = || issuer.key_name().to_owned();
    let certified = certified.map_err(|source| StartError::PrecertSigner { key: key(), source })?;
    Ok(Arc::new(certified))
}

/// Records them before they are used.
pub(super) fn record(audit: &AuditLog, ca: &CaSet, now: Timestamp) -> Result<(), AuditError> {
    for authority in ca.authorities() {
        let issuer = &authority.issuer;
        if let Some(certificate) = issuer.precertificate_signing_certificate() {
            let event = Event::PrecertificateSigner {
                issuer: issuer.chain().first().map_or("", |issuing| issuing.subject()),
                subject: certificate.subject(),
                serial: &hex::encode(certificate.serial()),
                sha256: &hex::encode(certificate.fingerprint()),
            };
            audit.record(now, &event)?;
        }
    }
    Ok(())
}
