//! Keys of another's KMS: MiniStack, which checks credentials and policies.
//!
//! Credentials come from the environment, which other tests of this process share. So each test
//! runs itself again in a process of its own, with a user of its own.

use super::*;
use crate::{
    keys::{
        contract,
        trial::{blocking, run_again},
        wrapped::Binding,
    },
    telemetry::metrics::Metrics,
};

#[expect(dead_code, reason = "the tests under tests/ use the rest")]
#[path = "support.rs"]
mod support;

use support::aws::{self, AwsKms};

/// Runs the test `name` again as a user who may do `actions` with the keys that `set_up` makes;
/// whether this is the process outside.
fn outside(name: &str, actions: &[&str], set_up: impl FnOnce(&AwsKms)) -> bool {
    if std::env::var_os(ADDRESS).is_some() {
        return false;
    }
    let kms = AwsKms::ministack();
    set_up(&kms);
    let every_key =
        aws::AwsKey { id: String::new(), arn: "*".to_owned(), alias_arn: "*".to_owned() };
    let user = kms.create_user("mayfly", actions, &every_key);
    let mut environment = user.environment();
    environment.extend([(ADDRESS, kms.address().into()), (SECRET, user.secret.clone().into())]);
    run_again(&format!("keys::aws_kms::tests::{name}"), &environment);
    true
}

fn uri(key: &str) -> AwsKmsUri {
    let uri = aws::uri_at(&std::env::var(ADDRESS).unwrap(), key);
    uri.strip_prefix("awskms:").unwrap().parse().unwrap()
}

#[test]
fn keys_in_kms_uphold_the_contract() {
    let set_up = |kms: &AwsKms| {
        for (spec, name) in
            [("ECC_NIST_P256", "p256"), ("ECC_NIST_P384", "p384"), ("RSA_4096", "rsa")]
        {
            kms.create_signing_key(spec, name);
        }
    };
    let actions = ["kms:GetPublicKey", "kms:Sign"];
    if outside("keys_in_kms_uphold_the_contract", &actions, set_up) {
        return;
    }
    let secret = std::env::var(SECRET).unwrap();
    blocking(async {
        for (name, algorithm) in [
            ("p256", SignatureAlgorithm::EcdsaP256Sha256),
            ("p384", SignatureAlgorithm::EcdsaP384Sha384),
            ("rsa", SignatureAlgorithm::RsaPkcs1Sha256),
        ] {
            let uri = uri(&format!("alias/{name}"));
            let (backend, _) = backend(&uri).await.unwrap();
            let arn = backend.key_arn;
            let (_, id) = arn.rsplit_once('/').unwrap();
            assert!(arn.starts_with("arn:aws:kms:eu-west-1:"), "{arn}");
            for text in [uri.key_id.as_str(), id, &arn] {
                let series = Metrics::new().key("test");
                let signer = open(&self::uri(text), None, series).await.unwrap();
                assert_eq!(signer.algorithm(), algorithm);
                assert!(signer.name().contains(text), "{}", signer.name());
                if text.starts_with("alias/") {
                    contract::uphold(signer, &[secret.as_bytes()]).await;
                } else {
                    signer.sign(b"by another name").await.unwrap();
                }
            }
        }
    });
}

#[test]
fn a_key_in_kms_decrypts_data_keys_for_the_public_key_they_were_bound_to() {
    let set_up = |kms: &AwsKms| {
        for name in ["kek", "other"] {
            kms.create_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", name);
        }
    };
    let name = "a_key_in_kms_decrypts_data_keys_for_the_public_key_they_were_bound_to";
    if outside(name, &["kms:Encrypt", "kms:Decrypt"], set_up) {
        return;
    }
    blocking(async {
        let kek = key_encryption(&uri("alias/kek")).await.unwrap();
        let other = key_encryption(&uri("alias/other")).await.unwrap();
        let secret = std::env::var(SECRET).unwrap();
        contract::uphold_encryption(&*kek, true, &[secret.as_bytes()]).await;
        let (data_key, binding) = (Secret::new(vec![7; 32]), Binding::to_key(b"spki"));
        let wrapped = kek.wrap(&data_key, &binding).await.unwrap();
        let other_binding = Binding::to_key(b"another spki");
        let fault = kek.unwrap(&wrapped, &other_binding).await.unwrap_err();
        assert!(
            fault.to_string().starts_with("Decrypt: InvalidCiphertextException: it"),
            "{fault}"
        );
        assert_eq!(fault.kind, crate::keys::remote::FaultKind::Permanent);
        // AWS refuses that too. MiniStack only does not give the data key back.
        let by_another = other.unwrap(&wrapped, &binding).await.unwrap();
        assert_ne!(by_another.expose(), data_key.expose());
    });
}

#[test]
fn a_passphrase_is_refused() {
    let no_region: AwsKmsUri = "///alias/ca".parse().unwrap();
    let passphrase = Secret::from("not wanted".to_owned());
    blocking(async {
        let series = Metrics::new().key("test");
        let error = open(&no_region, Some(&passphrase), series).await.unwrap_err();
        assert!(error.to_string().contains("a passphrase is configured"), "{error}");
    });
}

/// Where the key service is.
const ADDRESS: &str = "MAYFLY_TEST_KMS";
/// What must not show.
const SECRET: &str = "MAYFLY_TEST_KMS_SECRET";
