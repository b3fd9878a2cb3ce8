//! A CA whose key is in AWS KMS: MiniStack, which checks signatures of requests and IAM policies;
//! moto, which signs the wrong thing; and a proxy of our own that fails as networks do.
use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    certificates::{assert_pkilint_finds_nothing, openssl_verify},
    support::{
        aws::{self, AwsKey, AwsKms, AwsUser},
        clients::{PlainClient, certificates, openssl},
        fault_proxy::{Act, FaultProxy},
        http::{self, Answer},
        issuers,
        mayfly::{CaKey, Environment, KeyInService, Mayfly, binary},
        peers::CiOidc,
        process::run_in,
    },
};

#[test]
fn openssl_verifies_what_a_p256_key_in_kms_signed_for_a_user_who_may_sign_and_no_more() {
    certificates_are_issued(CaKey::P256, "ECC_NIST_P256");
}

#[test]
fn openssl_verifies_what_a_p384_key_in_kms_signed_for_a_user_who_may_sign_and_no_more() {
    certificates_are_issued(CaKey::P384, "ECC_NIST_P384");
}

fn certificates_are_issued(ca: CaKey, spec: &str) {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key(spec, "ca");
    let user = kms.create_user("mayfly", &SIGNING, &key);
    let world = World::new(ca, &kms, &key, &user, &kms.uri("alias/ca"));
    for _ in 0..5 {
        world.assert_issues();
    }
    // One signature to prove key and chain, then a precertificate and a certificate each time.
    assert!(world.metric("calls_total", ",result=\"ok\"") >= 11.0);
    assert_eq!(world.metric("circuit_open", ""), 0.0);
    let audit = fs::read_to_string(world.mayfly.path("data/audit.jsonl")).unwrap();
    for text in [world.mayfly.log(), audit] {
        assert!(!text.contains(&user.secret) && !text.contains(&user.access_key), "{text}");
    }
}

/// RFC 6962, 3.1: half the calls, and clients see no difference.
#[test]
fn with_a_key_of_its_own_for_precertificates_kms_signs_each_certificate_once() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P384", "ca");
    let user = kms.create_user("mayfly", &SIGNING, &key);
    let mut world = World::new(CaKey::P384, &kms, &key, &user, &kms.uri("alias/ca"));
    world.mayfly.kill();
    let file = world.mayfly.path("mayfly.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let chain = "    chain: keys/chain.pem\n";
    assert_eq!(text.matches(chain).count(), 1, "{text}");
    fs::write(file, text.replace(chain, &format!("{chain}    precertificate-signer: true\n")))
        .unwrap();
    world.mayfly.restart();
    let calls = || world.metric("calls_total", ",result=\"ok\"");
    let before = calls();
    assert_eq!(before, 2.0, "the proof of key and chain, and the other key's certificate");
    for _ in 0..5 {
        world.assert_issues();
    }
    assert_eq!(calls() - before, 5.0);
}

#[test]
fn a_ceremony_with_a_root_and_an_issuing_key_in_kms_serves_good_certificates() {
    let kms = AwsKms::ministack();
    let root_key = kms.create_signing_key("ECC_NIST_P384", "root");
    kms.create_signing_key("ECC_NIST_P256", "issuing");
    let (root, issuing) = (kms.uri(&root_key.arn), kms.uri("alias/issuing"));
    let oidc = CiOidc::start();
    let environment = AwsUser::root().environment();
    let ceremony = |keys: &std::path::Path| {
        fs::create_dir(keys).unwrap();
        let path = |name: &str| keys.join(name).to_str().unwrap().to_owned();
        let subject = |name| ["--organization", "Mayfly Tests", "--common-name", name];
        let user: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
        let mayfly = |arguments: &[&[&str]]| {
            run_in(&user, binary(), &arguments.concat()).success();
        };
        let (root_file, chain) = (path("root.pem"), path("chain.pem"));
        let create_root = ["ca", "create", "root", "--key", &root, "--out", &root_file];
        mayfly(&[&create_root, &subject("Test Root")]);
        let create = ["ca", "create", "intermediate", "--key", &issuing, "--out", &chain];
        let issuer = ["--issuer-cert", &root_file, "--issuer-key", &root];
        mayfly(&[&create, &issuer, &subject("Test Issuing CA")]);
        let pem = fs::read_to_string(&chain).unwrap();
        let end = pem.find(END).unwrap() + END.len();
        fs::write(path("intermediate.pem"), &pem[..end]).unwrap();
        let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        openssl(&[&["genpkey", "-out", &path("log.pem")], &curve[..]].concat()).success();
    };
    let issuers = issuers::email(oidc.url());
    let mayfly = Mayfly::start_after_with_key(&issuers, environment.clone(), &issuing, ceremony);
    World { mayfly, oidc, uri: issuing }.assert_issues();
}

#[test]
fn what_is_wrong_with_a_key_is_told_by_config_check_and_by_serve_before_a_port_opens() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P256", "ca");
    let uri = kms.uri("alias/ca");
    let mut world = World::new(CaKey::P256, &kms, &key, &AwsUser::root(), &uri);
    assert!(world.mayfly.stop().success());
    kms.create_signing_key("ECC_NIST_P256", "another");
    kms.create_signing_key("ECC_NIST_P521", "p521");
    kms.create_signing_key("RSA_4096", "rsa4096");
    kms.create_key("RSA_2048", "ENCRYPT_DECRYPT", "rsa");
    kms.create_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "symmetric");
    let file = world.mayfly.path("mayfly.yaml");
    let good = fs::read_to_string(&file).unwrap();
    let nobody = uri.replace(&kms.address(), "localhost:1");
    for (from, to, message) in [
        ("alias/ca", "alias/no", "GetPublicKey: NotFoundException: no such key or alias in this"),
        ("region=eu-west-1", "region=eu-west-2", "GetPublicKey: NotFoundException"),
        ("alias/ca", UNKNOWN_ID, "GetPublicKey: NotFoundException"),
        ("alias/ca", "alias/another", "is not the key of"),
        ("alias/ca", "alias/rsa4096", "is RSA: clients verify certificates under P-256 and P-384"),
        ("alias/ca", "alias/p521", "its kind (ECC_NIST_P521) is not permitted"),
        ("alias/ca", "alias/rsa", "its usage is ENCRYPT_DECRYPT; only keys of usage SIGN_VERIFY"),
        ("alias/ca", "alias/symmetric", "GetPublicKey: UnsupportedOperationException: the key is"),
        ("?region=eu-west-1", "", "no region is known; add '?region=NAME'"),
        ("eu-west-1\n", "eu-west-1\n    passphrase: env:HOME\n", "a passphrase is configured"),
        (&uri, &nobody, "GetPublicKey: no connection to the endpoint"),
        ("alias/ca", "ca", "'ca' is no key id"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        fs::write(&file, bad).unwrap();
        world.assert_does_not_start(message);
    }
    fs::write(&file, &good).unwrap();
    kms.call("kms", "disable_key", json!({"KeyId": key.id}));
    world.assert_does_not_start("DisabledException: the key is disabled; enable it");
    let deletion = json!({"KeyId": key.id, "PendingWindowInDays": 7});
    kms.call("kms", "schedule_key_deletion", deletion);
    world.assert_does_not_start("KMSInvalidStateException: the key is pending deletion or import");
    kms.call("kms", "cancel_key_deletion", json!({"KeyId": key.id}));
    kms.call("kms", "enable_key", json!({"KeyId": key.id}));
    world.mayfly.restart();
    world.assert_issues();
}

#[test]
fn nt_60_what_is_wrong_with_credentials_is_told_before_a_port_opens_and_no_secret_is() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P256", "ca");
    let user = kms.create_user("mayfly", &SIGNING, &key);
    let mut world = World::new(CaKey::P256, &kms, &key, &user, &kms.uri(&key.arn));
    assert!(world.mayfly.stop().success());

    for (actions, message) in [
        (&["kms:Sign"], "GetPublicKey: AccessDeniedException: allow kms:GetPublicKey on this key"),
        (&["kms:GetPublicKey"], "Sign: AccessDeniedException: allow kms:Sign on this key"),
    ] {
        kms.permit(&user, actions, &key);
        world.assert_does_not_start(message);
    }
    kms.permit(&user, &SIGNING, &key);

    let wrong = AwsUser { secret: "a-wrong-secret-access-key".to_owned(), ..user.clone() };
    let unknown = AwsUser { access_key: "AKIAUNKNOWNUNKNOWN00".to_owned(), ..user.clone() };
    for (user, message) in [
        (&wrong, "InvalidSignatureException: the secret access key is not that of the access key"),
        (&unknown, "UnrecognizedClientException: AWS does not know the credentials"),
    ] {
        world.mayfly.set_environment(user.environment());
        let said = world.assert_does_not_start(message);
        assert!(!said.contains(&user.secret), "{said}");
    }
    let mut nothing = user.environment();
    nothing.retain(|(name, _)| *name == "AWS_EC2_METADATA_DISABLED");
    // Nor from the home of whoever runs the tests.
    nothing.push(("HOME", world.mayfly.path("nowhere")));
    world.mayfly.set_environment(nothing);
    world.assert_does_not_start("GetPublicKey: no AWS credentials were found");

    let directory = world.mayfly.path("aws-credentials");
    let profile = format!(
        "[signing]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        user.access_key, user.secret
    );
    fs::write(&directory, profile).unwrap();
    let from_file = vec![("AWS_SHARED_CREDENTIALS_FILE", directory)];
    world.mayfly.set_environment(from_file);
    let file = world.mayfly.path("mayfly.yaml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace(&world.uri, &format!("{}?profile=signing", world.uri))).unwrap();
    world.mayfly.restart();
    world.assert_issues();
}

/// As in EKS with IAM roles for service accounts: a token in a file, and STS that takes it.
#[test]
fn a_workload_signs_with_a_role_that_its_web_identity_assumes() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P256", "ca");
    let cluster = CiOidc::start();
    let host = cluster.url().strip_prefix("http://").unwrap();
    let federated = format!("arn:aws:iam::000000000000:oidc-provider/{host}");
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": federated},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{host}:sub"): "system:serviceaccount:ca:mayfly"}},
    }]});
    let role = json!({"RoleName": "mayfly", "AssumeRolePolicyDocument": trust.to_string()});
    let role = kms.call("iam", "create_role", role)["Role"]["Arn"].as_str().unwrap().to_owned();
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": SIGNING, "Resource": key.arn,
    }]});
    let policy = json!({
        "RoleName": "mayfly", "PolicyName": "p", "PolicyDocument": policy.to_string(),
    });
    kms.call("iam", "put_role_policy", policy);
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let claims = |sub| json!({"sub": sub, "aud": "sts.amazonaws.com"});
    fs::write(&token, cluster.token(&claims("system:serviceaccount:ca:mayfly"))).unwrap();
    let environment = vec![
        ("AWS_ROLE_ARN", role.into()),
        ("AWS_ROLE_SESSION_NAME", "mayfly".into()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.clone()),
        ("AWS_ENDPOINT_URL_STS", format!("http://{}", kms.address()).into()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
    ];
    let world = World::in_environment(CaKey::P256, &kms, &key, environment, &kms.uri(&key.arn));
    world.assert_issues();
    fs::write(&token, cluster.token(&claims("system:serviceaccount:ca:another"))).unwrap();
    let said = world.mayfly.command(&["config", "check"]).failure();
    assert!(said.contains("GetPublicKey: the source of AWS credentials gave none"), "{said}");
}

#[test]
fn credentials_that_are_lost_while_it_serves_are_an_outage_that_ends_when_they_are_back() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P256", "ca");
    let user = kms.create_user("mayfly", &SIGNING, &key);
    let world = World::new(CaKey::P256, &kms, &key, &user, &kms.uri("alias/ca"));
    world.assert_issues();
    kms.set_active(&user, false);
    let refused = world.ask();
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!(14)), "{refused:?}");
    assert!(!refused.text.contains("UnrecognizedClient"), "{refused:?}");
    assert!(world.mayfly.log().contains("Sign: UnrecognizedClientException"));
    assert!(world.metric("calls_total", ",result=\"unauthorized\"") >= 1.0);
    kms.set_active(&user, true);
    world.assert_issues();

    kms.permit(&user, &["kms:GetPublicKey"], &key);
    assert_eq!(world.ask().status, 503);
    assert!(world.mayfly.log().contains("allow kms:Sign on this key"));
    kms.permit(&user, &SIGNING, &key);
    world.assert_issues();
}

#[test]
fn a_service_that_is_away_opens_the_circuit_and_is_found_when_it_is_back() {
    let mut kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P256", "ca");
    let mut world = World::new(CaKey::P256, &kms, &key, &AwsUser::root(), &kms.uri("alias/ca"));
    world.assert_issues();
    kms.stop();
    for _ in 0..5 {
        let answer = world.ask();
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(14)), "{answer:?}");
    }
    assert_eq!(world.metric("circuit_open", ""), 1.0);
    assert!(world.mayfly.log().contains("Sign: no connection to the endpoint"));
    kms.restart();
    world.wait_until_it_issues();
    assert_eq!(world.metric("circuit_open", ""), 0.0);

    assert!(world.mayfly.stop().success());
    kms.kill();
    world.assert_does_not_start("GetPublicKey: no connection to the endpoint");
}

#[test]
fn an_alias_that_is_moved_under_a_running_server_changes_nothing_until_a_reload_that_must_fit() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P256", "ca");
    let next = kms.create_signing_key("ECC_NIST_P256", "next");
    let world = World::new(CaKey::P256, &kms, &key, &AwsUser::root(), &kms.uri("alias/ca"));
    kms.move_alias("ca", &next);
    world.assert_issues();
    world.mayfly.hang_up();
    world.wait_for_audit("is not the key of");
    world.assert_issues();
    kms.move_alias("ca", &key);
    world.mayfly.hang_up();
    world.wait_for_audit("\"event\":\"reload\",\"error\":null");
    world.assert_issues();
}

#[test]
fn a_key_that_is_disabled_while_it_serves_refuses_and_serves_again_when_enabled() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P384", "ca");
    let world = World::new(CaKey::P384, &kms, &key, &AwsUser::root(), &kms.uri("alias/ca"));
    kms.call("kms", "disable_key", json!({"KeyId": key.id}));
    let refused = world.ask();
    assert_eq!((refused.status, &refused.json()["code"]), (500, &json!(13)), "{refused:?}");
    assert!(!refused.text.contains("Disabled"), "{refused:?}");
    assert!(world.mayfly.log().contains("Sign: DisabledException: the key is disabled"));
    kms.call("kms", "enable_key", json!({"KeyId": key.id}));
    world.assert_issues();
}

#[test]
fn throttling_hanging_cutting_and_lying_give_no_certificate_and_end_when_they_end() {
    let kms = AwsKms::ministack();
    let key = kms.create_signing_key("ECC_NIST_P256", "ca");
    let proxy = FaultProxy::before(&kms.address());
    let uri = aws::uri_at(proxy.address(), "alias/ca");
    let world = World::new(CaKey::P256, &kms, &key, &AwsUser::root(), &uri);
    world.assert_issues();

    // Once is made good within the same signature.
    proxy.act(Act::ThrottleTimes(1));
    world.assert_issues();
    assert_eq!(world.metric("calls_total", ",result=\"throttled\""), 1.0);

    for (act, status, code, result) in [
        (Act::Throttle, 503, 14, "throttled"),
        (Act::Hang, 503, 14, "timed_out"),
        (Act::Cut, 503, 14, "unavailable"),
        (Act::SignWithAnotherKey, 500, 13, "bad_signature"),
        (Act::Empty, 500, 13, "bad_signature"),
    ] {
        let before = logged(&world);
        let asked = proxy.requests();
        proxy.act(act);
        let begun = Instant::now();
        let answer = world.ask();
        assert!(begun.elapsed() < Duration::from_secs(5), "{act:?}: {:?}", begun.elapsed());
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{answer:?}");
        assert!(!answer.text.contains("BEGIN CERTIFICATE"), "{answer:?}");
        assert!(world.metric("calls_total", &format!(",result=\"{result}\"")) >= 1.0, "{act:?}");
        // A wrong signature is not asked for again; the SDK itself asks again for nothing.
        let most = if status == 500 { 1 } else { 3 };
        let asked = proxy.requests() - asked;
        assert!((1..=most).contains(&asked), "{act:?}: {asked} requests");
        assert_eq!(logged(&world), before, "{act:?}: something was logged");
        proxy.act(Act::Pass);
        world.wait_until_it_issues();
    }
    proxy.act(Act::Hang);
    let said = world.mayfly.command(&["config", "check"]).failure();
    assert!(said.contains("AWS KMS did not answer within 15 seconds"), "{said}");
}

/// moto hashes a DIGEST again, so what it signs is not what it was asked to.
#[test]
fn no_certificate_comes_of_a_kms_that_hashes_twice() {
    let honest = AwsKms::ministack();
    let key = honest.create_signing_key("ECC_NIST_P256", "ca");
    let mut world =
        World::new(CaKey::P256, &honest, &key, &AwsUser::root(), &honest.uri("alias/ca"));
    assert!(world.mayfly.stop().success());
    let moto = AwsKms::moto();
    let lying = moto.create_signing_key("ECC_NIST_P256", "ca");
    let chain = world.mayfly.path("moto.pem");
    let create = ["ca", "create", "root", "--organization", "O", "--common-name", "CN", "--out"];
    let uri = moto.uri(&lying.id);
    let root = AwsUser::root().environment();
    let root: Vec<(&str, &str)> =
        root.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
    let out = chain.to_str().unwrap();
    let said = run_in(&root, binary(), &[&create[..], &[out, "--key", &uri]].concat()).failure();
    assert!(said.contains("the signature it returned does not verify"), "{said}");
    assert!(!chain.exists());

    // The chain is that of moto's key, so that nothing else is wrong.
    let world = World::configured(CaKey::P256, &moto, &lying, &moto.uri("alias/ca"), world);
    world.assert_does_not_start("the signature it returned does not verify");
}

/// Mayfly with its key in a service, and whoever vouches for people.
struct World {
    mayfly: Mayfly,
    oidc: CiOidc,
    uri: String,
}

impl World {
    fn new(ca: CaKey, kms: &AwsKms, key: &AwsKey, user: &AwsUser, uri: &str) -> Self {
        Self::in_environment(ca, kms, key, user.environment(), uri)
    }

    fn in_environment(
        ca: CaKey,
        kms: &AwsKms,
        key: &AwsKey,
        environment: Environment,
        uri: &str,
    ) -> Self {
        let oidc = CiOidc::start();
        let key = KeyInService { uri: uri.to_owned(), public_key_der: kms.public_key_der(key) };
        let issuers = issuers::email(oidc.url());
        let mayfly = Mayfly::start_on_service(ca, &key, environment, &issuers);
        Self { mayfly, oidc, uri: uri.to_owned() }
    }

    /// The same installation with another key and a new chain for it; not started.
    fn configured(ca: CaKey, kms: &AwsKms, key: &AwsKey, uri: &str, world: Self) -> Self {
        let key = KeyInService { uri: uri.to_owned(), public_key_der: kms.public_key_der(key) };
        world.mayfly.replace_authority(ca, &world.uri, &key);
        Self { uri: uri.to_owned(), ..world }
    }

    fn ask(&self) -> Answer {
        let token = self.oidc.token(&jane());
        self.mayfly.ask(&PlainClient::new().request(&token, "jane@example.com"))
    }

    /// OpenSSL and pkilint take what it issues.
    #[track_caller]
    fn assert_issues(&self) {
        let chain = certificates(&self.ask());
        let leaf = self.mayfly.path("leaf.pem");
        fs::write(&leaf, &chain[0]).unwrap();
        openssl(&openssl_verify(&self.mayfly, &leaf)).success();
        assert_pkilint_finds_nothing(&self.mayfly, &leaf);
    }

    /// A circuit that opened is tried every two seconds.
    #[track_caller]
    fn wait_until_it_issues(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.ask().status != 200 {
            assert!(Instant::now() < deadline, "it does not recover: {}", self.mayfly.log());
            thread::sleep(Duration::from_millis(200));
        }
        self.assert_issues();
    }

    /// Returns what was said.
    #[track_caller]
    fn assert_does_not_start(&self, message: &str) -> String {
        let mut all = String::new();
        for command in [&["config", "check"][..], &["serve"]] {
            let said = self.mayfly.command(command).failure();
            assert!(said.contains(message), "{command:?}, not '{message}': {said}");
            all += &said;
        }
        assert!(http::get(&format!("{}/healthz", self.mayfly.url())).is_none());
        all
    }

    #[track_caller]
    fn wait_for_audit(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let audit = self.mayfly.path("data/audit.jsonl");
        let last_reload = || {
            let lines = fs::read_to_string(&audit).unwrap();
            let last = lines.lines().rfind(|line| line.contains("\"reload\""));
            last.unwrap_or_default().to_owned()
        };
        while !last_reload().contains(text) {
            assert!(Instant::now() < deadline, "no {text}: {}", last_reload());
            thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn metric(&self, name: &str, more: &str) -> f64 {
        self.mayfly.metric(&format!("mayfly_key_{name}{{key=\"{}\"{more}}}", self.uri))
    }
}

/// How many entries the log has.
fn logged(world: &World) -> String {
    let checkpoint = http::get(&format!("{}/log/checkpoint", world.mayfly.url())).unwrap().text;
    checkpoint.lines().nth(1).unwrap().to_owned()
}

fn jane() -> Value {
    json!({"sub": "jane", "aud": "sigstore", "email": "jane@example.com", "email_verified": true})
}

/// All that Mayfly needs.
const SIGNING: [&str; 2] = ["kms:GetPublicKey", "kms:Sign"];
const UNKNOWN_ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const END: &str = "-----END CERTIFICATE-----\n";
