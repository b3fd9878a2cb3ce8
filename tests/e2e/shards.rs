//! The log's key is changed, and verifiers of others go on: those that had the next key in time accept
//! what both logs promised, and a reader of logs finds both whole.
use std::{
    fs,
    path::{Path, PathBuf},
};

use mayfly::{
    keys::{self, SignatureAlgorithm},
    x509::Certificate,
};
use serde_json::Value;

use crate::support::{
    clients::{PlainClient, SigstorePython, certificates, log_holds},
    issuers,
    mayfly::{CaKey, Mayfly},
    peers::{Oidc, Rekor},
};

#[test]
fn verifiers_that_knew_the_next_log_key_in_time_notice_nothing_of_its_change() {
    let oidc = Oidc::start("ES256");
    let rekor = Rekor::start();
    let mut mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let artifact = |mayfly: &Mayfly, name: &str| {
        fs::write(mayfly.path(name), format!("signed {name}")).unwrap();
        mayfly.path(name)
    };
    let accepted = |client: &SigstorePython, artifact: &Path| {
        client.verify(artifact, EMAIL, oidc.url()).success();
    };
    let late = verifier(&mayfly, &rekor, "late");
    let before = artifact(&mayfly, "before.txt");
    late.sign(&oidc.token(), &before).success();

    let next = keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    next.write_new(&mayfly.path("keys/log2.pem")).unwrap();
    let yaml = fs::read_to_string(mayfly.path("mayfly.yaml")).unwrap();
    let key = "  key: file:keys/log.pem\n";
    let announced = yaml.replace(key, &format!("{key}  next:\n    key: file:keys/log2.pem\n"));
    assert_ne!(announced, yaml);
    fs::write(mayfly.path("mayfly.yaml"), announced).unwrap();
    let in_time = verifier(&mayfly, &rekor, "in-time");
    accepted(&in_time, &before);
    let old_leaves = leaves(&mayfly, &oidc, "old-leaves.pem");

    assert!(mayfly.stop().success());
    let frozen = mayfly.command(&["log", "freeze", "--json"]).success();
    let frozen: Value = serde_json::from_str(&frozen).unwrap();
    fs::remove_file(mayfly.path("keys/log.pem")).unwrap();
    let rotated = yaml
        .replace(key, "  key: file:keys/log2.pem\n  frozen: [data/log]\n")
        .replace("data: data/log\n", "data: data/log2\n")
        .replace("log.example.com/2026", "log.example.com/2027");
    fs::write(mayfly.path("mayfly.yaml"), rotated).unwrap();
    mayfly.command(&["log", "init"]).success();
    mayfly.command(&["config", "check"]).success();
    mayfly.restart();

    let after = artifact(&mayfly, "after.txt");
    in_time.sign(&oidc.token(), &after).success();
    let updated = verifier(&mayfly, &rekor, "updated");
    for client in [&in_time, &updated] {
        accepted(client, &before);
        accepted(client, &after);
    }
    accepted(&late, &before);
    late.verify(&after, EMAIL, oidc.url()).failure();

    // A monitor that has only the trusted root reads both logs to their end.
    let trust = mayfly.trusted_root();
    let id = frozen["id"].as_str().unwrap();
    let old_log = format!("{}/log/{id}", mayfly.url());
    let (count, size) = log_holds(&old_log, &trust, &mayfly.path("old-checkpoints"), &old_leaves);
    assert_eq!((count, size as u64), (3, frozen["size"].as_u64().unwrap()));
    let new_leaves = leaves(&mayfly, &oidc, "new-leaves.pem");
    let new_log = format!("{}/log", mayfly.url());
    let (count, size) = log_holds(&new_log, &trust, &mayfly.path("new-checkpoints"), &new_leaves);
    assert_eq!((count, size), (3, 4), "three and the one of the artifact");
}

/// sigstore-python with the trust config of this moment.
fn verifier(mayfly: &Mayfly, rekor: &Rekor, name: &str) -> SigstorePython {
    let trust_config = mayfly.path(&format!("{name}.json"));
    fs::rename(mayfly.trust_config(rekor), &trust_config).unwrap();
    SigstorePython { trust_config }
}

/// Three certificates in one file.
fn leaves(mayfly: &Mayfly, oidc: &Oidc, name: &str) -> PathBuf {
    let request = PlainClient::new().request(&oidc.token(), EMAIL);
    let leaves: Vec<String> =
        (0..3).map(|_| certificates(&mayfly.ask(&request)).swap_remove(0)).collect();
    let text = leaves.join("\n");
    assert_eq!(Certificate::parse_pem_chain(text.as_bytes()).unwrap().len(), 3);
    fs::write(mayfly.path(name), text).unwrap();
    mayfly.path(name)
}

const EMAIL: &str = "jane@example.com";
