//! A leaf read back from its bytes.
//!
//! In: DER of a leaf certificate, or of a TBS about to be signed. Out: a borrowed [`Leaf`], from
//! which the log's view of the certificate can be rebuilt; the rules for CA certificates read theirs
//! the same way. Knows nothing of the writer: reading
//! goes through the `der` crate and shares no code with [`super::template`], so that a mistake of
//! the writer does not hide itself.

use std::fmt;

use der::{
    AnyRef, Decode, Encode, Header, Length, Reader, SliceReader, Tag, TagNumber, Tagged,
    asn1::ObjectIdentifier,
};

use crate::time::Timestamp;

/// The fields of a leaf certificate or TBS, as slices of it.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// The whole TBSCertificate.
    pub tbs: &'a [u8],
    /// `AlgorithmIdentifier` beside the signature; `None` for a TBS that is not signed yet.
    pub outer_algorithm: Option<&'a [u8]>,
    /// 2 for X.509 v3.
    pub version: u8,
    /// Content octets of the serial number.
    pub serial: &'a [u8],
    /// `AlgorithmIdentifier` inside the TBS.
    pub algorithm: &'a [u8],
    /// DER `Name`.
    pub issuer: &'a [u8],
    /// First instant of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// DER `Name`.
    pub subject: &'a [u8],
    /// DER `SubjectPublicKeyInfo`.
    pub public_key: &'a [u8],
    /// In their order.
    pub extensions: Vec<LeafExtension<'a>>,
    /// Content octets of the TBS before its extensions.
    before_extensions: &'a [u8],
}

/// One extension of a [`Leaf`].
#[derive(Clone, Copy, Debug)]
pub struct LeafExtension<'a> {
    /// Which one.
    pub id: ExtensionId<'a>,
    /// Whether a verifier that does not know it must refuse the certificate.
    pub critical: bool,
    /// Content of its OCTET STRING.
    pub value: &'a [u8],
    /// The whole `Extension`.
    der: &'a [u8],
}

/// The identifier of an extension: the content octets of its OID, compared as they are. Every leaf
/// is read back, and taking each identifier apart into its arcs would be half of that work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionId<'a>(&'a [u8]);

impl<'a> ExtensionId<'a> {
    /// From content octets, whether or not they are an OID.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// What follows `arc`; `None` if it does not stand below.
    pub fn below(self, arc: &ObjectIdentifier) -> Option<&'a [u8]> {
        self.0.strip_prefix(arc.as_bytes())
    }

    /// Whether it stands directly below `arc`.
    pub fn is_child_of(self, arc: &ObjectIdentifier) -> bool {
        // Of an arc's octets the last one, and no other, has its high bit clear (X.690, 8.19.2).
        let is_one_arc = |octets: &[u8]| {
            octets.iter().position(|octet| *octet < 0x80) == octets.len().checked_sub(1)
        };
        self.below(arc).is_some_and(|rest| !rest.is_empty() && is_one_arc(rest))
    }
}

impl PartialEq<ObjectIdentifier> for ExtensionId<'_> {
    fn eq(&self, other: &ObjectIdentifier) -> bool {
        self.0 == other.as_bytes()
    }
}

/// Dotted, or in hex where the octets are no OID.
impl fmt::Display for ExtensionId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ObjectIdentifier::from_bytes(self.0) {
            Ok(oid) => oid.fmt(f),
            Err(_) => write!(f, "0x{}", hex::encode(self.0)),
        }
    }
}

/// The bytes are no leaf certificate in DER, or not one with exactly one SCT list.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// Not DER, or not the structure of RFC 5280, 4.1.
    #[error("not a DER certificate with extensions")]
    Structure {
        /// Where reading stopped.
        #[source]
        source: der::Error,
    },
    /// An extension that must be there once is there zero or several times.
    #[error("extension {oid} stands {count} times in the certificate, not once")]
    NotOnce {
        /// Which one.
        oid: ObjectIdentifier,
        /// How often it was found.
        count: usize,
    },
}

impl<'a> Leaf<'a> {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`LeafError::Structure`], also for bytes after the end.
    pub fn parse_certificate(der: &'a [u8]) -> Result<Self, LeafError> {
        read_certificate(der).map_err(|source| LeafError::Structure { source })
    }

    /// Reads a TBSCertificate.
    ///
    /// # Errors
    /// [`LeafError::Structure`], also for bytes after the end.
    pub fn parse_tbs(der: &'a [u8]) -> Result<Self, LeafError> {
        read_tbs(der).map_err(|source| LeafError::Structure { source })
    }

    /// All extensions with this identifier: one in a certificate that RFC 5280, 4.2 allows.
    pub fn extensions_named(
        &self,
        oid: ObjectIdentifier,
    ) -> impl Iterator<Item = &LeafExtension<'a>> {
        self.extensions.iter().filter(move |extension| extension.id == oid)
    }

    /// The encoded `SignedCertificateTimestampList` of RFC 6962, 3.3.
    ///
    /// # Errors
    /// There is no SCT list, or several, or it is no OCTET STRING.
    pub fn sct_list(&self) -> Result<&'a [u8], LeafError> {
        let extension = self.only(SCT_LIST)?;
        let inner = <&der::asn1::OctetStringRef>::from_der(extension.value)
            .map_err(|source| LeafError::Structure { source })?;
        Ok(inner.as_bytes())
    }

    /// What the log took up for this certificate: its TBS without the SCT list, all lengths
    /// written anew (RFC 6962, 3.2).
    ///
    /// # Errors
    /// There is no SCT list, or several.
    pub fn logged_tbs(&self) -> Result<Vec<u8>, LeafError> {
        self.only(SCT_LIST)?;
        let mut kept = Vec::with_capacity(self.tbs.len());
        for extension in self.extensions.iter().filter(|extension| extension.id != SCT_LIST) {
            kept.extend_from_slice(extension.der);
        }
        encode_tbs(self.before_extensions, &kept).map_err(|source| LeafError::Structure { source })
    }

    fn only(&self, oid: ObjectIdentifier) -> Result<&LeafExtension<'a>, LeafError> {
        let mut found = self.extensions_named(oid);
        match (found.next(), found.count()) {
            (Some(extension), 0) => Ok(extension),
            (first, others) => {
                Err(LeafError::NotOnce { oid, count: others + usize::from(first.is_some()) })
            }
        }
    }
}

/// RFC 5280, 4.1: `Certificate`.
fn read_certificate(der: &[u8]) -> der::Result<Leaf<'_>> {
    let mut fields = SliceReader::new(sequence_content(der)?)?;
    let tbs = fields.tlv_bytes()?;
    let outer_algorithm = fields.tlv_bytes()?;
    let signature = fields.tlv_bytes()?;
    der::asn1::BitStringRef::from_der(signature)?;
    fields.finish()?;
    Ok(Leaf { outer_algorithm: Some(outer_algorithm), ..read_tbs(tbs)? })
}

/// RFC 5280, 4.1: `TBSCertificate`, without the unique identifiers of v2.
fn read_tbs(der: &[u8]) -> der::Result<Leaf<'_>> {
    let content = sequence_content(der)?;
    let mut fields = SliceReader::new(content)?;
    let version = u8::from_der(tagged_content(&mut fields, 0)?)?;
    let serial = AnyRef::decode(&mut fields)?;
    serial.tag().assert_eq(Tag::Integer)?;
    let algorithm = fields.tlv_bytes()?;
    let issuer = fields.tlv_bytes()?;
    let validity =
        x509_cert::time::Validity::<x509_cert::certificate::Rfc5280>::decode(&mut fields)?;
    let subject = fields.tlv_bytes()?;
    let public_key = fields.tlv_bytes()?;
    let before_extensions = &content[..usize::try_from(fields.position())?];
    let extensions = read_extensions(tagged_content(&mut fields, 3)?)?;
    fields.finish()?;
    Ok(Leaf {
        tbs: der,
        outer_algorithm: None,
        version,
        serial: serial.value(),
        algorithm,
        issuer,
        not_before: instant(validity.not_before),
        not_after: instant(validity.not_after),
        subject,
        public_key,
        extensions,
        before_extensions,
    })
}

fn read_extensions(der: &[u8]) -> der::Result<Vec<LeafExtension<'_>>> {
    let mut list = SliceReader::new(sequence_content(der)?)?;
    let mut extensions = Vec::with_capacity(16);
    while !list.is_finished() {
        extensions.push(read_extension(list.tlv_bytes()?)?);
    }
    Ok(extensions)
}

fn read_extension(der: &[u8]) -> der::Result<LeafExtension<'_>> {
    let mut fields = SliceReader::new(sequence_content(der)?)?;
    let id = AnyRef::decode(&mut fields)?;
    id.tag().assert_eq(Tag::ObjectIdentifier)?;
    let critical = Option::<bool>::decode(&mut fields)?;
    if critical == Some(false) {
        // X.690, 11.5: a default value is not encoded.
        return Err(Tag::Boolean.value_error().into());
    }
    let value = AnyRef::decode(&mut fields)?;
    value.tag().assert_eq(Tag::OctetString)?;
    fields.finish()?;
    let (id, critical) = (ExtensionId::new(id.value()), critical.is_some());
    Ok(LeafExtension { id, critical, value: value.value(), der })
}

/// The content of exactly one SEQUENCE.
fn sequence_content(der: &[u8]) -> der::Result<&[u8]> {
    let sequence = AnyRef::from_der(der)?;
    sequence.tag().assert_eq(Tag::Sequence)?;
    Ok(sequence.value())
}

/// The content of `[number] EXPLICIT`.
fn tagged_content<'a>(fields: &mut SliceReader<'a>, number: u32) -> der::Result<&'a [u8]> {
    let tagged = AnyRef::decode(fields)?;
    tagged.tag().assert_eq(explicit_tag(number))?;
    Ok(tagged.value())
}

fn encode_tbs(before_extensions: &[u8], extensions: &[u8]) -> der::Result<Vec<u8>> {
    let list = wrap(Tag::Sequence, &[extensions])?;
    let explicit = wrap(explicit_tag(3), &[&list])?;
    wrap(Tag::Sequence, &[before_extensions, &explicit])
}

fn wrap(tag: Tag, parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    let content_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = Header::new(tag, Length::try_from(content_bytes)?).to_der()?;
    for part in parts {
        der.extend_from_slice(part);
    }
    Ok(der)
}

fn explicit_tag(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

fn instant(time: x509_cert::time::Time) -> Timestamp {
    Timestamp::from_unix_seconds(time.to_unix_duration().as_secs())
}

/// RFC 6962, 3.3.
pub const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
