use futures_util::FutureExt;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::*;
use crate::{
    ca::fixtures::{TestCa, make_root, new_ca, now, p256_signer},
    keys,
};

fn read(certificate: &Certificate) -> X509Certificate<'_> {
    X509Certificate::from_der(certificate.der()).unwrap().1
}

/// The profile of CA certificates: (identifier, critical) of each extension.
fn extensions(certificate: &Certificate) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = read(certificate)
        .extensions()
        .iter()
        .map(|extension| (extension.oid.to_id_string(), extension.critical))
        .collect();
    found.sort();
    found
}

#[test]
fn ca_certificates_have_what_verifiers_demand() {
    let ca = TestCa::new("issuing", 3600);
    let expect = |expected: &[(&str, bool)]| {
        expected.iter().map(|(oid, critical)| ((*oid).to_owned(), *critical)).collect::<Vec<_>>()
    };
    let root = expect(&[("2.5.29.14", false), ("2.5.29.15", true), ("2.5.29.19", true)]);
    assert_eq!(extensions(&ca.root), root);
    let issuing = expect(&[
        ("2.5.29.14", false),
        ("2.5.29.15", true),
        ("2.5.29.19", true),
        ("2.5.29.35", false),
        ("2.5.29.37", false),
    ]);
    assert_eq!(extensions(&ca.issuing), issuing);
    for (certificate, path_len) in [(&ca.root, 1), (&ca.issuing, 0)] {
        let read = read(certificate);
        let constraints = read.basic_constraints().unwrap().unwrap().value;
        assert!(constraints.ca);
        assert_eq!(constraints.path_len_constraint, Some(path_len));
        let usage = read.key_usage().unwrap().unwrap().value;
        assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
        assert_eq!(read.validity().not_before.timestamp(), 1_795_170_030);
    }
    let issuing = read(&ca.issuing);
    let usage = issuing.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.code_signing && !usage.any && usage.other.is_empty());
    let parent = issuing.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0),
        _ => None,
    });
    assert_eq!(parent, ca.root.subject_key_id());
    assert_eq!(ca.issuing.common_name(), Some("issuing"));
    assert_eq!(ca.issuing.organization(), Some("example.com"));
    issuing.verify_signature(Some(read(&ca.root).public_key())).unwrap();
}

#[test]
fn p384_keys_make_cas_too_and_rsa_keys_do_not() {
    let key = keys::file::generate(SignatureAlgorithm::EcdsaP384Sha384).unwrap().signer;
    let root = make_root(&*key, "p384 root");
    read(&root).verify_signature(None).unwrap();
    let key = keys::file::generate(SignatureAlgorithm::RsaPkcs1Sha256).unwrap().signer;
    let refused = create_root(&*key, &new_ca("rsa root", 3600)).now_or_never().unwrap();
    assert!(matches!(refused, Err(CeremonyError::Rsa { .. })));
}

#[test]
fn an_issuing_ca_does_not_outlive_its_root_and_needs_the_roots_key() {
    let ca = TestCa::new("issuing", 3600);
    let subject = p256_signer();
    let make = |signer: &dyn Signer, new: &NewCa<'_>| {
        create_intermediate(&ca.root, signer, &*subject, new).now_or_never().unwrap().unwrap_err()
    };
    let too_long = new_ca("long", 3600 * 24 + 1);
    let error = make(&*ca.root_signer, &too_long);
    assert!(matches!(error, CeremonyError::OutlivesIssuer { .. }), "{error:?}");
    let error = make(&*subject, &new_ca("stranger", 3600));
    assert!(matches!(error, CeremonyError::OtherKey { .. }), "{error:?}");
    let error = make(&*ca.root_signer, &new_ca("", 3600));
    assert!(matches!(error, CeremonyError::EmptyName), "{error:?}");
}

#[test]
fn a_root_with_a_name_that_cannot_be_repeated_is_refused() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CountryName, "DE");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = Certificate::parse_der(params.self_signed(&key).unwrap().der()).unwrap();
    let signer = keys::file::parse("file:root", &key.serialize_der(), None).unwrap();
    assert!(now() < root.not_after());
    let new = new_ca("below", 3600);
    let made = create_intermediate(&root, &*signer, &*p256_signer(), &new).now_or_never().unwrap();
    assert!(matches!(made, Err(CeremonyError::IssuerName { .. })), "{made:?}");
}

#[test]
fn a_certificate_that_would_break_the_profile_is_never_signed() {
    #[derive(Debug)]
    struct NeverAsked(std::sync::Arc<dyn Signer>);

    impl Signer for NeverAsked {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn algorithm(&self) -> SignatureAlgorithm {
            self.0.algorithm()
        }
        fn public_key_der(&self) -> &[u8] {
            self.0.public_key_der()
        }
        fn sign<'a>(
            &'a self,
            _message: &'a [u8],
        ) -> futures_util::future::BoxFuture<'a, Result<Vec<u8>, SignError>> {
            panic!("it was signed")
        }
    }

    let signer = NeverAsked(p256_signer());
    let long_name = "x".repeat(65);
    let refused = create_root(&signer, &new_ca(&long_name, 3600)).now_or_never().unwrap();
    let Err(CeremonyError::Profile { rules }) = refused else { panic!("{refused:?}") };
    assert_eq!(rules, [BrokenCaRule::Subject]);
    let refused = create_root_above(&signer, &new_ca("root", 0), 0).now_or_never().unwrap();
    let Err(CeremonyError::Profile { rules }) = refused else { panic!("{refused:?}") };
    assert_eq!(rules, [BrokenCaRule::Dates, BrokenCaRule::PathLength { path_len: 0 }]);

    let ca = TestCa::new("issuing", 3600);
    let signer = NeverAsked(ca.root_signer.clone());
    let key = PublicKey::parse_der(ca.signer.public_key_der()).unwrap();
    for (new, path_len, rule) in [
        (new_ca("test root", 60), 0, BrokenCaRule::SameName),
        (new_ca("deep", 60), 1, BrokenCaRule::PathLength { path_len: 1 }),
    ] {
        let refused = certify(&ca.root, &signer, &key, &new, path_len).now_or_never().unwrap();
        let Err(CeremonyError::Profile { rules }) = refused else { panic!("{refused:?}") };
        assert_eq!(rules, [rule]);
    }
    let early = NewCa { now: now().minus_ms(5_000), ..new_ca("early", 60) };
    let refused = certify(&ca.root, &signer, &key, &early, 0).now_or_never().unwrap();
    assert!(matches!(refused, Err(CeremonyError::Profile { .. })), "{refused:?}");
}

#[test]
fn a_lifetime_that_no_certificate_can_say_is_refused() {
    let refused = create_root(&*p256_signer(), &new_ca("root", u64::MAX)).now_or_never().unwrap();
    assert!(matches!(refused, Err(CeremonyError::Time(_))), "{refused:?}");
}

#[test]
fn nt_41_a_request_leads_to_a_certificate_for_its_key_and_nothing_else_of_it() {
    let ca = TestCa::new("issuing", 3600);
    let subject = p256_signer();
    let request = create_request(&*subject, "example.com", "asked for").now_or_never().unwrap();
    let key = Csr::parse_and_verify(request.unwrap().as_bytes()).unwrap().into_public_key();
    let new = new_ca("given", 3600);
    let made = certify(&ca.root, &*ca.root_signer, &key, &new, 0).now_or_never().unwrap().unwrap();
    assert_eq!(made.spki_der(), subject.public_key_der());
    assert_eq!(made.common_name(), Some("given"));
}

#[test]
fn keys_that_clients_refuse_are_not_certified() {
    let ca = TestCa::new("issuing", 3600);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = PublicKey::parse_der(&rcgen::PublicKeyData::subject_public_key_info(&key)).unwrap();
    let new = new_ca("ed25519", 60);
    let refused = certify(&ca.root, &*ca.root_signer, &key, &new, 0).now_or_never().unwrap();
    assert!(matches!(refused, Err(CeremonyError::SubjectKeyKind { .. })), "{refused:?}");
}

#[test]
fn a_root_may_leave_room_for_more_than_one_level() {
    let (root_key, middle_key, key) = (p256_signer(), p256_signer(), p256_signer());
    let root = create_root_above(&*root_key, &new_ca("root", 3600), 2).now_or_never().unwrap();
    let root = root.unwrap();
    let public = |signer: &dyn Signer| PublicKey::parse_der(signer.public_key_der()).unwrap();
    let (public_middle, new) = (public(&*middle_key), new_ca("middle", 3600));
    let middle = certify(&root, &*root_key, &public_middle, &new, 1);
    let middle = middle.now_or_never().unwrap().unwrap();
    let new = new_ca("issuing", 3600);
    let issuing = certify(&middle, &*middle_key, &public(&*key), &new, 0).now_or_never().unwrap();
    let chain = [issuing.unwrap(), middle, root];
    crate::ca::chain::check(&chain, now()).unwrap();
}
