//! Tokens and proofs, right and wrong.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::world::{EMAIL_ISSUER, now};

/// The key of a test's issuers.
pub(crate) struct IssuerKey {
    pkcs8: Vec<u8>,
    point: Vec<u8>,
}

impl IssuerKey {
    pub(crate) fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self {
            pkcs8: pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            point: pair.public_key().as_ref().to_vec(),
        }
    }

    pub(crate) fn jwks(&self) -> String {
        let (x, y) = self.point[1..].split_at(32);
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        json!({ "keys": [key] }).to_string()
    }

    /// A token of these claims under a correct header.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" });
        self.sign_raw(&header.to_string(), &claims.to_string())
    }

    /// A token of any header and payload text, with a signature that is right for them.
    pub(crate) fn sign_raw(&self, header: &str, payload: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let key = EncodingKey::from_ec_der(&self.pkcs8);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::ES256);
        format!("{signed}.{}", signature.unwrap())
    }

    /// A token by the library's own encoder, as a provider would make it.
    pub(crate) fn sign_by_library(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

/// Claims that are right in every respect.
pub(crate) fn email_claims() -> Value {
    let now = now().unix_seconds();
    json!({
        "iss": EMAIL_ISSUER, "aud": "sigstore", "sub": "jane-1", "iat": now, "exp": now + 300,
        "email": "jane@example.com", "email_verified": true,
    })
}

/// The same with some members replaced; `null` removes one.
pub(crate) fn with(mut claims: Value, changes: Value) -> Value {
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// A fresh public key as PEM, and its signature over `challenge` in base64.
pub(crate) fn key_and_proof(challenge: &str) -> (String, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let mut spki = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    spki.extend_from_slice(pair.public_key().as_ref());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(spki)
    );
    let proof = pair.sign(&SystemRandom::new(), challenge.as_bytes()).unwrap();
    (pem, STANDARD.encode(proof.as_ref()))
}
