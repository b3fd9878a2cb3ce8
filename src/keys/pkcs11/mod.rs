//! Keys in an HSM or another token that speaks PKCS #11.
//!
//! In: a [`Pkcs11Uri`] and the PIN. Out: a [`Signer`] that asks the token. The key never leaves
//! it. Knows nothing of what is signed.
//!
//! The module, a library of the token's vendor, runs inside this process, so it is trusted as this
//! program is. It is called on threads that may block, through one session each; only hashes go to
//! it. After a lost session the token is looked for again, a session opened and logged in.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::Digest;
use cryptoki::{mechanism::Mechanism, object::ObjectHandle, session::Session};
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    SignatureAlgorithm, Signer, VerifyingKey,
    remote::{Backend, Fault, FaultKind, Remote, RemoteBounds, random_jitter},
};
use crate::{secret::Secret, telemetry::metrics::KeySeries};

mod error;
mod key;
mod module;
mod uri;

pub use error::{OpenTokenKeyError, TokenFault};
pub use uri::{Pkcs11Uri, Pkcs11UriError, TokenMatch};

use module::Module;

/// Opens the key that `uri` names: loads the module, finds the token, logs in, finds the key and
/// its public half. `passphrase` is the PIN, unless the URI says where it is.
///
/// # Errors
/// Any of these failed, or the module did not answer within [`OPEN_SECONDS`].
pub async fn open(
    uri: &Pkcs11Uri,
    passphrase: Option<&Secret>,
    series: KeySeries,
) -> Result<Arc<dyn Signer>, OpenTokenKeyError> {
    let key = uri.to_string();
    let failed = |fault| OpenTokenKeyError { key: key.clone(), fault: Box::new(fault) };
    let pin = pin(uri, passphrase).map_err(failed)?;
    let opening = {
        let uri = uri.clone();
        tokio::task::spawn_blocking(move || Token::open(uri, pin))
    };
    let opened = tokio::time::timeout(Duration::from_secs(OPEN_SECONDS), opening)
        .await
        .map_err(|_| failed(TokenFault::Hangs { seconds: OPEN_SECONDS }))?;
    let (token, public_key) = opened
        .map_err(|_| failed(TokenFault::Panicked))
        .and_then(|opened| opened.map_err(failed))?;
    let bounds = RemoteBounds { in_flight: SESSIONS, ..RemoteBounds::default() };
    let backend =
        Pkcs11Backend { token: Arc::new(token), sessions: Arc::new(Semaphore::new(SESSIONS)) };
    Ok(Arc::new(Remote::new(key, public_key, backend, bounds, random_jitter(), series)))
}

/// The PIN from where the configuration says.
fn pin(uri: &Pkcs11Uri, passphrase: Option<&Secret>) -> Result<Secret, TokenFault> {
    let pin = match (&uri.pin_source, passphrase) {
        (Some(_), Some(_)) => return Err(TokenFault::TwoPins),
        (None, None) => return Err(TokenFault::PinMissing),
        (None, Some(pin)) => Secret::new(pin.expose().to_vec()),
        (Some(path), None) => {
            let whole = std::fs::read(path).map(Secret::new);
            let whole =
                whole.map_err(|source| TokenFault::PinUnreadable { path: path.clone(), source })?;
            let line = whole.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
            Secret::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
        }
    };
    if pin.expose().is_empty() { Err(TokenFault::PinMissing) } else { Ok(pin) }
}

/// A key on a token, behind the calls of [`Backend`].
#[derive(Debug)]
struct Pkcs11Backend {
    token: Arc<Token>,
    /// Held by the thread that calls the module, also after nobody waits for it any more: a module
    /// that hangs takes [`SESSIONS`] threads and no more.
    sessions: Arc<Semaphore>,
}

impl Backend for Pkcs11Backend {
    fn sign_digest(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async move {
            let internal = |code: &str| Fault {
                kind: FaultKind::Transient,
                operation: "C_Sign",
                code: code.to_owned(),
            };
            let sessions = Arc::clone(&self.sessions);
            let session: OwnedSemaphorePermit =
                sessions.acquire_owned().await.map_err(|_| internal("closed"))?;
            let token = Arc::clone(&self.token);
            let signing = tokio::task::spawn_blocking(move || {
                let _held = session;
                token.sign(digest)
            });
            signing.await.unwrap_or_else(|_| Err(internal("the module's thread panicked")))
        })
    }
}

/// Where the key is, and the sessions that are open and not in use.
struct Token {
    uri: Pkcs11Uri,
    pin: Secret,
    module: Arc<Module>,
    algorithm: SignatureAlgorithm,
    spki_der: Vec<u8>,
    idle: Mutex<Vec<Seat>>,
    /// The token refused the PIN: it counts that, and locks itself at some number. So it is not
    /// shown that PIN again until the key is opened anew.
    pin_refused: AtomicBool,
}

/// A session that is logged in, and the key as it is called there.
struct Seat {
    session: Session,
    key: ObjectHandle,
}

impl Token {
    fn open(uri: Pkcs11Uri, pin: Secret) -> Result<(Self, VerifyingKey), TokenFault> {
        let module = Module::at(&uri.module_path)?;
        let session = module.logged_in(&uri.token, &pin)?;
        let found = key::find(&session, &uri)?;
        let token = Self {
            uri,
            pin,
            module,
            algorithm: found.public_key.algorithm(),
            spki_der: found.public_key.spki_der().to_vec(),
            idle: Mutex::new(vec![Seat { session, key: found.handle }]),
            pin_refused: AtomicBool::new(false),
        };
        Ok((token, found.public_key))
    }

    fn sign(&self, digest: Digest) -> Result<Vec<u8>, Fault> {
        let idle = self.idle().pop();
        let seat = match idle {
            Some(seat) => seat,
            None => self.connect().map_err(|fault| fault.while_signing())?,
        };
        let (mechanism, input) = input_of(self.algorithm, digest);
        match seat.session.sign(&mechanism, seat.key, &input) {
            Ok(signature) => {
                self.idle().push(seat);
                Ok(signature)
            }
            Err(error) => {
                // What is wrong with this session may be wrong with all: none is used again.
                let all = std::mem::take(&mut *self.idle());
                drop(all);
                drop(seat);
                Err(TokenFault::from(error).while_signing())
            }
        }
    }

    /// A new session, with the key that was opened first and no other.
    fn connect(&self) -> Result<Seat, TokenFault> {
        if self.pin_refused.load(Ordering::Relaxed) {
            return Err(TokenFault::PinWrong);
        }
        let session = self.module.logged_in(&self.uri.token, &self.pin).inspect_err(|fault| {
            if matches!(fault, TokenFault::PinWrong | TokenFault::PinLocked) {
                self.pin_refused.store(true, Ordering::Relaxed);
            }
        })?;
        let found = key::find(&session, &self.uri)?;
        if found.public_key.spki_der() != self.spki_der {
            return Err(TokenFault::KeyChanged);
        }
        Ok(Seat { session, key: found.handle })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Seat>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("module", &self.uri.module_path).finish_non_exhaustive()
    }
}

/// What the token is given: it hashes nothing itself.
fn input_of(algorithm: SignatureAlgorithm, digest: Digest) -> (Mechanism<'static>, Vec<u8>) {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384 => {
            (Mechanism::Ecdsa, digest.as_ref().to_vec())
        }
        SignatureAlgorithm::RsaPkcs1Sha256 => {
            (Mechanism::RsaPkcs, [SHA256_DIGEST_INFO, digest.as_ref()].concat())
        }
    }
}

/// What of a DigestInfo stands before a SHA-256 hash (RFC 8017, 9.2, note 1).
const SHA256_DIGEST_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// Sessions per key, and so signatures at once. Small HSMs have a few dozen in all.
const SESSIONS: usize = 8;
/// From loading a module to having found the key: some HSMs take seconds to wake up.
pub const OPEN_SECONDS: u64 = 15;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
