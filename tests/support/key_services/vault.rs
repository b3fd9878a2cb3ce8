//! The transit engine of Vault and OpenBao, and the logins that lead to it.
//!
//! After the HTTP references "Transit secrets engine", "AppRole", "Kubernetes" and "Tokens".

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Act, Asked, Kind, Reply, Running, Script, Service, ServiceKey, SymmetricKey, credential,
};

/// A Vault that is told what it holds.
pub(crate) struct Vault {
    tokens: HashMap<String, Lease>,
    keys: HashMap<String, TransitKey>,
    roles: Vec<Role>,
    script: Script,
    /// The namespace that everything lies in.
    pub(crate) namespace: String,
    /// Of tokens that a login gives.
    pub(crate) login_ttl_seconds: u64,
    /// How many there were.
    pub(crate) logins: usize,
    pub(crate) renewals: usize,
}

/// What a token may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) reads: bool,
    pub(crate) signs: bool,
    /// Has the policy `default`, by which tokens look after themselves.
    pub(crate) has_default_policy: bool,
    pub(crate) ttl_seconds: u64,
    pub(crate) renewable: bool,
}

impl Lease {
    pub(crate) const FULL: Self = Self {
        reads: true,
        signs: true,
        has_default_policy: true,
        ttl_seconds: 3600,
        renewable: true,
    };
}

/// A role of an auth method: the login's body must be these members.
struct Role {
    mount: String,
    body: Value,
}

struct TransitKey {
    /// Of a key that encrypts.
    cipher: Option<SymmetricKey>,
    kind: String,
    versions: Vec<ServiceKey>,
    oldest_signing: u64,
}

impl Vault {
    pub(crate) fn start() -> Running<Self> {
        Running::start(Self::new())
    }

    pub(crate) fn new() -> Self {
        Self {
            tokens: HashMap::new(),
            keys: HashMap::new(),
            roles: Vec::new(),
            script: Script::default(),
            namespace: String::new(),
            login_ttl_seconds: 3600,
            logins: 0,
            renewals: 0,
        }
    }

    /// `vault write MOUNT/keys/NAME type=…`; `path` is `MOUNT/keys/NAME`.
    pub(crate) fn add_key(&mut self, path: &str, kind: Kind) {
        let name = match kind {
            Kind::P256 => "ecdsa-p256",
            Kind::P384 => "ecdsa-p384",
            Kind::Rsa2048 => "rsa-2048",
            Kind::Rsa4096 => "rsa-4096",
        };
        let key = ServiceKey::generate(kind);
        let key = TransitKey {
            cipher: None,
            kind: name.to_owned(),
            versions: vec![key],
            oldest_signing: 0,
        };
        self.keys.insert(path.to_owned(), key);
    }

    /// A symmetric key.
    pub(crate) fn add_symmetric_key(&mut self, path: &str) {
        let (kind, versions) = ("aes256-gcm96".to_owned(), Vec::new());
        let cipher = Some(SymmetricKey::generate());
        let key = TransitKey { cipher, kind, versions, oldest_signing: 0 };
        self.keys.insert(path.to_owned(), key);
    }

    /// `vault write -f MOUNT/keys/NAME/rotate`.
    pub(crate) fn rotate(&mut self, path: &str) {
        let key = self.keys.get_mut(path).unwrap();
        let next = ServiceKey::generate(key.versions[0].kind);
        key.versions.push(next);
    }

    /// `min_encryption_version`.
    pub(crate) fn set_oldest_signing(&mut self, path: &str, version: u64) {
        self.keys.get_mut(path).unwrap().oldest_signing = version;
    }

    /// DER SubjectPublicKeyInfo of a version.
    pub(crate) fn public_der(&self, path: &str, version: usize) -> Vec<u8> {
        self.keys[path].versions[version - 1].public_der()
    }

    /// `vault token create`.
    pub(crate) fn add_token(&mut self, lease: Lease) -> String {
        let token = credential("hvs.");
        self.tokens.insert(token.clone(), lease);
        token
    }

    /// `vault token revoke`.
    pub(crate) fn revoke_all_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Lets a login at `auth/MOUNT/login` with exactly this body in.
    pub(crate) fn add_role(&mut self, mount: &str, body: Value) {
        self.roles.push(Role { mount: mount.to_owned(), body });
    }

    pub(crate) fn remove_roles(&mut self) {
        self.roles.clear();
    }

    fn login(&mut self, mount: &str, body: &Value) -> Reply {
        if !self.roles.iter().any(|role| role.mount == mount && role.body == *body) {
            return errors(400, "invalid role or secret ID");
        }
        self.logins += 1;
        let lease = Lease { ttl_seconds: self.login_ttl_seconds, ..Lease::FULL };
        let token = self.add_token(lease);
        granted(&token, lease)
    }

    fn of_the_token_itself(&mut self, call: &str, token: &str, lease: Lease) -> Reply {
        match call {
            _ if !lease.has_default_policy => denied(),
            "lookup-self" => Reply::Json(
                200,
                json!({ "data": { "id": token, "ttl": lease.ttl_seconds,
                                  "renewable": lease.renewable, "type": "service" } }),
            ),
            "renew-self" if !lease.renewable => errors(400, "lease is not renewable"),
            "renew-self" => {
                self.renewals += 1;
                granted(token, lease)
            }
            _ => errors(404, ""),
        }
    }

    fn sign(&mut self, path: &str, body: &Value, token: &str) -> Reply {
        let act = self.script.take();
        match act {
            Act::Hang | Act::Drop | Act::Rubbish => return Reply::Misbehave(act),
            Act::Fail(status) => return errors(status, words_of(status)),
            Act::RepeatCredential => return errors(403, &format!("bad token: {token}")),
            _ => {}
        }
        let Some(key) = self.keys.get(path) else {
            return errors(400, "signing key not found");
        };
        let latest = key.versions.len() as u64;
        let version = match body["key_version"].as_u64().unwrap_or_default() {
            0 => latest,
            version => version,
        };
        if version > latest {
            return errors(
                400,
                "requested version for signing is higher than the latest key version",
            );
        }
        if version < key.oldest_signing {
            return errors(
                400,
                "requested version for signing is less than the minimum encryption key version",
            );
        }
        let Ok(input) = STANDARD.decode(body["input"].as_str().unwrap_or_default()) else {
            return errors(400, "unable to decode input as base64");
        };
        if body["prehashed"] != true {
            return errors(500, "this server signs what is hashed only");
        }
        let key = &key.versions[usize::try_from(version - 1).unwrap()];
        let hash = if key.kind == Kind::P384 { "sha2-384" } else { "sha2-256" };
        let pkcs1 = body["signature_algorithm"] == "pkcs1v15";
        if body["hash_algorithm"] != hash
            || !matches!(&body["marshaling_algorithm"], Value::Null | Value::String(_))
        {
            return errors(400, "invalid hash algorithm");
        }
        let rsa = matches!(key.kind, Kind::Rsa2048 | Kind::Rsa4096);
        let signature = if rsa && !pkcs1 { key.sign_pss(&input) } else { key.sign_as(act, &input) };
        let Some(signature) = signature else {
            return errors(500, "crypto/rsa: input must be hashed message");
        };
        let named = if act == Act::OtherName { version + 1 } else { version };
        let signature = format!("vault:v{named}:{}", STANDARD.encode(signature));
        Reply::Json(200, json!({ "data": { "signature": signature, "key_version": named } }))
    }

    /// `call` is `encrypt` or `decrypt`.
    fn encrypt_or_decrypt(&self, call: &str, path: &str, body: &Value) -> Reply {
        let cipher = self.keys.get(path).and_then(|key| key.cipher.as_ref());
        let Some(cipher) = cipher else { return errors(400, "encryption key not found") };
        let decoded = |name: &str| STANDARD.decode(body[name].as_str().unwrap_or_default()).ok();
        let aad = decoded("associated_data").unwrap_or_default();
        if call == "encrypt" {
            let Some(plaintext) = decoded("plaintext") else {
                return errors(400, "failed to base64-decode plaintext");
            };
            let ciphertext = STANDARD.encode(cipher.encrypt(&plaintext, &aad));
            let data = json!({ "ciphertext": format!("vault:v1:{ciphertext}"), "key_version": 1 });
            return Reply::Json(200, json!({ "data": data }));
        }
        let ciphertext =
            body["ciphertext"].as_str().and_then(|text| text.strip_prefix("vault:v1:"));
        let Some(ciphertext) = ciphertext.and_then(|text| STANDARD.decode(text).ok()) else {
            return errors(400, "invalid ciphertext: no prefix");
        };
        match cipher.decrypt(&ciphertext, &aad) {
            Some(plaintext) => {
                let data = json!({ "plaintext": STANDARD.encode(plaintext) });
                Reply::Json(200, json!({ "data": data }))
            }
            None => errors(400, "cipher: message authentication failed"),
        }
    }

    fn read(&self, path: &str) -> Reply {
        let Some(key) = self.keys.get(path) else { return Reply::Json(404, json!({"errors": []})) };
        let public = |key: &ServiceKey| {
            let name = if key.kind == Kind::P384 { "P-384" } else { "P-256" };
            json!({ "name": name, "public_key": key.public_pem(),
                    "creation_time": "2026-11-20T00:00:00Z" })
        };
        let mut keys: serde_json::Map<String, Value> = key
            .versions
            .iter()
            .enumerate()
            .map(|(at, key)| ((at + 1).to_string(), public(key)))
            .collect();
        if keys.is_empty() {
            keys.insert("1".to_owned(), json!(1_442_851_412));
        }
        let latest = keys.len();
        Reply::Json(
            200,
            json!({ "data": {
                "type": key.kind, "name": path, "keys": keys, "latest_version": latest,
                "min_decryption_version": 1, "min_encryption_version": key.oldest_signing,
                "deletion_allowed": false, "derived": false, "exportable": false,
                "supports_signing": !key.versions.is_empty(),
            } }),
        )
    }
}

impl Service for Vault {
    fn script(&mut self) -> &mut Script {
        &mut self.script
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let path = asked.path();
        let body = asked.json();
        let Some(("v1", rest)) = path.split_first().map(|(first, rest)| (*first, rest)) else {
            return errors(404, "");
        };
        if asked.header("x-vault-namespace") != self.namespace {
            return errors(404, "no handler for route");
        }
        if let ["auth", mount @ .., "login"] = rest
            && asked.method == "POST"
        {
            return self.login(&mount.join("/"), &body);
        }
        let token = asked.header("x-vault-token").to_owned();
        let Some(lease) = self.tokens.get(&token).copied() else { return denied() };
        match (asked.method.as_str(), rest) {
            ("GET" | "POST", ["auth", "token", call]) => {
                self.of_the_token_itself(call, &token, lease)
            }
            ("GET", [.., "keys", _]) if lease.reads => self.read(&rest.join("/")),
            ("POST", [mount @ .., "sign", name]) if lease.signs => {
                let key = [mount, &["keys", name]].concat().join("/");
                self.sign(&key, &body, &token)
            }
            ("POST", [mount @ .., call @ ("encrypt" | "decrypt"), name]) if lease.signs => {
                let key = [mount, &["keys", name]].concat().join("/");
                self.encrypt_or_decrypt(call, &key, &body)
            }
            _ => denied(),
        }
    }
}

fn granted(token: &str, lease: Lease) -> Reply {
    let Lease { ttl_seconds, renewable, .. } = lease;
    let auth = json!({ "client_token": token, "accessor": "0e9e354a", "policies": ["default"],
                       "lease_duration": ttl_seconds, "renewable": renewable });
    Reply::Json(200, json!({ "lease_id": "", "data": null, "auth": auth }))
}

fn denied() -> Reply {
    errors(403, "permission denied")
}

/// As Vault words it: with the number of errors before them.
fn errors(status: u16, text: &str) -> Reply {
    let text = format!("1 error occurred:\n\t* {text}\n\n");
    Reply::Json(status, json!({ "errors": [text] }))
}

fn words_of(status: u16) -> &'static str {
    match status {
        429 => "request path \"transit/sign/ca\": rate limit quota exceeded",
        472 => "disaster recovery mode replication secondary",
        473 => "performance standby",
        412 => "required index state not present",
        503 => "Vault is sealed",
        400 => "encryption key not found",
        _ => "internal error",
    }
}
