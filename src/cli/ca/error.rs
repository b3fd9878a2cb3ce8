//! Why a command about CA certificates failed.

use std::path::PathBuf;

use crate::{
    ca::{ChainError, ceremony::CeremonyError},
    config::edit::EditError,
    keys::{
        file::{EncryptKeyError, GenerateKeyError},
        wrapped::OpenWrappedKeyError,
    },
    serve::StartError,
    x509::csr::CsrError,
};

/// Why there is no certificate, or what was asked about one does not hold.
#[derive(Debug, thiserror::Error)]
pub enum CaCommandError {
    /// A key does not open.
    #[error("the key cannot be used")]
    Key {
        /// Why not.
        #[source]
        source: StartError,
    },
    /// The text is not repeated: it may be the passphrase itself.
    #[error("a passphrase is given as env:NAME or file:PATH, never as itself")]
    PassphraseSource,
    /// Only files are made here; a key service makes its own keys.
    #[error(
        "--new-key makes keys in files only (file: and wrapped:): make this one with the tools of its key service"
    )]
    NewKeyElsewhere,
    /// No new key.
    #[error(transparent)]
    Generate(#[from] GenerateKeyError),
    /// No encrypted key.
    #[error(transparent)]
    Encrypt(#[from] EncryptKeyError),
    /// No wrapped key.
    #[error("the new key was not made")]
    Wrap(#[from] OpenWrappedKeyError),
    /// No serial number, or no salt.
    #[error("the operating system gave no randomness")]
    Randomness,
    /// No certificate.
    #[error("no certificate was made")]
    Ceremony(#[from] CeremonyError),
    /// The certificate that is to sign stands in no chain that clients would take.
    #[error("{} is no chain to issue from: {}", path.display(), told(.faults))]
    IssuerChain {
        /// Where it was read.
        path: PathBuf,
        /// What is wrong with it.
        faults: Vec<ChainError>,
    },
    /// A request that was given is none.
    #[error("{} is no certificate signing request", path.display())]
    Request {
        /// Where it was read.
        path: PathBuf,
        /// Why.
        #[source]
        source: CsrError,
    },
    /// The chain does not hold; each fault was told.
    #[error("the chain does not hold (see above)")]
    Chain {
        /// How many faults.
        count: usize,
    },
    /// The configuration is not written so that an authority can be added to it.
    #[error("add the authority to {} by hand", path.display())]
    ByHand {
        /// The configuration.
        path: PathBuf,
        /// Why.
        #[source]
        source: EditError,
    },
    /// Somebody else wrote to the configuration meanwhile.
    #[error("{} changed while it was worked on: nothing was written, try again", path.display())]
    ChangedMeanwhile {
        /// The configuration.
        path: PathBuf,
    },
    /// The plan should not be put into effect; each mistake was told.
    #[error("the plan has mistakes (see above)")]
    Plan {
        /// How many.
        count: usize,
    },
}

impl CaCommandError {
    /// Whether it says that something is not so, and not only that it could not be told.
    pub fn is_an_answer(&self) -> bool {
        match self {
            Self::Ceremony(CeremonyError::Sign(_)) => false,
            Self::Ceremony(_) | Self::IssuerChain { .. } | Self::Request { .. } => true,
            Self::Chain { .. } | Self::Plan { .. } => true,
            Self::PassphraseSource | Self::NewKeyElsewhere => true,
            Self::ByHand { .. } | Self::ChangedMeanwhile { .. } => false,
            Self::Key { .. } | Self::Generate(_) | Self::Encrypt(_) => false,
            Self::Wrap(_) | Self::Randomness => false,
        }
    }
}

fn told(faults: &[ChainError]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
