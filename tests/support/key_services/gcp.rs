//! Google Cloud KMS, and those who give tokens for it: service accounts, the token exchange of
//! workload identity federation, the metadata server.
//!
//! After google/cloud/kms/v1/service.proto in its JSON mapping, google.rpc.Status, RFC 7523 (the
//! tokens that service accounts sign themselves), RFC 8693 (the exchange).

use std::collections::{HashMap, HashSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::{
    Act, Asked, Kind, Reply, Running, Script, Service, ServiceKey, SymmetricKey, credential,
};

/// A Cloud KMS that is told what it holds.
pub(crate) struct Gcp {
    /// By `projects/…/cryptoKeyVersions/N`.
    versions: HashMap<String, Version>,
    /// Symmetric keys, by `projects/…/cryptoKeys/K`.
    ciphers: HashMap<String, SymmetricKey>,
    /// Tokens that were given, and are good.
    tokens: HashSet<String>,
    /// Subject tokens that the exchange takes.
    subjects: HashSet<String>,
    account: Option<ServiceKey>,
    script: Script,
    /// Whether the machine has a service account.
    pub(crate) machine_has_account: bool,
    pub(crate) may_view: bool,
    pub(crate) may_sign: bool,
    /// How many tokens were given.
    pub(crate) given: usize,
}

struct Version {
    key: ServiceKey,
    algorithm: String,
    state: &'static str,
}

impl Gcp {
    pub(crate) fn start() -> Running<Self> {
        Running::start(Self {
            versions: HashMap::new(),
            ciphers: HashMap::new(),
            tokens: HashSet::new(),
            subjects: HashSet::new(),
            account: None,
            script: Script::default(),
            machine_has_account: false,
            may_view: true,
            may_sign: true,
            given: 0,
        })
    }

    pub(crate) fn add_key(&mut self, name: &str, kind: Kind) {
        let algorithm = match kind {
            Kind::P256 => "EC_SIGN_P256_SHA256",
            Kind::P384 => "EC_SIGN_P384_SHA384",
            Kind::Rsa2048 => "RSA_SIGN_PKCS1_2048_SHA256",
            Kind::Rsa4096 => "RSA_SIGN_PKCS1_4096_SHA256",
        };
        self.add_key_of(name, kind, algorithm);
    }

    /// With the algorithm that the key says it has.
    pub(crate) fn add_key_of(&mut self, name: &str, kind: Kind, algorithm: &str) {
        let (key, algorithm) = (ServiceKey::generate(kind), algorithm.to_owned());
        self.versions.insert(name.to_owned(), Version { key, algorithm, state: "ENABLED" });
    }

    pub(crate) fn add_symmetric_key(&mut self, name: &str) {
        self.ciphers.insert(name.to_owned(), SymmetricKey::generate());
    }

    pub(crate) fn disable(&mut self, name: &str) {
        self.versions.get_mut(name).unwrap().state = "DISABLED";
    }

    pub(crate) fn key(&self, name: &str) -> &ServiceKey {
        &self.versions[name].key
    }

    /// The file of a service account's key, as Google gives it out. Each call replaces the key.
    pub(crate) fn service_account_file(&mut self) -> String {
        let key = ServiceKey::generate(Kind::Rsa2048);
        let file = json!({
            "type": "service_account", "project_id": "p", "private_key_id": KEY_ID,
            "private_key": key.private_pem(), "client_email": EMAIL, "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        self.account = Some(key);
        file.to_string()
    }

    /// `gcloud iam service-accounts keys delete`.
    pub(crate) fn forget_service_account(&mut self) -> Option<ServiceKey> {
        self.account.take()
    }

    pub(crate) fn remember_service_account(&mut self, key: Option<ServiceKey>) {
        self.account = key;
    }

    /// Lets the exchange take a token of another provider.
    pub(crate) fn trust_subject(&mut self, token: &str) {
        self.subjects.insert(token.to_owned());
    }

    /// All tokens that were given are good no more.
    pub(crate) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    pub(crate) fn distrust_subjects(&mut self) {
        self.subjects.clear();
    }

    fn give_token(&mut self) -> Reply {
        let token = credential("ya29.");
        self.tokens.insert(token.clone());
        self.given += 1;
        Reply::Json(
            200,
            json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer",
                    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token" }),
        )
    }

    fn exchange(&mut self, body: &[u8]) -> Reply {
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(body).into_owned().collect();
        let is = |name: &str, value: &str| form.get(name).is_some_and(|given| given == value);
        let subject = form.get("subject_token").cloned().unwrap_or_default();
        if !is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            || !is("audience", AUDIENCE)
            || !is("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
            || !self.subjects.contains(&subject)
        {
            let told = "The audience or the subject token is not acceptable.";
            return Reply::Json(
                400,
                json!({ "error": "invalid_grant", "error_description": told }),
            );
        }
        self.give_token()
    }

    /// A token that was given, or one that the service account signed itself.
    fn knows(&self, token: &str) -> bool {
        self.tokens.contains(token)
            || self.account.as_ref().is_some_and(|key| signed_by(key, token))
    }

    fn public_key(&self, name: &str) -> Reply {
        if !self.may_view {
            return denied("cloudkms.cryptoKeyVersions.viewPublicKey", name);
        }
        let version = match self.enabled(name) {
            Ok(version) => version,
            Err(reply) => return reply,
        };
        let pem = version.key.public_pem();
        Reply::Json(
            200,
            json!({ "pem": pem, "algorithm": version.algorithm, "name": name,
                    "pemCrc32c": crc32c::crc32c(pem.as_bytes()).to_string(),
                    "protectionLevel": "HSM" }),
        )
    }

    fn sign(&mut self, name: &str, body: &Value, token: &str) -> Reply {
        let act = self.script.take();
        match act {
            Act::Hang | Act::Drop | Act::Rubbish => return Reply::Misbehave(act),
            Act::Fail(status) => return of_status(status),
            Act::RepeatCredential => {
                return error(403, "PERMISSION_DENIED", &format!("bad {token}"));
            }
            _ => {}
        }
        if !self.may_sign {
            return denied("cloudkms.cryptoKeyVersions.useToSign", name);
        }
        let version = match self.enabled(name) {
            Ok(version) => version,
            Err(reply) => return reply,
        };
        let hash = if version.key.kind == Kind::P384 { "sha384" } else { "sha256" };
        let digest = body["digest"][hash].as_str().and_then(|text| STANDARD.decode(text).ok());
        let signature = digest.as_ref().and_then(|digest| version.key.sign_as(act, digest));
        let (Some(digest), Some(signature)) = (digest, signature) else {
            return error(400, "INVALID_ARGUMENT", "The digest does not suit the key's algorithm.");
        };
        let crc32c = crc32c::crc32c(&digest).to_string();
        if !body["digestCrc32c"].is_null() && body["digestCrc32c"] != crc32c.as_str() {
            return error(400, "INVALID_ARGUMENT", "The checksum in field digest_crc32c is wrong.");
        }
        let named =
            if act == Act::OtherName { name.replace("/ca/", "/other/") } else { name.to_owned() };
        let off_by = u32::from(act == Act::WrongChecksum);
        let mut answer = json!({
            "signature": STANDARD.encode(&signature), "name": named, "protectionLevel": "HSM",
            "signatureCrc32c": crc32c::crc32c(&signature).wrapping_add(off_by).to_string(),
        });
        if !body["digestCrc32c"].is_null() && act != Act::DigestNotVerified {
            answer["verifiedDigestCrc32c"] = true.into();
        }
        Reply::Json(200, answer)
    }

    /// `call` is `encrypt` or `decrypt`.
    fn encrypt_or_decrypt(&self, name: &str, call: &str, body: &Value) -> Reply {
        if !self.may_sign {
            let permission = format!("cloudkms.cryptoKeyVersions.useTo{call}");
            return denied(&permission, name);
        }
        let Some(cipher) = self.ciphers.get(name) else {
            return error(404, "NOT_FOUND", &format!("CryptoKey {name} not found."));
        };
        let field = |name: &str| {
            let bytes = STANDARD.decode(body[name].as_str().unwrap_or_default()).ok()?;
            let checksum = crc32c::crc32c(&bytes).to_string();
            (body[format!("{name}Crc32c")] == checksum.as_str()).then_some(bytes)
        };
        let input = if call == "encrypt" { "plaintext" } else { "ciphertext" };
        let (Some(input), Some(aad)) = (field(input), field("additionalAuthenticatedData")) else {
            return error(400, "INVALID_ARGUMENT", "A checksum is wrong.");
        };
        if call == "encrypt" {
            let ciphertext = cipher.encrypt(&input, &aad);
            return Reply::Json(
                200,
                json!({ "name": format!("{name}/cryptoKeyVersions/1"),
                        "ciphertext": STANDARD.encode(&ciphertext),
                        "ciphertextCrc32c": crc32c::crc32c(&ciphertext).to_string(),
                        "verifiedPlaintextCrc32c": true,
                        "verifiedAdditionalAuthenticatedDataCrc32c": true }),
            );
        }
        match cipher.decrypt(&input, &aad) {
            Some(plaintext) => Reply::Json(
                200,
                json!({ "plaintext": STANDARD.encode(&plaintext), "usedPrimary": true,
                        "plaintextCrc32c": crc32c::crc32c(&plaintext).to_string() }),
            ),
            None => error(
                400,
                "INVALID_ARGUMENT",
                "Decryption failed: verify that 'name' refers to the correct CryptoKey.",
            ),
        }
    }

    fn enabled(&self, name: &str) -> Result<&Version, Reply> {
        let version = self.versions.get(name).ok_or_else(|| {
            error(404, "NOT_FOUND", &format!("CryptoKeyVersion {name} not found."))
        })?;
        if version.state == "ENABLED" {
            return Ok(version);
        }
        let told = format!("{name} is not enabled, current state is: {}.", version.state);
        Err(error(400, "FAILED_PRECONDITION", &told))
    }
}

impl Service for Gcp {
    fn script(&mut self) -> &mut Script {
        &mut self.script
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let path = asked.uri.path();
        match (asked.method.as_str(), path) {
            ("POST", "/v1/token") => return self.exchange(&asked.body),
            ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") => {
                let asks_google = asked.header("metadata-flavor") == "Google";
                return match asks_google {
                    true if self.machine_has_account => self.give_token(),
                    true => of_status(404),
                    false => of_status(403),
                };
            }
            _ => {}
        }
        let token = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if !self.knows(token) {
            return of_status(401);
        }
        let name = path.strip_prefix("/v1/").unwrap_or_default();
        if let ("GET", Some(name)) = (asked.method.as_str(), name.strip_suffix("/publicKey")) {
            return self.public_key(name);
        }
        if let ("POST", Some((name, call @ ("encrypt" | "decrypt")))) =
            (asked.method.as_str(), name.split_once(':'))
        {
            return self.encrypt_or_decrypt(name, call, &asked.json());
        }
        match (asked.method.as_str(), name.strip_suffix(":asymmetricSign")) {
            ("POST", Some(name)) => {
                let (name, token) = (name.to_owned(), token.to_owned());
                self.sign(&name, &asked.json(), &token)
            }
            _ => of_status(404),
        }
    }
}

/// The configuration of workload identity federation, with the token in a file.
pub(crate) fn external_account_file(url: &str, subject_file: &str) -> String {
    json!({
        "type": "external_account", "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{url}/v1/token"), "credential_source": { "file": subject_file },
    })
    .to_string()
}

/// RFC 7523 as Google has it: RS256, of the account for the account, not for more than an hour.
fn signed_by(key: &ServiceKey, token: &str) -> bool {
    let Ok(header) = jsonwebtoken::decode_header(token) else { return false };
    let decoding = DecodingKey::from_rsa_pem(key.public_pem().as_bytes()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_required_spec_claims(&["exp", "iss", "sub"]);
    validation.set_issuer(&[EMAIL]);
    validation.sub = Some(EMAIL.to_owned());
    validation.validate_aud = false;
    let Ok(decoded) = jsonwebtoken::decode::<Value>(token, &decoding, &validation) else {
        return false;
    };
    let claims = decoded.claims;
    let seconds = |name: &str| claims[name].as_i64().unwrap_or_default();
    header.kid.as_deref() == Some(KEY_ID)
        && claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        // Google allows an hour, and the ten seconds by which its libraries date back.
        && seconds("exp") - seconds("iat") <= 3620
}

fn denied(permission: &str, name: &str) -> Reply {
    let told =
        format!("Permission '{permission}' denied on resource '{name}' (or it may not exist).");
    error(403, "PERMISSION_DENIED", &told)
}

fn of_status(status: u16) -> Reply {
    let (name, told) = match status {
        401 => ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
        403 => ("PERMISSION_DENIED", "Permission denied."),
        404 => ("NOT_FOUND", "Not found."),
        409 => ("ABORTED", "The operation was aborted."),
        429 => ("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Cryptographic requests'."),
        503 => ("UNAVAILABLE", "The service is currently unavailable."),
        504 => ("DEADLINE_EXCEEDED", "Deadline exceeded."),
        400 => ("FAILED_PRECONDITION", "The key is not enabled, current state is: DESTROYED."),
        _ => ("INTERNAL", "Internal error encountered."),
    };
    error(status, name, told)
}

fn error(code: u16, status: &str, message: &str) -> Reply {
    Reply::Json(code, json!({ "error": { "code": code, "message": message, "status": status } }))
}

const EMAIL: &str = "mayfly@p.iam.gserviceaccount.com";
const KEY_ID: &str = "0123456789abcdef";
const AUDIENCE: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q";
