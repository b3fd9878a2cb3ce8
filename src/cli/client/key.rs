//! A key pair of a client's own, and the two ways to show that one holds it.
//!
//! In: an algorithm. Out: the public key, a proof of possession or a CSR, and the private key as
//! PEM for its one file. Knows nothing of tokens, HTTP and certificates.

use std::fmt;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair,
    },
};
use rcgen::{CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256};
use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use crate::secret::Secret;

/// What kind of key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyAlgorithm {
    /// ECDSA over NIST P-256 with SHA-256: what every Sigstore client makes
    P256,
    /// ECDSA over NIST P-384 with SHA-384
    P384,
    /// Ed25519
    Ed25519,
}

/// A fresh private key that lives in this process only, unless [`ClientKey::private_pem`] is
/// written somewhere.
pub struct ClientKey {
    pair: Pair,
    /// DER SubjectPublicKeyInfo.
    spki_der: Vec<u8>,
}

enum Pair {
    Ecdsa(Box<EcdsaKeyPair>, KeyAlgorithm),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Pair {
    /// Each parser takes its own kind only; the first that takes the key says what it is.
    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        for (algorithm, signing) in [
            (KeyAlgorithm::P256, &ECDSA_P256_SHA256_ASN1_SIGNING),
            (KeyAlgorithm::P384, &ECDSA_P384_SHA384_ASN1_SIGNING),
        ] {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, der) {
                return Some(Self::Ecdsa(Box::new(pair), algorithm));
            }
        }
        // OpenSSL writes no public key beside the private one, so it cannot be compared.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
        Some(Self::Ed25519(Box::new(pair)))
    }
}

impl ClientKey {
    /// Makes a key from the operating system's randomness.
    ///
    /// # Errors
    /// The cryptographic library could not make a key.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, ClientKeyError> {
        let pair = match algorithm {
            KeyAlgorithm::P256 => ecdsa_pair(algorithm, &ECDSA_P256_SHA256_ASN1_SIGNING)?,
            KeyAlgorithm::P384 => ecdsa_pair(algorithm, &ECDSA_P384_SHA384_ASN1_SIGNING)?,
            KeyAlgorithm::Ed25519 => {
                Pair::Ed25519(Box::new(Ed25519KeyPair::generate().map_err(|_| GENERATE)?))
            }
        };
        Self::of(pair)
    }

    /// Takes a key that is there: one PEM `PRIVATE KEY` block (PKCS #8, not encrypted).
    ///
    /// # Errors
    /// No such block, or a key of a kind that [`KeyAlgorithm`] does not have.
    pub fn from_pem(text: &Secret) -> Result<Self, ClientKeyError> {
        let (label, der) =
            der::pem::decode_vec(text.expose().trim_ascii()).map_err(|_| ClientKeyError::Pem)?;
        let der = Secret::new(der);
        if label != PRIVATE_KEY {
            return Err(ClientKeyError::Label { label: label.to_owned() });
        }
        Self::of(Pair::from_pkcs8(der.expose()).ok_or(ClientKeyError::Kind)?)
    }

    fn of(pair: Pair) -> Result<Self, ClientKeyError> {
        let spki = match &pair {
            Pair::Ecdsa(pair, _) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        let spki_der = spki.map_err(|_| ENCODE)?.as_ref().to_vec();
        Ok(Self { pair, spki_der })
    }

    /// DER SubjectPublicKeyInfo: what the certificate must be for.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The public key as a PEM `PUBLIC KEY` block.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki_der)
    }

    /// The private key as a PEM `PRIVATE KEY` block (PKCS #8, not encrypted).
    ///
    /// # Errors
    /// The key could not be encoded.
    pub fn private_pem(&self) -> Result<Secret, ClientKeyError> {
        Ok(Secret::from(pem(PRIVATE_KEY, self.pkcs8()?.expose())))
    }

    /// Signs the claim that the token's identity provider vouches for, with the scheme that
    /// the API binds to the kind of key (docs/api.md).
    ///
    /// # Errors
    /// The key did not sign.
    pub fn proof_of_possession(&self, challenge: &str) -> Result<Vec<u8>, ClientKeyError> {
        match &self.pair {
            Pair::Ecdsa(pair, _) => pair
                .sign(&SystemRandom::new(), challenge.as_bytes())
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SIGN),
            Pair::Ed25519(pair) => Ok(pair.sign(challenge.as_bytes()).as_ref().to_vec()),
        }
    }

    /// A PEM `CERTIFICATE REQUEST` with an empty subject: only its key and its signature count.
    ///
    /// # Errors
    /// The request could not be built or signed.
    pub fn signing_request(&self) -> Result<String, ClientKeyError> {
        let algorithm = match &self.pair {
            Pair::Ecdsa(_, KeyAlgorithm::P384) => &PKCS_ECDSA_P384_SHA384,
            Pair::Ecdsa(..) => &PKCS_ECDSA_P256_SHA256,
            Pair::Ed25519(_) => &PKCS_ED25519,
        };
        let failed = |source| ClientKeyError::SigningRequest { source };
        let pkcs8 = self.pkcs8()?;
        let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.expose().into(), algorithm)
            .map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)
    }

    fn pkcs8(&self) -> Result<Secret, ClientKeyError> {
        // Version 1: OpenSSL reads no PKCS #8 that carries the public key along.
        let document = match &self.pair {
            Pair::Ecdsa(pair, _) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
        };
        Ok(Secret::new(document.map_err(|_| ENCODE)?.as_ref().to_vec()))
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").field("spki_der", &self.spki_der).finish_non_exhaustive()
    }
}

/// Why a client key could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ClientKeyError {
    /// aws-lc tells no reasons.
    #[error("the cryptographic library could not {operation}")]
    Library {
        /// What it was asked for.
        operation: &'static str,
    },
    /// Not what a key file holds.
    #[error("it is not one PEM block")]
    Pem,
    /// Another PEM block than one with a private key in the clear.
    #[error("it holds a '{label}', and must hold a 'PRIVATE KEY' (PKCS #8, not encrypted)")]
    Label {
        /// As in the file.
        label: String,
    },
    /// A key that we cannot use.
    #[error("its key is not of a kind that can be used: P-256, P-384 or Ed25519")]
    Kind,
    /// The CSR could not be made.
    #[error("the certificate signing request could not be made")]
    SigningRequest {
        /// What rcgen says.
        #[source]
        source: rcgen::Error,
    },
}

fn ecdsa_pair(
    algorithm: KeyAlgorithm,
    signing: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm,
) -> Result<Pair, ClientKeyError> {
    let pair = EcdsaKeyPair::generate(signing).map_err(|_| GENERATE)?;
    Ok(Pair::Ecdsa(Box::new(pair), algorithm))
}

/// RFC 7468 text of one block, 64 columns.
pub(crate) fn pem(label: &'static str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

const PRIVATE_KEY: &str = "PRIVATE KEY";
const GENERATE: ClientKeyError = ClientKeyError::Library { operation: "make a key pair" };
const ENCODE: ClientKeyError = ClientKeyError::Library { operation: "encode the key" };
const SIGN: ClientKeyError = ClientKeyError::Library { operation: "sign with the key" };

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey,
        VerificationAlgorithm,
    };

    use super::*;

    const ALL: [(KeyAlgorithm, &dyn VerificationAlgorithm); 3] = [
        (KeyAlgorithm::P256, &ECDSA_P256_SHA256_ASN1),
        (KeyAlgorithm::P384, &ECDSA_P384_SHA384_ASN1),
        (KeyAlgorithm::Ed25519, &ED25519),
    ];

    #[test]
    fn a_proof_verifies_under_its_own_key_and_over_its_own_challenge_only() {
        for (algorithm, verification) in ALL {
            let key = ClientKey::generate(algorithm).unwrap();
            let other = ClientKey::generate(algorithm).unwrap();
            let proof = key.proof_of_possession("you@example.com").unwrap();
            let verify = |key: &ClientKey, challenge: &str| {
                let parsed = UnparsedPublicKey::new(verification, key.spki_der());
                parsed.verify(challenge.as_bytes(), &proof).is_ok()
            };
            assert!(verify(&key, "you@example.com"), "{algorithm:?}");
            assert!(!verify(&other, "you@example.com"), "{algorithm:?}");
            assert!(!verify(&key, "them@example.com"), "{algorithm:?}");
        }
    }

    #[test]
    fn a_signing_request_carries_the_key_and_an_empty_subject() {
        use x509_parser::prelude::FromDer;

        for (algorithm, _) in ALL {
            let key = ClientKey::generate(algorithm).unwrap();
            let request = key.signing_request().unwrap();
            let (_, block) = x509_parser::pem::parse_x509_pem(request.as_bytes()).unwrap();
            let (_, csr) = x509_parser::certification_request::X509CertificationRequest::from_der(
                &block.contents,
            )
            .unwrap();
            csr.verify_signature().unwrap();
            let body = &csr.certification_request_info;
            assert_eq!(body.subject_pki.raw, key.spki_der(), "{algorithm:?}");
            assert_eq!(body.subject.iter().count(), 0, "{algorithm:?}");
        }
    }

    #[test]
    fn a_key_that_was_written_is_read_back_as_the_same_key() {
        for (algorithm, verification) in ALL {
            let key = ClientKey::generate(algorithm).unwrap();
            let again = ClientKey::from_pem(&key.private_pem().unwrap()).unwrap();
            assert_eq!(again.spki_der(), key.spki_der(), "{algorithm:?}");
            let proof = again.proof_of_possession("jane").unwrap();
            let parsed = UnparsedPublicKey::new(verification, key.spki_der());
            parsed.verify(b"jane", &proof).unwrap();
            again.signing_request().unwrap();
        }
    }

    #[test]
    fn nt_60_what_is_no_usable_key_is_told_without_its_content() {
        let read = |text: String| ClientKey::from_pem(&Secret::from(text)).unwrap_err().to_string();
        assert_eq!(read("secret".to_owned()), "it is not one PEM block");
        let encrypted = read(pem("ENCRYPTED PRIVATE KEY", b"secret"));
        assert!(encrypted.contains("not encrypted"), "{encrypted}");
        assert!(read(pem(PRIVATE_KEY, b"secret")).contains("P-256, P-384 or Ed25519"));
    }

    #[test]
    fn nt_60_debug_shows_no_private_key() {
        let key = ClientKey::generate(KeyAlgorithm::P256).unwrap();
        assert!(format!("{key:?}").starts_with("ClientKey { spki_der: ["));
        assert!(format!("{key:?}").ends_with(", .. }"));
    }
}
