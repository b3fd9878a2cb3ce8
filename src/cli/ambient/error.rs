//! Why a system that is here gave no token.
//!
//! In: what was missing or said. Out: a text that names the variable, permission or stanza to set.

use std::io;

use crate::cli::client::ClientError;

/// Why a system that is here gave no token.
#[derive(Debug, thiserror::Error)]
pub enum AmbientError {
    /// A workflow without the permission has neither variable.
    #[error(
        "GitHub Actions gives this job no identity token: {variable} is not set; the job needs \
         `permissions: {{ id-token: write }}`"
    )]
    GitHubPermission {
        /// The variable that is missing.
        variable: &'static str,
    },
    /// A job has only the tokens that its configuration names.
    #[error(
        "GitLab CI gives this job no identity token: {variable} is not set; the job needs \
         `id_tokens: {{ {variable}: {{ aud: {audience} }} }}`"
    )]
    GitLab {
        /// The variable that was looked for.
        variable: String,
        /// What its `aud` should be.
        audience: String,
    },
    /// An address that no secret should be sent to.
    #[error("{variable} is not an address to ask: {reason}")]
    UnsafeUrl {
        /// The variable that holds it.
        variable: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No answer, or a refusal.
    #[error("{system} gave no identity token")]
    Asked {
        /// Which system.
        system: &'static str,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// A success without a token.
    #[error("{system} answered without an identity token")]
    NoToken {
        /// Which system.
        system: &'static str,
    },
    /// The program is not there, or does not end.
    #[error("{system} gave no identity token: `{program}` could not be run")]
    Program {
        /// Which system.
        system: &'static str,
        /// Its program.
        program: &'static str,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The program ended with an error.
    #[error("{system} gave no identity token: `{program}` said: {said}")]
    ProgramRefused {
        /// Which system.
        system: &'static str,
        /// Its program.
        program: &'static str,
        /// The beginning of its standard error, safe for a terminal.
        said: String,
    },
}
