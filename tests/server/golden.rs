//! A certificate of every identity type, over HTTP, against the text in `tests/golden`.

use std::{fmt::Write as _, fs, path::PathBuf};

use mayfly::identity::IssuerType;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Extension};

use crate::{
    token::{IssuerKey, with},
    world::{World, now},
};

#[tokio::test]
async fn nt_44_every_identity_type_has_its_golden_certificate() {
    let world = World::start_serving(issuer_file, "").await;
    let writing = std::env::var_os("GOLDEN").is_some_and(|value| value == "write");
    for kind in IssuerType::ALL {
        let case = case(kind);
        let token = world.issuer_key.sign(&claims(kind, &case));
        let challenge = case["claims"]["email"].as_str().or(case["claims"]["sub"].as_str());
        let chain = world.request(&token, challenge.unwrap()).await.chain();
        let [leaf, issuing, _] = chain.as_slice() else { panic!("{} certificates", chain.len()) };
        let (_, leaf) = X509Certificate::from_der(leaf.der()).unwrap();
        let (_, issuing) = X509Certificate::from_der(issuing.der()).unwrap();
        leaf.verify_signature(Some(issuing.public_key())).unwrap();

        let found = text_of(&leaf);
        let file = golden(kind, "txt");
        if writing {
            fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap();
        assert!(found == expected, "{kind}: found\n{found}\nexpected\n{expected}");
    }
}

/// One negative test per claim: what the golden certificate says comes from the token alone.
#[tokio::test]
async fn without_any_one_claim_of_its_kind_no_certificate_is_given() {
    let world = World::start_serving(issuer_file, "").await;
    let mut refused = 0;
    for kind in IssuerType::ALL {
        let case = case(kind);
        let whole = claims(kind, &case);
        for claim in case["claims"].as_object().unwrap().keys() {
            if claim == "sub" || OPTIONAL.contains(&(kind, claim.as_str())) {
                continue;
            }
            let token = world.issuer_key.sign(&with(whole.clone(), json!({ claim: null })));
            let answer = world.request(&token, whole["sub"].as_str().unwrap()).await;
            assert_eq!(answer.status, 400, "{kind} without {claim}: {}", answer.body);
            let message = answer.message();
            let expected = "There was an error processing the identity token: the ";
            assert!(message.starts_with(expected), "{kind} without {claim}: {message}");
            assert!(message.contains(claim), "{kind} without {claim}: {message}");
            refused += 1;
        }
    }
    assert_eq!(refused, 2 + 1 + 16 + 13 + 2 + 5 + 8);
    assert_eq!(world.log_size().await, 0, "nothing was signed");
}

/// Claims that a token may lack, or that nobody reads.
const OPTIONAL: [(IssuerType, &str); 7] = [
    (IssuerType::ChainguardIdentity, "act"),
    (IssuerType::ChainguardIdentity, "internal"),
    (IssuerType::GitlabPipeline, "ci_config_sha"),
    (IssuerType::GitlabPipeline, "project_visibility"),
    (IssuerType::CodefreshWorkflow, "runner_environment"),
    (IssuerType::CodefreshWorkflow, "scm_ref"),
    (IssuerType::CodefreshWorkflow, "scm_repo_url"),
];

#[tokio::test]
async fn the_published_configuration_tells_of_every_type() {
    let world = World::start_serving(issuer_file, "").await;
    let answer = world.get("/api/v2/configuration").await.json();
    let issuers = answer["issuers"].as_array().unwrap();
    assert_eq!(issuers.len(), IssuerType::ALL.len());
    for kind in IssuerType::ALL {
        let own = case(kind)["issuer"].clone();
        let text = |key: &str| own[key].as_str().unwrap_or_default().to_owned();
        let challenge = if kind == IssuerType::Email { "email" } else { "sub" };
        let expected = json!({
            "issuerUrl": issuer_url(kind), "audience": "sigstore", "challengeClaim": challenge,
            "spiffeTrustDomain": text("spiffe-trust-domain"), "issuerType": kind.as_str(),
            "subjectDomain": text("subject-domain"), "skipEmailVerification": false,
        });
        assert!(issuers.contains(&expected), "{kind}: {answer}");
    }
}

fn issuer_file(key: &IssuerKey) -> String {
    let mut issuers = serde_json::Map::new();
    let mut metadata = json!({});
    for kind in IssuerType::ALL {
        let case = case(kind);
        let url = issuer_url(kind);
        let all = json!({
            "issuer-url": url, "client-id": "sigstore", "type": kind.as_str(), "jwks": key.jwks(),
        });
        issuers.insert(url, with(all, case["issuer"].clone()));
        if let Some(own) = case.get("ci-issuer-metadata") {
            metadata = with(metadata, own.clone());
        }
    }
    json!({ "oidc-issuers": issuers, "ci-issuer-metadata": metadata }).to_string()
}

fn issuer_url(kind: IssuerType) -> String {
    format!("https://{kind}.issuers.example.com")
}

fn case(kind: IssuerType) -> Value {
    serde_json::from_str(&fs::read_to_string(golden(kind, "json")).unwrap()).unwrap()
}

fn golden(kind: IssuerType, ending: &str) -> PathBuf {
    let file = format!("tests/golden/{kind}.{ending}");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn claims(kind: IssuerType, case: &Value) -> Value {
    let now = now().unix_seconds();
    let common =
        json!({ "iss": issuer_url(kind), "aud": "sigstore", "iat": now, "exp": now + 300 });
    with(common, case["claims"].clone())
}

/// A line for each field and extension, in order. What differs each time shows only its size.
fn text_of(leaf: &X509Certificate<'_>) -> String {
    let mut text = String::new();
    let mut line = |what: String| writeln!(text, "{what}").unwrap();
    line(format!("version {}", leaf.version().0 + 1));
    line(format!("serial number <{} octets>", leaf.raw_serial().len()));
    line(format!("signature algorithm {}", leaf.signature_algorithm.algorithm.to_id_string()));
    line(format!("issuer {}", leaf.issuer()));
    let validity = leaf.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    line(format!("validity <{seconds} seconds>"));
    line(format!("subject {:?}", leaf.subject().to_string()));
    let key = leaf.public_key();
    let bits = key.subject_public_key.data.len();
    line(format!("public key {} <{bits} octets>", key.algorithm.algorithm.to_id_string()));
    for extension in leaf.extensions() {
        let critical = if extension.critical { " critical" } else { "" };
        line(format!("{}{critical} {}", extension.oid.to_id_string(), value_of(extension)));
    }
    text
}

fn value_of(extension: &X509Extension<'_>) -> String {
    let oid = extension.oid.to_id_string();
    if let Some(arc) = oid.strip_prefix("1.3.6.1.4.1.57264.1.") {
        return match arc.parse::<u8>().unwrap() {
            1..=6 => format!("raw {:?}", std::str::from_utf8(extension.value).unwrap()),
            _ => format!("UTF8String {:?}", crate::certificate::utf8(extension.value)),
        };
    }
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => {
            let names: Vec<_> = names.general_names.iter().map(name_of).collect();
            format!("names [{}]", names.join(", "))
        }
        ParsedExtension::SubjectKeyIdentifier(id) => format!("key id <{} octets>", id.0.len()),
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            assert!(id.authority_cert_issuer.is_none() && id.authority_cert_serial.is_none());
            format!("key id <{} octets>", id.key_identifier.as_ref().unwrap().0.len())
        }
        ParsedExtension::SCT(scts) => {
            let sct = |sct: &x509_parser::extensions::SignedCertificateTimestamp<'_>| {
                let (id, extensions) = (sct.id.key_id.len(), sct.extensions.0.len());
                let (hash, signature) = (sct.signature.hash_alg_id, sct.signature.sign_alg_id);
                format!(
                    "version {} log <{id} octets> extensions <{extensions} octets> \
                     hash {hash} signature {signature}",
                    sct.version.0
                )
            };
            format!("SCTs [{}]", scts.iter().map(sct).collect::<Vec<_>>().join(", "))
        }
        _ => hex::encode(extension.value),
    }
}

fn name_of(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::RFC822Name(address) => format!("rfc822Name {address:?}"),
        GeneralName::URI(uri) => format!("URI {uri:?}"),
        GeneralName::OtherName(oid, value) => {
            // [0] EXPLICIT around the value.
            assert_eq!((value[0], usize::from(value[1])), (0xa0, value.len() - 2));
            format!("otherName {oid} UTF8String {:?}", crate::certificate::utf8(&value[2..]))
        }
        other => panic!("{other:?}"),
    }
}
