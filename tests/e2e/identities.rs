//! A certificate of every identity type before foreign judges. The identities are those of
//! `tests/golden`, where the text of each whole certificate is.
use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    certificates::{openssl_verify, pkilint_findings},
    support::{
        clients::{PlainClient, certificates, facts, openssl, python},
        mayfly::{CaKey, Mayfly},
        peers::CiOidc,
    },
};

#[test]
fn strict_judges_accept_a_certificate_of_every_identity_type() {
    let oidc = CiOidc::start();
    for (kind, name_kind, name) in NAMES {
        let case = case(kind, oidc.url());
        let mayfly = Mayfly::start(CaKey::P256, &issuer_file(kind, &case, oidc.url()));
        let mut claims = case["claims"].clone();
        claims["aud"] = json!("sigstore");
        let challenge = claims["email"].as_str().or(claims["sub"].as_str()).unwrap().to_owned();
        let answer = mayfly.ask(&PlainClient::new().request(&oidc.token(&claims), &challenge));
        let leaf = mayfly.path("leaf.pem");
        fs::write(&leaf, &certificates(&answer)[0]).unwrap();

        openssl(&openssl_verify(&mayfly, &leaf)).success();
        // This linter knows the schemes of browsers only, and takes any other for a mistake.
        let known = if kind == "spiffe" { &["pkix.invalid_uri_syntax"][..] } else { &[] };
        assert_eq!(pkilint_findings(&mayfly, &leaf), known, "{kind}");
        assert!(
            python("sct_verify", &[&leaf, &mayfly.trusted_root()]).success().starts_with("SCT ok")
        );
        let name = name.replace("ISSUER", oidc.url());
        assert_eq!(facts(&leaf)["names"], json!([[name_kind, name]]), "{kind}");
        let text = openssl_text(&leaf);
        let shown = if name_kind == "OtherName" {
            "othername: 1.3.6.1.4.1.57264.1.7::jane.doe!127.0.0.1"
        } else {
            &name
        };
        assert!(text.contains(shown), "{kind}: {text}");
    }
}

fn openssl_text(leaf: &Path) -> String {
    let leaf = leaf.to_str().unwrap();
    openssl(&["x509", "-in", leaf, "-noout", "-ext", "subjectAltName"]).success()
}

/// Every type, and the one name of its certificate as python cryptography reads it.
const NAMES: [(&str, &str, &str); 11] = [
    ("email", "RFC822Name", "jane.doe@example.com"),
    ("uri", "UniformResourceIdentifier", "ISSUER/sensors/7?unit=k"),
    ("username", "OtherName", "1.3.6.1.4.1.57264.1.7 jane.doe!127.0.0.1"),
    ("spiffe", "UniformResourceIdentifier", "spiffe://prod.example.com/ns/web/sa/server"),
    (
        "kubernetes",
        "UniformResourceIdentifier",
        "https://kubernetes.io/namespaces/team-1/serviceaccounts/builder",
    ),
    (
        "chainguard-identity",
        "UniformResourceIdentifier",
        "ISSUER/0475f6baca584a8964a6bce6b74dbe78dd8805b6/b74ce966caf448d1",
    ),
    (
        "github-workflow",
        "UniformResourceIdentifier",
        "https://github.com/octo-org/automation/.github/workflows/sign.yml@refs/tags/v1",
    ),
    (
        "gitlab-pipeline",
        "UniformResourceIdentifier",
        "https://gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/tags/v1.0.0",
    ),
    ("buildkite-job", "UniformResourceIdentifier", "https://buildkite.com/acme-inc/super-app"),
    (
        "codefresh-workflow",
        "UniformResourceIdentifier",
        "https://g.codefresh.io/acme/web/release:628a80b693a15c0f9c13ab75/65e5a53e52853dc51a5b0cc1",
    ),
    (
        "ci-provider",
        "UniformResourceIdentifier",
        "https://forge.example.com/o/r/.forge/%C3%BCml%C3%A4ut.yml@refs/heads/main",
    ),
];

/// The golden identity; what must lie under the issuer's host is moved there.
fn case(kind: &str, issuer: &str) -> Value {
    let file = format!("{}/tests/golden/{kind}.json", env!("CARGO_MANIFEST_DIR"));
    let mut case: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    match kind {
        "uri" => {
            case["issuer"]["subject-domain"] = json!(issuer);
            case["claims"]["sub"] = json!(format!("{issuer}/sensors/7?unit=k"));
        }
        "username" => case["issuer"]["subject-domain"] = json!("127.0.0.1"),
        _ => {}
    }
    case
}

fn issuer_file(kind: &str, case: &Value, url: &str) -> String {
    let mut issuer = case["issuer"].clone();
    issuer["issuer-url"] = json!(url);
    issuer["client-id"] = json!("sigstore");
    issuer["type"] = json!(kind);
    let mut file = json!({ "oidc-issuers": { url: issuer } });
    if let Some(metadata) = case.get("ci-issuer-metadata") {
        file["ci-issuer-metadata"] = metadata.clone();
    }
    file.to_string()
}
