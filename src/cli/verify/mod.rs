//! Is this certificate what it claims to be? Checked as a stranger would.
pub mod chain;
pub mod presented;
