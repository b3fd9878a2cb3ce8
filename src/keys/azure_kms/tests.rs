//! Keys in Key Vault, against the protocol server of tests/support/key_services.

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
    Act, Kind, Running,
    azure::{Azure, CLIENT_ID, TENANT_ID},
};

/// A vault with a P-256 key, and an application with a secret in a file.
struct World {
    azure: Running<Azure>,
    secret: String,
    folder: TempDir,
}

type Variables<'a> = &'a [(&'static str, &'a str)];

impl World {
    fn new() -> Self {
        let azure = Azure::start();
        azure.service().add_key("ca", Kind::P256);
        let secret = azure.service().new_secret();
        let world = Self { azure, secret, folder: tempfile::tempdir().unwrap() };
        world.write("secret", &world.secret);
        world
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn open(&self, key: &str) -> Result<Opened<AzureKey>, OpenServiceKeyError> {
        self.open_as(key, "&client-secret=file:secret", &self.application()).await
    }

    fn application(&self) -> [(&'static str, &'static str); 2] {
        [("AZURE_TENANT_ID", TENANT_ID), ("AZURE_CLIENT_ID", CLIENT_ID)]
    }

    async fn open_as(
        &self,
        key: &str,
        parameters: &str,
        variables: Variables<'_>,
    ) -> Result<Opened<AzureKey>, OpenServiceKeyError> {
        let url = self.azure.url();
        let text = format!("//ca-vault/{key}?endpoint={url}{parameters}");
        let uri: AzureKmsUri = text.parse().unwrap();
        let (uri, series) = (uri.resolved_in(self.folder.path()), Metrics::new().key("test"));
        let here = [
            ("AZURE_AUTHORITY_HOST", url.as_str()),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", url.as_str()),
        ];
        // The first of a name counts.
        let environment = Environment::fixed(&[variables, &here].concat());
        let remote = opened(&uri, &environment, bounds(), series.clone()).await?;
        Ok(Opened { remote: Arc::new(remote), series })
    }

    async fn refusal(&self, key: &str, parameters: &str, variables: Variables<'_>) -> String {
        let told = self.open_as(key, parameters, variables).await.err().unwrap().to_string();
        assert!(!told.contains(&self.secret), "{told}");
        told
    }
}

#[tokio::test]
async fn keys_in_a_vault_uphold_the_contract() {
    let world = World::new();
    for (name, kind, algorithm) in [
        ("p256", Kind::P256, SignatureAlgorithm::EcdsaP256Sha256),
        ("p384", Kind::P384, SignatureAlgorithm::EcdsaP384Sha384),
        ("rsa2048", Kind::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha256),
        ("rsa4096", Kind::Rsa4096, SignatureAlgorithm::RsaPkcs1Sha256),
    ] {
        world.azure.service().add_key(name, kind);
        let opened = world.open(name).await.unwrap();
        assert_eq!(opened.remote.algorithm(), algorithm);
        assert_eq!(opened.remote.name(), format!("azurekms://ca-vault/{name}"));
        let public_der = world.azure.service().key(name).public_der();
        assert_eq!(opened.remote.public_key_der(), public_der);
        contract::uphold(opened.remote, &[world.secret.as_bytes()]).await;
    }
}

#[tokio::test]
async fn each_way_to_log_in_leads_to_the_key() {
    let world = World::new();
    world.azure.service().machine_has_identity = true;
    world.azure.service().trust_assertion("ey.federated");
    let token_file = world.write("federated", "ey.federated\n");
    let in_uri =
        format!("&tenant-id={TENANT_ID}&client-id={CLIENT_ID}&client-secret=env:MY_SECRET");
    let [tenant, client] = world.application();
    for (parameters, variables) in [
        ("", &[tenant, client, ("AZURE_CLIENT_SECRET", world.secret.as_str())][..]),
        ("", &[tenant, client, ("AZURE_FEDERATED_TOKEN_FILE", &token_file)]),
        ("", &[client]),
        ("", &[]),
        (in_uri.as_str(), &[("MY_SECRET", &world.secret)]),
    ] {
        let opened = world.open_as("ca", parameters, variables).await.unwrap();
        opened.remote.sign(b"m").await.unwrap();
        let shown = format!("{opened:#?}");
        for secret in [world.secret.as_str(), "ey.federated", "eyJ0."] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    assert_eq!(world.azure.service().given, 5);
}

#[tokio::test]
async fn nt_60_what_does_not_open_says_why_and_what_to_do() {
    let world = World::new();
    world.azure.service().add_key_for("encrypts", Kind::Rsa2048, &["encrypt", "decrypt"]);
    world.azure.service().add_key("off", Kind::P256);
    world.azure.service().disable("off");
    world.write("wrong", "abc8Q~wrong-secret");
    let both = world.application();
    let [tenant, client] = both;
    let file = "&client-secret=file:secret";
    let none = "00000000000000000000000000000000";
    for (key, parameters, variables, message) in [
        ("ca", file, &[client][..], "the tenant is not configured; say '?tenant-id=…', or set"),
        ("ca", file, &[tenant], "the application is not configured; say '?client-id=…', or set"),
        ("ca", "&client-secret=file:none", &both, "none' cannot be read"),
        ("ca", "&client-secret=env:NONE", &both, "the environment variable NONE is not set"),
        (
            "ca",
            "&client-secret=file:wrong",
            &both,
            "oauth2/v2.0/token: HTTP 401 invalid_client: AADSTS7000215: Invalid client secret",
        ),
        (
            "ca",
            file,
            &[("AZURE_TENANT_ID", "other"), client],
            "oauth2/v2.0/token: HTTP 400 invalid_request: AADSTS90002: Tenant not found.",
        ),
        (
            "ca",
            file,
            &[("AZURE_AUTHORITY_HOST", "http://login.example.com"), tenant, client],
            "AZURE_AUTHORITY_HOST must be https://HOST",
        ),
        (
            "ca",
            "",
            &[],
            "metadata/identity/oauth2/token: HTTP 400 invalid_request: Identity not found; assign \
             a managed identity to this machine, or set AZURE_TENANT_ID",
        ),
        (
            "none",
            file,
            &both,
            "keys/get: HTTP 404 KeyNotFound: A key with (name/id) none/ was not found in this \
             key vault.; the vault must have the key, and this version of it, enabled",
        ),
        (&format!("ca/{none}"), file, &both, "keys/get: HTTP 404 KeyNotFound"),
        ("off", file, &both, "keys/get: HTTP 403 Forbidden/KeyDisabled: Operation is not allowed"),
        ("encrypts", file, &both, "its permitted operations do not include 'sign'; make a key"),
    ] {
        let told = world.refusal(key, parameters, variables).await;
        assert!(told.starts_with(&format!("key azurekms://ca-vault/{key}: ")), "{told}");
        assert!(told.contains(message), "{key} {parameters}: {told}");
        assert!(!told.contains("abc8Q~") && !told.contains("Trace ID"), "{told}");
    }
    world.azure.service().may_get = false;
    let told = world.refusal("ca", file, &both).await;
    let expected = "keys/get: HTTP 403 Forbidden/ForbiddenByRbac: Caller is not authorized to \
                    perform action.; the identity needs the role 'Key Vault Crypto User', or the";
    assert!(told.contains(expected), "{told}");
}

#[tokio::test]
async fn each_fault_is_told_by_its_name_and_tried_again_where_that_helps() {
    let world = World::new();
    let opened = world.open("ca").await.unwrap();
    for (act, attempts, message) in [
        (Act::Fail(503), 3, "keys/sign: HTTP 503 ServiceUnavailable: The service is unavailable."),
        (Act::Fail(500), 3, "keys/sign: HTTP 500 InternalError"),
        (Act::Fail(429), 3, "keys/sign: HTTP 429 Throttled: Too many requests."),
        (Act::Drop, 3, "could not be reached: keys/sign: "),
        (Act::Fail(400), 1, "it was refused: keys/sign: HTTP 400 BadParameter"),
        (Act::Fail(404), 1, "it was refused: keys/sign: HTTP 404 KeyNotFound"),
        (Act::Fail(409), 1, "it was refused: keys/sign: HTTP 409 Conflict"),
        (Act::Fail(403), 1, "could not be reached: keys/sign: HTTP 403 Forbidden/ForbiddenByFire"),
        (Act::Rubbish, 1, "it was refused: keys/sign: the answer is not what this service"),
        (Act::OtherName, 1, "it was refused: keys/sign: another key signed"),
        (Act::OtherKey, 1, "the signature it returned does not verify"),
        (Act::HashTwice, 1, "the signature it returned does not verify"),
        (Act::RepeatCredential, 1, "(its words are withheld, because they repeat a credential)"),
    ] {
        let before = world.azure.signings();
        world.azure.always(act);
        let told = opened.told().await;
        assert!(told.starts_with("key azurekms://ca-vault/ca: "), "{told}");
        assert!(told.contains(message) && !told.contains("eyJ0."), "{told}");
        assert_eq!(world.azure.signings() - before, attempts, "{act:?}");
        world.azure.always(Act::Sign);
        opened.remote.sign(b"m").await.unwrap();
    }
    for first in [Act::Fail(429), Act::Fail(503), Act::Drop] {
        world.azure.next(&[first]);
        opened.remote.sign(b"m").await.unwrap();
    }
    assert!(opened.series.calls(CallResult::Throttled) >= 4);
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up() {
    let world = World::new();
    let mut opened = world.open("ca").await.unwrap();
    Arc::get_mut(&mut opened.remote).unwrap().set_attempt(Duration::from_millis(50));
    world.azure.always(Act::Hang);
    let told = opened.told().await;
    assert!(told.ends_with("could not be reached: no answer in time"), "{told}");
    assert_eq!(world.azure.signings(), 3);
}

#[tokio::test]
async fn a_key_that_is_rotated_goes_on_signing_with_the_version_it_was_opened_with() {
    let world = World::new();
    let opened = world.open("ca").await.unwrap();
    let old = opened.remote.public_key_der().to_vec();
    let version = opened.remote.backend().version.clone();
    world.azure.service().add_key("ca", Kind::P256);
    opened.remote.sign(b"m").await.unwrap();
    let latest = world.open("ca").await.unwrap();
    assert_ne!(latest.remote.public_key_der(), old);
    latest.remote.sign(b"m").await.unwrap();
    let pinned = world.open(&format!("ca/{version}")).await.unwrap();
    assert_eq!(pinned.remote.public_key_der(), old);
    assert_eq!(pinned.remote.name(), format!("azurekms://ca-vault/ca/{version}"));
    pinned.remote.sign(b"m").await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_lost_is_made_good_within_one_signature_or_when_there_is_a_secret_again() {
    let world = World::new();
    let opened = world.open("ca").await.unwrap();
    world.azure.service().revoke_tokens();
    opened.remote.sign(b"m").await.unwrap();
    assert_eq!(world.azure.service().given, 2);
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 0);

    world.azure.service().revoke_tokens();
    world.azure.service().remove_secret();
    let told = opened.told().await;
    assert!(told.contains("could not be reached: oauth2/v2.0/token: HTTP 401 invalid_"), "{told}");
    assert!(!told.contains(&world.secret), "{told}");
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 1);
    let another = world.azure.service().new_secret();
    world.write("secret", &another);
    opened.remote.sign(b"m").await.unwrap();
}

#[tokio::test]
async fn what_is_lost_in_mid_run_is_told_by_the_signature() {
    let world = World::new();
    let opened = world.open("ca").await.unwrap();
    world.azure.service().may_sign = false;
    let told = opened.told().await;
    assert!(told.contains("could not be reached: keys/sign: HTTP 403 Forbidden/Forbid"), "{told}");
    world.azure.service().may_sign = true;
    world.azure.service().disable("ca");
    let told = opened.told().await;
    assert!(told.contains("it was refused: keys/sign: HTTP 403 Forbidden/KeyDisabled"), "{told}");
}

/// The samples of the reference: "Get Key" and "Sign", 7.4.
#[test]
fn the_samples_of_the_reference_are_understood() {
    let sample = json!({
        "key": {
            "kid": "https://myvault.vault.azure.net/keys/CreateSoftKeyTest/78deebed173b48e48f55abf87ed4cf71",
            "kty": "RSA",
            "key_ops": ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
            "n": "2HJAE5fU3Cw2Rt9hEuq-F6XjINKGa-zskfISVqopqUy60GOs2eyhxbWbJBeUXNor_gf-tXtNeuqeBgitLeVa640UDvnEjYTKWjCniTxZRaU7ewY8BfTSk-7KxoDdLsPSpX_MX4rwlAx-_1UGk5t4sQgTbm9T6Fm2oqFd37dsz5-Gj27UP2GTAShfJPFD7MqU_zIgOI0pfqsbNL5xTQVM29K6rX4jSPtylZV3uWJtkoQIQnrIHhk1d0SC0KwlBV3V7R_LVYjiXLyIXsFzSNYgQ68ZjAwt8iL7I8Osa-ehQLM13DVvLASaf7Jnu3sC3CWl3Gyirgded6cfMmswJzY87w",
            "e": "AQAB"
        },
        "attributes": { "enabled": true, "created": 1_493_942_451, "updated": 1_493_942_451,
                        "recoveryLevel": "Recoverable+Purgeable" },
        "tags": { "purpose": "unit test", "test name ": "CreateGetDeleteKeyTest" }
    });
    let KeyBundle { key } = serde_json::from_value(sample).unwrap();
    let uri: AzureKmsUri = "//myvault/CreateSoftKeyTest".parse().unwrap();
    assert_eq!(key.version(&uri).unwrap(), "78deebed173b48e48f55abf87ed4cf71");
    assert_eq!(key.public_key().unwrap().algorithm(), SignatureAlgorithm::RsaPkcs1Sha256);
    let other: AzureKmsUri = "//myvault/another".parse().unwrap();
    assert!(key.version(&other).unwrap_err().to_string().contains("about another key"));

    let signed: Operated = serde_json::from_value(json!({
        "kid": "https://myvault.vault.azure.net/keys/testkey/9885aa558e8d448789683188f8c194b0",
        "value": "aKFG8NXcfTzqyR44rW42484K_zZI_T7zZuebvWuNgAoEI1gXYmxrshp42CunSmmu4oqo4-IrCikPkNIBkHXnAW2cv03Ad0UpwXhVfepK8zzDBaJPMKVGS-ZRz8CshEyGDKaLlb3J3zEkXpM3RrSEr0mdV6hndHD_mznLB5RmFui5DsKAhez4vUqajgtkgcPfCekMqeSwp6r9ItVL-gEoAohx8XMDsPedqu-7BuZcBcdayaPuBRL4wWoTDULA11P-UN_sJ5qMj3BbiRYhIlBWGR04wIGfZ3pkJjHJUpOvgH2QajdYPzUBauOCewMYbq9XkLRSzI_A7HkkDVycugSeAA"
    }))
    .unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(signed.value).unwrap().len(), 256);
}

#[test]
fn a_key_of_another_curve_or_with_short_coordinates_is_refused() {
    let key = |crv: &str, x: &str| JsonWebKey {
        kid: String::new(),
        kty: "EC".to_owned(),
        crv: crv.to_owned(),
        key_ops: vec!["sign".to_owned()],
        x: x.to_owned(),
        y: "AAAA".to_owned(),
        n: String::new(),
        e: String::new(),
    };
    for (crv, message) in [
        ("P-256K", "its kind is 'EC P-256K'; EC P-256, EC P-384 and RSA sign here"),
        ("P-521", "its kind is 'EC P-521'"),
        ("P-256", "the answer has no public key"),
    ] {
        let told = key(crv, "AAAA").public_key().unwrap_err().to_string();
        assert!(told.contains(message), "{told}");
    }
}

#[tokio::test]
async fn an_rsa_key_upholds_the_contract_of_keys_that_encrypt_keys() {
    use crate::keys::wrapped::{Binding, KeyEncryption as _};
    let world = World::new();
    world.azure.service().add_key_for("kek", Kind::Rsa2048, &["wrapKey", "unwrapKey"]);
    let url = world.azure.url();
    let text = format!("//ca-vault/kek?endpoint={url}&client-secret=file:secret");
    let uri: AzureKmsUri = text.parse().unwrap();
    let uri = uri.resolved_in(world.folder.path());
    let here = [("AZURE_AUTHORITY_HOST", url.as_str())];
    let environment = Environment::fixed(&[&world.application()[..], &here].concat());
    let vault = KeyVault::reach(&uri, &environment).await.unwrap();
    let kek = VaultEncryption { vault, name: "kek".to_owned(), version: None };
    contract::uphold_encryption(&kek, false, &[world.secret.as_bytes()]).await;

    // What an older version encrypted, that version decrypts.
    let (binding, data_key) = (Binding::to_key(b"spki"), Secret::new(vec![7; 32]));
    let wrapped = kek.wrap(&data_key, &binding).await.unwrap();
    world.azure.service().add_key_for("kek", Kind::Rsa2048, &["wrapKey", "unwrapKey"]);
    assert_eq!(kek.unwrap(&wrapped, &binding).await.unwrap().expose(), data_key.expose());
    world.azure.service().may_sign = false;
    let told = kek.unwrap(&wrapped, &binding).await.unwrap_err().to_string();
    assert!(told.starts_with("keys/unwrapkey: HTTP 403 Forbidden/ForbiddenByRbac"), "{told}");
}
