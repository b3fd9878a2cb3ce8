//! kill -9 under load: what a client was promised is in the log afterwards.
use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinSet};

use crate::support::{
    clients::{PlainClient, certificates, log_holds},
    http, issuers,
    mayfly::{CaKey, Mayfly},
    peers::CiOidc,
};

#[test]
fn every_sct_a_client_received_is_in_the_log_after_each_of_thirty_crashes() {
    let oidc = CiOidc::start();
    let mut mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let trust = mayfly.trusted_root();
    let [leaves, checkpoints] = ["leaves.pem", "checkpoints"].map(|name| mayfly.path(name));
    let log = format!("{}/log", mayfly.url());
    let (mut promised, mut logged) = (String::new(), 0);
    for round in 0..ROUNDS {
        // A fresh token each round: thirty rounds may outlive one.
        let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
        let received = load_until_crash(&mut mayfly, &request, enough(round));
        mayfly.restart();

        fs::write(&leaves, received.join("\n")).unwrap();
        let (count, size) = log_holds(&log, &trust, &checkpoints, &leaves);
        assert_eq!(count, received.len());
        // More may be logged than promised (an answer was cut off), never less.
        assert!(size >= logged + count, "{size} entries after {logged} and {count} more");
        logged = size;
        promised += &(received.join("\n") + "\n");
    }
    // All of them again: no later crash took away what an earlier round had seen.
    fs::write(&leaves, &promised).unwrap();
    let (count, _) = log_holds(&log, &trust, &checkpoints, &leaves);
    assert_eq!(count, promised.matches("BEGIN CERTIFICATE").count());
}

const ROUNDS: usize = 30;
const CLIENTS: usize = 8;

/// Nothing is left half done: whatever was logged was also answered.
#[test]
fn a_graceful_stop_answers_every_request_that_it_logged() {
    let oidc = CiOidc::start();
    let mut mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let trust = mayfly.trusted_root();
    let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
    let received = load_until_end(&mut mayfly, &request, 50, |mayfly| {
        assert!(mayfly.stop().success(), "{}", mayfly.log());
    });
    mayfly.restart();

    let [leaves, checkpoints] = ["leaves.pem", "checkpoints"].map(|name| mayfly.path(name));
    fs::write(&leaves, received.join("\n")).unwrap();
    let log = format!("{}/log", mayfly.url());
    let (count, size) = log_holds(&log, &trust, &checkpoints, &leaves);
    assert_eq!((count, size), (received.len(), received.len()));
}

/// How many certificates end a round: 5 to 64, so that crashes meet batches in every state.
fn enough(round: usize) -> usize {
    5 + round * 37 % 60
}

fn jane() -> Value {
    json!({"sub": "jane", "aud": "sigstore", "email": "jane@example.com", "email_verified": true})
}

/// Clients ask as fast as they can until `enough` certificates have come; then the server is
/// killed while they go on. Returns every certificate that any of them received whole.
fn load_until_crash(mayfly: &mut Mayfly, request: &Value, enough: usize) -> Vec<String> {
    load_until_end(mayfly, request, enough, Mayfly::kill)
}

fn load_until_end(
    mayfly: &mut Mayfly,
    request: &Value,
    enough: usize,
    end: impl FnOnce(&mut Mayfly),
) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let load = Arc::new(Load { enough, ..Load::default() });
    let url = format!("{}/api/v2/signingCert", mayfly.url());
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(ask_until_end(load.clone(), url.clone(), request.clone()));
        }
        tokio::select! {
            () = load.reached.notified() => {}
            // A client ends before the server only by failing the test.
            Some(ended) = clients.join_next() => ended.unwrap(),
        }
        load.ending.store(true, Ordering::SeqCst);
        tokio::task::block_in_place(|| end(mayfly));
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    });
    let received = load.received.lock().unwrap();
    received.clone()
}

/// What the clients of one round share.
#[derive(Debug, Default)]
struct Load {
    enough: usize,
    received: Mutex<Vec<String>>,
    reached: Notify,
    ending: AtomicBool,
}

async fn ask_until_end(load: Arc<Load>, url: String, request: Value) {
    let client = http::client();
    loop {
        match http::post_with(&client, &url, &request).await {
            Ok(answer) => {
                let leaf = certificates(&answer).swap_remove(0);
                let mut received = load.received.lock().unwrap();
                received.push(leaf);
                if received.len() >= load.enough {
                    load.reached.notify_one();
                }
            }
            Err(error) => {
                // Only the end of the server may cut an answer off.
                assert!(load.ending.load(Ordering::SeqCst), "{error}");
                return;
            }
        }
    }
}
