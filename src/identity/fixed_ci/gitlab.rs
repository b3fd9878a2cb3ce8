use super::{
    Claim::{Id, OneOf, Text, TextOr},
    Table, Written,
};
use crate::x509::ExtensionField as F;

/// `type: gitlab-pipeline`: jobs of gitlab.com.
#[rustfmt::skip] // a table is read down its columns
pub(super) const TABLE: Table = Table {
    claims: &[
        ("ci_config_ref_uri", Text),
        // Absent where the configuration lies on another instance.
        ("ci_config_sha", TextOr("")),
        ("job_id", Text),
        ("namespace_id", Text),
        ("namespace_path", Text),
        ("pipeline_id", Text),
        ("pipeline_source", Text),
        ("project_id", Text),
        ("project_path", Text),
        ("project_visibility", TextOr("")),
        ("ref", Text),
        ("ref_type", OneOf(&["branch", "tag"])),
        ("runner_environment", Text),
        ("runner_id", Id),
        ("sha", Text),
    ],
    extensions: &[
        (F::BuildSignerUri, Written::AsUri, "https://{{ .ci_config_ref_uri }}"),
        (F::BuildSignerDigest, Written::AsText, "ci_config_sha"),
        (F::RunnerEnvironment, Written::AsText, "runner_environment"),
        (F::SourceRepositoryUri, Written::AsUri, "https://gitlab.com/{{ .project_path }}"),
        (F::SourceRepositoryDigest, Written::AsText, "sha"),
        (F::SourceRepositoryRef, Written::AsText,
            "refs/{{ if eq .ref_type \"branch\" }}heads{{ else }}tags{{ end }}/{{ .ref }}"),
        (F::SourceRepositoryIdentifier, Written::AsText, "project_id"),
        (F::SourceRepositoryOwnerUri, Written::AsUri, "https://gitlab.com/{{ .namespace_path }}"),
        (F::SourceRepositoryOwnerIdentifier, Written::AsText, "namespace_id"),
        (F::BuildConfigUri, Written::AsUri, "https://{{ .ci_config_ref_uri }}"),
        (F::BuildConfigDigest, Written::AsText, "ci_config_sha"),
        (F::BuildTrigger, Written::AsText, "pipeline_source"),
        (F::RunInvocationUri, Written::AsUri,
            "https://gitlab.com/{{ .project_path }}/-/jobs/{{ .job_id }}"),
        (F::SourceRepositoryVisibilityAtSigning, Written::AsText, "project_visibility"),
    ],
    san: "https://{{ .ci_config_ref_uri }}",
    // A configuration in the root of its project is written `group/project//.gitlab-ci.yml`.
    joined: false,
};
