//! `GET /config` and `GET /readyz` on the private port, and one id through everything that tells
//! of a request.

use std::{cell::RefCell, fs, io, sync::Once};

use serde_json::{Value, json};

use crate::{
    grpc::{self, v2::ca_client::CaClient},
    tls,
    token::{email_claims, with},
    world::{Answer, EMAIL_ISSUER, World, answer, load},
};

pub(crate) async fn private(world: &World, path: &str) -> Answer {
    let address = world.running.private_address().unwrap();
    answer(world.client.get(format!("http://{address}{path}"))).await
}

#[tokio::test]
async fn the_configuration_in_effect_is_told_and_changes_with_a_reload() {
    let world = World::start().await;
    let told = private(&world, "/config").await.json();
    let config = &told["configuration"];
    assert_eq!(config["url"], "https://ca.example.com/");
    assert_eq!(config["limits"]["requestsInFlight"], 256);
    assert_eq!(config["log"]["origin"], "log.example.com/test");
    assert_eq!(config["log"]["id"].as_str().unwrap().len(), 64);
    assert_eq!(told["authorityPhases"][0]["phase"], "active");
    assert_eq!(told["lastReload"], Value::Null);
    let of_email = |config: &Value| {
        let issuers = config["issuers"].as_array().unwrap().iter();
        issuers.clone().find(|issuer| issuer["name"] == EMAIL_ISSUER).unwrap().clone()
    };
    assert_eq!(of_email(config)["maxTokenAgeSeconds"], 600);
    assert_eq!(of_email(config)["keys"], "static");

    let file = fs::read_to_string(world.path("issuers.yaml")).unwrap();
    fs::write(world.path("issuers.yaml"), file.replace("max-token-age: 10m", "max-token-age: 9m"))
        .unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let again = private(&world, "/config").await.json();
    assert_eq!(of_email(&again["configuration"])["maxTokenAgeSeconds"], 540);
    assert_eq!(again["lastReload"]["error"], Value::Null);
    let hash = |told: &Value| told["configuration"]["filesSha256"].as_str().unwrap().to_owned();
    assert_ne!(hash(&told), hash(&again));

    let yaml = fs::read_to_string(world.path("mayfly.yaml")).unwrap();
    fs::write(world.path("mayfly.yaml"), yaml.replace("audit.jsonl", "other.jsonl")).unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap_err();
    let kept = private(&world, "/config").await.json();
    assert_eq!(kept["configuration"], again["configuration"]);
    assert!(kept["lastReload"]["error"].as_str().unwrap().contains("audit"), "{kept}");
    let warnings = private(&world, "/readyz").await.json()["warnings"].clone();
    assert!(warnings.to_string().contains("the last reload was refused: 'audit'"), "{warnings}");
}

#[tokio::test]
async fn nt_60_the_private_port_shows_no_secret() {
    let world = World::start().await;
    let mut seen = String::new();
    for path in ["/config", "/readyz", "/metrics", "/livez"] {
        seen.push_str(&private(&world, path).await.body);
    }
    for secret in ["BEGIN", "jwks", "\"x\":"] {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
    for key in ["issuing.pem", "log.pem"] {
        let key = fs::read_to_string(world.path(key)).unwrap();
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!seen.contains(line), "a part of a key was given away");
        }
    }
}

#[tokio::test]
async fn readiness_names_what_does_not_work() {
    let world = World::start().await;
    let ready = private(&world, "/readyz").await;
    assert_eq!(
        ready.status, 200,
        "an issuer that was never reached does not count: {}",
        ready.body
    );
    let ready = ready.json();
    assert_eq!(ready["failing"], json!([]));
    let warnings = ready["warnings"].as_array().unwrap();
    let down = warnings.iter().find(|warning| warning["part"] == "issuer http://127.0.0.1:9");
    let reason = down.unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("its keys were not fetched yet"), "{reason}");
    let chain = warnings.iter().find(|one| one["part"].as_str().unwrap().starts_with("authority"));
    let reason = chain.unwrap()["reason"].as_str().unwrap();
    assert!(reason.starts_with("its chain is valid only until"), "{reason}");
    assert_eq!(ready["audit"]["writable"], true);
    assert_eq!(ready["tls"], Value::Null);
}

#[tokio::test]
async fn readiness_and_metrics_tell_when_the_tls_certificate_ends() {
    let world = tls::world().await;
    let ready = private(&world, "/readyz").await.json();
    assert!(ready["tls"]["valid_until"].as_str().unwrap().contains('T'), "{ready}");
    let metrics = private(&world, "/metrics").await.body;
    assert!(metrics.contains("\nmayfly_tls_not_after_timestamp_seconds "), "{metrics}");
    let told = private(&world, "/config").await.json();
    assert!(told["configuration"]["tls"]["cert"].as_str().unwrap().ends_with("tls.crt"), "{told}");
}

#[tokio::test]
async fn one_id_stands_in_answer_log_and_audit() {
    listen_to_this_thread();
    let world = World::start().await;
    let good = world.issuer_key.sign(&email_claims());
    let expired = world.issuer_key.sign(&with(email_claims(), json!({ "exp": 1 })));

    let of = |answer: &Answer| answer.headers["x-request-id"].to_str().unwrap().to_owned();
    let mut requests = Vec::new();
    for (answer, events) in [
        (world.request(&good, "jane@example.com").await, &["intent", "issued"][..]),
        (world.request(&expired, "jane@example.com").await, &["refused"]),
        // Refused before it is read as a request.
        (world.post(&json!("no request")).await, &["refused"]),
        (world.get("/nothing").await, &[]),
    ] {
        requests.push((of(&answer), events));
    }
    let mut client = CaClient::new(grpc::channel(&world).await);
    let issued = client.create_signing_certificate(grpc::request(&good, "jane@example.com")).await;
    let id = |metadata: &tonic::metadata::MetadataMap| {
        metadata.get("x-request-id").unwrap().to_str().unwrap().to_owned()
    };
    requests.push((id(issued.unwrap().metadata()), &["intent", "issued"]));
    let refused = client.create_signing_certificate(grpc::request("", "jane@example.com")).await;
    requests.push((id(refused.unwrap_err().metadata()), &["refused"]));

    let (log, audit) = (HEARD.with_borrow(Clone::clone).unwrap(), world.audit_lines());
    let log = String::from_utf8(log).unwrap();
    for (id, events) in requests {
        assert_eq!(id.len(), 32);
        let named = format!("request={id}");
        let answered = |line: &&str| line.contains("answered") && line.contains(&named);
        assert_eq!(log.lines().filter(answered).count(), 1, "{id} in {log}");
        let of_this = audit.iter().filter(|line| line["request"] == id.as_str());
        let told: Vec<&str> = of_this.map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(told, events, "{id}");
    }
}

thread_local! {
    /// What was logged on this thread, on which the whole server of a test runs.
    static HEARD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// One subscriber for the whole process: with one for this thread only, another test that meets a
/// log line first would decide that nobody listens to it.
fn listen_to_this_thread() {
    static LISTENING: Once = Once::new();
    HEARD.set(Some(Vec::new()));
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Ear);
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    });
}

struct Ear;

impl io::Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        HEARD.with_borrow_mut(|heard| heard.iter_mut().for_each(|it| it.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
