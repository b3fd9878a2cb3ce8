//! How one comes by a token of Vault or OpenBao, and keeps it.
//!
//! In: what the URI and the environment say. Out: a [`Login`]. Knows nothing of keys.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use reqwest::{
    RequestBuilder,
    header::{HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{VaultUri, uri::VaultAuth};
use crate::{
    keys::{
        remote::{Fault, FaultKind},
        service::{
            Answer, Client, Endpoint, Environment, Login, SecretSource, ServiceFault, Token, fault,
            read_file, told,
        },
    },
    secret::Secret,
};

/// Where Vault is, and who we are there.
#[derive(Debug)]
pub(super) struct VaultLogin {
    pub(super) server: Arc<Server>,
    method: Method,
}

/// One Vault, in one namespace.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) client: Client,
    address: Endpoint,
    namespace: Option<HeaderValue>,
}

#[derive(Debug)]
enum Method {
    Token {
        source: TokenSource,
    },
    AppRole {
        mount: String,
        role_id: String,
        secret_id: Option<SecretSource>,
        environment: Environment,
    },
    Kubernetes {
        mount: String,
        role: String,
        jwt: PathBuf,
    },
}

#[derive(Debug)]
struct TokenSource {
    source: SecretSource,
    environment: Environment,
}

impl Server {
    pub(super) fn new(uri: &VaultUri, environment: &Environment) -> Result<Self, ServiceFault> {
        let address = match (&uri.address, either(environment, "ADDR")) {
            (Some(address), _) => address.clone(),
            (None, Some((name, text))) => Endpoint::parse(&text)
                .ok_or(ServiceFault::Setting { name, expected: Endpoint::EXPECTED })?,
            (None, None) => {
                let what = "the address of Vault";
                let remedy = "say '?address=https://…', or set VAULT_ADDR or BAO_ADDR";
                return Err(ServiceFault::Missing { what, remedy });
            }
        };
        let namespace = match (&uri.namespace, either(environment, "NAMESPACE")) {
            (Some(namespace), _) => Some(namespace.clone()),
            (None, Some((name, text))) => {
                let expected = super::uri::MOUNT;
                Some(super::uri::path(&text).ok_or(ServiceFault::Setting { name, expected })?)
            }
            (None, None) => None,
        };
        let ca_cert = uri.ca_cert.clone();
        let ca_cert =
            ca_cert.or_else(|| either(environment, "CACERT").map(|(_, path)| path.into()));
        let ca_pem = ca_cert.map(|path| read_file(&path)).transpose()?;
        let client = Client::new(ca_pem.as_ref().map(Secret::expose), environment)?;
        let namespace = namespace.and_then(|text| HeaderValue::from_str(&text).ok());
        Ok(Self { client, address, namespace })
    }

    /// A request to `/v1/PATH`.
    pub(super) fn request(&self, path: &[&str], body: Option<&Value>) -> RequestBuilder {
        let segments = path.iter().flat_map(|part| part.split('/'));
        let url = self.address.at(std::iter::once("v1").chain(segments));
        let request = match body {
            Some(body) => self.client.post_json(url, body),
            None => self.client.get(url),
        };
        // Vault and OpenBao refuse what a browser was talked into: it cannot set this.
        let request = request.header(HeaderName::from_static("x-vault-request"), "true");
        match &self.namespace {
            Some(namespace) => {
                request.header(HeaderName::from_static("x-vault-namespace"), namespace)
            }
            None => request,
        }
    }
}

impl VaultLogin {
    pub(super) fn new(uri: &VaultUri, environment: &Environment) -> Result<Self, ServiceFault> {
        let server = Arc::new(Server::new(uri, environment)?);
        let method = match uri.auth.clone() {
            VaultAuth::Token { source } => {
                let source = source.or_else(|| token_source(environment));
                let what = "a token";
                let remedy = "say '?token=file:PATH' or another 'auth', set VAULT_TOKEN or \
                              BAO_TOKEN, or log in with 'vault login'";
                let source = source.ok_or(ServiceFault::Missing { what, remedy })?;
                let environment = environment.clone();
                Method::Token { source: TokenSource { source, environment } }
            }
            VaultAuth::AppRole { mount, role_id, secret_id } => {
                let what = "the role id";
                let remedy = "say '&role-id=…', or set VAULT_ROLE_ID";
                let role_id = role_id
                    .or_else(|| environment.var("VAULT_ROLE_ID"))
                    .ok_or(ServiceFault::Missing { what, remedy })?;
                let of_environment = || {
                    let name = "VAULT_SECRET_ID";
                    environment.var(name).map(|_| SecretSource::Variable(name.to_owned()))
                };
                let secret_id = secret_id.or_else(of_environment);
                Method::AppRole { mount, role_id, secret_id, environment: environment.clone() }
            }
            VaultAuth::Kubernetes { mount, role, jwt } => Method::Kubernetes { mount, role, jwt },
        };
        Ok(Self { server, method })
    }

    /// What to do where the first login fails.
    pub(super) fn remedy(&self) -> &'static str {
        match self.method {
            Method::Token { .. } => "check the address, the namespace and where the token is",
            Method::AppRole { .. } => {
                "check the address, the namespace, 'auth-mount', the role id and the secret id"
            }
            Method::Kubernetes { .. } => {
                "check the address, the namespace, 'auth-mount', and that 'role' is bound to this \
                 service account"
            }
        }
    }

    async fn anew(&self) -> Result<Token, Fault> {
        match &self.method {
            Method::Token { source } => {
                let token = source.source.read(&source.environment);
                self.looked_up(token.map_err(|fault| unreadable(LOOKUP, &fault))?).await
            }
            Method::AppRole { mount, role_id, secret_id, environment } => {
                let operation = "auth/approle/login";
                let secret_id = secret_id.as_ref().map(|source| source.read(environment));
                let secret_id =
                    secret_id.transpose().map_err(|fault| unreadable(operation, &fault))?;
                let mut body = json!({ "role_id": role_id });
                if let Some(text) = secret_id.as_ref().and_then(Secret::expose_text) {
                    body["secret_id"] = text.into();
                }
                let sent: Vec<&Secret> = secret_id.iter().collect();
                self.logged_in(operation, mount, &body, &sent).await
            }
            Method::Kubernetes { mount, role, jwt } => {
                let operation = "auth/kubernetes/login";
                let source = SecretSource::File(jwt.clone());
                let nothing = Environment::of_process();
                let jwt = source.read(&nothing).map_err(|fault| unreadable(operation, &fault))?;
                let body = json!({ "role": role, "jwt": jwt.expose_text() });
                self.logged_in(operation, mount, &body, &[&jwt]).await
            }
        }
    }

    async fn logged_in(
        &self,
        operation: &'static str,
        mount: &str,
        body: &Value,
        sent: &[&Secret],
    ) -> Result<Token, Fault> {
        let request = self.server.request(&["auth", mount, "login"], Some(body));
        let answer = self.server.client.send(operation, request).await?;
        match failure(operation, &answer, sent) {
            None => granted(operation, &answer),
            // Who is told 400 here has not the credentials that the role wants.
            Some(fault) if answer.status == 400 => {
                Err(Fault { kind: FaultKind::Unauthorized, ..fault })
            }
            Some(fault) => Err(fault),
        }
    }

    /// A token that was given from outside, with what Vault tells of its life.
    async fn looked_up(&self, token: Secret) -> Result<Token, Fault> {
        let request = self.server.request(&["auth/token/lookup-self"], None);
        let answer = self.server.client.send(LOOKUP, with_token(request, &token)).await?;
        let secret = Arc::new(token);
        match failure(LOOKUP, &answer, &[&secret]) {
            // A token need not be allowed to look itself up; whether it is good, the first use says.
            Some(_) if matches!(answer.status, 403 | 404) => {
                Ok(Token { secret, lifetime: None, renewable: false })
            }
            Some(fault) => Err(fault),
            None => {
                let LookedUp { data } = answer.expected(LOOKUP)?;
                Ok(Token { secret, lifetime: lifetime(data.ttl), renewable: data.renewable })
            }
        }
    }

    async fn renewed(&self, ageing: &Token) -> Result<Token, Fault> {
        if !ageing.renewable {
            return self.anew().await;
        }
        let request = self.server.request(&["auth/token/renew-self"], Some(&json!({})));
        let request = with_token(request, &ageing.secret);
        let answer = self.server.client.send(RENEW, request).await?;
        let renewed = match failure(RENEW, &answer, &[&ageing.secret]) {
            None => granted(RENEW, &answer)?,
            Some(fault) if is_refusal(&answer) => {
                tracing::debug!(%fault, "the token is not renewed: logging in");
                return self.anew().await;
            }
            Some(fault) => return Err(fault),
        };
        // Near its longest life a token is renewed for less each time.
        let shorter = renewed.lifetime.zip(ageing.lifetime).is_some_and(|(new, old)| new < old / 2);
        match self.method {
            Method::AppRole { .. } | Method::Kubernetes { .. } if shorter => self.anew().await,
            _ => Ok(Token { secret: Arc::clone(&ageing.secret), ..renewed }),
        }
    }
}

impl Login for VaultLogin {
    fn log_in(&self) -> BoxFuture<'_, Result<Token, Fault>> {
        Box::pin(self.anew())
    }

    fn renew<'a>(&'a self, ageing: &'a Token) -> BoxFuture<'a, Result<Token, Fault>> {
        Box::pin(self.renewed(ageing))
    }
}

/// A request that shows the token, which no log of headers shows.
pub(super) fn with_token(request: RequestBuilder, token: &Secret) -> RequestBuilder {
    let Ok(mut value) = HeaderValue::from_bytes(token.expose()) else { return request };
    value.set_sensitive(true);
    request.header(HeaderName::from_static("x-vault-token"), value)
}

/// What the answer says of why it is none; `None` if it is one.
pub(super) fn failure(operation: &'static str, answer: &Answer, sent: &[&Secret]) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let status = answer.status;
    if status == 200 {
        return None;
    }
    let kind = match status {
        // A standby that sends its callers elsewhere; a replica that has not caught up yet; one
        // that only follows; sealed, or under maintenance.
        307 | 412 | 472 | 473 | 500..=599 => FaultKind::Transient,
        429 => FaultKind::Throttled,
        401 | 403 => FaultKind::Unauthorized,
        _ => FaultKind::Permanent,
    };
    let said = answer.json::<Errors>().map(|body| body.errors.join("; ")).unwrap_or_default();
    let said = match status {
        307 => "a standby node redirects; name the active node".to_owned(),
        _ => told(&said, sent),
    };
    let code =
        if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") };
    Some(fault(kind, operation, code))
}

/// Whether Vault says no, rather than that it cannot.
fn is_refusal(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 401 | 403 | 404)
}

fn granted(operation: &'static str, answer: &Answer) -> Result<Token, Fault> {
    let Granted { auth } = answer.expected(operation)?;
    let secret = Arc::new(Secret::from(auth.client_token));
    Ok(Token { secret, lifetime: lifetime(auth.lease_duration), renewable: auth.renewable })
}

/// Zero says that it does not end.
fn lifetime(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn unreadable(operation: &'static str, why: &ServiceFault) -> Fault {
    fault(FaultKind::Unauthorized, operation, why.to_string())
}

/// The value of a variable of OpenBao, or else of Vault, with its name. OpenBao's own tools look
/// for theirs first too.
fn either(environment: &Environment, name: &str) -> Option<(String, String)> {
    let names = [format!("BAO_{name}"), format!("VAULT_{name}")];
    names.into_iter().find_map(|name| environment.var(&name).map(|value| (name, value)))
}

/// Where Vault's own tools find a token.
fn token_source(environment: &Environment) -> Option<SecretSource> {
    if let Some((name, _)) = either(environment, "TOKEN") {
        return Some(SecretSource::Variable(name));
    }
    let home = environment.var("HOME").map(PathBuf::from)?;
    let file = home.join(".vault-token");
    file.exists().then_some(SecretSource::File(file))
}

#[derive(Deserialize)]
struct Granted {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct LookedUp {
    data: Looked,
}

#[derive(Deserialize)]
struct Looked {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

const LOOKUP: &str = "auth/token/lookup-self";
const RENEW: &str = "auth/token/renew-self";
