//! Certificates of a CA chain.
//!
//! In: PEM or DER that an operator configured. Out: a [`Certificate`] with the fields that
//! issuing, chain checks and trust documents need. Knows nothing of which chain is a good one:
//! that is for `ca` to judge.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use const_oid::{ObjectIdentifier, db::rfc5280};
use der::{Decode, Encode, Header, Reader, SliceReader, referenced::OwnedToRef};
use x509_cert::{
    TbsCertificate, Version,
    ext::pkix::{
        AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
        name::DirectoryString,
    },
    name::Name,
    time::Time,
};

use super::{
    pem::{self, PemError},
    public_key::{ClientKeyAlgorithm, PublicKey, SignatureScheme},
};
use crate::time::Timestamp;

/// A parsed certificate of a CA chain. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Arc<Fields>);

/// Why bytes are no certificate that we can use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("it has {bytes} bytes, more than {limit_bytes}")]
    TooLong { bytes: usize, limit_bytes: usize },
    #[error("it is not PEM")]
    Pem {
        #[source]
        source: PemError,
    },
    #[error("it holds a '{label}' where only 'CERTIFICATE' blocks may stand")]
    Label { label: String },
    #[error("it is not a certificate in DER")]
    Der {
        #[source]
        source: der::Error,
    },
    #[error("it is not an X.509 version 3 certificate")]
    Version,
    #[error("the signature algorithm inside the signed part differs from the one outside")]
    AlgorithmMismatch,
    #[error("its {extension} extension is malformed or there twice")]
    Extension {
        extension: &'static str,
        #[source]
        source: der::Error,
    },
    #[error("certificate {position} of the chain is not usable")]
    InChain {
        /// Counted from 1.
        position: usize,
        #[source]
        source: Box<CertificateError>,
    },
}

impl Certificate {
    /// Reads one certificate.
    ///
    /// # Errors
    /// The bytes are not one version 3 certificate in strict DER.
    pub fn parse_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_DER_BYTES {
            let (bytes, limit_bytes) = (der.len(), MAX_DER_BYTES);
            return Err(CertificateError::TooLong { bytes, limit_bytes });
        }
        Fields::parse(der).map(|fields| Self(Arc::new(fields)))
    }

    /// All `CERTIFICATE` blocks of a PEM file, in order; at least one. Text around the blocks is
    /// passed over, a block of another kind (a key that strayed into the file) is not.
    ///
    /// # Errors
    /// The text is no PEM, or one of the blocks is no certificate.
    pub fn parse_pem_chain(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if pem.len() > MAX_PEM_BYTES {
            let (bytes, limit_bytes) = (pem.len(), MAX_PEM_BYTES);
            return Err(CertificateError::TooLong { bytes, limit_bytes });
        }
        let blocks = pem::blocks(pem).map_err(|source| CertificateError::Pem { source })?;
        let parse = |block: &pem::Block| match block.label.as_str() {
            PEM_LABEL => Self::parse_der(&block.der),
            label => Err(CertificateError::Label { label: label.to_owned() }),
        };
        let in_chain = |(index, block)| {
            parse(block).map_err(|source| CertificateError::InChain {
                position: index + 1,
                source: Box::new(source),
            })
        };
        blocks.iter().enumerate().map(in_chain).collect()
    }

    /// The certificate as it was read.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// PEM with 64-column lines and a trailing newline.
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki_der
    }

    /// What kind of key it certifies; `None` if it is none of those that verifiers take.
    pub fn key_algorithm(&self) -> Option<ClientKeyAlgorithm> {
        PublicKey::parse_der(self.spki_der()).ok().map(|key| key.algorithm())
    }

    /// DER Name of the subject.
    pub fn subject_der(&self) -> &[u8] {
        &self.0.subject_der
    }

    /// DER Name of the issuer.
    pub fn issuer_der(&self) -> &[u8] {
        &self.0.issuer_der
    }

    /// Subject as text (RFC 4514), for messages.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Issuer as text (RFC 4514), for messages.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Content octets of the serial number.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// First O of the subject, for trust documents.
    pub fn organization(&self) -> Option<&str> {
        self.0.organization.as_deref()
    }

    /// First CN of the subject, for trust documents.
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The first second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// The last second of its validity, which belongs to it (RFC 5280, 4.1.2.5).
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// Whether `at` lies in its validity, ends included.
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        let seconds = at.unix_seconds();
        (self.not_before().unix_seconds()..=self.not_after().unix_seconds()).contains(&seconds)
    }

    /// Octets of the subject key identifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.subject_key_id.as_deref()
    }

    /// keyIdentifier of the authority key identifier.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    /// Whether basicConstraints says cA.
    pub fn is_ca(&self) -> bool {
        self.0.basic_constraints.as_ref().is_some_and(|(_, constraints)| constraints.ca)
    }

    /// pathLenConstraint, if there is one.
    pub fn path_len(&self) -> Option<u8> {
        self.0
            .basic_constraints
            .as_ref()
            .and_then(|(_, constraints)| constraints.path_len_constraint)
    }

    /// Whether keyUsage is present and has keyCertSign.
    pub fn can_sign_certificates(&self) -> bool {
        self.0.key_usage.as_ref().is_some_and(|(_, usage)| usage.key_cert_sign())
    }

    /// keyUsage with its criticality.
    pub fn key_usage(&self) -> Option<(bool, KeyUsage)> {
        self.0.key_usage
    }

    /// The purposes in extKeyUsage; `None` if the extension is absent, which means any purpose.
    pub fn extended_key_usages(&self) -> Option<&[ObjectIdentifier]> {
        self.0.extended_key_usages.as_deref()
    }

    /// Whether extKeyUsage is absent or has id-kp-codeSigning or anyExtendedKeyUsage.
    pub fn allows_code_signing(&self) -> bool {
        self.extended_key_usages().is_none_or(|purposes| {
            purposes.contains(&rfc5280::ID_KP_CODE_SIGNING)
                || purposes.contains(&rfc5280::ANY_EXTENDED_KEY_USAGE)
        })
    }

    /// Critical extensions that are none of the above: a verifier that does not know them must
    /// refuse the chain (RFC 5280, 4.2).
    pub fn other_critical_extensions(&self) -> &[ObjectIdentifier] {
        &self.0.other_critical_extensions
    }

    /// SHA-256 of the DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// Whether `issuer`'s key made the signature on this certificate. Names, dates and flags are
    /// not looked at.
    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        let Some(scheme) = self.0.scheme else {
            return false;
        };
        PublicKey::parse_der(issuer.spki_der())
            .is_ok_and(|key| key.verifies_as(scheme, &self.0.tbs_der, &self.0.signature))
    }

    /// Whether subject and issuer are the same and its own key signed it.
    pub fn is_self_signed(&self) -> bool {
        self.subject_der() == self.issuer_der() && self.is_signed_by(self)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.0.subject)
            .field("fingerprint", &hex::encode(self.0.fingerprint))
            .finish_non_exhaustive()
    }
}

#[derive(PartialEq, Eq)]
struct Fields {
    der: Vec<u8>,
    pem: String,
    fingerprint: [u8; 32],
    tbs_der: Vec<u8>,
    /// `None` for an algorithm that we do not verify.
    scheme: Option<SignatureScheme>,
    signature: Vec<u8>,
    spki_der: Vec<u8>,
    subject_der: Vec<u8>,
    issuer_der: Vec<u8>,
    subject: String,
    issuer: String,
    serial: Vec<u8>,
    organization: Option<String>,
    common_name: Option<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    /// With criticality, as `key_usage`.
    basic_constraints: Option<(bool, BasicConstraints)>,
    key_usage: Option<(bool, KeyUsage)>,
    extended_key_usages: Option<Vec<ObjectIdentifier>>,
    other_critical_extensions: Vec<ObjectIdentifier>,
}

impl Fields {
    fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |source| CertificateError::Der { source };
        let certificate = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        let tbs = certificate.tbs_certificate();
        if tbs.version() != Version::V3 {
            return Err(CertificateError::Version);
        }
        // RFC 5280, 4.1.1.2.
        if tbs.signature() != certificate.signature_algorithm() {
            return Err(CertificateError::AlgorithmMismatch);
        }
        let signature = certificate.signature().as_bytes().unwrap_or_default().to_vec();
        let (subject, issuer) = (tbs.subject(), tbs.issuer());
        Ok(Self {
            der: der.to_vec(),
            pem: pem::encode(PEM_LABEL, der),
            fingerprint: sha256(der),
            tbs_der: first_element(der).map_err(malformed)?.to_vec(),
            scheme: SignatureScheme::from_identifier(
                &certificate.signature_algorithm().owned_to_ref(),
            ),
            signature,
            spki_der: tbs.subject_public_key_info().to_der().map_err(malformed)?,
            subject_der: subject.to_der().map_err(malformed)?,
            issuer_der: issuer.to_der().map_err(malformed)?,
            subject: subject.to_string(),
            issuer: issuer.to_string(),
            serial: tbs.serial_number().as_bytes().to_vec(),
            organization: text(subject, Name::organization),
            common_name: text(subject, Name::common_name),
            not_before: timestamp(tbs.validity().not_before),
            not_after: timestamp(tbs.validity().not_after),
            subject_key_id: extension::<SubjectKeyIdentifier>(tbs, "subjectKeyIdentifier")?
                .map(|(_, id)| id.0.into_bytes().into()),
            authority_key_id: extension::<AuthorityKeyIdentifier>(tbs, "authorityKeyIdentifier")?
                .and_then(|(_, id)| id.key_identifier)
                .map(|id| id.into_bytes().into()),
            basic_constraints: extension(tbs, "basicConstraints")?,
            key_usage: extension(tbs, "keyUsage")?,
            extended_key_usages: extension::<ExtendedKeyUsage>(tbs, "extKeyUsage")?
                .map(|(_, usages)| usages.0),
            other_critical_extensions: other_critical(tbs),
        })
    }
}

/// The extension of this type, with its criticality.
fn extension<'a, T>(
    tbs: &'a TbsCertificate,
    name: &'static str,
) -> Result<Option<(bool, T)>, CertificateError>
where
    T: Decode<'a, Error = der::Error> + const_oid::AssociatedOid,
{
    tbs.get_extension::<T>()
        .map_err(|source| CertificateError::Extension { extension: name, source })
}

fn other_critical(tbs: &TbsCertificate) -> Vec<ObjectIdentifier> {
    let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
    extensions
        .iter()
        .filter(|extension| extension.critical && !UNDERSTOOD.contains(&extension.extn_id))
        .map(|extension| extension.extn_id)
        .collect()
}

/// The first element inside the outer SEQUENCE, octet by octet as it was read: what is signed, in
/// a certificate as in a certification request.
pub(super) fn first_element(der: &[u8]) -> der::Result<&[u8]> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?.tag().assert_eq(der::Tag::Sequence)?;
    reader.tlv_bytes()
}

fn text(
    name: &Name,
    attribute: impl Fn(&Name) -> der::Result<Option<DirectoryString>>,
) -> Option<String> {
    attribute(name).ok().flatten().map(|text| text.value().into_owned())
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_unix_seconds(time.to_unix_duration().as_secs())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

const PEM_LABEL: &str = "CERTIFICATE";
/// Ours: a CA certificate with an RSA key has 2 KiB.
const MAX_DER_BYTES: usize = 64 * 1024;
/// Ours, the same as a request body.
const MAX_PEM_BYTES: usize = 256 * 1024;

/// The extensions that the fields above speak for.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
    rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
];

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
