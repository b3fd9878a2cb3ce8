//! JWKS document -> keys that verify signatures.
//!
//! In: a key set (RFC 7517) and, later, a token. Out: whether one of the keys signed it. Knows
//! nothing of HTTP, caching and claims.
//!
//! The signature is checked by aws-lc-rs directly, for all ten algorithms on one path.
//! `jsonwebtoken` lacks ES512, so it would be a second path beside this one; and it takes the key
//! apart anew for each token, which costs 2 to 3 us more (RS256 20.0 against 16.9 us, ES256 52.7
//! against 50.9 us, tokens of 2.7 KB) than a `ParsedPublicKey` that is made once per key set. A whole
//! verification of such a token, with 35 claims, takes 12 us beside its signature.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::TokenAlgorithm;
use super::error::JsonFault;
use super::json;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
    skipped: usize,
}

/// What a key set says about a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One of the keys made it.
    Verified,
    /// No key of that id fits the algorithm.
    NoSuchKey,
    /// There is a key, and it did not sign this.
    WrongSignature,
}

impl KeySet {
    /// Reads a JWKS document.
    ///
    /// Keys that are not for us are skipped: other `kty` or `crv`, `use` other than `sig`,
    /// `key_ops` without `verify`, an `alg` that we do not know or that does not fit, coordinates
    /// or moduli that are no key. So one odd key does not take the others down.
    ///
    /// # Errors
    /// The document is no key set; it has more than [`MAX_KEYS`] keys; a private or secret key
    /// stands in it, which then everybody has (the other keys of such an issuer are not trusted
    /// either); two different keys have one `kid`; nothing usable is left.
    pub fn parse(jwks_json: &[u8]) -> Result<Self, KeySetError> {
        let document = json::parse_object(jwks_json, MAX_VALUES)
            .map_err(|fault| KeySetError::Json { fault })?;
        let Some(Value::Array(entries)) = document.get("keys") else {
            return Err(KeySetError::NoKeysMember);
        };
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooMany { keys: entries.len(), max: MAX_KEYS });
        }
        let mut set = Self { keys: Vec::new(), skipped: 0 };
        let mut by_id: HashMap<String, Material> = HashMap::new();
        for entry in entries {
            let Some(jwk) = entry.as_object() else {
                set.skipped += 1;
                continue;
            };
            if PRIVATE_MEMBERS.iter().any(|&member| jwk.contains_key(member)) {
                return Err(KeySetError::PrivateKey);
            }
            let Some((key, material)) = VerificationKey::from_jwk(jwk) else {
                set.skipped += 1;
                continue;
            };
            let Some(id) = &key.id else {
                set.keys.push(key);
                continue;
            };
            match by_id.get(id) {
                Some(known) if *known == material => set.skipped += 1,
                Some(_) => return Err(KeySetError::DuplicateKeyId),
                None => {
                    by_id.insert(id.clone(), material);
                    set.keys.push(key);
                }
            }
        }
        if set.keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(set) }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a key set without usable keys is an error.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys were passed over.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether the key named `key_id` made `signature`. A token that names none is tried with every
    /// key that fits its algorithm, if those are few; with more, an issuer has to name them.
    pub(super) fn verify(
        &self,
        algorithm: TokenAlgorithm,
        key_id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Verdict {
        let named = |key: &&VerificationKey| key_id.is_none() || key.id.as_deref() == key_id;
        let fitting = || self.keys.iter().filter(named).filter_map(|key| key.verifier(algorithm));
        if !(1..=MAX_KEYS_TRIED).contains(&fitting().take(MAX_KEYS_TRIED + 1).count()) {
            return Verdict::NoSuchKey;
        }
        if fitting().any(|verifier| verifier.verify_sig(message, signature).is_ok()) {
            Verdict::Verified
        } else {
            Verdict::WrongSignature
        }
    }
}

/// Why a key set is refused as a whole.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeySetError {
    /// Not JSON as we take it.
    #[error("the key set {fault}")]
    Json { fault: JsonFault },
    /// RFC 7517, section 5.
    #[error("the key set has no 'keys' array")]
    NoKeysMember,
    /// More keys than an issuer can need.
    #[error("the key set has {keys} keys, more than {max}")]
    TooMany { keys: usize, max: usize },
    /// Everybody who reads the key set can sign.
    #[error("the key set contains a private or secret key")]
    PrivateKey,
    /// A `kid` that means two keys means none.
    #[error("the key set has two different keys with the same 'kid'")]
    DuplicateKeyId,
    /// Nothing that verifies a signature.
    #[error("the key set has no key that can verify a signature")]
    NoUsableKey,
}

/// A public key, ready for each of the algorithms that it fits.
#[derive(Clone)]
struct VerificationKey {
    id: Option<String>,
    verifiers: Vec<(TokenAlgorithm, Arc<ParsedPublicKey>)>,
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.verifiers.iter().map(|(algorithm, _)| algorithm).collect();
        write!(f, "VerificationKey({:?}, {algorithms:?})", self.id)
    }
}

impl VerificationKey {
    /// `None`: not a key for us, see [`KeySet::parse`].
    fn from_jwk(jwk: &Map<String, Value>) -> Option<(Self, Material)> {
        if !is_for_verifying(jwk) {
            return None;
        }
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return None,
        };
        let material = Material::from_jwk(jwk)?;
        let mut algorithms = material.kind.algorithms().to_vec();
        if let Some(alg) = jwk.get("alg") {
            let only = TokenAlgorithm::from_name(alg.as_str()?)?;
            algorithms.retain(|&algorithm| algorithm == only);
        }
        let verifiers: Option<Vec<_>> = algorithms
            .into_iter()
            .map(|algorithm| {
                let parsed = ParsedPublicKey::new(verification(algorithm), &material.public_key);
                Some((algorithm, Arc::new(parsed.ok()?)))
            })
            .collect();
        let verifiers = verifiers.filter(|verifiers| !verifiers.is_empty())?;
        Some((Self { id, verifiers }, material))
    }

    fn verifier(&self, algorithm: TokenAlgorithm) -> Option<&ParsedPublicKey> {
        let fitting = self.verifiers.iter().find(|(fits, _)| *fits == algorithm);
        fitting.map(|(_, verifier)| verifier.as_ref())
    }
}

/// RFC 7517, sections 4.2 and 4.3.
fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    let used_for_signatures = jwk.get("use").is_none_or(|usage| usage == "sig");
    let may_verify = jwk.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|listed| listed.iter().any(|op| op == "verify"))
    });
    used_for_signatures && may_verify
}

/// A public key in the bytes that aws-lc-rs takes.
#[derive(PartialEq, Eq)]
struct Material {
    kind: KeyKind,
    public_key: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl KeyKind {
    /// RFC 7518, section 3.4: each ES algorithm has one curve, so a P-384 key makes no ES256.
    fn algorithms(self) -> &'static [TokenAlgorithm] {
        use TokenAlgorithm as A;
        match self {
            Self::Rsa => &[A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512],
            Self::P256 => &[A::Es256],
            Self::P384 => &[A::Es384],
            Self::P521 => &[A::Es512],
            Self::Ed25519 => &[A::EdDsa],
        }
    }
}

impl Material {
    fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |member: &str| jwk.get(member).and_then(Value::as_str);
        let bytes = |member: &str| URL_SAFE_NO_PAD.decode(text(member)?).ok();
        match text("kty")? {
            "RSA" => Self::rsa(&bytes("n")?, &bytes("e")?),
            "EC" => {
                let (kind, field_bytes) = match text("crv")? {
                    "P-256" => (KeyKind::P256, 32),
                    "P-384" => (KeyKind::P384, 48),
                    "P-521" => (KeyKind::P521, 66),
                    _ => return None,
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                // RFC 7518, section 6.2.1.2: always the full size of a coordinate.
                if x.len() != field_bytes || y.len() != field_bytes {
                    return None;
                }
                // SEC 1, section 2.3.3: an uncompressed point.
                Some(Self { kind, public_key: [&[4], &x[..], &y[..]].concat() })
            }
            "OKP" if text("crv")? == "Ed25519" => {
                let public_key = bytes("x").filter(|x| x.len() == 32)?;
                Some(Self { kind: KeyKind::Ed25519, public_key })
            }
            _ => None,
        }
    }

    /// Some issuers write a modulus with the leading zero that DER would have. RFC 7518, section 2,
    /// forbids it, but the number is the same.
    fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let strip = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().copied().skip_while(|&byte| byte == 0).collect()
        };
        let (n, e) = (strip(n), strip(e));
        // Checked here, because a parsed key may be of any size.
        let modulus_bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        if !RSA_MODULUS_BITS.contains(&modulus_bits) {
            return None;
        }
        let der = PublicKeyComponents { n, e }.as_der().ok()?;
        Some(Self { kind: KeyKind::Rsa, public_key: der.as_ref().to_vec() })
    }
}

fn verification(algorithm: TokenAlgorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        TokenAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        TokenAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        TokenAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        TokenAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        TokenAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        TokenAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        // RFC 7518, section 3.4: r and s side by side, not DER.
        TokenAlgorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        TokenAlgorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        TokenAlgorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        TokenAlgorithm::EdDsa => &signature::ED25519,
    }
}

/// RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// RFC 7518, section 3.3: 2048 at least. Above, verification gets slower and nothing else.
const RSA_MODULUS_BITS: RangeInclusive<usize> = 2048..=8192;

/// More than any issuer publishes; each costs memory and some microseconds at each refresh.
pub(super) const MAX_KEYS: usize = 100;
const MAX_VALUES: usize = 4096;

/// Signatures tried for a token without `kid`. Issuers that name no keys have one or two.
const MAX_KEYS_TRIED: usize = 8;

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
