//! The log's key is changed: a new shard beside the old one, which is frozen and goes on to be read.

use std::{fs, sync::Arc};

use clap::Parser;
use mayfly::{
    cli::{
        log::{self, LogArguments},
        trust::{self, TrustArguments},
    },
    ct::{LogId, SignedCertificateTimestampList},
    keys::{self, SignatureAlgorithm, Signer},
    serve,
    time::SystemClock,
    x509::Certificate,
};
use serde_json::Value;

use crate::{
    token::email_claims,
    world::{World, load},
};

#[derive(Parser)]
struct LogCommandLine {
    #[command(flatten)]
    arguments: LogArguments,
}

#[derive(Parser)]
struct TrustCommandLine {
    #[command(flatten)]
    arguments: TrustArguments,
}

fn config(folder: &std::path::Path) -> String {
    folder.join("mayfly.yaml").to_str().unwrap().to_owned()
}

async fn log_command(folder: &std::path::Path, command: &str) -> Value {
    let words = ["log", command, "--json", "--config", &config(folder)];
    let LogCommandLine { arguments } = LogCommandLine::parse_from(words);
    let mut said = Vec::new();
    log::run(arguments, Arc::new(SystemClock), &mut said).await.unwrap();
    serde_json::from_slice(&said).unwrap()
}

/// `ctlogs` of the trusted root.
async fn trusted_logs(folder: &std::path::Path) -> Vec<Value> {
    let words = ["trust", "root", "--config", &config(folder)];
    let TrustCommandLine { arguments } = TrustCommandLine::parse_from(words);
    let mut said = Vec::new();
    trust::run(arguments, Arc::new(SystemClock), &mut said).await.unwrap();
    let root: Value = serde_json::from_slice(&said).unwrap();
    root["ctlogs"].as_array().unwrap().clone()
}

fn write_key(folder: &std::path::Path, name: &str) -> Arc<dyn Signer> {
    let key = keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    key.write_new(&folder.join(name)).unwrap();
    key.signer
}

/// Which log promised.
fn log_of(chain: &[Certificate]) -> LogId {
    let leaf = mayfly::x509::Leaf::parse_certificate(chain[0].der()).unwrap();
    let list = SignedCertificateTimestampList::decode(leaf.sct_list().unwrap()).unwrap();
    list.0[0].log_id
}

#[tokio::test]
async fn a_new_log_key_takes_over_and_the_old_shard_is_frozen_and_read() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let first = world.request(&token, "jane@example.com").await.chain();
    let old_tile = world.client.get(world.url("/log/tile/data/000.p/1")).send().await.unwrap();
    let old_tile = old_tile.bytes().await.unwrap();
    let folder = world.folder.path().to_owned();
    let next = write_key(&folder, "log2.pem");
    let next_id = LogId::from_spki(next.public_key_der());

    // Verifiers learn of the next key while the old one still promises: no restart.
    let yaml = fs::read_to_string(world.path("mayfly.yaml")).unwrap();
    let announced =
        yaml.replace("file:log.pem\n", "file:log.pem\n  next:\n    key: file:log2.pem\n");
    fs::write(world.path("mayfly.yaml"), &announced).unwrap();
    world.running.reload(load(&folder).unwrap()).await.unwrap();
    let announced = trusted_logs(&folder).await;
    let base = |log: &Value| log["baseUrl"].as_str().unwrap().to_owned();
    assert_eq!(announced.len(), 2);
    assert_eq!(base(&announced[1]), format!("https://ca.example.com/log/{next_id}"));
    assert!(announced.iter().all(|log| log["publicKey"]["validFor"].get("end").is_none()));

    let (issuer_key, client) = (world.issuer_key, world.client);
    world.running.shutdown().await;
    fs::write(folder.join("mayfly.yaml"), &yaml).unwrap();
    let last = log_command(&folder, "freeze").await;
    assert_eq!(last["size"], 1);
    let old_id = log_of(&first);
    assert_eq!(last["id"], old_id.to_string());
    fs::remove_file(folder.join("log.pem")).unwrap();
    let rotated = yaml
        .replace("data: log\n", "data: log2\n  frozen: [log]\n")
        .replace("log.example.com/test", "log.example.com/test2")
        .replace("file:log.pem", "file:log2.pem");
    fs::write(folder.join("mayfly.yaml"), rotated).unwrap();
    log_command(&folder, "init").await;
    let running = serve::start(load(&folder).unwrap(), Arc::new(SystemClock)).await.unwrap();
    let world = World { folder: world.folder, issuer_key, running, client };

    let second = world.request(&token, "jane@example.com").await.chain();
    assert_eq!(log_of(&second), next_id);
    assert_eq!(world.log_size().await, 1);
    let current = world.get("/log/checkpoint").await;
    assert!(current.body.starts_with("log.example.com/test2\n1\n"), "{}", current.body);
    assert_eq!(world.get(&format!("/log/{next_id}/checkpoint")).await.body, current.body);
    let former = world.get(&format!("/log/{old_id}/checkpoint")).await;
    assert!(former.body.starts_with("log.example.com/test\n1\n"), "{}", former.body);
    let path = format!("/log/{old_id}/tile/data/000.p/1");
    let tile = world.client.get(world.url(&path)).send().await.unwrap();
    assert_eq!(tile.bytes().await.unwrap(), old_tile);
    let issuer = hex::encode(first[1].fingerprint());
    for prefix in [old_id, next_id] {
        assert_eq!(world.get(&format!("/log/{prefix}/issuer/{issuer}")).await.status, 200);
    }
    assert_eq!(world.get(&format!("/log/{}/checkpoint", "0".repeat(64))).await.status, 404);

    let trusted = trusted_logs(&folder).await;
    assert_eq!(trusted.len(), 2);
    assert_eq!(base(&trusted[0]), format!("https://ca.example.com/log/{old_id}"));
    assert_eq!(base(&trusted[1]), "https://ca.example.com/log");
    let end = trusted[0]["publicKey"]["validFor"]["end"].as_str().unwrap();
    assert!(end > last["finalCheckpoint"].as_str().unwrap(), "{end}");
    assert!(trusted[1]["publicKey"]["validFor"].get("end").is_none());
}
