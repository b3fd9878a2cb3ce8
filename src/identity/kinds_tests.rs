//! The kinds that make a name of `sub`, or of one object of claims.

use serde_json::{Value, json};

use super::*;
use crate::x509::names::{NameError, NameKind};

const ISSUER: &str = "https://issuer.example.com";

fn derive(kind: IssuerType, profile: Profile, claims: Value) -> Result<Identity, IdentityError> {
    derive_at(ISSUER, kind, profile, claims)
}

fn derive_at(
    issuer: &str,
    kind: IssuerType,
    profile: Profile,
    claims: Value,
) -> Result<Identity, IdentityError> {
    let published = PublishedIssuer {
        name: PublishedName::Url(issuer.to_owned()),
        audience: "sigstore".to_owned(),
        challenge_claim: kind.default_challenge_claim().to_owned(),
        spiffe_trust_domain: String::new(),
        issuer_type: kind,
        subject_domain: String::new(),
        skip_email_verification: false,
    };
    let token = VerifiedToken::dangerous_unverified(issuer, issuer, claims);
    Profiles::new([(published, profile)]).derive(token)
}

/// The name, its kind and no extension but issuer and subject.
fn plain_name(identity: &Identity) -> (NameKind, &str) {
    let mut expected = FulcioExtensions::default();
    expected.set(ExtensionField::Issuer, identity.issuer().to_owned());
    expected.set(ExtensionField::TokenSubject, identity.subject().to_owned());
    assert_eq!(*identity.extensions(), expected);
    (identity.san().kind(), identity.san().value())
}

fn refusal(outcome: Result<Identity, IdentityError>) -> IdentityError {
    match outcome {
        Ok(identity) => panic!("accepted as {}", identity.san().value()),
        Err(error) => error,
    }
}

fn derive_uri(subject_domain: &str, subject: &str) -> Result<Identity, IdentityError> {
    let profile = Profile::Uri(Uri::new(subject_domain).unwrap());
    derive(IssuerType::Uri, profile, json!({ "sub": subject }))
}

#[test]
fn a_uri_subject_under_its_origin_is_the_name() {
    for domain in ["https://example.com", "https://example.com/"] {
        for subject in ["https://example.com", "https://example.com/users/1?a=b#"] {
            let subject = subject.trim_end_matches('#');
            let identity = derive_uri(domain, subject).unwrap();
            assert_eq!(plain_name(&identity), (NameKind::Uri, subject));
            assert_eq!(identity.challenges(), [subject]);
        }
    }
}

#[test]
fn nt_34_a_uri_subject_of_another_origin_is_refused() {
    for subject in [
        "https://example.com.evil.example/x",
        "https://example.community/x",
        "https://evil.example/https://example.com",
        "https://www.example.com/x",
        "http://example.com/x",
        "HTTPS://example.com/x",
        "https://EXAMPLE.com/x",
        "https://example.com:8443/x",
    ] {
        let expected = "https://example.com".to_owned();
        let refused = refusal(derive_uri("https://example.com", subject));
        assert_eq!(refused, IdentityError::ForeignSubject { expected }, "{subject}");
    }
    assert!(derive_uri("https://example.com:8443", "https://example.com:8443/x").is_ok());
}

#[test]
fn nt_34_a_uri_subject_that_reads_in_two_ways_is_refused() {
    for subject in [
        "https://example.com@evil.example/x",
        "https://user:pw@example.com/x",
        "https://example.com/x#y",
        "https://example.com/ü",
        "https://example.com/a b",
        "https://example.com/a\nb",
        "https://example.com\\evil",
        "jane@example.com",
        "example.com/x",
    ] {
        let refused = refusal(derive_uri("https://example.com", subject));
        assert!(matches!(refused, IdentityError::Name { .. }), "{subject:?}: {refused}");
    }
    for path in ["/..", "/../x", "/a/./b", "/%2e%2E/x", "/a/.%2e"] {
        let subject = format!("https://example.com{path}");
        let refused = refusal(derive_uri("https://example.com", &subject));
        assert_eq!(refused, IdentityError::DotSegment, "{path}");
    }
}

#[test]
fn a_subject_domain_of_uris_is_an_origin_and_no_more() {
    for text in ["", "example.com", "https://", "https://*.example.com", "https://a@b.example"] {
        assert!(matches!(Uri::new(text), Err(UriOriginError::Name { .. })), "{text}");
    }
    for text in ["https://example.com/users", "https://example.com/?x", "https://example.com?x"] {
        assert_eq!(Uri::new(text), Err(UriOriginError::MoreThanOrigin), "{text}");
    }
}

fn derive_username(subject: &str) -> Result<Identity, IdentityError> {
    let profile = Profile::Username(Username::new("example.com").unwrap());
    derive(IssuerType::Username, profile, json!({ "sub": subject }))
}

#[test]
fn a_user_name_stands_before_the_domain_of_its_issuer() {
    let identity = derive_username("jane.doe").unwrap();
    assert_eq!(plain_name(&identity), (NameKind::Username, "jane.doe!example.com"));
    assert_eq!(identity.challenges(), ["jane.doe"]);
}

#[test]
fn nt_36_a_user_name_cannot_bring_its_own_domain() {
    for subject in ["jane!evil.example", "!", "jane@example.com", "jane@", "jane!example.com"] {
        let refused = refusal(derive_username(subject));
        let reserved = matches!(
            refused,
            IdentityError::Name { reason: NameError::ReservedInUsername { .. }, .. }
        );
        assert!(reserved, "{subject}: {refused}");
    }
    for subject in ["jane doe", "jane\n", "jane\0", "jäne"] {
        let refused = refusal(derive_username(subject));
        assert!(matches!(refused, IdentityError::Name { .. }), "{subject:?}: {refused}");
    }
    for domain in ["", "https://example.com", "example.com/x", "a b.example", "x!example.com"] {
        assert!(Username::new(domain).is_err(), "{domain}");
    }
}

fn derive_spiffe(trust_domain: &str, subject: &str) -> Result<Identity, IdentityError> {
    let profile = Profile::Spiffe(Spiffe::new(trust_domain).unwrap());
    derive(IssuerType::Spiffe, profile, json!({ "sub": subject }))
}

#[test]
fn a_spiffe_id_of_the_trust_domain_is_the_name() {
    let subject = "spiffe://prod.example.com/ns/default/sa/Web_1.0-x";
    for domain in ["prod.example.com", "spiffe://prod.example.com"] {
        let identity = derive_spiffe(domain, subject).unwrap();
        assert_eq!(plain_name(&identity), (NameKind::Uri, subject));
        assert_eq!(identity.challenges(), [subject]);
    }
}

#[test]
fn nt_30_a_spiffe_id_of_another_trust_domain_is_refused() {
    for subject in [
        "spiffe://example.com/web",
        "spiffe://sub.prod.example.com/web",
        "spiffe://prod.example.com.evil.example/web",
        "spiffe://prod.example.comm/web",
        "spiffe://prod.example.com:443/web",
        "spiffe://prod.example.com@evil.example/web",
        "spiffe://user@prod.example.com/web",
        "spiffe://PROD.example.com/web",
        "SPIFFE://prod.example.com/web",
        "https://prod.example.com/web",
        "prod.example.com/web",
        "spiffe:///web",
    ] {
        let expected = "spiffe://prod.example.com".to_owned();
        let refused = refusal(derive_spiffe("prod.example.com", subject));
        assert_eq!(refused, IdentityError::ForeignSubject { expected }, "{subject}");
    }
}

#[test]
fn nt_30_a_spiffe_path_has_one_way_to_be_written() {
    for path in [
        "",
        "/",
        "/a/",
        "//a",
        "/a//b",
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/%2e%2e/a",
        "/a%2fb",
        "/a b",
        "/ü",
        "/a?b",
        "/a#b",
        "/a\\b",
        "/a:b",
        "/a\n",
    ] {
        let refused = refusal(derive_spiffe("example.com", &format!("spiffe://example.com{path}")));
        let claim = "sub".to_owned();
        let reason = UnusableClaim::NotASpiffeId;
        assert_eq!(refused, IdentityError::UnusableClaim { claim, reason }, "{path:?}");
    }
    let long = format!("spiffe://example.com/{}", "a".repeat(2048));
    let refused = refusal(derive_spiffe("example.com", &long));
    assert!(matches!(refused, IdentityError::Name { .. }), "{refused}");
}

#[test]
fn nt_30_a_trust_domain_is_a_lower_case_host_name() {
    for text in [
        "",
        "spiffe://",
        "Example.com",
        "example.com/x",
        "example.com:443",
        "*.example.com",
        "https://example.com",
        "user@example.com",
        "exa mple.com",
        "spiffe://example.com/",
    ] {
        assert_eq!(Spiffe::new(text), Err(TrustDomainError { text: text.to_owned() }), "{text}");
    }
}

fn derive_kubernetes(cluster: Value) -> Result<Identity, IdentityError> {
    let claims = json!({ "sub": "system:serviceaccount:ns:sa", "kubernetes.io": cluster });
    derive(IssuerType::Kubernetes, Profile::Kubernetes, claims)
}

#[test]
fn a_service_account_is_named_by_namespace_and_name() {
    let identity = derive_kubernetes(json!({
        "namespace": "team-1", "pod": {"name": "p", "uid": "u"},
        "serviceaccount": {"name": "builder.prod", "uid": "u"},
    }));
    let identity = identity.unwrap();
    let name = "https://kubernetes.io/namespaces/team-1/serviceaccounts/builder.prod";
    assert_eq!(plain_name(&identity), (NameKind::Uri, name));
    assert_eq!(identity.challenges(), ["system:serviceaccount:ns:sa"]);
}

/// The reference writes `https://kubernetes.io/namespaces//serviceaccounts/` in these cases.
#[test]
fn a_service_account_without_namespace_or_name_is_refused() {
    let missing = |claim: &str| IdentityError::MissingClaim { claim: claim.to_owned() };
    let unusable =
        |claim: &str, reason| IdentityError::UnusableClaim { claim: claim.to_owned(), reason };
    for cluster in [json!(null), json!("ns"), json!([]), json!({}), json!({"namespace": null})] {
        let refused = refusal(derive_kubernetes(cluster));
        assert_eq!(refused, missing("kubernetes.io.namespace"));
    }
    for account in [json!(null), json!("sa"), json!({}), json!({"name": null}), json!({"uid": "u"})]
    {
        let refused = derive_kubernetes(json!({"namespace": "ns", "serviceaccount": account}));
        assert_eq!(refusal(refused), missing("kubernetes.io.serviceaccount.name"));
    }
    for (wrong, reason) in [
        (json!(""), UnusableClaim::Empty),
        (json!(7), UnusableClaim::NotAString),
        (json!(["ns"]), UnusableClaim::NotAString),
        (json!("a/serviceaccounts/b"), UnusableClaim::NotAKubernetesName),
        (json!(".."), UnusableClaim::NotAKubernetesName),
        (json!("-a"), UnusableClaim::NotAKubernetesName),
        (json!("a-"), UnusableClaim::NotAKubernetesName),
        (json!("Default"), UnusableClaim::NotAKubernetesName),
        (json!("a%2fb"), UnusableClaim::NotAKubernetesName),
        (json!("a?b"), UnusableClaim::NotAKubernetesName),
        (json!("a\nb"), UnusableClaim::NotAKubernetesName),
        (json!("a".repeat(64)), UnusableClaim::NotAKubernetesName),
    ] {
        let in_namespace = json!({"namespace": wrong, "serviceaccount": {"name": "sa"}});
        let refused = refusal(derive_kubernetes(in_namespace));
        assert_eq!(refused, unusable("kubernetes.io.namespace", reason), "{wrong}");
        let in_name = json!({"namespace": "ns", "serviceaccount": {"name": wrong}});
        let refused = refusal(derive_kubernetes(in_name));
        assert_eq!(refused, unusable("kubernetes.io.serviceaccount.name", reason), "{wrong}");
    }
    let dotted = json!({"namespace": "a.b", "serviceaccount": {"name": "sa"}});
    let reason = UnusableClaim::NotAKubernetesName;
    assert_eq!(refusal(derive_kubernetes(dotted)), unusable("kubernetes.io.namespace", reason));
    let long = vec!["a".repeat(63); 4].join(".");
    let long = json!({"namespace": "ns", "serviceaccount": {"name": long}});
    let refused = refusal(derive_kubernetes(long));
    assert_eq!(refused, unusable("kubernetes.io.serviceaccount.name", reason));
}

#[test]
fn nt_33_one_service_account_of_two_clusters_is_two_identities() {
    let claims = json!({
        "sub": "system:serviceaccount:ns:sa",
        "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa"}},
    });
    let of = |issuer| {
        derive_at(issuer, IssuerType::Kubernetes, Profile::Kubernetes, claims.clone()).unwrap()
    };
    let (first, second) = (of("https://a.example.com/id/1"), of("https://a.example.com/id/2"));
    assert_eq!(first.san(), second.san());
    assert_ne!(first.extensions(), second.extensions());
}

fn derive_chainguard(claims: Value) -> Result<Identity, IdentityError> {
    derive(IssuerType::ChainguardIdentity, Profile::Chainguard, claims)
}

#[test]
fn a_chainguard_identity_is_the_issuer_with_the_subject_behind_it() {
    let name = "https://issuer.example.com/0123/4567";
    for issuer in [ISSUER, "https://issuer.example.com/"] {
        let claims = json!({"sub": "0123/4567", "act": {"a": "b"}});
        let identity =
            derive_at(issuer, IssuerType::ChainguardIdentity, Profile::Chainguard, claims);
        let identity = identity.unwrap();
        assert_eq!(plain_name(&identity), (NameKind::Uri, name));
        assert_eq!(identity.challenges(), ["0123/4567"]);
    }
}

#[test]
fn an_issuer_that_came_by_a_pattern_is_named_by_its_own_url() {
    let pattern = "https://issuer.example.com/*";
    let published = PublishedIssuer {
        name: PublishedName::Wildcard(pattern.to_owned()),
        audience: "sigstore".to_owned(),
        challenge_claim: "sub".to_owned(),
        spiffe_trust_domain: String::new(),
        issuer_type: IssuerType::ChainguardIdentity,
        subject_domain: String::new(),
        skip_email_verification: false,
    };
    let profiles = Profiles::new([(published, Profile::Chainguard)]);
    let issuer = "https://issuer.example.com/tenant-1";
    let token = VerifiedToken::dangerous_unverified(issuer, pattern, json!({"sub": "a"}));
    let identity = profiles.derive(token).unwrap();
    let name = "https://issuer.example.com/tenant-1/a";
    assert_eq!(plain_name(&identity), (NameKind::Uri, name));
}

#[test]
fn a_chainguard_identity_with_an_address_may_sign_it_once_it_is_verified() {
    let claims = |email: Value, verified: Value| {
        derive_chainguard(json!({"sub": "s", "email": email, "email_verified": verified}))
    };
    let identity = claims(json!("jane@example.com"), json!(true)).unwrap();
    assert_eq!(identity.challenges(), ["jane@example.com", "s"]);
    assert_eq!(identity.san().value(), "https://issuer.example.com/s", "never the address");
    assert!(claims(json!(""), json!(null)).is_ok());
    for verified in [json!(false), json!(null), json!("no")] {
        let refused = refusal(claims(json!("jane@example.com"), verified));
        assert!(matches!(refused, IdentityError::EmailNotVerified { .. }), "{refused}");
    }
    let refused = refusal(claims(json!(["jane@example.com"]), json!(true)));
    let (claim, reason) = ("email".to_owned(), UnusableClaim::NotAString);
    assert_eq!(refused, IdentityError::UnusableClaim { claim, reason });
}

#[test]
fn nt_34_a_chainguard_subject_cannot_reach_beyond_its_own_name() {
    let refused = |subject: &str| refusal(derive_chainguard(json!({ "sub": subject })));
    let unusable = |reason| IdentityError::UnusableClaim { claim: "sub".to_owned(), reason };
    for subject in ["..", "../x", "a/..", "./a"] {
        assert_eq!(refused(subject), IdentityError::DotSegment, "{subject}");
    }
    for subject in ["/a", "a//b", "//evil.example/x"] {
        assert_eq!(refused(subject), IdentityError::EmptySegment, "{subject}");
    }
    for subject in ["a?b", "a%2fb", "a\\b", "a\u{a0}b"] {
        assert_eq!(refused(subject), unusable(UnusableClaim::UriDelimiter), "{subject}");
    }
    assert_eq!(refused("a\nb"), unusable(UnusableClaim::ControlCharacter));
}
