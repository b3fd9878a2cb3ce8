//! What keys in a key service have in common that is reached over HTTP.
//!
//! In: where the service is, and how to log in. Out: requests with a token that is renewed in time,
//! and answers that are bounded. Knows nothing of what a request says.

use std::time::Duration;

use super::{KeyUri, VerifyingKey, remote::FaultKind};
use crate::{secret::Secret, x509::pem};

mod client;
mod environment;
mod error;
mod tokens;
mod uri;

pub use environment::SecretSource;
pub use error::{OpenServiceKeyError, ServiceFault};
pub use uri::ServiceUriError;

pub(super) use client::{Answer, Client, Endpoint, fault, told, with_bearer};
pub(super) use environment::{Environment, read_file};
pub(super) use tokens::{Asked, Login, Token, TokenSource, Tokens, with_token};
pub(super) use uri::{Query, authority_and_query};

/// Credentials of a key service are the provider's own, and no passphrase.
pub(super) fn refuse_passphrase(
    uri: &KeyUri,
    passphrase: Option<&Secret>,
) -> Result<(), OpenServiceKeyError> {
    match passphrase {
        None => Ok(()),
        Some(_) => {
            let fault = Box::new(ServiceFault::Passphrase);
            Err(OpenServiceKeyError { key: uri.to_string(), fault })
        }
    }
}

/// What an opening gives within [`OPEN_SECONDS`], or what is wrong with `key`.
pub(super) async fn in_time<T>(
    key: &str,
    opening: impl Future<Output = Result<T, ServiceFault>>,
) -> Result<T, OpenServiceKeyError> {
    let hangs = |_| Err(ServiceFault::Hangs { seconds: OPEN_SECONDS });
    let opened = tokio::time::timeout(Duration::from_secs(OPEN_SECONDS), opening).await;
    opened
        .unwrap_or_else(hangs)
        .map_err(|fault| OpenServiceKeyError { key: key.to_owned(), fault: Box::new(fault) })
}

/// The key in a PEM text that a service answered.
pub(super) fn public_key_of_pem(
    operation: &'static str,
    pem: &str,
) -> Result<VerifyingKey, ServiceFault> {
    let blocks = pem::blocks(pem.as_bytes()).unwrap_or_default();
    let [block] = &blocks[..] else {
        let code = "the answer has no public key in PEM".to_owned();
        return Err(fault(FaultKind::Permanent, operation, code).into());
    };
    VerifyingKey::parse_der(&block.der).map_err(|source| ServiceFault::PublicKey { source })
}

/// From the first request to having found the key: the login, the key and its public half.
pub const OPEN_SECONDS: u64 = 15;
