use super::{Claim::Text, Table, Written};
use crate::x509::ExtensionField as F;

/// `type: github-workflow`.
#[rustfmt::skip] // a table is read down its columns
pub(super) const TABLE: Table = Table {
    claims: &[
        ("event_name", Text),
        ("job_workflow_ref", Text),
        ("job_workflow_sha", Text),
        ("ref", Text),
        ("repository", Text),
        ("repository_id", Text),
        ("repository_owner", Text),
        ("repository_owner_id", Text),
        ("repository_visibility", Text),
        ("run_attempt", Text),
        ("run_id", Text),
        ("runner_environment", Text),
        ("sha", Text),
        ("workflow", Text),
        ("workflow_ref", Text),
        ("workflow_sha", Text),
    ],
    extensions: &[
        (F::GithubWorkflowTrigger, Written::AsText, "event_name"),
        (F::GithubWorkflowSha, Written::AsText, "sha"),
        (F::GithubWorkflowName, Written::AsText, "workflow"),
        (F::GithubWorkflowRepository, Written::AsText, "repository"),
        (F::GithubWorkflowRef, Written::AsText, "ref"),
        (F::BuildSignerUri, Written::AsUri, "https://github.com/{{ .job_workflow_ref }}"),
        (F::BuildSignerDigest, Written::AsText, "job_workflow_sha"),
        (F::RunnerEnvironment, Written::AsText, "runner_environment"),
        (F::SourceRepositoryUri, Written::AsUri, "https://github.com/{{ .repository }}"),
        (F::SourceRepositoryDigest, Written::AsText, "sha"),
        (F::SourceRepositoryRef, Written::AsText, "ref"),
        (F::SourceRepositoryIdentifier, Written::AsText, "repository_id"),
        (F::SourceRepositoryOwnerUri, Written::AsUri, "https://github.com/{{ .repository_owner }}"),
        (F::SourceRepositoryOwnerIdentifier, Written::AsText, "repository_owner_id"),
        (F::BuildConfigUri, Written::AsUri, "https://github.com/{{ .workflow_ref }}"),
        (F::BuildConfigDigest, Written::AsText, "workflow_sha"),
        (F::BuildTrigger, Written::AsText, "event_name"),
        (F::RunInvocationUri, Written::AsUri,
            "https://github.com/{{ .repository }}/actions/runs/{{ .run_id }}/attempts/{{ .run_attempt }}"),
        (F::SourceRepositoryVisibilityAtSigning, Written::AsText, "repository_visibility"),
    ],
    san: "https://github.com/{{ .job_workflow_ref }}",
    joined: true,
};
