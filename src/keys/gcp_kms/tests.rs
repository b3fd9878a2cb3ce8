//! Keys in Cloud KMS, against the protocol server of tests/support/key_services.

use std::{fs, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    keys::{
        contract, key_services,
        trial::{Opened, bounds},
    },
    telemetry::metrics::{CallResult, Metrics},
};

use key_services::{
    Act, Kind, Running, ServiceKey,
    gcp::{Gcp, external_account_file},
};

const CA: &str = "projects/p/locations/global/keyRings/r/cryptoKeys/ca/cryptoKeyVersions/1";

/// A Cloud KMS with a P-256 key, and the file of a service account.
struct World {
    gcp: Running<Gcp>,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let gcp = Gcp::start();
        gcp.service().add_key(CA, Kind::P256);
        let world = Self { gcp, folder: tempfile::tempdir().unwrap() };
        let account = world.gcp.service().service_account_file();
        world.write("sa.json", &account);
        world
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn open(&self, name: &str, file: &str) -> Result<Opened<GcpKey>, OpenServiceKeyError> {
        let text = format!("//{name}?endpoint={}&credentials=file:{file}", self.gcp.url());
        let uri: GcpKmsUri = text.parse().unwrap();
        let (uri, series) = (uri.resolved_in(self.folder.path()), Metrics::new().key("test"));
        let remote = opened(&uri, bounds(), series.clone()).await?;
        Ok(Opened { remote: Arc::new(remote), series })
    }

    async fn refusal(&self, name: &str, file: &str) -> String {
        self.open(name, file).await.err().unwrap().to_string()
    }
}

#[tokio::test]
async fn keys_in_cloud_kms_uphold_the_contract() {
    let world = World::new();
    for (id, kind, algorithm) in [
        ("p256", Kind::P256, SignatureAlgorithm::EcdsaP256Sha256),
        ("p384", Kind::P384, SignatureAlgorithm::EcdsaP384Sha384),
        ("rsa2048", Kind::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha256),
        ("rsa4096", Kind::Rsa4096, SignatureAlgorithm::RsaPkcs1Sha256),
    ] {
        let name = CA.replace("/ca/", &format!("/{id}/"));
        world.gcp.service().add_key(&name, kind);
        let opened = world.open(&name, "sa.json").await.unwrap();
        assert_eq!(opened.remote.algorithm(), algorithm);
        assert_eq!(opened.remote.name(), format!("gcpkms://{name}"));
        let account = fs::read(world.folder.path().join("sa.json")).unwrap();
        let private: Value = serde_json::from_slice(&account).unwrap();
        let private = private["private_key"].as_str().unwrap().as_bytes().to_vec();
        contract::uphold(opened.remote, &[&private[100..140]]).await;
    }
}

#[tokio::test]
async fn a_federated_identity_leads_to_the_key_and_is_exchanged_anew_when_it_is_refused() {
    let world = World::new();
    let subject = world.write("subject", "ey.subject");
    world.write("wif.json", &external_account_file(&world.gcp.url(), &subject));
    let told = world.refusal(CA, "wif.json").await;
    assert!(told.contains("credentials: ") && !told.contains("ey.subject"), "{told}");

    world.gcp.service().trust_subject("ey.subject");
    let opened = world.open(CA, "wif.json").await.unwrap();
    opened.remote.sign(b"m").await.unwrap();
    assert_eq!(world.gcp.service().given, 1);
    world.gcp.service().revoke_tokens();
    opened.remote.sign(b"m").await.unwrap();
    assert_eq!(world.gcp.service().given, 2);
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 0);

    // The identity is gone, and comes back with another token.
    world.gcp.service().revoke_tokens();
    world.gcp.service().distrust_subjects();
    let told = opened.told().await;
    assert!(told.contains("could not be reached: credentials: "), "{told}");
    assert!(!told.contains("ey.subject") && !told.contains("ya29."), "{told}");
    world.write("subject", "ey.another");
    world.gcp.service().trust_subject("ey.another");
    opened.remote.sign(b"m").await.unwrap();
}

#[tokio::test]
async fn a_service_account_that_is_lost_is_an_outage_until_its_file_has_another_key() {
    let world = World::new();
    let opened = world.open(CA, "sa.json").await.unwrap();
    let key = world.gcp.service().forget_service_account();
    let told = opened.told().await;
    assert!(told.contains("asymmetricSign: HTTP 401 UNAUTHENTICATED: Request had"), "{told}");
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 1);
    world.gcp.service().remember_service_account(key);
    opened.remote.sign(b"m").await.unwrap();
    let account = world.gcp.service().service_account_file();
    world.write("sa.json", &account);
    opened.remote.sign(b"m").await.unwrap();
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 1);
}

#[tokio::test]
async fn nt_60_what_does_not_open_says_why_and_what_to_do() {
    let world = World::new();
    let named = |id: &str| CA.replace("/ca/", &format!("/{id}/"));
    world.gcp.service().add_key_of(&named("pss"), Kind::Rsa2048, "RSA_SIGN_PSS_2048_SHA256");
    world.gcp.service().add_key_of(&named("aes"), Kind::P256, "GOOGLE_SYMMETRIC_ENCRYPTION");
    world.gcp.service().add_key_of(&named("mixed"), Kind::P256, "EC_SIGN_P384_SHA384");
    world.gcp.service().add_key(&named("off"), Kind::P256);
    world.gcp.service().disable(&named("off"));
    world.write("no.json", "ya29.secret");
    world.write("other.json", r#"{"type": "gdch_service_account", "private_key": "ya29.secret"}"#);
    let broken = r#"{"type": "service_account", "private_key": "ya29.secret"}"#;
    world.write("broken.json", broken);
    for (name, file, message) in [
        (CA.to_owned(), "none.json", "none.json' cannot be read"),
        (CA.to_owned(), "no.json", "no.json' must be credentials in JSON whose 'type' is serv"),
        (CA.to_owned(), "other.json", "other.json' must be credentials in JSON whose 'type' is"),
        (CA.to_owned(), "broken.json", "credentials: "),
        (
            named("none"),
            "sa.json",
            "getPublicKey: HTTP 404 NOT_FOUND: CryptoKeyVersion projects/p/locations/global/keyRin",
        ),
        (
            named("off"),
            "sa.json",
            "is not enabled, current state is: DISABLED.; the version must be there, ENABLED, and",
        ),
        (named("pss"), "sa.json", "its kind is 'RSA_SIGN_PSS_2048_SHA256'; EC_SIGN_P256_SHA256, "),
        (named("aes"), "sa.json", "its kind is 'GOOGLE_SYMMETRIC_ENCRYPTION'"),
        (named("mixed"), "sa.json", "the public key is not of the algorithm that goes with it"),
    ] {
        let told = world.refusal(&name, file).await;
        assert!(told.starts_with(&format!("key gcpkms://{name}: ")), "{told}");
        assert!(told.contains(message), "{name} {file}: {told}");
        assert!(!told.contains("ya29."), "{told}");
    }
    world.gcp.service().may_view = false;
    let told = world.refusal(CA, "sa.json").await;
    for message in [
        "getPublicKey: HTTP 403 PERMISSION_DENIED: Permission 'cloudkms.cryptoKeyVersions.viewPu",
        "the account needs cloudkms.cryptoKeyVersions.viewPublicKey",
    ] {
        assert!(told.contains(message), "{told}");
    }
    world.gcp.service().forget_service_account();
    let told = world.refusal(CA, "sa.json").await;
    assert!(told.contains("getPublicKey: HTTP 401 UNAUTHENTICATED"), "{told}");
}

#[tokio::test]
async fn each_fault_is_told_by_its_name_and_tried_again_where_that_helps() {
    let world = World::new();
    let opened = world.open(CA, "sa.json").await.unwrap();
    for (act, attempts, message) in [
        (Act::Fail(503), 3, "asymmetricSign: HTTP 503 UNAVAILABLE: The service is currently"),
        (Act::Fail(500), 3, "asymmetricSign: HTTP 500 INTERNAL"),
        (Act::Fail(504), 3, "asymmetricSign: HTTP 504 DEADLINE_EXCEEDED"),
        (Act::Fail(409), 3, "asymmetricSign: HTTP 409 ABORTED"),
        (Act::Fail(429), 3, "asymmetricSign: HTTP 429 RESOURCE_EXHAUSTED: Quota exceeded"),
        (Act::Drop, 3, "could not be reached: asymmetricSign: "),
        (Act::WrongChecksum, 3, "the signature was damaged on its way (signatureCrc32c)"),
        (Act::DigestNotVerified, 3, "the digest was damaged on its way (verifiedDigestCrc32c is"),
        (Act::OtherName, 3, "asymmetricSign: another key signed"),
        (Act::Fail(400), 1, "it was refused: asymmetricSign: HTTP 400 FAILED_PRECONDITION"),
        (Act::Fail(404), 1, "it was refused: asymmetricSign: HTTP 404 NOT_FOUND"),
        (Act::Fail(403), 1, "could not be reached: asymmetricSign: HTTP 403 PERMISSION_DENIED"),
        (Act::Rubbish, 1, "it was refused: asymmetricSign: the answer is not what this service"),
        (Act::OtherKey, 1, "the signature it returned does not verify"),
        (Act::HashTwice, 1, "the signature it returned does not verify"),
        (Act::RepeatCredential, 1, "PERMISSION_DENIED: (its words are withheld, because they"),
    ] {
        let before = world.gcp.signings();
        world.gcp.always(act);
        let told = opened.told().await;
        assert!(told.starts_with("key gcpkms://projects/p/") && told.contains(message), "{told}");
        assert_eq!(world.gcp.signings() - before, attempts, "{act:?}");
        world.gcp.always(Act::Sign);
        opened.remote.sign(b"m").await.unwrap();
    }
    for first in [Act::Fail(429), Act::Fail(503), Act::Drop, Act::WrongChecksum] {
        world.gcp.next(&[first]);
        opened.remote.sign(b"m").await.unwrap();
    }
    assert!(opened.series.calls(CallResult::Throttled) >= 4);
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up() {
    let world = World::new();
    let mut opened = world.open(CA, "sa.json").await.unwrap();
    Arc::get_mut(&mut opened.remote).unwrap().set_attempt(Duration::from_millis(50));
    world.gcp.always(Act::Hang);
    let told = opened.told().await;
    assert!(told.ends_with("could not be reached: no answer in time"), "{told}");
    assert_eq!(world.gcp.signings(), 3);
}

#[tokio::test]
async fn permission_to_sign_that_is_missing_is_told_by_the_first_signature() {
    let world = World::new();
    let opened = world.open(CA, "sa.json").await.unwrap();
    world.gcp.service().may_sign = false;
    let told = opened.told().await;
    let expected = "asymmetricSign: HTTP 403 PERMISSION_DENIED: Permission \
                    'cloudkms.cryptoKeyVersions.useToSign' denied on resource 'projects/p/";
    assert!(told.contains(expected), "{told}");
    world.gcp.service().disable(CA);
    world.gcp.service().may_sign = true;
    let told = opened.told().await;
    assert!(
        told.contains("it was refused: asymmetricSign: HTTP 400 FAILED_PRECONDITION"),
        "{told}"
    );
}

#[test]
fn a_public_key_that_was_damaged_or_is_anothers_is_refused() {
    let pem = ServiceKey::generate(Kind::P256).public_pem();
    let answer = |crc32c: u32, name: &str| PublicKey {
        pem: pem.clone(),
        algorithm: "EC_SIGN_P256_SHA256".to_owned(),
        pem_crc32c: crc32c.to_string().into(),
        name: name.to_owned(),
    };
    let right = crc32c::crc32c(pem.as_bytes());
    assert!(answer(right, CA).public_key(CA).is_ok());
    let damaged = answer(right ^ 1, CA).public_key(CA).unwrap_err().to_string();
    assert!(damaged.contains("damaged on its way"), "{damaged}");
    let other = answer(right, "projects/q").public_key(CA).unwrap_err().to_string();
    assert!(other.contains("about another key"), "{other}");
}

/// RFC 3720, B.4; and the JSON of an int64.
#[test]
fn checksums_are_castagnolis_and_may_be_text_or_a_number() {
    let zeros = [0; 32];
    assert!(is_crc32c_of(&json!("2324772522"), &zeros));
    assert!(is_crc32c_of(&json!(0x8a91_36aa_u32), &zeros));
    for wrong in [json!("2324772523"), json!(-1), json!(null), json!("0x8a9136aa")] {
        assert!(!is_crc32c_of(&wrong, &zeros), "{wrong}");
    }
}

#[tokio::test]
async fn a_symmetric_key_upholds_the_contract_of_keys_that_encrypt_keys() {
    let world = World::new();
    let name = CA.replace("/ca/", "/kek/");
    let kek_name = name.split("/cryptoKeyVersions").next().unwrap();
    world.gcp.service().add_symmetric_key(kek_name);
    let text = format!("//{kek_name}?endpoint={}&credentials=file:sa.json", world.gcp.url());
    let uri: GcpKmsUri = text.parse().unwrap();
    assert_eq!(uri.to_string(), format!("gcpkms://{kek_name}"));
    let kms = CloudKms::reach(&uri.resolved_in(world.folder.path())).unwrap();
    let kek = KmsEncryption { kms };
    contract::uphold_encryption(&kek, true, &[b"BEGIN PRIVATE KEY"]).await;

    world.gcp.service().may_sign = false;
    let binding = crate::keys::wrapped::Binding::to_key(b"spki");
    let fault = crate::keys::wrapped::KeyEncryption::unwrap(&kek, b"x", &binding).await;
    let told = fault.unwrap_err().to_string();
    assert!(told.starts_with("decrypt: HTTP 403 PERMISSION_DENIED: Permission"), "{told}");
    let told = world.refusal(kek_name, "sa.json").await;
    assert!(
        told.contains("the version of the key is not configured; add '/cryptoKeyVer"),
        "{told}"
    );
}
