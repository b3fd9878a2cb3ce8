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
