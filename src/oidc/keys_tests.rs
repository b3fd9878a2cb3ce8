use proptest::prelude::*;
use serde_json::json;

use super::super::fakes::{TestKey, encode, key_set};
use super::*;

fn parse(document: &Value) -> Result<KeySet, KeySetError> {
    KeySet::parse(document.to_string().as_bytes())
}

fn one(jwk: Value) -> Result<KeySet, KeySetError> {
    parse(&json!({ "keys": [jwk] }))
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[test]
fn the_examples_of_the_rfcs_verify() {
    // RFC 7515, appendix A.3.
    let es256 = one(json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    }));
    let message = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signed = decode(
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    let verdict = es256.unwrap().verify(TokenAlgorithm::Es256, None, message, &signed);
    assert_eq!(verdict, Verdict::Verified);

    // RFC 8037, appendix A.4.
    let eddsa = one(json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    }));
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signed = decode(
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );
    let verdict = eddsa.unwrap().verify(TokenAlgorithm::EdDsa, None, message, &signed);
    assert_eq!(verdict, Verdict::Verified);
}

#[test]
fn each_algorithm_verifies_its_own_signatures_and_no_other_ones() {
    for algorithm in TokenAlgorithm::ALL {
        let key = TestKey::new(algorithm.name(), "k");
        let set = parse(&key_set([&key])).unwrap();
        let signed = key.sign(b"message");
        let verify = |a, kid, message: &[u8]| set.verify(a, Some(kid), message, &signed);
        assert_eq!(verify(algorithm, "k", b"message"), Verdict::Verified, "{algorithm}");
        assert_eq!(verify(algorithm, "k", b"massage"), Verdict::WrongSignature, "{algorithm}");
        assert_eq!(verify(algorithm, "other", b"message"), Verdict::NoSuchKey, "{algorithm}");
        for other in TokenAlgorithm::ALL.into_iter().filter(|&other| other != algorithm) {
            assert_ne!(verify(other, "k", b"message"), Verdict::Verified, "{algorithm} {other}");
        }
    }
}

#[test]
fn nt_20_an_algorithm_needs_a_key_of_its_own_kind() {
    let fits = |key: &TestKey, algorithm| {
        let set = parse(&key_set([key])).unwrap();
        set.verify(algorithm, Some("k"), b"m", b"s") != Verdict::NoSuchKey
    };
    let p384 = TestKey::new("ES384", "k");
    assert!(fits(&p384, TokenAlgorithm::Es384));
    assert!(!fits(&p384, TokenAlgorithm::Es256));
    assert!(!fits(&p384, TokenAlgorithm::Rs256));
    let rsa = TestKey::new("RS256", "k");
    assert!(fits(&rsa, TokenAlgorithm::Rs256) && fits(&rsa, TokenAlgorithm::Ps512));
    assert!(!fits(&rsa, TokenAlgorithm::Es256));
    assert!(!fits(&rsa, TokenAlgorithm::EdDsa));
}

#[test]
fn nt_20_the_alg_of_a_key_binds_it() {
    let key = TestKey::new("RS256", "k");
    let set = one(with(key.jwk(), "alg", json!("RS256"))).unwrap();
    let verify = |algorithm| set.verify(algorithm, Some("k"), b"m", &key.sign(b"m"));
    assert_eq!(verify(TokenAlgorithm::Rs256), Verdict::Verified);
    assert_eq!(verify(TokenAlgorithm::Ps256), Verdict::NoSuchKey);
    for alg in [json!("HS256"), json!("none"), json!("RSA-OAEP"), json!("ES256"), json!(1)] {
        let refused = one(with(key.jwk(), "alg", alg.clone())).unwrap_err();
        assert_eq!(refused, KeySetError::NoUsableKey, "{alg}");
    }
}

#[test]
fn nt_20_keys_for_other_uses_are_not_used() {
    let jwk = TestKey::new("ES256", "k").jwk();
    for usage in [json!("enc"), json!("SIG"), json!(["sig"]), json!(null)] {
        let refused = one(with(jwk.clone(), "use", usage.clone())).unwrap_err();
        assert_eq!(refused, KeySetError::NoUsableKey, "{usage}");
    }
    for operations in [json!(["sign"]), json!([]), json!("verify"), json!(["encrypt", "wrapKey"])] {
        let refused = one(with(jwk.clone(), "key_ops", operations.clone())).unwrap_err();
        assert_eq!(refused, KeySetError::NoUsableKey, "{operations}");
    }
    assert!(one(with(jwk.clone(), "use", json!("sig"))).is_ok());
    assert!(one(with(jwk, "key_ops", json!(["verify", "sign"]))).is_ok());
}

#[test]
fn nt_20_a_private_key_spoils_the_whole_set() {
    let good = TestKey::new("ES256", "good").jwk();
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let leaked = with(TestKey::new("ES256", "leaked").jwk(), member, json!("AA"));
        let set = parse(&json!({"keys": [good, leaked]}));
        assert_eq!(set.unwrap_err(), KeySetError::PrivateKey, "{member}");
    }
    let oct = json!({"kty": "oct", "k": "AAAA", "alg": "HS256"});
    assert_eq!(parse(&json!({"keys": [good, oct]})).unwrap_err(), KeySetError::PrivateKey);
}

#[test]
fn odd_keys_are_passed_over_and_leave_the_good_ones() {
    let good = TestKey::new("ES256", "good").jwk();
    let rsa = TestKey::new("RS256", "r").jwk();
    let ed = TestKey::new("EdDSA", "e").jwk();
    let odd = [
        json!(null),
        json!("key"),
        json!({}),
        json!({"kty": "PQ"}),
        with(good.clone(), "kty", json!(1)),
        with(good.clone(), "crv", json!("secp256k1")),
        with(good.clone(), "crv", json!("P-384")),
        with(good.clone(), "kid", json!(7)),
        with(good.clone(), "x", json!("AA")),
        // Not on the curve.
        with(good.clone(), "x", json!(encode([7; 32]))),
        with(good.clone(), "y", json!("****")),
        with(ed.clone(), "crv", json!("X25519")),
        with(ed, "x", json!(encode([1; 31]))),
        with(rsa.clone(), "n", json!(encode([0xff; 128]))),
        // One bit short of 2048.
        with(rsa.clone(), "n", json!(encode([&[0x7f][..], &[0xff; 255]].concat()))),
        with(rsa.clone(), "n", json!("")),
        with(rsa, "e", json!("")),
    ];
    for jwk in odd {
        let set = parse(&json!({"keys": [jwk, good]}));
        let set = set.unwrap_or_else(|error| panic!("{jwk}: {error}"));
        assert_eq!((set.len(), set.skipped()), (1, 1), "{jwk}");
        assert_eq!(one(jwk.clone()).unwrap_err(), KeySetError::NoUsableKey, "{jwk}");
    }
}

#[test]
fn a_modulus_may_have_the_leading_zero_of_der() {
    let key = TestKey::new("RS256", "k");
    let jwk = key.jwk();
    let n = [&[0][..], &decode(jwk["n"].as_str().unwrap())].concat();
    let set = one(with(jwk, "n", json!(encode(n)))).unwrap();
    let verdict = set.verify(TokenAlgorithm::Rs256, Some("k"), b"m", &key.sign(b"m"));
    assert_eq!(verdict, Verdict::Verified);
}

#[test]
fn nt_17_two_keys_of_one_name_are_refused_and_one_key_said_twice_is_not() {
    let (one, two) = (TestKey::new("ES256", "k"), TestKey::new("ES256", "k"));
    assert_eq!(parse(&key_set([&one, &two])).unwrap_err(), KeySetError::DuplicateKeyId);
    let set = parse(&key_set([&one, &one])).unwrap();
    assert_eq!((set.len(), set.skipped()), (1, 1));
}

#[test]
fn nt_17_a_key_set_is_bounded() {
    let jwk = TestKey::new("EdDSA", "k").without_kid().jwk();
    assert!(parse(&json!({"keys": vec![jwk.clone(); MAX_KEYS]})).is_ok());
    let error = parse(&json!({"keys": vec![jwk; MAX_KEYS + 1]})).unwrap_err();
    assert_eq!(error, KeySetError::TooMany { keys: MAX_KEYS + 1, max: MAX_KEYS });
}

#[test]
fn what_is_no_key_set_is_refused() {
    for document in [json!({}), json!({"keys": {}}), json!({"keys": null}), json!({"Keys": []})] {
        assert_eq!(parse(&document).unwrap_err(), KeySetError::NoKeysMember, "{document}");
    }
    assert_eq!(parse(&json!({"keys": []})).unwrap_err(), KeySetError::NoUsableKey);
    for text in
        ["", "[]", "<html>", r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kid":"a","kid":"b"}]}"#]
    {
        let error = KeySet::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, KeySetError::Json { .. }), "{text}");
    }
}

#[test]
fn a_token_without_kid_is_tried_with_the_few_keys_that_fit() {
    let keys: Vec<_> = (0..9).map(|i| TestKey::new("ES256", &i.to_string())).collect();
    let verify = |set: &KeySet| set.verify(TokenAlgorithm::Es256, None, b"m", &keys[7].sign(b"m"));
    assert_eq!(verify(&parse(&key_set(&keys[..8])).unwrap()), Verdict::Verified);
    assert_eq!(verify(&parse(&key_set(&keys[..7])).unwrap()), Verdict::WrongSignature);
    assert_eq!(verify(&parse(&key_set(&keys)).unwrap()), Verdict::NoSuchKey);
}

#[test]
fn a_key_without_kid_is_not_found_by_one() {
    let key = TestKey::new("ES256", "k").without_kid();
    let set = parse(&key_set([&key])).unwrap();
    let verify = |kid| set.verify(TokenAlgorithm::Es256, kid, b"m", &key.sign(b"m"));
    assert_eq!(verify(None), Verdict::Verified);
    assert_eq!(verify(Some("k")), Verdict::NoSuchKey);
    assert_eq!(verify(Some("")), Verdict::NoSuchKey);
}

proptest! {
    #[test]
    fn nt_02_no_key_set_makes_it_panic(
        bytes: Vec<u8>,
        kty in "RSA|EC|OKP|oct",
        crv in "P-256|P-384|P-521|Ed25519",
        a: Vec<u8>,
        b: Vec<u8>,
    ) {
        let _ = KeySet::parse(&bytes);
        let (a, b) = (encode(a), encode(b));
        let _ = one(json!({"kty": kty, "crv": crv, "x": a, "y": b, "n": a, "e": b}));
    }

    #[test]
    fn nt_02_no_signature_makes_it_panic(signed: Vec<u8>) {
        let set = parse(&key_set([&TestKey::new("ES256", "k")])).unwrap();
        let verdict = set.verify(TokenAlgorithm::Es256, None, b"m", &signed);
        prop_assert_eq!(verdict, Verdict::WrongSignature);
    }
}
