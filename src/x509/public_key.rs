//! The public keys of clients.
//!
//! In: PEM or DER of a SubjectPublicKeyInfo. Out: a [`PublicKey`] of a permitted kind, parsed once
//! and ready to verify, or why not. Knows nothing of identities and of what was signed.
//!
//! The PEM around a key is read leniently, the DER inside strictly: one encoding per key, named
//! curves only, parameters exactly as the algorithm's specification has them. A key that
//! reaches a certificate is the key that was checked, octet by octet.

use std::fmt;

use aws_lc_rs::signature::{self, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use const_oid::{
    ObjectIdentifier,
    db::{rfc5912, rfc8410},
};
use der::{
    Decode, Sequence,
    asn1::{AnyRef, UintRef},
};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::{
    pem::{self, PemError},
    weak_rsa,
};

/// A client's public key, parsed and of a permitted kind.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: ClientKeyAlgorithm,
    spki_der: Vec<u8>,
    /// What aws-lc takes as the key: the point, the RSAPublicKey, or the 32 octets of Ed25519.
    key_octets: std::ops::Range<usize>,
    verifier: ParsedPublicKey,
}

/// The permitted kinds: those that Fulcio permits by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKeyAlgorithm {
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    /// 2048, 3072 or 4096 bits.
    Rsa {
        bits: u32,
    },
    Ed25519,
}

/// Why a key is not taken. The three variants are the three answers of the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It could not be parsed.
    #[error("{fault}")]
    Malformed { fault: MalformedKey },
    /// It could be parsed and is insecure.
    #[error("{weakness}")]
    Weak { weakness: WeakKey },
    /// It is sound, as far as we know, and of a kind that we do not certify.
    #[error(
        "{kind}; permitted are at most ECDSA on P-256, P-384 and P-521, RSA of 2048, 3072 and 4096 \
         bits, and Ed25519"
    )]
    NotPermitted { kind: String },
}

/// Why bytes are no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    #[error("it is empty")]
    Empty,
    #[error("it has {bytes} bytes, more than {limit_bytes}")]
    TooLong { bytes: usize, limit_bytes: usize },
    #[error("{0}")]
    Pem(PemError),
    #[error("there are {blocks} PEM blocks, and only one can be meant")]
    SeveralBlocks { blocks: usize },
    #[error("the PEM block is a '{label}', not a 'PUBLIC KEY'")]
    Label { label: String },
    #[error("it is not a SubjectPublicKeyInfo in DER")]
    Der,
    #[error("the parameters of {algorithm} are not as its specification has them")]
    Parameters { algorithm: &'static str },
    #[error("it is not an uncompressed point on {curve}")]
    Point { curve: &'static str },
    #[error("it is not an RSAPublicKey in DER")]
    Rsa,
    #[error("it is not the encoding of an Ed25519 point")]
    Ed25519,
}

/// Why a well-formed key is insecure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    #[error("an RSA key of {bits} bits is too short, 2048 are needed")]
    RsaTooShort { bits: u64 },
    #[error("an RSA key of {bits} bits is none that tools agree on: 2048, 3072 or 4096")]
    RsaSize { bits: u64 },
    #[error("the curve P-224 gives less than 128 bits of security")]
    EcP224,
    #[error("the RSA modulus is even")]
    RsaEvenModulus,
    #[error("the RSA public exponent is not 65537")]
    RsaExponent,
    #[error("the RSA modulus is divisible by {factor}")]
    RsaSmallFactor { factor: u32 },
    #[error("the two primes of the RSA key are so close together that anybody can find them")]
    RsaClosePrimes,
    #[error(
        "the RSA key was made by a faulty library, and anybody can find its primes (ROCA, \
         CVE-2017-15361)"
    )]
    RsaRoca,
    #[error("the Ed25519 point is of low order, which any signature satisfies")]
    Ed25519LowOrder,
}

impl PublicKey {
    /// Reads a key as PEM (lenient: any line length, no newline at the end) or as raw DER.
    ///
    /// # Errors
    /// It is malformed, weak, or of a kind that is not permitted.
    pub fn parse(pem_or_der: &[u8]) -> Result<Self, KeyError> {
        match pem_or_der.len() {
            0 => return Err(MalformedKey::Empty.into()),
            bytes if bytes > MAX_INPUT_BYTES => {
                return Err(MalformedKey::TooLong { bytes, limit_bytes: MAX_INPUT_BYTES }.into());
            }
            _ => {}
        }
        if !pem::looks_like_pem(pem_or_der) {
            return Self::parse_der(pem_or_der);
        }
        let blocks = pem::blocks(pem_or_der).map_err(MalformedKey::Pem)?;
        match blocks.as_slice() {
            [block] if block.label == "PUBLIC KEY" => Self::parse_der(&block.der),
            [block] => Err(MalformedKey::Label { label: block.label.clone() }.into()),
            several => Err(MalformedKey::SeveralBlocks { blocks: several.len() }.into()),
        }
    }

    /// Reads a key as the DER of a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_der(spki_der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(spki_der).map_err(|_| MalformedKey::Der)?;
        // A key is a whole number of octets in every algorithm we know.
        let octets = spki.subject_public_key.as_bytes().ok_or(MalformedKey::Der)?;
        let algorithm = match spki.algorithm.oid {
            rfc5912::ID_EC_PUBLIC_KEY => ec_algorithm(&spki.algorithm)?,
            rfc5912::RSA_ENCRYPTION => rsa_algorithm(&spki.algorithm, octets)?,
            rfc8410::ID_ED_25519 => ed25519_algorithm(&spki.algorithm, octets)?,
            other => {
                return Err(KeyError::NotPermitted { kind: kind_of_key(other) });
            }
        };
        let verifier = parse_for_verifying(algorithm, octets)?;
        Ok(Self {
            algorithm,
            // The key is the last field of the structure, up to its end.
            key_octets: spki_der.len() - octets.len()..spki_der.len(),
            spki_der: spki_der.to_vec(),
            verifier,
        })
    }

    /// Which of the permitted kinds.
    pub fn algorithm(&self) -> ClientKeyAlgorithm {
        self.algorithm
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The content of the BIT STRING: what a subject key identifier is the hash of (RFC 5280,
    /// 4.2.1.2).
    pub fn key_octets(&self) -> &[u8] {
        &self.spki_der[self.key_octets.clone()]
    }

    /// Verifies with the key's default algorithm, as clients sign: P-256/SHA-256, P-384/SHA-384 and
    /// P-521/SHA-512 as ASN.1, RSA PKCS #1 v1.5 with SHA-256, Ed25519 pure.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verify_sig(message, signature).is_ok()
    }

    /// Verifies with the algorithm that a CSR or certificate names; `false` also where that
    /// algorithm does not go with the key.
    pub fn verifies_as(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> bool {
        if scheme == self.algorithm.default_scheme() {
            return self.verifies(message, signature);
        }
        verification_algorithm(self.algorithm, scheme).is_some_and(|algorithm| {
            UnparsedPublicKey::new(algorithm, self.key_octets()).verify(message, signature).is_ok()
        })
    }
}

/// Two keys are equal if their encodings are: there is one encoding per key.
impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki_der == other.spki_der
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("algorithm", &self.algorithm)
            .field("spki_der", &hex::encode(&self.spki_der))
            .finish_non_exhaustive()
    }
}

impl ClientKeyAlgorithm {
    /// What [`PublicKey::verifies`] verifies with.
    pub fn default_scheme(self) -> SignatureScheme {
        match self {
            Self::EcdsaP256 => SignatureScheme::Ecdsa(Hash::Sha256),
            Self::EcdsaP384 => SignatureScheme::Ecdsa(Hash::Sha384),
            Self::EcdsaP521 => SignatureScheme::Ecdsa(Hash::Sha512),
            Self::Rsa { .. } => SignatureScheme::RsaPkcs1(Hash::Sha256),
            Self::Ed25519 => SignatureScheme::Ed25519,
        }
    }
}

/// For people and labels: `ECDSA P-256`, `RSA 3072`, `Ed25519`.
impl fmt::Display for ClientKeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

impl From<MalformedKey> for KeyError {
    fn from(fault: MalformedKey) -> Self {
        Self::Malformed { fault }
    }
}

impl From<WeakKey> for KeyError {
    fn from(weakness: WeakKey) -> Self {
        Self::Weak { weakness }
    }
}

/// A hash function that goes with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A signature algorithm that CSRs and CA certificates may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    Ecdsa(Hash),
    RsaPkcs1(Hash),
    Ed25519,
}

/// For people: what is not said by the key itself.
impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa(Hash::Sha256) | Self::RsaPkcs1(Hash::Sha256) => "SHA-256",
            Self::Ecdsa(Hash::Sha384) | Self::RsaPkcs1(Hash::Sha384) => "SHA-384",
            Self::Ecdsa(Hash::Sha512) | Self::RsaPkcs1(Hash::Sha512) => "SHA-512",
            Self::Ed25519 => "no hash",
        })
    }
}

impl SignatureScheme {
    /// The scheme that an AlgorithmIdentifier names; `None` if it names another one or its
    /// parameters are not exactly as specified: absent for ECDSA (RFC 5758, 3.2) and Ed25519
    /// (RFC 8410, 3), NULL for RSA (RFC 4055, 5).
    pub fn from_identifier(identifier: &AlgorithmIdentifierRef<'_>) -> Option<Self> {
        let (scheme, null_expected) = match identifier.oid {
            rfc5912::ECDSA_WITH_SHA_256 => (Self::Ecdsa(Hash::Sha256), false),
            rfc5912::ECDSA_WITH_SHA_384 => (Self::Ecdsa(Hash::Sha384), false),
            rfc5912::ECDSA_WITH_SHA_512 => (Self::Ecdsa(Hash::Sha512), false),
            rfc5912::SHA_256_WITH_RSA_ENCRYPTION => (Self::RsaPkcs1(Hash::Sha256), true),
            rfc5912::SHA_384_WITH_RSA_ENCRYPTION => (Self::RsaPkcs1(Hash::Sha384), true),
            rfc5912::SHA_512_WITH_RSA_ENCRYPTION => (Self::RsaPkcs1(Hash::Sha512), true),
            rfc8410::ID_ED_25519 => (Self::Ed25519, false),
            _ => return None,
        };
        let expected = null_expected.then_some(AnyRef::NULL);
        (identifier.parameters == expected).then_some(scheme)
    }
}

/// RFC 5480, 2.1.1: parameters are a named curve, never the curve's numbers and never inherited.
fn ec_algorithm(identifier: &AlgorithmIdentifierRef<'_>) -> Result<ClientKeyAlgorithm, KeyError> {
    let curve = identifier
        .parameters
        .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
        .ok_or(MalformedKey::Parameters { algorithm: "an EC key" })?;
    match curve {
        rfc5912::SECP_256_R_1 => Ok(ClientKeyAlgorithm::EcdsaP256),
        rfc5912::SECP_384_R_1 => Ok(ClientKeyAlgorithm::EcdsaP384),
        rfc5912::SECP_521_R_1 => Ok(ClientKeyAlgorithm::EcdsaP521),
        rfc5912::SECP_224_R_1 => Err(WeakKey::EcP224.into()),
        other => Err(KeyError::NotPermitted { kind: format!("ECDSA on {}", kind_of_curve(other)) }),
    }
}

/// RFC 8017, A.1.1, with the sizes and the exponent that are permitted.
fn rsa_algorithm(
    identifier: &AlgorithmIdentifierRef<'_>,
    octets: &[u8],
) -> Result<ClientKeyAlgorithm, KeyError> {
    if identifier.parameters != Some(AnyRef::NULL) {
        return Err(MalformedKey::Parameters { algorithm: "an RSA key" }.into());
    }
    let key = RsaPublicKey::from_der(octets).map_err(|_| MalformedKey::Rsa)?;
    let modulus = key.modulus.as_bytes();
    let leading_zero_bits = modulus.first().map_or(0, |octet| octet.leading_zeros());
    let bits = 8 * modulus.len() as u64 - u64::from(leading_zero_bits);
    if bits < 2048 {
        return Err(WeakKey::RsaTooShort { bits }.into());
    }
    let bits = match bits {
        2048 => 2048,
        3072 => 3072,
        4096 => 4096,
        other => {
            return Err(WeakKey::RsaSize { bits: other }.into());
        }
    };
    if modulus.last().is_some_and(|octet| octet % 2 == 0) {
        return Err(WeakKey::RsaEvenModulus.into());
    }
    if key.exponent.as_bytes() != [0x01, 0x00, 0x01] {
        return Err(WeakKey::RsaExponent.into());
    }
    match weak_rsa::weakness(modulus) {
        Some(weakness) => Err(weakness.into()),
        None => Ok(ClientKeyAlgorithm::Rsa { bits }),
    }
}

/// RFC 8410, section 3 and 4. That the octets decode to a point is found when a signature is
/// verified, so an encoding of no point certifies nothing.
fn ed25519_algorithm(
    identifier: &AlgorithmIdentifierRef<'_>,
    octets: &[u8],
) -> Result<ClientKeyAlgorithm, KeyError> {
    if identifier.parameters.is_some() {
        return Err(MalformedKey::Parameters { algorithm: "an Ed25519 key" }.into());
    }
    let mut y: [u8; 32] = octets.try_into().map_err(|_| MalformedKey::Ed25519)?;
    y[31] &= 0x7f; // the sign of x
    // RFC 8032, 5.1.3: y is below p = 2^255 - 19, or there would be two encodings of one point.
    if y[31] == 0x7f && y[1..31].iter().all(|octet| *octet == 0xff) && y[0] >= 0xed {
        return Err(MalformedKey::Ed25519.into());
    }
    if ED25519_LOW_ORDER_Y.contains(&y) {
        return Err(WeakKey::Ed25519LowOrder.into());
    }
    Ok(ClientKeyAlgorithm::Ed25519)
}

/// Hands the key to aws-lc, which checks that a point is on its curve and not the identity.
fn parse_for_verifying(
    algorithm: ClientKeyAlgorithm,
    octets: &[u8],
) -> Result<ParsedPublicKey, MalformedKey> {
    let (point_bytes, fault) = match algorithm {
        ClientKeyAlgorithm::EcdsaP256 => (Some(65), MalformedKey::Point { curve: "P-256" }),
        ClientKeyAlgorithm::EcdsaP384 => (Some(97), MalformedKey::Point { curve: "P-384" }),
        ClientKeyAlgorithm::EcdsaP521 => (Some(133), MalformedKey::Point { curve: "P-521" }),
        ClientKeyAlgorithm::Rsa { .. } => (None, MalformedKey::Rsa),
        ClientKeyAlgorithm::Ed25519 => (None, MalformedKey::Ed25519),
    };
    // SEC 1, 2.3.3: 04, x, y. Compressed points would be a second encoding of a key.
    if point_bytes.is_some_and(|bytes| octets.len() != bytes || octets.first() != Some(&4)) {
        return Err(fault);
    }
    verification_algorithm(algorithm, algorithm.default_scheme())
        .and_then(|verification| ParsedPublicKey::new(verification, octets).ok())
        .ok_or(fault)
}

/// Which of aws-lc's algorithms is a key of this kind under this scheme; `None` for a mismatch.
fn verification_algorithm(
    key: ClientKeyAlgorithm,
    scheme: SignatureScheme,
) -> Option<&'static dyn VerificationAlgorithm> {
    use ClientKeyAlgorithm as K;
    use Hash::{Sha256, Sha384, Sha512};
    use SignatureScheme as S;
    Some(match (key, scheme) {
        (K::EcdsaP256, S::Ecdsa(Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (K::EcdsaP256, S::Ecdsa(Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
        (K::EcdsaP256, S::Ecdsa(Sha512)) => &signature::ECDSA_P256_SHA512_ASN1,
        (K::EcdsaP384, S::Ecdsa(Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
        (K::EcdsaP384, S::Ecdsa(Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (K::EcdsaP384, S::Ecdsa(Sha512)) => &signature::ECDSA_P384_SHA512_ASN1,
        (K::EcdsaP521, S::Ecdsa(Sha256)) => &signature::ECDSA_P521_SHA256_ASN1,
        (K::EcdsaP521, S::Ecdsa(Sha384)) => &signature::ECDSA_P521_SHA384_ASN1,
        (K::EcdsaP521, S::Ecdsa(Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
        (K::Rsa { .. }, S::RsaPkcs1(Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (K::Rsa { .. }, S::RsaPkcs1(Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (K::Rsa { .. }, S::RsaPkcs1(Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (K::Ed25519, S::Ed25519) => &signature::ED25519,
        _ => return None,
    })
}

/// A kind of key that is not permitted, by the name its owner knows it by.
fn kind_of_key(algorithm: ObjectIdentifier) -> String {
    match algorithm {
        rfc5912::ID_RSASSA_PSS => "RSASSA-PSS".to_owned(),
        rfc5912::ID_DSA => "DSA".to_owned(),
        rfc8410::ID_ED_448 => "Ed448".to_owned(),
        rfc8410::ID_X_25519 => "X25519".to_owned(),
        other => format!("the key algorithm {other}"),
    }
}

/// A curve that is not permitted, by name.
fn kind_of_curve(curve: ObjectIdentifier) -> String {
    match curve {
        SECP_256_K_1 => "secp256k1".to_owned(),
        other => format!("the curve {other}"),
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`, both positive.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// Ours: a key of 4096 bits has 800 characters of PEM; the rest is room for text around it.
const MAX_INPUT_BYTES: usize = 16 * 1024;

/// SEC 2, 2.4.1.
const SECP_256_K_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");

/// The y coordinates, little-endian, of the eight points whose order divides 8: 1 (the identity),
/// 0 (order 4), the two of order 8, and -1 (order 2).
const ED25519_LOW_ORDER_Y: [[u8; 32]; 5] = [
    little_endian("0000000000000000000000000000000000000000000000000000000000000000"),
    little_endian("0100000000000000000000000000000000000000000000000000000000000000"),
    little_endian("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    little_endian("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    little_endian("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
];

/// Hexadecimal text as octets, at compile time.
const fn little_endian(hex: &str) -> [u8; 32] {
    const fn digit(character: u8) -> u8 {
        if character.is_ascii_digit() { character - b'0' } else { character - b'a' + 10 }
    }
    let (hex, mut octets, mut at) = (hex.as_bytes(), [0; 32], 0);
    while at < octets.len() {
        octets[at] = digit(hex[2 * at]) << 4 | digit(hex[2 * at + 1]);
        at += 1;
    }
    octets
}

#[cfg(test)]
#[path = "public_key_tests.rs"]
mod tests;
