//! Tokens of the shapes that CI providers document, under the templates of an issuer file: our own
//! sample, and the public-good file where it is at hand. What comes out is what verifiers of
//! certificates of the public instance know.

use std::path::Path;

use serde_json::{Value, json};

use super::IssuerFile;
use crate::{
    identity::{Identity, IdentityError, Profiles},
    oidc::VerifiedToken,
    x509::names::NameKind,
};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/issuers.yaml");
const PUBLIC_GOOD: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/fulcio-identity-config.yaml");

fn profiles(path: &str) -> Profiles {
    IssuerFile::load(Path::new(path)).unwrap().for_serving().unwrap().1
}

/// The sample, and the public-good file where it is at hand.
fn files() -> Vec<(&'static str, Profiles)> {
    let mut files = vec![(SAMPLE, profiles(SAMPLE))];
    if Path::new(PUBLIC_GOOD).exists() {
        files.push((PUBLIC_GOOD, profiles(PUBLIC_GOOD)));
    } else {
        println!("skipped for the public-good file: {PUBLIC_GOOD} is not here");
    }
    files
}

fn derive(profiles: &Profiles, entry: &str, claims: &Value) -> Result<Identity, IdentityError> {
    let issuer = claims["iss"].as_str().unwrap();
    profiles.derive(VerifiedToken::dangerous_unverified(issuer, entry, claims.clone()))
}

/// A token, the entry that lets it in, and all that must come of it: the name, and the extensions
/// after the issuer (1, 8) and before the subject (24), by their last arc.
struct Case {
    entry: &'static str,
    claims: Value,
    san: &'static str,
    extensions: Vec<(u8, &'static str)>,
}

impl Case {
    fn check(&self, file: &str, profiles: &Profiles) {
        let identity = derive(profiles, self.entry, &self.claims).unwrap();
        assert_eq!(identity.san().kind(), NameKind::Uri, "{file}");
        assert_eq!(identity.san().value(), self.san, "{file}");
        let found: Vec<_> =
            identity.extensions().iter().map(|(row, value)| (row.arc, value)).collect();
        let issuer = self.claims["iss"].as_str().unwrap();
        let mut expected = vec![(1, issuer), (8, issuer)];
        expected.extend(&self.extensions);
        expected.push((24, self.claims["sub"].as_str().unwrap()));
        expected.sort_by_key(|(arc, _)| *arc);
        assert_eq!(found, expected, "{file}");
    }

    fn with(&self, claim: &str, value: Value) -> Value {
        let mut claims = self.claims.clone();
        claims[claim] = value;
        claims
    }
}

#[test]
fn every_provider_gets_the_name_and_extensions_that_its_verifiers_know() {
    for (file, profiles) in files() {
        for case in [github(), gitlab(), circleci(file), buildkite(), codefresh(), buddy()] {
            case.check(file, &profiles);
        }
    }
}

#[test]
fn an_enterprise_of_github_comes_in_by_the_pattern() {
    let case = github();
    let claims = case.with("iss", json!("https://token.actions.githubusercontent.com/octo-corp"));
    let entry = "https://token.actions.githubusercontent.com/*";
    for (file, profiles) in files() {
        Case { entry, claims: claims.clone(), ..github() }.check(file, &profiles);
    }
}

/// A number above 10^6 has no exponent, and a boolean is a word: both were bugs of the reference.
#[test]
fn nt_35_numbers_and_booleans_read_as_people_write_them() {
    let case = github();
    for (file, profiles) in files() {
        let claims = case.with("repository_id", json!(1_296_269_123_u64));
        let identity = derive(&profiles, case.entry, &claims).unwrap();
        let id = identity.extensions().iter().find(|(row, _)| row.arc == 15).unwrap().1;
        assert_eq!(id, "1296269123", "{file}");
        let circleci = circleci(file);
        for (rerun, expected) in [(json!(true), "ssh-rerun"), (json!("true"), "ssh-rerun")] {
            let claims = circleci.with("oidc.circleci.com/ssh-rerun", rerun);
            let identity = derive(&profiles, circleci.entry, &claims).unwrap();
            let runner = identity.extensions().iter().find(|(row, _)| row.arc == 11).unwrap().1;
            assert_eq!(runner, expected, "{file}");
        }
    }
}

#[test]
fn a_claim_with_an_empty_default_may_be_missing_null_or_empty() {
    for (file, profiles) in files() {
        for (mut case, claim, arcs) in [
            (github(), "environment", &[23][..]),
            (gitlab(), "environment", &[23]),
            (codefresh(), "scm_ref", &[14]),
            (codefresh(), "scm_repo_url", &[12]),
            (buddy(), "revision", &[13]),
            (buddy(), "ref", &[14]),
        ] {
            case.extensions.retain(|(arc, _)| !arcs.contains(arc));
            for value in [json!(""), Value::Null] {
                case.claims[claim] = value;
                case.check(file, &profiles);
            }
            case.claims.as_object_mut().unwrap().remove(claim);
            case.check(file, &profiles);
        }
    }
}

/// The reference leaves out what a pipeline without a commit has not; with `index` it would also
/// leave out what was mistyped, so here the issuer file has to say that a claim is optional.
#[test]
fn nt_35_a_missing_claim_without_default_is_refused_also_under_index() {
    for (file, profiles) in files() {
        for (mut case, claim) in [
            (github(), "job_workflow_ref"),
            (github(), "runner_environment"),
            (gitlab(), "ci_config_ref_uri"),
            (gitlab(), "ref_type"),
            (buildkite(), "pipeline_slug"),
            (codefresh(), "account_id"),
            (buddy(), "execution_id"),
            (circleci(file), "oidc.circleci.com/ssh-rerun"),
            (circleci(file), "oidc.circleci.com/pipeline-definition-id"),
        ] {
            let missing = IdentityError::MissingClaim { claim: claim.to_owned() };
            case.claims[claim] = Value::Null;
            let refused = derive(&profiles, case.entry, &case.claims).map(|_| ());
            assert_eq!(refused.as_ref(), Err(&missing), "{file}");
            case.claims.as_object_mut().unwrap().remove(claim);
            let refused = derive(&profiles, case.entry, &case.claims).map(|_| ());
            assert_eq!(refused, Err(missing), "{file}");
        }
        let mut case = circleci(file);
        let claim = "oidc.circleci.com/vcs-ref";
        case.claims.as_object_mut().unwrap().remove(claim);
        if file == SAMPLE {
            case.extensions.retain(|(arc, _)| *arc != 14);
            case.check(file, &profiles);
        } else {
            let missing = IdentityError::MissingClaim { claim: claim.to_owned() };
            assert_eq!(derive(&profiles, case.entry, &case.claims).map(|_| ()), Err(missing));
        }
    }
}

/// What users of a provider may choose: branches, files, pipelines, projects.
#[test]
fn nt_35_what_users_choose_moves_no_name_to_another_host() {
    let claims = [
        (github(), "job_workflow_ref"),
        (buildkite(), "pipeline_slug"),
        (codefresh(), "pipeline_name"),
        (buddy(), "project_name"),
    ];
    for (file, profiles) in files() {
        for (case, claim) in &claims {
            let host = url::Url::parse(case.san).unwrap().host_str().unwrap().to_owned();
            for text in [
                "@evil.example/x",
                "//evil.example/x",
                "/../../evil.example",
                "..",
                ".",
                "\\\\evil.example",
                "%2e%2e/x",
                "x?y",
                "x#y",
                "x\u{202e}y",
                "\u{ff0f}\u{ff0e}\u{ff0e}\u{ff0f}",
                "x\r\ny",
                "{{ .sub }}",
                "https://evil.example/",
            ] {
                let Ok(identity) = derive(&profiles, case.entry, &case.with(claim, json!(text)))
                else {
                    continue;
                };
                let san = identity.san().value();
                assert!(san.is_ascii() && san.starts_with(&format!("https://{host}/")), "{san}");
                let read = url::Url::parse(san).unwrap();
                assert_eq!(read.host_str(), Some(host.as_str()), "{file}: {text:?}");
                assert_eq!(read.as_str(), san, "{text:?}: a reader makes another name of it");
            }
        }
    }
}

fn github() -> Case {
    Case {
        entry: "https://token.actions.githubusercontent.com",
        claims: json!({
            "iss": "https://token.actions.githubusercontent.com", "aud": "sigstore",
            "sub": "repo:octo-org/octo-repo:environment:prod", "environment": "prod",
            "ref": "refs/heads/main", "sha": "b6f3", "repository": "octo-org/octo-repo",
            "repository_owner": "octo-org", "repository_visibility": "private",
            "repository_id": "74", "repository_owner_id": "65", "actor": "octocat",
            "actor_id": "12", "run_id": "9001", "run_number": "10", "run_attempt": "2",
            "runner_environment": "github-hosted", "workflow": "example-workflow",
            "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch",
            "ref_type": "branch", "ref_protected": "true",
            "workflow_ref": "octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main",
            "workflow_sha": "b6f3",
            "job_workflow_ref": "octo-org/automation/.github/workflows/oidc.yml@refs/tags/v1",
            "job_workflow_sha": "c7a4",
        }),
        san: "https://github.com/octo-org/automation/.github/workflows/oidc.yml@refs/tags/v1",
        extensions: vec![
            (2, "workflow_dispatch"),
            (3, "b6f3"),
            (4, "example-workflow"),
            (5, "octo-org/octo-repo"),
            (6, "refs/heads/main"),
            (9, "https://github.com/octo-org/automation/.github/workflows/oidc.yml@refs/tags/v1"),
            (10, "c7a4"),
            (11, "github-hosted"),
            (12, "https://github.com/octo-org/octo-repo"),
            (13, "b6f3"),
            (14, "refs/heads/main"),
            (15, "74"),
            (16, "https://github.com/octo-org"),
            (17, "65"),
            (18, "https://github.com/octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main"),
            (19, "b6f3"),
            (20, "workflow_dispatch"),
            (21, "https://github.com/octo-org/octo-repo/actions/runs/9001/attempts/2"),
            (22, "private"),
            (23, "prod"),
        ],
    }
}

fn gitlab() -> Case {
    Case {
        entry: "https://gitlab.com",
        claims: json!({
            "iss": "https://gitlab.com", "aud": "sigstore",
            "sub": "project_path:my-group/my-project:ref_type:tag:ref:v1.0.0",
            "namespace_id": "72", "namespace_path": "my-group", "project_id": "20",
            "project_path": "my-group/my-project", "user_id": "1", "user_login": "sample-user",
            "user_email": "sample-user@example.com",
            "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
            "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "v1.0.0",
            "ref_type": "tag", "ref_path": "refs/tags/v1.0.0", "ref_protected": "false",
            "groups_direct": ["mygroup/mysubgroup"], "environment": "test-environment2",
            "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a",
            "project_visibility": "public",
            "ci_config_ref_uri": "gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/tags/v1.0.0",
            "ci_config_sha": "715b",
        }),
        san: "https://gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/tags/v1.0.0",
        extensions: vec![
            (9, "https://gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/tags/v1.0.0"),
            (10, "715b"),
            (11, "self-hosted"),
            (12, "https://gitlab.com/my-group/my-project"),
            (13, "714a"),
            (14, "refs/tags/v1.0.0"),
            (15, "20"),
            (16, "https://gitlab.com/my-group"),
            (17, "72"),
            (18, "https://gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/tags/v1.0.0"),
            (19, "715b"),
            (20, "push"),
            (21, "https://gitlab.com/my-group/my-project/-/jobs/302"),
            (22, "public"),
            (23, "test-environment2"),
        ],
    }
}

fn circleci(file: &str) -> Case {
    // The public-good default of `platform_url` ends in a slash, and the template adds another.
    let run = if file == SAMPLE {
        "https://app.circleci.com/workflow/wf-1/job/job-1"
    } else {
        "https://app.circleci.com//workflow/wf-1/job/job-1"
    };
    Case {
        entry: "https://oidc.circleci.com/org/*",
        claims: json!({
            "iss": "https://oidc.circleci.com/org/8f2a", "aud": "sigstore",
            "sub": "org/8f2a/project/p-1/user/u-1/vcs-origin/github.com/o/r/vcs-ref/refs/heads/main",
            "oidc.circleci.com/context-ids": ["c-1", "c-2"],
            "oidc.circleci.com/job-id": "job-1", "oidc.circleci.com/org-id": "8f2a",
            "oidc.circleci.com/pipeline-definition-id": "def-1",
            "oidc.circleci.com/pipeline-id": "pipe-1", "oidc.circleci.com/project-id": "p-1",
            "oidc.circleci.com/ssh-rerun": false,
            "oidc.circleci.com/vcs-origin": "github.com/o/r",
            "oidc.circleci.com/vcs-ref": "refs/heads/main",
            "oidc.circleci.com/workflow-id": "wf-1",
        }),
        san: "https://circleci.com/api/v2/projects/p-1/pipeline-definitions/def-1",
        extensions: vec![
            (9, "https://circleci.com/api/v2/projects/p-1/pipeline-definitions/def-1"),
            // Two quotation marks are what the template says, and what the reference writes.
            (11, "\"\""),
            (12, "github.com/o/r"),
            (14, "refs/heads/main"),
            (18, "https://circleci.com/api/v2/pipeline/pipe-1/config"),
            (21, run),
        ],
    }
}

fn buildkite() -> Case {
    Case {
        entry: "https://agent.buildkite.com",
        claims: json!({
            "iss": "https://agent.buildkite.com", "aud": "sigstore",
            "sub": "organization:acme-inc:pipeline:super-duper-app:ref:refs/heads/main:commit:9f31",
            "organization_slug": "acme-inc", "pipeline_slug": "super-duper-app",
            "build_number": 1_234_567, "build_branch": "main", "build_tag": "v1.0.0",
            "build_commit": "9f31", "step_key": "build", "job_id": "0184990a-477b",
            "agent_id": "0184990a-4782", "build_source": "ui",
            "runner_environment": "buildkite-hosted",
        }),
        san: "https://buildkite.com/acme-inc/super-duper-app",
        extensions: vec![
            (11, "buildkite-hosted"),
            (13, "9f31"),
            (20, "ui"),
            (21, "https://buildkite.com/acme-inc/super-duper-app/builds/1234567#0184990a-477b"),
        ],
    }
}

fn codefresh() -> Case {
    Case {
        entry: "https://oidc.codefresh.io",
        claims: json!({
            "iss": "https://oidc.codefresh.io", "aud": "sigstore",
            "sub": "account:64f8:pipeline:64f7:scm_repo_url:https://github.com/u/r:scm_ref:main",
            "account_id": "64f8", "account_name": "acme", "pipeline_id": "64f7",
            "pipeline_name": "oidc-test/get-token", "workflow_id": "6507", "initiator": "u",
            "scm_user_name": "u", "scm_repo_url": "https://github.com/u/r", "scm_ref": "main",
            "runner_environment": "hybrid", "platform_url": "https://codefresh.acme.example",
        }),
        san: "https://codefresh.acme.example/acme/oidc-test/get-token:64f8/64f7",
        extensions: vec![
            (9, "https://codefresh.acme.example/build/6507"),
            (11, "hybrid"),
            (12, "https://github.com/u/r"),
            (14, "main"),
            (18, "https://codefresh.acme.example/api/pipelines/64f7"),
            (21, "https://codefresh.acme.example/build/6507"),
        ],
    }
}

fn buddy() -> Case {
    Case {
        entry: "https://oidc.buddyusercontent.com",
        claims: json!({
            "iss": "https://oidc.buddyusercontent.com", "aud": "sigstore",
            "sub": "myworkspace/abc123", "workspace_domain": "myworkspace",
            "workspace_display_name": "My Workspace", "project_name": "my-project",
            "pipeline_id": "123456", "pipeline_name": "Build and Deploy", "action_id": "789",
            "execution_id": "exec-456", "revision": "a1b2", "ref": "refs/heads/main",
            "triggered_on": "ON_EVERY_PUSH", "runner_environment": "platform-hosted",
        }),
        san: "https://app.buddy.works/myworkspace/my-project/pipelines/pipeline/123456",
        extensions: vec![
            (9, "https://app.buddy.works/myworkspace/my-project/pipelines/pipeline/123456"),
            (11, "platform-hosted"),
            (12, "https://app.buddy.works/myworkspace/my-project"),
            (13, "a1b2"),
            (14, "refs/heads/main"),
            (16, "https://app.buddy.works/myworkspace"),
            (20, "ON_EVERY_PUSH"),
            (
                21,
                "https://app.buddy.works/myworkspace/my-project/pipelines/pipeline/123456/\
                 execution/exec-456",
            ),
        ],
    }
}
