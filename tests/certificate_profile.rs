//! The leaf profile (docs/certificate-profile.md), read by strangers: x509-parser and x509-cert.
//!
//! Certificates here are put together from the public parts that the CA uses, so that every field
//! can be chosen freely; that the CA uses them so is tested beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use futures_util::FutureExt;
use mayfly::{
    ca::ceremony::{NewCa, create_intermediate, create_root},
    ct::{Extensions, LogId, SignedCertificateTimestamp, SignedCertificateTimestampList},
    keys::{self, SignatureAlgorithm, Signer},
    time::Timestamp,
    x509::{
        Certificate, ExtensionField, FulcioExtensions, Leaf, PublicKey, Serial, SubjectAltName,
        Template, Validity,
        leaf::{ExtensionId, LeafExtension},
        lint::{self, BrokenRule, Origin, Stage},
        template::{IssuerAlgorithm, LeafFields, LeafTbs},
    },
};
use p256::pkcs8::EncodePublicKey;
use proptest::prelude::*;
use x509_cert::der::{Decode, Encode};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// An issuing CA with its root and key.
struct TestCa {
    root: Certificate,
    issuing: Certificate,
    signer: Arc<dyn Signer>,
    template: Template,
}

impl TestCa {
    fn new(algorithm: SignatureAlgorithm) -> Self {
        let root_key = keys::file::generate(algorithm).unwrap().signer;
        let signer = keys::file::generate(algorithm).unwrap().signer;
        let new = |common_name, lifetime_seconds| NewCa {
            organization: "example.com",
            common_name,
            now: Timestamp::from_unix_seconds(0),
            lifetime_seconds,
            serial: Serial::from_random([9; 20]),
        };
        // Two hundred years, so that leaves of either kind of time fit.
        let new_root = new("test root", 200 * 31_557_600);
        let root = create_root(&*root_key, &new_root).now_or_never().unwrap().unwrap();
        let new_issuing = new("test issuing", 199 * 31_557_600);
        let issuing = create_intermediate(&root, &*root_key, &*signer, &new_issuing);
        let issuing = issuing.now_or_never().unwrap().unwrap();
        let leaf_algorithm = match algorithm {
            SignatureAlgorithm::EcdsaP384Sha384 => IssuerAlgorithm::EcdsaWithSha384,
            _ => IssuerAlgorithm::EcdsaWithSha256,
        };
        let key_id = issuing.subject_key_id().unwrap().to_vec();
        let template = Template::new(leaf_algorithm, issuing.subject_der(), &key_id);
        Self { root, issuing, signer, template }
    }

    fn certificate(&self, tbs: &[u8]) -> Vec<u8> {
        let signature = self.signer.sign(tbs).now_or_never().unwrap().unwrap();
        self.template.certificate(tbs, &signature)
    }
}

/// What a test chooses.
#[derive(Clone, Debug)]
struct Choice {
    serial: Serial,
    validity: Validity,
    key: PublicKey,
    san: SubjectAltName,
    extensions: FulcioExtensions,
}

impl Choice {
    fn plain() -> Self {
        let at = Timestamp::parse_rfc3339("2026-11-20T10:20:30Z").unwrap();
        let mut extensions = FulcioExtensions::default();
        extensions.set(ExtensionField::Issuer, "https://issuer.example".to_owned());
        extensions.set(ExtensionField::BuildTrigger, "push".to_owned());
        extensions.set(ExtensionField::TokenSubject, "someone".to_owned());
        Self {
            serial: Serial::from_random([0x11; 20]),
            validity: Validity::starting_at(at, 600).unwrap(),
            key: p256_key([7; 32]),
            san: SubjectAltName::email("someone@example.com").unwrap(),
            extensions,
        }
    }

    fn tbs(&self, template: &Template) -> LeafTbs {
        template.leaf(&LeafFields {
            serial: &self.serial,
            validity: &self.validity,
            public_key: &self.key,
            san: &self.san,
            extensions: &self.extensions,
        })
    }
}

fn p256_key(scalar: [u8; 32]) -> PublicKey {
    let key = p256::SecretKey::from_slice(&scalar).unwrap().public_key();
    PublicKey::parse(key.to_public_key_der().unwrap().as_bytes()).unwrap()
}

fn sct_list(extensions: Vec<u8>) -> Vec<u8> {
    let sct = SignedCertificateTimestamp {
        log_id: LogId([0xab; 32]),
        timestamp: Timestamp::from_unix_ms(1_763_634_030_123),
        extensions: Extensions::try_from(extensions).unwrap(),
        signature: vec![0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x07],
    };
    SignedCertificateTimestampList(vec![sct]).encode().unwrap()
}

#[test]
fn nt_44_extensions_stand_in_the_golden_order_with_the_golden_bytes() {
    let key_id = [0xaa; 20];
    let template = Template::new(IssuerAlgorithm::EcdsaWithSha256, &[0x30, 0x00], &key_id);
    let tbs = Choice::plain().tbs(&template);
    let shown = |tbs: &[u8]| -> Vec<String> {
        let tbs = x509_cert::TbsCertificate::from_der(tbs).unwrap();
        let line = |extension: &x509_cert::ext::Extension| {
            let critical = if extension.critical { " critical" } else { "" };
            let value = hex::encode(extension.extn_value.as_bytes());
            format!("{}{critical} {value}", extension.extn_id)
        };
        tbs.extensions().unwrap().iter().map(line).collect()
    };
    let mut expected = vec![
        "2.5.29.15 critical 03020780".to_owned(),
        "2.5.29.37 300a06082b06010505070303".to_owned(),
        // The key identifier is checked against an independent SHA-256 below.
        shown(&tbs.logged_tbs())[2].clone(),
        "2.5.29.35 30168014aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
        "2.5.29.17 critical 30158113736f6d656f6e65406578616d706c652e636f6d".to_owned(),
        "1.3.6.1.4.1.57264.1.1 68747470733a2f2f6973737565722e6578616d706c65".to_owned(),
        "1.3.6.1.4.1.57264.1.8 0c1668747470733a2f2f6973737565722e6578616d706c65".to_owned(),
        "1.3.6.1.4.1.57264.1.20 0c0470757368".to_owned(),
        "1.3.6.1.4.1.57264.1.24 0c07736f6d656f6e65".to_owned(),
    ];
    assert_eq!(shown(&tbs.logged_tbs()), expected);
    expected.push("1.3.6.1.4.1.11129.2.4.3 critical 0500".to_owned());
    assert_eq!(shown(&tbs.precertificate_tbs()), expected);
    expected.pop();
    let list = sct_list(Vec::new());
    expected.push(format!("1.3.6.1.4.1.11129.2.4.2 04{:02x}{}", list.len(), hex::encode(&list)));
    assert_eq!(shown(&tbs.final_tbs(&list)), expected);
}

#[test]
fn nt_44_every_field_reads_back_as_the_profile_says() {
    let ca = TestCa::new(SignatureAlgorithm::EcdsaP384Sha384);
    let choice = Choice::plain();
    let der = ca.certificate(&choice.tbs(&ca.template).final_tbs(&sct_list(Vec::new())));
    let (rest, read) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(read.version(), x509_parser::x509::X509Version::V3);
    assert_eq!(read.raw_serial(), choice.serial.as_bytes());
    assert_eq!(read.signature_algorithm, read.tbs_certificate.signature);
    assert_eq!(read.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.3");
    assert!(read.signature_algorithm.parameters.is_none());
    assert_eq!(read.issuer().as_raw(), ca.issuing.subject_der());
    assert_eq!(read.subject().iter().count(), 0);
    assert_eq!(read.validity().not_before.timestamp(), 1_795_170_030);
    assert_eq!(read.validity().not_after.timestamp() - read.validity().not_before.timestamp(), 600);
    assert_eq!(read.public_key().raw, choice.key.spki_der());
    assert!(!read.is_ca());
    assert!(read.basic_constraints().unwrap().is_none());
    assert_eq!(read.key_usage().unwrap().unwrap().value.flags, 1);
    let usage = read.extended_key_usage().unwrap().unwrap();
    assert!(usage.value.code_signing && !usage.critical);
    assert!(!usage.value.any && !usage.value.server_auth && usage.value.other.is_empty());
    let key_identifiers = read.extensions().iter().filter_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0),
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    let mut of_bits = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &read.public_key().subject_public_key.data,
    )
    .as_ref()
    .to_vec();
    of_bits.truncate(20);
    let expected = [of_bits.as_slice(), ca.issuing.subject_key_id().unwrap()];
    assert_eq!(key_identifiers.collect::<Vec<_>>(), expected);
}

#[test]
fn nt_42_no_leaf_is_a_ca_or_names_a_host() {
    let template = Template::new(IssuerAlgorithm::EcdsaWithSha256, &[0x30, 0x00], &[1; 20]);
    // Texts that would be host names or addresses, if they were read as such.
    let names = [
        SubjectAltName::email("someone@sub.example.com").unwrap(),
        SubjectAltName::uri("https://127.0.0.1/x").unwrap(),
        SubjectAltName::uri("https://example.com/CA:TRUE").unwrap(),
        SubjectAltName::username("someone", "example.com").unwrap(),
    ];
    for san in names {
        let choice = Choice { san: san.clone(), ..Choice::plain() };
        let tbs = choice.tbs(&template).final_tbs(&sct_list(Vec::new()));
        let der = template.certificate(&tbs, &[0x30, 0]);
        let (_, read) = X509Certificate::from_der(&der).unwrap();
        assert!(!read.is_ca());
        let sans = read.subject_alternative_name().unwrap().unwrap();
        assert!(sans.critical, "the subject is empty");
        let [only] = sans.value.general_names.as_slice() else { panic!("not one name") };
        assert!(
            matches!(
                only,
                GeneralName::RFC822Name(_) | GeneralName::URI(_) | GeneralName::OtherName(..)
            ),
            "{only:?}"
        );
        lint::check(&Leaf::parse_tbs(&tbs).unwrap(), Stage::Certificate, 600).unwrap();
    }
}

#[test]
fn nt_56_the_extensions_of_an_sct_are_embedded_byte_for_byte() {
    let template = Template::new(IssuerAlgorithm::EcdsaWithSha256, &[0x30, 0x00], &[1; 20]);
    for extensions in [vec![], vec![0, 0, 5, 0, 0, 0, 1, 2], vec![0xff; 300]] {
        let list = sct_list(extensions.clone());
        let tbs = Choice::plain().tbs(&template).final_tbs(&list);
        let der = template.certificate(&tbs, &[0x30, 0]);
        let (_, read) = X509Certificate::from_der(&der).unwrap();
        let last = read.extensions().last().unwrap();
        let ParsedExtension::SCT(scts) = last.parsed_extension() else { panic!("{last:?}") };
        assert_eq!(scts.len(), 1);
        assert_eq!(scts[0].extensions.0, extensions);
        assert_eq!(Leaf::parse_certificate(&der).unwrap().sct_list().unwrap(), list);
    }
}

#[test]
fn the_lint_finds_what_does_not_fit_the_profile() {
    let ca = TestCa::new(SignatureAlgorithm::EcdsaP256Sha256);
    let good = Choice::plain();
    let broken = |tbs: &[u8], stage, lifetime_seconds| {
        lint::check(&Leaf::parse_tbs(tbs).unwrap(), stage, lifetime_seconds)
            .unwrap_err()
            .to_string()
    };
    let tbs = good.tbs(&ca.template);
    let list = sct_list(Vec::new());
    let last = "its last extension is not the one for its stage";
    assert_eq!(broken(&tbs.logged_tbs(), Stage::Certificate, 600), last);
    assert_eq!(broken(&tbs.precertificate_tbs(), Stage::Certificate, 600), last);
    assert_eq!(broken(&tbs.final_tbs(&list), Stage::Precertificate, 600), last);
    assert_eq!(
        broken(&tbs.final_tbs(&list), Stage::Certificate, 601),
        "it is valid for 600 seconds instead of 601"
    );
    // Each edit keeps all lengths, so that only the rule itself can notice.
    let edits: [(&str, &[u8], &[u8], &str); 8] = [
        ("serial", &[0x02, 0x14, 0x51], &[0x02, 0x14, 0x91], "its serial number is not positive"),
        ("v2", &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 1], "it is not an X.509 v3 certificate"),
        ("key usage", &[3, 2, 7, 0x80], &[3, 2, 2, 0x84], "its key usage is missing or not as"),
        ("usage", &[7, 3, 3, 0x30], &[7, 3, 1, 0x30], "its extended key usage is missing"),
        ("dns", &[0x81, 0x13], &[0x82, 0x13], "its subject alternative name is missing"),
        (
            "ca",
            &[6, 3, 0x55, 0x1d, 0x0e],
            &[6, 3, 0x55, 0x1d, 0x13],
            "its subject key identifier is",
        ),
        (
            "stranger",
            &[0x30, 1, 0x14, 4],
            &[0x31, 1, 0x14, 4],
            "extension 1.3.6.1.4.1.57265.1.20 does",
        ),
        (
            "twice",
            &[0x30, 1, 0x14, 4],
            &[0x30, 1, 0x18, 4],
            "extension 1.3.6.1.4.1.57264.1.24 stands",
        ),
    ];
    for (what, from, to, expected) in edits {
        let mut tbs = tbs.final_tbs(&list);
        let at: Vec<usize> =
            (0..tbs.len() - from.len()).filter(|at| tbs[*at..].starts_with(from)).collect();
        assert_eq!(at.len(), 1, "{what}: the pattern must be unambiguous");
        tbs[at[0]..at[0] + to.len()].copy_from_slice(to);
        let found = broken(&tbs, Stage::Certificate, 600);
        assert!(found.starts_with(expected), "{what}: {found}");
    }
}

type Change = fn(&mut Leaf<'_>);

fn named<'l, 'a>(leaf: &'l mut Leaf<'a>, oid: &str) -> &'l mut LeafExtension<'a> {
    leaf.extensions.iter_mut().find(|extension| extension.id.to_string() == oid).unwrap()
}

const SKI: &str = "2.5.29.14";
const SAN: &str = "2.5.29.17";
const AKI: &str = "2.5.29.35";
const POISON: &str = "1.3.6.1.4.1.11129.2.4.3";
const ISSUER: &str = "1.3.6.1.4.1.57264.1.8";
const ISSUER_TEXT: &str = "1.3.6.1.4.1.57264.1.1";
const TRIGGER: &str = "1.3.6.1.4.1.57264.1.20";
const OTHER_KIND: &[u8] = b"\x30\x07\xa0\x05\x06\x01\x2a\xa0\x00";
const NO_NAME: &[u8] =
    b"\x30\x12\xa0\x10\x06\x0a\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x07\xa0\x02\x0c\x00";
const NO_TEXT: &[u8] =
    b"\x30\x13\xa0\x11\x06\x0a\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x07\xa0\x03\x16\x01a";

/// What the lint says, and what was done to a good leaf: to what every certificate has.
fn broken_fields() -> [(&'static str, Change); 18] {
    let ski = "its subject key identifier is missing";
    let aki = "its authority key identifier is missing";
    [
        ("it is not an X.509 v3", |leaf| leaf.version = 1),
        ("its serial number is not", |leaf| leaf.serial = &[0; 20]),
        ("its serial number is not", |leaf| leaf.serial = &[1; 19]),
        ("its serial number is not", |leaf| leaf.serial = &[1; 21]),
        ("its two signature algorithms", |leaf| leaf.outer_algorithm = Some(&[0x30, 0])),
        ("it is valid for 0 seconds", |leaf| leaf.not_after = leaf.not_before),
        ("its subject is not empty", |leaf| leaf.subject = &[0x30, 2, 0x31, 0]),
        ("extension 2.5.29.15 stands", |leaf| leaf.extensions.insert(0, leaf.extensions[0])),
        ("its last extension is not", |leaf| leaf.extensions.rotate_right(1)),
        ("its last extension is not", |leaf| leaf.extensions.truncate(3)),
        ("its poison is not", |leaf| named(leaf, POISON).critical = false),
        ("its poison is not", |leaf| named(leaf, POISON).value = &[4, 0]),
        ("its key usage is missing", |leaf| named(leaf, "2.5.29.15").critical = false),
        ("its extended key usage is", |leaf| named(leaf, "2.5.29.37").critical = true),
        (ski, |leaf| named(leaf, SKI).critical = true),
        (ski, |leaf| named(leaf, SKI).value = &[4, 0]),
        (aki, |leaf| named(leaf, AKI).value = &[0x30, 0]),
        (aki, |leaf| named(leaf, AKI).value = &[0x30, 6, 0x80, 1, 7, 0x82, 1, 7]),
    ]
}

/// The same of the name, and of what the token said.
fn broken_texts() -> [(&'static str, Change); 20] {
    let san = "its subject alternative name is missing";
    [
        (san, |leaf| named(leaf, SAN).critical = false),
        (san, |leaf| named(leaf, SAN).value = &[0x30, 3, 0x82, 1, b'a']),
        (san, |leaf| named(leaf, SAN).value = &[0x30, 6, 0x81, 1, b'a', 0x81, 1, b'b']),
        (san, |leaf| named(leaf, SAN).value = &[0x30, 4, 0x86, 2, 0xc3, 0xa4]),
        (san, |leaf| named(leaf, SAN).value = &[0x30, 2, 0x81, 0]),
        (san, |leaf| named(leaf, SAN).value = &[0x31, 3, 0x81, 1, b'a']),
        (san, |leaf| named(leaf, SAN).value = OTHER_KIND),
        (san, |leaf| named(leaf, SAN).value = NO_NAME),
        (san, |leaf| named(leaf, SAN).value = NO_TEXT),
        ("extension 1.3.6.1.4.1.57264.1.1 is not one", |leaf| {
            named(leaf, ISSUER_TEXT).value = &[0xff]
        }),
        ("extension 1.3.6.1.4.1.57264.1.1 is not one", |leaf| named(leaf, ISSUER_TEXT).value = &[]),
        ("extension 1.3.6.1.4.1.57264.1.20 is not one", |leaf| {
            named(leaf, TRIGGER).value = &[0x0c, 0]
        }),
        ("extension 1.3.6.1.4.1.57264.1.7 does not", |leaf| {
            named(leaf, TRIGGER).id = ExtensionId::new(b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x07")
        }),
        ("its issuer of the token is", |leaf| {
            named(leaf, ISSUER).id = ExtensionId::new(b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x09")
        }),
        ("extension 1.3.6.1.4.1.57264.1.9.1 does not", |leaf| {
            named(leaf, TRIGGER).id =
                ExtensionId::new(b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x09\x01")
        }),
        ("extension 1.3.6.1.4.1.57264.1 does not", |leaf| {
            named(leaf, TRIGGER).id = ExtensionId::new(b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01")
        }),
        ("extension 0x551d80 does not", |leaf| {
            named(leaf, TRIGGER).id = ExtensionId::new(b"\x55\x1d\x80")
        }),
        ("extension 1.3.6.1.4.1.57264.1.20 is not one", |leaf| {
            named(leaf, TRIGGER).value = b"push"
        }),
        ("extension 1.3.6.1.4.1.57264.1.20 is critical", |leaf| {
            named(leaf, TRIGGER).critical = true
        }),
        ("extension 2.5.29.19 does not", |leaf| {
            named(leaf, TRIGGER).id = ExtensionId::new(b"\x55\x1d\x13")
        }),
    ]
}

/// Each rule once: a leaf that is good but for one thing.
#[test]
fn every_rule_of_the_lint_refuses_the_leaf_that_breaks_it_alone() {
    let ca = TestCa::new(SignatureAlgorithm::EcdsaP256Sha256);
    let tbs = Choice::plain().tbs(&ca.template).precertificate_tbs();
    let good = Leaf::parse_tbs(&tbs).unwrap();
    lint::check(&good, Stage::Precertificate, 600).unwrap();
    let broken_leaves = broken_fields().into_iter().chain(broken_texts());
    for (index, (expected, change)) in broken_leaves.enumerate() {
        let mut leaf = good.clone();
        change(&mut leaf);
        let broken = lint::check(&leaf, Stage::Precertificate, 600).unwrap_err().to_string();
        assert!(broken.starts_with(expected), "{index}, {expected}: {broken}");
    }
}

/// A leaf that is good in itself, but not of this CA, not for this key, or for too long.
#[test]
fn a_leaf_is_of_the_ca_that_signs_it_and_for_the_key_that_was_proved() {
    let ca = TestCa::new(SignatureAlgorithm::EcdsaP256Sha256);
    let choice = Choice::plain();
    let tbs = choice.tbs(&ca.template).precertificate_tbs();
    let leaf = Leaf::parse_tbs(&tbs).unwrap();
    let good = Origin {
        issuer: ca.issuing.subject_der(),
        issuer_key_id: ca.issuing.subject_key_id().unwrap(),
        issuer_valid_until: choice.validity.not_after(),
        algorithm: leaf.algorithm,
        public_key: &choice.key,
    };
    lint::check_origin(&leaf, &good).unwrap();
    let second_earlier = Timestamp::from_unix_ms(choice.validity.not_after().unix_ms() - 1000);
    for (origin, broken) in [
        (Origin { issuer: ca.root.subject_der(), ..good }, BrokenRule::Issuer),
        (Origin { issuer_key_id: &[1; 20], ..good }, BrokenRule::AuthorityKeyId),
        (Origin { issuer_valid_until: second_earlier, ..good }, BrokenRule::OutlivesIssuer),
        (Origin { public_key: &p256_key([8; 32]), ..good }, BrokenRule::PublicKey),
        (Origin { algorithm: &[0x30, 0], ..good }, BrokenRule::Algorithm),
    ] {
        assert_eq!(lint::check_origin(&leaf, &origin), Err(broken));
    }
    let mut of_other_key = leaf.clone();
    named(&mut of_other_key, SKI).value =
        &[4, 20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    assert_eq!(lint::check_origin(&of_other_key, &good), Err(BrokenRule::SubjectKeyId));
}

fn any_san() -> impl Strategy<Value = SubjectAltName> {
    prop_oneof![
        "[a-z]{1,20}(\\.[a-z]{1,20})?@[a-z]{1,30}\\.example"
            .prop_map(|text| SubjectAltName::email(&text).unwrap()),
        "https://[a-z]{1,30}\\.example/[a-zA-Z0-9/._@-]{0,300}"
            .prop_map(|text| SubjectAltName::uri(&text).unwrap()),
        ("[a-z]{1,30}", "[a-z]{1,30}\\.example")
            .prop_map(|(user, domain)| SubjectAltName::username(&user, &domain).unwrap()),
    ]
}

fn any_extensions() -> impl Strategy<Value = FulcioExtensions> {
    let field = prop::sample::select(vec![
        ExtensionField::Issuer,
        ExtensionField::GithubWorkflowRef,
        ExtensionField::BuildSignerUri,
        ExtensionField::RunnerEnvironment,
        ExtensionField::SourceRepositoryUri,
        ExtensionField::DeploymentEnvironment,
        ExtensionField::TokenSubject,
    ]);
    prop::collection::vec((field, "\\PC{0,200}"), 0..7).prop_map(|values| {
        let mut extensions = FulcioExtensions::default();
        for (field, value) in values.into_iter().filter(|(_, value)| !value.is_empty()) {
            extensions.set(field, value);
        }
        // Of no token, but of every certificate.
        if extensions.value(ExtensionField::Issuer).is_none() {
            extensions.set(ExtensionField::Issuer, "https://issuer.example".to_owned());
        }
        extensions
    })
}

fn any_choice() -> impl Strategy<Value = Choice> {
    let second = 1_700_000_000_u64..6_000_000_000;
    (any::<[u8; 20]>(), second, 1_u8..=255, any_san(), any_extensions()).prop_map(
        |(random, second, scalar, san, extensions)| Choice {
            serial: Serial::from_random(random),
            validity: Validity::starting_at(Timestamp::from_unix_seconds(second), 600).unwrap(),
            key: p256_key([scalar; 32].map(|octet| octet & 0x7f | 1)),
            san,
            extensions,
        },
    )
}

/// Certificate bytes, decoded and encoded again by x509-cert.
fn reencoded(der: &[u8]) -> Vec<u8> {
    x509_cert::Certificate::from_der(der).unwrap().to_der().unwrap()
}

#[test]
fn any_certificate_is_canonical_der_that_passes_the_lint_and_verifies_up_to_the_root() {
    for algorithm in [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::EcdsaP384Sha384] {
        let ca = TestCa::new(algorithm);
        let (_, root) = X509Certificate::from_der(ca.root.der()).unwrap();
        let (_, issuing) = X509Certificate::from_der(ca.issuing.der()).unwrap();
        root.verify_signature(None).unwrap();
        issuing.verify_signature(Some(root.public_key())).unwrap();
        let extensions = prop::collection::vec(any::<u8>(), 0..40);
        proptest!(|(choice in any_choice(), sct_extensions in extensions)| {
            let tbs = choice.tbs(&ca.template);
            let list = sct_list(sct_extensions);
            let precert = ca.certificate(&tbs.precertificate_tbs());
            let certificate = ca.certificate(&tbs.final_tbs(&list));
            for (der, stage) in [(&precert, Stage::Precertificate), (&certificate, Stage::Certificate)] {
                prop_assert_eq!(&reencoded(der), der);
                lint::check(&Leaf::parse_certificate(der).unwrap(), stage, 600).unwrap();
                let (_, read) = X509Certificate::from_der(der).unwrap();
                read.verify_signature(Some(issuing.public_key())).unwrap();
            }
            // NT-50: the log's view of the certificate is that of the precertificate.
            let of_final = Leaf::parse_certificate(&certificate).unwrap();
            prop_assert_eq!(of_final.logged_tbs().unwrap(), tbs.logged_tbs());
            prop_assert_eq!(without_last_extension(&precert), tbs.logged_tbs());
            prop_assert_eq!(without_last_extension(&certificate), tbs.logged_tbs());
        });
    }
}

/// The TBS without its last extension, by x509-cert's own decoder and encoder.
fn without_last_extension(certificate: &[u8]) -> Vec<u8> {
    use x509_cert::der::asn1::{Any, ContextSpecific, SequenceRef};
    use x509_cert::der::{Reader, SliceReader, TagMode, TagNumber};
    let certificate = x509_cert::Certificate::from_der(certificate).unwrap();
    let tbs = certificate.tbs_certificate();
    let mut extensions = tbs.extensions().unwrap().clone();
    extensions.pop();
    let tbs_der = tbs.to_der().unwrap();
    let mut reader =
        SliceReader::new(<&SequenceRef>::from_der(&tbs_der).unwrap().as_bytes()).unwrap();
    let mut content = Vec::new();
    // Version, serial, algorithm, issuer, validity, subject, public key.
    for _ in 0..7 {
        content.extend_from_slice(reader.tlv_bytes().unwrap());
    }
    let extensions = ContextSpecific {
        tag_number: TagNumber(3),
        tag_mode: TagMode::Explicit,
        value: extensions,
    };
    content.extend_from_slice(&extensions.to_der().unwrap());
    Any::new(x509_cert::der::Tag::Sequence, content).unwrap().to_der().unwrap()
}
