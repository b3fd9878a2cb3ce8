//! Every sample under `config/`, and Fulcio's public-good file where it is at hand, loads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mayfly::{
    config::{self, IssuerFile, LoadOptions, LogChoice},
    identity::{IssuerType, Profile, PublishedName},
    policy,
};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_documented_sample_says_what_its_defaults_are() {
    // Its keys are the operator's; the development chain stands in for theirs.
    let directory = tempfile::tempdir().expect("a directory");
    for (from, to) in [
        ("config/mayfly.yaml", "mayfly.yaml"),
        ("config/issuers.yaml", "issuers.yaml"),
        ("keys-dev/chain.pem", "keys/chain.pem"),
    ] {
        let to = directory.path().join(to);
        fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        fs::copy(in_repository(from), to).expect(from);
    }
    let path = directory.path().join("mayfly.yaml");
    let config = config::load(&path, LoadOptions { dev: true }).expect("the sample loads");
    assert_eq!(config.limits, config::Limits::default());
    assert_eq!(config.client_algorithms, policy::ClientAlgorithms::default());
    assert_eq!(config.private.map(|address| address.port()), Some(9464));
    assert!(config.authorities[0].passphrase.is_some());
    assert!(config.authorities[0].activate < config.authorities[0].retire);
    let LogChoice::Embedded { origin, .. } = config.log else { panic!("a log") };
    assert_eq!(origin, "log.example.com/2026");
    assert!(config::load(&path, LoadOptions { dev: false }).is_err(), "a development chain");
}

#[test]
fn the_development_sample_loads_with_dev_only() {
    let path = in_repository("config/dev.yaml");
    config::load(&path, LoadOptions { dev: true }).expect("with --dev");
    let refused = config::load(&path, LoadOptions { dev: false }).expect_err("without --dev");
    assert!(refused.to_string().contains("a development key"), "{refused}");
}

#[test]
fn the_yaml_issuer_sample_has_every_construct_and_can_be_served() {
    let path = in_repository("config/issuers.yaml");
    let text = fs::read_to_string(&path).expect("the sample");
    for construct in
        ["&github", "  *github:", "define:", "{{if eq ", "(index . ", "issuer-claim", "/*:"]
    {
        assert!(text.contains(construct), "{construct}");
    }
    let file = IssuerFile::load(&path).expect("the sample reads");
    assert_eq!(file.issuers.len(), 21);
    for kind in IssuerType::ALL {
        let has = file.issuers.iter().any(|issuer| issuer.published.issuer_type == kind);
        assert!(has, "the sample has no issuer of type {kind}");
    }
    let (settings, profiles) = file.for_serving().expect("every type of it is built");
    assert_eq!(settings.len(), profiles.published().len());
}

#[test]
fn the_json_spelling_means_the_same_as_the_yaml_spelling() {
    let file = IssuerFile::load(&in_repository("config/issuers.json")).expect("the sample reads");
    let broker = &file.issuers[1];
    assert_eq!(broker.settings.name, "https://login.example.com/auth");
    assert_eq!(broker.settings.client_id, "sigstore");
    let Profile::Email(email) = &broker.profile else { panic!("{broker:?}") };
    assert!(email.skip_email_verification);
    assert_eq!(email.issuer_claim, "$.federated_claims.connector_id".parse().ok());
    let wildcard = PublishedName::Wildcard("https://agents.example.com/*".to_owned());
    assert_eq!(file.issuers[3].published.name, wildcard);
    file.for_serving().expect("every type of it is built");
}

#[test]
fn the_public_good_file_can_be_served_unchanged() {
    let path = in_repository("../shared/data/fulcio-identity-config.yaml");
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return;
    }
    let file = IssuerFile::load(&path).expect("the public-good file reads");
    let (settings, profiles) = file.for_serving().expect("every type of it is built");
    assert_eq!(settings.len(), 31);
    let of_type = |kind| {
        profiles.published().iter().filter(|published| published.issuer_type == kind).count()
    };
    let counts = [
        (IssuerType::Email, 7),
        (IssuerType::CiProvider, 16),
        (IssuerType::Kubernetes, 7),
        (IssuerType::ChainguardIdentity, 1),
    ];
    assert_eq!(counts.map(|(kind, _)| (kind, of_type(kind))), counts);
}

/// Two readers, one meaning: ours keeps lines and refuses duplicates, but must not read anything
/// else than a reader that others wrote.
#[test]
fn another_yaml_reader_finds_the_same_issuers() {
    let public_good = in_repository("../shared/data/fulcio-identity-config.yaml");
    let samples = [in_repository("config/issuers.yaml"), public_good];
    for path in samples.iter().filter(|path| path.exists()) {
        let text = fs::read_to_string(path).expect("a sample");
        let theirs: serde_norway::Value = serde_norway::from_str(&text).expect("YAML");
        let ours = IssuerFile::load(path).expect("an issuer file");
        let tables =
            ["oidc-issuers", "meta-issuers"].map(|table| theirs[table].as_mapping().expect(table));
        let entries: Vec<_> = tables.into_iter().flatten().collect();
        assert_eq!(entries.len(), ours.issuers.len());
        for ((name, entry), issuer) in entries.into_iter().zip(&ours.issuers) {
            assert_eq!(name.as_str(), Some(issuer.settings.name.as_str()));
            assert_eq!(entry["client-id"].as_str(), Some(issuer.settings.client_id.as_str()));
            assert_eq!(entry["type"].as_str(), Some(issuer.published.issuer_type.as_str()));
        }
    }
}
