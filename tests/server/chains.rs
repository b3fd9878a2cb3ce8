//! CA chains that do not hold, that end too soon, and how good ones are handed out.

use std::{fs, sync::Arc};

use mayfly::{
    ca::{Serial, ceremony},
    keys::{self, SignatureAlgorithm},
    serve,
    time::{Clock, SystemClock, Timestamp},
    x509::Certificate,
};
use serde_json::json;

use crate::{
    operations::private,
    token::email_claims,
    world::{World, load, mayfly_yaml, write_authority, write_authority_for},
};

/// It is always the same time.
#[derive(Debug)]
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

const P256: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

/// Why neither a start nor a reload takes the chain of `next`; the service goes on as before.
async fn refused(world: &World, at: Timestamp) -> [String; 2] {
    let before = fs::read_to_string(world.path("mayfly.yaml")).unwrap();
    let other = before.replace("issuing", "next");
    // A log and an audit log have one process.
    let elsewhere = other.replace("data: log", "data: log2").replace("audit.jsonl", "audit2.jsonl");
    let no_log = elsewhere.split_once("log:\n").unwrap().0.to_owned();
    let config = format!("{no_log}log: none\naudit: audit2.jsonl\n");
    fs::write(world.path("mayfly.yaml"), config).unwrap();
    let start = serve::start(load(world.folder.path()).unwrap(), Arc::new(At(at))).await;
    fs::write(world.path("mayfly.yaml"), other).unwrap();
    let reload = world.running.reload(load(world.folder.path()).unwrap()).await;
    fs::write(world.path("mayfly.yaml"), before).unwrap();
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
    [start.err().unwrap().to_string(), reload.err().unwrap().to_string()]
}

#[tokio::test]
async fn nt_43_an_expired_chain_is_taken_neither_at_start_nor_by_a_reload() {
    let world = World::start().await;
    write_authority_for(world.folder.path(), "next", P256, 30).await;
    for told in refused(&world, SystemClock.now()).await {
        assert!(told.contains("certificate 1 of the chain (CN=Test next"), "{told}");
        assert!(told.contains("expired at") && told.contains("renew the certificate"), "{told}");
    }
}

#[tokio::test]
async fn nt_43_a_chain_that_is_not_valid_yet_is_not_taken() {
    let world = World::start().await;
    let config = load(world.folder.path()).unwrap();
    let folder = world.stop().await;
    let yesterday = SystemClock.now().minus_ms(86_400_000);
    let refused = serve::start(config, Arc::new(At(yesterday))).await.err().unwrap().to_string();
    assert!(refused.contains("is not valid before"), "{refused}");
    drop(folder);
}

/// It could only be cut short, or outlive its issuer.
#[tokio::test]
async fn nt_43_no_certificate_is_issued_that_its_issuer_would_not_outlive() {
    let world = World::start().await;
    write_authority_for(world.folder.path(), "next", P256, 600).await;
    let other = mayfly_yaml("next", "");
    fs::write(world.path("mayfly.yaml"), other).unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let token = world.issuer_key.sign(&email_claims());
    let answer = world.request(&token, "jane@example.com").await;
    assert_eq!((answer.status, &answer.json()["code"]), (500, &json!(13)), "{}", answer.body);
    assert_eq!(world.log_size().await, 0, "nothing was signed");
    let ready = private(&world, "/readyz").await;
    assert_eq!(ready.status, 503);
    let failing = ready.json()["failing"].to_string();
    assert!(failing.contains("ends within ten minutes"), "{failing}");
    let metrics = private(&world, "/metrics").await.body;
    assert!(metrics.contains("\nmayfly_can_issue 0\n"), "{metrics}");
}

#[tokio::test]
async fn nt_47_a_chain_out_of_order_or_with_a_certificate_twice_is_taken_nowhere() {
    let world = World::start().await;
    write_authority(world.folder.path(), "next", P256).await;
    let path = world.path("next-chain.pem");
    let good = Certificate::parse_pem_chain(&fs::read(&path).unwrap()).unwrap();
    let [issuing, root] = &good[..] else { panic!("{} certificates", good.len()) };
    for (chain, words) in [
        (vec![root, issuing], "certificate 1 of the chain (CN=Test Root"),
        (vec![issuing, issuing, root], "certificate 1 of the chain (CN=Test next"),
        (vec![issuing, root, root], "is self-signed, but others follow it"),
        (vec![root], "is not the key of certificate 1"),
        (vec![issuing], "is the last but not self-signed"),
    ] {
        fs::write(&path, chain.iter().map(|ca| ca.pem()).collect::<String>()).unwrap();
        for told in refused(&world, SystemClock.now()).await {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}

/// Two issuing CAs below one root, of which one is to sign later.
#[tokio::test]
async fn nt_47_every_chain_of_the_bundle_is_whole_in_order_and_there_once() {
    let world = World::start().await;
    let folder = world.folder.path();
    let root_key = keys::file::generate(P256).unwrap();
    let root = ceremony::create_root(&*root_key.signer, &new_ca("One Root", 30)).await.unwrap();
    let mut chains = Vec::new();
    for name in ["now", "then"] {
        let key = keys::file::generate(P256).unwrap();
        let new = new_ca(name, 20);
        let made = ceremony::create_intermediate(&root, &*root_key.signer, &*key.signer, &new);
        chains.push([made.await.unwrap(), root.clone()]);
        key.write_new(&world.path(&format!("{name}.pem"))).unwrap();
        let text: String = chains.last().unwrap().iter().map(Certificate::pem).collect();
        fs::write(world.path(&format!("{name}-chain.pem")), text).unwrap();
    }
    let then =
        "  - key: file:then.pem\n    chain: then-chain.pem\n    activate: 2099-01-01T00:00:00Z\n";
    let both = mayfly_yaml("now", "").replace("log:\n", &format!("{then}log:\n"));
    fs::write(world.path("mayfly.yaml"), both).unwrap();
    world.running.reload(load(folder).unwrap()).await.unwrap();

    let bundle = world.get("/api/v2/trustBundle").await.json();
    let pems =
        |chain: &[Certificate; 2]| json!({ "certificates": [chain[0].pem(), chain[1].pem()] });
    assert_eq!(bundle["chains"], json!(chains.iter().map(pems).collect::<Vec<_>>()));
    let token = world.issuer_key.sign(&email_claims());
    let chain = world.request(&token, "jane@example.com").await.chain();
    assert_eq!(chain[1..], chains[0], "the one that signs, and nothing of the other");

    let roots = world.get("/api/v1/rootCert").await.body;
    let roots = Certificate::parse_pem_chain(roots.as_bytes()).unwrap();
    let [now, then] = &chains[..] else { panic!("{chains:?}") };
    assert_eq!(roots, [now[0].clone(), root, then[0].clone()], "the root that they share once");
}

fn new_ca(common_name: &str, days: u64) -> ceremony::NewCa<'_> {
    let now = SystemClock.now().minus_ms(60_000);
    let (lifetime_seconds, serial) = (days * 86_400, Serial::from_random([9; 20]));
    ceremony::NewCa { organization: "Test", common_name, now, lifetime_seconds, serial }
}
