//! One provider: its documents, and the ID tokens it gives out.
//!
//! In: an issuer. Out: a client for it, and ID tokens that passed every check. The clock is the
//! machine's own, read by the library: this is a client at a desk, not the server.

use std::borrow::Cow;

use openidconnect::{
    AccessTokenHash, AdditionalProviderMetadata, AuthType, AuthorizationCode, ClientId,
    ClientSecret, DeviceAuthorizationUrl, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    HttpRequest, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeVerifier, ProviderMetadata,
    RedirectUrl, RequestTokenError, TokenResponse,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
        CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType, CoreTokenResponse,
    },
    url::Url,
};
use serde::{Deserialize, Serialize};

use super::{
    Login,
    error::{LoginError, said},
    http::{HttpError, ProviderHttp},
};
use crate::secret::Secret;

/// A provider whose documents were read.
#[derive(Debug)]
pub(super) struct Provider {
    http: ProviderHttp,
    client: ProviderClient,
    extra: Extra,
}

/// What the library's client knows of the provider.
pub(super) type ProviderClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What the ID token's `nonce` has to be.
#[derive(Debug)]
pub(super) enum NonceRule {
    /// What the request said: the token is the answer to this request and to no other.
    Must(Nonce),
    /// The device flow (RFC 8628) has no request through a browser that a nonce could be sent in,
    /// and needs none: the token comes straight from the token endpoint in exchange for a device
    /// code that only this process has, so there is no place to put another sign-in's token in.
    None,
}

impl Provider {
    /// Reads the discovery document and the key set.
    pub(super) async fn discover(login: &Login) -> Result<Self, LoginError> {
        let issuer = IssuerUrl::new(login.issuer.clone())
            .map_err(|_| LoginError::Issuer { issuer: login.issuer.clone() })?;
        let http = ProviderHttp::to(issuer.url(), login.allow_http)?;
        http.check("issuer", issuer.url())?;
        let send = |request: HttpRequest| http.send(request);
        // Compares the document's `issuer` with ours, byte for byte (Discovery 1.0, section 4.3).
        let metadata = Metadata::discover_async(issuer, &send).await.map_err(|error| {
            LoginError::Discovery { issuer: login.issuer.clone(), said: said(&error) }
        })?;
        let extra = metadata.additional_metadata().clone();
        let auth_type = auth_type(metadata.token_endpoint_auth_methods_supported());
        let secret = login.client_secret.as_ref().and_then(Secret::expose_text);
        let client = CoreClient::from_provider_metadata(
            metadata,
            ClientId::new(login.client_id.clone()),
            secret.map(|secret| ClientSecret::new(secret.trim().to_owned())),
        )
        .set_auth_type(auth_type);
        Ok(Self { http, client, extra })
    }

    pub(super) fn client(&self) -> &ProviderClient {
        &self.client
    }

    pub(super) fn http(&self) -> &ProviderHttp {
        &self.http
    }

    pub(super) fn device_endpoint(&self) -> Option<&DeviceAuthorizationUrl> {
        self.extra.device_authorization_endpoint.as_ref()
    }

    /// Whether it promises `iss` in what the browser brings back (RFC 9207, section 3).
    pub(super) fn names_itself_in_answers(&self) -> bool {
        self.extra.authorization_response_iss_parameter_supported
    }

    pub(super) fn check_address(&self, what: &'static str, url: &Url) -> Result<(), LoginError> {
        self.http.check(what, url)
    }

    /// The ID token for a code.
    pub(super) async fn exchange(
        &self,
        code: AuthorizationCode,
        redirect: &RedirectUrl,
        verifier: PkceCodeVerifier,
        nonce: &NonceRule,
    ) -> Result<Secret, LoginError> {
        let request = self
            .client
            .exchange_code(code)
            .map_err(|error| LoginError::Answer { said: said(&error) })?;
        let send = |request: HttpRequest| self.http.send(request);
        let response = request
            .set_pkce_verifier(verifier)
            .set_redirect_uri(Cow::Borrowed(redirect))
            .request_async(&send)
            .await
            .map_err(refusal)?;
        self.id_token(&response, nonce)
    }

    /// The ID token of an answer of the token endpoint, checked (Core 1.0, sections 3.1.3.7 and
    /// 3.1.3.8).
    pub(super) fn id_token(
        &self,
        response: &CoreTokenResponse,
        nonce: &NonceRule,
    ) -> Result<Secret, LoginError> {
        let untrusted = |error: &dyn std::error::Error| LoginError::Untrusted { said: said(error) };
        let token = response.id_token().ok_or(LoginError::NoIdToken)?;
        // Never `none`, and never a MAC: the CA could not check it either.
        let verifier = self.client.id_token_verifier().set_allowed_algs(SIGNATURES);
        let claims = match nonce {
            NonceRule::Must(nonce) => token.claims(&verifier, nonce),
            NonceRule::None => token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
        }
        .map_err(|error| untrusted(&error))?;
        if let Some(stated) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|error| untrusted(&error))?;
            let key = token.signing_key(&verifier).map_err(|error| untrusted(&error))?;
            let actual = AccessTokenHash::from_token(response.access_token(), algorithm, key)
                .map_err(|error| untrusted(&error))?;
            if actual != *stated {
                let said = "it was given out with another access token (`at_hash`)".to_owned();
                return Err(LoginError::Untrusted { said });
            }
        }
        Ok(Secret::from(token.to_string()))
    }
}

/// What the token endpoint did not give.
pub(super) fn refusal<E>(error: RequestTokenError<HttpError, E>) -> LoginError
where
    E: openidconnect::ErrorResponse + 'static,
{
    match error {
        RequestTokenError::ServerResponse(response) => {
            LoginError::Refused { said: crate::cli::client::printable(&response.to_string()) }
        }
        RequestTokenError::Request(error) => LoginError::Answer { said: said(&error) },
        // Without its body, which may hold tokens.
        RequestTokenError::Parse(error, _) => LoginError::Answer { said: said(&error) },
        RequestTokenError::Other(text) => {
            LoginError::Answer { said: crate::cli::client::printable(&text) }
        }
    }
}

/// How a client with a secret shows it: the method that providers have unless they say otherwise
/// (Discovery 1.0, section 3), or the other one where only that is offered.
fn auth_type(offered: Option<&Vec<CoreClientAuthMethod>>) -> AuthType {
    let offers = |method| offered.is_some_and(|methods| methods.contains(&method));
    let post_only = offers(CoreClientAuthMethod::ClientSecretPost)
        && !offers(CoreClientAuthMethod::ClientSecretBasic);
    if post_only { AuthType::RequestBody } else { AuthType::BasicAuth }
}

/// Members of the discovery document that the library does not know.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Extra {
    /// RFC 8628, section 4.
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
    /// RFC 9207, section 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Extra {}

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
];
