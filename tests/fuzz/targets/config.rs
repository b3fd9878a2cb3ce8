//! What operators write. Nobody hostile, but a file that is read again while the server runs must
//! not end it.

use std::{fs, path::Path, sync::Once};

use mayfly::{
    config::{
        self, ConfigErrors, IssuerFile, LoadOptions,
        edit::{NextAuthority, Retirement, add_authority},
    },
    identity::{SanTemplate, Template},
    keys::{self, KeyUri},
    secret::Secret,
    time::Timestamp,
    tlog::{KeyName, Tile},
    x509::SubjectAltName,
};
use serde_json::json;

use super::{
    oidc,
    world::{self, Issuers},
};

/// An issuer file, YAML or JSON.
pub(crate) fn issuer_file(input: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(input) else { return false };
    swallow_panics_of_the_yaml_reader();
    // A folder that is not there, so that no key set is read from a file.
    let path = Path::new("/nonexistent/issuers.yaml");
    match IssuerFile::parse(text, path) {
        Ok(file) => {
            assert!(!file.issuers.is_empty());
            let again = IssuerFile::parse(text, path).expect("what was taken once");
            for (issuer, again) in file.issuers.iter().zip(&again.issuers) {
                assert_eq!(issuer.settings, again.settings);
                assert_eq!(issuer.published, again.published);
                assert_eq!(issuer.published.name.as_str(), issuer.settings.name);
                assert!(!issuer.settings.client_id.is_empty());
            }
            let served = file.for_serving();
            if let Err(errors) = &served {
                check_mistakes(errors, text);
            }
            served.is_ok()
        }
        Err(errors) => {
            check_mistakes(&errors, text);
            false
        }
    }
}

/// `mayfly.yaml`, beside an issuer file, a chain and keys that are good.
pub(crate) fn server_file(input: &[u8]) -> bool {
    thread_local! {
        static FOLDER: tempfile::TempDir = furnish();
    }
    swallow_panics_of_the_yaml_reader();
    FOLDER.with(|folder| {
        let path = folder.path().join("mayfly.yaml");
        fs::write(&path, input).expect("a file can be written");
        match config::load(&path, LoadOptions { dev: true }) {
            Ok(config) => {
                assert!(!config.authorities.is_empty() && !config.issuers.is_empty());
                assert!(config.authorities.iter().all(|authority| !authority.chain.is_empty()));
                assert!(config.limits.requests_in_flight > 0 && config.limits.deadline_ms > 0);
                assert!(config.url.host().is_some());
                let text = str::from_utf8(input).expect("what was read is text");
                check_rotation(&path, text, config.authorities.len());
                true
            }
            Err(errors) => {
                check_mistakes(&errors, &String::from_utf8_lossy(input));
                false
            }
        }
    })
}

/// What `mayfly ca rotate` would write: every line that was there in its order, and one authority
/// more; or it leaves the file alone.
fn check_rotation(path: &Path, text: &str, authorities: usize) {
    let activate = Timestamp::from_unix_seconds(1_811_808_000);
    let (key, chain) = ("file:keys/after.pem".to_owned(), "chain.pem".to_owned());
    let next = NextAuthority { key, passphrase: None, chain, activate };
    let retirement = Some(Retirement { position: 1, at: activate });
    for retirement in [None, retirement] {
        let Ok(changed) = add_authority(text, &next, retirement) else { continue };
        let mut lines = changed.lines();
        assert!(text.lines().all(|old| lines.any(|line| line == old)), "a line was changed");
        if retirement.is_none() {
            let config = config::load_text(path, changed, LoadOptions { dev: true });
            assert_eq!(config.expect("it is as good as before").authorities.len(), authorities + 1);
        }
    }
}

/// A template for names; then, from the second line on, the claims that are put into it.
pub(crate) fn template(input: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(input) else { return false };
    let (text, claims) = text.split_once('\n').unwrap_or((text, "{}"));
    match Template::parse(text) {
        Ok(template) => assert_eq!(Template::parse(text), Ok(template)),
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.at), "{error}"),
    }
    // The issuer file that it is put into has a limit of its own.
    if SanTemplate::parse(text).is_err() || text.len() > 32 << 10 {
        return false;
    }
    let Ok(serde_json::Value::Object(claims)) = serde_json::from_str(claims) else {
        return false;
    };
    let mut payload = world::payload("email");
    let common = payload.as_object_mut().expect("a payload is an object");
    for (claim, value) in claims {
        common.entry(claim).or_insert(value);
    }
    let issuers = with_template(text);
    let token = issuers.verify(&world::sign(payload.to_string().as_bytes()));
    let identity = token.ok().and_then(|token| issuers.profiles.derive(token).ok());
    let Some(identity) = identity else { return false };
    oidc::check_identity(&identity);
    // Where the template writes the host out, no claim changes it.
    let (host, _) = text.split_once("{{").unwrap_or((text, ""));
    let written_out = host.strip_prefix("https://").is_some_and(|rest| rest.contains('/'));
    assert!(!written_out || identity.san().value().starts_with(host), "{:?}", identity.san());
    true
}

/// A private key in a file, with and without a passphrase, or encrypted by a key service.
pub(crate) fn key_file(input: &[u8]) -> bool {
    let passphrase = Secret::from("fuzz".to_owned());
    let mut taken = false;
    for passphrase in [None, Some(&passphrase)] {
        match keys::file::parse("file:a.pem", input, passphrase) {
            Ok(signer) => {
                assert_eq!(signer.name(), "file:a.pem");
                keys::VerifyingKey::parse_der(signer.public_key_der())
                    .expect("a key that verifies");
                assert!(format!("{signer:?}").len() < 2048);
                taken = true;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("file:a.pem"), "{text}");
            }
        }
    }
    if let Ok(envelope) = keys::wrapped::Envelope::parse(input) {
        assert_eq!(keys::wrapped::Envelope::parse(&envelope.to_file()), Ok(envelope));
        taken = true;
    }
    taken
}

/// One line of text that means something by itself: a key URI, a time, the path of a tile, the
/// name of a log's key, and the names that stand in certificates.
pub(crate) fn names(input: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(input) else { return false };
    if let Ok(uri) = text.parse::<KeyUri>() {
        // What a key is called leaves out how it is reached, which only some can do without.
        let named = uri.to_string();
        match named.parse::<KeyUri>() {
            Ok(again) => assert_eq!(again.to_string(), named),
            Err(error) => assert!(!matches!(uri, KeyUri::File(_) | KeyUri::AwsKms(_)), "{error}"),
        }
    }
    if let Ok(at) = Timestamp::parse_rfc3339(text) {
        assert_eq!(Timestamp::parse_rfc3339(&at.to_string()), Ok(at));
    }
    match text.parse::<Tile>() {
        Ok(tile) => {
            assert_eq!(tile.to_string(), text, "a tile has one path");
            assert!(tile.first_entry() < u64::MAX && (1..=256).contains(&tile.width()));
        }
        Err(error) => assert!(error.to_string().len() < 512),
    }
    if let Ok(name) = KeyName::new(text) {
        assert!(!text.contains([' ', '+', '\n']) && name.as_str() == text);
    }
    let (subject, domain) = text.split_once('!').unwrap_or((text, "example.com"));
    let sans = [
        SubjectAltName::email(text),
        SubjectAltName::uri(text),
        SubjectAltName::username(subject, domain),
    ];
    let mut taken = false;
    for san in sans.into_iter().flatten() {
        assert!(san.value().bytes().all(|byte| byte.is_ascii_graphic()), "{san:?}");
        assert!(san.value().len() <= text.len() + "!example.com".len());
        taken = true;
    }
    taken
}

/// Each mistake stands at a place of the file and is told in a bounded text.
fn check_mistakes(errors: &ConfigErrors, text: &str) {
    assert!(!errors.mistakes().is_empty());
    // YAML 1.1, 4.2: each of these ends a line.
    let lines = 2 + text.matches(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for mistake in errors.mistakes() {
        if let Some(at) = mistake.at {
            assert!((1..=lines).contains(&at.line) && at.column >= 1, "{mistake} of {lines} lines");
        }
        // Half of a file may be one key, which stands in the message twice at most.
        assert!(mistake.to_string().len() < 16 * text.len() + 4096);
    }
}

/// An issuer of type `ci-provider` with this template, and defaults that a name can begin with.
fn with_template(template: &str) -> Issuers {
    let issuers: serde_json::Value =
        serde_json::from_str(&world::issuer_file()).expect("an issuer file");
    let mut entry = issuers["oidc-issuers"]["https://email.issuers.example.com"].clone();
    entry["type"] = "ci-provider".into();
    entry["ci-provider"] = "fuzz".into();
    let file = json!({
        "oidc-issuers": { "https://email.issuers.example.com": entry },
        "ci-issuer-metadata": { "fuzz": {
            "default-template-values": { "url": "https://forge.example.com" },
            "subject-alternative-name-template": template,
        } },
    });
    // JSON may hold characters that YAML wants escaped.
    let yaml: String = file.to_string().chars().map(escaped).collect();
    Issuers::of(&yaml)
}

fn escaped(c: char) -> String {
    if c == ' ' || c.is_ascii_graphic() {
        c.to_string()
    } else {
        format!("\\U{:08x}", u32::from(c))
    }
}

fn furnish() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let files = [
        ("issuers.yaml", ISSUERS),
        ("chain.pem", include_str!("../../../keys-dev/chain.pem")),
        ("issuing.pem", include_str!("../../../keys-dev/issuing.pem")),
        ("log.pem", include_str!("../../../keys-dev/log.pem")),
    ];
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("a file can be written");
    }
    folder
}

const ISSUERS: &str = "oidc-issuers:
  https://accounts.example.com:
    issuer-url: https://accounts.example.com
    client-id: sigstore
    type: email
";

/// The YAML reader panics on odd text, and `config` catches that. libFuzzer would end at the
/// panic, before it is caught: so panics that begin in that crate are not told to it, and all
/// others are. One that `config` did not catch would still end the run.
fn swallow_panics_of_the_yaml_reader() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let begins_there =
                panic.location().is_some_and(|place| place.file().contains("libyaml-safer"));
            if !begins_there {
                told(panic);
            }
        }));
    });
}
