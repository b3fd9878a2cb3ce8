//! The metrics before a foreign reader: Prometheus' own parser, in Python.
use std::fs;

use serde_json::Value;

use crate::support::{
    clients::{PlainClient, python},
    http, issuers,
    mayfly::{CaKey, Mayfly},
    peers::Oidc,
};

#[test]
fn prometheus_reads_every_metric_and_fulcios_by_their_names() {
    let oidc = Oidc::start("ES256");
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let client = PlainClient::new();
    let good = client.request(&oidc.token(), "jane@example.com");
    assert_eq!(mayfly.ask(&good).status, 200);
    assert_eq!(mayfly.ask(&Value::Null).status, 400);

    let configuration = fs::read_to_string(mayfly.path("mayfly.yaml")).unwrap();
    let private = configuration.lines().find_map(|line| line.strip_prefix("private: ")).unwrap();
    let scraped = http::get(&format!("http://{private}/metrics")).unwrap();
    assert_eq!(scraped.status, 200, "{scraped:?}");
    let file = mayfly.path("metrics.txt");
    fs::write(&file, &scraped.text).unwrap();
    let read: Value = serde_json::from_str(&python("metrics", &[&file]).success()).unwrap();

    for (name, kind) in [
        ("fulcio_new_certs", "counter"),
        ("fulcio_api_latency", "histogram"),
        ("mayfly_certificates_issued", "counter"),
        ("mayfly_refusals", "counter"),
        ("mayfly_http_request_duration_seconds", "histogram"),
        ("mayfly_issuance_stage_duration_seconds", "histogram"),
        ("mayfly_issuer_state", "gauge"),
        ("process_cpu_seconds", "counter"),
        ("process_resident_memory_bytes", "gauge"),
    ] {
        assert_eq!(read[name]["type"], kind, "{name} in {read}");
    }
    // Fulcio's counter is one series, without labels.
    assert_eq!(read["fulcio_new_certs"]["samples"], 1);
    let types = scraped.text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(read.as_object().unwrap().len(), types);
}
