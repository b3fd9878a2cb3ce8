//! The certificate writer: the leaf profile, byte by byte (docs/certificate-profile.md).
//!
//! In: what an issuer's certificates share, prepared once as a [`Template`], and the
//! [`LeafFields`] of one certificate. Out: the TBS as the precertificate, the log and the final
//! certificate have it, and certificates around given signatures. Knows nothing of private keys,
//! logs and tokens.
//!
//! The three TBS differ only in what stands last among the extensions: the poison, nothing, or
//! the SCT list (RFC 6962, 3.1 to 3.3). All else is written once and copied.

use aws_lc_rs::digest::{SHA256, digest};

use super::{FulcioExtensions, PublicKey, Serial, SubjectAltName, Validity, tlv};

/// The signature algorithms that every Sigstore client verifies on a leaf (P-256 and P-384
/// only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerAlgorithm {
    /// ecdsa-with-SHA256, for a P-256 key.
    EcdsaWithSha256,
    /// ecdsa-with-SHA384, for a P-384 key.
    EcdsaWithSha384,
}

impl IssuerAlgorithm {
    /// DER `AlgorithmIdentifier`; the parameters are absent (RFC 5758, 3.2).
    pub fn der(self) -> &'static [u8] {
        match self {
            Self::EcdsaWithSha256 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
            Self::EcdsaWithSha384 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
        }
    }
}

/// What all certificates of one issuer have in common, already encoded.
#[derive(Clone, Debug)]
pub struct Template {
    algorithm: IssuerAlgorithm,
    issuer_name_der: Vec<u8>,
    authority_key_id: Vec<u8>,
}

/// What one certificate has for itself.
#[derive(Clone, Copy, Debug)]
pub struct LeafFields<'a> {
    /// Its number.
    pub serial: &'a Serial,
    /// Its ten minutes.
    pub validity: &'a Validity,
    /// The key it certifies.
    pub public_key: &'a PublicKey,
    /// The one name it certifies.
    pub san: &'a SubjectAltName,
    /// What the token said about the identity.
    pub extensions: &'a FulcioExtensions,
}

impl Template {
    /// For the issuer with this name (DER `Name`, taken byte for byte from its certificate, as
    /// chain building compares them) and subject key identifier.
    pub fn new(algorithm: IssuerAlgorithm, issuer_name_der: &[u8], issuer_key_id: &[u8]) -> Self {
        // AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] KeyIdentifier OPTIONAL, .. }
        let key_id_bytes = tlv::element_bytes(issuer_key_id.len());
        let mut authority_key_id = Vec::new();
        let value_bytes = tlv::element_bytes(key_id_bytes);
        push_extension_header(&AUTHORITY_KEY_ID, value_bytes, &mut authority_key_id);
        tlv::push_header(tlv::TAG_SEQUENCE, key_id_bytes, &mut authority_key_id);
        tlv::push_element(TAG_KEY_IDENTIFIER, issuer_key_id, &mut authority_key_id);
        Self { algorithm, issuer_name_der: issuer_name_der.to_vec(), authority_key_id }
    }

    /// Everything of a leaf but its last extension and its signature.
    pub fn leaf(&self, leaf: &LeafFields<'_>) -> LeafTbs {
        let mut fields = Vec::with_capacity(TYPICAL_LEAF_BYTES);
        fields.extend_from_slice(VERSION_3);
        tlv::push_element(TAG_INTEGER, leaf.serial.as_bytes(), &mut fields);
        fields.extend_from_slice(self.algorithm.der());
        fields.extend_from_slice(&self.issuer_name_der);
        fields.extend_from_slice(leaf.validity.der());
        fields.extend_from_slice(EMPTY_NAME);
        fields.extend_from_slice(leaf.public_key.spki_der());
        let extensions_start = fields.len();
        // The reference's order, so that certificates of both compare line by line.
        fields.extend_from_slice(KEY_USAGE_AND_CODE_SIGNING);
        push_extension_header(&SUBJECT_KEY_ID, tlv::element_bytes(KEY_ID_BYTES), &mut fields);
        tlv::push_element(
            tlv::TAG_OCTET_STRING,
            &key_id(leaf.public_key.key_octets()),
            &mut fields,
        );
        fields.extend_from_slice(&self.authority_key_id);
        push_extension_header(&SUBJECT_ALT_NAME, leaf.san.general_names_bytes(), &mut fields);
        leaf.san.write_general_names(&mut fields);
        leaf.extensions.write_der(&mut fields);
        LeafTbs { fields, extensions_start }
    }

    /// The certificate of a TBS and the signature over it.
    pub fn certificate(&self, tbs: &[u8], signature: &[u8]) -> Vec<u8> {
        let algorithm = self.algorithm.der();
        // A BIT STRING begins with the number of unused bits: none.
        let bit_string_bytes = 1 + signature.len();
        let content_bytes = tbs.len() + algorithm.len() + tlv::element_bytes(bit_string_bytes);
        let mut certificate = Vec::with_capacity(tlv::element_bytes(content_bytes));
        tlv::push_header(tlv::TAG_SEQUENCE, content_bytes, &mut certificate);
        certificate.extend_from_slice(tbs);
        certificate.extend_from_slice(algorithm);
        tlv::push_header(TAG_BIT_STRING, bit_string_bytes, &mut certificate);
        certificate.push(0);
        certificate.extend_from_slice(signature);
        certificate
    }
}

/// The TBS of one leaf, but for its last extension.
#[derive(Clone, Debug)]
pub struct LeafTbs {
    /// Version to SubjectPublicKeyInfo, then the extensions, all without the headers around them.
    fields: Vec<u8>,
    extensions_start: usize,
}

impl LeafTbs {
    /// What the precertificate signs: a critical extension that no verifier knows comes last, so
    /// that a precertificate can never be used as a certificate (RFC 6962, 3.1).
    pub fn precertificate_tbs(&self) -> Vec<u8> {
        self.ending_with(POISON)
    }

    /// What the log takes up and the SCT signs (RFC 6962, 3.2).
    pub fn logged_tbs(&self) -> Vec<u8> {
        self.ending_with(&[])
    }

    /// What the final certificate signs. `sct_list` is an encoded
    /// `SignedCertificateTimestampList`; it stands where the poison stood (RFC 6962, 3.3).
    pub fn final_tbs(&self, sct_list: &[u8]) -> Vec<u8> {
        let mut extension = Vec::with_capacity(sct_list.len() + 32);
        push_extension_header(&SCT_LIST, tlv::element_bytes(sct_list.len()), &mut extension);
        tlv::push_element(tlv::TAG_OCTET_STRING, sct_list, &mut extension);
        self.ending_with(&extension)
    }

    fn ending_with(&self, last_extension: &[u8]) -> Vec<u8> {
        let (before_extensions, extensions) = self.fields.split_at(self.extensions_start);
        let list_bytes = extensions.len() + last_extension.len();
        let explicit_bytes = tlv::element_bytes(list_bytes);
        let content_bytes = before_extensions.len() + tlv::element_bytes(explicit_bytes);
        let mut tbs = Vec::with_capacity(tlv::element_bytes(content_bytes));
        tlv::push_header(tlv::TAG_SEQUENCE, content_bytes, &mut tbs);
        tbs.extend_from_slice(before_extensions);
        tlv::push_header(TAG_EXTENSIONS, explicit_bytes, &mut tbs);
        tlv::push_header(tlv::TAG_SEQUENCE, list_bytes, &mut tbs);
        tbs.extend_from_slice(extensions);
        tbs.extend_from_slice(last_extension);
        tbs
    }
}

/// Object identifier (its content octets) and criticality of an extension.
struct ExtensionKind {
    oid: &'static [u8],
    critical: bool,
}

/// RFC 5280, 4.1, `Extension`: everything before the content of its OCTET STRING.
fn push_extension_header(kind: &ExtensionKind, value_bytes: usize, out: &mut Vec<u8>) {
    // FALSE is the default and so not written (X.690, 11.5).
    let critical: &[u8] = if kind.critical { CRITICAL } else { &[] };
    let content_bytes =
        tlv::element_bytes(kind.oid.len()) + critical.len() + tlv::element_bytes(value_bytes);
    tlv::push_header(tlv::TAG_SEQUENCE, content_bytes, out);
    tlv::push_element(tlv::TAG_OID, kind.oid, out);
    out.extend_from_slice(critical);
    tlv::push_header(tlv::TAG_OCTET_STRING, value_bytes, out);
}

/// RFC 7093, 2, method 1: the leftmost 160 bits of the SHA-256 of the key's BIT STRING. (The
/// method of RFC 5280, 4.2.1.2 needs SHA-1.)
pub(crate) fn key_id(key_octets: &[u8]) -> [u8; KEY_ID_BYTES] {
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&digest(&SHA256, key_octets).as_ref()[..KEY_ID_BYTES]);
    id
}

const KEY_ID_BYTES: usize = 20;
/// With an RSA-2048 key and every Fulcio extension of a CI job.
const TYPICAL_LEAF_BYTES: usize = 2048;

/// `[0] EXPLICIT INTEGER 2`: extensions exist in v3 only.
const VERSION_3: &[u8] = b"\xa0\x03\x02\x01\x02";
/// Who the certificate is for stands in the SAN alone.
const EMPTY_NAME: &[u8] = b"\x30\x00";
/// `BOOLEAN TRUE`.
const CRITICAL: &[u8] = &[0x01, 0x01, 0xff];
/// Key usage, critical: digitalSignature only. Extended key usage, not critical: codeSigning
/// only (1.3.6.1.5.5.7.3.3). Neither contains anything of the leaf.
const KEY_USAGE_AND_CODE_SIGNING: &[u8] = b"\
    \x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x07\x80\
    \x30\x13\x06\x03\x55\x1d\x25\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x03";
/// 1.3.6.1.4.1.11129.2.4.3, critical, NULL.
const POISON: &[u8] =
    b"\x30\x13\x06\x0a\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03\x01\x01\xff\x04\x02\x05\x00";

/// 2.5.29.14
const SUBJECT_KEY_ID: ExtensionKind = ExtensionKind { oid: b"\x55\x1d\x0e", critical: false };
/// 2.5.29.17
const SUBJECT_ALT_NAME: ExtensionKind = ExtensionKind { oid: b"\x55\x1d\x11", critical: true };
/// 2.5.29.35
const AUTHORITY_KEY_ID: ExtensionKind = ExtensionKind { oid: b"\x55\x1d\x23", critical: false };
/// 1.3.6.1.4.1.11129.2.4.2
const SCT_LIST: ExtensionKind =
    ExtensionKind { oid: b"\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x02", critical: false };

/// INTEGER.
const TAG_INTEGER: u8 = 0x02;
/// BIT STRING.
const TAG_BIT_STRING: u8 = 0x03;
/// `keyIdentifier [0] IMPLICIT OCTET STRING`.
const TAG_KEY_IDENTIFIER: u8 = 0x80;
/// `extensions [3] EXPLICIT`.
const TAG_EXTENSIONS: u8 = 0xa3;
