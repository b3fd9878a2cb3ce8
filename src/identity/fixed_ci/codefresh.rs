use super::{
    Claim::{Text, TextOr},
    Table, Written,
};
use crate::x509::ExtensionField as F;

/// `type: codefresh-workflow`.
#[rustfmt::skip] // a table is read down its columns
pub(super) const TABLE: Table = Table {
    claims: &[
        ("account_id", Text),
        // The reference takes tokens without the two names, and writes nothing in their place.
        ("account_name", Text),
        ("pipeline_id", Text),
        ("pipeline_name", Text),
        // Installations of their own have another.
        ("platform_url", TextOr("https://g.codefresh.io")),
        ("runner_environment", TextOr("")),
        ("scm_ref", TextOr("")),
        ("scm_repo_url", TextOr("")),
        ("workflow_id", Text),
    ],
    extensions: &[
        (F::BuildSignerUri, Written::AsUri, "{{ .platform_url }}/build/{{ .workflow_id }}"),
        (F::RunnerEnvironment, Written::AsText, "runner_environment"),
        (F::SourceRepositoryUri, Written::AsText, "scm_repo_url"),
        (F::SourceRepositoryRef, Written::AsText, "scm_ref"),
        (F::BuildConfigUri, Written::AsUri, "{{ .platform_url }}/api/pipelines/{{ .pipeline_id }}"),
        (F::RunInvocationUri, Written::AsUri, "{{ .platform_url }}/build/{{ .workflow_id }}"),
    ],
    san: "{{ .platform_url }}/{{ .account_name }}/{{ .pipeline_name }}:{{ .account_id }}/{{ .pipeline_id }}",
    joined: true,
};
