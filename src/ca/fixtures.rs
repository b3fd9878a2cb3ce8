//! Authorities, approvals and timestamps for the tests of this module tree.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::json;

use super::{
    Issuer, Serial,
    ceremony::{NewCa, certify, create_intermediate, create_root, create_root_above},
};
use crate::{
    ct::{Extensions, LeafIndex, LogId, SignedCertificateTimestamp},
    identity::{Email, Identity, IssuerType, Profile, Profiles, PublishedIssuer, PublishedName},
    keys::{self, SignatureAlgorithm, Signer},
    oidc::VerifiedToken,
    policy::{Approved, ClientAlgorithms, Policy},
    proof::{self, Possession},
    time::Timestamp,
    x509::{Certificate, PublicKey},
};

/// A root and an issuing CA, both with their keys.
pub(super) struct TestCa {
    pub root: Certificate,
    pub root_signer: Arc<dyn Signer>,
    pub issuing: Certificate,
    pub signer: Arc<dyn Signer>,
}

pub(super) fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-20T10:20:30.250Z").unwrap()
}

pub(super) fn p256_signer() -> Arc<dyn Signer> {
    keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap().signer
}

pub(super) fn new_ca(common_name: &str, lifetime_seconds: u64) -> NewCa<'_> {
    let serial = Serial::from_random([3; 20]);
    NewCa { organization: "example.com", common_name, now: now(), lifetime_seconds, serial }
}

impl TestCa {
    /// An issuing CA of this name, valid for so long from [`now`].
    pub(super) fn new(common_name: &str, lifetime_seconds: u64) -> Self {
        Self::with(SignatureAlgorithm::EcdsaP256Sha256, common_name, lifetime_seconds)
    }

    /// The issuing CA's key is of this kind.
    pub(super) fn with(
        algorithm: SignatureAlgorithm,
        common_name: &str,
        lifetime_seconds: u64,
    ) -> Self {
        let signer: Arc<dyn Signer> = keys::file::generate(algorithm).unwrap().signer;
        let root_signer = p256_signer();
        let root = make_root(&*root_signer, "test root");
        let new = new_ca(common_name, lifetime_seconds);
        let made = create_intermediate(&root, &*root_signer, &*signer, &new);
        let issuing = made.now_or_never().unwrap().unwrap();
        Self { root, root_signer, issuing, signer }
    }

    /// An issuing CA that allows so many CAs below itself.
    pub(super) fn below_with_path_len(common_name: &str, path_len: u8) -> Self {
        let (root_signer, signer) = (p256_signer(), p256_signer());
        let new_root = new_ca("test root", 3600 * 24);
        let root = create_root_above(&*root_signer, &new_root, path_len + 1);
        let root = root.now_or_never().unwrap().unwrap();
        let public_key = PublicKey::parse_der(signer.public_key_der()).unwrap();
        let new = new_ca(common_name, 3600 * 12);
        let made = certify(&root, &*root_signer, &public_key, &new, path_len);
        let issuing = made.now_or_never().unwrap().unwrap();
        Self { root, root_signer, issuing, signer }
    }

    pub(super) fn chain(&self) -> Vec<Certificate> {
        vec![self.issuing.clone(), self.root.clone()]
    }

    pub(super) fn issuer(&self) -> Arc<Issuer> {
        let made = Issuer::new(Arc::clone(&self.signer), self.chain(), now());
        Arc::new(made.now_or_never().unwrap().unwrap())
    }
}

pub(super) fn make_root(signer: &dyn Signer, common_name: &str) -> Certificate {
    let new = new_ca(common_name, 3600 * 24);
    create_root(signer, &new).now_or_never().unwrap().unwrap()
}

/// An identity as the e-mail profile makes it.
pub(super) fn identity() -> Identity {
    let url = "https://issuer.example";
    let published = PublishedIssuer {
        name: PublishedName::Url(url.to_owned()),
        audience: "sigstore".to_owned(),
        challenge_claim: "email".to_owned(),
        spiffe_trust_domain: String::new(),
        issuer_type: IssuerType::Email,
        subject_domain: String::new(),
        skip_email_verification: false,
    };
    let profiles = Profiles::new([(published, Profile::Email(Email::default()))]);
    let claims =
        json!({"iss": url, "sub": "person-1", "email": "p@example.com", "email_verified": true});
    profiles.derive(VerifiedToken::dangerous_unverified(url, url, claims)).unwrap()
}

/// The identity of [`identity`] with a key that was proven as `possession`.
pub(super) fn approved_with(possession: &Possession) -> Approved {
    let identity = identity();
    let key = proof::check(possession, &identity).unwrap();
    Policy::new(ClientAlgorithms::default()).decide(identity, key).unwrap()
}

/// The identity of [`identity`] with a fresh key.
pub(super) fn approved() -> Approved {
    let client = p256_signer();
    let signature = client.sign(b"person-1").now_or_never().unwrap().unwrap();
    let public_key = client.public_key_der().to_vec();
    approved_with(&Possession::Signature { public_key, signature })
}

/// What a log would answer, as far as the CA looks at it.
pub(super) fn sct(index: u64) -> SignedCertificateTimestamp {
    SignedCertificateTimestamp {
        log_id: LogId([0xab; 32]),
        timestamp: now().plus_ms(3),
        extensions: Extensions::from(LeafIndex::new(index).unwrap()),
        signature: vec![0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x07],
    }
}
