//! Issuers' keys and the tokens they sign, for tests. Also compiled into `tests/oidc_*.rs`, so it
//! uses nothing of this crate.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A private key with a name.
pub(crate) struct TestKey {
    pub(crate) kid: Option<String>,
    pub(crate) alg: &'static str,
    secret: Secret,
}

enum Secret {
    Ec {
        crv: &'static str,
        pair: EcdsaKeyPair,
    },
    Ed25519(Ed25519KeyPair),
    /// One for all: they take long to make.
    Rsa,
}

impl TestKey {
    pub(crate) fn new(alg: &'static str, kid: &str) -> Self {
        let ec =
            |crv, algorithm| Secret::Ec { crv, pair: EcdsaKeyPair::generate(algorithm).unwrap() };
        let secret = match alg {
            "ES256" => ec("P-256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec("P-384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec("P-521", &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Secret::Ed25519(Ed25519KeyPair::generate().unwrap()),
            _ => Secret::Rsa,
        };
        Self { kid: Some(kid.to_owned()), alg, secret }
    }

    pub(crate) fn without_kid(self) -> Self {
        Self { kid: None, ..self }
    }

    /// As it stands in a key set.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.secret {
            Secret::Ec { crv, pair } => {
                let (x, y) =
                    pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({"kty": "EC", "crv": crv, "x": encode(x), "y": encode(y)})
            }
            Secret::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())})
            }
            Secret::Rsa => {
                let key: PublicKeyComponents<Vec<u8>> = rsa_pair().public_key().into();
                json!({"kty": "RSA", "n": encode(key.n), "e": encode(key.e)})
            }
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Ec { pair, .. } => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Secret::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Secret::Rsa => {
                let encoding: &'static dyn signature::RsaEncoding = match self.alg {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("{other} is no RSA algorithm"),
                };
                let mut signed = vec![0; rsa_pair().public_modulus_len()];
                rsa_pair().sign(encoding, &random, message, &mut signed).unwrap();
                signed
            }
        }
    }

    /// A token with the usual header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let mut header = json!({"alg": self.alg, "typ": "JWT"});
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        self.token_with(&header, claims)
    }

    /// A token with this header, rightly signed.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of_texts(&header.to_string(), &claims.to_string())
    }

    /// The same of texts that `Value` could not hold.
    pub(crate) fn token_of_texts(&self, header: &str, claims: &str) -> String {
        let signing_input = format!("{}.{}", encode(header), encode(claims));
        let signed = encode(self.sign(signing_input.as_bytes()));
        format!("{signing_input}.{signed}")
    }
}

/// A key set of these keys.
pub(crate) fn key_set<'k>(keys: impl IntoIterator<Item = &'k TestKey>) -> Value {
    json!({"keys": keys.into_iter().map(TestKey::jwk).collect::<Vec<_>>()})
}

/// Claims that pass, one second old at `now_seconds`.
pub(crate) fn claims(issuer: &str, now_seconds: u64) -> Value {
    json!({
        "iss": issuer, "aud": "sigstore", "sub": "someone",
        "iat": now_seconds - 1, "exp": now_seconds + 300,
    })
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_pair() -> &'static rsa::KeyPair {
    static PAIR: OnceLock<rsa::KeyPair> = OnceLock::new();
    PAIR.get_or_init(|| rsa::KeyPair::generate(KeySize::Rsa2048).unwrap())
}
