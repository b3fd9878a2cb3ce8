use std::{fmt, str::FromStr};

/// The `type` of an issuer, by the names of the issuer file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerType {
    Email,
    CiProvider,
    Uri,
    Username,
    Spiffe,
    Kubernetes,
    ChainguardIdentity,
    GithubWorkflow,
    GitlabPipeline,
    BuildkiteJob,
    CodefreshWorkflow,
}

/// The text names no type.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is not an issuer type")]
pub struct UnknownIssuerType {
    /// What was given.
    pub text: String,
}

impl IssuerType {
    /// Every type there is.
    pub const ALL: [Self; 11] = [
        Self::Email,
        Self::CiProvider,
        Self::Uri,
        Self::Username,
        Self::Spiffe,
        Self::Kubernetes,
        Self::ChainguardIdentity,
        Self::GithubWorkflow,
        Self::GitlabPipeline,
        Self::BuildkiteJob,
        Self::CodefreshWorkflow,
    ];

    /// As it stands in the issuer file and in `issuerType`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::CiProvider => "ci-provider",
            Self::Uri => "uri",
            Self::Username => "username",
            Self::Spiffe => "spiffe",
            Self::Kubernetes => "kubernetes",
            Self::ChainguardIdentity => "chainguard-identity",
            Self::GithubWorkflow => "github-workflow",
            Self::GitlabPipeline => "gitlab-pipeline",
            Self::BuildkiteJob => "buildkite-job",
            Self::CodefreshWorkflow => "codefresh-workflow",
        }
    }

    /// Which claim clients are told to sign, by `GET /api/v2/configuration`.
    pub const fn default_challenge_claim(self) -> &'static str {
        match self {
            Self::Email => "email",
            _ => "sub",
        }
    }
}

impl fmt::Display for IssuerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for IssuerType {
    type Err = UnknownIssuerType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownIssuerType { text: text.to_owned() })
    }
}
