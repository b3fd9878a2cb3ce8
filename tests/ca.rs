//! `mayfly ca` as an operator sees it: files, texts, exit codes, and what is left after a failure.

#![expect(
    clippy::unwrap_used,
    reason = "clippy counts only functions marked as tests as tests; all of this is one"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use mayfly::{
    time::{Clock, SystemClock, Timestamp},
    x509::Certificate,
};
use serde_json::Value;
use tempfile::TempDir;

/// A directory in which commands run.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mayfly(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mayfly"))
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.mayfly(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Fails with this exit code, saying `text` on either output.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, text: &str) {
        let output = self.mayfly(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(text), "{arguments:?}: {said}");
    }

    fn files(&self) -> Vec<String> {
        self.files_of("")
    }

    fn files_of(&self, folder: &str) -> Vec<String> {
        let names = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn chain(&self, name: &str) -> Vec<Certificate> {
        Certificate::parse_pem_chain(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn root(&self) {
        self.succeeds(&ROOT);
    }

    /// A root and an issuing CA below it, in `chain.pem`.
    fn ceremony(&self) {
        self.root();
        self.succeeds(&[&["ca", "create", "intermediate"], &ISSUER[..], &NEW_ISSUING[..]].concat());
    }
}

const ROOT: [&str; 13] = [
    "ca",
    "create",
    "root",
    "--key",
    "file:root.key",
    "--new-key",
    "p384",
    "--organization",
    "example.com",
    "--common-name",
    "Root",
    "--out",
    "root.pem",
];
const ISSUER: [&str; 4] = ["--issuer-cert", "root.pem", "--issuer-key", "file:root.key"];
const NEW_ISSUING: [&str; 10] = [
    "--key",
    "file:issuing.key",
    "--new-key",
    "p256",
    "--organization",
    "example.com",
    "--common-name",
    "Issuing",
    "--out",
    "chain.pem",
];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_root_and_an_issuing_ca_are_created_with_their_keys_and_verify() {
    let desk = Desk::new();
    desk.ceremony();
    assert_eq!(desk.files(), ["chain.pem", "issuing.key", "root.key", "root.pem"]);
    assert_eq!((mode(&desk.path("root.key")), mode(&desk.path("issuing.key"))), (0o600, 0o600));
    let chain = desk.chain("chain.pem");
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1].der(), desk.chain("root.pem")[0].der());
    assert_eq!((chain[0].path_len(), chain[1].path_len()), (Some(0), Some(1)));
    let days = |ca: &Certificate| ca.not_after().ms_since(ca.not_before()) / 86_400_000;
    assert_eq!((days(&chain[0]), days(&chain[1])), (3 * 365, 10 * 365));
    let verify = ["ca", "verify", "--chain", "chain.pem", "--key", "file:issuing.key"];
    assert!(desk.succeeds(&verify).contains("and the key is its key"));
}

#[test]
fn names_lifetime_and_path_length_are_as_asked() {
    let desk = Desk::new();
    let more = ["--lifetime", "90d", "--path-length", "2", "--json"];
    let told: Value = serde_json::from_str(&desk.succeeds(&[&ROOT[..], &more].concat())).unwrap();
    let shown = &told["certificates"][0];
    assert_eq!(shown["role"], "root");
    assert_eq!(shown["subject"], "CN=Root,O=example.com");
    assert_eq!(shown["pathLength"], 2);
    assert_eq!(shown["key"], "ECDSA P-384");
    let root = &desk.chain("root.pem")[0];
    assert_eq!(root.not_after().ms_since(root.not_before()), 90 * 86_400_000);
    let middle = [&["ca", "create", "intermediate", "--path-length", "1"], &ISSUER[..]].concat();
    let lifetime = ["--lifetime", "1000h"];
    desk.succeeds(&[&middle[..], &NEW_ISSUING, &lifetime].concat());
    let below = [
        "ca",
        "create",
        "intermediate",
        "--key",
        "file:third.key",
        "--new-key",
        "p256",
        "--issuer-cert",
        "chain.pem",
        "--issuer-key",
        "file:issuing.key",
        "--organization",
        "example.com",
        "--common-name",
        "Third",
        "--lifetime",
        "10d",
        "--out",
        "long.pem",
    ];
    desk.succeeds(&below);
    assert_eq!(desk.chain("long.pem").len(), 3);
    desk.succeeds(&["ca", "verify", "--chain", "long.pem", "--key", "file:third.key"]);
}

#[test]
fn an_offline_root_signs_a_request_and_key_and_chain_meet_again_online() {
    let (online, offline) = (Desk::new(), Desk::new());
    let request = [
        "ca",
        "create",
        "csr",
        "--key",
        "file:issuing.key",
        "--new-key",
        "p256",
        "--organization",
        "example.com",
        "--common-name",
        "Asked for",
        "--out",
        "ca.csr",
    ];
    online.succeeds(&request);
    offline.root();
    fs::copy(online.path("ca.csr"), offline.path("ca.csr")).unwrap();
    let sign = [
        &["ca", "create", "intermediate", "--csr", "ca.csr"],
        &ISSUER[..],
        &["--organization", "example.com", "--common-name", "Given", "--out", "chain.pem"],
    ]
    .concat();
    offline.succeeds(&sign);
    assert!(!offline.files().contains(&"issuing.key".to_owned()));
    fs::copy(offline.path("chain.pem"), online.path("chain.pem")).unwrap();
    online.succeeds(&["ca", "verify", "--chain", "chain.pem", "--key", "file:issuing.key"]);
    // Of the request only its key counts.
    assert_eq!(online.chain("chain.pem")[0].common_name(), Some("Given"));
}

#[test]
fn a_request_that_was_changed_is_not_signed() {
    let desk = Desk::new();
    desk.root();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let mut der = request.der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    fs::write(desk.path("bad.csr"), mayfly::x509::pem::encode("CERTIFICATE REQUEST", &der))
        .unwrap();
    let named = ["--organization", "example.com", "--common-name", "I", "--out", "chain.pem"];
    let sign =
        |csr| [&["ca", "create", "intermediate", "--csr", csr], &ISSUER[..], &named].concat();
    desk.fails(&sign("bad.csr"), 1, "not signed by the key in it");
    desk.fails(&sign("root.pem"), 1, "not a 'CERTIFICATE REQUEST'");
    desk.fails(&sign("missing.csr"), 2, "cannot read missing.csr");
    assert_eq!(desk.files(), ["bad.csr", "root.key", "root.pem"]);
}

#[test]
fn encrypted_keys_open_with_their_passphrase_only() {
    let desk = Desk::new();
    fs::write(desk.path("pass"), "correct horse\n").unwrap();
    desk.succeeds(&[&ROOT[..], &["--passphrase", "file:pass"]].concat());
    let stored = fs::read_to_string(desk.path("root.key")).unwrap();
    assert!(stored.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let verify = ["ca", "verify", "--chain", "root.pem", "--key", "file:root.key"];
    desk.fails(&verify, 2, "it is encrypted, and no passphrase is configured");
    desk.succeeds(&[&verify[..], &["--passphrase", "file:pass"]].concat());
    fs::write(desk.path("pass"), "battery staple\n").unwrap();
    desk.fails(&[&verify[..], &["--passphrase", "file:pass"]].concat(), 2, "passphrase is wrong");
}

#[test]
fn nt_60_a_passphrase_on_the_command_line_is_refused_and_not_repeated() {
    let desk = Desk::new();
    for passphrase in ["hunter2", "env:hunter2!"] {
        let output = desk.mayfly(&[&ROOT[..], &["--passphrase", passphrase]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("never as itself") && !said.contains("hunter2"), "{said}");
    }
    assert_eq!(desk.files(), Vec::<String>::new());
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_after_a_failure() {
    let desk = Desk::new();
    desk.root();
    let key = fs::read(desk.path("root.key")).unwrap();
    desk.fails(&ROOT, 2, "cannot create root.pem");
    let other_out = [&ROOT[..12], &["other.pem"]].concat();
    desk.fails(&other_out, 2, "cannot create root.key");
    assert_eq!(fs::read(desk.path("root.key")).unwrap(), key);
    let long = "x".repeat(65);
    let refused = [
        "ca",
        "create",
        "root",
        "--key",
        "file:new.key",
        "--new-key",
        "p256",
        "--organization",
        "example.com",
        "--common-name",
        &long,
        "--out",
        "new.pem",
    ];
    desk.fails(&refused, 1, "1 to 64 characters");
    let no_key = [&["ca", "create", "root", "--key", "file:none.key"], &ROOT[7..11]].concat();
    desk.fails(&[&no_key[..], &["--out", "new.pem"]].concat(), 2, "cannot be read");
    assert_eq!(desk.files(), ["root.key", "root.pem"]);
}

#[test]
fn certificates_that_no_verifier_would_take_are_not_made() {
    let desk = Desk::new();
    desk.ceremony();
    let create = |more: &[&'static str]| {
        let named = ["--organization", "example.com", "--out", "new.pem"];
        [&["ca", "create", "intermediate", "--key", "file:issuing.key"], &named[..], more].concat()
    };
    let too_long = create(&[&ISSUER[..], &["--common-name", "A", "--lifetime", "11y"]].concat());
    desk.fails(&too_long, 1, "but its issuer only until");
    let other_key = create(&[
        "--common-name",
        "A",
        "--issuer-cert",
        "root.pem",
        "--issuer-key",
        "file:issuing.key",
    ]);
    desk.fails(&other_key, 1, "is not the key of");
    let same_name = create(&[&ISSUER[..], &["--common-name", "Root"]].concat());
    desk.fails(&same_name, 1, "its subject is that of its issuer");
    // The issuing CA's path length leaves no room.
    let too_deep = create(&[
        "--common-name",
        "A",
        "--issuer-cert",
        "chain.pem",
        "--issuer-key",
        "file:issuing.key",
        "--lifetime",
        "1d",
    ]);
    desk.fails(&too_deep, 1, "path length");
    assert!(!desk.files().contains(&"new.pem".to_owned()));
}

#[test]
fn keys_in_services_are_not_made_here() {
    let desk = Desk::new();
    let wrong = desk.mayfly(&[&ROOT[..3], &["--key", "carrier-pigeon:7"], &ROOT[5..]].concat());
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there are no keys of scheme"));
    assert_eq!(desk.files(), Vec::<String>::new());
}

#[test]
fn show_says_what_stands_in_a_chain() {
    let desk = Desk::new();
    desk.ceremony();
    let text = desk.succeeds(&["ca", "show", "chain.pem"]);
    for part in [
        "certificate   1 of 2: issuing CA",
        "subject       CN=Issuing,O=example.com",
        "issuer        CN=Root,O=example.com",
        "certificate   2 of 2: root",
        "code signing  only",
        "code signing  not limited to any purpose",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let told = desk.succeeds(&["ca", "show", "chain.pem", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let (issuing, root) = (&told["certificates"][0], &told["certificates"][1]);
    assert_eq!(issuing["authorityKeyId"], root["subjectKeyId"]);
    assert_eq!(issuing["serial"].as_str().unwrap().len(), 40);
    let fingerprint = hex::encode(desk.chain("chain.pem")[0].fingerprint());
    assert_eq!(issuing["sha256"], fingerprint.as_str());
    desk.fails(&["ca", "show", "root.key"], 1, "is no chain of certificates");
    desk.fails(&["ca", "show", "nowhere.pem"], 2, "cannot read nowhere.pem");
    desk.fails(&["ca", "show"], 2, "Usage");
}

#[test]
fn a_name_in_a_certificate_does_not_reach_the_terminal_as_control_characters() {
    let desk = Desk::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}[31mb");
    let hostile = params.self_signed(&key).unwrap();
    fs::write(desk.path("hostile.pem"), hostile.pem()).unwrap();
    let text = desk.succeeds(&["ca", "show", "hostile.pem"]);
    assert!(!text.contains('\u{1b}') && text.contains("no CA"), "{text}");
}

#[test]
fn verify_tells_every_fault_and_not_only_the_first() {
    let desk = Desk::new();
    desk.ceremony();
    let chain = desk.chain("chain.pem");
    fs::write(desk.path("turned.pem"), chain[1].pem().to_owned() + chain[0].pem()).unwrap();
    let verify = ["ca", "verify", "--chain", "turned.pem", "--key", "file:issuing.key", "--json"];
    let output = desk.mayfly(&verify);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = told["faults"].to_string();
    assert_eq!(told["holds"], false);
    for part in [
        "is self-signed, but others follow it",
        "is the last but not self-signed",
        "allows 0 CA certificates below it",
        "is not the key of certificate 1",
    ] {
        assert!(faults.contains(part), "{part}: {faults}");
    }
    let at = |time| ["ca", "verify", "--chain", "chain.pem", "--at", time];
    desk.fails(&at("2020-01-01T00:00:00Z"), 1, "is not valid before");
    desk.fails(&at("2099-01-01T00:00:00Z"), 1, "expired at");
    desk.fails(&["ca", "verify", "--chain", "nowhere.pem"], 2, "cannot read");
}

/// A configuration with these authorities; the demo makes the rest.
fn configuration(desk: &Desk, authorities: &str) {
    let demo = ["demo", "--once", "--listen", "127.0.0.1:0", "--data", "home"];
    if !desk.path("home").exists() {
        desk.succeeds(&demo);
    }
    let text = fs::read_to_string(desk.path("home/mayfly.yaml")).unwrap();
    let (before, rest) = text.split_once("authorities:\n").unwrap();
    let after = &rest[rest.find("log:\n").unwrap()..];
    let text = format!("{before}authorities:\n{authorities}{after}");
    fs::write(desk.path("home/plan.yaml"), text).unwrap();
}

const FIRST: &str = "  - key: file:keys/issuing.pem\n    chain: keys/chain.pem\n";
const SECOND: &str = "  - key: file:../issuing.key\n    chain: ../chain.pem\n";

#[test]
fn a_plan_tells_who_signs_when_and_what_verifiers_must_have() {
    let desk = Desk::new();
    desk.ceremony();
    let at = |days: u64| {
        let first = desk.chain("chain.pem")[0].not_before();
        first.plus_ms(days * 86_400_000).to_string()
    };
    let takes_over = at(5);
    configuration(
        &desk,
        &format!("{FIRST}    retire: {takes_over}\n{SECOND}    activate: {takes_over}\n"),
    );
    let now = ["--at", &at(1)];
    let plan = [&["ca", "plan", "--config", "home/plan.yaml"], &now[..]].concat();
    let text = desk.succeeds(&plan);
    assert!(text.contains(&format!("{takes_over}      authority 2 signs\n")), "{text}");
    let must_have = format!("must have the chain of authority 2 by {takes_over}");
    assert!(text.contains(&must_have), "{text}");
    assert!(!text.contains("warning") && !text.contains("mistake"), "{text}");
    let told: Value =
        serde_json::from_str(&desk.succeeds(&[&plan[..], &["--json"]].concat())).unwrap();
    assert_eq!(told["mistakes"], serde_json::json!([]));
    assert_eq!(told["authorities"][1]["phase"], "pending");
    assert_eq!(told["verifiersNeed"][1]["by"], takes_over.as_str());
    let starts: Vec<&Value> = told["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event"] == "startsSigning")
        .map(|event| &event["authority"])
        .collect();
    assert_eq!(starts, [1, 2]);
    let shown = desk.succeeds(&["ca", "show", "--config", "home/plan.yaml"]);
    assert!(shown.contains("authority     2: pending"), "{shown}");
}

#[test]
fn a_plan_with_mistakes_tells_all_of_them() {
    let desk = Desk::new();
    desk.ceremony();
    configuration(&desk, &format!("{FIRST}{SECOND}    retire: 2099-01-01T00:00:00Z\n"));
    let plan = ["ca", "plan", "--config", "home/plan.yaml"];
    desk.fails(&plan, 1, "are activated at the same time");
    desk.fails(&plan, 1, "authority 2 retires at 2099-01-01T00:00:00Z, but its chain expires");
    configuration(&desk, &format!("{FIRST}    activate: 2099-01-01T00:00:00Z\n"));
    desk.fails(&plan, 1, "nobody signs from");
    desk.fails(&plan, 1, "authority 1 never signs");
    desk.fails(&["ca", "plan", "--config", "nowhere.yaml"], 2, "nowhere.yaml");
}

/// The next authority's key and chain, as the configuration in `home` names them.
const ROTATE: [&str; 8] = [
    "ca",
    "rotate",
    "--config",
    "home/plan.yaml",
    "--key",
    "file:../issuing.key",
    "--chain",
    "../chain.pem",
];

fn rotate(more: &[&str]) -> Vec<String> {
    ROTATE.iter().chain(more).map(|&word| word.to_owned()).collect()
}

/// `words` as arguments.
fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn rotate_writes_the_next_authority_and_nothing_else() {
    let desk = Desk::new();
    desk.ceremony();
    configuration(&desk, &format!("  # the first\n{FIRST}\n  # the log follows\n"));
    let file = desk.path("home/plan.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::read_to_string(&file).unwrap();
    let files = desk.files_of("home");

    let dry = desk.succeeds(&words(&rotate(&["--dry-run"])));
    assert!(dry.contains("authority 2 signs\n") && dry.contains("because of --dry-run"), "{dry}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    let told = desk.succeeds(&words(&rotate(&["--json"])));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["written"], &told["mistakes"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(told["warnings"], serde_json::json!([]));
    let activate = told["authorities"][1]["activate"].as_str().unwrap();
    assert_eq!(told["authorities"][0]["retire"], activate);
    let second = format!(
        "  - key: file:../issuing.key\n    chain: ../chain.pem\n    activate: {activate}\n"
    );
    let chain = "    chain: keys/chain.pem\n";
    let expected = before.replace(chain, &format!("{chain}    retire: {activate}\n{second}"));
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(mode(&file), 0o640);
    assert_eq!(desk.files_of("home"), files, "nothing is left beside it");
    desk.succeeds(&["ca", "plan", "--config", "home/plan.yaml"]);
    desk.succeeds(&["config", "check", "--config", "home/plan.yaml"]);

    // A week, for verifiers to learn of it, in whole minutes.
    let at = |value: &Value| Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap();
    let notice_ms = at(&told["authorities"][1]["activate"]).ms_since(at(&told["at"]));
    assert!((604_800_000..604_860_000).contains(&notice_ms), "{notice_ms}");
    desk.fails(&words(&rotate(&[])), 1, "is the key of two entries");
}

#[test]
fn rotate_leaves_what_is_asked_to_be_left_and_takes_the_time_that_is_said() {
    let desk = Desk::new();
    desk.ceremony();
    configuration(&desk, FIRST);
    let kept = desk.succeeds(&words(&rotate(&["--keep", "--activate-in", "30h", "--dry-run"])));
    assert!(kept.contains("signs only until") && kept.contains("give it 'retire:"), "{kept}");
    let soon = desk.succeeds(&words(&rotate(&["--activate-in", "2h", "--dry-run"])));
    assert!(soon.contains("less than a day from now"), "{soon}");
    desk.fails(
        &words(&rotate(&["--activate", "2099-01-01T00:00:00Z"])),
        1,
        "authority 2 never signs",
    );
    // One that has its time keeps it.
    let retires = desk.chain("chain.pem")[0].not_before().plus_ms(20 * 86_400_000);
    configuration(&desk, &format!("{FIRST}    retire: {retires}\n"));
    desk.fails(&words(&rotate(&["--activate-in", "25d"])), 1, "nobody signs from");
    desk.succeeds(&words(&rotate(&["--activate", &retires.to_string()])));
    let text = fs::read_to_string(desk.path("home/plan.yaml")).unwrap();
    assert_eq!(text.matches("retire:").count(), 1, "{text}");
}

/// A key that was stolen signs no minute longer.
#[test]
fn rotate_can_let_the_next_key_take_over_at_once() {
    let desk = Desk::new();
    desk.ceremony();
    configuration(&desk, FIRST);
    let now = SystemClock.now().to_string();
    let told = desk.succeeds(&words(&rotate(&["--json", "--activate", &now])));
    let told: Value = serde_json::from_str(&told).unwrap();
    let phases: Vec<&Value> =
        told["authorities"].as_array().unwrap().iter().map(|one| &one["phase"]).collect();
    assert_eq!(phases, ["retired", "active"]);
    assert_eq!(told["verifiersNeed"].as_array().unwrap().len(), 1, "what signs no more is no need");
    let text = fs::read_to_string(desk.path("home/plan.yaml")).unwrap();
    assert!(text.contains(&format!("retire: {now}\n")), "{text}");
    desk.succeeds(&["config", "check", "--config", "home/plan.yaml"]);
}

#[test]
fn rotate_writes_nothing_that_would_not_hold() {
    let desk = Desk::new();
    desk.ceremony();
    configuration(&desk, FIRST);
    let file = desk.path("home/plan.yaml");
    let before = fs::read_to_string(&file).unwrap();
    let other = ["--key", "file:other.key", "--new-key", "p256", "--organization", "example.com"];
    let request = ["--common-name", "Other", "--out", "other.csr"];
    desk.succeeds(&[&["ca", "create", "csr"], &other[..], &request[..]].concat());
    let rotate = |key: &str, chain: &str, passphrase: &[&str], code: i32, text: &str| {
        let command = ["ca", "rotate", "--config", "home/plan.yaml", "--key", key];
        let rest = [&["--chain", chain], passphrase].concat();
        desk.fails(&[&command[..], &rest[..]].concat(), code, text);
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    };
    let chain = "../chain.pem";
    rotate("file:../other.key", chain, &[], 2, "is not the key of");
    rotate("file:../none.key", chain, &[], 2, "none.key");
    rotate("file:../issuing.key", "../none.pem", &[], 2, "none.pem' cannot be read");
    rotate("file:../issuing.key", "../root.pem", &[], 2, "is not the key of certificate 1");
    let mut turned = desk.chain("chain.pem");
    turned.reverse();
    let turned: String = turned.iter().map(Certificate::pem).collect();
    fs::write(desk.path("turned.pem"), turned).unwrap();
    rotate("file:../issuing.key", "../turned.pem", &[], 1, "authority 2: certificate 1");
    rotate("file:../issuing.key", "keys/chain.pem", &[], 1, "the same key");
    rotate("nonsense", chain, &[], 1, "key");
    rotate("file:../issuing.key", chain, &["--passphrase", "hunter2"], 1, "env:NAME or file:PATH");
    rotate("file:../issuing.key", chain, &["--passphrase", "file:none"], 2, "passphrase");

    fs::write(desk.path("home/.plan.yaml.new"), "").unwrap();
    rotate("file:../issuing.key", chain, &[], 2, ".plan.yaml.new");
    fs::remove_file(desk.path("home/.plan.yaml.new")).unwrap();
    configuration(&desk, "  [{key: 'file:keys/issuing.pem', chain: keys/chain.pem}]\n");
    let flow = fs::read_to_string(&file).unwrap();
    desk.fails(&ROTATE, 2, "by hand: its authorities are not a list with one '- '");
    assert_eq!(fs::read_to_string(&file).unwrap(), flow);
}

#[test]
fn rotate_follows_a_link_and_leaves_it_one() {
    let desk = Desk::new();
    desk.ceremony();
    configuration(&desk, FIRST);
    fs::create_dir(desk.path("elsewhere")).unwrap();
    fs::rename(desk.path("home/plan.yaml"), desk.path("elsewhere/real.yaml")).unwrap();
    std::os::unix::fs::symlink("../elsewhere/real.yaml", desk.path("home/plan.yaml")).unwrap();
    desk.succeeds(&words(&rotate(&[])));
    assert!(fs::symlink_metadata(desk.path("home/plan.yaml")).unwrap().is_symlink());
    let text = fs::read_to_string(desk.path("elsewhere/real.yaml")).unwrap();
    assert!(text.contains("file:../issuing.key"), "{text}");
    assert_eq!(desk.files_of("elsewhere"), ["real.yaml"]);
}
