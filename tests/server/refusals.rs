//! Every refusal: the right status, a message that names the fault in the caller's input, no
//! certificate, no log entry, one audit line.

use serde_json::{Value, json};

use crate::{
    token::{email_claims, key_and_proof, with},
    world::{Answer, CI_ISSUER, DEX_ISSUER, DOWN_ISSUER, World, now, signing_request},
};

const TOKEN_TEXT: &str = "There was an error processing the identity token: ";

/// Sends each request and holds the answer, the log and the audit log against what must be.
struct Refusals<'a> {
    world: &'a World,
    log_size: u64,
}

impl<'a> Refusals<'a> {
    async fn of(world: &'a World) -> Self {
        Self { world, log_size: world.log_size().await }
    }

    async fn expect(&self, what: &str, body: &Value, status: u16, code: u64, texts: &[&str]) {
        let audited = self.world.audit_lines().len();
        let answer = self.world.post(body).await;
        self.check(what, &answer, status, code, texts).await;
        let lines = self.world.audit_lines();
        assert_eq!(lines.len(), audited + 1, "{what}: one audit line");
        let line = lines.last().unwrap();
        assert_eq!(line["event"], "refused", "{what}");
        assert_eq!(line["request"], answer.headers["x-request-id"].to_str().unwrap(), "{what}");
    }

    async fn check(&self, what: &str, answer: &Answer, status: u16, code: u64, texts: &[&str]) {
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json", "{what}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{what} (NT-64)");
        let body = answer.json();
        assert_eq!(body["code"], code, "{what}: {body}");
        assert_eq!(body["details"], json!([]), "{what}");
        for text in texts {
            assert!(answer.message().contains(text), "{what}: '{text}' in: {body}");
        }
        assert!(!answer.body.contains("BEGIN CERTIFICATE"), "{what}");
        assert_eq!(self.world.log_size().await, self.log_size, "{what}: no log entry");
    }

    /// A request that is right but for its claims.
    async fn claims(&self, what: &str, changes: Value, texts: &[&str]) {
        let token = self.world.issuer_key.sign(&with(email_claims(), changes));
        self.token(what, &token, texts).await;
    }

    async fn token(&self, what: &str, token: &str, texts: &[&str]) {
        let body = signing_request(token, "jane@example.com");
        let texts: Vec<&str> = [TOKEN_TEXT].iter().chain(texts).copied().collect();
        self.expect(what, &body, 400, 3, &texts).await;
    }
}

#[tokio::test]
async fn nt_10_nt_11_an_issuer_that_is_not_listed_exactly_is_refused() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    for issuer in [
        "http://169.254.169.254/?https://a.wild.example.com/id/b",
        "https://evil.com/https://accounts.example.com",
        "https://accounts.example.com.evil.com",
        "https://user@accounts.example.com",
        "https://accounts.example.com#",
        "https://accounts.example.com%2f",
        "https://accounts.example.com/..",
        "https://accounts.example.com\n",
        "https://accounts.example.com/",
        "https://accounts.example.com.",
        "https://ACCOUNTS.example.com",
        "https://accounts.example.com:443",
        "https://[::1%25eth0]/",
        "https://xn--accounts-.example.com",
        "https://*.wild.example.com/id/*",
        "https://a.b.wild.example.com/id/c",
        "https://a.wild.example.com/id/b/c",
        "https://a.wild.example.com/id/",
        "https://a.wild.example.com/id/..",
        "",
    ] {
        refusals.claims(issuer, json!({ "iss": issuer }), &["iss"]).await;
    }
}

#[tokio::test]
async fn nt_18_an_issuer_that_cannot_be_asked_is_503_and_not_the_callers_fault() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let claims = with(email_claims(), json!({ "iss": DOWN_ISSUER }));
    let body = signing_request(&world.issuer_key.sign(&claims), "jane@example.com");
    refusals.expect("issuer down", &body, 503, 14, &[TOKEN_TEXT]).await;
}

#[tokio::test]
async fn nt_20_nt_22_a_token_of_another_algorithm_or_form_is_refused() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let payload = email_claims().to_string();
    for (what, header) in [
        ("alg none", json!({ "alg": "none" })),
        ("alg HS256", json!({ "alg": "HS256", "kid": "k1" })),
        ("alg RS256 on an EC key", json!({ "alg": "RS256", "kid": "k1" })),
        ("alg ES384 on a P-256 key", json!({ "alg": "ES384", "kid": "k1" })),
        ("no alg", json!({ "kid": "k1" })),
        ("alg of another case", json!({ "alg": "es256", "kid": "k1" })),
        ("unknown kid", json!({ "alg": "ES256", "kid": "k2" })),
        ("crit", json!({ "alg": "ES256", "kid": "k1", "crit": ["b64"] })),
        ("b64 false", json!({ "alg": "ES256", "kid": "k1", "b64": false })),
        ("zip", json!({ "alg": "ES256", "kid": "k1", "zip": "DEF" })),
    ] {
        let token = world.issuer_key.sign_raw(&header.to_string(), &payload);
        refusals.token(what, &token, &[]).await;
    }
    let token = world.issuer_key.sign(&email_claims());
    let parts: Vec<&str> = token.split('.').collect();
    for (what, token) in [
        ("five parts", format!("{token}.x.y")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("another payload", format!("{}.e30.{}", parts[0], parts[2])),
        ("JSON serialisation", json!({ "payload": parts[1], "signatures": [] }).to_string()),
        ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        ("only dots", ".".repeat(20_000)),
    ] {
        refusals.token(what, &token, &[]).await;
    }
}

#[tokio::test]
async fn nt_21_nt_23_nt_24_wrong_audience_times_and_types_are_refused_by_name() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let now = now().unix_seconds();
    for audience in [json!(null), json!("Sigstore"), json!("sigstore-evil"), json!(7), json!([])] {
        refusals.claims("audience", json!({ "aud": audience }), &["aud"]).await;
    }
    for exp in [json!(null), json!("never"), json!(now - 3600), json!(-1), json!(1e308)] {
        refusals.claims("expiry", json!({ "exp": exp }), &["exp"]).await;
    }
    for nbf in [json!("99999999999"), json!({})] {
        refusals.claims("not before", json!({ "nbf": nbf }), &["nbf"]).await;
    }
    refusals.claims("not yet", json!({ "nbf": now + 3600 }), &["not valid before"]).await;
    for iat in [json!("1"), json!(now + 3600), json!(now - 700)] {
        refusals.claims("issued at (max-token-age is 600)", json!({ "iat": iat }), &[]).await;
    }
    for sub in [json!(null), json!(""), json!(7)] {
        refusals.claims("subject", json!({ "sub": sub }), &["sub"]).await;
    }
}

#[tokio::test]
async fn nt_23_nt_25_duplicate_members_and_odd_numbers_are_refused() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let header = r#"{"alg":"ES256","kid":"k1"}"#;
    let claims = email_claims().to_string();
    let doubled = claims.replacen('{', r#"{"iss":"https://evil.example.com","#, 1);
    let nan = claims.replacen('{', r#"{"nbf":NaN,"#, 1);
    let deep =
        claims.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(1000), "]".repeat(1000)), 1);
    for (what, payload) in [
        ("iss twice", doubled.as_str()),
        ("NaN", &nan),
        ("nested 1000 deep", &deep),
        ("an array", "[]"),
        ("no JSON", "hello"),
        ("trailing text", &format!("{claims} x")),
    ] {
        refusals.token(what, &world.issuer_key.sign_raw(header, payload), &[]).await;
    }
}

#[tokio::test]
async fn nt_24_a_token_is_taken_once_where_the_replay_guard_is_on() {
    let world = World::start().await;
    let claims = with(email_claims(), json!({ "iss": "https://once.example.com" }));
    let token = world.issuer_key.sign(&claims);
    world.request(&token, "jane@example.com").await.chain();
    let refusals = Refusals::of(&world).await;
    refusals.token("second use", &token, &[]).await;
}

#[tokio::test]
async fn nt_31_nt_32_an_email_must_be_there_and_verified() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    for verified in [json!(null), json!(false), json!("false"), json!(0), json!("TRUE")] {
        refusals
            .claims("email_verified", json!({ "email_verified": verified }), &["email_verified"])
            .await;
    }
    let texts = ["email"];
    for email in [json!(null), json!(""), json!("jane"), json!("a@b\n.com"), json!(["a@b.com"])] {
        refusals.claims("email", json!({ "email": email }), &texts).await;
    }
    let no_connector = json!({ "iss": DEX_ISSUER });
    refusals.claims("issuer-claim", no_connector, &["federated_claims"]).await;
}

#[tokio::test]
async fn nt_35_a_template_never_renders_a_missing_or_dangerous_claim() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let ci = json!({
        "iss": CI_ISSUER, "email": null, "email_verified": null, "sub": "job-1",
        "workflow": "o/r/w.yml@refs/heads/main", "repository_id": 9_007_199_254_740_991u64,
        "run_id": "17",
    });
    let ci = with(email_claims(), ci);
    for (what, changes) in [
        ("a claim of the SAN is missing", json!({ "workflow": null })),
        ("a claim of an extension is missing", json!({ "run_id": null })),
        ("an object", json!({ "repository_id": { "a": 1 } })),
        ("the authority is moved", json!({ "url": "https://evil.example.com@ci.example.com" })),
        ("white space in the SAN", json!({ "workflow": "a b" })),
        ("a line end in the SAN", json!({ "workflow": "a\nb" })),
    ] {
        let token = world.issuer_key.sign(&with(ci.clone(), changes));
        let body = signing_request(&token, "job-1");
        refusals.expect(what, &body, 400, 3, &[TOKEN_TEXT]).await;
    }
    let token = world.issuer_key.sign(&ci);
    assert_eq!(world.request(&token, "job-1").await.chain().len(), 3);
}

#[tokio::test]
async fn a_key_or_proof_that_is_wrong_is_refused_in_the_references_words() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let token = world.issuer_key.sign(&email_claims());
    let (key, proof) = key_and_proof("jane@example.com");
    let (_, foreign_proof) = key_and_proof("jane@example.com");
    let (other_key, other_proof) = key_and_proof("john@example.com");
    let request = |key: &str, proof: &str| {
        json!({
            "credentials": { "oidcIdentityToken": token },
            "publicKeyRequest": {
                "publicKey": { "content": key }, "proofOfPossession": proof,
            },
        })
    };
    let parsed = "The public key supplied in the request could not be parsed";
    let verified = "The signature supplied in the request could not be verified";
    for (what, body, text) in [
        ("no key", json!({ "credentials": { "oidcIdentityToken": token } }), parsed),
        ("empty key", request("", &proof), parsed),
        ("no PEM", request("hello", &proof), parsed),
        ("another key's proof", request(&key, &foreign_proof), verified),
        ("proof over another subject", request(&other_key, &other_proof), verified),
        ("empty proof", request(&key, ""), verified),
        (
            "CSR",
            json!({
                "credentials": { "oidcIdentityToken": token },
                "certificateSigningRequest": "aGVsbG8=",
            }),
            "The certificate signing request could not be parsed",
        ),
    ] {
        refusals.expect(what, &body, 400, 3, &[text]).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_the_apis_is_refused() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    refusals.expect("array", &json!([]), 400, 3, &["body"]).await;
    refusals.expect("no token", &json!({}), 400, 3, &[TOKEN_TEXT, "token"]).await;
    let token = world.issuer_key.sign(&email_claims());
    let mut not_base64 = signing_request(&token, "jane@example.com");
    not_base64["publicKeyRequest"]["proofOfPossession"] = json!("***");
    refusals.expect("no base64", &not_base64, 400, 3, &["base64"]).await;
    let large = json!({ "x": "y".repeat(300 * 1024) });
    refusals.expect("300 KiB", &large, 413, 8, &["262144"]).await;
    let token_4mib = ".".repeat(40_000);
    refusals.token("40,000 dots (NT-01)", &token_4mib, &[]).await;
}

#[tokio::test]
async fn nt_04_a_compressed_body_is_refused() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let request = world.client.post(world.url("/api/v2/signingCert"));
    let request = request.header("content-encoding", "gzip").body("x");
    let answer = crate::world::answer(request).await;
    refusals.check("gzip", &answer, 415, 3, &["gzip"]).await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_as_the_reference_does() {
    let world = World::start().await;
    let refusals = Refusals::of(&world).await;
    let unknown = world.get("/api/v9/x").await;
    refusals.check("path", &unknown, 404, 5, &["Not Found"]).await;
    let method = world.get("/api/v2/signingCert").await;
    refusals.check("method", &method, 501, 12, &["Method Not Allowed"]).await;
    for path in ["tile/../../issuing.pem", "tile/0/999999", "issuer/zz", "nothing"] {
        let answer = world.get(&format!("/log/{path}")).await;
        assert!(matches!(answer.status, 400 | 404), "{path} (NT-62): {}", answer.status);
    }
}

#[tokio::test]
async fn requests_beyond_the_bound_are_told_to_come_again() {
    let world = World::start_with("limits:\n  requests-in-flight: 1\n").await;
    let token = world.issuer_key.sign(&email_claims());
    // Requests of a real load, all at once; with one place at least one finds it taken, and at
    // least one finds it free.
    let bodies: Vec<Value> = (0..64).map(|_| signing_request(&token, "jane@example.com")).collect();
    let answers = futures_util::future::join_all(bodies.iter().map(|body| world.post(body))).await;
    let overloaded: Vec<&Answer> = answers.iter().filter(|each| each.status == 429).collect();
    assert!(answers.iter().any(|each| each.status == 200));
    assert!(!overloaded.is_empty());
    assert!(overloaded.iter().all(|each| each.headers["retry-after"] == "1"));
    assert!(answers.iter().all(|each| matches!(each.status, 200 | 429)));
}
