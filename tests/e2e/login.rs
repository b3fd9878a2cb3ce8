//! Signing a person in: `mayfly request --login` against a certified provider, and against one of
//! ours that lies. The browser is tests/peers/browser.mjs, opened as any other: by `BROWSER`.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    certificates::openssl_verify,
    support::{
        clients::{facts, openssl},
        issuers,
        mayfly::{CaKey, Mayfly, binary},
        peers::{LyingOidc, Oidc, node, script},
        process::{Outcome, Process, free_port, run_in},
    },
};

#[test]
fn a_person_who_signs_in_with_a_browser_gets_a_certificate() {
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let oidc = Oidc::start(algorithm);
        let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
        let desk = Desk::new();
        let done = desk.sign_in(mayfly.url(), oidc.url(), &[]);
        assert!(done.stderr.contains("Sign in with your browser:\n\n  http://"), "{done:?}");
        assert!(!done.stderr.contains("eyJ"), "a token was shown: {}", done.stderr);
        // Standard output has the chain alone; certificate and key are in their files.
        assert_eq!(done.success().matches("BEGIN CERTIFICATE").count(), 2, "{algorithm}");
        openssl(&openssl_verify(&mayfly, &desk.certificate())).success();
        let names = &facts(&desk.certificate())["names"];
        assert_eq!(names, &json!([["RFC822Name", "jane@example.com"]]), "{algorithm}");
    }
}

#[test]
fn a_client_with_a_password_signs_its_person_in_with_it() {
    let oidc = Oidc::start("ES256");
    let issuers = issuers::email(oidc.url()).replace("client-id: sigstore", "client-id: desk");
    let mayfly = Mayfly::start(CaKey::P256, &issuers);
    let port = free_port().to_string();
    for (password, accepted) in [("desk: 100% secret\n", true), ("guessed", false)] {
        let desk = Desk::new();
        let file = desk.directory.path().join("password");
        fs::write(&file, password).unwrap();
        let file = file.to_str().unwrap();
        let as_desk = ["--client-id", "desk", "--client-secret-file", file, "--login-port", &port];
        let done = desk.sign_in_as(&as_desk, mayfly.url(), oidc.url(), &[]);
        assert!(done.stderr.contains(&format!("localhost%3A{port}%2Fauth")), "{done:?}");
        if accepted {
            done.success();
            openssl(&openssl_verify(&mayfly, &desk.certificate())).success();
        } else {
            assert!(done.stderr.contains("invalid_client"), "{done:?}");
            desk.assert_left_nothing(&done);
        }
    }
}

#[test]
fn an_answer_that_was_changed_on_the_way_back_is_refused() {
    let oidc = Oidc::start("ES256");
    for (change, fault) in [
        ("state=forged", "not to our request"),
        ("state=", "not to our request"),
        ("iss=https://id.example.com", "another provider"),
        ("iss=", "another provider"),
        ("code=forged", "invalid_grant"),
        ("code=", "without a code"),
    ] {
        let desk = Desk::new();
        let refused = desk.sign_in(NO_CA, oidc.url(), &[change]);
        assert!(refused.stderr.contains(fault), "{change}: {}", refused.stderr);
        desk.assert_left_nothing(&refused);
    }
}

#[test]
fn a_provider_that_lies_signs_nobody_in() {
    for (lie, fault) in [
        ("nonce", "nonce"),
        ("no-nonce", "nonce"),
        ("audience", "audience"),
        ("more-audiences", "audience"),
        ("issuer", "issuer"),
        ("expired", "expired"),
        ("at_hash", "at_hash"),
        ("alg-none", "cannot be trusted"),
        ("alg-hmac", "cannot be trusted"),
        ("signature", "cannot be trusted"),
        ("no-id-token", "no ID token"),
        ("document-issuer", "issuer"),
        ("plain-authorization", "plain http"),
        ("file-authorization", "neither https nor http"),
        ("plain-token", "plain http"),
        ("no-iss-parameter", "another provider"),
        ("other-iss-parameter", "another provider"),
        ("redirecting-token", "cannot be used"),
        ("token-error", "invalid_grant: \u{fffd}[2Jcode is stale"),
        ("no-person", "access_denied"),
    ] {
        let oidc = LyingOidc::start(lie);
        let desk = Desk::new();
        let refused = desk.sign_in(NO_CA, oidc.url(), &[]);
        assert!(refused.stderr.contains(fault), "{lie}: {}", refused.stderr);
        desk.assert_left_nothing(&refused);
    }
}

/// So that the test above cannot pass for another reason.
#[test]
fn a_provider_that_does_not_lie_signs_its_person_in() {
    let oidc = LyingOidc::start("nothing");
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let desk = Desk::new();
    desk.sign_in(mayfly.url(), oidc.url(), &[]).success();
    openssl(&openssl_verify(&mayfly, &desk.certificate())).success();
}

/// Without a display and a browser the other device is asked for by itself.
#[test]
fn a_person_who_signs_in_on_another_device_gets_a_certificate() {
    let oidc = Oidc::start("ES256");
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let desk = Desk::new();
    let mut waiting = desk.wait_for_device(mayfly.url(), oidc.url());
    let page = waiting.wait_for_line("  http");
    let code = waiting.wait_for_line("with the code ");
    assert!(!desk.certificate_is_there(), "before anybody has signed in");
    node("browser", &[&format!("http{page}?user_code={code}")]).success();
    assert!(waiting.ended().success(), "{}", waiting.log());
    openssl(&openssl_verify(&mayfly, &desk.certificate())).success();
}

#[test]
fn a_person_who_declines_on_the_other_device_gets_nothing() {
    let oidc = Oidc::start("ES256");
    let desk = Desk::new();
    let mut waiting = desk.wait_for_device(NO_CA, oidc.url());
    let page = waiting.wait_for_line("  http");
    let code = waiting.wait_for_line("with the code ");
    node("browser", &["decline", &format!("http{page}?user_code={code}")]);
    assert_eq!(waiting.ended().code(), Some(1), "{}", waiting.log());
    assert!(waiting.log().contains("the person declined"), "{}", waiting.log());
}

/// The provider gives nothing to whoever asks again before the interval that it set is over.
#[test]
fn a_provider_that_says_slow_down_is_asked_less_often() {
    let oidc = LyingOidc::start("device-slow");
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let desk = Desk::new();
    run_in(&[], binary(), &desk.arguments(mayfly.url(), oidc.url())).success();
    openssl(&openssl_verify(&mayfly, &desk.certificate())).success();
}

#[test]
fn a_provider_whose_device_flow_lies_signs_nobody_in() {
    for (lie, fault) in [
        ("device-expired", "the code has expired (expired_token)"),
        ("device-page", "neither https nor http"),
        ("device-code", "with the code \u{fffd}[2JWDJB"),
        ("device-audience", "audience"),
    ] {
        let oidc = LyingOidc::start(lie);
        let desk = Desk::new();
        let refused = run_in(&[], binary(), &desk.arguments(NO_CA, oidc.url()));
        assert!(refused.stderr.contains(fault), "{lie}: {}", refused.stderr);
        desk.assert_left_nothing(&refused);
    }
    let without = LyingOidc::start("nothing");
    let desk = Desk::new();
    let arguments = [desk.arguments(NO_CA, without.url()), vec!["--device".to_owned()]].concat();
    let refused = run_in(&[], binary(), &arguments);
    assert!(refused.stderr.contains("has no device flow"), "{refused:?}");
    desk.assert_left_nothing(&refused);
}

#[test]
fn whoever_does_not_sign_in_is_not_waited_for_without_end() {
    let oidc = Oidc::start("ES256");
    let desk = Desk::new();
    let arguments = desk.arguments(NO_CA, oidc.url());
    let late = ["--login-timeout", "1"].map(str::to_owned);
    // A browser that does nothing.
    let path = path();
    let environment = [("PATH", path.as_str()), ("BROWSER", "true")];
    let refused = run_in(&environment, binary(), &[arguments, late.to_vec()].concat());
    assert!(refused.stderr.contains("nobody signed in within 1 s"), "{refused:?}");
    desk.assert_left_nothing(&refused);
}

/// Where a person sits: files to be written, and a browser.
struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    fn certificate_is_there(&self) -> bool {
        fs::read(self.certificate()).is_ok_and(|content| !content.is_empty())
    }

    fn arguments(&self, ca: &str, issuer: &str) -> Vec<String> {
        let file = |name: &str| self.directory.path().join(name).to_str().unwrap().to_owned();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        ["request", "--url", ca, "--login", issuer, "--cert-out", &cert, "--key-out", &key]
            .map(str::to_owned)
            .to_vec()
    }

    /// `wishes` are those of browser.mjs.
    fn sign_in(&self, ca: &str, issuer: &str, wishes: &[&str]) -> Outcome {
        self.sign_in_as(&[], ca, issuer, wishes)
    }

    fn sign_in_as(&self, client: &[&str], ca: &str, issuer: &str, wishes: &[&str]) -> Outcome {
        let browser = script("browser");
        // `BROWSER` is a list with colons between; `%c` stands for one that is meant.
        let wishes = wishes.join(" ").replace(':', "%c");
        let browser = format!("node {} {wishes} %s", browser.display());
        let path = path();
        let environment = [("PATH", path.as_str()), ("BROWSER", &browser)];
        let mut arguments = self.arguments(ca, issuer);
        arguments.extend(client.iter().copied().map(str::to_owned));
        run_in(&environment, binary(), &arguments)
    }

    fn wait_for_device(&self, ca: &str, issuer: &str) -> Process {
        let mut command = Command::new(binary());
        command.args(self.arguments(ca, issuer)).env_clear();
        Process::start("mayfly-request", &mut command, self.directory.path())
    }

    fn assert_left_nothing(&self, refused: &Outcome) {
        assert!(!refused.succeeded, "{refused:?}");
        assert_eq!(refused.stdout, "");
        assert!(!refused.stderr.contains('\u{1b}'), "{}", refused.stderr);
        let is_there = |name: &str| Path::exists(&self.directory.path().join(name));
        assert!(!is_there("cert.pem") && !is_there("key.pem"), "{refused:?}");
    }
}

/// Nobody who signs in wrongly is sent there.
const NO_CA: &str = "http://127.0.0.1:1";
/// Where node is.
fn path() -> String {
    std::env::var("PATH").unwrap()
}
