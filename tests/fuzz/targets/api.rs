//! The bodies of requests, through the whole server up to the certificate, without a connection.

use std::{cell::RefCell, fs::File, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Method, Request, Version, header};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use mayfly::{
    api::http::{RequestBounds, router},
    audit::AuditLog,
    ca::{self, CaSet},
    config::IssuerFile,
    issue::{Bounds, Generation, Records, Service},
    keys,
    policy::{ClientAlgorithms, Policy},
    telemetry::metrics::Metrics,
    x509::{Certificate, Leaf},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{
    oidc,
    world::{self, Issuers, NOW, StandingClock},
};

/// The body of `POST /api/v2/signingCert`.
pub(crate) fn body_v2(input: &[u8]) -> bool {
    let request = post("/api/v2/signingCert").body(Body::from(input.to_vec()));
    let answer = answer(request.expect("a request"));
    if answer.status == 200 {
        let json: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        let chain = &json["signedCertificateEmbeddedSct"]["chain"]["certificates"];
        let leaf = chain[0].as_str().expect("a chain begins with its leaf");
        check_certificate(leaf.as_bytes());
        true
    } else {
        check_refusal(&answer, token_in(input).as_deref());
        false
    }
}

/// The body of `POST /api/v1/signingCert`, with a good token in the header.
pub(crate) fn body_v1(input: &[u8]) -> bool {
    let request = post("/api/v1/signingCert")
        .header(header::AUTHORIZATION, format!("Bearer {}", world::good_token()))
        .body(Body::from(input.to_vec()));
    let answer = answer(request.expect("a request"));
    if answer.status == 201 {
        check_certificate(&answer.body);
        true
    } else {
        check_refusal(&answer, Some(world::good_token()));
        false
    }
}

/// The body of gRPC's `CreateSigningCertificate`, with a good token in the header.
pub(crate) fn body_grpc(input: &[u8]) -> bool {
    let request = post("/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate")
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::AUTHORIZATION, format!("Bearer {}", world::good_token()))
        .body(Body::from(input.to_vec()));
    let answer = answer(request.expect("a request"));
    assert_eq!(answer.status, 200, "gRPC has its own status");
    match answer.grpc_status.as_deref() {
        Some("0") => assert!(answer.body.len() > 500),
        // INVALID_ARGUMENT, UNIMPLEMENTED for a compressed message, or UNAUTHENTICATED.
        Some("3" | "12" | "16") => assert!(answer.body.is_empty()),
        // RESOURCE_EXHAUSTED.
        Some("8") => assert!(input.len() > BODY_BYTES),
        other => panic!("gRPC status {other:?}"),
    }
    answer.grpc_status.as_deref() == Some("0")
}

fn post(path: &str) -> http::request::Builder {
    Request::builder().method(Method::POST).uri(path)
}

struct Answer {
    status: u16,
    grpc_status: Option<String>,
    body: Vec<u8>,
}

fn answer(request: Request<Body>) -> Answer {
    thread_local! {
        static SERVER: RefCell<Server> = RefCell::new(Server::start());
    }
    SERVER.with_borrow_mut(|server| server.answer(request))
}

struct Server {
    runtime: Runtime,
    router: TowerToHyperService<Router>,
    audit: File,
    answered: u32,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let runtime = world::runtime();
        let folder = tempfile::tempdir().expect("a folder can be made");
        let audit_path = folder.path().join("audit.jsonl");
        let audit = AuditLog::open(&audit_path).expect("an audit log");
        let metrics = Arc::new(Metrics::new());
        let generation = runtime.block_on(generation(&metrics));
        let records = Records { audit: Arc::new(audit), metrics };
        let deadline = Duration::from_secs(3600);
        let bounds = Bounds { in_flight: 4, deadline };
        let clock = Arc::new(StandingClock);
        let service = Service::new(generation, None, records, clock, bounds);
        let bounds = RequestBounds { body_bytes: BODY_BYTES, body_timeout: deadline };
        let router = TowerToHyperService::new(router(Arc::new(service), bounds));
        let audit = File::options().write(true).open(audit_path).expect("the audit log's file");
        Self { runtime, router, audit, answered: 0, _folder: folder }
    }

    fn answer(&mut self, request: Request<Body>) -> Answer {
        // Each answer leaves a line, and a long run millions.
        self.answered += 1;
        if self.answered.is_multiple_of(10_000) {
            self.audit.set_len(0).expect("a file can be cut");
        }
        self.runtime.block_on(async {
            let response = match self.router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a body in memory");
            let trailers = body.trailers().cloned().unwrap_or_default();
            let grpc_status = parts.headers.get("grpc-status").or(trailers.get("grpc-status"));
            let grpc_status = grpc_status.and_then(|status| Some(status.to_str().ok()?.to_owned()));
            let (status, body) = (parts.status.as_u16(), body.to_bytes().to_vec());
            Answer { status, grpc_status, body }
        })
    }
}

/// The development CA, which everyone has, the golden issuers, and no log.
async fn generation(metrics: &Metrics) -> Generation {
    let file = IssuerFile::parse(&world::issuer_file(), "issuers.json".as_ref());
    let (_, profiles) = file.expect("a good file").for_serving().expect("that can be served");
    let key = include_bytes!("../../../keys-dev/issuing.pem");
    let signer = keys::file::parse("file:issuing.pem", key, None).expect("a good key");
    let chain = Certificate::parse_pem_chain(include_bytes!("../../../keys-dev/chain.pem"));
    let issuer = ca::Issuer::new(signer, chain.expect("a good chain"), NOW).await;
    let issuer = Arc::new(issuer.expect("key and chain that fit"));
    let authority = ca::Authority { issuer, activate: None, retire: None };
    let issuers = Arc::clone(&Issuers::golden().table);
    let published = profiles.published().iter();
    let counters = metrics
        .issuers(published.map(|issuer| (issuer.name.as_str(), issuer.issuer_type.as_str())));
    Generation {
        refresh: issuers.spawn_refresh(),
        issuers,
        profiles,
        policy: Policy::new(ClientAlgorithms::default()),
        ca: CaSet::new(vec![authority]).expect("one authority is a set"),
        counters,
    }
}

/// Whoever got a certificate got one for the name in the one token that anybody signed here.
fn check_certificate(pem: &[u8]) {
    let chain = Certificate::parse_pem_chain(pem).expect("a certificate is PEM");
    let leaf = Leaf::parse_certificate(chain[0].der()).expect("of a leaf");
    assert_eq!(leaf.not_after.ms_since(leaf.not_before), 600_000);
    let name = b"jane.doe@example.com";
    assert!(leaf.tbs.windows(name.len()).any(|window| window == name));
}

/// The caller's fault, said in the API's form, without the token.
fn check_refusal(answer: &Answer, token: Option<&str>) {
    assert!(matches!(answer.status, 400 | 401 | 413), "status {}", answer.status);
    assert!(answer.body.len() < 16 << 10, "{} bytes", answer.body.len());
    let json: Value = serde_json::from_slice(&answer.body).expect("a refusal is JSON");
    let message = json["message"].as_str().expect("with a message");
    assert!(json["code"].is_u64() && !message.is_empty());
    let signature = token.and_then(|token| token.rsplit('.').next());
    if let Some(signature) = signature.filter(|signature| oidc::is_telling(signature)) {
        assert!(!message.contains(signature), "the token's signature is told: {message}");
    }
}

fn token_in(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body["credentials"]["oidcIdentityToken"].as_str()?.to_owned())
}

const BODY_BYTES: usize = 256 << 10;
