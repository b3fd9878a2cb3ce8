//! An OpenID Connect provider for development: whoever asks is whoever they say they are.
//!
//! In: an e-mail address, as a query. Out: a signed token. It exists only in `mayfly demo` and in
//! the benchmark, listens on loopback only, and has a key that is gone when the process ends.

use std::{io, net::Ipv4Addr, sync::Arc};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    secret::Secret,
    time::{Clock, Timestamp},
};

/// A running provider; it ends when dropped.
#[derive(Debug)]
pub struct DevIssuer {
    provider: Arc<Provider>,
    server: JoinHandle<()>,
}

impl DevIssuer {
    /// Makes a key and listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no free port, or no key could be made.
    pub async fn start(clock: Arc<dyn Clock>) -> io::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| io::Error::other("no key could be made"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let authority = listener.local_addr()?.to_string();
        let provider = Arc::new(Provider { authority, key, clock });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", get(token))
            .layer(middleware::from_fn_with_state(Arc::clone(&provider), only_by_address))
            .with_state(Arc::clone(&provider));
        let server = tokio::spawn(async move {
            // Ends with the listener only; then no token can be had, and the demo says so.
            let _ended = axum::serve(listener, routes).await;
        });
        Ok(Self { provider, server })
    }

    /// Its issuer URL: `http://127.0.0.1:` and the port.
    pub fn url(&self) -> String {
        self.provider.url()
    }

    /// Where tokens for `email` can be had.
    pub fn token_url(&self, email: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("email", email)
            .finish();
        // A mail address is easier to read, and as valid in a query, with its own `@`.
        format!("{}/token?{}", self.url(), query.replace("%40", "@"))
    }

    /// A token for `email`, as `/token` gives it, without the way over HTTP.
    ///
    /// # Errors
    /// The key did not sign.
    pub fn mint(&self, email: &str) -> io::Result<Secret> {
        self.provider.mint(email).map(Secret::from)
    }
}

impl Drop for DevIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Provider {
    /// Host and port.
    authority: String,
    key: EcdsaKeyPair,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Provider {
    fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    fn mint(&self, email: &str) -> io::Result<String> {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": KEY_ID });
        let claims = self.claims(email, self.clock.now());
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| io::Error::other("the key did not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn claims(&self, email: &str, now: Timestamp) -> Value {
        json!({
            "iss": self.url(),
            "sub": format!("demo|{email}"),
            "aud": "sigstore",
            "iat": now.unix_seconds(),
            "exp": now.unix_seconds() + TOKEN_LIFETIME_SECONDS,
            "email": email,
            "email_verified": true,
        })
    }
}

/// A page of another origin must not get tokens through a name that it points at this port.
async fn only_by_address(
    State(provider): State<Arc<Provider>>,
    request: Request,
    next: Next,
) -> Response {
    let host = |headers: &HeaderMap| Some(headers.get(header::HOST)?.to_str().ok()?.to_owned());
    if host(request.headers()).as_deref() == Some(provider.authority.as_str()) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "ask by address\n").into_response()
    }
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let url = provider.url();
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/not-offered"),
        "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Response {
    // RFC 5480, 2.2: an uncompressed point is 0x04, x, y.
    let Some((&[4], point)) = provider.key.public_key().as_ref().split_first_chunk() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (x, y) = point.split_at(point.len() / 2);
    let key = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    Json(json!({ "keys": [key] })).into_response()
}

async fn token(State(provider): State<Arc<Provider>>, uri: Uri) -> Response {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let emails: Vec<_> = query.filter(|(name, _)| name == "email").collect();
    let [(_, email)] = emails.as_slice() else {
        return (StatusCode::BAD_REQUEST, "say who you are: /token?email=you@example.com\n")
            .into_response();
    };
    match provider.mint(email) {
        Ok(token) => token.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

const KEY_ID: &str = "demo";
const TOKEN_LIFETIME_SECONDS: u64 = 600;
