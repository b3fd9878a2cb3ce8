//! Keys on real tokens: SoftHSM 2, kryoptic, and a TPM.
//!
//! Their modules read the token's place from the environment, which other tests of this process
//! share. So each test runs itself again in a process of its own, with a token of its own.

use std::{ops::Deref, path::Path};

use super::*;
use crate::{
    keys::{
        SignError, contract,
        trial::{blocking, run_again},
    },
    telemetry::metrics::{CallResult, Metrics},
};

#[path = "../../../tests/support/kryoptic.rs"]
mod kryoptic;
#[expect(dead_code, reason = "the tests under tests/ use the rest")]
#[path = "../../../tests/support/softhsm.rs"]
mod softhsm;
#[expect(dead_code, reason = "the tests under tests/ use the rest")]
#[path = "../../../tests/support/tpm.rs"]
mod tpm;

use kryoptic::Kryoptic;
use softhsm::{PIN, SoftHsm, token};
use tpm::Tpm;

/// Runs the test `name` again where SoftHSM's token is seen; whether this is the process outside.
fn outside(name: &str, set_up: impl FnOnce(&SoftHsm)) -> bool {
    outside_of(SoftHsm::new, name, set_up)
}

/// As [`outside`], with the token that `make` makes.
fn outside_of<T: Deref<Target = token::Token>>(
    make: impl FnOnce() -> T,
    name: &str,
    set_up: impl FnOnce(&T),
) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let hsm = make();
    set_up(&hsm);
    let mut environment = hsm.environment();
    environment.push((INSIDE, "yes".into()));
    run_again(&format!("keys::pkcs11::tests::{name}"), &environment);
    true
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn parsed(object: &str) -> Pkcs11Uri {
    parsed_in(softhsm::MODULE, object)
}

fn parsed_in(module: &str, object: &str) -> Pkcs11Uri {
    let uri = token::uri_of(Path::new(module), object);
    uri.strip_prefix("pkcs11:").unwrap().parse().unwrap()
}

async fn try_open(uri: &Pkcs11Uri, pin: &str) -> Result<Arc<dyn Signer>, OpenTokenKeyError> {
    open(uri, Some(&secret(pin)), Metrics::new().key("test")).await
}

async fn refusal(uri: &str, pin: &str) -> String {
    let uri = uri.strip_prefix("pkcs11:").unwrap().parse().unwrap();
    let text = try_open(&uri, pin).await.unwrap_err().to_string();
    assert!(!text.contains(pin), "{text}");
    text
}

#[test]
fn keys_on_a_token_uphold_the_contract() {
    let set_up = |hsm: &SoftHsm| generate_each(hsm, "rsa:3072");
    if outside("keys_on_a_token_uphold_the_contract", set_up) {
        return;
    }
    for (object, algorithm) in EACH {
        contract_is_upheld(&parsed(object), algorithm);
    }
}

#[test]
fn keys_in_kryoptic_uphold_the_contract() {
    let set_up = |hsm: &Kryoptic| generate_each(hsm, "rsa:4096");
    if outside_of(Kryoptic::new, "keys_in_kryoptic_uphold_the_contract", set_up) {
        return;
    }
    for (object, algorithm) in EACH {
        contract_is_upheld(&parsed_in(kryoptic::MODULE, object), algorithm);
    }
}

#[test]
fn keys_in_a_tpm_uphold_the_contract() {
    let set_up = |tpm: &Tpm| generate_each(tpm, "rsa:2048");
    if outside_of(Tpm::new, "keys_in_a_tpm_uphold_the_contract", set_up) {
        return;
    }
    for (object, algorithm) in EACH {
        contract_is_upheld(&parsed_in(&tpm::module(), object), algorithm);
    }
}

/// What it signs is not by the key that it shows.
#[test]
fn a_token_that_lies_is_asked_once_and_not_believed() {
    let set_up = |hsm: &SoftHsm| {
        hsm.generate("EC:prime256v1", "ca", "01");
        hsm.forge("ca", "01");
    };
    if outside("a_token_that_lies_is_asked_once_and_not_believed", set_up) {
        return;
    }
    let (remote, series) = remote_on("ca");
    blocking(async {
        let error = remote.sign(b"m").await.unwrap_err();
        assert!(matches!(error, SignError::BadSignature { .. }), "{error}");
        assert_eq!(series.calls(CallResult::BadSignature), 1);
    });
}

fn generate_each(hsm: &token::Token, rsa: &str) {
    hsm.generate("EC:prime256v1", "p256", "01");
    hsm.generate("EC:secp384r1", "p384", "02");
    hsm.generate(rsa, "rsa", "03");
}

fn contract_is_upheld(uri: &Pkcs11Uri, algorithm: SignatureAlgorithm) {
    blocking(async {
        let signer = try_open(uri, PIN).await.unwrap();
        assert_eq!(signer.algorithm(), algorithm);
        assert_eq!(signer.name(), uri.to_string());
        assert!(!signer.name().contains("module-path"));
        contract::uphold(signer, &[PIN.as_bytes()]).await;
    });
}

#[test]
fn what_does_not_open_says_why_and_what_there_is() {
    let set_up = |hsm: &SoftHsm| {
        hsm.add_token("other");
        hsm.generate("EC:prime256v1", "ca", "01");
        hsm.generate("EC:prime256v1", "twice", "02");
        hsm.generate("EC:prime256v1", "twice", "03");
        hsm.generate("EC:secp521r1", "p521", "04");
        hsm.generate("EC:prime256v1", "alone", "06");
        hsm.tool(&["--delete-object", "--type", "pubkey", "--label", "alone"]);
    };
    if outside("what_does_not_open_says_why_and_what_there_is", set_up) {
        return;
    }
    let module = softhsm::MODULE;
    let may_not_sign = Module::at(std::path::Path::new(module)).unwrap();
    may_not_sign.generate_without_sign(&parsed("ca").token, PIN, "opens");
    let no_library = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    blocking(async {
        for (uri, message) in [
            (softhsm::uri("none"), "the token has no private key with object 'none'"),
            (softhsm::uri("ca;id=%09"), "no private key with object 'ca' and id 09"),
            (softhsm::uri("twice"), "2 private keys with object 'twice'; name one by 'id'"),
            (softhsm::uri("p521"), "its kind is not permitted"),
            (softhsm::uri("opens"), "the key may not sign"),
            (softhsm::uri("alone"), "the public key cannot be found"),
            (
                format!("pkcs11:token=absent;object=ca?module-path={module}"),
                "there is no token that is token 'absent'; there are 'mayfly' (serial ",
            ),
            (
                format!("pkcs11:object=ca?module-path={module}"),
                "more than one token is any; there are '",
            ),
            (
                "pkcs11:object=ca?module-path=/nowhere/p11.so".to_owned(),
                "the library '/nowhere/p11.so' cannot be loaded as a PKCS #11 module",
            ),
            (
                format!("pkcs11:object=ca?module-path={no_library}"),
                "cannot be loaded as a PKCS #11 module",
            ),
        ] {
            let text = refusal(&uri, PIN).await;
            assert!(text.contains(message), "{uri}: {text}");
        }
        try_open(&parsed("twice;id=%02"), PIN).await.unwrap();
    });
}

#[test]
fn nt_60_a_wrong_pin_is_told_tried_once_and_shown_nowhere() {
    let set_up = |hsm: &SoftHsm| hsm.generate("EC:prime256v1", "ca", "01");
    if outside("nt_60_a_wrong_pin_is_told_tried_once_and_shown_nowhere", set_up) {
        return;
    }
    blocking(async {
        let text = refusal(&softhsm::uri("ca"), "99999999").await;
        assert!(text.contains("the token refuses the PIN (CKR_PIN_INCORRECT)"), "{text}");
        let none = open(&parsed("ca"), None, Metrics::new().key("test")).await.unwrap_err();
        assert!(none.to_string().contains("no PIN is configured"), "{none}");
    });
}

#[test]
fn the_pin_may_stand_in_a_file_that_the_uri_names_and_only_in_one_place() {
    let set_up = |hsm: &SoftHsm| {
        hsm.generate("EC:prime256v1", "ca", "01");
        hsm.pin_file();
    };
    if outside("the_pin_may_stand_in_a_file_that_the_uri_names_and_only_in_one_place", set_up) {
        return;
    }
    let configuration = std::env::var_os(softhsm::VARIABLE).unwrap();
    let file = std::path::Path::new(&configuration).with_file_name("pin");
    let mut uri = parsed("ca");
    uri.pin_source = Some(file);
    blocking(async {
        let series = || Metrics::new().key("test");
        open(&uri, None, series()).await.unwrap().sign(b"m").await.unwrap();
        let both = open(&uri, Some(&secret(PIN)), series()).await.unwrap_err();
        assert!(both.to_string().contains("both 'passphrase' and 'pin-source'"), "{both}");
        uri.pin_source = Some("/nowhere/pin".into());
        let missing = open(&uri, None, series()).await.unwrap_err();
        assert!(missing.to_string().contains("'/nowhere/pin', cannot be read"), "{missing}");
    });
}

#[test]
fn a_lost_session_and_a_lost_login_are_made_good_within_one_signature() {
    let set_up = |hsm: &SoftHsm| hsm.generate("EC:prime256v1", "ca", "01");
    if outside("a_lost_session_and_a_lost_login_are_made_good_within_one_signature", set_up) {
        return;
    }
    losses_are_made_good(parsed("ca"));
}

#[test]
fn kryoptic_that_loses_a_session_and_a_login_is_asked_again_too() {
    let set_up = |hsm: &Kryoptic| hsm.generate("EC:prime256v1", "ca", "01");
    let name = "kryoptic_that_loses_a_session_and_a_login_is_asked_again_too";
    if outside_of(Kryoptic::new, name, set_up) {
        return;
    }
    losses_are_made_good(parsed_in(kryoptic::MODULE, "ca"));
}

fn losses_are_made_good(uri: Pkcs11Uri) {
    let (remote, series) = remote_of(uri);
    let token = Arc::clone(&remote.backend().token);
    blocking(async {
        remote.sign(b"m").await.unwrap();
        // The token forgets who is logged in, as after a reset.
        token.idle()[0].session.logout().unwrap();
        remote.sign(b"m").await.unwrap();
        assert_eq!(series.calls(CallResult::Unavailable), 1);
        // The token closes a session on its own, as after a time without use.
        let taken = token.idle().pop().unwrap();
        taken.session.close().unwrap();
        remote.sign(b"m").await.unwrap();
    });
}

#[test]
fn a_pin_that_was_changed_is_refused_once_and_not_tried_again() {
    let set_up = |hsm: &SoftHsm| hsm.generate("EC:prime256v1", "ca", "01");
    if outside("a_pin_that_was_changed_is_refused_once_and_not_tried_again", set_up) {
        return;
    }
    let (remote, series) = remote_on("ca");
    let token = Arc::clone(&remote.backend().token);
    blocking(async {
        let changed = token.module.logged_in(&token.uri.token, &secret(PIN)).unwrap();
        drop(changed);
        token.change_pin(PIN, "another-pin");
        let taken = std::mem::take(&mut *token.idle());
        drop(taken);
        for _ in 0..3 {
            let error = remote.sign(b"m").await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains("C_Login: the token refuses the PIN"), "{cause}");
        }
        assert_eq!(series.calls(CallResult::Unauthorized), 3);
        assert!(token.pin_refused.load(Ordering::Relaxed));
        // What was refused is not shown again, even where it would be right by now.
        token.change_pin("another-pin", PIN);
        remote.sign(b"m").await.unwrap_err();
    });
}

#[test]
fn another_key_under_the_same_name_is_not_used() {
    let set_up = |hsm: &SoftHsm| {
        hsm.generate("EC:prime256v1", "ca", "01");
        hsm.generate("EC:prime256v1", "new", "02");
    };
    if outside("another_key_under_the_same_name_is_not_used", set_up) {
        return;
    }
    let uri = parsed("ca");
    let (mut token, public_key) = Token::open(uri, secret(PIN)).unwrap();
    token.idle().clear();
    token.uri = parsed("new");
    let fault = token.connect().err().unwrap();
    assert!(matches!(fault, TokenFault::KeyChanged), "{fault}");
    assert_eq!(public_key.spki_der(), token.spki_der);
}

fn remote_on(object: &str) -> (Remote<Pkcs11Backend>, KeySeries) {
    remote_of(parsed(object))
}

fn remote_of(uri: Pkcs11Uri) -> (Remote<Pkcs11Backend>, KeySeries) {
    let (token, public_key) = Token::open(uri, secret(PIN)).unwrap();
    let series = Metrics::new().key("test");
    let backend =
        Pkcs11Backend { token: Arc::new(token), sessions: Arc::new(Semaphore::new(SESSIONS)) };
    let (bounds, jitter) = (RemoteBounds::default(), random_jitter());
    let remote =
        Remote::new("test".to_owned(), public_key, backend, bounds, jitter, series.clone());
    (remote, series)
}

impl Token {
    /// In a session of its own that may write.
    fn change_pin(&self, old: &str, new: &str) {
        self.module.change_pin(&self.uri.token, old, new);
    }
}

const EACH: [(&str, SignatureAlgorithm); 3] = [
    ("p256", SignatureAlgorithm::EcdsaP256Sha256),
    ("p384", SignatureAlgorithm::EcdsaP384Sha384),
    ("rsa", SignatureAlgorithm::RsaPkcs1Sha256),
];
/// Whether this process is one in which a test runs itself again.
const INSIDE: &str = "MAYFLY_TOKEN_TEST";
