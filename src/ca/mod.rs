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
mod set;

pub use chain::{ChainError, Place};
pub use issuance::{CaError, Issued, LEAF_LIFETIME_SECONDS, Precert};
pub use issuer::Issuer;
pub use set::{Authority, CaSet, CaSetError, Phase};

pub use crate::x509::Serial;
