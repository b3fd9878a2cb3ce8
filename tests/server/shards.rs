//! The log's key is changed: a new shard beside the old one, which is frozen and goes on to be read.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use mayfly::{
    cli::{
        log::{self, LogArguments},
        trust::{self, TrustArguments},
    },
    ct::{LogId, SignedCertificateTimestampList},
    keys::{self, SignatureAlgorithm, Signer},
    log::FinalCheckpoint,
    serve::{self, StartError},
    time::SystemClock,
    x509::Certificate,
};
use serde_json::Value;

use crate::{
    load::{contains, entries_below, logged_tbs},
    token::email_claims,
    world::{World, answer, load, signing_request},
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

/// The folder and name of a shard, in the order of the configuration.
fn with_shard(yaml: &str, number: usize) -> String {
    let frozen: Vec<String> = (0..number).map(folder_of).collect();
    yaml.replace("data: log\n", &format!("data: {}\n  frozen: {frozen:?}\n", folder_of(number)))
        .replace("log.example.com/test", &format!("log.example.com/{number}"))
        .replace("file:log.pem", &format!("file:log-{number}.pem"))
}

fn folder_of(number: usize) -> String {
    if number == 0 { "log".to_owned() } else { format!("log-{number}") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_46_reloads_change_the_logs_key_under_load_and_fail_nobody() {
    let world = World::start().await;
    let folder = world.folder.path().to_owned();
    let yaml = fs::read_to_string(world.path("mayfly.yaml")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let token = world.issuer_key.sign(&email_claims());
    let start = |_| tokio::spawn(client(world.url(""), token.clone(), Arc::clone(&stop)));
    let clients: Vec<_> = (0..6).map(start).collect();
    let mut ids = vec![current_id(&folder)];
    for number in 1..=3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let key = write_key(&folder, &format!("log-{number}.pem"));
        ids.push(LogId::from_spki(key.public_key_der()));
        fs::write(folder.join("mayfly.yaml"), with_shard(&yaml, number)).unwrap();
        let refused = world.running.reload(load(&folder).unwrap()).await;
        assert!(matches!(refused, Err(StartError::Log(_))), "not created yet: {refused:?}");
        log_command(&folder, "init").await;
        world.running.reload(load(&folder).unwrap()).await.unwrap();
        let told = FinalCheckpoint::read(&folder.join(folder_of(number - 1))).unwrap();
        assert_eq!(told.id(), ids[number - 1]);
        let served = world.get(&format!("/log/{}/checkpoint", told.id())).await.body;
        assert_eq!(served.lines().nth(1), Some(told.size.to_string().as_str()));
    }
    // Neither another log that follows nothing, nor one that forgets a shard.
    for other in [with_shard(&yaml, 5), with_shard(&yaml, 2), yaml.clone()] {
        fs::write(folder.join("mayfly.yaml"), other).unwrap();
        let refused = world.running.reload(load(&folder).unwrap()).await;
        assert!(matches!(refused, Err(StartError::NeedsRestart { key: "log" })), "{refused:?}");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let mut chains = Vec::new();
    for client in clients {
        chains.extend(client.await.unwrap());
    }
    let audit = world.audit_lines();
    let told = audit.iter().filter(|line| line["event"] == "log_shard");
    let told: Vec<&str> = told.map(|line| line["log_id"].as_str().unwrap()).collect();
    assert_eq!(told, ids[1..].iter().map(LogId::to_string).collect::<Vec<_>>());
    for id in &ids {
        let entries = entries_below(&world, &format!("/log/{id}")).await;
        let of_it: Vec<_> = chains.iter().filter(|chain| log_of(chain) == *id).collect();
        assert!(!of_it.is_empty(), "no certificate of {id}");
        for chain in of_it {
            assert!(contains(&entries, &logged_tbs(&chain[0])), "an SCT without its entry");
        }
    }
    // The next process finds the same.
    fs::write(folder.join("mayfly.yaml"), with_shard(&yaml, 3)).unwrap();
    let (issuer_key, client) = (world.issuer_key, world.client);
    world.running.shutdown().await;
    let running = serve::start(load(&folder).unwrap(), Arc::new(SystemClock)).await.unwrap();
    let world = World { folder: world.folder, issuer_key, running, client };
    for id in &ids[..3] {
        let last = world.get(&format!("/log/{id}/checkpoint")).await;
        assert_eq!(last.status, 200, "{}", last.body);
    }
    assert_eq!(log_of(&world.request(&token, "jane@example.com").await.chain()), ids[3]);
}

fn current_id(folder: &std::path::Path) -> LogId {
    let pem = fs::read(folder.join("log.pem")).unwrap();
    let key = rcgen::KeyPair::from_pem(str::from_utf8(&pem).unwrap()).unwrap();
    LogId::from_spki(&rcgen::PublicKeyData::subject_public_key_info(&key))
}

async fn client(url: String, token: String, stop: Arc<AtomicBool>) -> Vec<Vec<Certificate>> {
    let client = reqwest::Client::new();
    let mut chains = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let body = signing_request(&token, "jane@example.com").to_string();
        let request = client.post(format!("{url}/api/v2/signingCert")).body(body);
        chains.push(answer(request).await.chain());
    }
    chains
}
