//! HTTP to a key service.
//!
//! In: a request. Out: the answer, whole and bounded, or a [`Fault`]. Knows nothing of services.
//!
//! TLS, or plain HTTP to this machine only; no redirects (they would take the token to another
//! host), no cookies. TLS goes through the proxy that the environment names, as the services' own
//! tools do; plain HTTP never does.

use std::{error::Error as _, time::Duration};

use http::{
    HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use reqwest::{Certificate, NoProxy, Proxy, RequestBuilder, redirect};
use serde::{Serialize, de::DeserializeOwned};
use url::{Host, Url, form_urlencoded};
use zeroize::Zeroizing;

use super::{Environment, ServiceFault};
use crate::{
    keys::remote::{Fault, FaultKind},
    secret::Secret,
};

/// Where a service is: `https:`, or `http:` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::keys) struct Endpoint(Url);

impl Endpoint {
    /// What [`Self::parse`] takes, for messages.
    pub(in crate::keys) const EXPECTED: &str =
        "https://HOST, or http://HOST if HOST is this machine's loopback address";

    /// `None` where the text is not [`Self::EXPECTED`].
    pub(in crate::keys) fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let loopback = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let secure = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        (bare && secure).then_some(Self(url))
    }

    /// The metadata service of the virtual machine that this runs on. Its address is link-local,
    /// so plain HTTP does not leave the host.
    pub(in crate::keys) fn of_machine_metadata() -> Self {
        #[expect(clippy::expect_used, reason = "the text is a URL")]
        Self(Url::parse("http://169.254.169.254").expect("a URL"))
    }

    /// The URL of a path below; what is no character of a path is encoded.
    pub(in crate::keys) fn at<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        // A URL with a host has a path, so there is always one to add to.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    pub(in crate::keys) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

/// An HTTP client for one service.
#[derive(Clone, Debug)]
pub(in crate::keys) struct Client(reqwest::Client);

/// An answer, read to its end. Its body may hold a token, so it is wiped.
pub(in crate::keys) struct Answer {
    pub(in crate::keys) status: u16,
    body: Zeroizing<Vec<u8>>,
}

impl Client {
    /// One that trusts the machine's CA certificates, or only those that are given.
    pub(in crate::keys) fn new(
        ca_pem: Option<&[u8]>,
        environment: &Environment,
    ) -> Result<Self, ServiceFault> {
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("mayfly/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .timeout(Duration::from_secs(REQUEST_SECONDS));
        if let Some(pem) = ca_pem {
            let certificates = Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or(ServiceFault::CaCertificate)?;
            builder = builder.tls_certs_only(certificates);
        }
        let proxy =
            PROXY_VARIABLES.into_iter().find_map(|name| Some((name, environment.var(name)?)));
        if let Some((name, url)) = proxy {
            let (name, expected) = (name.to_owned(), "the URL of a proxy");
            let proxy = Proxy::https(url).map_err(|_| ServiceFault::Setting { name, expected })?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_env()));
        }
        builder.build().map(Self).map_err(|_| ServiceFault::NoTls)
    }

    pub(in crate::keys) fn get(&self, url: Url) -> RequestBuilder {
        self.0.get(url)
    }

    /// A POST of a form.
    pub(in crate::keys) fn post_form(&self, url: Url, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.0.post(url).header(CONTENT_TYPE, form).body(body)
    }

    /// A POST of JSON.
    pub(in crate::keys) fn post_json(&self, url: Url, body: &impl Serialize) -> RequestBuilder {
        // Only maps with keys that are no text, and types of ours that fail, do not serialise.
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.0
            .post(url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body)
    }

    /// Sends a request and reads the answer, whatever its status.
    pub(in crate::keys) async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Answer, Fault> {
        let failed = |error: reqwest::Error| fault(FaultKind::Transient, operation, cause(error));
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_BODY_BYTES));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                let code = format!("HTTP {status} with more than {MAX_BODY_BYTES} bytes");
                return Err(fault(FaultKind::Permanent, operation, code));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}

impl Answer {
    /// The body as `T`, where it is one.
    pub(in crate::keys) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// As [`Self::json`], of an answer that should be one.
    pub(in crate::keys) fn expected<T: DeserializeOwned>(
        &self,
        operation: &'static str,
    ) -> Result<T, Fault> {
        let code = || "the answer is not what this service answers".to_owned();
        self.json().ok_or_else(|| fault(FaultKind::Permanent, operation, code()))
    }
}

/// A request with `Authorization: Bearer`, which no log of headers shows.
pub(in crate::keys) fn with_bearer(request: RequestBuilder, token: &Secret) -> RequestBuilder {
    let value = [b"Bearer ", token.expose()].concat();
    let Ok(mut value) = HeaderValue::from_bytes(&value) else { return request };
    value.set_sensitive(true);
    request.header(AUTHORIZATION, value)
}

/// A [`Fault`] in one line.
pub(in crate::keys) fn fault(kind: FaultKind, operation: &'static str, code: String) -> Fault {
    Fault { kind, operation, code }
}

/// What a service said about a failure, fit for a log: one line, not too long, and without the
/// credentials that it was sent.
pub(in crate::keys) fn told(text: &str, sent: &[&Secret]) -> String {
    let repeats = |secret: &&Secret| {
        secret.expose_text().is_some_and(|secret| !secret.is_empty() && text.contains(secret))
    };
    if sent.iter().any(repeats) {
        return "(its words are withheld, because they repeat a credential)".to_owned();
    }
    let clean = text.replace(|character: char| character.is_control(), " ");
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(MAX_TOLD_CHARACTERS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// The cause at the bottom says it best: "Connection refused", "invalid peer certificate".
fn cause(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        reason = inner.to_string();
        cause = inner.source();
    }
    reason
}

const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const CONNECT_SECONDS: u64 = 2;
/// Attempts to sign are given up sooner by whoever waits for them; logins may take longer.
const REQUEST_SECONDS: u64 = 10;
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_TOLD_CHARACTERS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_only() {
        for good in [
            "https://vault.example.com:8200",
            "https://10.0.0.1/below/",
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost",
        ] {
            assert!(Endpoint::parse(good).is_some(), "{good}");
        }
        for bad in [
            "http://vault.example.com",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "https://user@vault.example.com",
            "https://:password@vault.example.com",
            "https://vault.example.com?x=1",
            "https://vault.example.com#x",
            "unix:///run/vault.sock",
            "vault.example.com",
            "",
        ] {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_path_below_an_endpoint_cannot_leave_it() {
        let endpoint = Endpoint::parse("https://host/base/").unwrap();
        let url = endpoint.at(["v1", "a/../b", "c?d#e"]);
        assert_eq!(url.as_str(), "https://host/base/v1/a%2F..%2Fb/c%3Fd%23e");
    }

    #[test]
    fn nt_60_what_a_service_says_is_one_short_line_that_repeats_no_credential() {
        let token = Secret::from("hvs.secret-token".to_owned());
        assert_eq!(
            told("1 error occurred:\n\t* permission\u{7} denied\n", &[&token]),
            "1 error occurred: * permission denied"
        );
        let repeated = told("bad token hvs.secret-token", &[&token]);
        assert!(!repeated.contains("hvs."), "{repeated}");
        assert_eq!(told(&"é".repeat(1000), &[&token]).chars().count(), MAX_TOLD_CHARACTERS + 1);
    }
}
