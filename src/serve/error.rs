//! Why a service does not start, or a reload is refused.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    api::http::tls::TlsError,
    audit::AuditError,
    ca::{CaError, CaSetError, ChainError, PrecertSignerError},
    config::PassphraseError,
    keys::{OpenKeyError, dev::DevelopmentKeyRefused},
    log::{OpenError, SubmitError},
    oidc::IssuerTableError,
};

/// Why the service did not start, or a reload was refused: which part, and what was wrong.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// What the configuration says.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// An authority's chain is not one that verifiers would accept for its key.
    #[error("chain {chain}: {source}")]
    Chain {
        /// The chain's file.
        chain: PathBuf,
        #[source]
        source: Box<ChainError>,
    },
    /// A reload named a change that takes a restart.
    #[error("'{key}' cannot change while the service runs: restart it")]
    NeedsRestart {
        /// The key of the configuration.
        key: &'static str,
    },
    /// The set of authorities does not stand together.
    #[error(transparent)]
    Authorities(#[from] CaSetError),
    /// No authority signs now.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A key does not open.
    #[error(transparent)]
    Key(#[from] OpenKeyError),
    /// No key for precertificates could be made and certified.
    #[error("the key for precertificates of {key}")]
    PrecertSigner {
        /// The CA key's name.
        key: String,
        #[source]
        source: PrecertSignerError,
    },
    /// The machine has no random numbers.
    #[error("the operating system gives no random numbers")]
    Randomness,
    /// A key that everyone has, without `--dev`.
    #[error(transparent)]
    Development(#[from] DevelopmentKeyRefused),
    /// A passphrase cannot be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The log does not open.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The log does not take up a chain's certificates.
    #[error(transparent)]
    LogIssuers(#[from] SubmitError),
    /// The audit log does not open or takes no lines.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The public port's certificate and key are not good.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The table of issuers does not stand together.
    #[error(transparent)]
    Issuers(#[from] IssuerTableError),
}

impl StartError {
    /// Whether the same configuration may be good at another time, without a change in its files: a
    /// key service is back, a certificate is valid.
    pub fn may_pass(&self) -> bool {
        match self {
            // A token counts wrong PINs and locks itself: it is asked only when somebody wants it.
            // Of a key file, as of a passphrase, only a change helps, and that is seen.
            Self::Key(OpenKeyError::File(_) | OpenKeyError::Pkcs11(_)) => false,
            Self::Passphrase(_) => false,
            Self::Key(OpenKeyError::AwsKms(_) | OpenKeyError::Service(_)) => true,
            Self::Key(OpenKeyError::Wrapped(_)) => true,
            Self::Chain { .. } | Self::Ca(_) => true,
            Self::LogIssuers(_) | Self::Audit(_) | Self::Tls(_) => true,
            Self::PrecertSigner { .. } | Self::Randomness => true,
            Self::Bind { .. } | Self::NeedsRestart { .. } | Self::Authorities(_) => false,
            Self::Development(_) | Self::Log(_) | Self::Issuers(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::PassphraseError, keys};

    #[tokio::test]
    async fn only_what_may_pass_by_itself_is_tried_again() {
        let no_key = keys::open(&"file:/nowhere/ca.pem".parse().unwrap(), None).await;
        for (error, may_pass) in [
            (StartError::Ca(CaError::NoneActive), true),
            (StartError::Key(no_key.unwrap_err()), false),
            (StartError::Passphrase(PassphraseError::NoVariable), false),
            (StartError::NeedsRestart { key: "listen" }, false),
            (StartError::Authorities(CaSetError::Empty), false),
        ] {
            assert_eq!(error.may_pass(), may_pass, "{error}");
        }
    }
}
