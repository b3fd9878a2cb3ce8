//! Public keys from their numbers.
//!
//! In: a point, or modulus and exponent, as tokens and key services tell them. Out: DER
//! SubjectPublicKeyInfo. Checks nothing that [`super::VerifyingKey`] checks.

use const_oid::{ObjectIdentifier, db::rfc5912};
use der::{
    Encode,
    asn1::{AnyRef, BitStringRef, UintRef},
};
use spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Of an uncompressed point on a curve.
pub(super) fn of_ec(curve: ObjectIdentifier, point: &[u8]) -> Option<Vec<u8>> {
    of(rfc5912::ID_EC_PUBLIC_KEY, AnyRef::from(&curve), point)
}

/// Of an RSA key.
pub(super) fn of_rsa(modulus: &[u8], public_exponent: &[u8]) -> Option<Vec<u8>> {
    /// RFC 8017, A.1.1.
    #[derive(der::Sequence)]
    struct RsaPublicKey<'a> {
        modulus: UintRef<'a>,
        public_exponent: UintRef<'a>,
    }
    let modulus = UintRef::new(modulus).ok()?;
    let public_exponent = UintRef::new(public_exponent).ok()?;
    let key = RsaPublicKey { modulus, public_exponent }.to_der().ok()?;
    of(rfc5912::RSA_ENCRYPTION, AnyRef::NULL, &key)
}

fn of(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Option<Vec<u8>> {
    let algorithm = AlgorithmIdentifier { oid, parameters: Some(parameters) };
    let subject_public_key = BitStringRef::from_bytes(key).ok()?;
    SubjectPublicKeyInfo { algorithm, subject_public_key }.to_der().ok()
}
