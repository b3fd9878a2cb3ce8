use super::{Claim::Text, Table};

/// `type: buildkite-job`: names the pipeline, and says no more.
#[rustfmt::skip] // a table is read down its columns
pub(super) const TABLE: Table = Table {
    claims: &[
        ("organization_slug", Text),
        ("pipeline_slug", Text),
    ],
    extensions: &[],
    san: "https://buildkite.com/{{ .organization_slug }}/{{ .pipeline_slug }}",
    joined: false,
};
