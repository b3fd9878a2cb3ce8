//! Azure Key Vault, and those who give tokens for it: Entra ID, the metadata service of virtual
//! machines.
//!
//! After the REST references "Get Key", "Sign" (7.4), "REST API error codes", "Authentication,
//! requests and responses"; "OAuth 2.0 client credentials" of the identity platform; "How to use
//! managed identities on an Azure VM".

use std::collections::{HashMap, HashSet};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Act, Asked, Kind, Reply, Running, Script, Service, ServiceKey, credential, raw};

/// A vault that is told what it holds, and the tenant around it.
pub(crate) struct Azure {
    /// By name, oldest version first.
    keys: HashMap<String, Vec<Version>>,
    tokens: HashSet<String>,
    /// Of the application [`CLIENT_ID`].
    secret: Option<String>,
    /// Tokens of another provider that the application trusts.
    assertions: HashSet<String>,
    /// Whether the machine has an identity.
    pub(crate) machine_has_identity: bool,
    script: Script,
    pub(crate) may_get: bool,
    pub(crate) may_sign: bool,
    pub(crate) token_lifetime_seconds: u64,
    /// How many tokens were given.
    pub(crate) given: usize,
}

struct Version {
    id: String,
    key: ServiceKey,
    enabled: bool,
    operations: &'static [&'static str],
}

impl Azure {
    pub(crate) fn start() -> Running<Self> {
        Running::start(Self {
            keys: HashMap::new(),
            tokens: HashSet::new(),
            secret: None,
            assertions: HashSet::new(),
            machine_has_identity: false,
            script: Script::default(),
            may_get: true,
            may_sign: true,
            token_lifetime_seconds: 3599,
            given: 0,
        })
    }

    /// `az keyvault key create`, or another version of a key that is there.
    pub(crate) fn add_key(&mut self, name: &str, kind: Kind) -> String {
        self.add_key_for(name, kind, &["sign", "verify"])
    }

    /// For some operations only.
    pub(crate) fn add_key_for(
        &mut self,
        name: &str,
        kind: Kind,
        operations: &'static [&'static str],
    ) -> String {
        let id = credential("");
        let key = ServiceKey::generate(kind);
        let version = Version { id: id.clone(), key, enabled: true, operations };
        self.keys.entry(name.to_owned()).or_default().push(version);
        id
    }

    pub(crate) fn disable(&mut self, name: &str) {
        for version in self.keys.get_mut(name).unwrap() {
            version.enabled = false;
        }
    }

    pub(crate) fn key(&self, name: &str) -> &ServiceKey {
        &self.keys[name].last().unwrap().key
    }

    /// A new secret in the place of the old one.
    pub(crate) fn new_secret(&mut self) -> String {
        let secret = credential("abc8Q~");
        self.secret = Some(secret.clone());
        secret
    }

    pub(crate) fn remove_secret(&mut self) {
        self.secret = None;
    }

    pub(crate) fn trust_assertion(&mut self, token: &str) {
        self.assertions.insert(token.to_owned());
    }

    pub(crate) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    /// `expires_in` is a number in one answer and text in the other.
    fn give_token(&mut self, as_text: bool) -> Reply {
        let token = credential("eyJ0.");
        self.tokens.insert(token.clone());
        self.given += 1;
        let seconds = self.token_lifetime_seconds;
        let expires_in = if as_text { json!(seconds.to_string()) } else { json!(seconds) };
        Reply::Json(
            200,
            json!({ "token_type": "Bearer", "expires_in": expires_in, "access_token": token }),
        )
    }

    fn token_of_application(&mut self, tenant: &str, body: &[u8]) -> Reply {
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(body).into_owned().collect();
        let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        if tenant != TENANT_ID {
            return entra(400, "invalid_request", "AADSTS90002: Tenant not found.");
        }
        if given("client_id") != CLIENT_ID {
            let told = "AADSTS700016: Application was not found in the directory.";
            return entra(400, "unauthorized_client", told);
        }
        if given("grant_type") != "client_credentials" || given("scope") != SCOPE {
            return entra(400, "invalid_scope", "AADSTS70011: The provided scope is not valid.");
        }
        let federated = given("client_assertion_type")
            == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            && self.assertions.contains(given("client_assertion"));
        let secret = self.secret.as_deref() == Some(given("client_secret"));
        if federated || secret {
            return self.give_token(false);
        }
        entra(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    }

    fn token_of_machine(&mut self, asked: &Asked) -> Reply {
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(asked.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        if asked.header("metadata") != "true" {
            return entra(400, "invalid_request", "Required metadata header not specified");
        }
        let resource = query.get("resource").map(String::as_str);
        if resource != SCOPE.strip_suffix("/.default") || !query.contains_key("api-version") {
            return entra(400, "invalid_resource", "AADSTS500011: The resource was not found.");
        }
        if !self.machine_has_identity {
            return entra(400, "invalid_request", "Identity not found");
        }
        self.give_token(true)
    }

    fn get(&self, name: &str, id: &str) -> Reply {
        if !self.may_get {
            return forbidden("ForbiddenByRbac", "Caller is not authorized to perform action.");
        }
        let version = match self.version(name, id) {
            Ok(version) => version,
            Err(reply) => return reply,
        };
        let (first, second) = version.key.numbers();
        let (first, second) = (URL_SAFE_NO_PAD.encode(first), URL_SAFE_NO_PAD.encode(second));
        let kid = kid(name, &version.id);
        let operations = version.operations;
        let key = match version.key.kind {
            Kind::P256 => json!({ "kid": kid, "kty": "EC", "crv": "P-256", "x": first,
                                  "y": second, "key_ops": operations }),
            Kind::P384 => json!({ "kid": kid, "kty": "EC-HSM", "crv": "P-384", "x": first,
                                  "y": second, "key_ops": operations }),
            Kind::Rsa2048 | Kind::Rsa4096 => json!({ "kid": kid, "kty": "RSA", "n": first,
                                                     "e": second, "key_ops": operations }),
        };
        Reply::Json(200, json!({ "key": key, "attributes": { "enabled": version.enabled } }))
    }

    fn sign(&mut self, name: &str, id: &str, body: &Value, token: &str) -> Reply {
        let act = self.script.take();
        match act {
            Act::Hang | Act::Drop | Act::Rubbish => return Reply::Misbehave(act),
            Act::Fail(403) => {
                return forbidden("ForbiddenByFirewall", "Client address is not authorized.");
            }
            Act::Fail(status) => return of_status(status),
            Act::RepeatCredential => return forbidden("ForbiddenByRbac", &format!("bad {token}")),
            _ => {}
        }
        if !self.may_sign {
            return forbidden("ForbiddenByRbac", "Caller is not authorized to perform action.");
        }
        let version = match self.version(name, id) {
            Ok(version) => version,
            Err(reply) => return reply,
        };
        if !version.operations.contains(&"sign") {
            return forbidden("KeyOperationNotPermitted", "Operation sign is not permitted.");
        }
        let key = &version.key;
        let algorithm = match key.kind {
            Kind::P256 => "ES256",
            Kind::P384 => "ES384",
            Kind::Rsa2048 | Kind::Rsa4096 => "RS256",
        };
        if body["alg"] != algorithm {
            return error(400, "BadParameter", "Key and signing algorithm are incompatible.");
        }
        let value = body["value"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let Some(signature) = value.and_then(|digest| key.sign_as(act, &digest)) else {
            return error(400, "BadParameter", "Invalid length of value for the algorithm.");
        };
        let value = URL_SAFE_NO_PAD.encode(raw(key.kind, signature));
        let named = if act == Act::OtherName { "other" } else { name };
        Reply::Json(200, json!({ "kid": kid(named, &version.id), "value": value }))
    }

    /// `call` is `wrapkey` or `unwrapkey`.
    fn wrap_or_unwrap(&self, name: &str, id: &str, call: &str, body: &Value) -> Reply {
        if !self.may_sign {
            return forbidden("ForbiddenByRbac", "Caller is not authorized to perform action.");
        }
        let version = match self.version(name, id) {
            Ok(version) => version,
            Err(reply) => return reply,
        };
        let value = body["value"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let done = value.filter(|_| body["alg"] == "RSA-OAEP-256").and_then(|value| {
            if call == "wrapkey" {
                version.key.encrypt(&value)
            } else {
                version.key.decrypt(&value)
            }
        });
        match done {
            Some(value) => {
                let value = URL_SAFE_NO_PAD.encode(value);
                Reply::Json(200, json!({ "kid": kid(name, &version.id), "value": value }))
            }
            None => error(400, "BadParameter", "The value cannot be processed with this key."),
        }
    }

    /// An empty id names the latest.
    fn version(&self, name: &str, id: &str) -> Result<&Version, Reply> {
        let versions = self.keys.get(name);
        let found = versions.and_then(|versions| {
            versions.iter().rev().find(|version| id.is_empty() || version.id == id)
        });
        let version = found.ok_or_else(|| {
            let told = format!("A key with (name/id) {name}/{id} was not found in this key vault.");
            error(404, "KeyNotFound", &told)
        })?;
        if version.enabled {
            return Ok(version);
        }
        Err(forbidden("KeyDisabled", "Operation is not allowed on a disabled key."))
    }
}

impl Service for Azure {
    fn script(&mut self) -> &mut Script {
        &mut self.script
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let path: Vec<&str> = asked.uri.path()[1..].split('/').collect();
        match (asked.method.as_str(), &path[..]) {
            ("POST", [tenant, "oauth2", "v2.0", "token"]) => {
                return self.token_of_application(tenant, &asked.body);
            }
            ("GET", ["metadata", "identity", "oauth2", "token"]) => {
                return self.token_of_machine(asked);
            }
            _ => {}
        }
        let token = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if !self.tokens.contains(token) {
            let challenge = format!(
                "Bearer authorization=\"https://login.microsoftonline.com/{TENANT_ID}\", \
                 resource=\"https://vault.azure.net\""
            );
            let told = "AKV10000: Request is missing a Bearer or PoP token.";
            let body = json!({ "error": { "code": "Unauthorized", "message": told } });
            return Reply::With(401, body, "www-authenticate", challenge);
        }
        if asked.uri.query() != Some("api-version=7.4") {
            return error(400, "BadParameter", "The specified version is not recognized.");
        }
        match (asked.method.as_str(), &path[..]) {
            ("GET", ["keys", name, id]) => self.get(name, id),
            ("POST", ["keys", name, id, "sign"]) => {
                let token = token.to_owned();
                self.sign(name, id, &asked.json(), &token)
            }
            ("POST", ["keys", name, id, call @ ("wrapkey" | "unwrapkey")]) => {
                self.wrap_or_unwrap(name, id, call, &asked.json())
            }
            _ => error(404, "NotFound", "There is no such operation."),
        }
    }
}

/// The vault's own name for a version, whatever address it was asked at.
fn kid(name: &str, id: &str) -> String {
    format!("https://ca-vault.vault.azure.net/keys/{name}/{id}")
}

fn of_status(status: u16) -> Reply {
    let (code, told) = match status {
        429 => ("Throttled", "Too many requests."),
        503 => ("ServiceUnavailable", "The service is unavailable."),
        404 => ("KeyNotFound", "The key was not found."),
        400 => ("BadParameter", "A parameter is invalid."),
        409 => ("Conflict", "The key is being deleted."),
        _ => ("InternalError", "An internal error occurred."),
    };
    error(status, code, told)
}

fn forbidden(inner: &str, message: &str) -> Reply {
    let error = json!({ "code": "Forbidden", "message": message, "innererror": { "code": inner } });
    Reply::Json(403, json!({ "error": error }))
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::Json(status, json!({ "error": { "code": code, "message": message } }))
}

/// As Entra ID words it: with identifiers on lines of their own.
fn entra(status: u16, error: &str, description: &str) -> Reply {
    let description = format!("{description}\r\nTrace ID: 255d1aef\r\nTimestamp: 2026-11-21");
    Reply::Json(status, json!({ "error": error, "error_description": description }))
}

pub(crate) const TENANT_ID: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
pub(crate) const CLIENT_ID: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
const SCOPE: &str = "https://vault.azure.net/.default";
