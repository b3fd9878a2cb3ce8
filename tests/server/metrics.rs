//! `GET /metrics` on the private port: what is counted, under which names, and that no stranger
//! adds a series.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use mayfly::telemetry::{
    metrics::{CallResult, Metrics},
    scrape::Scrape,
};
use serde_json::json;

use crate::{
    grpc, tls,
    token::{email_claims, with},
    world::{Answer, CI_ISSUER, EMAIL_ISSUER, World, answer},
};

/// Everything that a scrape told: each line's series, and its value.
struct Scraped {
    text: String,
    values: BTreeMap<String, f64>,
}

impl Scraped {
    async fn of(world: &World) -> Self {
        let Answer { status, headers, body } = scrape(world).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        Self::parsed(body)
    }

    fn parsed(body: String) -> Self {
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let values = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        });
        Self { values: values.collect(), text: body }
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.values.get(series).unwrap_or_else(|| panic!("no {series} in {}", self.text))
    }

    fn series(&self) -> BTreeSet<&String> {
        self.values.keys().collect()
    }

    /// Name, type, and the names of the labels of each metric.
    fn metrics(&self) -> BTreeSet<(String, String, BTreeSet<String>)> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let metrics = types.map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let suffixes: &[&str] =
                if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let of_this = |series: &&String| {
                let family = series.split('{').next().unwrap();
                suffixes.iter().any(|suffix| family == format!("{name}{suffix}"))
            };
            let mut labels = BTreeSet::new();
            for series in self.values.keys().filter(of_this) {
                labels.extend(labels_of(series).into_iter().filter(|label| label != "le"));
            }
            (name.to_owned(), kind.to_owned(), labels)
        });
        metrics.collect()
    }
}

fn labels_of(series: &str) -> Vec<String> {
    let Some((_, labels)) = series.split_once('{') else { return Vec::new() };
    labels
        .split("=\"")
        .filter_map(|part| part.rsplit(['"', ',', '}']).next())
        .map(str::to_owned)
        .filter(|label| !label.is_empty())
        .collect()
}

async fn scrape(world: &World) -> Answer {
    let private = world.running.private_address().unwrap();
    answer(world.client.get(format!("http://{private}/metrics"))).await
}

#[tokio::test]
async fn a_certificate_is_counted_under_our_name_and_upstreams() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
    let scraped = Scraped::of(&world).await;
    let certificates = format!(
        "mayfly_certificates_issued_total{{issuer=\"{EMAIL_ISSUER}\",issuer_type=\"email\",\
         key=\"ecdsa-p256\"}}"
    );
    for (series, value) in [
        (certificates.as_str(), 1.0),
        ("fulcio_new_certs", 1.0),
        ("fulcio_api_latency_count{code=\"200\",method=\"post\"}", 1.0),
        ("mayfly_log_size", 1.0),
        ("mayfly_log_stopped", 0.0),
        ("mayfly_can_issue", 1.0),
        ("mayfly_audit_writable", 1.0),
        ("mayfly_issuances_in_flight", 0.0),
        ("mayfly_issuances_in_flight_limit", 256.0),
        ("mayfly_config_last_reload_successful", 1.0),
    ] {
        assert_eq!(scraped.value(series), value, "{series}");
    }
    for stage in ["token", "proof", "precertificate", "log", "certificate"] {
        let series = format!("mayfly_issuance_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert_eq!(scraped.value(&series), 1.0, "{stage}");
    }
    let route = "mayfly_http_request_duration_seconds_count{code=\"2xx\",\
                 route=\"/api/v2/signingCert\"}";
    assert_eq!(scraped.value(route), 1.0);
    assert!(scraped.text.contains("# TYPE fulcio_new_certs counter\n"), "{}", scraped.text);
    assert_eq!(world.get("/metrics").await.status, 404, "not on the public port");
}

#[tokio::test]
async fn refusals_are_counted_by_reason_and_by_the_issuer_that_was_named() {
    let world = World::start().await;
    let expired = world.issuer_key.sign(&with(email_claims(), json!({ "exp": 1 })));
    assert_eq!(world.request(&expired, "jane@example.com").await.status, 400);
    let unverified = with(email_claims(), json!({ "email_verified": false }));
    let unverified = world.issuer_key.sign(&unverified);
    assert_eq!(world.request(&unverified, "jane@example.com").await.status, 400);
    let good = world.issuer_key.sign(&email_claims());
    assert_eq!(world.request(&good, "somebody else").await.status, 400);
    let stranger = with(email_claims(), json!({ "iss": "https://evil.example.com" }));
    let stranger = world.issuer_key.sign(&stranger);
    assert_eq!(world.request(&stranger, "jane@example.com").await.status, 400);
    let wild = json!({ "iss": "https://a.wild.example.com/id/1", "exp": 1 });
    let wild = world.issuer_key.sign(&with(email_claims(), wild));
    assert_eq!(world.request(&wild, "jane@example.com").await.status, 400);
    assert_eq!(world.post(&json!({})).await.status, 400);
    assert_eq!(world.post(&json!("x")).await.status, 400);

    // gRPC says 200 in HTTP's own words, and is counted as what it means.
    let mut client = grpc::v2::ca_client::CaClient::new(grpc::channel(&world).await);
    let request = grpc::request(&expired, "jane@example.com");
    client.create_signing_certificate(request).await.unwrap_err();

    let scraped = Scraped::of(&world).await;
    for (reason, issuer, count) in [
        ("token", EMAIL_ISSUER, 2.0),
        ("identity", EMAIL_ISSUER, 1.0),
        ("proof", EMAIL_ISSUER, 1.0),
        ("token", "https://*.wild.example.com/id/*", 1.0),
        // The stranger's, and the one without any.
        ("token", "other", 2.0),
        ("malformed_body", "other", 1.0),
    ] {
        let series = format!("mayfly_refusals_total{{issuer=\"{issuer}\",reason=\"{reason}\"}}");
        assert_eq!(scraped.value(&series), count, "{series}");
    }
    let of_grpc = "mayfly_http_request_duration_seconds_count{code=\"4xx\",\
                   route=\"/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate\"}";
    assert_eq!(scraped.value(of_grpc), 1.0);
    assert_eq!(scraped.value("fulcio_new_certs"), 0.0);
    assert_eq!(scraped.value("fulcio_api_latency_count{code=\"400\",method=\"post\"}"), 7.0);
}

#[tokio::test]
async fn nt_61_thousands_of_strange_requests_add_no_series() {
    let world = World::start().await;
    let channel = grpc::channel(&world).await;
    strange_requests(&world, &channel, 0).await;
    let before = Scraped::of(&world).await;
    for number in 1..=400 {
        strange_requests(&world, &channel, number).await;
    }
    let after = Scraped::of(&world).await;
    assert_eq!(after.series(), before.series());
    let unknown = "mayfly_refusals_total{issuer=\"other\",reason=\"token\"}";
    assert_eq!(after.value(unknown) - before.value(unknown), 400.0, "they did arrive");
    for text in ["evil", "stranger", "/nothing", "PROPFIND"] {
        assert!(!after.text.contains(text), "{text} in {}", after.text);
    }
}

/// Five requests, of which every word that a stranger can choose is another one each time.
async fn strange_requests(world: &World, channel: &tonic::transport::Channel, number: u32) {
    let iss = format!("https://evil-{number}.example.com");
    let sub = format!("stranger-{number}");
    let token = world.issuer_key.sign(&with(email_claims(), json!({ "iss": iss, "sub": sub })));
    assert_eq!(world.request(&token, &sub).await.status, 400);
    let known = json!({ "sub": sub, "email": sub, "exp": 1 });
    let token = world.issuer_key.sign(&with(email_claims(), known));
    assert_eq!(world.request(&token, &sub).await.status, 400);
    assert_eq!(world.get(&format!("/nothing/{number}?x={number}")).await.status, 404);
    let method = http::Method::from_bytes(format!("PROPFIND{number}").as_bytes()).unwrap();
    let request = world.client.request(method, world.url("/api/v2/signingCert"));
    assert_eq!(answer(request).await.status, 501);
    let path = format!("/dev.sigstore.fulcio.v2.CA/Evil{number}");
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec =
        tonic_prost::ProstCodec::<grpc::v2::GetTrustBundleRequest, grpc::v2::TrustBundle>::default(
        );
    let request = tonic::Request::new(grpc::v2::GetTrustBundleRequest {});
    let refused = client.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn nt_61_a_reload_keeps_the_counters_of_issuers_that_are_gone() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
    let file = fs::read_to_string(world.path("issuers.yaml")).unwrap();
    let renamed = file.replace(EMAIL_ISSUER, "https://renamed.example.com");
    fs::write(world.path("issuers.yaml"), renamed).unwrap();
    world.running.reload(crate::world::load(world.folder.path()).unwrap()).await.unwrap();
    let claims = with(email_claims(), json!({ "iss": "https://renamed.example.com" }));
    world.request(&world.issuer_key.sign(&claims), "jane@example.com").await.chain();
    let scraped = Scraped::of(&world).await;
    for issuer in [EMAIL_ISSUER, "https://renamed.example.com"] {
        let series = format!(
            "mayfly_certificates_issued_total{{issuer=\"{issuer}\",issuer_type=\"email\",\
             key=\"ecdsa-p256\"}}"
        );
        assert_eq!(scraped.value(&series), 1.0, "{issuer}");
    }
    assert_eq!(scraped.value("fulcio_new_certs"), 2.0);
    assert_eq!(scraped.value("mayfly_config_reloads_total{result=\"ok\"}"), 1.0);
    let state = |issuer: &str| {
        let series = format!("mayfly_issuer_state{{issuer=\"{issuer}\",state=\"ready\"}}");
        scraped.values.get(&series).copied()
    };
    assert_eq!((state(EMAIL_ISSUER), state(CI_ISSUER)), (None, Some(1.0)), "of now alone");
}

#[tokio::test]
async fn nt_65_a_bad_reload_is_an_alarm_in_the_metrics() {
    let world = World::start().await;
    let moved = fs::read_to_string(world.path("mayfly.yaml")).unwrap();
    fs::write(world.path("mayfly.yaml"), moved.replace("audit.jsonl", "other.jsonl")).unwrap();
    let refused = world.running.reload(crate::world::load(world.folder.path()).unwrap()).await;
    refused.unwrap_err();
    let scraped = Scraped::of(&world).await;
    assert_eq!(scraped.value("mayfly_config_last_reload_successful"), 0.0);
    assert_eq!(scraped.value("mayfly_config_reloads_total{result=\"refused\"}"), 1.0);
}

/// What a process with a key on a token tells of it; tests/e2e has one.
fn of_a_key_on_a_token() -> Scraped {
    let (metrics, idle) = (Metrics::new(), Metrics::new());
    metrics.key("pkcs11:token=t;object=o").called(CallResult::Ok, Duration::ZERO);
    let text =
        |metrics: &Metrics| String::from_utf8(Scrape::default().text(metrics).unwrap()).unwrap();
    let idle = text(&idle);
    let of_keys = text(&metrics);
    let of_keys = of_keys.lines().filter(|line| !idle.lines().any(|known| known == *line));
    Scraped::parsed(of_keys.map(|line| format!("{line}\n")).collect())
}

/// What docs/operations.md tells of each metric, in the rows of its tables.
fn documented() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let rows = include_str!("../../docs/operations.md").lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind @ ("counter" | "gauge" | "histogram"), labels, ..] = cells[..] else {
            return None;
        };
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        Some((name.trim_matches('`').to_owned(), kind.to_owned(), labels))
    });
    rows.collect()
}

#[tokio::test]
async fn the_documentation_tells_of_every_metric_and_of_no_other() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
    world.post(&json!({})).await;
    let mut told = Scraped::of(&world).await.metrics();
    let with_tls = tls::world().await;
    told.extend(
        Scraped::of(&with_tls)
            .await
            .metrics()
            .into_iter()
            .filter(|(name, ..)| name == "mayfly_tls_not_after_timestamp_seconds"),
    );
    told.extend(of_a_key_on_a_token().metrics());
    let documented = documented();
    let missing: Vec<_> = told.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&told).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:?}\nstale: {stale:?}");
}
