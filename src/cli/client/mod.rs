//! Mayfly's own client: asks a CA for a certificate as any Sigstore client would.
//!
//! In: the CA's URL, a token, a key. Out: an [`Answer`] whose first certificate is for that key.
//! Knows nothing of the server's code: what it relies on is the wire (docs/api.md).

pub mod key;
pub mod token;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;

pub use self::{
    key::{ClientKey, ClientKeyError, KeyAlgorithm},
    token::TokenShapeError,
};
use crate::{
    cli::verify::presented::{Presented, PresentedError},
    secret::Secret,
};

/// How a client shows that it holds its private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofStyle {
    /// Public key and a signature over the token's challenge.
    Signature,
    /// A certificate signing request.
    SigningRequest,
}

/// What the CA answered, already checked for shape and key. Whether its signatures hold is told
/// by [`crate::cli::verify`].
#[derive(Debug)]
pub struct Answer {
    /// The certificate for our key.
    pub leaf: Presented,
    /// PEM texts, leaf first, root last, each with one trailing newline.
    pub pem_chain: Vec<String>,
    /// DER of the certificates above the leaf, issuing CA first, root last.
    pub ca_chain_der: Vec<Vec<u8>>,
}

/// HTTP to one origin with bounds on time and size, and no redirects: a token must not follow
/// wherever a server points.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// For `url`; a proxy of the environment is used unless `url` is on this machine.
    ///
    /// # Errors
    /// The TLS set-up of this machine could not be read.
    pub fn to(url: &Url) -> Result<Self, ClientError> {
        Self::build(url, is_loopback(url))
    }

    /// For `url`, and through no proxy.
    ///
    /// # Errors
    /// As [`Http::to`].
    pub fn direct(url: &Url) -> Result<Self, ClientError> {
        Self::build(url, true)
    }

    fn build(url: &Url, direct: bool) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .user_agent(concat!("mayfly/", env!("CARGO_PKG_VERSION")));
        if direct {
            builder = builder.no_proxy();
            if url.scheme() == "http" {
                // Needs no certificates, so it must not fail where a machine has none.
                builder = builder.tls_certs_only([]);
            }
        }
        let client = builder.build().map_err(|source| ClientError::SetUp { source })?;
        Ok(Self { client })
    }

    /// The body of a 200 answer.
    ///
    /// # Errors
    /// No answer, another status, or more than [`MAX_BODY_BYTES`].
    pub async fn fetch(&self, url: Url) -> Result<Vec<u8>, ClientError> {
        self.fetched(self.client.get(url.clone()), url).await
    }

    /// As [`Http::fetch`], with one header, which is not written anywhere.
    ///
    /// # Errors
    /// As [`Http::fetch`].
    pub async fn fetch_with(
        &self,
        url: Url,
        header: &'static str,
        value: &str,
    ) -> Result<Vec<u8>, ClientError> {
        self.fetched(self.client.get(url.clone()).header(header, value), url).await
    }

    /// Posts JSON in the name of `bearer`; the body of a 200 answer.
    ///
    /// # Errors
    /// As [`Http::fetch`].
    pub async fn post_as(
        &self,
        url: Url,
        bearer: &str,
        body: &serde_json::Value,
    ) -> Result<Vec<u8>, ClientError> {
        let request = self.client.post(url.clone()).bearer_auth(bearer);
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        self.fetched(request, url).await
    }

    async fn fetched(
        &self,
        request: reqwest::RequestBuilder,
        reached: Url,
    ) -> Result<Vec<u8>, ClientError> {
        let sent = request.send().await;
        let response = sent.map_err(|source| unreachable_at(&reached, source))?;
        let (status, body) = read(response, &reached).await?;
        if status != StatusCode::OK {
            return Err(ClientError::Refused { status, message: error_message(&body) });
        }
        Ok(body)
    }

    /// Asks for a certificate: makes the proof, sends token and key, checks the answer.
    ///
    /// # Errors
    /// The token has no usable claim, the CA cannot be reached or refuses, or it answers with
    /// something else than a certificate for `key` and its chain.
    pub async fn request_certificate(
        &self,
        base: &Url,
        token: &Secret,
        key: &ClientKey,
        style: ProofStyle,
    ) -> Result<Answer, ClientError> {
        let token = token.expose_text().ok_or(ClientError::TokenText)?.trim();
        let body = match style {
            ProofStyle::Signature => signature_body(token, key)?,
            ProofStyle::SigningRequest => {
                json!({ "certificateSigningRequest": STANDARD.encode(key.signing_request()?) })
            }
        };
        let url = endpoint(base, SIGNING_PATH);
        let request = self
            .client
            .post(url.clone())
            .bearer_auth(token)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        let response = request.send().await.map_err(|source| unreachable_at(&url, source))?;
        let (status, body) = read(response, &url).await?;
        if status != StatusCode::OK {
            return Err(ClientError::Refused { status, message: error_message(&body) });
        }
        Answer::parse(&body, key.spki_der())
    }
}

/// `path` under `base`, which may carry a path of its own and a trailing slash or not.
pub fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Whether `url` names this machine: a token sent there crosses no network.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Why nothing secret may be sent to `url`, if so: a token is worth as much as the identity in it,
/// so plain http only where no network is crossed.
pub fn unsafe_reason(url: &Url, allow_http: bool) -> Option<&'static str> {
    match url.scheme() {
        "https" => None,
        "http" if allow_http || is_loopback(url) => None,
        "http" => Some("plain http shows the token to the network (--allow-http if that is meant)"),
        _ => Some("it is neither https nor http"),
    }
}

/// Another's text for a terminal: bounded, and with nothing in it that moves the cursor, colours
/// what follows or turns its direction.
pub fn printable(text: &str) -> String {
    let tame = |c: char| {
        let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { char::REPLACEMENT_CHARACTER } else { c }
    };
    text.chars().map(tame).take(MAX_MESSAGE_CHARS).collect()
}

impl Answer {
    /// Reads the body of a 200 answer and checks that it is what was asked for.
    fn parse(body: &[u8], wanted_spki_der: &[u8]) -> Result<Self, ClientError> {
        let malformed = |what| ClientError::Malformed { what };
        let answer: SigningCertificate = serde_json::from_slice(body)
            .map_err(|_| malformed("it is no JSON with `signedCertificateEmbeddedSct.chain`"))?;
        let texts = answer.signed_certificate_embedded_sct.chain.certificates;
        if texts.len() < 2 {
            return Err(malformed("it has no chain above the certificate"));
        }
        let mut ders = Vec::with_capacity(texts.len());
        for text in &texts {
            ders.push(one_certificate(text).ok_or(malformed("a chain entry is no PEM"))?);
        }
        let leaf =
            Presented::parse(&ders.remove(0)).map_err(|source| ClientError::Leaf { source })?;
        if leaf.spki_der() != wanted_spki_der {
            return Err(ClientError::OtherKey);
        }
        let pem_chain = texts.iter().map(|text| format!("{}\n", text.trim_end())).collect();
        Ok(Self { leaf, pem_chain, ca_chain_der: ders })
    }
}

/// Why no certificate came back.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing was sent: this machine's TLS set-up is unusable.
    #[error("the HTTPS client could not be set up")]
    SetUp {
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing was sent: the token is not text.
    #[error("the token is not text")]
    TokenText,
    /// Nothing was sent: the token is no token.
    #[error(transparent)]
    TokenShape(#[from] TokenShapeError),
    /// Nothing was sent: no key or proof.
    #[error(transparent)]
    Key(#[from] ClientKeyError),
    /// No answer.
    #[error("{origin} could not be reached")]
    Unreachable {
        /// Scheme, host and port, nothing more.
        origin: String,
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
    /// An answer larger than any that is right.
    #[error("the answer is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// The server said no, and why.
    #[error("the server answered {status}: {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// `message` of the error body, or its beginning, without control characters.
        message: String,
    },
    /// A success that is none.
    #[error("the server's answer cannot be used: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The first certificate cannot be read.
    #[error("the certificate in the server's answer cannot be read")]
    Leaf {
        /// Which part.
        #[source]
        source: PresentedError,
    },
    /// Somebody else's certificate.
    #[error("the certificate in the server's answer is for another key than ours")]
    OtherKey,
}

impl ClientError {
    /// Whether the question was answered with no, rather than not answered.
    pub fn is_an_answer(&self) -> bool {
        match self {
            Self::SetUp { .. } | Self::Unreachable { .. } | Self::Key(_) => false,
            // 429 and 5xx say "not now"; a retry may succeed.
            Self::Refused { status, .. } => {
                status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS
            }
            Self::TokenText | Self::TokenShape(_) => true,
            Self::TooLarge | Self::Malformed { .. } | Self::Leaf { .. } | Self::OtherKey => true,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigningCertificate {
    signed_certificate_embedded_sct: EmbeddedSct,
}

#[derive(Deserialize)]
struct EmbeddedSct {
    chain: Chain,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<String>,
}

fn signature_body(token: &str, key: &ClientKey) -> Result<serde_json::Value, ClientError> {
    let proof = key.proof_of_possession(&token::challenge(token)?)?;
    Ok(json!({ "publicKeyRequest": {
        "publicKey": { "content": key.public_pem() },
        "proofOfPossession": STANDARD.encode(proof),
    }}))
}

async fn read(
    mut response: reqwest::Response,
    url: &Url,
) -> Result<(StatusCode, Vec<u8>), ClientError> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|source| unreachable_at(url, source))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(ClientError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

/// The message of `{"code":…,"message":…}`, made safe for a terminal.
fn error_message(body: &[u8]) -> String {
    let told = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = told.as_ref().and_then(|value| value.get("message")?.as_str());
    let text = message.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    printable(&text)
}

fn unreachable_at(url: &Url, source: reqwest::Error) -> ClientError {
    let origin = url.origin().ascii_serialization();
    ClientError::Unreachable { origin, source: source.without_url() }
}

fn one_certificate(pem: &str) -> Option<Vec<u8>> {
    let (label, der) = der::pem::decode_vec(pem.trim().as_bytes()).ok()?;
    (label == "CERTIFICATE").then_some(der)
}

/// More than any chain, tile or checkpoint needs (a full data tile is below it by the log's own
/// bound on entries).
const MAX_BODY_BYTES: usize = 4 << 20;
const MAX_MESSAGE_CHARS: usize = 500;
const SIGNING_PATH: &str = "/api/v2/signingCert";

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn an_endpoint_keeps_the_path_of_its_base() {
        for base in ["https://ca.example.com", "https://ca.example.com/"] {
            let got = endpoint(&url(base), SIGNING_PATH);
            assert_eq!(got.as_str(), "https://ca.example.com/api/v2/signingCert");
        }
        let got = endpoint(&url("https://example.com/ca/?x#y"), SIGNING_PATH);
        assert_eq!(got.as_str(), "https://example.com/ca/api/v2/signingCert");
    }

    #[test]
    fn nt_60_a_token_crosses_no_network_in_the_clear_unless_told_so() {
        let check = |text: &str, allow| unsafe_reason(&url(text), allow).is_none();
        assert!(check("https://ca.example.com", false));
        assert!(check("http://127.0.0.1:5555", false));
        assert!(!check("http://ca.example.com", false));
        assert!(check("http://ca.example.com", true));
        assert!(!check("ftp://ca.example.com", true));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for yes in ["http://127.0.0.1:1", "http://[::1]/", "http://localhost", "http://a.localhost"]
        {
            assert!(is_loopback(&url(yes)), "{yes}");
        }
        for no in ["http://127.0.0.1.example.com", "http://10.0.0.1", "http://notlocalhost"] {
            assert!(!is_loopback(&url(no)), "{no}");
        }
    }

    #[test]
    fn a_server_message_cannot_drive_the_terminal() {
        let body = "{\"code\":3,\"message\":\"bad\\u001b[2Jtoken\\n\"}";
        assert_eq!(error_message(body.as_bytes()), "bad\u{fffd}[2Jtoken\u{fffd}");
        assert_eq!(error_message(b"plain"), "plain");
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        for body in [
            "",
            "{}",
            r#"{"signedCertificateDetachedSct":{"chain":{"certificates":["a","b"]}}}"#,
            r#"{"signedCertificateEmbeddedSct":{"chain":{"certificates":[]}}}"#,
            r#"{"signedCertificateEmbeddedSct":{"chain":{"certificates":["a","b"]}}}"#,
        ] {
            let refused = Answer::parse(body.as_bytes(), b"");
            assert!(matches!(refused, Err(ClientError::Malformed { .. })), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer_and_an_outage_is_none() {
        let refused = |status| ClientError::Refused { status, message: String::new() };
        assert!(refused(StatusCode::BAD_REQUEST).is_an_answer());
        assert!(refused(StatusCode::FORBIDDEN).is_an_answer());
        assert!(!refused(StatusCode::TOO_MANY_REQUESTS).is_an_answer());
        assert!(!refused(StatusCode::SERVICE_UNAVAILABLE).is_an_answer());
        assert!(!refused(StatusCode::MOVED_PERMANENTLY).is_an_answer());
    }
}
