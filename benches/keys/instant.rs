//! A key service that answers at once, so that what remains is our own code: hash, turn, circuit,
//! metrics, and verifying the answer.

use std::{error::Error, sync::Arc};

use aws_lc_rs::digest::Digest;
use futures_util::future::BoxFuture;
use mayfly::{
    keys::{
        SignatureAlgorithm, Signer, VerifyingKey, file,
        remote::{Backend, Fault, Remote, RemoteBounds, random_jitter},
    },
    telemetry::metrics::Metrics,
};

/// Knows the one right answer.
#[derive(Debug)]
struct Instant {
    signature: Vec<u8>,
}

impl Backend for Instant {
    fn sign_digest(&self, _digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async { Ok(self.signature.clone()) })
    }
}

/// What `instant:…` stands for.
pub(crate) fn algorithm(uri: &str) -> Option<SignatureAlgorithm> {
    match uri.strip_prefix("instant:")? {
        "P-256" => Some(SignatureAlgorithm::EcdsaP256Sha256),
        "P-384" => Some(SignatureAlgorithm::EcdsaP384Sha384),
        _ => None,
    }
}

/// Signs `message` and nothing else.
pub(crate) async fn signer(
    algorithm: SignatureAlgorithm,
    message: &[u8],
) -> Result<Arc<dyn Signer>, Box<dyn Error>> {
    let key = file::generate(algorithm)?.signer;
    let backend = Instant { signature: key.sign(message).await? };
    let public_key = VerifyingKey::parse_der(key.public_key_der())?;
    let series = Metrics::new().key("instant");
    let (bounds, jitter) = (RemoteBounds::default(), random_jitter());
    Ok(Arc::new(Remote::new("instant".to_owned(), public_key, backend, bounds, jitter, series)))
}
