use std::sync::Arc;

use futures_util::FutureExt;

use super::*;
use crate::{
    ca::{
        Issuer,
        fixtures::{TestCa, make_root, now, p256_signer},
    },
    keys::{self, SignatureAlgorithm, Signer},
    x509::certificate::Certificate,
};

const HALF_DAY_SECONDS: u64 = 3600 * 12;

fn error_of(signer: &Arc<dyn Signer>, chain: Vec<Certificate>, at: Timestamp) -> ChainError {
    Issuer::new(Arc::clone(signer), chain, at).now_or_never().unwrap().unwrap_err()
}

#[test]
fn a_sound_chain_is_taken_with_an_intermediate_and_without() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    assert_eq!(ca.issuer().chain(), ca.chain());
    let root_only = Issuer::new(Arc::clone(&ca.root_signer), vec![ca.root.clone()], now());
    assert_eq!(root_only.now_or_never().unwrap().unwrap().chain(), [ca.root]);
}

#[test]
fn nt_47_a_chain_out_of_order_or_with_a_certificate_twice_is_refused() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let other = TestCa::new("other", HALF_DAY_SECONDS);
    let (issuing, root) = (ca.issuing.clone(), ca.root.clone());
    let unrelated_root = make_root(&*p256_signer(), "unrelated");
    type Expected = fn(&ChainError) -> bool;
    let cases: [(&str, Vec<Certificate>, Expected); 7] = [
        ("empty", vec![], |e| matches!(e, ChainError::Empty)),
        ("no root", vec![issuing.clone()], |e| matches!(e, ChainError::NoRoot { .. })),
        ("reversed", vec![root.clone(), issuing.clone()], |e| {
            matches!(e, ChainError::RootNotLast { .. })
        }),
        ("root twice", vec![issuing.clone(), root.clone(), root.clone()], |e| {
            matches!(e, ChainError::RootNotLast { .. })
        }),
        ("issuing twice", vec![issuing.clone(), issuing.clone(), root], |e| {
            matches!(e, ChainError::Order { .. } | ChainError::Duplicate { .. })
        }),
        ("another root", vec![issuing.clone(), unrelated_root], |e| {
            matches!(e, ChainError::Order { .. })
        }),
        // Same name, another key.
        ("a namesake", vec![issuing, other.root], |e| matches!(e, ChainError::Signature { .. })),
    ];
    for (what, chain, expected) in cases {
        let error = error_of(&ca.signer, chain, now());
        assert!(expected(&error), "{what}: {error:?}");
        if let ChainError::Order { .. } = error {
            assert!(
                error.to_string().contains("issued by 'CN=test root,O=example.com'"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_key_that_is_not_the_chains_is_refused_by_name() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let stranger = p256_signer();
    let error = error_of(&stranger, ca.chain(), now());
    assert!(matches!(error, ChainError::OtherKey { .. }));
    let text = error.to_string();
    assert!(text.contains(stranger.name()) && text.contains("certificate 1"), "{text}");
    assert!(text.contains("issuing"), "{text}");
}

#[test]
fn an_rsa_key_does_not_issue() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let rsa = keys::file::generate(SignatureAlgorithm::RsaPkcs1Sha256).unwrap().signer;
    assert!(matches!(error_of(&rsa, ca.chain(), now()), ChainError::RsaIssuer { .. }));
}

#[test]
fn nt_43_an_expired_chain_and_a_future_one_are_refused() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let past = error_of(&ca.signer, ca.chain(), now().minus_ms(2000));
    assert!(
        matches!(&past, ChainError::NotYetValid { certificate, .. } if certificate.position == 1)
    );
    let future = error_of(&ca.signer, ca.chain(), ca.issuing.not_after().plus_ms(1000));
    assert!(
        matches!(&future, ChainError::Expired { certificate, .. } if certificate.position == 1)
    );
    // The root outlives the issuing CA here; one that does not is found too.
    let root_only =
        error_of(&ca.root_signer, vec![ca.root.clone()], ca.root.not_after().plus_ms(1000));
    assert!(matches!(root_only, ChainError::Expired { .. }));
}

type Change = fn(&mut rcgen::CertificateParams);

/// An issuing CA and its root, made without our ceremony, with one thing changed in each.
fn changed(issuing: Change, root: Change) -> (Arc<dyn Signer>, Vec<Certificate>) {
    changed_with_root_key(issuing, root, &rcgen::KeyPair::generate().unwrap())
}

fn changed_with_root_key(
    change_issuing: Change,
    change_root: Change,
    root_key: &rcgen::KeyPair,
) -> (Arc<dyn Signer>, Vec<Certificate>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(1));
    root.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let mut issuing = root.clone();
    issuing.distinguished_name.push(rcgen::DnType::CommonName, "issuing");
    issuing.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
    issuing.use_authority_key_identifier_extension = true;
    change_issuing(&mut issuing);
    change_root(&mut root);
    let issuer = rcgen::Issuer::from_params(&root, root_key);
    let issuing = issuing.signed_by(&key, &issuer).unwrap();
    let root = root.self_signed(root_key).unwrap();
    let signer = keys::file::parse("file:test", &key.serialize_der(), None).unwrap();
    let chain = [issuing.der(), root.der()].map(|der| Certificate::parse_der(der).unwrap());
    (signer, chain.to_vec())
}

#[test]
fn each_fault_of_a_ca_certificate_is_found_and_its_place_named() {
    use rcgen::{BasicConstraints::Constrained, ExtendedKeyUsagePurpose as Purpose, IsCa};
    let sound: Change = |_| {};
    let (signer, chain) = changed(sound, sound);
    Issuer::new(signer, chain, now()).now_or_never().unwrap().unwrap();

    let no_ca: Change = |params| params.is_ca = IsCa::ExplicitNoCa;
    let no_room: Change = |params| params.is_ca = IsCa::Ca(Constrained(0));
    let no_signing: Change =
        |params| params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let for_servers: Change = |params| params.extended_key_usages = vec![Purpose::ServerAuth];
    let for_anything: Change = |params| params.extended_key_usages.clear();
    let unknown: Change = |params| {
        let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions = vec![unknown];
    };
    // Change of the issuing CA, change of the root, and what is said.
    let cases = [
        (no_ca, sound, "certificate 1 of the chain (CN=issuing", "is not a CA certificate"),
        (sound, no_ca, "certificate 2 of the chain", "is not a CA certificate"),
        (no_signing, sound, "certificate 1 of the chain", "may not sign certificates"),
        (sound, no_room, "certificate 2 of the chain", "allows 0 CA certificates below it, but 1"),
        (for_servers, sound, "certificate 1 of the chain", "is not for code signing"),
        (for_anything, sound, "certificate 1 of the chain", "is not for code signing"),
        (sound, for_servers, "certificate 2 of the chain", "is not for code signing"),
        (unknown, sound, "certificate 1 of the chain", "has the critical extension 1.2.3.4"),
    ];
    for (issuing, root, place, fault) in cases {
        let (signer, chain) = changed(issuing, root);
        let text = error_of(&signer, chain, now()).to_string();
        assert!(text.starts_with(place) && text.contains(fault), "{place} {fault}: {text}");
    }
}

#[test]
fn a_root_whose_key_some_clients_refuse_is_refused() {
    let sound: Change = |_| {};
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P521_SHA512] {
        let root_key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let (signer, chain) = changed_with_root_key(sound, sound, &root_key);
        let error = error_of(&signer, chain, now());
        let named =
            matches!(&error, ChainError::KeyKind { certificate } if certificate.position == 2);
        assert!(named, "{algorithm:?}: {error:?}");
    }
}

/// Says it is one key and signs with another, as a misconfigured key service would.
#[derive(Debug)]
struct Impostor {
    shown: Arc<dyn Signer>,
    used: Arc<dyn Signer>,
}

impl Signer for Impostor {
    fn name(&self) -> &str {
        "impostor"
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.shown.algorithm()
    }
    fn public_key_der(&self) -> &[u8] {
        self.shown.public_key_der()
    }
    fn sign<'a>(
        &'a self,
        message: &'a [u8],
    ) -> futures_util::future::BoxFuture<'a, Result<Vec<u8>, SignError>> {
        self.used.sign(message)
    }
}

#[test]
fn a_key_whose_signatures_do_not_verify_is_found_before_it_serves() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let impostor = Impostor { shown: Arc::clone(&ca.signer), used: p256_signer() };
    let impostor: Arc<dyn Signer> = Arc::new(impostor);
    let error = error_of(&impostor, ca.chain(), now());
    assert!(matches!(error, ChainError::TestSignatureWrong { .. }), "{error:?}");
}
