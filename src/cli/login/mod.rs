//! Signs a person in at an OpenID provider and brings back the ID token.
//!
//! In: an issuer, how to reach the person. Out: the ID token, checked as OpenID Connect Core 1.0,
//! section 3.1.3.7, says: by its signature, issuer, audience, time, nonce and `at_hash`. Knows
//! nothing of certificates. What a person must read goes to the writer that the caller gives, and
//! no token or secret is ever written there.
//!
//! `openidconnect` does the protocol; ours are the HTTP under it ([`http`]), the answer of the
//! browser ([`callback`], [`listener`]) and the choice between the two flows.

mod browser;
mod callback;
mod device;
mod error;
mod http;
mod listener;
mod provider;

use std::{borrow::Cow, io::Write, time::Duration};

use openidconnect::{
    CsrfToken, Nonce, PkceCodeChallenge, Scope, core::CoreAuthenticationFlow, url::Url,
};

pub use self::{callback::CallbackError, error::LoginError};
use self::{
    callback::Expected,
    listener::Listener,
    provider::{NonceRule, Provider},
};
use crate::secret::Secret;

/// What to sign in to, and as which client.
#[derive(Debug)]
pub struct Login {
    /// The issuer, exactly as the provider writes it.
    pub issuer: String,
    /// The client that the provider knows; the CA expects it in `aud`.
    pub client_id: String,
    /// Only for a provider that takes no public clients.
    pub client_secret: Option<Secret>,
    /// What to ask for, besides `openid`.
    pub scopes: Vec<String>,
    /// Whether the person signs in on another device, whatever this one has.
    pub device: bool,
    /// The port of 127.0.0.1 that the browser comes back to; 0 takes a free one.
    pub port: u16,
    /// How long the person may take.
    pub patience: Duration,
    /// Whether plain http to other machines is taken.
    pub allow_http: bool,
}

/// Signs in. `variable` looks up the environment, `told` is where a person reads what to do.
///
/// # Errors
/// The provider cannot be reached or used, says no, or answers with what cannot be trusted; or the
/// person took too long.
pub async fn sign_in(
    login: &Login,
    variable: &dyn Fn(&str) -> Option<String>,
    told: &mut dyn Write,
) -> Result<Secret, LoginError> {
    let whole = async {
        let provider = Provider::discover(login).await?;
        if login.device {
            return device::sign_in(&provider, login, told).await;
        }
        let reachable = browser::is_likely(variable);
        if !reachable && provider.device_endpoint().is_some() {
            return device::sign_in(&provider, login, told).await;
        }
        in_browser(&provider, login, reachable, told).await
    };
    let seconds = login.patience.as_secs();
    tokio::time::timeout(login.patience, whole)
        .await
        .map_err(|_| LoginError::TooLate { seconds })?
}

/// Authorization code with PKCE (RFC 7636) and a loopback redirect (RFC 8252, section 7.3).
async fn in_browser(
    provider: &Provider,
    login: &Login,
    reachable: bool,
    told: &mut dyn Write,
) -> Result<Secret, LoginError> {
    let listener = Listener::bind(login.port).await?;
    let redirect = listener.redirect_url();
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = provider
        .client()
        .authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        )
        .add_scopes(login.scopes.iter().cloned().map(Scope::new))
        .set_pkce_challenge(challenge)
        .set_redirect_uri(Cow::Borrowed(redirect))
        .url();
    provider.check_address("authorization endpoint", &url)?;
    say(told, &format!("Sign in with your browser:\n\n  {url}\n\n"))?;
    if reachable && !browser::open(&url).await {
        if provider.device_endpoint().is_some() {
            return device::sign_in(provider, login, told).await;
        }
        say(told, "No browser could be opened; open the address above on this machine.\n")?;
    }
    let expected = Expected {
        state,
        issuer: login.issuer.clone(),
        names_itself: provider.names_itself_in_answers(),
    };
    let code = listener.code(expected).await?;
    provider.exchange(code, redirect, verifier, &NonceRule::Must(nonce)).await
}

/// Tells the person, at once.
fn say(told: &mut dyn Write, text: &str) -> Result<(), LoginError> {
    let written = told.write_all(text.as_bytes()).and_then(|()| told.flush());
    written.map_err(|source| LoginError::Told { source })
}

/// What may be told of an address: a path or a query could hold a code.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
