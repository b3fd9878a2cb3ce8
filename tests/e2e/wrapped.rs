//! A CA whose key lies in a file that AWS KMS (MiniStack) encrypted, and is asked to decrypt once.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    certificates::openssl_verify,
    support::{
        aws::{AwsKey, AwsKms, AwsUser},
        clients::{PlainClient, certificates, openssl},
        http, issuers,
        mayfly::{Mayfly, binary},
        peers::CiOidc,
        process::{Outcome, run_in},
    },
};

#[test]
fn a_wrapped_p256_key_signs_without_its_kms_in_a_process_that_keeps_it_to_itself() {
    a_wrapped_key_serves("p256");
}

#[test]
fn a_wrapped_p384_key_signs_without_its_kms_in_a_process_that_keeps_it_to_itself() {
    a_wrapped_key_serves("p384");
}

fn a_wrapped_key_serves(kind: &str) {
    let mut kms = AwsKms::ministack();
    let kek = kek(&kms);
    let user = kms.create_user("mayfly", &["kms:Encrypt", "kms:Decrypt"], &kek);
    let (oidc, mayfly) = start(kind, &kms, &user);
    // Nobody is asked any more.
    kms.kill();
    mayfly.hang_up();
    wait_for_refused_reload(&mayfly, "Decrypt: no connection to the endpoint");
    for _ in 0..3 {
        let token = oidc.token(&jane());
        let answer = mayfly.ask(&PlainClient::new().request(&token, "jane@example.com"));
        let leaf = mayfly.path("leaf.pem");
        fs::write(&leaf, &certificates(&answer)[0]).unwrap();
        openssl(&openssl_verify(&mayfly, &leaf)).success();
    }
    let proc =
        |file: &str| fs::read_to_string(format!("/proc/{}/{file}", mayfly.process_id())).unwrap();
    let status = proc("status");
    let locked_kib = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let locked_kib: u64 = locked_kib.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(locked_kib > 0, "{status}");
    let limits = proc("limits");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_ascii_whitespace().nth(4), Some("0"), "{cores}");
    let file = fs::read_to_string(mayfly.path("keys/ca.wrapped")).unwrap();
    assert!(!file.contains("PRIVATE KEY") && file.contains("\"mayfly_wrapped_key\": 1"), "{file}");
}

#[test]
fn what_is_wrong_is_told_by_config_check_and_by_serve_before_a_port_opens() {
    let mut kms = AwsKms::ministack();
    let kek = kek(&kms);
    kms.create_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "other");
    let user = kms.create_user("mayfly", &["kms:Encrypt", "kms:Decrypt"], &kek);
    let (_oidc, mut mayfly) = start("p256", &kms, &user);
    assert!(mayfly.stop().success());
    let wrapped = mayfly.path("keys/ca.wrapped");
    let good = fs::read_to_string(&wrapped).unwrap();
    mayfly.command(&["config", "check"]).success();

    for (content, message) in damaged(&good) {
        fs::write(&wrapped, content).unwrap();
        assert_does_not_start(&mayfly, message);
    }
    fs::write(&wrapped, &good).unwrap();

    let configuration = mayfly.path("mayfly.yaml");
    let configured = fs::read_to_string(&configuration).unwrap();
    for (from, to, message) in [
        ("alias/kek", "alias/other", "AccessDeniedException: allow kms:Decrypt on this key"),
        ("ca.wrapped", "no.wrapped", "no.wrapped' cannot be read: No such file"),
        ("?kek=", "?key=", "after '?' stands 'kek='"),
        ("eu-west-1\n", "eu-west-1\n    passphrase: env:HOME\n", "a passphrase is configured"),
    ] {
        let bad = configured.replace(from, to);
        assert_ne!(bad, configured, "{from}");
        fs::write(&configuration, bad).unwrap();
        assert_does_not_start(&mayfly, message);
    }
    fs::write(&configuration, configured.replace("alias/kek", "alias/other")).unwrap();
    mayfly.set_environment(AwsUser::root().environment());
    let said = assert_does_not_start(&mayfly, "'kek' names another key than the one that the file");
    assert!(said.contains("alias/kek"), "{said}");
    fs::write(&configuration, configured).unwrap();
    mayfly.set_environment(user.environment());

    kms.permit(&user, &["kms:Encrypt"], &kek);
    assert_does_not_start(&mayfly, "AccessDeniedException: allow kms:Decrypt on this key");
    kms.permit(&user, &["kms:Decrypt"], &kek);
    mayfly.command(&["config", "check"]).success();
    kms.call("kms", "disable_key", json!({"KeyId": kek.id}));
    assert_does_not_start(&mayfly, "Decrypt: DisabledException: the key is disabled");
    kms.kill();
    assert_does_not_start(&mayfly, "Decrypt: no connection to the endpoint");
}

/// Files that are not as they were written, and what is said of them.
fn damaged(good: &str) -> [(String, &'static str); 7] {
    let stored: Value = serde_json::from_str(good).unwrap();
    let with = |name: &str, value: Value| {
        let mut changed = stored.clone();
        changed[name] = value;
        changed.to_string()
    };
    let flipped = |name: &str| {
        let text = stored[name].as_str().unwrap();
        let middle = text.len() / 2;
        let other = if text.as_bytes()[middle] == b'A' { "B" } else { "A" };
        with(name, json!(format!("{}{other}{}", &text[..middle], &text[middle + 1..])))
    };
    let changed = "it does not decrypt: the file was changed after it was written";
    let not_for_this =
        "the key service did not decrypt the file's data key: Decrypt: InvalidCipher";
    [
        (flipped("ciphertext"), changed),
        (flipped("nonce"), changed),
        (flipped("data_key"), not_for_this),
        // The service has bound it too.
        (flipped("public_key"), not_for_this),
        (with("mayfly_wrapped_key", json!(2)), "a wrapped key of format 2; this version reads 1"),
        (with("more", json!(1)), "unknown field `more`"),
        ("-----BEGIN PRIVATE KEY-----\n".to_owned(), "the file is no wrapped key"),
    ]
}

#[test]
fn memory_that_cannot_be_locked_is_a_refusal_that_says_what_to_do() {
    let kms = AwsKms::ministack();
    let user = kms.create_user("mayfly", &["kms:Encrypt", "kms:Decrypt"], &kek(&kms));
    let (_oidc, mut mayfly) = start("p256", &kms, &user);
    assert!(mayfly.stop().success());
    for command in [&["config", "check"][..], &["serve"]] {
        let said = without_locking(&mayfly, &user, command);
        assert!(!said.succeeded, "{said:?}");
        let told = said.stdout + &said.stderr;
        assert!(told.contains("memory cannot be locked"), "{told}");
        assert!(
            told.contains("no more than 65536 bytes. Lift it (systemd: LimitMEMLOCK"),
            "{told}"
        );
    }
}

#[test]
fn a_key_that_the_service_does_not_encrypt_leaves_no_file() {
    let kms = AwsKms::ministack();
    let kek = kek(&kms);
    let user = kms.create_user("mayfly", &["kms:Decrypt"], &kek);
    let directory = tempfile::tempdir().unwrap();
    let said = create_csr("p256", &kms, &user, directory.path()).failure();
    assert!(said.contains("allow kms:Encrypt on this key"), "{said}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    kms.permit(&user, &["kms:Encrypt", "kms:Decrypt"], &kek);
    create_csr("p256", &kms, &user, directory.path()).success();
    let said = create_csr("p256", &kms, &user, directory.path()).failure();
    assert!(said.contains("exists"), "{said}");
}

/// A reload asks anew; the key that is there stays.
fn wait_for_refused_reload(mayfly: &Mayfly, message: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let audit = || fs::read_to_string(mayfly.path("data/audit.jsonl")).unwrap();
    while !audit().lines().any(|line| line.contains("\"reload\"") && line.contains(message)) {
        assert!(Instant::now() < deadline, "{}", audit());
        thread::sleep(Duration::from_millis(50));
    }
}

fn kek(kms: &AwsKms) -> AwsKey {
    kms.create_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "kek")
}

/// Mayfly after a ceremony that makes its key, wrapped, where it will serve.
fn start(kind: &str, kms: &AwsKms, user: &AwsUser) -> (CiOidc, Mayfly) {
    let oidc = CiOidc::start();
    let issuers = issuers::email(oidc.url());
    let uri = uri(kms, Path::new("keys"));
    let mayfly = Mayfly::start_after_with_key(&issuers, user.environment(), &uri, |keys| {
        fs::create_dir(keys).unwrap();
        ceremony(kind, kms, user, keys);
    });
    (oidc, mayfly)
}

fn ceremony(kind: &str, kms: &AwsKms, user: &AwsUser, keys: &Path) {
    create_csr(kind, kms, user, keys).success();
    let path = |name: &str| keys.join(name).to_str().unwrap().to_owned();
    let (root, chain, csr) = (path("root.pem"), path("chain.pem"), path("issuing.csr"));
    let root_key = format!("file:{}", path("root.key"));
    let named = |name| ["--organization", "Mayfly Tests", "--common-name", name];
    let mayfly = |arguments: &[&[&str]]| {
        run_in(&[], binary(), &[&["ca", "create"], &arguments.concat()[..]].concat()).success();
    };
    let new_root = ["root", "--key", &root_key, "--new-key", kind, "--out", &root];
    mayfly(&[&new_root, &named("Test Root")]);
    let issuer = ["--issuer-cert", &root, "--issuer-key", &root_key];
    let issuing = ["intermediate", "--csr", &csr, "--out", &chain];
    mayfly(&[&issuing, &issuer, &named("Test Issuing CA")]);
    let pem = fs::read_to_string(&chain).unwrap();
    let end = pem.find(END).unwrap() + END.len();
    fs::write(path("intermediate.pem"), &pem[..end]).unwrap();
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    openssl(&[&["genpkey", "-out", &path("log.pem")], &curve[..]].concat()).success();
}

/// Makes the wrapped key too.
fn create_csr(kind: &str, kms: &AwsKms, user: &AwsUser, directory: &Path) -> Outcome {
    let (uri, csr) = (uri(kms, directory), directory.join("issuing.csr"));
    let new_key = ["ca", "create", "csr", "--key", &uri, "--new-key", kind];
    let named = ["--organization", "Mayfly Tests", "--common-name", "Test Issuing CA"];
    let out = ["--out", csr.to_str().unwrap()];
    let environment = user.environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
    run_in(&environment, binary(), &[&new_key[..], &named, &out].concat())
}

/// A command of the binary where it may lock 64 KiB.
fn without_locking(mayfly: &Mayfly, user: &AwsUser, command: &[&str]) -> Outcome {
    let mut words = Vec::new();
    if rustix::process::geteuid().is_root() {
        // Whoever may lock all memory is not held by a limit.
        words.extend(["setpriv", "--bounding-set=-ipc_lock"].map(PathBuf::from));
    }
    words.extend(["prlimit", "--memlock=65536:65536"].map(PathBuf::from));
    words.push(binary());
    words.extend(command.iter().map(PathBuf::from));
    words.extend([PathBuf::from("--config"), mayfly.path("mayfly.yaml")]);
    let outcome =
        Command::new(&words[0]).args(&words[1..]).envs(user.environment()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        succeeded: outcome.status.success(),
        stdout: text(&outcome.stdout),
        stderr: text(&outcome.stderr),
    }
}

#[track_caller]
fn assert_does_not_start(mayfly: &Mayfly, message: &str) -> String {
    let mut all = String::new();
    for command in [&["config", "check"][..], &["serve"]] {
        let said = mayfly.command(command).failure();
        assert!(said.contains(message), "{command:?}, not '{message}': {said}");
        all += &said;
    }
    assert!(http::get(&format!("{}/healthz", mayfly.url())).is_none());
    all
}

fn uri(kms: &AwsKms, directory: &Path) -> String {
    format!("wrapped:{}?kek={}", directory.join("ca.wrapped").display(), kms.uri("alias/kek"))
}

fn jane() -> Value {
    json!({"sub": "jane", "aud": "sigstore", "email": "jane@example.com", "email_verified": true})
}

const END: &str = "-----END CERTIFICATE-----\n";
