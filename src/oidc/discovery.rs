//! OpenID Connect Discovery 1.0 as a source of keys.
//!
//! In: an issuer and where its documents may come from. Out: its keys and algorithms. Knows nothing
//! of tokens, pacing and caching.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::algorithm::AlgorithmSet;
use super::fetch::Fetcher;
use super::json;
use super::keys::KeySet;
use super::origin::KeyOrigins;
use super::source::{FetchError, FetchedKeys, KeySource, Lifetime};

/// Asks an issuer over HTTP: its discovery document, then the key set that it names.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) issuer: Arc<str>,
    pub(super) origins: KeyOrigins,
    pub(super) fetcher: Arc<Fetcher>,
}

impl KeySource for Discovery {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedKeys, FetchError>> {
        self.ask().boxed()
    }
}

impl Discovery {
    async fn ask(&self) -> Result<FetchedKeys, FetchError> {
        let refused = |uri: &str, reason| FetchError::KeysElsewhere { uri: uri.to_owned(), reason };
        let (url, chosen_by) =
            self.origins.discovery_url().map_err(|reason| refused(&self.issuer, reason))?;
        let document = self.fetcher.get(&url, chosen_by).await?;
        let provider = Provider::parse(url.as_str(), &document.bytes, &self.issuer)?;

        let (url, chosen_by) = self
            .origins
            .admit(&provider.jwks_uri)
            .map_err(|reason| refused(&provider.jwks_uri, reason))?;
        let document = self.fetcher.get(&url, chosen_by).await?;
        let keys =
            KeySet::parse(&document.bytes).map_err(|source| FetchError::KeySet { source })?;
        Ok(FetchedKeys {
            keys,
            algorithms: provider.algorithms,
            lifetime: Lifetime::FreshFor { ms: document.fresh_ms },
        })
    }
}

/// What we read of a discovery document (section 3).
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// Where it says that its keys are: any text, which nobody has admitted yet.
    pub jwks_uri: String,
    /// What it signs with.
    pub algorithms: AlgorithmSet,
}

impl Provider {
    /// Reads the document of `issuer`, which came from `url`.
    ///
    /// # Errors
    /// It is no discovery document, or that of another issuer.
    pub fn parse(url: &str, bytes: &[u8], issuer: &str) -> Result<Self, FetchError> {
        let not = |reason| FetchError::NotDiscovery { url: url.to_owned(), reason };
        let document = json::parse_object(bytes, MAX_VALUES)
            .map_err(|_| not("it is not a JSON object without duplicate names"))?;
        let text = |member: &str| document.get(member).and_then(Value::as_str);

        let says = text("issuer").ok_or_else(|| not("it has no 'issuer'"))?;
        // Section 4.3: "MUST exactly match".
        if says != issuer {
            let says = says.chars().take(200).flat_map(char::escape_default).collect();
            return Err(FetchError::WrongIssuer { url: url.to_owned(), says });
        }
        let jwks_uri = text("jwks_uri").ok_or_else(|| not("it has no 'jwks_uri'"))?.to_owned();
        let algorithms = match document.get("id_token_signing_alg_values_supported") {
            None => AlgorithmSet::DEFAULT,
            Some(Value::Array(names)) => {
                AlgorithmSet::from_names(names.iter().filter_map(Value::as_str))
            }
            Some(_) => {
                return Err(not("'id_token_signing_alg_values_supported' is not an array"));
            }
        };
        Ok(Self { jwks_uri, algorithms })
    }
}

/// Real documents have about a hundred.
const MAX_VALUES: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::algorithm::TokenAlgorithm;
    use super::*;

    const ISSUER: &str = "https://a.example";

    fn parse(document: &Value) -> Result<Provider, FetchError> {
        Provider::parse("url", document.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn nt_13_a_document_of_another_issuer_is_refused() {
        for says in ["https://b.example", "https://a.example/", "https://A.example", ""] {
            let error = parse(&json!({"issuer": says, "jwks_uri": "x"})).unwrap_err();
            assert!(matches!(error, FetchError::WrongIssuer { .. }), "{says}");
        }
        for document in [json!({"jwks_uri": "x"}), json!({"issuer": [ISSUER], "jwks_uri": "x"})] {
            let error = parse(&document).unwrap_err();
            assert!(matches!(error, FetchError::NotDiscovery { .. }), "{document}");
        }
    }

    #[test]
    fn nt_20_algorithms_are_what_the_issuer_says_and_rs256_if_it_is_silent() {
        let algorithms = |value: Value| {
            let member = "id_token_signing_alg_values_supported";
            parse(&json!({"issuer": ISSUER, "jwks_uri": "x", member: value})).map(|p| p.algorithms)
        };
        let silent = parse(&json!({"issuer": ISSUER, "jwks_uri": "x"})).unwrap().algorithms;
        assert!(silent.contains(TokenAlgorithm::Rs256));
        assert!(!silent.contains(TokenAlgorithm::Es256));
        let said = algorithms(json!(["ES256", "HS256", "none"])).unwrap();
        assert_eq!(said, AlgorithmSet::from_names(["ES256"]));
        assert!(algorithms(json!("RS256")).is_err());
        assert_eq!(algorithms(json!([])).unwrap(), AlgorithmSet::from_names([]));
    }

    proptest! {
        #[test]
        fn nt_02_no_document_makes_it_panic(bytes: Vec<u8>) {
            let _ = Provider::parse("url", &bytes, ISSUER);
        }
    }
}
