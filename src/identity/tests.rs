use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::x509::names::NameKind;

const ISSUER: &str = "https://issuer.example.com";

fn published(name: &str, issuer_type: IssuerType) -> PublishedIssuer {
    PublishedIssuer {
        name: PublishedName::Url(name.to_owned()),
        audience: "sigstore".to_owned(),
        challenge_claim: issuer_type.default_challenge_claim().to_owned(),
        spiffe_trust_domain: String::new(),
        issuer_type,
        subject_domain: String::new(),
        skip_email_verification: false,
    }
}

fn token(claims: Value) -> VerifiedToken {
    VerifiedToken::dangerous_unverified(ISSUER, ISSUER, claims)
}

fn derive_email(email: Email, claims: Value) -> Result<Identity, IdentityError> {
    let profile = Profile::Email(email);
    Profiles::new([(published(ISSUER, IssuerType::Email), profile)]).derive(token(claims))
}

fn provider(
    defaults: &[(&str, &str)],
    extensions: &[(ExtensionField, &str)],
    san: &str,
) -> CiProvider {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let compile = |(field, template): &(ExtensionField, &str)| {
        (*field, Template::parse(template).expect(template))
    };
    CiProvider::new(
        defaults.iter().map(text).collect::<HashMap<_, _>>(),
        extensions.iter().map(compile).collect(),
        SanTemplate::parse(san).expect(san),
    )
}

fn derive_ci(provider: CiProvider, claims: Value) -> Result<Identity, IdentityError> {
    let profile = Profile::CiProvider(provider);
    Profiles::new([(published(ISSUER, IssuerType::CiProvider), profile)]).derive(token(claims))
}

fn san_of(defaults: &[(&str, &str)], san: &str, claims: Value) -> Result<String, IdentityError> {
    derive_ci(provider(defaults, &[], san), claims).map(|id| id.san().value().to_owned())
}

fn unusable<T>(claim: &str, reason: UnusableClaim) -> Result<T, IdentityError> {
    Err(IdentityError::UnusableClaim { claim: claim.to_owned(), reason })
}

#[test]
fn an_email_token_yields_the_address_the_issuer_and_the_subject() {
    let claims = json!({"sub": "4711", "email": "jane@example.com", "email_verified": true});
    let identity = derive_email(Email::default(), claims).unwrap();
    assert_eq!(identity.san().kind(), NameKind::Email);
    assert_eq!(identity.san().value(), "jane@example.com");
    assert_eq!(identity.extensions().value(ExtensionField::Issuer), Some(ISSUER));
    assert_eq!(identity.extensions().value(ExtensionField::TokenSubject), Some("4711"));
    assert_eq!(identity.challenges(), ["jane@example.com", "4711"]);
}

#[test]
fn nt_32_only_the_known_spellings_of_true_verify_an_address() {
    for verified in [json!(true), json!("true"), json!("True")] {
        let claims = json!({"sub": "s", "email": "jane@example.com", "email_verified": verified});
        assert!(derive_email(Email::default(), claims).is_ok());
    }
    for (verified, fault) in [
        (json!(false), EmailVerifiedFault::False),
        (json!("false"), EmailVerifiedFault::False),
        (json!("False"), EmailVerifiedFault::False),
        (json!("TRUE"), EmailVerifiedFault::Unknown),
        (json!(" true"), EmailVerifiedFault::Unknown),
        (json!(0), EmailVerifiedFault::Unknown),
        (json!(1), EmailVerifiedFault::Unknown),
        (json!([true]), EmailVerifiedFault::Unknown),
        (json!({"value": true}), EmailVerifiedFault::Unknown),
        (json!(null), EmailVerifiedFault::Missing),
    ] {
        let claims = json!({"sub": "s", "email": "jane@example.com", "email_verified": verified});
        let refused = derive_email(Email::default(), claims).map(|_| ());
        assert_eq!(refused, Err(IdentityError::EmailNotVerified { fault }), "{verified}");
    }
    let refused = derive_email(Email::default(), json!({"sub": "s", "email": "jane@example.com"}));
    let fault = EmailVerifiedFault::Missing;
    assert_eq!(refused.map(|_| ()), Err(IdentityError::EmailNotVerified { fault }));
}

#[test]
fn nt_32_skip_email_verification_counts_for_its_own_issuer_only() {
    let other = "https://other.example.com";
    let skipping = Email { skip_email_verification: true, ..Email::default() };
    let profiles = Profiles::new([
        (published(ISSUER, IssuerType::Email), Profile::Email(skipping)),
        (published(other, IssuerType::Email), Profile::Email(Email::default())),
    ]);
    let claims = json!({"sub": "s", "email": "jane@example.com"});
    assert!(profiles.derive(token(claims.clone())).is_ok());
    let refused =
        profiles.derive(VerifiedToken::dangerous_unverified(other, other, claims.clone()));
    assert!(matches!(refused, Err(IdentityError::EmailNotVerified { .. })));
}

#[test]
fn an_email_token_without_a_usable_address_is_refused() {
    let claims = |email: Value| json!({"sub": "s", "email": email, "email_verified": true});
    let refused = |email| derive_email(Email::default(), claims(email)).map(|_| ());
    assert_eq!(refused(json!("")), unusable("email", UnusableClaim::Empty));
    assert_eq!(refused(json!(["a@b.example"])), unusable("email", UnusableClaim::NotAString));
    assert!(matches!(refused(json!(null)), Err(IdentityError::MissingClaim { .. })));
    for address in ["no-at", "a@b@c.example", "a b@c.example", "a\n@c.example", "é@c.example"] {
        assert!(matches!(refused(json!(address)), Err(IdentityError::Name { .. })), "{address}");
    }
}

#[test]
fn nt_31_the_issuer_claim_replaces_the_issuer_and_must_be_there() {
    let path: IssuerClaim = "$.federated_claims.connector_id".parse().unwrap();
    let email = Email { issuer_claim: Some(path), skip_email_verification: false };
    let claims = |federated: Value| {
        json!({"sub": "s", "email": "jane@example.com", "email_verified": true,
               "federated_claims": federated})
    };
    let derive = |federated| derive_email(email.clone(), claims(federated));
    let named = derive(json!({"connector_id": "https://github.com/login/oauth"})).unwrap();
    let issuer = named.extensions().value(ExtensionField::Issuer);
    assert_eq!(issuer, Some("https://github.com/login/oauth"));
    let path = "federated_claims.connector_id";
    let refused = |federated| derive(federated).map(|_| ());
    let missing = || Err(IdentityError::MissingClaim { claim: path.to_owned() });
    assert_eq!(refused(json!({})), missing());
    assert_eq!(refused(json!("text")), missing());
    assert_eq!(refused(json!({"connector_id": null})), missing());
    assert_eq!(refused(json!({"connector_id": ""})), unusable(path, UnusableClaim::Empty));
    assert_eq!(refused(json!({"connector_id": 7})), unusable(path, UnusableClaim::NotAString));
    let newline = json!({"connector_id": "https://a\nb"});
    assert_eq!(refused(newline), unusable(path, UnusableClaim::ControlCharacter));
}

#[test]
fn only_member_names_after_the_root_are_an_issuer_claim() {
    for text in ["", "$", "$.", "a.b", "$.a..b", "$.a.", "$.a[0]", "$..a", "$.*", "$.a b", "$['a']"]
    {
        assert!(text.parse::<IssuerClaim>().is_err(), "{text}");
    }
    assert!("$.a".parse::<IssuerClaim>().is_ok());
}

const GITHUB: &str = "{{ .url }}/{{ .job_workflow_ref }}";
const GITHUB_DEFAULTS: [(&str, &str); 1] = [("url", "https://github.com")];

#[test]
fn a_github_shaped_token_yields_the_names_that_verifiers_know() {
    let extensions = [
        (ExtensionField::BuildTrigger, "event_name"),
        (ExtensionField::SourceRepositoryUri, "{{ .url }}/{{ .repository }}"),
        (ExtensionField::DeploymentEnvironment, "environment"),
        (ExtensionField::SourceRepositoryIdentifier, "repository_id"),
    ];
    let defaults = [("url", "https://github.com"), ("environment", "")];
    let claims = json!({
        "sub": "repo:o/r:ref:refs/heads/main", "event_name": "push", "repository": "o/r",
        "repository_id": 831_042_001, "job_workflow_ref": "o/r/.github/workflows/a.yml@refs/heads/m",
    });
    let identity = derive_ci(provider(&defaults, &extensions, GITHUB), claims).unwrap();
    assert_eq!(identity.san().kind(), NameKind::Uri);
    let san = "https://github.com/o/r/.github/workflows/a.yml@refs/heads/m";
    assert_eq!(identity.san().value(), san);
    let value = |field| identity.extensions().value(field);
    assert_eq!(value(ExtensionField::BuildTrigger), Some("push"));
    assert_eq!(value(ExtensionField::SourceRepositoryUri), Some("https://github.com/o/r"));
    assert_eq!(value(ExtensionField::SourceRepositoryIdentifier), Some("831042001"));
    assert_eq!(value(ExtensionField::DeploymentEnvironment), None, "empty is left out");
    assert_eq!(value(ExtensionField::Issuer), Some(ISSUER));
    assert_eq!(value(ExtensionField::TokenSubject), Some("repo:o/r:ref:refs/heads/main"));
}

#[test]
fn nt_35_scalars_have_one_text_form_and_everything_else_is_refused() {
    let value = |claim: Value| {
        let extensions = [(ExtensionField::BuildTrigger, "v")];
        let claims = json!({"sub": "s", "p": "p", "v": claim});
        let identity = derive_ci(provider(&[], &extensions, "https://h.example/{{ .p }}"), claims)?;
        Ok(identity.extensions().value(ExtensionField::BuildTrigger).map(str::to_owned))
    };
    for (claim, expected) in [
        (json!(true), "true"),
        (json!(false), "false"),
        (json!(0), "0"),
        (json!(-5), "-5"),
        (json!(1_000_000_000), "1000000000"),
        (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
        (json!(1e6), "1000000"),
        (json!(2.5), "2.5"),
        (json!(1e-7), "0.0000001"),
        (json!("{{ .sub }} & <b>"), "{{ .sub }} & <b>"),
    ] {
        assert_eq!(value(claim), Ok(Some(expected.to_owned())));
    }
    let huge: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
    assert_eq!(value(huge), unusable("v", UnusableClaim::InexactNumber));
    assert_eq!(value(json!({"a": 1})), unusable("v", UnusableClaim::NotAScalar));
    assert_eq!(value(json!(["a"])), unusable("v", UnusableClaim::NotAScalar));
    assert_eq!(value(json!("a\nb")), unusable("v", UnusableClaim::ControlCharacter));
    assert_eq!(value(json!("a\u{0}")), unusable("v", UnusableClaim::ControlCharacter));
    assert_eq!(value(json!(null)), Err(IdentityError::MissingClaim { claim: "v".to_owned() }));
    let long = value(json!("x".repeat(5000)));
    assert!(matches!(long, Err(IdentityError::TooLong { .. })));
}

#[test]
fn a_null_claim_leaves_the_default_in_place() {
    let san = san_of(&GITHUB_DEFAULTS, GITHUB, json!({"url": null, "job_workflow_ref": "o/r"}));
    assert_eq!(san.as_deref(), Ok("https://github.com/o/r"));
}

#[test]
fn a_claim_stands_in_for_a_default_of_its_name_as_regional_issuers_need() {
    let claims = json!({"url": "https://eu.example.com:8443/base", "job_workflow_ref": "o/r"});
    let san = san_of(&GITHUB_DEFAULTS, GITHUB, claims);
    assert_eq!(san.as_deref(), Ok("https://eu.example.com:8443/base/o/r"));
}

#[test]
fn nt_35_a_value_that_decides_the_host_must_be_a_plain_origin() {
    for url in [
        "https://github.com@evil.example",
        "https://user:pw@evil.example",
        "https://evil.example?x=",
        "https://evil.example#",
        "https://evil.example\\",
        "https://evil.example%2f",
        "https://[::1]",
        "https://",
        "https:///x",
        "https://evil.example:",
        "https://evil.example:80x",
        "//evil.example",
        "javascript://evil.example",
        "ftp://evil.example",
        " https://evil.example",
        "",
    ] {
        let refused =
            san_of(&GITHUB_DEFAULTS, GITHUB, json!({"url": url, "job_workflow_ref": "o/r"}));
        assert_eq!(refused, unusable("url", UnusableClaim::NotAnOrigin), "{url}");
    }
    for host in ["a@b.example/x", "b.example?x", "[::1]/x", "/x", "", "b.example:x/y", "b c/x"] {
        let refused = san_of(&[], "https://{{ .ref }}", json!({"ref": host}));
        assert_eq!(refused, unusable("ref", UnusableClaim::NotAHost), "{host}");
    }
}

#[test]
fn nt_35_a_claim_behind_the_host_cannot_reach_it() {
    use UnusableClaim::{ControlCharacter, Empty, UriDelimiter};
    for (value, reason) in [
        ("a?b", UriDelimiter),
        ("a\\b", UriDelimiter),
        ("a%2fb", UriDelimiter),
        ("a\u{2003}b", UriDelimiter),
        ("a\u{a0}b", UriDelimiter),
        ("a\nb", ControlCharacter),
        ("a\u{7f}b", ControlCharacter),
        ("", Empty),
    ] {
        let refused = san_of(&GITHUB_DEFAULTS, GITHUB, json!({"job_workflow_ref": value}));
        assert_eq!(refused, unusable("job_workflow_ref", reason), "{value:?}");
    }
    for value in ["..", "../x", "a/../../x", "a/.", "./a"] {
        let refused = san_of(&GITHUB_DEFAULTS, GITHUB, json!({"job_workflow_ref": value}));
        assert_eq!(refused, Err(IdentityError::DotSegment), "{value}");
    }
    for (value, kept) in [
        ("@evil.example/x", "@evil.example/x"),
        ("//evil.example", "//evil.example"),
        ("https://evil.example", "https://evil.example"),
        ("g//.gitlab-ci.yml@refs/heads/m", "g//.gitlab-ci.yml@refs/heads/m"),
        ("a<b>{c}", "a%3Cb%3E%7Bc%7D"),
        ("o/r/.github/workflows/my build.yml@m", "o/r/.github/workflows/my%20build.yml@m"),
        ("refs/heads/ümläut", "refs/heads/%C3%BCml%C3%A4ut"),
        // A branch's name, and never a fragment (NT-34).
        ("o/r/w.yml@refs/heads/fix#1", "o/r/w.yml@refs/heads/fix%231"),
    ] {
        let san = san_of(&GITHUB_DEFAULTS, GITHUB, json!({"job_workflow_ref": value}));
        assert_eq!(san, Ok(format!("https://github.com/{kept}")), "{value}");
    }
}

#[test]
fn nt_35_a_template_whose_host_has_two_sources_is_refused_at_load() {
    for template in [
        "https://github.com{{ .path }}",
        "https://{{ .tenant }}.example.com/{{ .x }}",
        "https://{{ .a }}{{ .b }}",
        "{{ .url }}{{ .path }}",
        "{{ .url }}.example.com/",
        "{{if eq .a \"b\"}}https://x.example/{{ else }}https://y.example/{{ end }}{{ .x }}",
        "https://user@github.com/{{ .x }}",
        "https:///{{ .x }}",
        "urn:{{ .x }}",
        "ftp://h.example/{{ .x }}",
    ] {
        let refused = SanTemplate::parse(template);
        assert_eq!(refused, Err(SanTemplateError::Authority), "{template}");
    }
    let constant = SanTemplate::parse("https://h.example/{{ \"x\" }}");
    assert!(matches!(constant, Err(SanTemplateError::Template(_))));
}

proptest::proptest! {
    #[test]
    fn nt_35_no_claim_changes_the_host_that_the_template_says(value in proptest::prelude::any::<String>()) {
        let san = san_of(&GITHUB_DEFAULTS, GITHUB, json!({"job_workflow_ref": value}));
        if let Ok(san) = san {
            let parsed = url::Url::parse(&san).expect("every name is a URL");
            proptest::prop_assert_eq!(parsed.host_str(), Some("github.com"));
            proptest::prop_assert_eq!(parsed.username(), "");
            proptest::prop_assert_eq!((parsed.query(), parsed.fragment()), (None, None));
        }
    }

    #[test]
    fn nt_35_two_claims_never_meet_in_one_name(a in "\\PC{1,8}", b in "\\PC{1,8}") {
        let san = |v: &str| san_of(&GITHUB_DEFAULTS, GITHUB, json!({"job_workflow_ref": v}));
        if let (Ok(first), Ok(second)) = (san(&a), san(&b)) {
            proptest::prop_assert_eq!(first == second, a == b);
        }
    }
}

#[test]
fn a_token_of_an_issuer_without_profile_is_refused() {
    let refused = Profiles::default().derive(token(json!({"sub": "s"})));
    assert!(matches!(refused, Err(IdentityError::NoProfile { .. })));
}

#[test]
fn nt_33_the_same_subject_at_two_issuers_is_two_identities() {
    let other = "https://other.example.com";
    let email = || Profile::Email(Email::default());
    let profiles = Profiles::new([
        (published(ISSUER, IssuerType::Email), email()),
        (published(other, IssuerType::Email), email()),
    ]);
    let claims = json!({"sub": "s", "email": "jane@example.com", "email_verified": true});
    let first = profiles.derive(token(claims.clone())).unwrap();
    let second =
        profiles.derive(VerifiedToken::dangerous_unverified(other, other, claims)).unwrap();
    assert_ne!(first.extensions(), second.extensions());
}

#[test]
fn every_type_is_known_by_its_own_name() {
    for kind in IssuerType::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert!("Email".parse::<IssuerType>().is_err());
}
