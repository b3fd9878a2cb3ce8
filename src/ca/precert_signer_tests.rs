use futures_util::FutureExt;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::{
    ca::{
        Issued, Issuer, Precert,
        fixtures::{TestCa, approved, make_root, new_ca, now, p256_signer, sct},
    },
    ct::EntryKind,
    keys::SignatureAlgorithm,
};

fn issuer(ca: &TestCa) -> Arc<Issuer> {
    let issuer = ca.issuer();
    let key = PrecertKey::generate(&issuer, Serial::from_random([5; 20])).unwrap();
    let made = issuer.with_precert_signer(key, now());
    Arc::new(made.now_or_never().unwrap().unwrap())
}

fn precert(issuer: &Arc<Issuer>) -> Precert {
    let made = Arc::clone(issuer).precertify(approved(), now(), Serial::from_random([0x17; 20]));
    made.now_or_never().unwrap().unwrap()
}

fn finish(precert: Precert) -> Issued {
    let digest = precert.log_entry().digest();
    precert.finish_with(&sct(5), &digest, 5).now_or_never().unwrap().unwrap()
}

/// Both forms, by strangers: RFC 6962, 3.1 and 3.2.
#[test]
fn the_precertificate_is_signed_below_the_ca_and_the_entry_is_of_the_ca_itself() {
    let ca = TestCa::new("issuing", 3600 * 12);
    let issuer = issuer(&ca);
    let signing = issuer.precertificate_signing_certificate().unwrap().clone();
    let (_, read_signing) = X509Certificate::from_der(signing.der()).unwrap();
    let (_, issuing) = X509Certificate::from_der(ca.issuing.der()).unwrap();
    read_signing.verify_signature(Some(issuing.public_key())).unwrap();
    let usage = read_signing.extended_key_usage().unwrap().unwrap().value;
    assert!(!usage.code_signing && !usage.any);
    assert_eq!(usage.other[0].to_id_string(), "1.3.6.1.4.1.11129.2.4.4");
    assert_eq!(
        read_signing.basic_constraints().unwrap().unwrap().value.path_len_constraint,
        Some(0)
    );
    assert_eq!(signing.not_after(), issuer.valid_until());

    let precert = precert(&issuer);
    let entry = Arc::clone(precert.log_entry());
    let fingerprints = [signing.fingerprint(), ca.issuing.fingerprint(), ca.root.fingerprint()];
    assert_eq!(entry.chain_fingerprints(), fingerprints);
    let issued = finish(precert);
    let EntryKind::Precert { issuer_key_hash, tbs_certificate, precertificate } = entry.kind()
    else {
        panic!("not a precertificate entry")
    };
    let (_, read) = X509Certificate::from_der(precertificate).unwrap();
    read.verify_signature(Some(read_signing.public_key())).unwrap();
    assert_eq!(read.issuer().as_raw(), signing.subject_der());
    let of_ca = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, ca.issuing.spki_der());
    assert_eq!(issuer_key_hash, of_ca.as_ref());
    // What the SCT is for is what the client gets, by the CA's own key.
    let leaf = Leaf::parse_certificate(issued.der()).unwrap();
    assert_eq!(leaf.logged_tbs().unwrap(), *tbs_certificate);
    assert_eq!(leaf.issuer, ca.issuing.subject_der());
    let (_, certificate) = X509Certificate::from_der(issued.der()).unwrap();
    certificate.verify_signature(Some(issuing.public_key())).unwrap();
    let returned: String = issued.pem_chain().collect();
    assert!(!returned.contains(signing.pem().trim_end()), "it is for the log alone");
    assert_eq!(issued.issuer().chain(), ca.chain());
}

/// Issuer and authority key identifier apart, both forms say the same (RFC 6962, 3.2).
#[test]
fn the_two_forms_differ_in_issuer_and_authority_key_identifier_only() {
    for algorithm in [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::EcdsaP384Sha384] {
        differ_in_two_fields(&TestCa::with(algorithm, "issuing", 3600 * 12));
    }
}

fn differ_in_two_fields(ca: &TestCa) {
    let precert = precert(&issuer(ca));
    let entry = Arc::clone(precert.log_entry());
    let EntryKind::Precert { precertificate, .. } = entry.kind() else { panic!() };
    let issued = finish(precert);
    let (before, after) = (
        Leaf::parse_certificate(precertificate).unwrap(),
        Leaf::parse_certificate(issued.der()).unwrap(),
    );
    let shown = |leaf: &Leaf<'_>| {
        let fields = [leaf.serial, leaf.algorithm, leaf.subject, leaf.public_key];
        (leaf.version, leaf.not_before, leaf.not_after, fields.map(<[u8]>::to_vec))
    };
    assert_ne!(before.issuer, after.issuer);
    assert_eq!(shown(&before), shown(&after));
    let last = before.extensions.len() - 1;
    assert_eq!(after.extensions.len(), last + 1);
    for (one, other) in before.extensions[..last].iter().zip(&after.extensions) {
        assert_eq!((one.id, one.critical), (other.id, other.critical));
        assert_eq!(one.value == other.value, one.id.to_string() != "2.5.29.35", "{}", one.id);
    }
}

#[test]
fn a_ca_that_allows_cas_below_itself_certifies_no_key_for_precertificates() {
    let signer = p256_signer();
    let root = make_root(&*signer, "a root");
    assert_eq!(root.path_len(), Some(1));
    // Whoever asks has its answer before the CA key is asked; the ceremony refuses by its own rule.
    let above = TestCa::below_with_path_len("issuing", 1).issuer();
    let made = PrecertKey::generate(&above, Serial::from_random([5; 20]));
    assert!(matches!(made, Err(PrecertSignerError::PathLength { .. })));
    let (key, new) = (p256_signer(), new_ca("precertificates", 3600));
    let made = create_precertificate_signer(&root, &*signer, &*key, &new).now_or_never().unwrap();
    let told = made.unwrap_err().to_string();
    assert!(told.contains("its path length 0 does not fit"), "{told}");
}

#[test]
fn a_ca_key_that_does_not_sign_certifies_nothing() {
    let ca = TestCa::new("issuing", 3600 * 12);
    let other = p256_signer();
    let key = PrecertKey::generate(&ca.issuer(), Serial::from_random([5; 20])).unwrap();
    let until = now().plus_ms(3_600_000);
    let made = PrecertSigner::below(&ca.issuing, &*other, until, now(), key);
    assert!(matches!(made.now_or_never().unwrap(), Err(PrecertSignerError::Certificate(_))));
}
