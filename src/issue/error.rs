//! Why a request came to nothing: one variant per step of the pipeline, each with its cause.
//! `api::status` says what the world is told of each.

use crate::{
    audit::AuditError, ca::CaError, identity::IdentityError, log::SubmitError, oidc::TokenError,
    policy::Refusal, proof::ProofError,
};

/// The step that refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More requests under way than the service takes on.
    #[error("too many requests are under way")]
    Overloaded,
    /// The token is not even text.
    #[error("the identity token is not ASCII text")]
    TokenNotText,
    /// The token did not verify, or its issuer could not be asked.
    #[error("identity token: {0}")]
    Token(#[from] TokenError),
    /// The token's claims do not make an identity.
    #[error("identity token: {0}")]
    Identity(#[from] IdentityError),
    /// The key was not proven.
    #[error("key: {0}")]
    Proof(#[from] ProofError),
    /// A rule of the policy refused.
    #[error("policy: {0}")]
    Refused(#[from] Refusal),
    /// The authority did not sign.
    #[error("authority: {0}")]
    Ca(#[from] CaError),
    /// The log did not take the precertificate.
    #[error("log: {0}")]
    Log(#[from] SubmitError),
    /// The audit log took no line, so nothing was given out.
    #[error("{0}")]
    Audit(#[from] AuditError),
    /// The time for a whole issuance ran out.
    #[error("out of time while {stage}")]
    Deadline {
        /// What was waited for.
        stage: Stage,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes could be had")]
    Randomness,
    /// The task that signs ended without an answer.
    #[error("the signing task was aborted")]
    Aborted,
}

/// A request that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// The step that refused or failed.
    pub error: Error,
    /// The issuer that the token names, for metrics: as the issuer file has it, or `other`. The
    /// token may have lied.
    pub issuer: String,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The token's issuer and its keys.
    Token,
    /// The CA key and the log.
    Signing,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Token => "verifying the identity token",
            Stage::Signing => "signing and logging",
        })
    }
}

impl Error {
    /// Whether the audit log already says what became of the request, or cannot be written.
    pub(super) fn is_recorded(&self) -> bool {
        match self {
            Error::Ca(_) | Error::Log(_) | Error::Audit(_) | Error::Aborted => true,
            // The task that signs goes on, and records how it ended.
            Error::Deadline { stage: Stage::Signing } => true,
            Error::Overloaded
            | Error::TokenNotText
            | Error::Token(_)
            | Error::Identity(_)
            | Error::Proof(_)
            | Error::Refused(_)
            | Error::Deadline { stage: Stage::Token }
            | Error::Randomness => false,
        }
    }
}
