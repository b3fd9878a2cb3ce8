//! Precertificates signed by a key that the CA certified for them: for the log, and nobody else.

use mayfly::{
    keys::SignatureAlgorithm,
    x509::{Certificate, Leaf},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    load::entries,
    token::email_claims,
    world::{World, load, write_authority},
};

fn signed_elsewhere(yaml: String) -> String {
    let chain = "    chain: issuing-chain.pem\n";
    assert!(yaml.contains(chain), "{yaml}");
    yaml.replace(chain, &format!("{chain}    precertificate-signer: true\n"))
}

async fn issue(world: &World) -> Vec<Certificate> {
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain()
}

/// The certificate that the CA key signed for the precertificate of the last entry, and that the
/// audit log announced.
async fn announced(world: &World, nth: usize) -> Certificate {
    let lines = world.audit_lines();
    let mut events = lines.iter().filter(|line| line["event"] == "precertificate_signer");
    let event = events.nth(nth).expect("it is announced before it is signed");
    // static-ct-api: an entry ends with the fingerprints of its chain, here of three.
    let tile = entries(world).await;
    let fingerprint = hex::encode(&tile[tile.len() - 96..tile.len() - 64]);
    let served = world.client.get(world.url(&format!("/log/issuer/{fingerprint}"))).send();
    let served = served.await.unwrap();
    assert_eq!(served.status(), 200, "readers of the log have to get it");
    let certificate = Certificate::parse_der(&served.bytes().await.unwrap()).unwrap();
    assert_eq!(event["serial"], hex::encode(certificate.serial()));
    let key = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.spki_der());
    assert_eq!(event["key_sha256"], hex::encode(key));
    certificate
}

#[tokio::test]
async fn the_ca_key_signs_each_certificate_once_and_the_log_has_what_it_needs() {
    let world = World::start_as(signed_elsewhere).await;
    let chain = issue(&world).await;
    assert_eq!(chain.len(), 3, "leaf, issuing CA, root: never what signs precertificates");
    assert!(chain[0].is_signed_by(&chain[1]) && chain[1].is_signed_by(&chain[2]));

    let signing = announced(&world, 0).await;
    assert!(signing.is_signed_by(&chain[1]));
    assert!(!signing.allows_code_signing());
    let bundle = world.get("/api/v2/trustBundle").await.body;
    assert!(bundle.contains(&chain[1].pem().trim_end().replace('\n', "\\n")));
    assert!(!bundle.contains(&signing.pem().trim_end().replace('\n', "\\n")));

    // static-ct-api: an entry ends with the precertificate and the fingerprints of its chain.
    let tile = entries(&world).await;
    let fingerprints = [signing.fingerprint(), chain[1].fingerprint(), chain[2].fingerprint()];
    assert!(tile.ends_with(&fingerprints.concat()));
    let of_leaf = Leaf::parse_certificate(chain[0].der()).unwrap();
    let logged = of_leaf.logged_tbs().unwrap();
    assert!(tile.windows(logged.len()).any(|window| window == logged), "the SCT is for this");
    let (_, read) = X509Certificate::from_der(signing.der()).unwrap();
    let name = read.subject().as_raw();
    assert!(tile.windows(name.len()).any(|window| window == name), "the precertificate's issuer");
    assert!(!of_leaf.tbs.windows(name.len()).any(|window| window == name));
}

#[tokio::test]
async fn each_reload_has_a_key_of_its_own_and_the_old_ones_stay_readable() {
    let world = World::start_as(signed_elsewhere).await;
    issue(&world).await;
    let first = announced(&world, 0).await;
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let chain = issue(&world).await;
    let second = announced(&world, 1).await;
    assert_ne!(first.spki_der(), second.spki_der());
    assert_ne!(first.subject_der(), second.subject_der());
    assert!(first.is_signed_by(&chain[1]) && second.is_signed_by(&chain[1]));
}

/// What is refused is refused before the CA key certifies anything for it.
#[tokio::test]
async fn a_refused_reload_certifies_nothing() {
    let world = World::start_as(signed_elsewhere).await;
    let signed = || {
        let lines = world.audit_lines();
        lines.iter().filter(|line| line["event"] == "precertificate_signer").count()
    };
    assert_eq!(signed(), 1);
    // A second authority that is activated at the same time: found out only once both are open.
    write_authority(world.folder.path(), "next", SignatureAlgorithm::EcdsaP256Sha256).await;
    let next =
        "  - key: file:next.pem\n    chain: next-chain.pem\n    precertificate-signer: true\nlog:";
    let yaml = std::fs::read_to_string(world.path("mayfly.yaml")).unwrap();
    std::fs::write(world.path("mayfly.yaml"), yaml.replacen("log:", next, 1)).unwrap();
    let config = load(world.folder.path()).unwrap();
    let refused = world.running.reload(config).await.is_err();
    assert!(refused);
    assert_eq!(signed(), 1);
}

#[tokio::test]
async fn without_the_option_the_ca_key_signs_precertificates_itself() {
    let world = World::start().await;
    issue(&world).await;
    assert!(world.audit_lines().iter().all(|line| line["event"] != "precertificate_signer"));
    let issuer = world.running.service().generation().ca.authorities()[0].issuer.clone();
    assert!(issuer.precertificate_signing_certificate().is_none());
}
