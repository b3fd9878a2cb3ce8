//! Whether a chain of CA certificates is one that clients will accept for code signing.
//!
//! In: certificates, issuing CA first, root last, and a time. Out: the issuing CA and its key
//! identifier, or the first or every [`ChainError`]. Knows nothing of private keys but their names.

use std::fmt;

use der::Decode;

use crate::{
    keys::SignError,
    time::Timestamp,
    x509::{Certificate, ClientKeyAlgorithm},
};

/// Which certificate of a chain is meant: its place, counted from 1, and its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// 1 is the issuing CA.
    pub position: usize,
    /// As RFC 4514 writes it.
    pub subject: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {} of the chain ({})", self.position, self.subject)
    }
}

/// Why a key and a chain are not taken into service. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("the chain holds no certificate: give the issuing CA first and the root last")]
    Empty,
    #[error("{certificate} stands in the chain twice: remove one of the two")]
    Duplicate { certificate: Place },
    #[error(
        "{certificate} was issued by '{issuer}', but '{next}' comes next: \
         order the chain from the issuing CA to the root"
    )]
    Order { certificate: Place, issuer: String, next: String },
    #[error(
        "{certificate} is not signed by the key of the certificate after it, although the names \
         match: use the certificate of the CA that signed it"
    )]
    Signature { certificate: Place },
    #[error("{certificate} is the last but not self-signed: add the certificates up to the root")]
    NoRoot { certificate: Place },
    #[error("{certificate} is self-signed, but others follow it: end the chain with it")]
    RootNotLast { certificate: Place },
    #[error(
        "{certificate} is not a CA certificate (basicConstraints without cA): a leaf has no place here"
    )]
    NotCa { certificate: Place },
    #[error(
        "{certificate} may not sign certificates (keyUsage without keyCertSign): issue it anew"
    )]
    KeyUsage { certificate: Place },
    #[error(
        "{certificate} allows {path_len} CA certificates below it, but {below} stand there: \
         issue it anew with a longer path"
    )]
    PathLength { certificate: Place, path_len: u8, below: usize },
    #[error("{certificate} has no subjectKeyIdentifier, which verifiers need: issue it anew")]
    NoKeyId { certificate: Place },
    #[error("{certificate} names its issuer's key as {names}, but that key's identifier is {is}")]
    KeyIdMismatch { certificate: Place, names: String, is: String },
    #[error(
        "{certificate} is not for code signing (extKeyUsage without codeSigning): issue it anew"
    )]
    CodeSigning { certificate: Place },
    #[error("{certificate} has the critical extension {oid}, which clients do not know")]
    CriticalExtension { certificate: Place, oid: String },
    #[error(
        "{certificate} has a key of another kind than P-256 and P-384, which some clients refuse"
    )]
    KeyKind { certificate: Place },
    #[error("{certificate} is not valid before {not_before}: wait, or issue it anew")]
    NotYetValid { certificate: Place, not_before: Timestamp },
    #[error(
        "{certificate} expired at {not_after}: remove this authority, or renew the certificate"
    )]
    Expired { certificate: Place, not_after: Timestamp },
    #[error(
        "key {key} is not the key of {certificate}: give the key and the chain that belong together"
    )]
    OtherKey { key: String, certificate: Place },
    #[error("key {key} is RSA: clients verify certificates under P-256 and P-384 keys only")]
    RsaIssuer { key: String },
    #[error("key {key} did not sign when it was tried")]
    TestSignature {
        key: String,
        #[source]
        source: SignError,
    },
    #[error("key {key} made a signature that its own public key does not verify")]
    TestSignatureWrong { key: String },
}

/// Checks the chain as a whole; hands back the issuing CA with its key identifier.
pub(super) fn check(
    chain: &[Certificate],
    now: Timestamp,
) -> Result<(&Certificate, &[u8]), ChainError> {
    if let Some(fault) = faults(chain, now).into_iter().next() {
        return Err(fault);
    }
    let issuing = chain.first().ok_or(ChainError::Empty)?;
    // Each certificate has one, or it had been among the faults.
    let key_id = issuing
        .subject_key_id()
        .ok_or_else(|| ChainError::NoKeyId { certificate: place(chain, 0) })?;
    Ok((issuing, key_id))
}

/// Everything that is wrong with the chain, from the issuing CA up.
pub(super) fn faults(chain: &[Certificate], now: Timestamp) -> Vec<ChainError> {
    if chain.is_empty() {
        return vec![ChainError::Empty];
    }
    let mut found = Vec::new();
    for index in 0..chain.len() {
        found.extend(check_not_repeated(chain, index).err());
        found.extend(check_issued_by_next(chain, index).err());
        check_is_ca(chain, index, &mut found);
        check_purpose(chain, index, &mut found);
        found.extend(check_dates(chain, index, now).err());
    }
    found
}

/// The place of `chain[index]`, for messages.
pub(super) fn place(chain: &[Certificate], index: usize) -> Place {
    let subject = chain.get(index).map(|ca| ca.subject().to_owned()).unwrap_or_default();
    Place { position: index + 1, subject }
}

/// A certificate twice makes loops and, in bundles that are compared, differences (NT-47).
fn check_not_repeated(chain: &[Certificate], index: usize) -> Result<(), ChainError> {
    if chain[..index].iter().any(|earlier| earlier.der() == chain[index].der()) {
        return Err(ChainError::Duplicate { certificate: place(chain, index) });
    }
    Ok(())
}

/// RFC 5280, 6.1.3 (a): names chain, and the signature verifies under the next key; the last
/// signs itself.
fn check_issued_by_next(chain: &[Certificate], index: usize) -> Result<(), ChainError> {
    let certificate = || place(chain, index);
    let current = &chain[index];
    let Some(next) = chain.get(index + 1) else {
        return if current.is_self_signed() {
            Ok(())
        } else {
            Err(ChainError::NoRoot { certificate: certificate() })
        };
    };
    if current.is_self_signed() {
        return Err(ChainError::RootNotLast { certificate: certificate() });
    }
    if current.issuer_der() != next.subject_der() {
        return Err(ChainError::Order {
            certificate: certificate(),
            issuer: name_text(current.issuer_der()),
            next: next.subject().to_owned(),
        });
    }
    if !current.is_signed_by(next) {
        return Err(ChainError::Signature { certificate: certificate() });
    }
    // Some clients build chains by these identifiers alone.
    match (current.authority_key_id(), next.subject_key_id()) {
        (Some(names), Some(is)) if names != is => Err(ChainError::KeyIdMismatch {
            certificate: certificate(),
            names: hex::encode(names),
            is: hex::encode(is),
        }),
        _ => Ok(()),
    }
}

fn name_text(name_der: &[u8]) -> String {
    x509_cert::name::Name::from_der(name_der).map(|name| name.to_string()).unwrap_or_default()
}

/// RFC 5280, 4.2.1.9 and 4.2.1.3: may be an issuer, and so high above the leaf.
fn check_is_ca(chain: &[Certificate], index: usize, found: &mut Vec<ChainError>) {
    let ca = &chain[index];
    let certificate = || place(chain, index);
    if !ca.is_ca() {
        found.push(ChainError::NotCa { certificate: certificate() });
    }
    if !ca.can_sign_certificates() {
        found.push(ChainError::KeyUsage { certificate: certificate() });
    }
    // `index` CA certificates stand between this one and the leaf.
    if let Some(path_len) = ca.path_len().filter(|path_len| usize::from(*path_len) < index) {
        let below = index;
        found.push(ChainError::PathLength { certificate: certificate(), path_len, below });
    }
    if ca.subject_key_id().is_none() {
        found.push(ChainError::NoKeyId { certificate: certificate() });
    }
}

/// What verifiers of code signatures demand of each CA certificate.
fn check_purpose(chain: &[Certificate], index: usize, found: &mut Vec<ChainError>) {
    let ca = &chain[index];
    let certificate = || place(chain, index);
    // A root commonly says nothing of purposes; every certificate below it must name this one,
    // so that a CA for other purposes is not lent to code signing.
    let says_nothing = ca.extended_key_usages().is_none();
    let is_root = index + 1 == chain.len();
    if !ca.allows_code_signing() || (says_nothing && !is_root) {
        found.push(ChainError::CodeSigning { certificate: certificate() });
    }
    found.extend(ca.other_critical_extensions().iter().map(|oid| ChainError::CriticalExtension {
        certificate: certificate(),
        oid: oid.to_string(),
    }));
    match ca.key_algorithm() {
        Some(ClientKeyAlgorithm::EcdsaP256 | ClientKeyAlgorithm::EcdsaP384) => {}
        _ => found.push(ChainError::KeyKind { certificate: certificate() }),
    }
}

fn check_dates(chain: &[Certificate], index: usize, now: Timestamp) -> Result<(), ChainError> {
    let ca = &chain[index];
    let certificate = || place(chain, index);
    if now < ca.not_before() {
        return Err(ChainError::NotYetValid {
            certificate: certificate(),
            not_before: ca.not_before(),
        });
    }
    if !ca.is_valid_at(now) {
        return Err(ChainError::Expired { certificate: certificate(), not_after: ca.not_after() });
    }
    Ok(())
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
