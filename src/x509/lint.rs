//! The leaf profile as rules, checked on every certificate before it counts.
//!
//! In: a [`Leaf`] as it was read back. Out: nothing, or the first rule it breaks. Knows nothing of
//! the writer. A broken rule means a mistake in Mayfly itself: no input of a client can lead here.

use aws_lc_rs::digest::{SHA256, digest};
use der::{
    Decode, Reader, SliceReader, Tag, TagNumber, Tagged,
    asn1::{ContextSpecific, ObjectIdentifier, Utf8StringRef},
};

use super::{
    Leaf, PublicKey,
    leaf::{LeafExtension, SCT_LIST},
};
use crate::time::Timestamp;

/// Which of the two a leaf is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Ends with the poison.
    Precertificate,
    /// Ends with the SCT list.
    Certificate,
    /// A certificate of an installation without a log: neither of the two.
    Unlogged,
}

/// What a leaf has to say of who signs it and for which key, from where both are known best: the
/// issuing CA's own certificate, and the key that the client proved to have.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// DER `Name`: the subject of the issuing CA.
    pub issuer: &'a [u8],
    /// The issuing CA's subject key identifier.
    pub issuer_key_id: &'a [u8],
    /// The last second in which the issuing chain is valid.
    pub issuer_valid_until: Timestamp,
    /// DER AlgorithmIdentifier of what it signs with.
    pub algorithm: &'a [u8],
    /// The client's.
    pub public_key: &'a PublicKey,
}

/// The rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRule {
    /// RFC 5280, 4.1.2.1.
    #[error("it is not an X.509 v3 certificate")]
    Version,
    /// RFC 5280, 4.1.2.2; NT-45.
    #[error("its serial number is not positive or has not exactly 20 octets")]
    Serial,
    /// RFC 5280, 4.1.1.2; and RFC 6962, 3.2, where another key signs the precertificate.
    #[error("its two signature algorithms differ, or are not that of the key that signs it")]
    Algorithm,
    /// RFC 5280, 4.1.2.5, for exactly as long as the profile says.
    #[error("it is valid for {seconds} seconds instead of {expected_seconds}")]
    Lifetime {
        /// From notBefore to notAfter.
        seconds: u64,
        /// What the profile says.
        expected_seconds: u64,
    },
    /// RFC 5280, 4.1.2.6: empty, as who it is for stands in the SAN alone, which is then critical.
    #[error("its subject is not empty")]
    Subject,
    /// RFC 5280, 4.1.2.4 and 6.1.3 (a)(4): byte for byte the subject of the CA that signs.
    #[error("its issuer is not the subject of the CA that signs it")]
    Issuer,
    /// RFC 5280, 4.2.1.1: of the CA that signs, also where two of them have one name.
    #[error("its authority key identifier is not that of the CA that signs it")]
    AuthorityKeyId,
    /// NT-43: a certificate that outlives its chain is refused by verifiers in its last minutes.
    #[error("it outlives the chain of the CA that signs it")]
    OutlivesIssuer,
    /// RFC 5280, 4.2.1.2.
    #[error("its subject key identifier is not that of its public key")]
    SubjectKeyId,
    /// RFC 5280, 4.1.2.7; NT-40: no key but the one whose possession was proved.
    #[error("its public key is not the client's")]
    PublicKey,
    /// RFC 5280, 4.2.
    #[error("extension {id} stands in it more than once")]
    RepeatedExtension {
        /// Which one.
        id: String,
    },
    /// An extension that must be there in exactly one form: RFC 5280, 4.2.1.1 and .2 (key
    /// identifiers), .3 (key usage), .6 (SAN), .12 (extended key usage), as the profile has them.
    #[error("its {name} is missing or not as the profile says")]
    Extension {
        /// In words.
        name: &'static str,
    },
    /// RFC 5280, 4.2: whoever does not know a critical extension must refuse the certificate, so
    /// the profile makes no other critical.
    #[error("extension {id} is critical")]
    Critical {
        /// Which one.
        id: String,
    },
    /// RFC 5280, 4.2.1.9: without basic constraints it is no CA; the profile names all others
    /// (NT-42).
    #[error("extension {id} does not belong in a leaf")]
    Forbidden {
        /// Which one.
        id: String,
    },
    /// The Fulcio profile: from .8 on, values are one DER UTF8String, before that the text itself;
    /// none is empty.
    #[error("extension {id} is not one text in UTF-8")]
    Text {
        /// Which one.
        id: String,
    },
    /// RFC 6962, 3.1 and 3.3.
    #[error("its last extension is not the one for its stage")]
    LastExtension,
    /// RFC 6962, 3.1: critical, and NULL.
    #[error("its poison is not as RFC 6962 has it")]
    Poison,
}

/// Checks every rule of the profile.
///
/// # Errors
/// The first rule that is broken.
pub fn check(leaf: &Leaf<'_>, stage: Stage, lifetime_seconds: u64) -> Result<(), BrokenRule> {
    check_fields(leaf, lifetime_seconds)?;
    check_no_extension_twice(leaf)?;
    check_last_extension(leaf, stage)?;
    check_fixed_extensions(leaf)?;
    check_key_identifiers(leaf)?;
    check_subject_alt_name(leaf)?;
    check_provenance(leaf)?;
    check_nothing_else(leaf)
}

/// Checks that a leaf is of the issuer that is about to sign it, and for the client's key. Name and
/// extensions are not looked at: they are compared with what the log has.
///
/// # Errors
/// The first rule that is broken.
pub fn check_origin(leaf: &Leaf<'_>, origin: &Origin<'_>) -> Result<(), BrokenRule> {
    if leaf.issuer != origin.issuer {
        return Err(BrokenRule::Issuer);
    }
    let names_issuer = |extension: &LeafExtension<'_>| {
        only_in_sequence(extension.value).is_some_and(|(_, id)| id == origin.issuer_key_id)
    };
    if !leaf.extensions_named(AUTHORITY_KEY_ID).all(names_issuer) {
        return Err(BrokenRule::AuthorityKeyId);
    }
    if leaf.not_after > origin.issuer_valid_until {
        return Err(BrokenRule::OutlivesIssuer);
    }
    if leaf.algorithm != origin.algorithm {
        return Err(BrokenRule::Algorithm);
    }
    if leaf.public_key != origin.public_key.spki_der() {
        return Err(BrokenRule::PublicKey);
    }
    // RFC 7093, 2, method 1.
    let hash = digest(&SHA256, origin.public_key.key_octets());
    let names_key = |extension: &LeafExtension<'_>| {
        <&der::asn1::OctetStringRef>::from_der(extension.value)
            .is_ok_and(|id| id.as_bytes() == &hash.as_ref()[..KEY_ID_BYTES])
    };
    if !leaf.extensions_named(SUBJECT_KEY_ID).all(names_key) {
        return Err(BrokenRule::SubjectKeyId);
    }
    Ok(())
}

fn check_fields(leaf: &Leaf<'_>, lifetime_seconds: u64) -> Result<(), BrokenRule> {
    if leaf.version != VERSION_3 {
        return Err(BrokenRule::Version);
    }
    let positive = leaf.serial.first().is_some_and(|first| (0x01..0x80).contains(first));
    if leaf.serial.len() != super::serial::SERIAL_BYTES || !positive {
        return Err(BrokenRule::Serial);
    }
    if leaf.outer_algorithm.is_some_and(|outer| outer != leaf.algorithm) {
        return Err(BrokenRule::Algorithm);
    }
    let seconds = leaf.not_after.ms_since(leaf.not_before) / 1000;
    if seconds != lifetime_seconds {
        return Err(BrokenRule::Lifetime { seconds, expected_seconds: lifetime_seconds });
    }
    // An empty SEQUENCE OF RelativeDistinguishedName.
    if leaf.subject != [0x30, 0x00] {
        return Err(BrokenRule::Subject);
    }
    Ok(())
}

fn check_no_extension_twice(leaf: &Leaf<'_>) -> Result<(), BrokenRule> {
    for (at, extension) in leaf.extensions.iter().enumerate() {
        if leaf.extensions[..at].iter().any(|earlier| earlier.id == extension.id) {
            return Err(BrokenRule::RepeatedExtension { id: extension.id.to_string() });
        }
    }
    Ok(())
}

/// The one marker of the stage stands last, the other nowhere.
fn check_last_extension(leaf: &Leaf<'_>, stage: Stage) -> Result<(), BrokenRule> {
    let (marker, others): (_, &[ObjectIdentifier]) = match stage {
        Stage::Precertificate => (Some(POISON), &[SCT_LIST]),
        Stage::Certificate => (Some(SCT_LIST), &[POISON]),
        Stage::Unlogged => (None, &[SCT_LIST, POISON]),
    };
    let last = leaf.extensions.last();
    let stands_last = marker.is_none_or(|marker| last.is_some_and(|last| last.id == marker));
    let absent = |oid: &ObjectIdentifier| leaf.extensions_named(*oid).next().is_none();
    if !stands_last || !others.iter().all(absent) {
        return Err(BrokenRule::LastExtension);
    }
    // Only the poison, a verifier's duty to refuse, keeps a precertificate from being used.
    let sound = |poison: &LeafExtension<'_>| poison.critical && poison.value == POISON_VALUE;
    if leaf.extensions_named(POISON).all(sound) { Ok(()) } else { Err(BrokenRule::Poison) }
}

fn check_fixed_extensions(leaf: &Leaf<'_>) -> Result<(), BrokenRule> {
    for (name, oid, critical, value) in FIXED_EXTENSIONS {
        let as_fixed = leaf
            .extensions_named(oid)
            .any(|extension| extension.critical == critical && extension.value == value);
        if !as_fixed {
            return Err(BrokenRule::Extension { name });
        }
    }
    Ok(())
}

/// RFC 5280, 4.2.1.1 and 4.2.1.2: neither is critical; the subject's is an OCTET STRING, the
/// authority's a SEQUENCE of `keyIdentifier [0]` alone, for only together would the other two
/// fields be of use.
fn check_key_identifiers(leaf: &Leaf<'_>) -> Result<(), BrokenRule> {
    let subject_key_id = |value: &[u8]| {
        <&der::asn1::OctetStringRef>::from_der(value).is_ok_and(|id| !id.as_bytes().is_empty())
    };
    let authority_key_id = |value: &[u8]| {
        only_in_sequence(value).is_some_and(|(tag, id)| tag == TAG_KEY_IDENTIFIER && !id.is_empty())
    };
    let stands = |oid, sound: &dyn Fn(&[u8]) -> bool| {
        leaf.extensions_named(oid).any(|extension| !extension.critical && sound(extension.value))
    };
    if !stands(SUBJECT_KEY_ID, &subject_key_id) {
        return Err(BrokenRule::Extension { name: "subject key identifier" });
    }
    if !stands(AUTHORITY_KEY_ID, &authority_key_id) {
        return Err(BrokenRule::Extension { name: "authority key identifier" });
    }
    Ok(())
}

/// Critical, with exactly one name, which is a mailbox, a URI or an otherName: never a DNS name
/// or an IP address (NT-42). RFC 5280, 4.2.1.6: the first two are IA5String, and none is empty.
fn check_subject_alt_name(leaf: &Leaf<'_>) -> Result<(), BrokenRule> {
    let one_name = |value: &[u8]| {
        only_in_sequence(value).is_some_and(|(tag, name)| match tag {
            TAG_RFC822_NAME | TAG_URI => !name.is_empty() && name.is_ascii(),
            TAG_OTHER_NAME => is_user_name(name),
            _ => false,
        })
    };
    let as_the_profile_says = leaf
        .extensions_named(SUBJECT_ALT_NAME)
        .any(|extension| extension.critical && one_name(extension.value));
    if as_the_profile_says {
        Ok(())
    } else {
        Err(BrokenRule::Extension { name: "subject alternative name" })
    }
}

/// The content of an otherName: Sigstore's type, and one UTF8String that is not empty.
fn is_user_name(other_name: &[u8]) -> bool {
    let read = || {
        let mut reader = SliceReader::new(other_name)?;
        let kind = ObjectIdentifier::decode(&mut reader)?;
        let value = ContextSpecific::<Utf8StringRef<'_>>::decode_explicit(&mut reader, TAG_VALUE)?;
        reader.finish()?;
        Ok::<_, der::Error>((kind, value))
    };
    matches!(read(), Ok((USER_NAME, Some(text))) if !text.value.as_str().is_empty())
}

/// The issuer is always said, and everything that is said in the newer form is one text.
fn check_provenance(leaf: &Leaf<'_>) -> Result<(), BrokenRule> {
    if leaf.extensions_named(TOKEN_ISSUER).next().is_none() {
        return Err(BrokenRule::Extension { name: "issuer of the token" });
    }
    for extension in &leaf.extensions {
        let is_text = match extension.id.below(&FULCIO_ARC) {
            None => continue,
            Some([1..=6]) => str::from_utf8(extension.value).is_ok_and(|text| !text.is_empty()),
            Some(_) => {
                Utf8StringRef::from_der(extension.value).is_ok_and(|text| !text.as_str().is_empty())
            }
        };
        if !is_text {
            return Err(BrokenRule::Text { id: extension.id.to_string() });
        }
    }
    Ok(())
}

/// Only the extensions of the profile, and only three of them critical. BasicConstraints is not
/// among them, so a leaf is never a CA (RFC 5280, 4.2.1.9).
fn check_nothing_else(leaf: &Leaf<'_>) -> Result<(), BrokenRule> {
    for extension in &leaf.extensions {
        let id = extension.id;
        let is_one_of = |ids: &[ObjectIdentifier]| ids.iter().any(|one| id == *one);
        let is_sigstores = id.is_child_of(&FULCIO_ARC) && id != USER_NAME;
        if !is_one_of(&PROFILE) && !is_sigstores {
            return Err(BrokenRule::Forbidden { id: id.to_string() });
        }
        if extension.critical && !is_one_of(&[KEY_USAGE, SUBJECT_ALT_NAME, POISON]) {
            return Err(BrokenRule::Critical { id: id.to_string() });
        }
    }
    Ok(())
}

/// Tag octet and content of the one element of a SEQUENCE.
fn only_in_sequence(der: &[u8]) -> Option<(u8, &[u8])> {
    let sequence = der::AnyRef::from_der(der).ok().filter(|it| it.tag() == Tag::Sequence)?;
    let only = der::AnyRef::from_der(sequence.value()).ok()?;
    Some((*sequence.value().first()?, only.value()))
}

/// All that may stand in a leaf beside Sigstore's own.
const PROFILE: [ObjectIdentifier; 7] = [
    KEY_USAGE,
    EXT_KEY_USAGE,
    SUBJECT_KEY_ID,
    AUTHORITY_KEY_ID,
    SUBJECT_ALT_NAME,
    SCT_LIST,
    POISON,
];

/// Name, identifier, criticality and value of what never differs between leaves.
const FIXED_EXTENSIONS: [(&str, ObjectIdentifier, bool, &[u8]); 2] = [
    // BIT STRING with 7 unused bits and bit 0, digitalSignature.
    ("key usage", KEY_USAGE, true, &[0x03, 0x02, 0x07, 0x80]),
    // SEQUENCE of one OID: 1.3.6.1.5.5.7.3.3, codeSigning.
    (
        "extended key usage",
        EXT_KEY_USAGE,
        false,
        &[0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03],
    ),
];

/// GeneralName (RFC 5280, 4.2.1.6): `otherName [0]`, `rfc822Name [1]`,
/// `uniformResourceIdentifier [6]`.
const TAG_OTHER_NAME: u8 = 0xa0;
const TAG_RFC822_NAME: u8 = 0x81;
const TAG_URI: u8 = 0x86;
/// `value [0] EXPLICIT` of OtherName.
const TAG_VALUE: TagNumber = TagNumber(0);
/// `keyIdentifier [0] IMPLICIT OCTET STRING` of AuthorityKeyIdentifier (RFC 5280, 4.2.1.1).
const TAG_KEY_IDENTIFIER: u8 = 0x80;
/// ASN.1 NULL.
const POISON_VALUE: [u8; 2] = [0x05, 0x00];
const KEY_ID_BYTES: usize = 20;
/// X.509 counts versions from zero.
const VERSION_3: u8 = 2;

const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const EXT_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// RFC 6962, 3.1.
const POISON: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.3");
/// Sigstore's extensions stand directly below.
const FULCIO_ARC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1");
/// The kind of an otherName; no extension, although it stands among them.
const USER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
const TOKEN_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
