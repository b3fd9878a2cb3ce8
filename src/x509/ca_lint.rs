//! The profile of CA certificates as rules, checked before one is signed and before it counts.
//!
//! In: DER of a TBS or of a certificate, and what is to issue it. Out: every rule it breaks. Knows
//! nothing of the writer, and nothing of chains that others made: those are for `ca` to judge, more
//! leniently. docs/certificate-profile.md has the same rules as a table.

use der::{
    AnyRef, Decode, Reader, SliceReader, Tag, Tagged,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints};

use super::{
    Certificate, ClientKeyAlgorithm, Leaf, PublicKey,
    leaf::{LeafError, LeafExtension},
    template::IssuerAlgorithm,
};
use crate::time::Timestamp;

/// What issues the certificate, and so where it stands.
#[derive(Clone, Copy, Debug)]
pub enum CaPlace<'a> {
    /// It signs itself: a root.
    Root,
    /// This certificate's key signs it.
    Below(&'a Certificate),
    /// This certificate's key signs it, and it is to sign precertificates only (RFC 6962, 3.1).
    ForPrecertificates(&'a Certificate),
}

impl<'a> CaPlace<'a> {
    fn issuer(self) -> Option<&'a Certificate> {
        match self {
            CaPlace::Root => None,
            CaPlace::Below(issuer) | CaPlace::ForPrecertificates(issuer) => Some(issuer),
        }
    }
}

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenCaRule {
    /// RFC 5280, 4.1.2.1.
    #[error("it is not an X.509 v3 certificate")]
    Version,
    /// RFC 5280, 4.1.2.2: positive, at most 20 octets; Baseline Requirements, 7.1: from 64 bits.
    #[error("its serial number is not positive, or has not 8 to 20 octets")]
    Serial,
    /// RFC 5280, 4.1.1.2.
    #[error("its two signature algorithms differ")]
    AlgorithmMismatch,
    /// RFC 5758, 3.2, and clients: the hash that goes with the curve of the issuer's key.
    #[error(
        "its signature algorithm is not ECDSA with the hash of its issuer's curve, which is P-256 \
         with SHA-256 or P-384 with SHA-384"
    )]
    Algorithm,
    /// Clients verify under these two kinds only.
    #[error("its key is none on P-256 or P-384")]
    KeyKind,
    /// RFC 5280, 4.1.2.6: a CA has a name, here O and CN in this order, each one UTF8String (4.1.2.4)
    /// within the bounds of appendix A.1.
    #[error(
        "its subject is not O and CN, each a UTF8String of 1 to 64 characters without control \
         characters"
    )]
    Subject,
    /// RFC 5280, 4.1.2.4 and 6.1.3 (a): the issuer's subject, octet by octet.
    #[error("its issuer is not the subject of the certificate that is to sign it")]
    Issuer,
    /// Chain builders would take the one for the other.
    #[error("its subject is that of its issuer")]
    SameName,
    /// RFC 5280, 4.1.2.5.
    #[error("its validity ends before it begins")]
    Dates,
    /// A certificate that outlives its issuer cannot be verified to its end.
    #[error("its validity does not lie within that of its issuer, {not_before} to {not_after}")]
    OutsideIssuer {
        /// The issuer's first second.
        not_before: Timestamp,
        /// The issuer's last second.
        not_after: Timestamp,
    },
    /// RFC 5280, 4.2.
    #[error("extension {id} stands in it more than once")]
    RepeatedExtension {
        /// Which one.
        id: String,
    },
    /// RFC 5280, 4.2.1.9: critical, cA, and a path length.
    #[error("its basic constraints are not critical with cA and a path length")]
    BasicConstraints,
    /// RFC 5280, 4.2.1.9 and 6.1.4 (l, m): a root leaves room for an issuing CA, and nobody allows
    /// more below than stands above allows. One that signs precertificates has none below itself,
    /// and stands below an issuing CA that allows none: so no verifier takes what it signs for a
    /// certificate, whatever it thinks of extended key usages.
    #[error("its path length {path_len} does not fit where it stands")]
    PathLength {
        /// What it says.
        path_len: u8,
    },
    /// RFC 5280, 4.2.1.3: critical, keyCertSign and cRLSign, nothing else.
    #[error("its key usage is not critical with exactly keyCertSign and cRLSign")]
    KeyUsage,
    /// RFC 5280, 4.2.1.12: below the root exactly codeSigning, not critical; RFC 6962, 3.1: for
    /// precertificates exactly the usage that is made for them.
    #[error("its extended key usage is not exactly {}, not critical", .expected)]
    ExtendedKeyUsage {
        /// In words.
        expected: &'static str,
    },
    /// RFC 5280, 4.2.1.2: in every CA certificate, not critical.
    #[error("its subject key identifier is missing, empty or critical")]
    SubjectKeyId,
    /// RFC 5280, 4.2.1.1: below the root the issuer's subject key identifier, alone, not critical.
    #[error("its authority key identifier is not exactly the key identifier of its issuer")]
    AuthorityKeyId,
    /// The profile names all extensions; whoever asked for another does not get it.
    #[error("extension {id} does not belong in it")]
    Forbidden {
        /// Which one.
        id: String,
    },
}

/// The rules that a TBSCertificate about to be signed breaks; none if it keeps to the profile.
///
/// # Errors
/// The bytes are no TBSCertificate at all.
pub fn broken_by_tbs(tbs: &[u8], place: CaPlace<'_>) -> Result<Vec<BrokenCaRule>, LeafError> {
    Ok(broken_rules(&Leaf::parse_tbs(tbs)?, place))
}

/// The rules that a certificate breaks. Its signature is not looked at.
///
/// # Errors
/// The bytes are no certificate at all.
pub fn broken_by_certificate(
    der: &[u8],
    place: CaPlace<'_>,
) -> Result<Vec<BrokenCaRule>, LeafError> {
    Ok(broken_rules(&Leaf::parse_certificate(der)?, place))
}

fn broken_rules(ca: &Leaf<'_>, place: CaPlace<'_>) -> Vec<BrokenCaRule> {
    let mut broken = Vec::new();
    check_number_and_algorithms(ca, place, &mut broken);
    check_names(ca, place, &mut broken);
    check_dates(ca, place, &mut broken);
    check_which_extensions(ca, place, &mut broken);
    check_constraints(ca, place, &mut broken);
    check_usages(ca, place, &mut broken);
    check_key_ids(ca, place, &mut broken);
    broken
}

fn check_number_and_algorithms(ca: &Leaf<'_>, place: CaPlace<'_>, broken: &mut Vec<BrokenCaRule>) {
    if ca.version != VERSION_3 {
        broken.push(BrokenCaRule::Version);
    }
    let positive = ca.serial.first().is_some_and(|first| *first < 0x80);
    if !positive || !(MIN_SERIAL_BYTES..=super::serial::SERIAL_BYTES).contains(&ca.serial.len()) {
        broken.push(BrokenCaRule::Serial);
    }
    if ca.outer_algorithm.is_some_and(|outer| outer != ca.algorithm) {
        broken.push(BrokenCaRule::AlgorithmMismatch);
    }
    let own = signs_with(ca.public_key);
    if own.is_none() {
        broken.push(BrokenCaRule::KeyKind);
    }
    let signer = match place.issuer() {
        None => own,
        Some(issuer) => signs_with(issuer.spki_der()),
    };
    if signer.is_none_or(|signer| signer.der() != ca.algorithm) {
        broken.push(BrokenCaRule::Algorithm);
    }
}

/// What a CA key signs with; `None` for kinds that no CA has.
fn signs_with(spki_der: &[u8]) -> Option<IssuerAlgorithm> {
    match PublicKey::parse_der(spki_der).ok()?.algorithm() {
        ClientKeyAlgorithm::EcdsaP256 => Some(IssuerAlgorithm::EcdsaWithSha256),
        ClientKeyAlgorithm::EcdsaP384 => Some(IssuerAlgorithm::EcdsaWithSha384),
        _ => None,
    }
}

fn check_names(ca: &Leaf<'_>, place: CaPlace<'_>, broken: &mut Vec<BrokenCaRule>) {
    let sound = |(tag, text): &(Tag, &str)| {
        *tag == Tag::Utf8String
            && (1..=MAX_NAME_CHARACTERS).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
    };
    let subject = name_attributes(ca.subject).is_ok_and(|attributes| {
        let (oids, texts): (Vec<_>, Vec<_>) = attributes.into_iter().unzip();
        oids == [ORGANIZATION, COMMON_NAME] && texts.iter().all(sound)
    });
    if !subject {
        broken.push(BrokenCaRule::Subject);
    }
    let (issuer, same_name) = match place.issuer() {
        None => (ca.subject, false),
        Some(issuer) => (issuer.subject_der(), ca.subject == issuer.subject_der()),
    };
    if ca.issuer != issuer {
        broken.push(BrokenCaRule::Issuer);
    }
    if same_name {
        broken.push(BrokenCaRule::SameName);
    }
}

/// The attributes of a Name whose RDNs have one attribute each: which one, its tag and its text.
fn name_attributes(name: &[u8]) -> der::Result<Vec<(ObjectIdentifier, (Tag, &str))>> {
    let mut rdns = SliceReader::new(content_of(name, Tag::Sequence)?)?;
    let mut attributes = Vec::new();
    while !rdns.is_finished() {
        let attribute = content_of(content_of(rdns.tlv_bytes()?, Tag::Set)?, Tag::Sequence)?;
        let mut fields = SliceReader::new(attribute)?;
        let oid = ObjectIdentifier::decode(&mut fields)?;
        let value = AnyRef::decode(&mut fields)?;
        fields.finish()?;
        let text = str::from_utf8(value.value()).map_err(|_| value.tag().value_error())?;
        attributes.push((oid, (value.tag(), text)));
    }
    Ok(attributes)
}

/// The content of exactly one element of this kind.
fn content_of(der: &[u8], tag: Tag) -> der::Result<&[u8]> {
    let element = AnyRef::from_der(der)?;
    element.tag().assert_eq(tag)?;
    Ok(element.value())
}

fn check_dates(ca: &Leaf<'_>, place: CaPlace<'_>, broken: &mut Vec<BrokenCaRule>) {
    if ca.not_after <= ca.not_before {
        broken.push(BrokenCaRule::Dates);
    }
    if let Some(issuer) = place.issuer() {
        let (not_before, not_after) = (issuer.not_before(), issuer.not_after());
        if ca.not_before < not_before || ca.not_after > not_after {
            broken.push(BrokenCaRule::OutsideIssuer { not_before, not_after });
        }
    }
}

fn check_which_extensions(ca: &Leaf<'_>, place: CaPlace<'_>, broken: &mut Vec<BrokenCaRule>) {
    let permitted: &[ObjectIdentifier] = match place {
        CaPlace::Root => &EXTENSIONS[..3],
        CaPlace::Below(_) | CaPlace::ForPrecertificates(_) => &EXTENSIONS,
    };
    for (at, extension) in ca.extensions.iter().enumerate() {
        let id = || extension.id.to_string();
        if ca.extensions[..at].iter().any(|earlier| earlier.id == extension.id) {
            broken.push(BrokenCaRule::RepeatedExtension { id: id() });
        }
        if !permitted.iter().any(|permitted| extension.id == *permitted) {
            broken.push(BrokenCaRule::Forbidden { id: id() });
        }
    }
}

fn check_constraints(ca: &Leaf<'_>, place: CaPlace<'_>, broken: &mut Vec<BrokenCaRule>) {
    let constraints = first_of(ca, BASIC_CONSTRAINTS)
        .filter(|extension| extension.critical)
        .and_then(|extension| BasicConstraints::from_der(extension.value).ok())
        .filter(|constraints| constraints.ca);
    let Some(path_len) = constraints.and_then(|constraints| constraints.path_len_constraint) else {
        return broken.push(BrokenCaRule::BasicConstraints);
    };
    let fits = match place {
        CaPlace::Root => path_len >= 1,
        CaPlace::Below(issuer) => issuer.path_len().is_none_or(|above| path_len < above),
        CaPlace::ForPrecertificates(issuer) => path_len == 0 && issuer.path_len() == Some(0),
    };
    if !fits {
        broken.push(BrokenCaRule::PathLength { path_len });
    }
}

fn check_usages(ca: &Leaf<'_>, place: CaPlace<'_>, broken: &mut Vec<BrokenCaRule>) {
    let is = |oid, critical, value: &[u8]| {
        first_of(ca, oid)
            .is_some_and(|extension| extension.critical == critical && extension.value == value)
    };
    if !is(KEY_USAGE, true, &KEY_CERT_SIGN_AND_CRL_SIGN) {
        broken.push(BrokenCaRule::KeyUsage);
    }
    let (expected, usage): (_, &[u8]) = match place {
        // In a root any is forbidden, which is said already.
        CaPlace::Root => return,
        CaPlace::Below(_) => ("codeSigning", &CODE_SIGNING),
        CaPlace::ForPrecertificates(_) => ("precertificate signing", &PRECERTIFICATE_SIGNING),
    };
    if !is(EXT_KEY_USAGE, false, usage) {
        broken.push(BrokenCaRule::ExtendedKeyUsage { expected });
    }
}

fn check_key_ids(ca: &Leaf<'_>, place: CaPlace<'_>, broken: &mut Vec<BrokenCaRule>) {
    let not_critical = |oid| first_of(ca, oid).filter(|extension| !extension.critical);
    let own = not_critical(SUBJECT_KEY_ID)
        .and_then(|extension| <&OctetStringRef>::from_der(extension.value).ok());
    if own.is_none_or(|id| id.is_empty()) {
        broken.push(BrokenCaRule::SubjectKeyId);
    }
    let Some(issuer) = place.issuer() else { return };
    let names_issuer = |id: AuthorityKeyIdentifier| {
        let AuthorityKeyIdentifier {
            key_identifier,
            authority_cert_issuer,
            authority_cert_serial_number,
        } = id;
        authority_cert_issuer.is_none()
            && authority_cert_serial_number.is_none()
            && key_identifier.is_some()
            && key_identifier.as_ref().map(|id| id.as_bytes()) == issuer.subject_key_id()
    };
    let sound = not_critical(AUTHORITY_KEY_ID)
        .and_then(|extension| AuthorityKeyIdentifier::from_der(extension.value).ok())
        .is_some_and(names_issuer);
    if !sound {
        broken.push(BrokenCaRule::AuthorityKeyId);
    }
}

fn first_of<'a, 'b>(ca: &'b Leaf<'a>, oid: ObjectIdentifier) -> Option<&'b LeafExtension<'a>> {
    ca.extensions_named(oid).next()
}

/// X.509 counts versions from zero.
const VERSION_3: u8 = 2;
const MIN_SERIAL_BYTES: usize = 8;
/// RFC 5280, A.1: ub-organization-name and ub-common-name.
const MAX_NAME_CHARACTERS: usize = 64;

/// BIT STRING with one unused bit: bit 5, keyCertSign, and bit 6, cRLSign.
const KEY_CERT_SIGN_AND_CRL_SIGN: [u8; 4] = [0x03, 0x02, 0x01, 0x06];
/// SEQUENCE of one OID: 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: [u8; 12] =
    [0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// SEQUENCE of one OID: 1.3.6.1.4.1.11129.2.4.4.
const PRECERTIFICATE_SIGNING: [u8; 14] =
    [0x30, 0x0c, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x04];

/// The three of a root first.
const EXTENSIONS: [ObjectIdentifier; 5] =
    [BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_KEY_ID, AUTHORITY_KEY_ID, EXT_KEY_USAGE];

const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const EXT_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

#[cfg(test)]
#[path = "ca_lint_tests.rs"]
mod tests;
