//! Is this certificate what it claims to be? Checked as a stranger would.
//!
//! In: what a server answered, and what is trusted beforehand (a root, a log's key and name).
//! Out: yes, or the first rule that is broken, for each of three questions:
//! - [`chain`]: did the trusted root's CA sign it, and was it allowed to?
//! - [`sct`]: did the log promise to publish it?
//! - [`inclusion`]: did the log keep the promise?
//!
//! Knows nothing of the code that issues and logs: certificates and SCTs are read from their RFCs
//! again. Nothing that a server says about itself is an anchor of trust.

pub mod chain;
pub mod inclusion;
pub mod presented;
pub mod sct;

#[cfg(test)]
mod tests;
