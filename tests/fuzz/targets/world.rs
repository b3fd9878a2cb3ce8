//! Issuers, tokens and a service that are the same in every run, so that an input means the same
//! to everybody: the time stands still, and the keys are throw-away keys that everyone has.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mayfly::{
    config::IssuerFile,
    identity::Profiles,
    oidc::{IssuerTable, TokenError, VerifiedToken},
    time::{Clock, Timestamp},
};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

/// 2026-11-21T06:00:00Z, for ever.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_240_800);

/// The golden case of each type of issuer; `https://TYPE.issuers.example.com` is its issuer.
pub(crate) const CASES: [(&str, &str); 11] = [
    ("buildkite-job", include_str!("../../golden/buildkite-job.json")),
    ("chainguard-identity", include_str!("../../golden/chainguard-identity.json")),
    ("ci-provider", include_str!("../../golden/ci-provider.json")),
    ("codefresh-workflow", include_str!("../../golden/codefresh-workflow.json")),
    ("email", include_str!("../../golden/email.json")),
    ("github-workflow", include_str!("../../golden/github-workflow.json")),
    ("gitlab-pipeline", include_str!("../../golden/gitlab-pipeline.json")),
    ("kubernetes", include_str!("../../golden/kubernetes.json")),
    ("spiffe", include_str!("../../golden/spiffe.json")),
    ("uri", include_str!("../../golden/uri.json")),
    ("username", include_str!("../../golden/username.json")),
];

/// What the issuers of the golden cases are trusted with.
pub(crate) struct Issuers {
    pub(crate) table: Arc<IssuerTable>,
    pub(crate) profiles: Profiles,
    runtime: Runtime,
}

impl Issuers {
    /// As the issuer file `text` has them.
    pub(crate) fn of(text: &str) -> Self {
        let file = IssuerFile::parse(text, "issuers.json".as_ref()).expect("a good issuer file");
        let (settings, profiles) = file.for_serving().expect("issuers that can be served");
        let table = IssuerTable::new(settings, Arc::new(StandingClock)).expect("a good table");
        Self { table: Arc::new(table), profiles, runtime: runtime() }
    }

    /// Those of the golden cases.
    pub(crate) fn golden() -> &'static Self {
        static ISSUERS: OnceLock<Issuers> = OnceLock::new();
        ISSUERS.get_or_init(|| Self::of(&issuer_file()))
    }

    pub(crate) fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        self.runtime.block_on(self.table.verify(token, NOW))
    }
}

/// The issuer file of the golden cases, with the key of [`sign`] as everybody's.
pub(crate) fn issuer_file() -> String {
    let mut issuers = Map::new();
    let mut metadata = Map::new();
    for (kind, case) in CASES {
        let case: Value = serde_json::from_str(case).expect("a golden case is JSON");
        let url = format!("https://{kind}.issuers.example.com");
        let mut entry = json!({
            "issuer-url": url, "client-id": "sigstore", "type": kind,
            "jwks": json!({ "keys": [public_jwk()] }).to_string(),
        });
        merge(&mut entry, &case["issuer"]);
        issuers.insert(url, entry);
        if let Some(Value::Object(own)) = case.get("ci-issuer-metadata") {
            metadata.extend(own.clone());
        }
    }
    json!({ "oidc-issuers": issuers, "ci-issuer-metadata": metadata }).to_string()
}

/// The payload of a golden case's token, good at [`NOW`].
pub(crate) fn payload(kind: &str) -> Value {
    let (_, case) = CASES.iter().find(|(known, _)| *known == kind).expect("a golden case");
    let case: Value = serde_json::from_str(case).expect("a golden case is JSON");
    let now = NOW.unix_seconds();
    let iss = format!("https://{kind}.issuers.example.com");
    let mut payload = json!({ "iss": iss, "aud": "sigstore", "iat": now, "exp": now + 300 });
    merge(&mut payload, &case["claims"]);
    payload
}

/// A token whose payload is `payload`, whatever that is.
pub(crate) fn sign(payload: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"fuzz"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = issuer_key().sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// One that is good at [`NOW`], for `jane.doe@example.com`.
pub(crate) fn good_token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| sign(payload("email").to_string().as_bytes()))
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Does not move.
#[derive(Debug)]
pub(crate) struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

fn public_jwk() -> Value {
    let x = URL_SAFE_NO_PAD.encode(issuer_key().public_key());
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": "fuzz", "x": x })
}

/// Ed25519, because it signs the same bytes in the same way each time.
fn issuer_key() -> &'static Ed25519KeyPair {
    static KEY: OnceLock<Ed25519KeyPair> = OnceLock::new();
    KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is one"))
}

fn merge(into: &mut Value, from: &Value) {
    let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) else {
        panic!("two objects");
    };
    into.extend(from.clone());
}
