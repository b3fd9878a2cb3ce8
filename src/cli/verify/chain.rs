//! From a leaf to a root that is trusted beforehand.
//!
//! In: the leaf, the certificates above it as presented, the trusted root, and a time. Out: that
//! each signed the one below and was allowed to, or the first rule that is broken. The root in
//! the answer of a server is never believed: it must be the trusted one, byte for byte.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use const_oid::{
    AssociatedOid, ObjectIdentifier,
    db::rfc5280::ID_KP_CODE_SIGNING,
    db::rfc5912::{
        ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ID_EC_PUBLIC_KEY, SECP_256_R_1, SECP_384_R_1,
        SHA_256_WITH_RSA_ENCRYPTION,
    },
};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};

use super::presented::Presented;
use crate::time::Timestamp;

/// Checks that `leaf` is a code-signing certificate valid at `at` under `trusted_root`.
///
/// `above` is the chain as presented: issuing CA first, root last.
///
/// # Errors
/// The first rule that does not hold.
pub fn verify(
    leaf: &Presented,
    above: &[Presented],
    trusted_root: &Presented,
    at: Timestamp,
) -> Result<(), ChainFault> {
    let Some(root) = above.last() else {
        return Err(ChainFault::Empty);
    };
    if root.der() != trusted_root.der() {
        return Err(ChainFault::OtherRoot);
    }
    leaf_profile(leaf)?;
    let mut below = leaf;
    for (authorities_between, issuer) in above.iter().enumerate() {
        authority(issuer, authorities_between)?;
        valid_at(below, at)?;
        signed_by(below, issuer)?;
        below = issuer;
    }
    valid_at(root, at)?;
    signed_by(root, root)
}

/// Which rule a chain breaks.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChainFault {
    /// Nothing above the leaf.
    #[error("there is no certificate above the leaf")]
    Empty,
    /// A self-made root proves nothing.
    #[error("the chain ends at another root than the trusted one")]
    OtherRoot,
    /// RFC 5280, 6.1.3 (a) (2).
    #[error("'{subject}' is valid from {not_before} to {not_after}, not at {at}")]
    NotValidNow {
        /// Whose certificate.
        subject: String,
        /// First instant.
        not_before: Timestamp,
        /// Last second.
        not_after: Timestamp,
        /// When it was looked at.
        at: Timestamp,
    },
    /// RFC 5280, 6.1.3 (a) (4).
    #[error("'{subject}' names another issuer than '{issuer}'")]
    OtherIssuer {
        /// Whose certificate.
        subject: String,
        /// The next one of the chain.
        issuer: String,
    },
    /// RFC 5280, 6.1.3 (a) (1).
    #[error("the signature of '{issuer}' on '{subject}' does not verify")]
    BadSignature {
        /// Whose certificate.
        subject: String,
        /// Whose key.
        issuer: String,
    },
    /// RFC 5280, 6.1.4 (k) to (n), and the code-signing constraint of docs/certificate-profile.md.
    #[error("'{subject}' may not issue this certificate: {reason}")]
    NoAuthority {
        /// Whose certificate.
        subject: String,
        /// Which right it lacks.
        reason: &'static str,
    },
    /// The leaf profile of docs/certificate-profile.md.
    #[error("the leaf does not have the profile of a signing certificate: {reason}")]
    LeafProfile {
        /// What is missing or too much.
        reason: &'static str,
    },
    /// RFC 5280, 4.2: what is critical and not understood must be refused.
    #[error("'{subject}' has the critical extension {oid}, which is unknown here")]
    UnknownCritical {
        /// Whose certificate.
        subject: String,
        /// Which one.
        oid: ObjectIdentifier,
    },
}

fn leaf_profile(leaf: &Presented) -> Result<(), ChainFault> {
    let broken = |reason| ChainFault::LeafProfile { reason };
    known_critical(leaf)?;
    let fields = leaf.fields();
    if let Ok(Some((_, BasicConstraints { ca: true, .. }))) = fields.get_extension() {
        return Err(broken("it is a CA certificate"));
    }
    match fields.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) if usage.digital_signature() && !usage.key_cert_sign() => {}
        _ => return Err(broken("its key usage is not digitalSignature")),
    }
    match fields.get_extension::<ExtendedKeyUsage>() {
        Ok(Some((_, ExtendedKeyUsage(usages)))) if usages == [ID_KP_CODE_SIGNING] => {}
        _ => return Err(broken("its extended key usage is not codeSigning alone")),
    }
    match fields.get_extension::<SubjectAltName>() {
        Ok(Some((true, SubjectAltName(names)))) if names.len() == 1 => Ok(()),
        _ => Err(broken("it does not have exactly one subject alternative name, critical")),
    }
}

/// `authorities_between` counts the CA certificates between this one and the leaf.
fn authority(ca: &Presented, authorities_between: usize) -> Result<(), ChainFault> {
    let broken = |reason| ChainFault::NoAuthority { subject: ca.subject(), reason };
    known_critical(ca)?;
    let fields = ca.fields();
    let path_length = match fields.get_extension::<BasicConstraints>() {
        Ok(Some((true, constraints))) if constraints.ca => constraints.path_len_constraint,
        _ => return Err(broken("it is no CA certificate")),
    };
    if path_length.is_some_and(|longest| usize::from(longest) < authorities_between) {
        return Err(broken("its path length constraint is too short for this chain"));
    }
    match fields.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) if usage.key_cert_sign() => {}
        _ => return Err(broken("its key usage is not keyCertSign")),
    }
    match fields.get_extension::<ExtendedKeyUsage>() {
        Ok(None) => Ok(()),
        Ok(Some((_, ExtendedKeyUsage(usages)))) if usages.contains(&ID_KP_CODE_SIGNING) => Ok(()),
        _ => Err(broken("its extended key usage excludes codeSigning")),
    }
}

fn known_critical(certificate: &Presented) -> Result<(), ChainFault> {
    const KNOWN: [ObjectIdentifier; 4] =
        [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];
    match certificate.critical_extensions().find(|oid| !KNOWN.contains(oid)) {
        Some(oid) => Err(ChainFault::UnknownCritical { subject: named(certificate), oid }),
        None => Ok(()),
    }
}

fn valid_at(certificate: &Presented, at: Timestamp) -> Result<(), ChainFault> {
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    // RFC 5280, 4.1.2.5: both ends are inclusive, in seconds.
    if (not_before.unix_seconds()..=not_after.unix_seconds()).contains(&at.unix_seconds()) {
        return Ok(());
    }
    let subject = named(certificate);
    Err(ChainFault::NotValidNow { subject, not_before, not_after, at })
}

fn signed_by(certificate: &Presented, issuer: &Presented) -> Result<(), ChainFault> {
    let (subject, issuer_name) = (named(certificate), issuer.subject());
    if certificate.fields().issuer() != issuer.fields().subject()
        || !key_ids_agree(certificate, issuer)
    {
        return Err(ChainFault::OtherIssuer { subject, issuer: issuer_name });
    }
    let (outer_algorithm, signature) = certificate.signature();
    // RFC 5280, 4.1.1.2: the algorithm outside must be the one under the signature.
    let verified = outer_algorithm == certificate.fields().signature()
        && verification(outer_algorithm.oid, issuer).is_some_and(|algorithm| {
            let key = UnparsedPublicKey::new(algorithm, issuer.spki_der());
            key.verify(certificate.tbs_der(), signature).is_ok()
        });
    if verified { Ok(()) } else { Err(ChainFault::BadSignature { subject, issuer: issuer_name }) }
}

/// Where both identifiers stand they must be equal (RFC 5280, 4.2.1.1).
fn key_ids_agree(certificate: &Presented, issuer: &Presented) -> bool {
    let wanted = certificate.fields().get_extension::<AuthorityKeyIdentifier>();
    let offered = issuer.fields().get_extension::<SubjectKeyIdentifier>();
    match (wanted, offered) {
        (Ok(Some((_, wanted))), Ok(Some((_, SubjectKeyIdentifier(offered))))) => {
            wanted.key_identifier.is_none_or(|wanted| wanted == offered)
        }
        (Ok(_), Ok(_)) => true,
        _ => false,
    }
}

/// The pairs of algorithm and key that every client takes, and RSA.
fn verification(
    signature: ObjectIdentifier,
    issuer: &Presented,
) -> Option<&'static dyn VerificationAlgorithm> {
    let key = &issuer.fields().subject_public_key_info().algorithm;
    let named_curve = key.parameters.as_ref().filter(|_| key.oid == ID_EC_PUBLIC_KEY);
    let curve = named_curve.and_then(|parameters| parameters.decode_as().ok());
    match (signature, curve) {
        (ECDSA_WITH_SHA_256, Some(SECP_256_R_1)) => Some(&ECDSA_P256_SHA256_ASN1),
        (ECDSA_WITH_SHA_384, Some(SECP_384_R_1)) => Some(&ECDSA_P384_SHA384_ASN1),
        (SHA_256_WITH_RSA_ENCRYPTION, None) => Some(&RSA_PKCS1_2048_8192_SHA256),
        _ => None,
    }
}

/// A leaf has an empty subject; its identity names it better.
fn named(certificate: &Presented) -> String {
    let subject = certificate.subject();
    if subject.is_empty() { certificate.identities().join(", ") } else { subject }
}
