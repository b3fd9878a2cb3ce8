//! A certificate as somebody presented it: read, not yet believed.
//!
//! In: DER. Out: its fields, its exact signed bytes, and those bytes without one extension.
//! Knows nothing of the code that makes certificates: what stands here is read from RFC 5280
//! again, so that a mistake made while issuing cannot hide behind the same mistake here.

use std::fmt;

use const_oid::ObjectIdentifier;
use der::{
    Decode, Encode, Header, Reader, SliceReader, Tag,
    asn1::{OctetString, Utf8StringRef},
};
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};

use crate::time::Timestamp;

/// A parsed certificate with the bytes that it was parsed from.
#[derive(Clone)]
pub struct Presented {
    certificate: x509_cert::Certificate,
    der: Vec<u8>,
    tbs_der: Vec<u8>,
    spki_der: Vec<u8>,
}

impl Presented {
    /// Reads one certificate; bytes after it are refused.
    ///
    /// # Errors
    /// The bytes are no DER certificate.
    pub fn parse(der: &[u8]) -> Result<Self, PresentedError> {
        let certificate = x509_cert::Certificate::from_der(der)?;
        // Bits left over would be bytes that no signature covers.
        certificate.signature().as_bytes().ok_or(PresentedError::SignatureBits)?;
        let spki = certificate.tbs_certificate().subject_public_key_info();
        Ok(Self {
            tbs_der: children(der)?.first().copied().unwrap_or_default().to_vec(),
            spki_der: spki.to_der()?,
            der: der.to_vec(),
            certificate,
        })
    }

    /// The certificate as it was presented.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The bytes under the signature.
    pub fn tbs_der(&self) -> &[u8] {
        &self.tbs_der
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The fields.
    pub fn fields(&self) -> &x509_cert::TbsCertificate {
        self.certificate.tbs_certificate()
    }

    /// The issuer's signature and its algorithm.
    pub fn signature(&self) -> (&spki::AlgorithmIdentifierOwned, &[u8]) {
        (
            self.certificate.signature_algorithm(),
            self.certificate.signature().as_bytes().unwrap_or_default(),
        )
    }

    /// First instant of validity.
    pub fn not_before(&self) -> Timestamp {
        let at = self.fields().validity().not_before.to_unix_duration();
        Timestamp::from_unix_seconds(at.as_secs())
    }

    /// Last second of validity.
    pub fn not_after(&self) -> Timestamp {
        let at = self.fields().validity().not_after.to_unix_duration();
        Timestamp::from_unix_seconds(at.as_secs())
    }

    /// The subject as RFC 4514 text; empty for a leaf of ours.
    pub fn subject(&self) -> String {
        self.fields().subject().to_string()
    }

    /// Who it is for: the e-mail addresses and URIs of the subject alternative name.
    pub fn identities(&self) -> Vec<String> {
        let Ok(Some((_, SubjectAltName(names)))) = self.fields().get_extension() else {
            return Vec::new();
        };
        let text = |name: &GeneralName| match name {
            GeneralName::Rfc822Name(email) => Some(email.as_str().to_owned()),
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        };
        names.iter().filter_map(text).collect()
    }

    /// Which identity provider vouched: Fulcio's extension 1.3.6.1.4.1.57264.1.8.
    pub fn oidc_issuer(&self) -> Option<String> {
        let value = self.only_extension(FULCIO_ISSUER_V2)?;
        Some(Utf8StringRef::from_der(value).ok()?.as_str().to_owned())
    }

    /// The value of an extension that stands exactly once.
    pub fn only_extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        let mut found = self.extensions().filter(|extension| extension.extn_id == oid);
        let extension = found.next()?;
        found.next().is_none().then(|| extension.extn_value.as_bytes())
    }

    /// The critical extensions, by OID.
    pub fn critical_extensions(&self) -> impl Iterator<Item = ObjectIdentifier> {
        self.extensions().filter(|extension| extension.critical).map(|extension| extension.extn_id)
    }

    /// The bytes that the log signed: the TBS without its SCT list, all else byte for byte
    /// (RFC 6962, 3.2).
    ///
    /// # Errors
    /// The certificate has no SCT list, or its extensions cannot be walked.
    pub fn tbs_without_sct_list(&self) -> Result<Vec<u8>, PresentedError> {
        self.only_extension(SCT_LIST).ok_or(PresentedError::NoSctList)?;
        let mut fields = Vec::new();
        for field in children(&self.tbs_der)? {
            if field.first() == Some(&EXTENSIONS_TAG) {
                fields.extend(without_sct_list(field)?);
            } else {
                fields.extend_from_slice(field);
            }
        }
        wrap(Tag::Sequence, &fields)
    }

    /// The SCT list as RFC 6962, 3.3 puts it into the extension: an OCTET STRING in the value.
    ///
    /// # Errors
    /// The certificate has no SCT list, or it is no OCTET STRING.
    pub fn sct_list(&self) -> Result<Vec<u8>, PresentedError> {
        let value = self.only_extension(SCT_LIST).ok_or(PresentedError::NoSctList)?;
        Ok(OctetString::from_der(value)?.into_bytes().into())
    }

    fn extensions(&self) -> impl Iterator<Item = &x509_cert::ext::Extension> {
        self.fields().extensions().into_iter().flatten()
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serial = self.fields().serial_number();
        f.debug_struct("Presented").field("serial", serial).finish_non_exhaustive()
    }
}

/// Why bytes are no certificate one could check.
#[derive(Debug, thiserror::Error)]
pub enum PresentedError {
    /// No DER, or no certificate.
    #[error("it is no DER certificate")]
    Der {
        /// Where it stops making sense.
        #[from]
        source: der::Error,
    },
    /// Every signature is whole bytes.
    #[error("its signature is not whole bytes")]
    SignatureBits,
    /// Never logged, or logged without showing it.
    #[error("it has no embedded SCT list, or more than one")]
    NoSctList,
}

/// The whole elements within the element `der`, and nothing after it.
fn children(der: &[u8]) -> Result<Vec<&[u8]>, der::Error> {
    let mut outer = SliceReader::new(der)?;
    let header = Header::decode(&mut outer)?;
    let content = outer.read_slice(header.length())?;
    outer.finish()?;
    let mut reader = SliceReader::new(content)?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.tlv_bytes()?);
    }
    Ok(elements)
}

/// `[3] EXPLICIT Extensions` again, with the SCT list left out.
fn without_sct_list(field: &[u8]) -> Result<Vec<u8>, PresentedError> {
    let mut kept = Vec::new();
    for sequence in children(field)? {
        for extension in children(sequence)? {
            let oid = children(extension)?.first().copied().unwrap_or_default();
            if ObjectIdentifier::from_der(oid)? != SCT_LIST {
                kept.extend_from_slice(extension);
            }
        }
    }
    let number = der::TagNumber(3);
    wrap(Tag::ContextSpecific { constructed: true, number }, &wrap(Tag::Sequence, &kept)?)
}

fn wrap(tag: Tag, content: &[u8]) -> Result<Vec<u8>, PresentedError> {
    let mut der = Header::new(tag, content.len().try_into()?).to_der()?;
    der.extend_from_slice(content);
    Ok(der)
}

/// `[3]`, constructed: where RFC 5280, 4.1 puts the extensions.
const EXTENSIONS_TAG: u8 = 0xa3;
const FULCIO_ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// RFC 6962, 3.3.
const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
