use serde_json::{Value, json};

use super::*;
use crate::{identity::template::Part, x509::FulcioExtensions};

const TABLES: [&Table; 4] = [&github::TABLE, &gitlab::TABLE, &buildkite::TABLE, &codefresh::TABLE];

fn github_claims() -> Value {
    json!({
        "sub": "repo:o/r:ref:refs/heads/main", "event_name": "push",
        "job_workflow_ref": "shared/w/.github/workflows/sign.yml@refs/tags/v1",
        "job_workflow_sha": "1111", "ref": "refs/heads/main", "repository": "o/r",
        "repository_id": "1001", "repository_owner": "o", "repository_owner_id": "2002",
        "repository_visibility": "public", "run_attempt": "2", "run_id": "3003",
        "runner_environment": "github-hosted", "sha": "4444", "workflow": "release",
        "workflow_ref": "o/r/.github/workflows/main.yml@refs/heads/main", "workflow_sha": "5555",
    })
}

fn gitlab_claims() -> Value {
    json!({
        "sub": "project_path:g/p:ref_type:branch:ref:main",
        "ci_config_ref_uri": "gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": "1111", "job_id": "302", "namespace_id": "72", "namespace_path": "g",
        "pipeline_id": "574", "pipeline_source": "web", "project_id": "20",
        "project_path": "g/p", "project_visibility": "public", "ref": "main",
        "ref_type": "branch", "runner_environment": "gitlab-hosted", "runner_id": 1,
        "sha": "4444",
    })
}

fn buildkite_claims() -> Value {
    json!({
        "sub": "organization:acme:pipeline:web:ref:refs/heads/main", "organization_slug": "acme",
        "pipeline_slug": "web",
    })
}

fn codefresh_claims() -> Value {
    json!({
        "sub": "account:628a:pipeline:65e5", "account_id": "628a", "account_name": "acme",
        "pipeline_id": "65e5", "pipeline_name": "web/release", "runner_environment": "hybrid",
        "platform_url": "https://codefresh.corp.example.com", "scm_ref": "main",
        "scm_repo_url": "https://github.com/acme/web", "workflow_id": "64f4",
    })
}

/// A type with claims that suit it.
fn kinds() -> [(FixedCi, Value); 4] {
    [
        (FixedCi::github_workflow(), github_claims()),
        (FixedCi::gitlab_pipeline(), gitlab_claims()),
        (FixedCi::buildkite_job(), buildkite_claims()),
        (FixedCi::codefresh_workflow(), codefresh_claims()),
    ]
}

fn name(kind: &FixedCi, claims: Value) -> Result<Name, IdentityError> {
    let issuer = "https://issuer.example.com";
    kind.name(&VerifiedToken::dangerous_unverified(issuer, issuer, claims))
}

fn changed(claims: &Value, claim: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[claim] = value;
    claims
}

fn san(kind: &FixedCi, claims: Value) -> Result<String, IdentityError> {
    name(kind, claims).map(|name| name.san.value().to_owned())
}

fn unusable(claim: &str, reason: UnusableClaim) -> Result<String, IdentityError> {
    Err(claim::unusable(claim, reason))
}

fn assert_extensions(found: &FulcioExtensions, expected: &[(ExtensionField, &str)]) {
    let mut all = FulcioExtensions::default();
    for (field, value) in expected {
        all.set(*field, (*value).to_owned());
    }
    assert_eq!(*found, all);
}

#[test]
fn a_github_workflow_has_the_name_and_extensions_of_the_reference() {
    use ExtensionField as F;
    let name = name(&FixedCi::github_workflow(), github_claims()).unwrap();
    let signer = "https://github.com/shared/w/.github/workflows/sign.yml@refs/tags/v1";
    assert_eq!(name.san.value(), signer);
    assert_extensions(
        &name.extensions,
        &[
            (F::GithubWorkflowTrigger, "push"),
            (F::GithubWorkflowSha, "4444"),
            (F::GithubWorkflowName, "release"),
            (F::GithubWorkflowRepository, "o/r"),
            (F::GithubWorkflowRef, "refs/heads/main"),
            (F::BuildSignerUri, signer),
            (F::BuildSignerDigest, "1111"),
            (F::RunnerEnvironment, "github-hosted"),
            (F::SourceRepositoryUri, "https://github.com/o/r"),
            (F::SourceRepositoryDigest, "4444"),
            (F::SourceRepositoryRef, "refs/heads/main"),
            (F::SourceRepositoryIdentifier, "1001"),
            (F::SourceRepositoryOwnerUri, "https://github.com/o"),
            (F::SourceRepositoryOwnerIdentifier, "2002"),
            (
                F::BuildConfigUri,
                "https://github.com/o/r/.github/workflows/main.yml@refs/heads/main",
            ),
            (F::BuildConfigDigest, "5555"),
            (F::BuildTrigger, "push"),
            (F::RunInvocationUri, "https://github.com/o/r/actions/runs/3003/attempts/2"),
            (F::SourceRepositoryVisibilityAtSigning, "public"),
        ],
    );
}

/// GitHub changes `sub` to one with immutable ids; neither name nor extensions come from it.
#[test]
fn nt_37_the_form_of_a_github_subject_changes_neither_name_nor_extensions() {
    let kind = FixedCi::github_workflow();
    let subjects = ["repo:o/r:ref:refs/heads/main", "repo:o@2002/r@1001:ref:refs/heads/main"];
    let [old, immutable] = subjects
        .map(|subject| name(&kind, changed(&github_claims(), "sub", json!(subject))).unwrap());
    assert_eq!(old.san, immutable.san);
    assert_eq!(old.extensions, immutable.extensions);
}

#[test]
fn a_gitlab_pipeline_has_the_name_and_extensions_of_the_reference() {
    use ExtensionField as F;
    let name = name(&FixedCi::gitlab_pipeline(), gitlab_claims()).unwrap();
    let config = "https://gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main";
    assert_eq!(name.san.value(), config);
    assert_extensions(
        &name.extensions,
        &[
            (F::BuildSignerUri, config),
            (F::BuildSignerDigest, "1111"),
            (F::RunnerEnvironment, "gitlab-hosted"),
            (F::SourceRepositoryUri, "https://gitlab.com/g/p"),
            (F::SourceRepositoryDigest, "4444"),
            (F::SourceRepositoryRef, "refs/heads/main"),
            (F::SourceRepositoryIdentifier, "20"),
            (F::SourceRepositoryOwnerUri, "https://gitlab.com/g"),
            (F::SourceRepositoryOwnerIdentifier, "72"),
            (F::BuildConfigUri, config),
            (F::BuildConfigDigest, "1111"),
            (F::BuildTrigger, "web"),
            (F::RunInvocationUri, "https://gitlab.com/g/p/-/jobs/302"),
            (F::SourceRepositoryVisibilityAtSigning, "public"),
        ],
    );
}

#[test]
fn a_gitlab_ref_is_a_branch_or_a_tag_and_nothing_else() {
    let kind = FixedCi::gitlab_pipeline();
    let tag = name(&kind, changed(&gitlab_claims(), "ref_type", json!("tag"))).unwrap();
    let source_ref = tag.extensions.value(ExtensionField::SourceRepositoryRef);
    assert_eq!(source_ref, Some("refs/tags/main"));
    let reason = UnusableClaim::NotKnown { known: &["branch", "tag"] };
    for other in ["merge_request", "Branch", ""] {
        let refused = san(&kind, changed(&gitlab_claims(), "ref_type", json!(other)));
        assert_eq!(refused, unusable("ref_type", reason), "{other}");
    }
    for runner in [json!(0), json!(-1), json!(1.5), json!("1"), json!(true)] {
        let refused = san(&kind, changed(&gitlab_claims(), "runner_id", runner.clone()));
        assert_eq!(refused, unusable("runner_id", UnusableClaim::NotAnId), "{runner}");
    }
}

#[test]
fn a_buildkite_job_is_named_by_its_pipeline_and_says_no_more() {
    let name = name(&FixedCi::buildkite_job(), buildkite_claims()).unwrap();
    assert_eq!(name.san.value(), "https://buildkite.com/acme/web");
    assert_extensions(&name.extensions, &[]);
}

#[test]
fn a_codefresh_workflow_has_the_name_and_extensions_of_the_reference() {
    use ExtensionField as F;
    let kind = FixedCi::codefresh_workflow();
    let of_their_own = name(&kind, codefresh_claims()).unwrap();
    let san = "https://codefresh.corp.example.com/acme/web/release:628a/65e5";
    assert_eq!(of_their_own.san.value(), san);
    assert_extensions(
        &of_their_own.extensions,
        &[
            (F::BuildSignerUri, "https://codefresh.corp.example.com/build/64f4"),
            (F::RunnerEnvironment, "hybrid"),
            (F::SourceRepositoryUri, "https://github.com/acme/web"),
            (F::SourceRepositoryRef, "main"),
            (F::BuildConfigUri, "https://codefresh.corp.example.com/api/pipelines/65e5"),
            (F::RunInvocationUri, "https://codefresh.corp.example.com/build/64f4"),
        ],
    );
    for none in [Value::Null, json!("")] {
        let hosted = name(&kind, changed(&codefresh_claims(), "platform_url", none)).unwrap();
        assert_eq!(hosted.san.value(), "https://g.codefresh.io/acme/web/release:628a/65e5");
    }
}

#[test]
fn nt_35_a_platform_url_must_be_a_plain_origin() {
    let kind = FixedCi::codefresh_workflow();
    let with = |url: &str| san(&kind, changed(&codefresh_claims(), "platform_url", json!(url)));
    for url in ["codefresh.io", "https://g.codefresh.io@evil.example", "https://evil.example?"] {
        assert_eq!(with(url), unusable("platform_url", UnusableClaim::NotAnOrigin), "{url}");
    }
    // The reference would clean this away, and so give one name to two claims.
    assert_eq!(with("https://g.codefresh.io/"), Err(IdentityError::EmptySegment));
}

#[test]
fn each_claim_that_a_table_needs_is_refused_when_it_is_missing_empty_or_no_string() {
    let mut checked = 0;
    for (kind, claims) in kinds() {
        assert!(san(&kind, claims.clone()).is_ok());
        for (claim, needed) in kind.table.claims {
            if matches!(needed, Claim::TextOr(_)) {
                continue;
            }
            let missing = Err(IdentityError::MissingClaim { claim: (*claim).to_owned() });
            let mut without = claims.clone();
            without.as_object_mut().unwrap().remove(*claim).expect(claim);
            assert_eq!(san(&kind, without), missing);
            assert_eq!(san(&kind, changed(&claims, claim, Value::Null)), missing);
            for wrong in [json!(""), json!([]), json!({"a": "b"}), json!(true)] {
                let refused = san(&kind, changed(&claims, claim, wrong.clone()));
                let named = matches!(&refused,
                    Err(IdentityError::UnusableClaim { claim: named, .. }) if named == claim);
                assert!(named, "{claim} {wrong}: {refused:?}");
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 16 + 13 + 2 + 5);
}

#[test]
fn each_claim_that_is_a_string_is_not_taken_as_a_number() {
    for (kind, claims) in kinds() {
        for (claim, needed) in kind.table.claims {
            if matches!(needed, Claim::Text | Claim::TextOr(_)) {
                let refused = san(&kind, changed(&claims, claim, json!(7)));
                assert_eq!(refused, unusable(claim, UnusableClaim::NotAString), "{claim}");
            }
        }
    }
}

#[test]
fn each_claim_that_a_table_can_do_without_is_left_out_of_the_certificate() {
    for (kind, claims) in kinds() {
        let all = name(&kind, claims.clone()).unwrap();
        for (claim, needed) in kind.table.claims {
            let Claim::TextOr(default) = needed else { continue };
            let mut without = claims.clone();
            without.as_object_mut().unwrap().remove(*claim).expect(claim);
            let without = name(&kind, without).unwrap();
            assert_ne!(without.extensions, all.extensions, "{claim}");
            if default.is_empty() {
                assert_eq!(without.san, all.san, "{claim}");
                let empty = name(&kind, changed(&claims, claim, json!(""))).unwrap();
                assert_eq!(empty.extensions, without.extensions, "{claim}");
            }
        }
    }
}

#[test]
fn what_stands_as_a_uri_is_written_as_one() {
    let kind = FixedCi::github_workflow();
    let claims = changed(&github_claims(), "workflow_ref", json!("o/r/ü.yml@refs/heads/a#1 b"));
    let extensions = name(&kind, claims).unwrap().extensions;
    let config = extensions.value(ExtensionField::BuildConfigUri);
    assert_eq!(config, Some("https://github.com/o/r/%C3%BC.yml@refs/heads/a%231%20b"));
    // As the reference writes it; raw, it would begin a fragment (NT-34).
    let branch = changed(&github_claims(), "job_workflow_ref", json!("o/r/w.yml@refs/heads/fix#1"));
    let expected = "https://github.com/o/r/w.yml@refs/heads/fix%231";
    assert_eq!(san(&kind, branch).as_deref(), Ok(expected));
    let control = changed(&github_claims(), "workflow_ref", json!("o/r\n"));
    assert_eq!(san(&kind, control), unusable("workflow_ref", UnusableClaim::ControlCharacter));
}

#[test]
fn a_name_cannot_be_moved_by_its_claims() {
    for (kind, claims) in kinds() {
        for (claim, _) in kind.table.claims.iter().filter(|(claim, _)| used(kind.table.san, claim))
        {
            for value in ["a?b", "a%2fb", "a\\b", "a\u{a0}b"] {
                let refused = san(&kind, changed(&claims, claim, json!(value)));
                assert!(
                    matches!(refused, Err(IdentityError::UnusableClaim { .. })),
                    "{claim} {value}: {refused:?}"
                );
            }
        }
    }
}

#[test]
fn every_template_of_every_table_compiles_and_reads_only_claims_that_the_table_names() {
    for table in TABLES {
        let provider = FixedCi::of(table);
        assert_eq!(provider.table.san, table.san);
        let templates = table.extensions.iter().map(|(_, _, template)| *template);
        for template in templates.chain([table.san]) {
            let read = claims_of(&Template::parse(template).unwrap().parts);
            assert!(!read.is_empty(), "{template}");
            for claim in read {
                assert!(table.claims.iter().any(|(known, _)| *known == claim), "{claim}");
            }
        }
    }
}

fn used(template: &str, claim: &str) -> bool {
    claims_of(&Template::parse(template).unwrap().parts).contains(&claim.to_owned())
}

fn claims_of(parts: &[Part]) -> Vec<String> {
    let of = |part: &Part| match part {
        Part::Text(_) => Vec::new(),
        Part::Value(claim) => vec![claim.clone()],
        Part::Choice { claim, then, otherwise, .. } => {
            [vec![claim.clone()], claims_of(then), claims_of(otherwise)].concat()
        }
    };
    parts.iter().flat_map(of).collect()
}
