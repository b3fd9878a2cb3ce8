//! Signing in on another device (RFC 8628): a code to type there, and asking until it is done.
//!
//! In: a provider with a device endpoint. Out: the ID token. The library keeps the interval, takes
//! `slow_down` and ends at `expired_token` and `access_denied`.

use std::{future::Future, io::Write};

use openidconnect::{
    DeviceCodeErrorResponse, DeviceCodeErrorResponseType, HttpRequest, PkceCodeChallenge,
    RequestTokenError, Scope, core::CoreDeviceAuthorizationResponse,
};

use super::{
    Login,
    error::LoginError,
    http::HttpError,
    provider::{NonceRule, Provider, refusal},
    say,
};
use crate::{cli::client::printable, secret::Secret};

/// Signs in, and waits until the person has done so.
pub(super) async fn sign_in(
    provider: &Provider,
    login: &Login,
    told: &mut dyn Write,
) -> Result<Secret, LoginError> {
    let endpoint = provider
        .device_endpoint()
        .ok_or_else(|| LoginError::NoDeviceFlow { issuer: login.issuer.clone() })?;
    let client = provider.client().clone().set_device_authorization_url(endpoint.clone());
    let send = |request: HttpRequest| provider.http().send(request);
    // RFC 8628 has no PKCE; Dex, Sigstore's own provider, takes it here too, and who does not know
    // a parameter ignores it (RFC 6749, section 3.1).
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let details: CoreDeviceAuthorizationResponse = client
        .exchange_device_code()
        .add_scopes(login.scopes.iter().cloned().map(Scope::new))
        .add_extra_param("code_challenge", challenge.as_str().to_owned())
        .add_extra_param("code_challenge_method", "S256")
        .request_async(&send)
        .await
        .map_err(refusal)?;
    show(provider, &details, told)?;
    let answer = client
        .exchange_device_access_token(&details)
        .map_err(|error| LoginError::Answer { said: super::error::said(&error) })?
        .add_extra_param("code_verifier", verifier.into_secret())
        .request_async(&send, sleep, Some(details.expires_in().min(login.patience)))
        .await
        .map_err(device_refusal)?;
    provider.id_token(&answer, &NonceRule::None)
}

fn show(
    provider: &Provider,
    details: &CoreDeviceAuthorizationResponse,
    told: &mut dyn Write,
) -> Result<(), LoginError> {
    // A person will open it: it must be an address of the web.
    let url = details.verification_uri().url();
    provider.check_address("verification page", url)?;
    let code = printable(details.user_code().secret());
    say(told, &format!("Sign in on any device:\n\n  {url}\n\nwith the code {code}\n\n"))
}

fn sleep(interval: std::time::Duration) -> impl Future<Output = ()> {
    tokio::time::sleep(interval)
}

fn device_refusal(error: RequestTokenError<HttpError, DeviceCodeErrorResponse>) -> LoginError {
    if let RequestTokenError::ServerResponse(response) = &error {
        let said = match response.error() {
            DeviceCodeErrorResponseType::AccessDenied => "the person declined (access_denied)",
            DeviceCodeErrorResponseType::ExpiredToken => "the code has expired (expired_token)",
            _ => return refusal(error),
        };
        return LoginError::Refused { said: said.to_owned() };
    }
    refusal(error)
}
