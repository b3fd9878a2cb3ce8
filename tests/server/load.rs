//! Many clients at once, while something changes under them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mayfly::{keys::SignatureAlgorithm, x509::Certificate};
use serde_json::json;

use crate::{
    token::{email_claims, with},
    world::{Answer, World, answer, load, mayfly_yaml, signing_request, write_authority},
};

/// Sends requests one after the other until told to stop or refused a connection.
async fn client(address: String, token: String, stop: Arc<AtomicBool>) -> Vec<Answer> {
    let client = reqwest::Client::new();
    let url = format!("{address}/api/v2/signingCert");
    let mut answers = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let body = signing_request(&token, "jane@example.com").to_string();
        match client.post(&url).body(body).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let headers = response.headers().clone();
                let body = response.text().await.expect("an answer that began is whole");
                answers.push(Answer { status, headers, body });
            }
            // What was sent on a connection that had been accepted gets its answer.
            Err(error) => {
                assert!(stop.load(Ordering::SeqCst) && !error.is_timeout(), "{error:?}");
            }
        }
    }
    answers
}

fn clients(world: &World, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<Vec<Answer>>> {
    let token = world.issuer_key.sign(&email_claims());
    let start = |_| tokio::spawn(client(world.url(""), token.clone(), Arc::clone(stop)));
    (0..8).map(start).collect()
}

async fn chains(clients: Vec<tokio::task::JoinHandle<Vec<Answer>>>) -> Vec<Vec<Certificate>> {
    let mut chains = Vec::new();
    for client in clients {
        chains.extend(client.await.unwrap().iter().map(Answer::chain));
    }
    chains
}

/// The entry tiles of the log that `get` reads, as one.
pub(crate) async fn entries(world: &World) -> Vec<u8> {
    entries_below(world, "/log").await
}

/// As [`entries`], of the shard that is served there.
pub(crate) async fn entries_below(world: &World, prefix: &str) -> Vec<u8> {
    let checkpoint = world.get(&format!("{prefix}/checkpoint")).await.body;
    let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let mut entries = Vec::new();
    for tile in 0..size.div_ceil(256) {
        let width = (size - tile * 256).min(256);
        let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
        let url = world.url(&format!("{prefix}/tile/data/{tile:03}{partial}"));
        let read = world.client.get(url).send().await.unwrap();
        assert_eq!(read.status(), 200);
        entries.extend(read.bytes().await.unwrap());
    }
    entries
}

/// RFC 6962: what the log holds is the TBS without the SCT list.
pub(crate) fn logged_tbs(certificate: &Certificate) -> Vec<u8> {
    mayfly::x509::Leaf::parse_certificate(certificate.der()).unwrap().logged_tbs().unwrap()
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    // The serial number is unique, so one place has to be looked at closely.
    let serial = needle[..40.min(needle.len())].to_vec();
    haystack
        .windows(serial.len())
        .enumerate()
        .filter(|(_, window)| *window == serial)
        .any(|(at, _)| haystack[at..].starts_with(needle))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_46_nt_50_reloads_under_load_mix_no_issuers_and_fail_nobody() {
    let world = World::start().await;
    write_authority(world.folder.path(), "next", SignatureAlgorithm::EcdsaP384Sha384).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = clients(&world, &stop);
    for round in 0..20 {
        let authority = if round % 2 == 0 { "next" } else { "issuing" };
        fs::write(world.path("mayfly.yaml"), mayfly_yaml(authority, "")).unwrap();
        world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let chains = chains(clients).await;
    assert_eq!(chains.len() as u64, world.log_size().await);
    let entries = entries(&world).await;
    let mut issuers = std::collections::BTreeSet::new();
    for chain in &chains {
        assert!(chain[0].is_signed_by(&chain[1]) && chain[1].is_signed_by(&chain[2]));
        assert!(contains(&entries, &logged_tbs(&chain[0])), "it stands in the log");
        issuers.insert(chain[1].der().to_vec());
    }
    assert_eq!(issuers.len(), 2, "both signed, in {} certificates", chains.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_under_load_answers_what_was_accepted_and_keeps_every_promise() {
    let world = World::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = clients(&world, &stop);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    stop.store(true, Ordering::SeqCst);
    let issuer_key = world.issuer_key;
    world.running.shutdown().await;
    let chains = chains(clients).await;
    assert!(!chains.is_empty());

    let config = load(world.folder.path()).unwrap();
    let clock = Arc::new(mayfly::time::SystemClock);
    let running = mayfly::serve::start(config, clock).await.unwrap();
    let client = reqwest::Client::new();
    let again = World { folder: world.folder, issuer_key, running, client };
    let entries = entries(&again).await;
    for chain in &chains {
        assert!(contains(&entries, &logged_tbs(&chain[0])), "an SCT without its entry");
    }
    let audit = again.audit_lines();
    let count = |event: &str| audit.iter().filter(|line| line["event"] == event).count();
    assert_eq!(count("intent"), count("issued") + count("failed"), "every intent has its end");
    assert!(count("issued") >= chains.len());
}

#[tokio::test]
async fn audit_lines_are_bounded_whatever_the_caller_sends() {
    let world = World::start().await;
    let long = "s".repeat(20_000);
    let quotes = "\u{1}\"\\".repeat(3000);
    let domain = format!("jane@{}.com", "d".repeat(10_000));
    for changes in [
        json!({ "sub": long }),
        json!({ "sub": quotes }),
        json!({ "email": format!("{long}@example.com") }),
        json!({ "email": domain }),
        json!({ "iss": format!("https://{long}") }),
        json!({ "iss": quotes }),
    ] {
        let token = world.issuer_key.sign(&with(email_claims(), changes));
        // Over a wrong challenge too, because that refusal names the right ones.
        world.request(&token, "jane@example.com").await;
        world.request(&token, "somebody else").await;
    }
    let request = world.client.post(world.url("/api/v2/signingCert"));
    answer(request.header("content-encoding", "x".repeat(10_000)).body("{}")).await;
    let text = fs::read_to_string(world.path("audit.jsonl")).unwrap();
    assert!(text.lines().count() >= 14);
    for line in text.lines() {
        assert!(line.len() <= MAX_LINE_BYTES, "{} bytes: {}…", line.len(), &line[..300]);
    }
}

/// A token of 32 KiB holds 24 KiB of claims, which JSON's escapes make twice as long at most: one
/// byte of a control character is six in the token already.
const MAX_LINE_BYTES: usize = 64 << 10;
