//! URL -> bounded bytes.
//!
//! In: a URL that `origin` admitted. Out: a body and how long it is fresh. Knows nothing of what
//! the body says.
//!
//! No redirects (they would choose a host behind the back of `origin`), no proxy from the
//! environment, no decompression, no cookies, no credentials.

use std::error::Error as _;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{Certificate, Client, ClientBuilder, redirect};
use url::Url;

use super::address::PublicOnly;
use super::origin::ChosenBy;
use super::source::FetchError;

/// A body that was read to its end.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) bytes: Vec<u8>,
    /// `Cache-Control`, if it says anything about age.
    pub(super) fresh_ms: Option<u64>,
}

/// Two HTTP clients, made when first needed: a machine without CA certificates can still serve
/// issuers that need none.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    ca_cert_pem: Option<Vec<u8>>,
    operators: OnceLock<Option<Client>>,
    strangers: OnceLock<Option<Client>>,
}

impl Fetcher {
    /// One that trusts these certificates and no others.
    ///
    /// # Errors
    /// The PEM text holds no certificate.
    pub(super) fn trusting_only(ca_cert_pem: Vec<u8>) -> Result<Self, &'static str> {
        match Certificate::from_pem_bundle(&ca_cert_pem) {
            Ok(certificates) if !certificates.is_empty() => {
                Ok(Self { ca_cert_pem: Some(ca_cert_pem), ..Self::default() })
            }
            _ => Err("ca-cert is not a PEM certificate"),
        }
    }

    /// Gets one document.
    pub(super) async fn get(&self, url: &Url, chosen_by: ChosenBy) -> Result<Document, FetchError> {
        let client = match chosen_by {
            ChosenBy::Operator => self.operators.get_or_init(|| self.client(false)),
            ChosenBy::Stranger => self.strangers.get_or_init(|| self.client(true)),
        };
        let client = client.as_ref().ok_or(FetchError::Client)?;
        let request = client.get(url.clone()).header(ACCEPT, "application/json");
        let response = request.send().await.map_err(|error| failure(url, &error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(FetchError::Redirect { url: url.to_string(), status: status.as_u16() });
        }
        if status != reqwest::StatusCode::OK {
            return Err(FetchError::Status { url: url.to_string(), status: status.as_u16() });
        }
        let fresh_ms = fresh_ms(response.headers());
        let bytes = bounded_body(url, response).await?;
        Ok(Document { bytes, fresh_ms })
    }

    fn client(&self, public_only: bool) -> Option<Client> {
        let mut builder: ClientBuilder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("mayfly/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
            .timeout(Duration::from_millis(REQUEST_TIMEOUT_MS))
            .pool_max_idle_per_host(1);
        if let Some(pem) = &self.ca_cert_pem {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).ok()?);
        }
        if public_only {
            builder = builder.dns_resolver(PublicOnly).https_only(true);
        }
        builder.build().ok()
    }
}

async fn bounded_body(url: &Url, mut response: reqwest::Response) -> Result<Vec<u8>, FetchError> {
    let too_large = || FetchError::TooLarge { url: url.to_string(), max_bytes: MAX_BODY_BYTES };
    if response.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(url, &error))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failure(url: &Url, error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        return FetchError::TimedOut { after_ms: REQUEST_TIMEOUT_MS };
    }
    // The cause at the bottom says it best: "Connection refused", "invalid peer certificate".
    let mut reason = "the request failed".to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        reason = inner.to_string();
        cause = inner.source();
    }
    FetchError::Unreachable { url: url.to_string(), reason }
}

/// RFC 9111, section 5.2.2. What must not be reused is as good as stale at once; the cache has a
/// lower bound of its own.
fn fresh_ms(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut fresh_ms = None;
    for directive in values.flat_map(|value| value.split(',')).map(str::trim) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(0);
        }
        if name.eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = argument.trim_matches('"').parse::<u64>()
        {
            fresh_ms = Some(seconds.saturating_mul(1000));
        }
    }
    fresh_ms
}

/// Real documents have some kilobytes.
const MAX_BODY_BYTES: usize = 256 * 1024;
const CONNECT_TIMEOUT_MS: u64 = 3_000;
/// From the first byte out to the last byte in, so that a slow drip ends too.
const REQUEST_TIMEOUT_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_is_read_leniently_and_forbiddance_wins() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            fresh_ms(&headers)
        };
        assert_eq!(read("public, max-age=300"), Some(300_000));
        assert_eq!(read("Max-Age=\"60\""), Some(60_000));
        assert_eq!(read("max-age=300, no-store"), Some(0));
        assert_eq!(read("no-cache"), Some(0));
        assert_eq!(read("public"), None);
        assert_eq!(read("max-age=-5"), None);
        assert_eq!(read("max-age=18446744073709551615"), Some(u64::MAX));
        assert_eq!(fresh_ms(&HeaderMap::new()), None);
    }

    /// The resolver is the client's own, so that the address checked is the address used.
    #[tokio::test]
    async fn nt_13_a_stranger_cannot_send_us_to_a_name_for_loopback() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url::parse(&format!("https://localhost:{port}/keys")).unwrap();
        let refused = Fetcher::default().get(&url, ChosenBy::Stranger).await.unwrap_err();
        let FetchError::Unreachable { reason, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(reason, "the host resolves to an address that is not public");
        let plain = Url::parse(&format!("http://localhost:{port}/keys")).unwrap();
        assert!(Fetcher::default().get(&plain, ChosenBy::Stranger).await.is_err());
        let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nobody.is_err(), "a connection was opened");
    }

    #[test]
    fn text_without_a_certificate_is_no_ca() {
        assert!(Fetcher::trusting_only(b"hello".to_vec()).is_err());
        assert!(Fetcher::trusting_only(Vec::new()).is_err());
    }
}
