//! The certificate authority: signs what was approved, and nothing else.
//!
//! In: [`Approved`], a time and a serial. Out: a [`Precert`], and with its SCT an [`Issued`].
//! Knows nothing of tokens, HTTP and storage.
//!
//! [`Approved`]: crate::policy::Approved

pub mod ceremony;
mod chain;
#[cfg(test)]
mod fixtures;
mod issuance;
mod issuer;
pub mod plan;
mod precert_signer;
mod set;

pub use chain::{ChainError, Place};
pub use issuance::{CaError, Issued, LEAF_LIFETIME_SECONDS, Precert};
pub use issuer::{Issuer, chain_faults};
pub use precert_signer::{PrecertKey, PrecertSignerError};
pub use set::{Authority, CaSet, CaSetError, Phase, Planned};

pub use crate::x509::Serial;
