//! What clients must know to verify our certificates: trust bundle, trusted root, signing config.
//!
//! In: chains, log keys, addresses and dates, also those of other people's transparency logs and
//! timestamp authorities. Out: values that serialise to the documents Sigstore clients read.
//! Knows nothing of files, clocks and private keys: everything here is a pure function.
//!
//! The strictest reader decides each shape: no field that an older parser does not know, no date
//! left out, every address absolute, every key of a kind that all clients take.

mod bundle;
mod client_config;
mod root;
mod signing_config;
mod span;

pub use bundle::{TrustBundle, trust_bundle, trust_bundle_pem};
pub use client_config::{ClientTrustConfig, client_trust_config};
pub use root::{TrustMaterial, TrustedChain, TrustedLog, TrustedRoot, trusted_root};
pub use signing_config::{Service, SigningConfig, SigningServices, signing_config};
pub use span::Span;

/// Why a document cannot be written. Each text says what to give instead.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Clients take host names out of these addresses.
    #[error("{url} has no host: give an absolute URL such as https://sigstore.example.com")]
    NoHost {
        /// What was given.
        url: String,
    },
    /// One client drops a path, two others glue onto it.
    #[error("{url} has a path: a CA must stand at the root of its host")]
    CaPath {
        /// What was given.
        url: String,
    },
    /// One unknown key makes some clients refuse the whole document.
    #[error(
        "the key of the log {url} is of a kind that clients refuse: \
         they take ECDSA P-256, P-384 and P-521, RSA 2048, 3072 and 4096, and Ed25519"
    )]
    LogKeyKind {
        /// Whose key.
        url: String,
    },
    /// Not a key at all, or a weak one.
    #[error("the key of the log {url} cannot be used: give its public key as PEM or DER")]
    LogKey {
        /// Whose key.
        url: String,
        /// What is wrong with it.
        #[source]
        source: crate::x509::public_key::KeyError,
    },
    /// Clients take the signer from the chain, and anchor it in the last certificate.
    #[error("the chain of {url} has {count} certificates, fewer than {needed}")]
    ChainTooShort {
        /// Whose chain.
        url: String,
        /// How many there are.
        count: usize,
        /// How many there must be.
        needed: usize,
    },
}

#[cfg(test)]
mod tests;
