//! Keys in a transit engine, against the protocol server of tests/support/key_services.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    keys::{
        contract, key_services,
        service::ServiceUriError,
        trial::{Opened, bounds},
    },
    telemetry::metrics::{CallResult, Metrics},
};

use key_services::{
    Act, Kind, Running,
    vault::{Lease, Vault},
};

const CA: &str = "transit/keys/ca";

/// A Vault with a P-256 key and a token for it in a file.
struct World {
    vault: Running<Vault>,
    token: String,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let vault = Vault::start();
        vault.service().add_key(CA, Kind::P256);
        let token = vault.service().add_token(Lease::FULL);
        let world = Self { vault, token, folder: tempfile::tempdir().unwrap() };
        world.write("token", &world.token);
        world
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn uri(&self, text: &str) -> VaultUri {
        let uri: Result<VaultUri, ServiceUriError> = text.parse();
        uri.unwrap().resolved_in(self.folder.path())
    }

    async fn open(&self, text: &str) -> Result<Opened<VaultKey>, OpenServiceKeyError> {
        self.open_in(text, &[]).await
    }

    async fn open_in(
        &self,
        text: &str,
        variables: &[(&'static str, &str)],
    ) -> Result<Opened<VaultKey>, OpenServiceKeyError> {
        let url = self.vault.url();
        let address = [("VAULT_ADDR", url.as_str())];
        // The first of a name counts.
        let environment = Environment::fixed(&[variables, &address].concat());
        let (uri, series) = (self.uri(text), Metrics::new().key("test"));
        let remote = opened(&uri, &environment, bounds(), series.clone()).await?;
        Ok(Opened { remote: Arc::new(remote), series })
    }

    async fn refusal(&self, text: &str, variables: &[(&'static str, &str)]) -> String {
        let text = self.open_in(text, variables).await.err().unwrap().to_string();
        assert!(!text.contains(&self.token), "{text}");
        text
    }
}

#[tokio::test]
async fn keys_in_transit_uphold_the_contract() {
    let world = World::new();
    for (name, kind, algorithm) in [
        ("p256", Kind::P256, SignatureAlgorithm::EcdsaP256Sha256),
        ("p384", Kind::P384, SignatureAlgorithm::EcdsaP384Sha384),
        ("rsa", Kind::Rsa4096, SignatureAlgorithm::RsaPkcs1Sha256),
    ] {
        world.vault.service().add_key(&format!("transit/keys/{name}"), kind);
        let opened = world.open(&format!("//{name}?token=file:token")).await.unwrap();
        assert_eq!(opened.remote.algorithm(), algorithm);
        assert_eq!(opened.remote.name(), format!("hashivault://{name}"));
        contract::uphold(opened.remote, &[world.token.as_bytes()]).await;
    }
}

#[tokio::test]
async fn each_way_to_log_in_leads_to_the_key() {
    let world = World::new();
    world.vault.service().add_role("approle", json!({"role_id": "r1", "secret_id": "s1-secret"}));
    world.vault.service().add_role("ci/roles", json!({"role_id": "r2"}));
    world.vault.service().add_role("kubernetes", json!({"role": "mayfly", "jwt": "ey.jwt"}));
    world.write("secret-id", "s1-secret\n");
    world.write("jwt", "ey.jwt");
    let home = world.folder.path().to_str().unwrap();
    for (text, variables) in [
        ("//ca?token=file:token", &[][..]),
        ("//ca?token=env:MY_TOKEN", &[("MY_TOKEN", world.token.as_str())]),
        ("//ca", &[("VAULT_TOKEN", world.token.as_str())]),
        ("//ca", &[("BAO_TOKEN", world.token.as_str()), ("VAULT_TOKEN", "another")]),
        ("//ca?auth=approle&role-id=r1&secret-id=file:secret-id", &[]),
        ("//ca?auth=approle", &[("VAULT_ROLE_ID", "r1"), ("VAULT_SECRET_ID", "s1-secret")]),
        ("//ca?auth=approle&role-id=r2&auth-mount=ci/roles", &[]),
        ("//ca?auth=kubernetes&role=mayfly&jwt=file:jwt", &[]),
    ] {
        let opened = world.open_in(text, variables).await.unwrap();
        opened.remote.sign(b"m").await.unwrap();
        let shown = format!("{opened:#?}");
        for secret in [world.token.as_str(), "s1-secret", "ey.jwt"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    world.write(".vault-token", &world.token);
    world.open_in("//ca", &[("HOME", home)]).await.unwrap();
}

#[tokio::test]
async fn mount_namespace_and_address_come_from_the_uri_or_the_environment() {
    let world = World::new();
    world.vault.service().add_key("team/signing/keys/ca", Kind::P384);
    world.vault.service().namespace = "admin/ca".to_owned();
    let url = world.vault.url();
    let uri = format!("//ca?mount=team/signing&namespace=admin/ca&address={url}&token=file:token");
    let opened = world.open_in(&uri, &[("VAULT_ADDR", "http://127.0.0.1:9")]).await.unwrap();
    assert_eq!(opened.remote.algorithm(), SignatureAlgorithm::EcdsaP384Sha384);
    opened.remote.sign(b"m").await.unwrap();
    let variables =
        [("VAULT_NAMESPACE", "admin/ca/"), ("TRANSIT_SECRET_ENGINE_PATH", "team/signing")];
    let opened = world.open_in("//ca?token=file:token", &variables).await.unwrap();
    assert_eq!(opened.remote.algorithm(), SignatureAlgorithm::EcdsaP384Sha384);
    let outside = world.refusal("//ca?token=file:token", &[]).await;
    assert!(
        outside.contains("auth/token/lookup-self: HTTP 404")
            || outside.contains("transit/keys: HTTP 404"),
        "{outside}"
    );
}

#[tokio::test]
async fn nt_60_what_does_not_open_says_why_and_what_to_do() {
    let world = World::new();
    world.vault.service().add_symmetric_key("transit/keys/aes");
    world.vault.service().add_key("transit/keys/new", Kind::P256);
    world.vault.service().rotate("transit/keys/new");
    world.vault.service().set_oldest_signing("transit/keys/new", 2);
    let reads_nothing = Lease { reads: false, ..Lease::FULL };
    let reads_nothing = world.vault.service().add_token(reads_nothing);
    world.write("reads-nothing", &reads_nothing);
    world.write("wrong", "hvs.wrong-token");
    world.write("empty", "\n");
    world.write("ca.pem", "no PEM");
    for (text, variables, message) in [
        ("//ca", &[][..], "a token is not configured; say '?token=file:PATH' or another 'auth'"),
        ("//ca", &[("VAULT_ADDR", "")], "the address of Vault is not configured"),
        ("//ca", &[("VAULT_ADDR", "http://vault.example.com")], "VAULT_ADDR must be https://HOST"),
        ("//ca", &[("BAO_NAMESPACE", "a//b")], "BAO_NAMESPACE must be a path such as"),
        ("//ca?token=file:none", &[], "/none' cannot be read"),
        ("//ca?token=file:empty", &[], "/empty' is empty"),
        ("//ca?token=env:NONE", &[], "the environment variable NONE is not set"),
        ("//ca?auth=approle", &[], "the role id is not configured; say '&role-id=…'"),
        (
            "//ca?auth=approle&role-id=r&secret-id=file:wrong",
            &[],
            "auth/approle/login: HTTP 400: 1 error occurred: * invalid role or secret ID",
        ),
        (
            "//ca?token=file:wrong",
            &[],
            "transit/keys: HTTP 403: 1 error occurred: * permission denied; the token must be \
             good, and its policy allow 'read' on 'transit/keys/ca' and 'update' on \
             'transit/sign/ca'",
        ),
        ("//ca?token=file:reads-nothing", &[], "transit/keys: HTTP 403"),
        (
            "//none?token=file:token",
            &[],
            "transit/keys: HTTP 404; 'vault read transit/keys/none' must find the key",
        ),
        (
            "//aes?token=file:token",
            &[],
            "its kind is 'aes256-gcm96'; ecdsa-p256, ecdsa-p384 and rsa-2048, rsa-3072, rsa-4096 \
             keys sign here",
        ),
        ("//ca?version=2&token=file:token", &[], "it has no version 2; the latest is 1"),
        (
            "//new?version=1&token=file:token",
            &[],
            "version 1 may not sign, because 2 is the oldest that may; name another 'version'",
        ),
        ("//ca?token=file:token&ca-cert=ca.pem", &[], "CA certificates holds no PEM certificate"),
        ("//ca?token=file:token&address=http://127.0.0.1:9", &[], "onnection refused"),
    ] {
        let text_told = world.refusal(text, variables).await;
        assert!(text_told.starts_with("key hashivault://"), "{text_told}");
        assert!(text_told.contains(message), "{text}: {text_told}");
        for secret in ["hvs.", "wrong-token"] {
            assert!(!text_told.contains(secret), "{text_told}");
        }
    }
}

#[tokio::test]
async fn a_policy_without_sign_is_told_by_the_first_signature() {
    let world = World::new();
    let token = world.vault.service().add_token(Lease { signs: false, ..Lease::FULL });
    world.write("token", &token);
    let opened = world.open("//ca?token=file:token").await.unwrap();
    let told = opened.told().await;
    let expected = "transit/sign: HTTP 403: 1 error occurred: * permission denied; it takes \
                    'update' on 'transit/sign/ca'";
    assert!(told.contains(expected), "{told}");
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 1);
}

#[tokio::test]
async fn each_fault_is_told_by_its_name_and_tried_again_where_that_helps() {
    let world = World::new();
    let opened = world.open("//ca?token=file:token").await.unwrap();
    for (act, attempts, message) in [
        (Act::Fail(503), 3, "transit/sign: HTTP 503: 1 error occurred: * Vault is sealed"),
        (Act::Fail(500), 3, "transit/sign: HTTP 500"),
        (Act::Fail(412), 3, "transit/sign: HTTP 412"),
        (Act::Fail(472), 3, "transit/sign: HTTP 472"),
        (Act::Fail(473), 3, "transit/sign: HTTP 473"),
        (Act::Fail(307), 3, "HTTP 307: a standby node redirects; name the active node"),
        (Act::Fail(429), 3, "HTTP 429: 1 error occurred: * request path \"transit/sign/ca\": rate"),
        (Act::Drop, 3, "could not be reached: transit/sign: "),
        (Act::Fail(400), 1, "it was refused: transit/sign: HTTP 400"),
        (Act::Fail(404), 1, "it was refused: transit/sign: HTTP 404"),
        (Act::Rubbish, 1, "it was refused: transit/sign: the answer is not what this service"),
        (Act::OtherName, 1, "transit/sign: the answer is no signature of version 1"),
        (Act::OtherKey, 1, "the signature it returned does not verify"),
        (Act::HashTwice, 1, "the signature it returned does not verify"),
        (Act::RepeatCredential, 1, "HTTP 403: (its words are withheld, because they repeat a cred"),
    ] {
        let before = world.vault.signings();
        world.vault.always(act);
        let told = opened.told().await;
        assert!(
            told.starts_with("key hashivault://ca: ") && told.contains(message),
            "{act:?}: {told}"
        );
        assert!(!told.contains(&world.token), "{told}");
        assert_eq!(world.vault.signings() - before, attempts, "{act:?}");
        world.vault.always(Act::Sign);
        opened.remote.sign(b"m").await.unwrap();
    }
    for first in [Act::Fail(429), Act::Fail(503), Act::Drop] {
        world.vault.next(&[first]);
        opened.remote.sign(b"m").await.unwrap();
    }
    assert!(opened.series.calls(CallResult::Throttled) >= 4);
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up() {
    let world = World::new();
    let mut opened = world.open("//ca?token=file:token").await.unwrap();
    Arc::get_mut(&mut opened.remote).unwrap().set_attempt(Duration::from_millis(50));
    world.vault.always(Act::Hang);
    let told = opened.told().await;
    assert!(told.ends_with("could not be reached: no answer in time"), "{told}");
    assert_eq!(world.vault.signings(), 3);
}

#[tokio::test]
async fn a_key_that_is_rotated_goes_on_signing_with_the_version_it_was_opened_with() {
    let world = World::new();
    let opened = world.open("//ca?token=file:token").await.unwrap();
    world.vault.service().rotate(CA);
    let first = world.vault.service().public_der(CA, 1);
    assert_eq!(opened.remote.public_key_der(), first);
    opened.remote.sign(b"m").await.unwrap();
    let latest = world.open("//ca?token=file:token").await.unwrap();
    assert_eq!(latest.remote.public_key_der(), world.vault.service().public_der(CA, 2));
    latest.remote.sign(b"m").await.unwrap();
    let pinned = world.open("//ca?version=1&token=file:token").await.unwrap();
    assert_eq!(pinned.remote.public_key_der(), first);
    assert_eq!(pinned.remote.name(), "hashivault://ca?version=1");
    world.vault.service().set_oldest_signing(CA, 2);
    let told = opened.told().await;
    assert!(told.contains("less than the minimum encryption key version"), "{told}");
}

#[tokio::test]
async fn a_login_that_is_lost_is_made_good_within_one_signature() {
    let world = World::new();
    world.vault.service().add_role("approle", json!({"role_id": "r1"}));
    let opened = world.open("//ca?auth=approle&role-id=r1").await.unwrap();
    world.vault.service().revoke_all_tokens();
    opened.remote.sign(b"m").await.unwrap();
    assert_eq!(world.vault.service().logins, 2);
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 0);

    world.vault.service().revoke_all_tokens();
    world.vault.service().remove_roles();
    let told = opened.told().await;
    assert!(told.contains("auth/approle/login: HTTP 400"), "{told}");
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 1);
    world.vault.service().add_role("approle", json!({"role_id": "r1"}));
    opened.remote.sign(b"m").await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_lost_is_an_outage_until_its_file_has_another() {
    let world = World::new();
    let opened = world.open("//ca?token=file:token").await.unwrap();
    world.vault.service().revoke_all_tokens();
    for _ in 0..2 {
        let told = opened.told().await;
        assert!(told.contains("transit/sign: HTTP 403"), "{told}");
        assert!(!told.contains(&world.token), "{told}");
    }
    assert_eq!(opened.series.calls(CallResult::Unauthorized), 2);
    let another = world.vault.service().add_token(Lease::FULL);
    world.write("token", &another);
    opened.remote.sign(b"m").await.unwrap();
}

#[tokio::test]
async fn a_vault_that_is_away_and_comes_back_is_an_outage_and_no_more() {
    let mut world = World::new();
    let opened = world.open("//ca?token=file:token").await.unwrap();
    world.vault.take_down();
    let told = opened.told().await;
    assert!(told.contains("could not be reached: transit/sign: "), "{told}");
    world.vault.put_back();
    opened.remote.sign(b"m").await.unwrap();
}

#[tokio::test]
async fn a_vault_with_tls_is_trusted_by_the_machines_certificates_or_those_that_are_named() {
    let (vault, certificate) = Running::start_tls(Vault::new());
    vault.service().add_key(CA, Kind::P256);
    let token = vault.service().add_token(Lease::FULL);
    let world = World { vault, token, folder: tempfile::tempdir().unwrap() };
    world.write("token", &world.token);
    world.write("vault.pem", &certificate);
    let file = world.folder.path().join("vault.pem");
    for (text, variables) in [
        ("//ca?token=file:token&ca-cert=vault.pem", &[][..]),
        ("//ca?token=file:token", &[("VAULT_CACERT", file.to_str().unwrap())]),
    ] {
        let opened = world.open_in(text, variables).await.unwrap();
        opened.remote.sign(b"m").await.unwrap();
    }
    let told = world.refusal("//ca?token=file:token", &[]).await;
    assert!(told.contains("lookup-self: invalid peer certificate"), "{told}");

    // Nothing listens where the proxy should be.
    let proxy = [("HTTPS_PROXY", "http://127.0.0.1:9")];
    let told = world.refusal("//ca?token=file:token&ca-cert=vault.pem", &proxy).await;
    assert!(told.contains("lookup-self: ") && told.contains("onnection refused"), "{told}");
    let plain = World::new();
    plain.open_in("//ca?token=file:token", &proxy).await.unwrap();
    let told = plain.refusal("//ca?token=file:token", &[("HTTPS_PROXY", "::")]).await;
    assert!(told.contains("HTTPS_PROXY must be the URL of a proxy"), "{told}");
}

#[tokio::test]
async fn a_token_is_renewed_and_where_that_ends_replaced() {
    use crate::keys::service::{Login as _, Token};
    let world = World::new();
    world.vault.service().add_role("approle", json!({"role_id": "r1"}));
    let url = world.vault.url();
    let login = |text: &str| {
        VaultLogin::new(&world.uri(text), &Environment::fixed(&[("VAULT_ADDR", &url)])).unwrap()
    };
    let app_role = login("//ca?auth=approle&role-id=r1");
    let first = app_role.log_in().await.unwrap();
    assert_eq!(first.lifetime, Some(Duration::from_secs(3600)));
    let renewed = app_role.renew(&first).await.unwrap();
    assert_eq!(renewed.secret.expose(), first.secret.expose());
    assert_eq!(world.vault.service().renewals, 1);
    assert_eq!(world.vault.service().logins, 1);
    // Granted for much less than it lived before: near the end of all renewals.
    let older = Token { lifetime: Some(Duration::from_secs(36_000)), ..renewed };
    let new = app_role.renew(&older).await.unwrap();
    assert_ne!(new.secret.expose(), first.secret.expose());
    // Revoked: renewing is refused, logging in is not.
    world.vault.service().revoke_all_tokens();
    app_role.renew(&new).await.unwrap();
    assert_eq!(world.vault.service().logins, 3);

    let not_renewable = Lease { renewable: false, ttl_seconds: 60, ..Lease::FULL };
    let given = world.vault.service().add_token(not_renewable);
    world.write("token", &given);
    let from_file = login("//ca?token=file:token");
    let token = from_file.log_in().await.unwrap();
    assert_eq!((token.lifetime, token.renewable), (Some(Duration::from_secs(60)), false));
    let without_default = Lease { has_default_policy: false, ..Lease::FULL };
    let replaced = world.vault.service().add_token(without_default);
    world.write("token", &replaced);
    let token = from_file.renew(&token).await.unwrap();
    assert_eq!(token.secret.expose_text(), Some(replaced.as_str()));
    assert_eq!(token.lifetime, None);
}

/// The samples of Vault's reference, "Transit secrets engine (API)": Read key, Sign data.
#[test]
fn the_samples_of_the_reference_are_understood() {
    let read = json!({ "data": {
        "type": "aes256-gcm96", "deletion_allowed": false, "derived": false, "exportable": false,
        "allow_plaintext_backup": false, "keys": { "1": 1_442_851_412 },
        "min_decryption_version": 1, "min_encryption_version": 0, "name": "foo",
        "supports_encryption": true, "supports_decryption": true, "supports_derivation": true,
        "supports_signing": false, "imported": false, "latest_version": 1 } });
    let Envelope::<TransitKey> { data } = serde_json::from_value(read).unwrap();
    assert!(matches!(data.version(None), Err(ServiceFault::Kind { .. })));
    let signed = json!({ "data": { "signature":
        "vault:v1:MEUCIQCyb869d7KWuA0hBM9b5NJrmWzMW3/pT+0XYCM9VmGR+QIgWWF6ufi4OS2xo1eS2V5IeJQfsi59qeMWtgX0LipxEHI=" } });
    let Envelope::<Signed> { data } = serde_json::from_value(signed).unwrap();
    let (version, signature) =
        data.signature.strip_prefix("vault:v").unwrap().split_once(':').unwrap();
    assert_eq!(version, "1");
    assert!(SignatureAlgorithm::EcdsaP256Sha256.has_form(&STANDARD.decode(signature).unwrap()));
}

#[test]
fn a_relative_path_is_taken_from_the_configuration() {
    let uri: VaultUri = "//ca?auth=kubernetes&role=r&jwt=file:jwt".parse().unwrap();
    let shown = format!("{:?}", uri.resolved_in(Path::new("/etc/mayfly")));
    assert!(shown.contains("/etc/mayfly/jwt"), "{shown}");
}

#[tokio::test]
async fn a_transit_key_upholds_the_contract_of_keys_that_encrypt_keys() {
    let world = World::new();
    world.vault.service().add_symmetric_key("transit/keys/kek");
    let url = world.vault.url();
    let environment = Environment::fixed(&[("VAULT_ADDR", &url)]);
    let transit = Transit::reach(&world.uri("//kek?token=file:token"), &environment).await;
    let kek = TransitEncryption { transit: transit.unwrap(), version: None };
    contract::uphold_encryption(&kek, true, &[world.token.as_bytes()]).await;

    let token = world.vault.service().add_token(Lease { signs: false, ..Lease::FULL });
    world.write("token", &token);
    let transit = Transit::reach(&world.uri("//kek?token=file:token"), &environment).await;
    let kek = TransitEncryption { transit: transit.unwrap(), version: None };
    let binding = crate::keys::wrapped::Binding::to_key(b"spki");
    let fault = kek.unwrap(b"vault:v1:AAAA", &binding).await.unwrap_err();
    let expected = "transit/decrypt: HTTP 403: 1 error occurred: * permission denied; it takes \
                    'update' on 'transit/decrypt/kek'";
    assert_eq!((fault.kind, fault.to_string().as_str()), (FaultKind::Unauthorized, expected));
}
