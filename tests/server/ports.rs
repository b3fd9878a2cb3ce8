//! The private port, and both ports together when the process stops.

use std::{fs, net::TcpListener, sync::Arc};

use mayfly::{
    serve::{self, StartError},
    time::SystemClock,
};

use crate::{
    token::email_claims,
    world::{World, answer, load, mayfly_yaml},
};

#[tokio::test]
async fn the_private_port_says_what_works_by_name() {
    let world = World::start().await;
    let private = world.running.private_address().unwrap();
    assert!(private.ip().is_loopback());
    let get = |path: &str| answer(world.client.get(format!("http://{private}{path}")));
    let alive = get("/livez").await;
    assert_eq!((alive.status, alive.json()["alive"].as_bool()), (200, Some(true)));
    let ready = get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    let ready = ready.json();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["authorities"][0]["phase"], "active");
    assert_eq!(ready["log"]["size"], 0);
    let issuers = ready["issuers"].as_array().unwrap();
    let named = |name: &str| issuers.iter().find(|issuer| issuer["name"] == name).unwrap();
    assert_eq!(named("https://accounts.example.com")["state"], "ready");
    assert_eq!(named("http://127.0.0.1:9")["state"], "never_fetched");
    let unknown = get("/api/v2/signingCert").await;
    assert_eq!(unknown.status, 404, "the API is not served here");
    assert_eq!(world.get("/readyz").await.status, 404, "and this not on the public port");
}

#[tokio::test]
async fn private_none_starts_no_private_port() {
    let world = World::start_as(|yaml| yaml.replace("private: 127.0.0.1:0", "private: none")).await;
    assert_eq!(world.running.private_address(), None);
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_nothing_is_served() {
    let world = World::start().await;
    let folder = world.stop().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let yaml = mayfly_yaml("issuing", "");
    let yaml = yaml.replace("private: 127.0.0.1:0", &format!("private: {address}"));
    fs::write(folder.path().join("mayfly.yaml"), yaml).unwrap();
    let config = load(folder.path()).unwrap();
    let refused = serve::start(config, Arc::new(SystemClock)).await;
    let error = refused.expect_err("the port is taken");
    assert!(matches!(error, StartError::Bind { address: at, .. } if at == address), "{error}");
}

#[tokio::test]
async fn while_the_process_stops_it_is_not_ready_and_then_both_ports_are_closed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let (public, private) =
        (world.running.public_address(), world.running.private_address().unwrap());
    // A request that began and waits for the rest of its body holds the stop up.
    let body = crate::world::signing_request(&token, "jane@example.com").to_string();
    let mut slow = tokio::net::TcpStream::connect(public).await.unwrap();
    let head = format!(
        "POST /api/v2/signingCert HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&body.as_bytes()[..10]).await.unwrap();
    // Answered on a connection of its own, so that the slow one has been accepted.
    assert_eq!(world.get("/healthz").await.status, 200);
    let World { running, client, folder, .. } = world;
    let stopping = tokio::spawn(running.shutdown());
    let url = format!("http://{private}/readyz");
    let ready = loop {
        let ready = answer(client.get(&url)).await;
        if ready.status != 200 {
            break ready;
        }
    };
    assert_eq!((ready.status, ready.json()["stopping"].as_bool()), (503, Some(true)));
    slow.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut text = String::new();
    slow.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    stopping.await.unwrap();
    for address in [public, private] {
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
    let audit = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert!(audit.lines().last().unwrap().contains("\"stopped\""));
}

#[tokio::test]
async fn the_private_address_cannot_change_without_a_restart() {
    let world = World::start().await;
    let yaml = mayfly_yaml("issuing", "").replace("private: 127.0.0.1:0", "private: none");
    fs::write(world.path("mayfly.yaml"), yaml).unwrap();
    let refused = world.running.reload(load(world.folder.path()).unwrap()).await;
    assert!(matches!(refused, Err(StartError::NeedsRestart { key: "private" })), "{refused:?}");
}

#[tokio::test]
async fn nt_64_every_answer_of_both_ports_says_what_it_is() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
    let private = world.running.private_address().unwrap();
    let mut urls: Vec<String> = [
        "/healthz",
        "/api/v2/trustBundle",
        "/api/v2/configuration",
        "/api/v2/signingCert",
        "/log/checkpoint",
        "/log/tile/0/000.p/1",
        "/log/nothing",
        "/<script>alert(1)</script>",
    ]
    .map(|path| world.url(path))
    .to_vec();
    urls.extend(
        ["/livez", "/readyz", "/metrics", "/config", "/"]
            .map(|path| format!("http://{private}{path}")),
    );
    for url in urls {
        let answer = world.client.get(&url).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{url}");
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(!kind.contains("html"), "{url}: {kind}");
        assert!(!answer.bytes().await.unwrap().windows(7).any(|each| each == b"<script"), "{url}");
    }
}
