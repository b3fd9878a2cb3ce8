//! Which routes there are, and that each that issues asks who calls (NT-06).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    grpc::{self, v2},
    token::{email_claims, key_and_proof, with},
    world::{World, answer, signing_request},
};

const ISSUING: [&str; 3] = [
    "/api/v1/signingCert",
    "/api/v2/signingCert",
    "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate",
];

/// These say what everyone may know.
const OPEN: [&str; 8] = [
    "/api/v1/rootCert",
    "/api/v2/configuration",
    "/api/v2/trustBundle",
    "/dev.sigstore.fulcio.v2.CA/GetConfiguration",
    "/dev.sigstore.fulcio.v2.CA/GetTrustBundle",
    "/grpc.health.v1.Health/Check",
    "/healthz",
    "/log/{*path}",
];

/// What a refused call was told.
struct Refused {
    code: u64,
    message: String,
    request_id: String,
}

/// Asks for a certificate on one of the issuing routes.
async fn ask(world: &World, route: &str, token: Option<&str>) -> Refused {
    match route {
        "/api/v1/signingCert" => {
            let (pem, proof) = key_and_proof("jane@example.com");
            let content: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let body = json!({ "publicKey": { "content": content }, "signedEmailAddress": proof });
            ask_http(world, route, token, &body).await
        }
        "/api/v2/signingCert" => {
            let mut body = signing_request("", "jane@example.com");
            body["credentials"] = json!({ "oidcIdentityToken": token });
            ask_http(world, route, None, &body).await
        }
        "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate" => {
            let channel = grpc::channel(world).await;
            let mut client = v2::ca_client::CaClient::new(channel);
            let mut request = grpc::request(token.unwrap_or_default(), "jane@example.com");
            if token.is_none() {
                request.credentials = None;
            }
            let refused = client.create_signing_certificate(request).await.unwrap_err();
            let request_id = refused.metadata().get("x-request-id").unwrap();
            Refused {
                code: i32::from(refused.code()).try_into().unwrap(),
                message: refused.message().to_owned(),
                request_id: request_id.to_str().unwrap().to_owned(),
            }
        }
        other => panic!("{other} is not known here"),
    }
}

async fn ask_http(world: &World, route: &str, bearer: Option<&str>, body: &Value) -> Refused {
    let mut request = world.client.post(world.url(route)).body(body.to_string());
    if let Some(token) = bearer {
        request = request.bearer_auth(token);
    }
    let answer = answer(request).await;
    assert_eq!(answer.status, 400, "{route}: {}", answer.body);
    Refused {
        code: answer.json()["code"].as_u64().unwrap(),
        message: answer.message(),
        request_id: answer.headers["x-request-id"].to_str().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn nt_06_each_issuing_route_denies_who_is_unknown_and_who_is_refused() {
    let world = World::start().await;
    let unverified = with(email_claims(), json!({ "email_verified": false }));
    let unknown = with(email_claims(), json!({ "iss": "https://evil.example.com" }));
    let callers = [
        ("no token", None),
        ("no JWT", Some("garbage".to_owned())),
        ("an unknown issuer", Some(world.issuer_key.sign(&unknown))),
        ("an address that nobody verified", Some(world.issuer_key.sign(&unverified))),
    ];
    for route in ISSUING {
        for (what, token) in &callers {
            let refused = ask(&world, route, token.as_deref()).await;
            assert_eq!(refused.code, 3, "{route}, {what}");
            let text = "There was an error processing the identity token: ";
            assert!(refused.message.starts_with(text), "{route}, {what}: {}", refused.message);
            let lines = world.audit_lines();
            let line = lines.last().unwrap();
            assert_eq!(line["event"], "refused", "{route}, {what}");
            assert_eq!(line["request"], refused.request_id.as_str(), "{route}, {what}");
        }
    }
    assert_eq!(world.log_size().await, 0, "nothing was signed");
}

/// A new route must be sorted into one of the lists above.
#[test]
fn nt_06_there_are_no_other_routes() {
    let sources =
        [include_str!("../../src/api/http/mod.rs"), include_str!("../../src/api/grpc/mod.rs")];
    let routes: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split(".route(\"").skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    let known: BTreeSet<&str> = ISSUING.into_iter().chain(OPEN).collect();
    assert_eq!(routes, known);
}

#[tokio::test]
async fn web_pages_may_read_the_answers_and_see_nothing_of_grpc() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let body = signing_request(&token, "jane@example.com").to_string();
    let requests = [
        (200, world.client.get(world.url("/api/v2/trustBundle"))),
        (200, world.client.get(world.url("/api/v1/rootCert"))),
        (404, world.client.get(world.url("/nothing"))),
        (501, world.client.get(world.url("/api/v2/signingCert"))),
        (200, world.client.post(world.url("/api/v2/signingCert")).body(body)),
        (400, world.client.post(world.url("/api/v1/signingCert")).body("{}")),
    ];
    for (status, request) in requests {
        let answer = answer(request.header("origin", "https://page.example.com")).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        let of_grpc = |name: &http::HeaderName| name.as_str().starts_with("grpc-");
        assert!(!answer.headers.keys().any(of_grpc), "{:?}", answer.headers);
    }

    let preflight = world.client.request(http::Method::OPTIONS, world.url("/api/v2/signingCert"));
    let preflight = preflight
        .header("origin", "https://page.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let allowed = answer(preflight).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.headers["access-control-allow-methods"], "GET,POST");
    assert_eq!(allowed.headers["access-control-allow-headers"], "authorization,content-type");
}
