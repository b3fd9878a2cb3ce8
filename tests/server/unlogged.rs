//! `log: none`: possible, but only by saying so.

use mayfly::x509::{
    Leaf,
    lint::{self, Stage},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    token::email_claims,
    world::{Answer, World},
};

pub(crate) fn without_log(yaml: String) -> String {
    let log = "log:\n  data: log\n  origin: log.example.com/test\n  key: file:log.pem\n";
    assert!(yaml.contains(log), "{yaml}");
    yaml.replace(log, "log: none\n")
}

async fn issue(world: &World) -> Answer {
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await
}

#[tokio::test]
async fn nt_58_without_a_log_a_certificate_has_neither_timestamp_nor_poison() {
    let world = World::start_as(without_log).await;
    let chain = issue(&world).await.chain();
    assert_eq!(chain.len(), 3);
    assert!(chain[0].is_signed_by(&chain[1]) && chain[1].is_signed_by(&chain[2]));
    let leaf = Leaf::parse_certificate(chain[0].der()).unwrap();
    lint::check(&leaf, Stage::Unlogged, 600).unwrap();
    assert!(lint::check(&leaf, Stage::Certificate, 600).is_err());
    let (_, leaf) = X509Certificate::from_der(chain[0].der()).unwrap();
    let ct = "1.3.6.1.4.1.11129.2.4.";
    assert!(leaf.extensions().iter().all(|each| !each.oid.to_id_string().starts_with(ct)));

    let lines = world.audit_lines();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "intent", "issued"]);
    assert!(lines[0]["log_id"].is_null() && lines[2].get("log_index").is_none());
}

#[tokio::test]
async fn nt_58_without_a_log_nothing_is_served_under_its_prefix() {
    let world = World::start_as(without_log).await;
    for path in ["/log/checkpoint", "/log/tile/0/000", "/log/issuer/00"] {
        assert_eq!(world.get(path).await.status, 404, "{path}");
    }
}
