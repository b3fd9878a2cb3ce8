use super::*;
use crate::x509::tlv;

/// A certificate, field by field as DER, that keeps every rule until a test changes a field.
#[derive(Clone)]
struct Draft {
    version: Vec<u8>,
    serial: Vec<u8>,
    algorithm: Vec<u8>,
    outer_algorithm: Vec<u8>,
    issuer: Vec<u8>,
    dates: [&'static str; 2],
    subject: Vec<u8>,
    public_key: Vec<u8>,
    extensions: Vec<(ObjectIdentifier, bool, Vec<u8>)>,
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut der = Vec::new();
    tlv::push_element(tag, &parts.concat(), &mut der);
    der
}

fn name(attributes: &[(ObjectIdentifier, u8, &str)]) -> Vec<u8> {
    let rdns: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(oid, tag, text)| {
            let oid = element(tlv::TAG_OID, &[oid.as_bytes()]);
            let text = element(*tag, &[text.as_bytes()]);
            element(0x31, &[&element(tlv::TAG_SEQUENCE, &[&oid, &text])])
        })
        .collect();
    element(tlv::TAG_SEQUENCE, &[&rdns.concat()])
}

fn simple_name(common_name: &str) -> Vec<u8> {
    let utf8 = tlv::TAG_UTF8_STRING;
    name(&[(ORGANIZATION, utf8, "example.com"), (COMMON_NAME, utf8, common_name)])
}

fn public_key(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    use rcgen::PublicKeyData;

    rcgen::KeyPair::generate_for(algorithm).unwrap().subject_public_key_info()
}

impl Draft {
    fn root() -> Self {
        let algorithm = IssuerAlgorithm::EcdsaWithSha256.der().to_vec();
        Self {
            version: vec![0xa0, 0x03, 0x02, 0x01, 0x02],
            serial: vec![0x40; 20],
            outer_algorithm: algorithm.clone(),
            algorithm,
            issuer: simple_name("root"),
            dates: ["261120000000Z", "361120000000Z"],
            subject: simple_name("root"),
            public_key: public_key(&rcgen::PKCS_ECDSA_P256_SHA256),
            extensions: vec![
                (BASIC_CONSTRAINTS, true, vec![0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x01]),
                (KEY_USAGE, true, KEY_CERT_SIGN_AND_CRL_SIGN.to_vec()),
                (SUBJECT_KEY_ID, false, vec![0x04, 0x02, 0xaa, 0xaa]),
            ],
        }
    }

    fn intermediate() -> Self {
        let mut draft = Self::root();
        draft.subject = simple_name("issuing");
        draft.dates = ["261120000000Z", "271120000000Z"];
        draft.extensions[0].2[7] = 0;
        draft.extensions[2].2 = vec![0x04, 0x02, 0xbb, 0xbb];
        draft.extensions.push((AUTHORITY_KEY_ID, false, vec![0x30, 0x04, 0x80, 0x02, 0xaa, 0xaa]));
        draft.extensions.push((EXT_KEY_USAGE, false, CODE_SIGNING.to_vec()));
        draft
    }

    fn value(&mut self, oid: ObjectIdentifier) -> &mut (ObjectIdentifier, bool, Vec<u8>) {
        self.extensions.iter_mut().find(|extension| extension.0 == oid).unwrap()
    }

    fn without(&mut self, oid: ObjectIdentifier) {
        self.extensions.retain(|extension| extension.0 != oid);
    }

    fn tbs(&self) -> Vec<u8> {
        let dates = self.dates.map(|date| element(0x17, &[date.as_bytes()]));
        let extensions: Vec<Vec<u8>> = self
            .extensions
            .iter()
            .map(|(oid, critical, value)| {
                let oid = element(tlv::TAG_OID, &[oid.as_bytes()]);
                let critical: &[u8] = if *critical { &[0x01, 0x01, 0xff] } else { &[] };
                let value = element(tlv::TAG_OCTET_STRING, &[value]);
                element(tlv::TAG_SEQUENCE, &[&oid, critical, &value])
            })
            .collect();
        let list = element(tlv::TAG_SEQUENCE, &[&extensions.concat()]);
        element(
            tlv::TAG_SEQUENCE,
            &[
                &self.version,
                &element(0x02, &[&self.serial]),
                &self.algorithm,
                &self.issuer,
                &element(tlv::TAG_SEQUENCE, &[&dates.concat()]),
                &self.subject,
                &self.public_key,
                &element(0xa3, &[&list]),
            ],
        )
    }

    fn der(&self) -> Vec<u8> {
        let signature = element(0x03, &[&[0, 1, 2]]);
        element(tlv::TAG_SEQUENCE, &[&self.tbs(), &self.outer_algorithm, &signature])
    }

    fn certificate(&self) -> Certificate {
        Certificate::parse_der(&self.der()).unwrap()
    }
}

/// What the rules say of a root or an intermediate that was changed; before and after the
/// signature they say the same, the comparison of the two algorithms apart.
fn broken(place: CaPlace<'_>, change: impl FnOnce(&mut Draft)) -> Vec<BrokenCaRule> {
    let mut draft = match place {
        CaPlace::Root => Draft::root(),
        CaPlace::Below(_) => Draft::intermediate(),
        CaPlace::ForPrecertificates(_) => {
            let mut draft = Draft::intermediate();
            draft.value(EXT_KEY_USAGE).2 = PRECERTIFICATE_SIGNING.to_vec();
            draft
        }
    };
    change(&mut draft);
    let signed = broken_by_certificate(&draft.der(), place).unwrap();
    let mut before = signed.clone();
    before.retain(|rule| *rule != BrokenCaRule::AlgorithmMismatch);
    assert_eq!(broken_by_tbs(&draft.tbs(), place).unwrap(), before);
    signed
}

fn in_root(change: impl FnOnce(&mut Draft)) -> Vec<BrokenCaRule> {
    broken(CaPlace::Root, change)
}

fn in_intermediate(change: impl FnOnce(&mut Draft)) -> Vec<BrokenCaRule> {
    broken(CaPlace::Below(&Draft::root().certificate()), change)
}

/// `path_len` is that of the CA above.
fn in_precertificate_signer(path_len: u8, change: impl FnOnce(&mut Draft)) -> Vec<BrokenCaRule> {
    let mut issuing = Draft::root();
    issuing.value(BASIC_CONSTRAINTS).2 = vec![0x30, 6, 1, 1, 0xff, 2, 1, path_len];
    broken(CaPlace::ForPrecertificates(&issuing.certificate()), change)
}

/// RFC 6962, 3.1, and what keeps it from being taken for a CA of code signing certificates.
#[test]
fn nt_42_what_signs_precertificates_is_for_nothing_else() {
    assert_eq!(in_precertificate_signer(0, |_| ()), []);
    let below_others = in_precertificate_signer(1, |_| ());
    assert_eq!(below_others, [BrokenCaRule::PathLength { path_len: 0 }]);
    let with_others_below = in_precertificate_signer(0, |ca| {
        ca.value(BASIC_CONSTRAINTS).2 = vec![0x30, 6, 1, 1, 0xff, 2, 1, 1];
    });
    assert_eq!(with_others_below, [BrokenCaRule::PathLength { path_len: 1 }]);
    let for_code = in_precertificate_signer(0, |ca| {
        ca.value(EXT_KEY_USAGE).2 = CODE_SIGNING.to_vec();
    });
    let expected = "precertificate signing";
    assert_eq!(for_code, [BrokenCaRule::ExtendedKeyUsage { expected }]);
    let stranger = in_precertificate_signer(0, |ca| ca.issuer.clone_from(&ca.subject.clone()));
    assert!(stranger.contains(&BrokenCaRule::Issuer), "{stranger:?}");
}

#[test]
fn what_the_profile_says_breaks_no_rule() {
    assert_eq!(in_root(|_| ()), []);
    assert_eq!(in_intermediate(|_| ()), []);
}

#[test]
fn bytes_that_are_no_certificate_are_no_answer() {
    assert!(broken_by_tbs(b"\x30\x00", CaPlace::Root).is_err());
    assert!(broken_by_certificate(&Draft::root().tbs(), CaPlace::Root).is_err());
}

#[test]
fn only_version_three_is_taken() {
    assert_eq!(in_root(|ca| ca.version[4] = 1), [BrokenCaRule::Version]);
}

#[test]
fn nt_45_serials_are_positive_and_of_eight_to_twenty_octets() {
    for serial in [vec![0x80; 20], vec![0x40; 7], vec![0x40; 21], vec![]] {
        assert_eq!(in_root(|ca| ca.serial = serial), [BrokenCaRule::Serial]);
    }
    for serial in [vec![0x40; 8], vec![0x7f; 20]] {
        assert_eq!(in_root(|ca| ca.serial = serial), []);
    }
}

#[test]
fn the_algorithm_is_the_same_inside_and_outside() {
    let sha384 = IssuerAlgorithm::EcdsaWithSha384.der();
    let found = in_root(|ca| ca.outer_algorithm = sha384.to_vec());
    assert_eq!(found, [BrokenCaRule::AlgorithmMismatch]);
}

#[test]
fn the_hash_is_that_of_the_issuers_curve() {
    let sha384 = |ca: &mut Draft| {
        ca.algorithm = IssuerAlgorithm::EcdsaWithSha384.der().to_vec();
        ca.outer_algorithm = ca.algorithm.clone();
    };
    assert_eq!(in_root(sha384), [BrokenCaRule::Algorithm]);
    assert_eq!(in_intermediate(sha384), [BrokenCaRule::Algorithm]);
    // The curve that counts is the issuer's, not that of the key that is certified.
    let p384_below = |ca: &mut Draft| ca.public_key = public_key(&rcgen::PKCS_ECDSA_P384_SHA384);
    assert_eq!(in_intermediate(p384_below), []);
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let found = in_intermediate(|ca| ca.public_key = public_key(&rcgen::PKCS_ED25519));
    assert_eq!(found, [BrokenCaRule::KeyKind]);
    let found = in_root(|ca| ca.public_key = public_key(&rcgen::PKCS_ED25519));
    assert_eq!(found, [BrokenCaRule::KeyKind, BrokenCaRule::Algorithm]);
}

#[test]
fn names_are_o_and_cn_as_utf8_strings_of_bounded_length() {
    let utf8 = tlv::TAG_UTF8_STRING;
    let printable = 0x13;
    let long = "x".repeat(65);
    for subject in [
        name(&[]),
        name(&[(COMMON_NAME, utf8, "issuing")]),
        name(&[(COMMON_NAME, utf8, "issuing"), (ORGANIZATION, utf8, "example.com")]),
        name(&[(ORGANIZATION, printable, "example.com"), (COMMON_NAME, utf8, "issuing")]),
        name(&[(ORGANIZATION, utf8, ""), (COMMON_NAME, utf8, "issuing")]),
        name(&[(ORGANIZATION, utf8, "example.com"), (COMMON_NAME, utf8, &long)]),
        name(&[(ORGANIZATION, utf8, "example.com"), (COMMON_NAME, utf8, "a\nb")]),
    ] {
        assert_eq!(in_intermediate(|ca| ca.subject = subject), [BrokenCaRule::Subject]);
    }
    let longest = simple_name(&"ü".repeat(64));
    assert_eq!(in_intermediate(|ca| ca.subject = longest), []);
}

#[test]
fn the_issuer_is_named_octet_by_octet_and_is_another() {
    let found = in_intermediate(|ca| ca.issuer = simple_name("Root"));
    assert_eq!(found, [BrokenCaRule::Issuer]);
    assert_eq!(in_root(|ca| ca.issuer = simple_name("other")), [BrokenCaRule::Issuer]);
    let found = in_intermediate(|ca| ca.subject = simple_name("root"));
    assert_eq!(found, [BrokenCaRule::SameName]);
}

#[test]
fn nt_43_validity_lies_within_that_of_the_issuer() {
    assert_eq!(in_root(|ca| ca.dates[1] = ca.dates[0]), [BrokenCaRule::Dates]);
    for dates in [["261119235959Z", "271120000000Z"], ["261120000000Z", "361120000001Z"]] {
        let found = in_intermediate(|ca| ca.dates = dates);
        assert!(matches!(found[..], [BrokenCaRule::OutsideIssuer { .. }]), "{found:?}");
    }
    assert_eq!(in_intermediate(|ca| ca.dates[1] = "361120000000Z"), []);
}

#[test]
fn no_extension_stands_twice_and_none_that_the_profile_does_not_name() {
    let twice = |ca: &mut Draft| ca.extensions.push(ca.extensions[1].clone());
    assert_eq!(in_root(twice), [BrokenCaRule::RepeatedExtension { id: "2.5.29.15".to_owned() }]);
    let name_constraints = ObjectIdentifier::new_unwrap("2.5.29.30");
    let more = |ca: &mut Draft| ca.extensions.push((name_constraints, true, vec![0x30, 0x00]));
    assert_eq!(in_intermediate(more), [BrokenCaRule::Forbidden { id: "2.5.29.30".to_owned() }]);
    let purpose = |ca: &mut Draft| {
        ca.extensions.push((EXT_KEY_USAGE, false, CODE_SIGNING.to_vec()));
    };
    assert_eq!(in_root(purpose), [BrokenCaRule::Forbidden { id: "2.5.29.37".to_owned() }]);
}

#[test]
fn basic_constraints_are_critical_and_say_ca_and_a_path_length() {
    type Change = fn(&mut Draft);
    let changes: [Change; 4] = [
        |ca| ca.without(BASIC_CONSTRAINTS),
        |ca| ca.value(BASIC_CONSTRAINTS).1 = false,
        |ca| ca.value(BASIC_CONSTRAINTS).2 = vec![0x30, 0x00],
        |ca| ca.value(BASIC_CONSTRAINTS).2 = vec![0x30, 0x03, 0x01, 0x01, 0xff],
    ];
    for change in changes {
        assert_eq!(in_root(change), [BrokenCaRule::BasicConstraints]);
        assert_eq!(in_intermediate(change), [BrokenCaRule::BasicConstraints]);
    }
}

#[test]
fn path_lengths_leave_room_below_a_root_and_shrink_on_the_way_down() {
    let path_len = |length| move |ca: &mut Draft| ca.value(BASIC_CONSTRAINTS).2[7] = length;
    assert_eq!(in_root(path_len(0)), [BrokenCaRule::PathLength { path_len: 0 }]);
    assert_eq!(in_root(path_len(2)), []);
    assert_eq!(in_intermediate(path_len(1)), [BrokenCaRule::PathLength { path_len: 1 }]);
}

#[test]
fn nt_44_key_usage_is_critical_with_exactly_two_bits() {
    type Change = fn(&mut Draft);
    let changes: [Change; 3] = [
        |ca| ca.without(KEY_USAGE),
        |ca| ca.value(KEY_USAGE).1 = false,
        // digitalSignature too.
        |ca| ca.value(KEY_USAGE).2 = vec![0x03, 0x02, 0x01, 0x86],
    ];
    for change in changes {
        assert_eq!(in_root(change), [BrokenCaRule::KeyUsage]);
        assert_eq!(in_intermediate(change), [BrokenCaRule::KeyUsage]);
    }
}

#[test]
fn nt_44_an_intermediate_is_for_code_signing_only() {
    type Change = fn(&mut Draft);
    let changes: [Change; 3] = [
        |ca| ca.without(EXT_KEY_USAGE),
        |ca| ca.value(EXT_KEY_USAGE).1 = true,
        // serverAuth instead.
        |ca| ca.value(EXT_KEY_USAGE).2[11] = 1,
    ];
    for change in changes {
        let expected = "codeSigning";
        assert_eq!(in_intermediate(change), [BrokenCaRule::ExtendedKeyUsage { expected }]);
    }
}

#[test]
fn every_ca_has_a_key_identifier_and_names_that_of_its_issuer() {
    type Change = fn(&mut Draft);
    let changes: [Change; 3] = [
        |ca| ca.without(SUBJECT_KEY_ID),
        |ca| ca.value(SUBJECT_KEY_ID).1 = true,
        |ca| ca.value(SUBJECT_KEY_ID).2 = vec![0x04, 0x00],
    ];
    for change in changes {
        assert_eq!(in_root(change), [BrokenCaRule::SubjectKeyId]);
        assert_eq!(in_intermediate(change), [BrokenCaRule::SubjectKeyId]);
    }
    let changes: [Change; 4] = [
        |ca| ca.without(AUTHORITY_KEY_ID),
        |ca| ca.value(AUTHORITY_KEY_ID).1 = true,
        |ca| ca.value(AUTHORITY_KEY_ID).2 = vec![0x30, 0x00],
        |ca| ca.value(AUTHORITY_KEY_ID).2[5] = 0xab,
    ];
    for change in changes {
        assert_eq!(in_intermediate(change), [BrokenCaRule::AuthorityKeyId]);
    }
}
