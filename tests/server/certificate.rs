//! The certificate on the wire, read by a library that Mayfly does not issue with.

use mayfly::{ct::LogId, keys};
use serde_json::json;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::{
    token::{email_claims, with},
    world::{CI_ISSUER, DEX_ISSUER, EMAIL_ISSUER, World},
};

const FULCIO: &str = "1.3.6.1.4.1.57264.1";

fn extension<'a>(certificate: &'a X509Certificate<'_>, oid: &str) -> Option<&'a [u8]> {
    let found = certificate.extensions().iter().find(|each| each.oid.to_id_string() == oid);
    found.map(|each| each.value)
}

pub(crate) fn utf8(der: &[u8]) -> &str {
    assert_eq!((der[0], usize::from(der[1])), (0x0c, der.len() - 2), "a short UTF8String");
    std::str::from_utf8(&der[2..]).unwrap()
}

#[tokio::test]
async fn nt_41_nt_42_nt_44_the_leaf_is_of_the_profile_and_of_nothing_a_csr_says() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let body = json!({
        "credentials": { "oidcIdentityToken": token },
        "certificateSigningRequest": greedy_csr(),
    });
    let chain = world.post(&body).await.chain();
    let (_, leaf) = X509Certificate::from_der(chain[0].der()).unwrap();
    assert_eq!(leaf.subject().iter().count(), 0, "the subject is empty");
    assert!(!leaf.is_ca());
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names, [GeneralName::RFC822Name("jane@example.com")]);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.flags == 1);
    let extended = leaf.extended_key_usage().unwrap().unwrap();
    assert!(!extended.critical && extended.value.code_signing && !extended.value.server_auth);
    assert_eq!(
        leaf.validity().time_to_expiration().map(|left| left.whole_seconds() <= 600),
        Some(true)
    );
    let lifetime = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert_eq!(lifetime, 600);
    let critical: Vec<String> = leaf
        .extensions()
        .iter()
        .filter(|each| each.critical)
        .map(|each| each.oid.to_id_string())
        .collect();
    assert_eq!(critical, ["2.5.29.15", "2.5.29.17"]);
    let text = String::from_utf8_lossy(chain[0].der()).into_owned();
    for greedy in ["evil.example.com", "Evil"] {
        assert!(!text.contains(greedy), "{greedy} came from the CSR");
    }
}

/// A CSR that asks for everything it must not get.
fn greedy_csr() -> String {
    use base64::Engine;
    use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa};
    let mut params = CertificateParams::new(vec!["evil.example.com".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Evil");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    base64::engine::general_purpose::STANDARD.encode(csr)
}

#[tokio::test]
async fn nt_45_serial_numbers_are_positive_and_never_the_same() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let chain = world.request(&token, "jane@example.com").await.chain();
        let (_, leaf) = X509Certificate::from_der(chain[0].der()).unwrap();
        let serial = leaf.raw_serial().to_vec();
        assert!(serial.len() <= 20 && serial.len() > 8 && serial[0] < 0x80);
        assert!(serials.insert(serial));
    }
}

#[tokio::test]
async fn nt_55_nt_56_the_one_sct_is_of_this_log_and_carries_its_index() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
    let chain = world.request(&token, "jane@example.com").await.chain();
    let (_, leaf) = X509Certificate::from_der(chain[0].der()).unwrap();
    let scts = leaf.extensions().iter().find_map(|each| match each.parsed_extension() {
        ParsedExtension::SCT(scts) => Some(scts),
        _ => None,
    });
    let [sct] = scts.unwrap().as_slice() else { panic!("exactly one SCT") };
    let log_key = keys::file::open(&world.path("log.pem"), None).unwrap();
    assert_eq!(*sct.id.key_id, LogId::from_spki(log_key.public_key_der()).0);
    // leaf_index, 5 bytes: this is the second entry.
    assert_eq!(sct.extensions.0, [0, 0, 5, 0, 0, 0, 0, 1]);
    assert!(leaf.extensions().last().unwrap().oid.to_id_string().ends_with("11129.2.4.2"));
}

#[tokio::test]
async fn extensions_say_who_vouched_and_what_was_built() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let chain = world.request(&token, "jane@example.com").await.chain();
    let (_, leaf) = X509Certificate::from_der(chain[0].der()).unwrap();
    assert_eq!(extension(&leaf, &format!("{FULCIO}.1")), Some(EMAIL_ISSUER.as_bytes()));
    assert_eq!(utf8(extension(&leaf, &format!("{FULCIO}.8")).unwrap()), EMAIL_ISSUER);
    assert_eq!(utf8(extension(&leaf, &format!("{FULCIO}.24")).unwrap()), "jane-1");

    let dex = json!({ "iss": DEX_ISSUER, "federated_claims": { "connector_id": "https://g.co" } });
    let token = world.issuer_key.sign(&with(email_claims(), dex));
    let chain = world.request(&token, "jane@example.com").await.chain();
    let (_, leaf) = X509Certificate::from_der(chain[0].der()).unwrap();
    assert_eq!(utf8(extension(&leaf, &format!("{FULCIO}.8")).unwrap()), "https://g.co");

    let ci = json!({
        "iss": CI_ISSUER, "sub": "job-1", "email": null, "email_verified": null,
        "workflow": "o/r/w.yml@refs/heads/main", "repository_id": 12_345_678_901u64, "run_id": 17,
    });
    let token = world.issuer_key.sign(&with(email_claims(), ci));
    let chain = world.request(&token, "job-1").await.chain();
    let (_, leaf) = X509Certificate::from_der(chain[0].der()).unwrap();
    let san = "https://ci.example.com/o/r/w.yml@refs/heads/main";
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::URI(san)]);
    assert_eq!(utf8(extension(&leaf, &format!("{FULCIO}.9")).unwrap()), san);
    assert_eq!(utf8(extension(&leaf, &format!("{FULCIO}.15")).unwrap()), "12345678901");
    assert_eq!(
        utf8(extension(&leaf, &format!("{FULCIO}.21")).unwrap()),
        "https://ci.example.com/runs/17"
    );
    assert_eq!(extension(&leaf, &format!("{FULCIO}.23")), None, "empty values are left out");
}
