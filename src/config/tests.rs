use std::fs;

use tempfile::TempDir;

use super::{fields::pascal_case, *};
use crate::{
    identity::{IssuerType, Profile},
    oidc::KeyOrigin,
};

const ISSUERS: &str = "\
oidc-issuers:
  https://accounts.example.com:
    issuer-url: https://accounts.example.com
    client-id: sigstore
    type: email
";

const SERVER: &str = "\
listen: 127.0.0.1:5555
url: https://ca.example.com
issuers: issuers.yaml
authorities:
  - key: file:keys/issuing.pem
    chain: chain.pem
log: none
audit: data/audit.jsonl
";

/// A directory with a chain, an issuer file and the given `mayfly.yaml`.
fn directory(server: &str, issuers: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let chain = concat!(env!("CARGO_MANIFEST_DIR"), "/keys-dev/chain.pem");
    fs::copy(chain, directory.path().join("chain.pem")).unwrap();
    fs::write(directory.path().join("issuers.yaml"), issuers).unwrap();
    fs::write(directory.path().join("mayfly.yaml"), server).unwrap();
    directory
}

fn load_in(directory: &TempDir, dev: bool) -> Result<Config, ConfigErrors> {
    load(&directory.path().join("mayfly.yaml"), LoadOptions { dev })
}

/// The mistakes as the operator sees them, without the directory.
fn mistakes(server: &str, issuers: &str) -> Vec<String> {
    let directory = directory(server, issuers);
    let prefix = format!("{}/", directory.path().display());
    match load_in(&directory, true) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors.to_string().lines().map(|line| line.replace(&prefix, "")).collect(),
    }
}

fn assert_server_mistake(from: &str, to: &str, expected: &str) {
    assert!(SERVER.contains(from), "{from}");
    let found = mistakes(&SERVER.replace(from, to), ISSUERS);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(expected), "{found:#?} should say {expected}");
}

fn issuer_mistakes(issuers: &str) -> Vec<String> {
    match IssuerFile::parse(issuers, Path::new("i.yaml")).and_then(IssuerFile::for_serving) {
        Ok(_) => panic!("accepted: {issuers}"),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn assert_issuer_mistake(issuers: &str, expected: &str) {
    let found = issuer_mistakes(issuers);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("i.yaml:"), "{found:#?}");
    assert!(found[0].contains(expected), "{found:#?} should say {expected}");
}

/// The issuer of [`ISSUERS`] with more lines, each at the depth of its fields.
fn with_lines(lines: &str) -> String {
    lines.lines().fold(ISSUERS.to_owned(), |text, line| format!("{text}    {line}\n"))
}

#[test]
fn a_small_configuration_loads_with_defaults_and_paths_beside_the_file() {
    let directory = directory(SERVER, ISSUERS);
    let config = load_in(&directory, true).unwrap();
    assert_eq!(config.listen, "127.0.0.1:5555".parse().unwrap());
    assert_eq!(config.private, Some("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(config.audit, directory.path().join("data/audit.jsonl"));
    assert_eq!(config.limits, Limits::default());
    assert!(matches!(config.log, LogChoice::None));
    let [authority] = &config.authorities[..] else { panic!("one authority") };
    assert_eq!(authority.key, KeyUri::File(directory.path().join("keys/issuing.pem")));
    assert!(!authority.chain.is_empty());
    let [issuer] = &config.issuers[..] else { panic!("one issuer") };
    assert_eq!(issuer.name, "https://accounts.example.com");
    assert!(matches!(issuer.keys, KeyOrigin::Discovery { ca_cert_pem: None }));
    assert_eq!(config.profiles.published()[0].challenge_claim, "email");
}

#[test]
fn client_signing_algorithms_are_fulcios_unless_listed() {
    let permitted = |server: &str| {
        let directory = directory(server, ISSUERS);
        load_in(&directory, true).unwrap().client_algorithms.to_string()
    };
    assert!(permitted(SERVER).ends_with("ecdsa-sha2-512-nistp521, ed25519"));
    let listed = format!("{SERVER}client-signing-algorithms: [ed25519, ecdsa-sha2-256-nistp384]\n");
    assert_eq!(permitted(&listed), "ed25519, ecdsa-sha2-256-nistp384");
}

#[test]
fn nt_65_a_wrong_list_of_client_signing_algorithms_is_refused_line_by_line() {
    let list = "client-signing-algorithms:\n  - ed25519\n  - ecdsa_sha2_256_nistp256\n  - ed25519\n  \
                - ed25519-ph\n  - dsa\n  - {}\n";
    assert_eq!(
        mistakes(&format!("{SERVER}{list}"), ISSUERS),
        [
            "mayfly.yaml:11:5: 'client-signing-algorithms' is 'ecdsa_sha2_256_nistp256', which is \
             not an algorithm of Sigstore's registry - did you mean 'ecdsa-sha2-256-nistp256'?",
            "mayfly.yaml:12:5: 'client-signing-algorithms' lists 'ed25519' a second time, first in \
             line 10",
            "mayfly.yaml:13:5: 'ed25519-ph' cannot be permitted: never certified: Ed25519 keys \
             prove themselves without a hash; the name for that is ed25519",
            "mayfly.yaml:14:5: 'client-signing-algorithms' is 'dsa', which is not an algorithm of \
             Sigstore's registry",
            "mayfly.yaml:15:5: 'client-signing-algorithms' must be text",
        ]
    );
    for (value, expected) in [
        ("[]", "must be a list of at least one algorithm"),
        ("ed25519", "must be a list"),
        ("", "must be given a value"),
        ("[rsa-sign-pss-2048-sha256]", "its names are rsa-sign-pkcs1-"),
        ("['']", "must be text that is not empty"),
    ] {
        let found = mistakes(&format!("{SERVER}client-signing-algorithms: {value}\n"), ISSUERS);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains(expected), "{found:#?} should say {expected}");
    }
}

#[test]
fn without_a_log_there_are_no_precertificates_to_sign() {
    let chain = "    chain: chain.pem\n";
    let option = |value: &str| {
        SERVER.replace(chain, &format!("{chain}    precertificate-signer: {value}\n"))
    };
    let expected =
        ["mayfly.yaml:5:10: 'precertificate-signer' and 'log: none' contradict each other"];
    assert_eq!(mistakes(&option("true"), ISSUERS), expected);
    let wants = |server: &str| {
        load_in(&directory(server, ISSUERS), true).unwrap().authorities[0].precertificate_signer
    };
    assert!(!wants(&option("false")));
    let found = mistakes(&option("yes"), ISSUERS);
    let expected = "'precertificate-signer' must be true or false, without quotes";
    assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    let log = "log: {data: log, origin: log.example.com/a, key: file:log.pem}";
    let logged = option("true").replace("log: none", log);
    assert!(wants(&logged));
}

#[test]
fn a_plain_url_beside_tls_is_a_contradiction() {
    let server = SERVER.replace("https://ca.example.com", "http://localhost:5555");
    assert!(load_in(&directory(&server, ISSUERS), true).is_ok());
    let found = mistakes(&format!("{server}tls: {{cert: tls.crt, key: tls.key}}\n"), ISSUERS);
    assert_eq!(found, ["mayfly.yaml:2:6: 'url: http:' and 'tls' contradict each other"]);
}

#[test]
fn nt_65_a_missing_or_empty_file_is_refused() {
    let missing = load(Path::new("/nonexistent/mayfly.yaml"), LoadOptions::default());
    assert!(missing.unwrap_err().to_string().starts_with("/nonexistent/mayfly.yaml: cannot be"));
    for empty in ["", "\n\n", "# nothing\n", "---\n", "null\n", "~"] {
        assert_eq!(mistakes(empty, ISSUERS), ["mayfly.yaml: the file is empty"], "{empty:?}");
        assert_eq!(mistakes(SERVER, empty), ["issuers.yaml: the file is empty"], "{empty:?}");
    }
    let directory = directory(SERVER, ISSUERS);
    fs::remove_file(directory.path().join("issuers.yaml")).unwrap();
    let errors = load_in(&directory, true).unwrap_err().to_string();
    assert!(errors.contains("issuers.yaml: cannot be read"), "{errors}");
}

#[test]
fn nt_65_every_mistake_is_reported_at_once_with_its_line_and_a_suggestion() {
    let server = "\
listen: nowhere
urll: https://ca.example.com
issuers: issuers.yaml
authorities:
  - key: file:keys/issuing.pem
    chian: chain.pem
log: none
audit: data/audit.jsonl
";
    let issuers = ISSUERS.replace("client-id", "client_id");
    assert_eq!(
        mistakes(server, &issuers),
        [
            "mayfly.yaml:1:1: mayfly.yaml needs the key 'url'",
            "mayfly.yaml:1:9: 'listen' must be an address and port such as 127.0.0.1:5555 or \
             [::]:5555",
            "mayfly.yaml:2:1: unknown key 'urll' in mayfly.yaml - did you mean 'url'?",
            "mayfly.yaml:5:5: an authority needs the key 'chain'",
            "mayfly.yaml:6:5: unknown key 'chian' in an authority - did you mean 'chain'?",
            "issuers.yaml:3:5: an issuer needs the key 'client-id'",
            "issuers.yaml:4:5: unknown key 'client_id' in an issuer - did you mean 'client-id'?",
        ]
    );
}

#[test]
fn nt_58_running_without_a_log_must_be_said() {
    assert_server_mistake("log: none\n", "", "needs the key 'log'; to run without a log, say so");
    assert_server_mistake("log: none", "log:", "'log' must be given a value");
    assert_server_mistake("log: none", "log: non", "'log' is 'non', which is not 'none'");
    let found = mistakes(&SERVER.replace("log: none", "log: {}"), ISSUERS);
    let needs = |key| format!("mayfly.yaml:7:6: log needs the key '{key}'");
    assert_eq!(found, ["data", "origin", "key"].map(needs));
}

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    for (from, to, what) in [
        ("listen", "policy: p.yaml\nlisten", "a policy ('policy') is not built"),
        ("listen", "tls: {cert: a}\nlisten", "'key'"),
        ("listen", "tls: {cert: a, key: b, min-version: 1.1}\nlisten", "unknown key 'min-version'"),
        (
            "log: none",
            "log: {remote: [{url: x, key: y}]}",
            "a log elsewhere ('log.remote') is not built",
        ),
    ] {
        assert_server_mistake(from, to, what);
    }
}

#[test]
fn each_field_of_the_server_file_refuses_what_it_cannot_be() {
    let log = "log: {data: d, origin: l.example/1, key: 'file:l.pem'";
    for (from, to, expected) in [
        ("127.0.0.1:5555", "127.0.0.1", "'listen' must be an address and port"),
        ("127.0.0.1:5555", "[1, 2]", "'listen' must be text"),
        ("listen", "private: off\nlisten", "'private' must be an address"),
        ("https://ca.example.com", "ca.example.com", "it is not an absolute URL"),
        ("https://ca.example.com", "http://ca.example.com", "it must begin with https://"),
        ("https://ca.example.com", "https://ca.example.com/fulcio", "it contains a path"),
        ("https://ca.example.com", "https://a@ca.example.com", "user information"),
        ("https://ca.example.com", "https://ca.example.com?x", "a query or a fragment"),
        ("file:keys/issuing.pem", "keys/issuing.pem", "a key in a file is written"),
        ("chain: chain.pem", "chain: gone.pem", "gone.pem' cannot be read"),
        ("chain: chain.pem", "chain: issuers.yaml", "the certificates in"),
        ("chain: chain.pem", "chain: chain.pem\n    activate: soon", "'activate' is not a time"),
        ("chain: chain.pem", "chain: chain.pem\n    passphrase: hunter2", "env:NAME or file:PATH"),
        (
            "chain: chain.pem",
            "chain: chain.pem\n    activate: 2027-01-01T00:00:00Z\n    retire: 2026-01-01T00:00:00Z",
            "'retire' is not after 'activate'",
        ),
        ("audit: data/audit.jsonl", "audit: ''", "'audit' must be text that is not empty"),
        ("audit: ", "limits: {deadline: 5}\naudit: ", "a duration such as"),
        (
            "audit: ",
            "limits: {deadline: 5h}\naudit: ",
            "'deadline' is out of range: 100 to 60000 ms",
        ),
        (
            "audit: ",
            "limits: {body-size: 1MiB}\naudit: ",
            "'body-size' is out of range: 4096 to 262144 bytes",
        ),
        ("audit: ", "limits: {requests-in-flight: 0}\naudit: ", "out of range"),
        ("audit: ", "limits: {connections: 15}\naudit: ", "out of range"),
        ("audit: ", "limits: {bodysize: 1MiB}\naudit: ", "did you mean 'body-size'?"),
        ("log: none", &format!("{log}, orgin: x}}"), "did you mean 'origin'?"),
        ("log: none", &log.replace("l.example/1", "https://l.example"), "a host and path"),
        ("log: none", &log.replace("l.example/1", "l.example/"), "a host and path"),
        ("log: none", &log.replace("l.example/1", "'l.example/a b'"), "a host and path"),
        ("log: none", &log.replace("l.pem", "keys/issuing.pem"), "the first is in line 5"),
    ] {
        let to = if to.starts_with("log: {") && !to.ends_with('}') {
            format!("{to}}}")
        } else {
            to.to_owned()
        };
        assert_server_mistake(from, &to, expected);
    }
}

#[test]
fn an_empty_list_of_authorities_is_refused() {
    let (before, after) = SERVER.split_once("authorities:\n").unwrap();
    let after = after.split_once("log:").unwrap().1;
    let found = mistakes(&format!("{before}authorities: []\nlog:{after}"), ISSUERS);
    assert_eq!(found, ["mayfly.yaml:4:14: 'authorities' must be a list of at least one authority"]);
}

#[test]
fn a_development_key_needs_dev_also_when_it_was_copied() {
    // The chain is that of the development CA under another name.
    let copied = load_in(&directory(SERVER, ISSUERS), false).unwrap_err();
    let [Mistake { at: Some(at), fault: Fault::DevelopmentKey, .. }] = copied.mistakes() else {
        panic!("{copied}");
    };
    assert_eq!((at.line, at.column), (6, 12));
    let by_path = SERVER.replace("keys/issuing.pem", "keys-dev/issuing.pem");
    let errors = load_in(&directory(&by_path, ISSUERS), false).unwrap_err();
    assert_eq!(errors.mistakes().len(), 2, "{errors}");
    assert!(load_in(&directory(&by_path, ISSUERS), true).is_ok());
}

#[test]
fn nt_60_a_passphrase_source_never_shows_in_debug_output_or_messages() {
    let source = PassphraseSource::Env("HUNTER2".to_owned());
    assert_eq!(format!("{source:?}"), "Env(..)");
    let lines = "chain: chain.pem\n    passphrase: hunter2";
    let found = mistakes(&SERVER.replace("chain: chain.pem", lines), ISSUERS).join("\n");
    assert!(!found.contains("hunter2"), "{found}");
}

#[test]
fn a_passphrase_is_the_first_line_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passphrase");
    for (content, expected) in [("open\n", "open"), ("open\r\nmore", "open"), ("open", "open")] {
        fs::write(&path, content).unwrap();
        let secret = PassphraseSource::File(path.clone()).read().unwrap();
        assert_eq!(secret.expose(), expected.as_bytes());
    }
    fs::write(&path, "\nopen").unwrap();
    let empty = PassphraseSource::File(path.clone()).read();
    assert!(matches!(empty, Err(PassphraseError::Empty { .. })));
    let gone = PassphraseSource::File(directory.path().join("gone")).read();
    assert!(matches!(gone, Err(PassphraseError::Unreadable { .. })));
    let unset = PassphraseSource::Env("MAYFLY_TEST_IS_NOT_SET".to_owned()).read();
    assert!(matches!(unset, Err(PassphraseError::NoVariable)));
}

#[test]
fn what_is_no_plain_yaml_is_refused_where_it_stands() {
    for (text, expected) in [
        ("a: 1\na: 2", "2:1: the key 'a' stands here a second time, first in line 1"),
        ("a: {b: 1, b: 2}", "1:11: the key 'b' stands here a second time"),
        ("a: [1", "not YAML"),
        ("a: *b", "'*b' names no anchor"),
        ("a: &x [*x]", "'*x' names no anchor"),
        ("a: !!str 1", "the tag"),
        ("[a]: 1", "a key must be text"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "nested deeper than 16 levels"),
        ("{!,", "not YAML: it cannot be read here"),
        ("{!a,b: c}", "not YAML"),
        ("a: 1\n<<: {b: 2}", "2:1: the merge key '<<' is not supported"),
        ("- a", "the issuer file' must be a mapping"),
        ("\t\u{1}", "not YAML"),
    ] {
        assert_issuer_mistake(text, expected);
    }
    let large = format!("# {}\n", "x".repeat(document::MAX_FILE_BYTES));
    assert_issuer_mistake(&large, "larger than");
}

#[test]
fn nt_01_aliases_make_a_file_mean_no_more_than_its_limit() {
    // Each line names the one above it ten times: ten thousand million values in 200 bytes.
    let mut nested = "define:\n  - &a0 x\n".to_owned();
    for level in 1..=10 {
        let above = format!("*a{}", level - 1);
        nested += &format!("  - &a{level} [{}]\n", [above.as_str(); 10].join(","));
    }
    assert_issuer_mistake(&nested, "7:38: more than 100000 values");

    // A list of mistakes that a thousand issuers share would be a million of them.
    let mut shared = format!("define: [&o [{}]]\noidc-issuers:\n", ["x"; 1000].join(","));
    for issuer in 0..1000 {
        shared += &format!("  https://a{issuer}.example.com: {{key-origins: *o}}\n");
    }
    assert_issuer_mistake(&shared, "more than 100000 values");

    let lists = format!("a: [{}]", ["x"; 100_001].join(","));
    assert_issuer_mistake(&lists, "more than 100000 values");
}

#[test]
fn nt_01_no_word_is_looked_for_that_is_no_word() {
    // The distance between two texts of 400 KiB would be looked for in 10^11 steps.
    let (one, other) = ("a".repeat(400 << 10), "b".repeat(400 << 10));
    let file = format!(
        "oidc-issuers:\n  https://a.example.com:\n    issuer-url: https://a.example.com\n    \
         client-id: sigstore\n    type: ci-provider\n    ci-provider: {one}\n\
         ci-issuer-metadata:\n  ? {other}\n  : \
         subject-alternative-name-template: https://a.example.com/{{{{ .a }}}}\n"
    );
    assert_issuer_mistake(&file, "ci-issuer-metadata has no such entry");
}

#[test]
fn a_file_is_text_and_read_no_further_than_its_limit() {
    let directory = directory(SERVER, ISSUERS);
    let path = directory.path().join("issuers.yaml");
    fs::write(&path, b"oidc-issuers: \xff").unwrap();
    let error = IssuerFile::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("issuers.yaml: is not text in UTF-8"), "{error}");
    // These have no length beforehand, and no end.
    let error = IssuerFile::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(error, "/dev/zero: is larger than 1048576 bytes");
    assert_issuer_mistake(&with_lines("jwks: /dev/zero"), "'/dev/zero' cannot be read");
    assert_server_mistake("chain: chain.pem", "chain: /dev/zero", "'/dev/zero' cannot be read");
}

/// Go's encoder writes `<` as `\u003c`, others write `/` as `\/`, and none has to break lines.
#[test]
fn json_is_read_as_its_encoders_write_it() {
    let spaced = r#"{"OIDCIssuers": {"https://a.example": {"IssuerURL": "https://a.example",
        "ClientID": "a\u003cb", "Type": "email", "SkipEmailVerification": true}}}"#;
    let dense: String = spaced.chars().filter(|c| !c.is_whitespace()).collect();
    let tabs = spaced.replace("    ", "\t");
    let slashes = dense.replace("https://", r"https:\/\/");
    for text in [spaced, &dense, &tabs, &slashes] {
        let file = IssuerFile::parse(text, Path::new("i.json")).unwrap();
        let issuer = &file.issuers[0];
        assert_eq!(issuer.settings.name, "https://a.example");
        assert_eq!(issuer.settings.client_id, "a<b");
        assert!(issuer.published.skip_email_verification);
    }
    for (from, to, expected) in [
        ("true", "\"true\"", "true or false, without quotes"),
        ("\"email\"", "null", "'type' must be given a value"),
        ("ClientID", "clientID", "did you mean 'client-id'?"),
        ("\"Type\"", "\"Type\": \"email\", \"Type\"", "stands here a second time"),
        ("\"Type\"", "\"type\": \"email\", \"Type\"", "stands here a second time"),
    ] {
        let found = issuer_mistakes(&spaced.replace(from, to)).join("\n");
        assert!(found.contains(expected), "{to}: {found}");
    }
}

#[test]
fn each_field_of_an_issuer_refuses_what_it_cannot_be() {
    for (lines, expected) in [
        ("issuer-claim: email", "is not a path like"),
        ("skip-email-verification: 'true'", "true or false, without quotes"),
        ("skip-email-verification: yes", "true or false, without quotes"),
        ("subject-domain: example.com", "an issuer of type 'email' cannot have 'subject-domain'"),
        ("ci-provider: x", "an issuer of type 'email' cannot have 'ci-provider'"),
        ("spiffe-trust-domain: x", "cannot have 'spiffe-trust-domain'"),
        ("skip-email-verificaton: true", "did you mean 'skip-email-verification'?"),
        ("SkipEmailVerificaton: true", "did you mean 'SkipEmailVerification'?"),
        ("ClientID: other", "the key 'client-id' stands here a second time"),
        ("challenge-claim: name", "'sub' or 'email'"),
        ("ca-cert: none", "'ca-cert' holds no certificate"),
        ("jwks: gone.json", "gone.json' cannot be read"),
        ("jwks: '{}'", "not a JSON object with a member 'keys'"),
        ("jwks: '{\"keys\": []}'", "its keys cannot be used"),
        ("jwks: '{\"keys\": []}'\nca-cert: x", "'jwks' and 'ca-cert' contradict each other"),
        ("allow-http: 1", "true or false"),
        ("key-origins: https://keys.example.com", "must be a list"),
        ("key-origins: [https://keys.example.com/path]", "it contains a path"),
        ("key-origins: [http://keys.example.com]", "it must begin with https://"),
        ("max-token-age: 600", "a duration such as"),
        ("max-token-age: 500ms", "1s to 24h"),
        ("replay-guard: maybe", "true or false"),
        ("contact: ''", "text that is not empty"),
        ("contact:", "'contact' must be given a value"),
    ] {
        assert_issuer_mistake(&with_lines(lines), expected);
    }
}

#[test]
fn nt_31_issuer_claim_is_for_email_issuers_only() {
    for kind in IssuerType::ALL.into_iter().filter(|kind| *kind != IssuerType::Email) {
        let issuers = with_lines("issuer-claim: $.a").replace("email", kind.as_str());
        let found = issuer_mistakes(&issuers).join("\n");
        let expected = format!("an issuer of type '{kind}' cannot have 'issuer-claim'");
        assert!(found.contains(&expected), "{found}");
    }
}

/// What [`ISSUERS`] needs beside its type to be of this kind.
fn of_kind(kind: IssuerType) -> String {
    let extra = match kind {
        IssuerType::Uri => "subject-domain: https://example.com",
        IssuerType::Username => "subject-domain: example.com",
        IssuerType::Spiffe => "spiffe-trust-domain: prod.example.com",
        IssuerType::CiProvider => {
            let (_, metadata) = CI.split_once("ci-issuer-metadata").unwrap();
            let issuer = with_lines("ci-provider: ci").replace("email", kind.as_str());
            return format!("{issuer}ci-issuer-metadata{metadata}");
        }
        _ => return ISSUERS.replace("email", kind.as_str()),
    };
    with_lines(extra).replace("email", kind.as_str())
}

/// The same under a pattern instead of a URL.
fn pattern_of_kind(kind: IssuerType) -> String {
    of_kind(kind)
        .replace("oidc-issuers", "meta-issuers")
        .replace("    issuer-url: https://accounts.example.com\n", "")
        .replace("https://accounts.example.com:", "https://*.accounts.example.com:")
}

#[test]
fn every_type_can_be_served_and_all_but_spiffe_by_a_pattern() {
    for kind in IssuerType::ALL {
        let file = IssuerFile::parse(&of_kind(kind), Path::new("i.yaml")).unwrap();
        let (settings, profiles) = file.for_serving().unwrap();
        assert_eq!((settings.len(), profiles.published().len()), (1, 1));
        let published = &profiles.published()[0];
        assert_eq!(published.issuer_type, kind);
        let challenge = if kind == IssuerType::Email { "email" } else { "sub" };
        assert_eq!(published.challenge_claim, challenge, "{kind}");
        let told = of_kind(kind) + "    challenge-claim: email\n";
        if kind != IssuerType::CiProvider {
            let file = IssuerFile::parse(&told, Path::new("i.yaml")).unwrap();
            assert_eq!(file.issuers[0].published.challenge_claim, "email");
        }

        let pattern = pattern_of_kind(kind);
        let outcome =
            IssuerFile::parse(&pattern, Path::new("i.yaml")).and_then(IssuerFile::for_serving);
        if kind == IssuerType::Spiffe {
            let refused = outcome.unwrap_err().to_string();
            assert!(refused.contains("many issuers speak for one trust domain"), "{refused}");
        } else {
            outcome.unwrap();
        }
    }
    assert_issuer_mistake(
        &ISSUERS.replace("email", "e-mail"),
        "5:11: 'type' is 'e-mail', which is not an issuer type - did you mean 'email'?",
    );
}

#[test]
fn what_a_type_needs_is_published_as_it_was_written() {
    for (kind, subject_domain, trust_domain) in [
        (IssuerType::Uri, "https://example.com", ""),
        (IssuerType::Username, "example.com", ""),
        (IssuerType::Spiffe, "", "prod.example.com"),
        (IssuerType::Kubernetes, "", ""),
    ] {
        let file = IssuerFile::parse(&of_kind(kind), Path::new("i.yaml")).unwrap();
        let published = &file.issuers[0].published;
        assert_eq!(published.subject_domain, subject_domain);
        assert_eq!(published.spiffe_trust_domain, trust_domain);
    }
}

#[test]
fn a_key_of_one_type_is_refused_for_every_other() {
    for (key, value, owners) in [
        ("ci-provider", "ci", &[IssuerType::CiProvider][..]),
        ("issuer-claim", "$.a", &[IssuerType::Email]),
        ("skip-email-verification", "true", &[IssuerType::Email]),
        ("spiffe-trust-domain", "example.com", &[IssuerType::Spiffe]),
        ("subject-domain", "example.com", &[IssuerType::Uri, IssuerType::Username]),
    ] {
        for kind in IssuerType::ALL.into_iter().filter(|kind| !owners.contains(kind)) {
            let line = format!("    {key}: {value}\n    client-id");
            let found = issuer_mistakes(&of_kind(kind).replace("    client-id", &line));
            let expected = format!("an issuer of type '{kind}' cannot have '{key}'");
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(found[0].contains(&expected), "{found:#?}");
        }
        for owner in owners.iter().filter(|owner| **owner != IssuerType::Email) {
            let lines = of_kind(*owner);
            let without: Vec<_> =
                lines.lines().filter(|line| !line.starts_with(&format!("    {key}"))).collect();
            let expected = format!("an issuer needs the key '{key}'");
            assert_issuer_mistake(&without.join("\n"), &expected);
        }
    }
}

/// The issuer file of one entry whose type has a `subject-domain`.
fn speaks_for(issuer: &str, kind: &str, domain: &str) -> String {
    ISSUERS.replace("https://accounts.example.com", issuer).replace("email", kind)
        + &format!("    subject-domain: '{domain}'\n")
}

#[test]
fn nt_36_an_issuer_speaks_for_its_own_domain_only() {
    let beyond = "shares no more of its end with the issuer's host than anyone may register";
    for (issuer, domain) in [
        ("https://accounts.example.com", "example.org"),
        ("https://accounts.example.com", "example.com.evil.example"),
        ("https://accounts.example.com", "notexample.com"),
        ("https://accounts.example.com", "com"),
        // One registry, two owners; and the registry itself.
        ("https://accounts.bank.co.uk", "evil.co.uk"),
        ("https://accounts.bank.co.uk", "co.uk"),
        ("https://login.bank.com.au", "shop.com.au"),
        ("https://evil.co.jp", "bank.co.jp"),
        // Addresses and single words have no owner that their ends could tell.
        ("https://10.1.2.3", "9.1.2.3"),
        ("https://issuer", "other"),
        ("https://issuer.example.com", "localhost"),
    ] {
        assert_issuer_mistake(&speaks_for(issuer, "username", domain), beyond);
        let origin = format!("https://{domain}");
        assert_issuer_mistake(&speaks_for(issuer, "uri", &origin), beyond);
    }
    for (issuer, domain) in [
        ("https://accounts.example.com", "example.com"),
        ("https://accounts.example.com", "accounts.example.com"),
        ("https://accounts.example.com", "users.example.com"),
        ("https://example.com:8443/realm", "users.example.com"),
        ("https://login.bank.co.uk", "bank.co.uk"),
        ("https://bank.co.uk", "bank.co.uk"),
        ("https://issuer", "issuer"),
    ] {
        let text = speaks_for(issuer, "username", domain);
        assert!(IssuerFile::parse(&text, Path::new("i.yaml")).is_ok(), "{issuer} {domain}");
        let text = speaks_for(issuer, "uri", &format!("https://{domain}"));
        assert!(IssuerFile::parse(&text, Path::new("i.yaml")).is_ok(), "{issuer} {domain}");
    }
    let other_address = speaks_for("https://[::1]", "uri", "https://[::2]");
    assert_issuer_mistake(&other_address, beyond);
}

#[test]
fn nt_36_a_pattern_speaks_for_what_no_star_of_it_reaches() {
    let text = pattern("https://*.users.example.com").replace("email", "username");
    for (domain, fits) in [
        ("example.com", true),
        ("users.example.com", true),
        ("evil.example", false),
        ("bank.co.uk", false),
    ] {
        let text = format!("{text}    subject-domain: {domain}\n");
        let outcome = IssuerFile::parse(&text, Path::new("i.yaml"));
        assert_eq!(outcome.is_ok(), fits, "{domain}");
    }
}

#[test]
fn a_subject_domain_has_the_form_of_its_type() {
    let issuer = "https://accounts.example.com";
    for (kind, domain, expected) in [
        ("uri", "example.com", "'subject-domain' is no origin such as https://example.com"),
        ("uri", "https://example.com/users", "it has a path or a query"),
        ("uri", "http://example.com", "its scheme is not the issuer's"),
        ("uri", "spiffe://example.com", "its scheme is not the issuer's"),
        ("username", "https://example.com", "'subject-domain' is no host name such as example.com"),
        ("username", "a!example.com", "'subject-domain' is no host name"),
    ] {
        assert_issuer_mistake(&speaks_for(issuer, kind, domain), expected);
    }
    for domain in ["Example.com", "example.com/x", "https://example.com", "'*.example.com'"] {
        let text = of_kind(IssuerType::Spiffe).replace("prod.example.com", domain);
        assert_issuer_mistake(&text, "no SPIFFE trust domain such as");
    }
}

#[test]
fn nt_10_an_issuer_url_has_one_way_to_be_written() {
    for (url, expected) in [
        ("accounts.example.com", "it is not an absolute URL"),
        ("http://accounts.example.com", "it must begin with https://"),
        ("ftp://accounts.example.com", "it must begin with https://"),
        ("https://user@accounts.example.com", "user information"),
        ("https://accounts.example.com@evil.example", "user information"),
        ("https://accounts.example.com?x=y", "a query or a fragment"),
        ("'https://accounts.example.com#x'", "a query or a fragment"),
        ("https://Accounts.example.com", "not written in its normal form"),
        ("https://accounts.example.com:443", "not written in its normal form"),
        ("https://accounts.example.com/a/../b", "not written in its normal form"),
        ("https://accounts.example.com/%2f", "not written in its normal form"),
        ("https://accounts.example.com.", "not written in its normal form"),
        ("https://*.example.com", "patterns belong under meta-issuers"),
    ] {
        assert_issuer_mistake(&ISSUERS.replace("https://accounts.example.com", url), expected);
    }
    for url in ["http://127.0.0.1:8080", "http://localhost:8080/realm", "https://a.example/x/"] {
        let issuers = ISSUERS.replace("https://accounts.example.com", url);
        assert!(IssuerFile::parse(&issuers, Path::new("i.yaml")).is_ok(), "{url}");
    }
    let plain = with_lines("allow-http: true").replace("https://acc", "http://acc");
    assert!(IssuerFile::parse(&plain, Path::new("i.yaml")).is_ok());
    let other = ISSUERS.replace("issuer-url: https://accounts", "issuer-url: https://other");
    assert_issuer_mistake(&other, "they must be equal");
}

fn pattern(pattern: &str) -> String {
    format!("meta-issuers:\n  '{pattern}':\n    client-id: sigstore\n    type: email\n")
}

#[test]
fn nt_11_a_pattern_cannot_reach_what_anyone_may_register() {
    for (text, expected) in [
        ("https://issuer.example.com", "it contains no '*'"),
        ("http://*.example.com", "it must begin with https://"),
        ("*://a.example.com", "it must begin with https://"),
        ("https://a.example.com:*", "scheme or the port"),
        ("https://*", "needs a host name with a domain"),
        ("https://*.com", "anyone may register"),
        ("https://example.*", "anyone may register"),
        ("https://*example.com", "anyone may register"),
        ("https://*.co.uk", "anyone may register"),
        ("https://*.com.au/x", "anyone may register"),
        ("https://10.0.0.*", "anyone may register"),
        ("https://*@a.example.com", "user information"),
        ("https://a.example.com/?x=*", "a query or a fragment"),
    ] {
        let found = issuer_mistakes(&pattern(text)).join("\n");
        assert!(found.contains(expected), "{text}: {found}");
    }
    for text in ["https://*.oic.prod.example.com/*/*", "https://oidc.*.example.com/id/*"] {
        let file = IssuerFile::parse(&pattern(text), Path::new("i.yaml")).unwrap();
        assert!(file.for_serving().is_ok(), "{text}");
    }
    for key in ["jwks: '{\"keys\": []}'", "allow-http: true"] {
        let found = issuer_mistakes(&format!("{}    {key}\n", pattern("https://*.a.example.com")));
        assert!(found.join("\n").contains("a meta-issuer cannot have"), "{found:?}");
    }
}

#[test]
fn nt_38_overlapping_patterns_are_refused_at_load() {
    let second = "  'https://*.a.example.com/id/*':\n    client-id: sigstore\n    type: email\n";
    let both = pattern("https://x.a.example.com/*/b") + second;
    assert_issuer_mistake(&both, "can match the same issuer");
}

#[test]
fn nt_32_a_meta_issuer_skips_verification_only_where_it_says_so() {
    let skipping = pattern("https://*.a.example.com") + "    skip-email-verification: true\n";
    for (text, expected) in [(pattern("https://*.a.example.com"), false), (skipping, true)] {
        let file = IssuerFile::parse(&text, Path::new("i.yaml")).unwrap();
        let Profile::Email(email) = &file.issuers[0].profile else { panic!("{file:?}") };
        assert_eq!(email.skip_email_verification, expected);
        assert_eq!(file.issuers[0].published.skip_email_verification, expected);
    }
}

const CI: &str = "\
oidc-issuers:
  https://ci.example.com:
    issuer-url: https://ci.example.com
    client-id: sigstore
    type: ci-provider
    ci-provider: ci
ci-issuer-metadata:
  ci:
    default-template-values:
      url: https://code.example.com
    extension-templates:
      build-trigger: event
    subject-alternative-name-template: '{{ .url }}/{{ .job }}'
";

#[test]
fn ci_provider_metadata_is_checked_when_the_file_is_read() {
    assert!(IssuerFile::parse(CI, Path::new("i.yaml")).is_ok());
    for (from, to, expected) in [
        ("ci-provider: ci", "ci-provider: cj", "no such entry - did you mean 'ci'?"),
        ("    ci-provider: ci\n", "", "an issuer needs the key 'ci-provider'"),
        ("build-trigger", "build-triger", "did you mean 'build-trigger'?"),
        ("build-trigger: event", "issuer: iss", "unknown key 'issuer' in extension-templates"),
        ("build-trigger: event", "build-trigger: ''", "text that is not empty"),
        ("event", "'a{{ .b | html }}'", "12:22: template: at character 2: only"),
        ("{{ .job }}", "{{ .job }", "template: at character 12: '{{' is never closed"),
        ("{{ .url }}/{{ .job }}", "{{ .url }}{{ .job }}", "one part alone decides the host"),
        ("url: https://code.example.com", "url: [a]", "text without control characters"),
        ("default-template-values", "default-values", "unknown key 'default-values'"),
    ] {
        let found = issuer_mistakes(&CI.replace(from, to));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains(expected), "{found:#?} should say {expected}");
    }
    let (without, _) = CI.split_once("    subject-alternative-name").unwrap();
    assert_issuer_mistake(without, "needs the key 'subject-alternative-name-template'");
}

/// `null` means that nothing is there, not the word.
#[test]
fn a_default_that_is_null_is_empty_text() {
    let claims = serde_json::json!({"sub": "s", "job": "j"});
    for written in ["", " ~", " null", " ''"] {
        let issuers = CI.replace("      url: h", &format!("      event:{written}\n      url: h"));
        let (_, profiles) =
            IssuerFile::parse(&issuers, Path::new("i.yaml")).unwrap().for_serving().unwrap();
        let issuer = "https://ci.example.com";
        let token =
            crate::oidc::VerifiedToken::dangerous_unverified(issuer, issuer, claims.clone());
        let identity = profiles.derive(token).unwrap();
        let trigger = identity.extensions().value(crate::x509::ExtensionField::BuildTrigger);
        assert_eq!(trigger, None, "{written}");
    }
}

#[test]
fn a_file_that_trusts_nobody_is_refused() {
    assert_issuer_mistake("define: [x]\n", "no issuer is configured");
    let found = issuer_mistakes("oidc-issuer: {}\n");
    assert!(found.join("\n").contains("did you mean 'oidc-issuers'?"), "{found:?}");
    assert_issuer_mistake("oidc-issuers: {}\n", "no issuer is configured");
}

#[test]
fn an_issuer_may_have_keys_of_its_own_inline_or_in_a_file_beside() {
    let key = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","use":"sig","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("keys.json"), key).unwrap();
    for lines in ["jwks: keys.json".to_owned(), format!("jwks: '{key}'")] {
        let path = directory.path().join("i.yaml");
        let (settings, _) =
            IssuerFile::parse(&with_lines(&lines), &path).unwrap().for_serving().unwrap();
        let KeyOrigin::Static { jwks_json } = &settings[0].keys else { panic!("{settings:?}") };
        assert_eq!(jwks_json, key.as_bytes());
    }
}

#[test]
fn the_additions_reach_the_settings() {
    let lines = "key-origins: [https://keys.example.com]\nmax-token-age: 10m\nreplay-guard: true";
    let file = IssuerFile::parse(&with_lines(lines), Path::new("i.yaml")).unwrap();
    let settings = &file.issuers[0].settings;
    assert_eq!(settings.allowed_key_origins, ["https://keys.example.com"]);
    assert_eq!(settings.max_age_seconds, Some(600));
    assert!(settings.replay_guard && !settings.allow_http);
}

#[test]
fn the_json_spelling_follows_from_the_yaml_spelling() {
    for (kebab, pascal) in [
        ("issuer-url", "IssuerURL"),
        ("client-id", "ClientID"),
        ("ci-provider", "CIProvider"),
        ("spiffe-trust-domain", "SPIFFETrustDomain"),
        ("ca-cert", "CACert"),
        ("skip-email-verification", "SkipEmailVerification"),
        ("oidc-issuers", "OIDCIssuers"),
        ("ci-issuer-metadata", "CIIssuerMetadata"),
        ("github-workflow-sha", "GithubWorkflowSHA"),
        ("source-repository-owner-uri", "SourceRepositoryOwnerURI"),
        ("subject-alternative-name-template", "SubjectAlternativeNameTemplate"),
    ] {
        assert_eq!(pascal_case(kebab), pascal);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-c:{}\\[\\],&*!|>'\"# \n\t]{0,60}") {
        let _outcome = IssuerFile::parse(&text, Path::new("i.yaml"));
    }
}

#[test]
fn every_file_that_a_reload_reads_is_named_also_where_it_is_not_there() {
    let passphrase = "chain: chain.pem\n    passphrase: file:keys/issuing.pass\n";
    let server = SERVER.replace("chain: chain.pem\n", passphrase);
    let issuers = format!("{ISSUERS}    jwks: keys.json\n");
    let directory = directory(&server, &issuers);
    let path = |name: &str| directory.path().join(name);
    let sorted = |files: &[PathBuf]| {
        let mut files = files.to_vec();
        files.sort();
        files.dedup();
        files
    };
    let expected = || {
        let names = ["chain.pem", "issuers.yaml", "keys.json", "keys/issuing.pass"];
        let more = ["keys/issuing.pem", "mayfly.yaml"];
        sorted(&names.into_iter().chain(more).map(path).collect::<Vec<_>>())
    };
    let errors = load_in(&directory, true).unwrap_err();
    assert_eq!(sorted(errors.files()), expected());
    let jwks = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"1",
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
    fs::write(path("keys.json"), jwks).unwrap();
    assert_eq!(sorted(&load_in(&directory, true).unwrap().files), expected());
    // Nothing but itself can mend what is no document.
    fs::write(path("mayfly.yaml"), "listen: [").unwrap();
    assert_eq!(load_in(&directory, true).unwrap_err().files(), [path("mayfly.yaml")]);
}
