//! HTTP to the identity provider, as `openidconnect` asks for it.
//!
//! In: its requests. Out: whole answers. Only https or loopback; no redirects, so that a code, a
//! secret or a token goes nowhere else than where it was sent; no proxies; bounded in time and
//! size.

use std::time::Duration;

use openidconnect::{HttpRequest, HttpResponse, url::Url};
use reqwest::redirect::Policy;

use super::{error::LoginError, origin};
use crate::cli::client::{is_loopback, unsafe_reason};

/// A client for one provider.
#[derive(Clone, Debug)]
pub(super) struct ProviderHttp {
    client: reqwest::Client,
    allow_http: bool,
}

impl ProviderHttp {
    pub(super) fn to(issuer: &Url, allow_http: bool) -> Result<Self, LoginError> {
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("mayfly/", env!("CARGO_PKG_VERSION")));
        if issuer.scheme() == "http" && is_loopback(issuer) {
            // Needs no certificates, so it must not fail where a machine has none.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|source| LoginError::SetUp { source })?;
        Ok(Self { client, allow_http })
    }

    /// Says why `url`, which the provider calls its `what`, may not be used.
    pub(super) fn check(&self, what: &'static str, url: &Url) -> Result<(), LoginError> {
        match unsafe_reason(url, self.allow_http) {
            None => Ok(()),
            Some(reason) => Err(LoginError::UnsafeAddress { what, origin: origin(url), reason }),
        }
    }

    /// One request and its answer, whatever its status.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request)
            .map_err(|source| HttpError::Request { source: source.without_url() })?;
        let at = origin(request.url());
        if let Some(reason) = unsafe_reason(request.url(), self.allow_http) {
            return Err(HttpError::Unsafe { origin: at, reason });
        }
        let failed = |source: reqwest::Error| HttpError::Unreachable {
            origin: at.clone(),
            source: source.without_url(),
        };
        let mut response = self.client.execute(request).await.map_err(failed)?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(HttpError::TooLarge { origin: at });
            }
            body.extend_from_slice(&chunk);
        }
        answer.body(body).map_err(|source| HttpError::Answer { source })
    }
}

/// Why there is no answer. Addresses are cut to their origin: a query may hold a code.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("the request is none")]
    Request {
        #[source]
        source: reqwest::Error,
    },
    #[error("'{origin}' is not safe to ask: {reason}")]
    Unsafe { origin: String, reason: &'static str },
    #[error("{origin} could not be reached")]
    Unreachable {
        origin: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{origin} answered more than {MAX_BODY_BYTES} bytes")]
    TooLarge { origin: String },
    #[error("the answer is none")]
    Answer {
        #[source]
        source: http::Error,
    },
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(20);
/// Discovery documents and key sets have some kilobytes.
const MAX_BODY_BYTES: usize = 1 << 20;
