//! Token verification against issuers that are served over HTTP, and that misbehave.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../src/oidc/fakes.rs"]
mod fakes;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fakes::{TestKey, claims, key_set};
use mayfly::oidc::{
    FetchError, IssuerSettings, IssuerState, IssuerTable, KeyOrigin, KeySetError, TokenError,
};
use mayfly::time::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// An identity provider on a port of its own. Each path answers from a script, whose last line
/// stays.
#[derive(Clone)]
struct Provider {
    url: String,
    scripts: Arc<Mutex<Vec<Script>>>,
    asked: Arc<AtomicUsize>,
    /// The header of every request.
    heard: Arc<Mutex<Vec<HeaderMap>>>,
}

/// A path and its answers.
type Script = (&'static str, VecDeque<Answer>);

#[derive(Clone)]
enum Answer {
    Json(Value),
    /// With a `Cache-Control`.
    Cached(Value, &'static str),
    Text(&'static str),
    Redirect(String),
    Status(u16),
    /// So many bytes, without a length said beforehand.
    Endless,
    /// So many bytes, with a length said beforehand.
    Large(usize),
    Hangs,
    /// A byte now and then, for ever.
    Drips,
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            scripts: Arc::default(),
            asked: Arc::default(),
            heard: Arc::default(),
        };
        let app = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        provider
    }

    /// A well-behaved one.
    async fn serving(keys: &[&TestKey]) -> Self {
        let provider = Self::start().await;
        provider.script(DISCOVERY, [Answer::Json(provider.discovery())]);
        provider.script("/keys", [Answer::Json(key_set(keys.iter().copied()))]);
        provider
    }

    fn discovery(&self) -> Value {
        json!({
            "issuer": self.url, "jwks_uri": format!("{}/keys", self.url),
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        })
    }

    fn script(&self, path: &'static str, answers: impl IntoIterator<Item = Answer>) {
        let mut scripts = self.scripts.lock().unwrap();
        scripts.retain(|(known, _)| *known != path);
        scripts.push((path, answers.into_iter().collect()));
    }

    fn next(&self, path: &str) -> Answer {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut scripts = self.scripts.lock().unwrap();
        match scripts.iter_mut().find(|(known, _)| *known == path) {
            None => Answer::Status(404),
            Some((_, script)) if script.len() == 1 => script[0].clone(),
            Some((_, script)) => script.pop_front().unwrap(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn settings(&self) -> IssuerSettings {
        settings(&self.url)
    }

    fn token(&self, key: &TestKey) -> String {
        key.token(&claims(&self.url, now().unix_seconds()))
    }
}

async fn answer(State(provider): State<Provider>, request: Request) -> Response {
    let json = |body: Value| ([(header::CONTENT_TYPE, "application/json")], body.to_string());
    provider.heard.lock().unwrap().push(request.headers().clone());
    match provider.next(request.uri().path()) {
        Answer::Json(body) => json(body).into_response(),
        Answer::Cached(body, control) => {
            ([(header::CACHE_CONTROL, control)], json(body)).into_response()
        }
        Answer::Text(body) => body.into_response(),
        Answer::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)], "{}").into_response(),
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Large(bytes) => vec![b' '; bytes].into_response(),
        Answer::Endless => chunks(64 * 1024, Duration::ZERO),
        Answer::Drips => chunks(1, Duration::from_millis(100)),
        Answer::Hangs => std::future::pending().await,
    }
}

fn chunks(bytes: usize, pause: Duration) -> Response {
    let stream = futures_util::stream::unfold((), move |()| async move {
        tokio::time::sleep(pause).await;
        Some((Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; bytes])), ()))
    });
    Body::from_stream(stream).into_response()
}

fn settings(name: &str) -> IssuerSettings {
    IssuerSettings {
        name: name.to_owned(),
        client_id: "sigstore".to_owned(),
        keys: KeyOrigin::Discovery { ca_cert_pem: None },
        allow_http: false,
        allowed_key_origins: Vec::new(),
        max_age_seconds: None,
        replay_guard: false,
    }
}

fn table(settings: impl IntoIterator<Item = IssuerSettings>) -> Arc<IssuerTable> {
    Arc::new(IssuerTable::new(settings.into_iter().collect(), Arc::new(SystemClock)).unwrap())
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn es256(kid: &str) -> TestKey {
    TestKey::new("ES256", kid)
}

/// Asks for a good token's verification, which must fail because the provider cannot be used.
async fn failure_of(provider: &Provider) -> FetchError {
    failure_with(provider, provider.settings()).await
}

async fn failure_with(provider: &Provider, settings: IssuerSettings) -> FetchError {
    let token = provider.token(&es256("k"));
    let error = table([settings]).verify(&token, now()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    match error {
        TokenError::Unavailable { source } => source,
        other => panic!("{other:?}"),
    }
}

/// The reference sends its Kubernetes service account's token to some issuers; there is none here
/// to send astray.
#[tokio::test]
async fn nt_14_no_credential_is_sent_to_any_issuer() {
    let key = TestKey::new("ES256", "k");
    let provider = Provider::serving(&[&key]).await;
    let table = IssuerTable::new(vec![provider.settings()], Arc::new(SystemClock)).unwrap();
    table.verify(&provider.token(&key), now()).await.unwrap();
    let heard = provider.heard.lock().unwrap();
    assert_eq!(heard.len(), 2, "discovery and keys");
    for headers in heard.iter() {
        let names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        let harmless = |name: &&str| matches!(*name, "accept" | "host" | "user-agent");
        assert!(names.iter().all(harmless), "{names:?}");
    }
}

#[tokio::test]
async fn a_token_of_a_served_issuer_is_verified() {
    for key in [es256("k"), TestKey::new("RS256", "k"), es256("k").without_kid()] {
        let provider = Provider::serving(&[&key]).await;
        let table = table([provider.settings()]);
        let verified = table.verify(&provider.token(&key), now()).await.unwrap();
        assert_eq!(verified.issuer(), provider.url);
        for _ in 0..20 {
            table.verify(&provider.token(&key), now()).await.unwrap();
        }
        assert_eq!(provider.asked(), 2, "one discovery, one key set");
    }
}

#[tokio::test]
async fn keys_may_be_rotated_at_any_time() {
    let (old, new) = (es256("old"), es256("new"));
    let provider = Provider::serving(&[&old]).await;
    let table = table([provider.settings()]);
    table.verify(&provider.token(&old), now()).await.unwrap();
    provider.script("/keys", [Answer::Json(key_set([&new]))]);
    table.verify(&provider.token(&new), now()).await.unwrap();
    let error = table.verify(&provider.token(&old), now()).await.unwrap_err();
    assert!(matches!(error, TokenError::NoSuchKey { .. }), "{error:?}");
}

#[tokio::test]
async fn nt_20_an_algorithm_that_the_issuer_does_not_advertise_is_refused() {
    let key = TestKey::new("PS256", "k");
    let provider = Provider::serving(&[&key]).await;
    let error = table([provider.settings()]).verify(&provider.token(&key), now()).await;
    assert!(matches!(error, Err(TokenError::AlgorithmNotAdvertised { .. })), "{error:?}");
}

#[tokio::test]
async fn nt_12_redirects_are_not_followed() {
    let key = es256("k");
    let elsewhere = Provider::serving(&[&key]).await;
    let provider = Provider::serving(&[&key]).await;
    let own = provider.discovery();
    // The other server would answer just what is wanted; so would this one under another path.
    elsewhere.script(DISCOVERY, [Answer::Json(own.clone())]);
    provider.script("/elsewhere", [Answer::Json(own.clone())]);
    provider.script("/other-keys", [Answer::Json(key_set([&key]))]);
    for (path, to) in [
        (DISCOVERY, format!("{}{DISCOVERY}", elsewhere.url)),
        (DISCOVERY, format!("{}/elsewhere", provider.url)),
        (DISCOVERY, "/elsewhere".to_owned()),
        (DISCOVERY, "file:///etc/passwd".to_owned()),
        ("/keys", format!("{}/keys", elsewhere.url)),
        ("/keys", format!("{}/other-keys", provider.url)),
        ("/keys", "http://169.254.169.254/latest/meta-data/".to_owned()),
    ] {
        provider.script(DISCOVERY, [Answer::Json(own.clone())]);
        provider.script("/keys", [Answer::Json(key_set([&key]))]);
        provider.script(path, [Answer::Redirect(to.clone())]);
        let error = failure_of(&provider).await;
        assert!(matches!(error, FetchError::Redirect { status: 302, .. }), "{to}: {error:?}");
    }
    assert_eq!(elsewhere.asked(), 0);
}

#[tokio::test]
async fn nt_13_a_jwks_uri_elsewhere_is_not_asked() {
    let key = es256("k");
    let elsewhere = Provider::serving(&[&key]).await;
    let provider = Provider::serving(&[&key]).await;
    let port = elsewhere.url.rsplit_once(':').unwrap().1;
    for uri in [
        format!("{}/keys", elsewhere.url),
        format!("http://localhost:{port}/keys"),
        format!("http://[::ffff:127.0.0.1]:{port}/keys"),
        format!("http://2130706433:{port}/keys"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://169.254.169.254/".to_owned(),
        "http://10.0.0.1/keys".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "/keys".to_owned(),
        String::new(),
        format!("http://user@{}/keys", provider.url.strip_prefix("http://").unwrap()),
    ] {
        let mut document = provider.discovery();
        document["jwks_uri"] = json!(uri);
        provider.script(DISCOVERY, [Answer::Json(document)]);
        let error = failure_of(&provider).await;
        assert!(matches!(error, FetchError::KeysElsewhere { .. }), "{uri}: {error:?}");
    }
    assert_eq!(elsewhere.asked(), 0);
}

#[tokio::test]
async fn nt_13_an_origin_that_the_operator_lists_is_asked() {
    let key = es256("k");
    let elsewhere = Provider::serving(&[&key]).await;
    let provider = Provider::serving(&[]).await;
    let mut document = provider.discovery();
    document["jwks_uri"] = json!(format!("{}/keys", elsewhere.url));
    provider.script(DISCOVERY, [Answer::Json(document)]);
    let settings =
        IssuerSettings { allowed_key_origins: vec![elsewhere.url.clone()], ..provider.settings() };
    table([settings]).verify(&provider.token(&key), now()).await.unwrap();
    assert_eq!(elsewhere.asked(), 1);
}

#[tokio::test]
async fn nt_13_a_discovery_document_of_another_issuer_is_refused() {
    let key = es256("k");
    let provider = Provider::serving(&[&key]).await;
    for says in ["https://evil.example", &format!("{}/", provider.url), ""] {
        let mut document = provider.discovery();
        document["issuer"] = json!(says);
        provider.script(DISCOVERY, [Answer::Json(document)]);
        let error = failure_of(&provider).await;
        assert!(matches!(error, FetchError::WrongIssuer { .. }), "{says}: {error:?}");
    }
}

#[tokio::test]
async fn nt_15_issuers_with_equal_kids_are_kept_apart() {
    let (a, b) = (es256("same"), es256("same"));
    let (at_a, at_b) = (Provider::serving(&[&a]).await, Provider::serving(&[&b]).await);
    let table = table([at_a.settings(), at_b.settings()]);
    table.verify(&at_a.token(&a), now()).await.unwrap();
    table.verify(&at_b.token(&b), now()).await.unwrap();
    for forged in [at_a.token(&b), at_b.token(&a)] {
        let error = table.verify(&forged, now()).await.unwrap_err();
        assert_eq!(error, TokenError::Signature);
    }
}

#[tokio::test]
async fn nt_16_a_flood_of_unknown_kids_asks_seldom() {
    let key = es256("k");
    let provider = Provider::serving(&[&key]).await;
    let table = table([provider.settings()]);
    for i in 0..500 {
        let error = table.verify(&provider.token(&es256(&format!("no {i}"))), now()).await;
        assert!(matches!(error, Err(TokenError::NoSuchKey { .. })), "{error:?}");
    }
    // Two requests for each of at most three fetches; one more if the machine is very slow.
    assert!(provider.asked() <= 8, "{}", provider.asked());
    table.verify(&provider.token(&key), now()).await.unwrap();
}

#[tokio::test]
async fn nt_17_a_key_set_beyond_its_bounds_is_refused() {
    let key = es256("k");
    let provider = Provider::serving(&[&key]).await;
    let many = json!({"keys": vec![key.jwk(); 101]});
    let twice = key_set([&key, &es256("k")]);
    let private = json!({"keys": [{"kty": "EC", "crv": "P-256", "d": "AA"}]});
    for (document, expected) in [
        (many, KeySetError::TooMany { keys: 101, max: 100 }),
        (twice, KeySetError::DuplicateKeyId),
        (private, KeySetError::PrivateKey),
        (json!({"keys": []}), KeySetError::NoUsableKey),
        (json!([]), KeySetError::Json { fault: mayfly::oidc::JsonFault::NotAnObject }),
    ] {
        provider.script("/keys", [Answer::Json(document)]);
        assert_eq!(failure_of(&provider).await, FetchError::KeySet { source: expected });
    }
}

#[tokio::test]
async fn nt_17_a_body_beyond_its_bounds_is_not_read() {
    let provider = Provider::serving(&[&es256("k")]).await;
    for path in [DISCOVERY, "/keys"] {
        for answer in [Answer::Endless, Answer::Large(256 * 1024 + 1)] {
            provider.script(DISCOVERY, [Answer::Json(provider.discovery())]);
            provider.script(path, [answer]);
            let error = failure_of(&provider).await;
            assert!(matches!(error, FetchError::TooLarge { .. }), "{path}: {error:?}");
        }
    }
}

#[tokio::test]
async fn nt_18_answers_that_are_no_documents_are_503() {
    let provider = Provider::serving(&[&es256("k")]).await;
    for answer in [Answer::Status(404), Answer::Status(500), Answer::Status(204)] {
        provider.script(DISCOVERY, [answer]);
        let error = failure_of(&provider).await;
        assert!(matches!(error, FetchError::Status { .. }), "{error:?}");
    }
    for text in ["", "<html>", "[]", r#"{"issuer":"a","issuer":"b"}"#] {
        provider.script(DISCOVERY, [Answer::Text(text)]);
        let error = failure_of(&provider).await;
        assert!(matches!(error, FetchError::NotDiscovery { .. }), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn nt_18_a_provider_that_hangs_or_drips_holds_up_nobody_else() {
    let key = es256("k");
    let good = Provider::serving(&[&key]).await;
    for (path, answer) in [(DISCOVERY, Answer::Hangs), ("/keys", Answer::Drips)] {
        let bad = Provider::serving(&[&key]).await;
        bad.script(path, [answer]);
        let table = table([good.settings(), bad.settings()]);
        let started = Instant::now();
        let slow = {
            let (table, token) = (Arc::clone(&table), bad.token(&key));
            tokio::spawn(async move { table.verify(&token, now()).await })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        table.verify(&good.token(&key), now()).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(4), "the good one did not wait");
        let error = slow.await.unwrap().unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn nt_18_keys_at_hand_serve_while_the_provider_is_down() {
    let key = es256("k");
    let provider = Provider::serving(&[&key]).await;
    let table = table([provider.settings()]);
    table.verify(&provider.token(&key), now()).await.unwrap();
    provider.script(DISCOVERY, [Answer::Status(500)]);
    table.verify(&provider.token(&key), now()).await.unwrap();
    let error = table.verify(&provider.token(&es256("newer")), now()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn a_provider_that_is_down_at_first_is_found_by_the_background() {
    let key = es256("k");
    let provider = Provider::serving(&[&key]).await;
    let recovers = [Answer::Status(500), Answer::Json(provider.discovery())];
    provider.script(DISCOVERY, recovers);
    let cached = Answer::Cached(key_set([&key]), "public, max-age=120");
    provider.script("/keys", [cached]);
    let table = table([provider.settings()]);
    let background = table.spawn_refresh();
    let started = Instant::now();
    while !matches!(table.status()[0].state, IssuerState::Ready { keys: 1, .. }) {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", table.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(table.status()[0].last_failure, None);
    assert_eq!(provider.asked(), 3);
    drop(background);
    table.verify(&provider.token(&key), now()).await.unwrap();
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_503_and_says_so_to_the_operator() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let table = table([settings(&url)]);
    let token = es256("k").token(&claims(&url, now().unix_seconds()));
    let error = table.verify(&token, now()).await.unwrap_err();
    assert!(error.is_unavailable());
    assert!(!error.to_string().contains(&url), "{error}");
    let failure = table.status()[0].last_failure.clone().unwrap();
    assert!(failure.to_string().contains(&url), "{failure}");
}
