//! Keys of this process that sign precertificates, where the configuration wants them.
//!
//! In: an issuer as it was opened, the audit log. Out: the same with such a key. Beside certificates
//! for clients, and the proof that it works, this is all that a running server's CA key signs: it is
//! recorded before.

use std::sync::Arc;

use super::StartError;
use crate::{
    audit::{AuditLog, Event},
    ca::{Issuer, PrecertKey, PrecertSignerError, Serial},
    time::Timestamp,
};

/// The same issuer, with a fresh key that it certified for precertificates.
pub(super) async fn certified_by(
    issuer: &Issuer,
    audit: &AuditLog,
    now: Timestamp,
) -> Result<Arc<Issuer>, StartError> {
    let failed = |source: PrecertSignerError| StartError::PrecertSigner {
        key: issuer.key_name().to_owned(),
        source,
    };
    let mut random = [0; 20];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StartError::Randomness)?;
    let key = PrecertKey::generate(issuer, Serial::from_random(random)).map_err(failed)?;
    let event = Event::PrecertificateSigner {
        issuer: issuer.chain().first().map_or("", |issuing| issuing.subject()),
        serial: &key.serial().to_string(),
        key_sha256: &hex::encode(key.sha256),
    };
    audit.record(now, &event)?;
    Ok(Arc::new(issuer.with_precert_signer(key, now).await.map_err(failed)?))
}
