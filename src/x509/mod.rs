//! Certificate values and their DER.
//!
//! In: identities as values, public keys as PEM or DER. Out: TBS bytes, precertificates, parsed
//! keys and CSRs. Knows nothing of tokens, logs and private keys.

pub mod ca_lint;
pub mod certificate;
pub mod csr;
pub mod fulcio;
pub mod leaf;
pub mod lint;
pub mod names;
pub mod pem;
pub mod public_key;
pub mod serial;
pub mod template;
pub(crate) mod tlv;
pub mod validity;
mod weak_rsa;

pub use certificate::Certificate;
pub use csr::Csr;
pub use fulcio::{ExtensionField, FulcioExtensions};
pub use leaf::Leaf;
pub use names::SubjectAltName;
pub use public_key::{ClientKeyAlgorithm, PublicKey};
pub use serial::Serial;
pub use template::Template;
pub use validity::Validity;
