//! Access tokens of Microsoft Entra ID for Key Vault.
//!
//! In: what the URI and the environment say. Out: a [`Login`]. Knows nothing of keys.
//!
//! Three requests, each of one form, which is why they are made here: Microsoft's library keeps a
//! token that a vault refused, tries again for longer than an attempt to sign may last, and brings
//! a stack of crates for it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::Value;

use super::AzureKmsUri;
use crate::{
    keys::{
        remote::{Fault, FaultKind},
        service::{
            Answer, Client, Endpoint, Environment, Login, SecretSource, ServiceFault, Token, fault,
            told,
        },
    },
    secret::Secret,
};

/// Who we are at Entra ID.
#[derive(Debug)]
pub(super) struct EntraLogin {
    client: Client,
    method: Method,
    /// The service that the token is for.
    resource: String,
    environment: Environment,
}

#[derive(Debug)]
enum Method {
    /// A service principal with a secret.
    Secret { application: Application, secret: SecretSource },
    /// A service principal that trusts another provider's token: workload identity.
    Federated { application: Application, token_file: PathBuf },
    /// What the virtual machine is.
    Managed { metadata: Endpoint, client_id: Option<String> },
}

#[derive(Debug)]
struct Application {
    authority: Endpoint,
    tenant_id: String,
    client_id: String,
}

impl EntraLogin {
    pub(super) fn new(
        uri: &AzureKmsUri,
        environment: &Environment,
        client: Client,
    ) -> Result<Self, ServiceFault> {
        let method = Method::chosen(uri, environment)?;
        let (resource, environment) = (uri.resource(), environment.clone());
        Ok(Self { client, method, resource, environment })
    }

    /// What to do where the first login fails.
    pub(super) fn remedy(&self) -> &'static str {
        match self.method {
            Method::Secret { .. } => {
                "check AZURE_TENANT_ID, AZURE_CLIENT_ID and the client secret with its end"
            }
            Method::Federated { .. } => {
                "the application must have a federated credential for the token in \
                 AZURE_FEDERATED_TOKEN_FILE"
            }
            Method::Managed { .. } => {
                "assign a managed identity to this machine, or set AZURE_TENANT_ID, \
                 AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE"
            }
        }
    }

    async fn token(&self) -> Result<Token, Fault> {
        let read = |source: &SecretSource| {
            source
                .read(&self.environment)
                .map_err(|why| fault(FaultKind::Unauthorized, TOKEN, why.to_string()))
        };
        match &self.method {
            Method::Secret { application, secret } => {
                let secret = read(secret)?;
                let fields = [("client_secret", secret.expose_text().unwrap_or_default())];
                let request = self.of_application(application, &fields);
                self.granted(TOKEN, request, &[&secret]).await
            }
            Method::Federated { application, token_file } => {
                let assertion = read(&SecretSource::File(token_file.clone()))?;
                let fields = [
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.expose_text().unwrap_or_default()),
                ];
                let request = self.of_application(application, &fields);
                self.granted(TOKEN, request, &[&assertion]).await
            }
            Method::Managed { metadata, client_id } => {
                let mut url = metadata.at(["metadata", "identity", "oauth2", "token"]);
                url.query_pairs_mut()
                    .append_pair("api-version", "2018-02-01")
                    .append_pair("resource", &self.resource)
                    .extend_pairs(client_id.iter().map(|id| ("client_id", id)));
                let request = self.client.get(url).header("Metadata", "true");
                self.granted(METADATA, request, &[]).await
            }
        }
    }

    /// RFC 6749, 4.4.
    fn of_application(
        &self,
        application: &Application,
        credential: &[(&str, &str)],
    ) -> RequestBuilder {
        let Application { authority, tenant_id, client_id } = application;
        let url = authority.at([tenant_id.as_str(), "oauth2", "v2.0", "token"]);
        let scope = format!("{}/.default", self.resource);
        let fields = [
            ("client_id", client_id.as_str()),
            ("grant_type", "client_credentials"),
            ("scope", &scope),
        ];
        self.client.post_form(url, &[&fields, credential].concat())
    }

    async fn granted(
        &self,
        operation: &'static str,
        request: RequestBuilder,
        sent: &[&Secret],
    ) -> Result<Token, Fault> {
        let answer = self.client.send(operation, request).await?;
        if answer.status != 200 {
            return Err(refusal(operation, &answer, sent));
        }
        let Granted { access_token, expires_in } = answer.expected(operation)?;
        // A number, or from the metadata service its text.
        let seconds = expires_in.as_u64().or_else(|| expires_in.as_str()?.parse().ok());
        let lifetime = Duration::from_secs(seconds.unwrap_or(SHORT_LIFE_SECONDS));
        let secret = Arc::new(Secret::from(access_token));
        Ok(Token { secret, lifetime: Some(lifetime), renewable: false })
    }
}

impl Login for EntraLogin {
    fn log_in(&self) -> BoxFuture<'_, Result<Token, Fault>> {
        Box::pin(self.token())
    }
}

impl Method {
    /// A secret before a federated token, and this before what the machine is: the order of
    /// Microsoft's own chain.
    fn chosen(uri: &AzureKmsUri, environment: &Environment) -> Result<Self, ServiceFault> {
        let of_environment = || {
            let name = "AZURE_CLIENT_SECRET";
            environment.var(name).map(|_| SecretSource::Variable(name.to_owned()))
        };
        if let Some(secret) = uri.client_secret.clone().or_else(of_environment) {
            let application = Application::of(uri, environment)?;
            return Ok(Self::Secret { application, secret });
        }
        if let Some(file) = environment.var("AZURE_FEDERATED_TOKEN_FILE") {
            let (application, token_file) = (Application::of(uri, environment)?, file.into());
            return Ok(Self::Federated { application, token_file });
        }
        let metadata = match environment.var(METADATA_VARIABLE) {
            Some(text) => endpoint(METADATA_VARIABLE, &text)?,
            None => Endpoint::of_machine_metadata(),
        };
        let client_id = client_id(uri, environment);
        Ok(Self::Managed { metadata, client_id })
    }
}

impl Application {
    fn of(uri: &AzureKmsUri, environment: &Environment) -> Result<Self, ServiceFault> {
        let authority = match (&uri.authority, environment.var(AUTHORITY_VARIABLE)) {
            (Some(authority), _) => authority.clone(),
            (None, Some(text)) => endpoint(AUTHORITY_VARIABLE, &text)?,
            (None, None) => endpoint(AUTHORITY_VARIABLE, AUTHORITY)?,
        };
        let missing = |what, remedy| ServiceFault::Missing { what, remedy };
        let tenant_id = uri.tenant_id.clone().or_else(|| environment.var("AZURE_TENANT_ID"));
        let tenant_id = tenant_id
            .ok_or_else(|| missing("the tenant", "say '?tenant-id=…', or set AZURE_TENANT_ID"))?;
        let client_id = client_id(uri, environment).ok_or_else(|| {
            missing("the application", "say '?client-id=…', or set AZURE_CLIENT_ID")
        })?;
        Ok(Self { authority, tenant_id, client_id })
    }
}

fn client_id(uri: &AzureKmsUri, environment: &Environment) -> Option<String> {
    uri.client_id.clone().or_else(|| environment.var("AZURE_CLIENT_ID"))
}

fn endpoint(name: &str, text: &str) -> Result<Endpoint, ServiceFault> {
    let name = name.to_owned();
    Endpoint::parse(text).ok_or(ServiceFault::Setting { name, expected: Endpoint::EXPECTED })
}

/// RFC 6749, 5.2; the description begins with Microsoft's code, such as `AADSTS7000215`.
fn refusal(operation: &'static str, answer: &Answer, sent: &[&Secret]) -> Fault {
    let status = answer.status;
    let kind = match status {
        429 => FaultKind::Throttled,
        // The metadata service answers these while it starts or an identity is being assigned.
        404 | 410 if operation == METADATA => FaultKind::Transient,
        408 | 500..=599 => FaultKind::Transient,
        _ => FaultKind::Unauthorized,
    };
    let code = match answer.json::<Refused>() {
        Some(Refused { error, error_description }) => {
            // Trace and correlation ids follow on lines of their own.
            let description = error_description.lines().next().unwrap_or_default();
            format!("HTTP {status} {}: {}", told(&error, sent), told(description, sent))
        }
        None => format!("HTTP {status}"),
    };
    fault(kind, operation, code)
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

const TOKEN: &str = "oauth2/v2.0/token";
const METADATA: &str = "metadata/identity/oauth2/token";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const AUTHORITY: &str = "https://login.microsoftonline.com";
const AUTHORITY_VARIABLE: &str = "AZURE_AUTHORITY_HOST";
const METADATA_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// Where nothing is said of a token's end.
const SHORT_LIFE_SECONDS: u64 = 300;
