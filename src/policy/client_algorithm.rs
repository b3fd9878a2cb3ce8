//! The signing algorithms of clients, under the names of Sigstore's algorithm registry, which are
//! also the values of Fulcio's `--client-signing-algorithms`.
//!
//! In: a name, or a [`ProvenKey`]. Out: a [`ClientAlgorithm`], or whether it is on the list. Knows
//! nothing of files and identities.

use std::{fmt, str::FromStr};

use crate::{
    proof::ProvenKey,
    x509::public_key::{ClientKeyAlgorithm, Hash, SignatureScheme},
};

/// A kind of key together with what its owner signs: the proof of possession, or the request.
///
/// Without a request the proof has the key's one default algorithm, so that a name such as
/// `ecdsa-sha2-256-nistp384` can only be met by a request signed that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAlgorithm {
    name: &'static str,
    key: ClientKeyAlgorithm,
    scheme: SignatureScheme,
}

impl ClientAlgorithm {
    /// The name in the registry.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Every name that stands for something we certify, in the registry's order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CERTIFIED.iter().map(|algorithm| algorithm.name)
    }
}

/// Why a name cannot be on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientAlgorithmError {
    #[error("no algorithm has this name")]
    Unknown,
    /// It has a place in the registry, and no request could ever be meant by it.
    #[error("never certified: {reason}")]
    NeverCertified { reason: &'static str },
}

impl FromStr for ClientAlgorithm {
    type Err = ClientAlgorithmError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some((_, reason)) = NEVER_CERTIFIED.iter().find(|(never, _)| *never == name) {
            return Err(ClientAlgorithmError::NeverCertified { reason });
        }
        let certified = CERTIFIED.iter().find(|algorithm| algorithm.name == name);
        certified.copied().ok_or(ClientAlgorithmError::Unknown)
    }
}

/// The algorithms that a server permits. An empty list permits none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAlgorithms {
    permitted: Vec<ClientAlgorithm>,
}

impl ClientAlgorithms {
    /// These and no others.
    pub fn new(permitted: Vec<ClientAlgorithm>) -> Self {
        Self { permitted }
    }

    /// Their names in the registry.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.permitted.iter().map(|algorithm| algorithm.name)
    }

    /// Whether a key may be certified on the proof that its owner gave.
    pub fn permit(&self, key: &ProvenKey) -> bool {
        let (algorithm, scheme) = (key.key().algorithm(), key.scheme());
        self.permitted.iter().any(|known| known.key == algorithm && known.scheme == scheme)
    }
}

/// What Fulcio permits where its flag is not given: each kind of key with its own algorithm.
impl Default for ClientAlgorithms {
    fn default() -> Self {
        let own = |algorithm: &&ClientAlgorithm| algorithm.scheme == algorithm.key.default_scheme();
        Self { permitted: CERTIFIED.iter().filter(own).copied().collect() }
    }
}

/// The names, as the configuration lists them.
impl fmt::Display for ClientAlgorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

const fn ecdsa(name: &'static str, key: ClientKeyAlgorithm, hash: Hash) -> ClientAlgorithm {
    ClientAlgorithm { name, key, scheme: SignatureScheme::Ecdsa(hash) }
}

const fn rsa(name: &'static str, bits: u32) -> ClientAlgorithm {
    let scheme = SignatureScheme::RsaPkcs1(Hash::Sha256);
    ClientAlgorithm { name, key: ClientKeyAlgorithm::Rsa { bits }, scheme }
}

/// The registry, as far as requests can meet it.
const CERTIFIED: [ClientAlgorithm; 9] = [
    rsa("rsa-sign-pkcs1-2048-sha256", 2048),
    rsa("rsa-sign-pkcs1-3072-sha256", 3072),
    rsa("rsa-sign-pkcs1-4096-sha256", 4096),
    ecdsa("ecdsa-sha2-256-nistp256", ClientKeyAlgorithm::EcdsaP256, Hash::Sha256),
    ecdsa("ecdsa-sha2-384-nistp384", ClientKeyAlgorithm::EcdsaP384, Hash::Sha384),
    ecdsa("ecdsa-sha2-256-nistp384", ClientKeyAlgorithm::EcdsaP384, Hash::Sha256),
    ecdsa("ecdsa-sha2-512-nistp521", ClientKeyAlgorithm::EcdsaP521, Hash::Sha512),
    ecdsa("ecdsa-sha2-256-nistp521", ClientKeyAlgorithm::EcdsaP521, Hash::Sha256),
    ClientAlgorithm {
        name: "ed25519",
        key: ClientKeyAlgorithm::Ed25519,
        scheme: SignatureScheme::Ed25519,
    },
];

/// The rest of the registry.
const NEVER_CERTIFIED: [(&str, &str); 4] = [
    ("rsa-sign-pss-2048-sha256", PSS),
    ("rsa-sign-pss-3072-sha256", PSS),
    ("rsa-sign-pss-4096-sha256", PSS),
    ("ed25519-ph", "Ed25519 keys prove themselves without a hash; the name for that is ed25519"),
];
const PSS: &str = "RSA keys prove themselves with PKCS #1 v1.5; its names are rsa-sign-pkcs1-…, \
                   and what a certified key signs with later is its owner's choice";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_fulcios() {
        assert_eq!(
            ClientAlgorithms::default().to_string(),
            "rsa-sign-pkcs1-2048-sha256, rsa-sign-pkcs1-3072-sha256, rsa-sign-pkcs1-4096-sha256, \
             ecdsa-sha2-256-nistp256, ecdsa-sha2-384-nistp384, ecdsa-sha2-512-nistp521, ed25519"
        );
    }

    #[test]
    fn every_name_is_read_back_and_stands_for_one_algorithm() {
        for (index, algorithm) in CERTIFIED.iter().enumerate() {
            assert_eq!(algorithm.name().parse(), Ok(*algorithm));
            for other in &CERTIFIED[index + 1..] {
                assert_ne!(other.name, algorithm.name);
                assert_ne!((other.key, other.scheme), (algorithm.key, algorithm.scheme));
            }
        }
    }

    #[test]
    fn a_name_that_no_request_can_meet_is_refused_with_the_reason() {
        for (name, word) in [
            ("rsa-sign-pss-2048-sha256", "PKCS #1"),
            ("rsa-sign-pss-3072-sha256", "PKCS #1"),
            ("rsa-sign-pss-4096-sha256", "PKCS #1"),
            ("ed25519-ph", "without a hash"),
        ] {
            let error = name.parse::<ClientAlgorithm>().unwrap_err();
            assert!(matches!(error, ClientAlgorithmError::NeverCertified { .. }), "{name}");
            assert!(error.to_string().contains(word), "{error}");
        }
        for name in ["", "ED25519", "ed25519 ", "ecdsa-sha2-224-nistp224", "rsa"] {
            let parsed = name.parse::<ClientAlgorithm>();
            assert_eq!(parsed, Err(ClientAlgorithmError::Unknown), "{name}");
        }
    }
}
