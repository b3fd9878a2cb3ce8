use futures_util::FutureExt;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;
use crate::{
    ca::fixtures::{TestCa, approved, approved_with, now, sct},
    ct::SignedCertificateTimestampList,
    proof::Possession,
    x509::SubjectAltName,
};

const HALF_DAY_SECONDS: u64 = 3600 * 12;

fn precert(issuer: &Arc<Issuer>) -> Precert {
    let serial = Serial::from_random([0x17; 20]);
    let made = Arc::clone(issuer).precertify(approved(), now(), serial);
    made.now_or_never().unwrap().unwrap()
}

fn finish(precert: Precert, digest: [u8; 32]) -> Result<Issued, CaError> {
    precert.finish_with(&sct(5), &digest, 5).now_or_never().unwrap()
}

fn verify(issued: &Issued, ca: &TestCa) {
    let (_, issuing) = X509Certificate::from_der(ca.issuing.der()).unwrap();
    let (_, leaf) = X509Certificate::from_der(issued.der()).unwrap();
    leaf.verify_signature(Some(issuing.public_key())).unwrap();
    assert_eq!(leaf.issuer().as_raw(), ca.issuing.subject_der());
}

#[test]
fn a_certificate_comes_with_its_chain_and_the_timestamp_it_was_given() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let precert = precert(&ca.issuer());
    let digest = precert.log_entry().digest();
    let issued = finish(precert, digest).unwrap();
    verify(&issued, &ca);

    let pems: Vec<&str> = issued.pem_chain().collect();
    assert_eq!(pems.len(), 3);
    let parsed = crate::x509::Certificate::parse_pem_chain(pems.join("\n").as_bytes()).unwrap();
    assert_eq!(parsed[0].der(), issued.der());
    assert_eq!(parsed[1].der(), ca.issuing.der());
    assert_eq!(parsed[2].der(), ca.root.der());
    for pem in pems {
        assert!(pem.ends_with("-----END CERTIFICATE-----"), "the last line end is trimmed");
    }

    assert_eq!(issued.not_before(), Timestamp::from_unix_seconds(now().unix_seconds()));
    assert_eq!(issued.not_after().ms_since(issued.not_before()), 600_000);
    assert_eq!(issued.log_index(), Some(5));
    assert_eq!(issued.identity().san().value(), "p@example.com");
    let leaf = Leaf::parse_certificate(issued.der()).unwrap();
    let list = SignedCertificateTimestampList::decode(leaf.sct_list().unwrap()).unwrap();
    assert_eq!(list.0, [sct(5)]);
    assert_eq!(leaf.serial, issued.serial().as_bytes());
}

#[test]
fn the_entry_carries_the_precertificate_its_tbs_without_poison_and_the_issuer() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let precert = precert(&ca.issuer());
    let EntryKind::Precert { issuer_key_hash, tbs_certificate, precertificate } =
        precert.log_entry().kind()
    else {
        panic!("not a precertificate entry")
    };
    let (_, read) = X509Certificate::from_der(precertificate).unwrap();
    let (_, issuing) = X509Certificate::from_der(ca.issuing.der()).unwrap();
    read.verify_signature(Some(issuing.public_key())).unwrap();
    assert_eq!(read.tbs_certificate.as_ref(), precert.tbs.precertificate_tbs());
    assert_eq!(*tbs_certificate, precert.tbs.logged_tbs());
    let spki_hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, ca.issuing.spki_der());
    assert_eq!(issuer_key_hash, spki_hash.as_ref());
    let fingerprints = [ca.issuing.fingerprint(), ca.root.fingerprint()];
    assert_eq!(precert.log_entry().chain_fingerprints(), fingerprints);
}

#[test]
fn nt_41_nothing_of_a_request_but_its_key_reaches_the_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(vec!["evil.example".to_owned(), "10.0.0.1".to_owned()])
            .unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "evil subject");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();

    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let approved = approved_with(&Possession::Csr(csr.into_bytes()));
    let serial = Serial::from_random([1; 20]);
    let precert = ca.issuer().precertify(approved, now(), serial).now_or_never().unwrap().unwrap();
    let digest = precert.log_entry().digest();
    let issued = finish(precert, digest).unwrap();

    let (_, leaf) = X509Certificate::from_der(issued.der()).unwrap();
    assert_eq!(leaf.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
    assert_eq!(leaf.subject().iter().count(), 0);
    assert!(leaf.basic_constraints().unwrap().is_none());
    assert_eq!(leaf.key_usage().unwrap().unwrap().value.flags, 1, "digitalSignature alone");
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.code_signing && !usage.server_auth);
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names[..], [GeneralName::RFC822Name("p@example.com")]);
    for evil in [&b"evil"[..], &[10, 0, 0, 1]] {
        assert!(!issued.der().windows(evil.len()).any(|window| window == evil), "{evil:?}");
    }
}

#[test]
fn nt_43_a_certificate_that_would_outlive_its_issuer_is_refused() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let issuer = ca.issuer();
    let precertify = |at: Timestamp| {
        let serial = Serial::from_random([1; 20]);
        Arc::clone(&issuer).precertify(approved(), at, serial).now_or_never().unwrap()
    };
    let last = issuer.valid_until().minus_ms(LEAF_LIFETIME_SECONDS * 1000);
    let precert = precertify(last).unwrap();
    assert_eq!(precert.validity.not_after(), issuer.valid_until());
    for at in [last.plus_ms(1000), issuer.valid_until().plus_ms(1000), now().minus_ms(2000)] {
        assert!(matches!(precertify(at), Err(CaError::IssuerExpiring { .. })), "{at}");
    }
}

#[test]
fn nt_46_a_rotation_between_the_two_signatures_keeps_the_issuer() {
    let (old, new) = (TestCa::new("old", HALF_DAY_SECONDS), TestCa::new("new", HALF_DAY_SECONDS));
    let rotation = now().plus_ms(1);
    let authority = |ca: &TestCa, activate| crate::ca::Authority {
        issuer: ca.issuer(),
        activate,
        retire: None,
    };
    let set = crate::ca::CaSet::new(vec![authority(&old, None), authority(&new, Some(rotation))])
        .unwrap();
    let outstanding = precert(&set.signing_at(now()).unwrap());
    let after = precert(&set.signing_at(rotation).unwrap());
    drop(set);
    for (precert, ca) in [(outstanding, &old), (after, &new)] {
        let digest = precert.log_entry().digest();
        let issued = finish(precert, digest).unwrap();
        verify(&issued, ca);
        assert_eq!(issued.issuer().chain(), ca.chain());
    }
}

/// The harm of a profile that changes between the two signatures: with other fields behind the
/// same serial, the final certificate is not the logged one.
#[test]
fn nt_50_a_final_certificate_other_than_the_logged_one_is_refused() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let issuer = ca.issuer();
    let mut precert = precert(&issuer);
    let san = SubjectAltName::email("other@example.com").unwrap();
    let changed = issuer.template().leaf(&LeafFields {
        serial: &Serial::from_random([0x17; 20]),
        validity: &Validity::starting_at(now(), LEAF_LIFETIME_SECONDS).unwrap(),
        public_key: precert.approved.key().key(),
        san: &san,
        extensions: precert.approved.identity().extensions(),
    });
    let digest = precert.log_entry().digest();
    precert.tbs = changed;
    assert!(matches!(finish(precert, digest), Err(CaError::NotAsLogged)));
}

#[test]
fn nt_51_a_timestamp_for_another_entry_is_refused() {
    let ca = TestCa::new("issuing", HALF_DAY_SECONDS);
    let issuer = ca.issuer();
    // Each has a key of its own, so the entries differ.
    let (ours, other) = (precert(&issuer), precert(&issuer));
    let digest_of_other = other.log_entry().digest();
    assert_ne!(ours.log_entry().digest(), digest_of_other);
    assert!(matches!(finish(ours, digest_of_other), Err(CaError::OtherEntry)));
    finish(other, digest_of_other).unwrap();
}
