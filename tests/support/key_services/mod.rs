//! Key services on this machine: protocol servers that do what the vendors' references say, and
//! misbehave when they are told to.
//!
//! In: keys, who may use them, and how to misbehave. Out: a server on a port of its own, gone when
//! dropped, and what it was asked. They check what the real services check (who asks, algorithm
//! against key, length of the hash), so that a client of ours that is wrong fails here too.

use std::{
    collections::VecDeque,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread::JoinHandle,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{self, Digest},
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{
        KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
        PrivateDecryptingKey, PublicEncryptingKey,
    },
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::Value;
use tokio::{net::TcpStream, sync::oneshot};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(crate) mod azure;
pub(crate) mod gcp;
pub(crate) mod vault;

/// What a service does with a request to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// As it should.
    Sign,
    /// Answers with a status and the vendor's error for it.
    Fail(u16),
    /// Never answers.
    Hang,
    /// Closes the connection in mid-answer.
    Drop,
    /// Answers something that is no JSON.
    Rubbish,
    /// Signs with another key.
    OtherKey,
    /// Signs the hash of the hash.
    HashTwice,
    /// Says that another version signed, or another key.
    OtherName,
    /// Says the credential again in its error.
    RepeatCredential,
    /// Says that it got another digest than was sent.
    DigestNotVerified,
    /// Sends a checksum that is not that of the signature.
    WrongChecksum,
}

/// A request as a service sees it.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    /// The parts of the path, decoded where that matters here: nowhere.
    pub(crate) fn path(&self) -> Vec<&str> {
        self.uri.path().trim_matches('/').split('/').collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What one of the services does.
pub(crate) trait Service: Send + 'static {
    /// The acts that are to come.
    fn script(&mut self) -> &mut Script;
    /// The answer to a request. [`Act::Hang`], [`Act::Drop`] and [`Act::Rubbish`] are done for it.
    fn answer(&mut self, asked: &Asked) -> Reply;
}

/// What becomes of a request.
pub(crate) enum Reply {
    Json(u16, Value),
    /// With a header of that name and value.
    With(u16, Value, &'static str, String),
    Misbehave(Act),
}

/// What to do with the next requests to sign, and with all others.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) next: VecDeque<Act>,
    pub(crate) always: Act,
    /// How many there were.
    pub(crate) taken: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self { next: VecDeque::new(), always: Act::Sign, taken: 0 }
    }
}

impl Script {
    pub(crate) fn take(&mut self) -> Act {
        self.taken += 1;
        self.next.pop_front().unwrap_or(self.always)
    }
}

/// A service that runs.
pub(crate) struct Running<S> {
    service: Arc<Mutex<S>>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Service> Running<S> {
    pub(crate) fn start(service: S) -> Self {
        Self::start_with(service, None)
    }

    /// With TLS, and a certificate for its address in PEM, signed by itself.
    pub(crate) fn start_tls(service: S) -> (Self, String) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        (Self::start_with(service, Some(TlsAcceptor::from(Arc::new(config)))), cert.pem())
    }

    fn start_with(service: S, tls: Option<TlsAcceptor>) -> Self {
        let service = Arc::new(Mutex::new(service));
        let (address, stop, thread) = listen(Arc::clone(&service), "127.0.0.1:0", tls.clone());
        Self { service, address, tls, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// What it has and does; changed from the next request on.
    pub(crate) fn service(&self) -> MutexGuard<'_, S> {
        self.service.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next requests to sign.
    pub(crate) fn next(&self, acts: &[Act]) {
        self.service().script().next = acts.iter().copied().collect();
    }

    /// All requests to sign from now on.
    pub(crate) fn always(&self, act: Act) {
        self.service().script().always = act;
    }

    /// Requests to sign until now.
    pub(crate) fn signings(&self) -> usize {
        self.service().script().taken
    }

    /// The connections and the port are gone, until [`Self::put_back`].
    pub(crate) fn take_down(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn put_back(&mut self) {
        let address = self.address.to_string();
        let (_, stop, thread) = listen(Arc::clone(&self.service), &address, self.tls.clone());
        (self.stop, self.thread) = (Some(stop), Some(thread));
    }
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// Serves from a thread of its own: tests block theirs.
fn listen<S: Service>(
    service: Arc<Mutex<S>>,
    address: &str,
    tls: Option<TlsAcceptor>,
) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let (ready, is_ready) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let handler = move |method, uri, headers, body| {
                let service = Arc::clone(&service);
                handle(service, Asked { method, uri, headers, body })
            };
            let routes = Router::new().fallback(handler);
            ready.send(()).unwrap();
            let serving = async {
                match tls {
                    None => axum::serve(listener, routes).await,
                    Some(acceptor) => axum::serve(TlsListener { listener, acceptor }, routes).await,
                }
            };
            tokio::select! {
                _ = serving => {}
                _ = stopped => {}
            }
        });
        runtime.shutdown_background();
    });
    is_ready.recv().unwrap();
    (address, stop, thread)
}

struct TlsListener {
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn handle<S: Service>(service: Arc<Mutex<S>>, asked: Asked) -> Response {
    let reply = {
        let mut service = service.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        service.answer(&asked)
    };
    match reply {
        Reply::Json(status, body) => response(status, body.to_string().into()),
        Reply::With(status, body, name, value) => {
            let mut response = response(status, body.to_string().into());
            response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
            response
        }
        Reply::Misbehave(Act::Hang) => std::future::pending().await,
        Reply::Misbehave(Act::Drop) => {
            let broken = futures_util::stream::iter([
                Ok(Bytes::from_static(b"{\"data\":")),
                Err(std::io::Error::other("gone")),
            ]);
            response(200, Body::from_stream(broken))
        }
        Reply::Misbehave(Act::Rubbish) => response(200, "<html>a proxy's page</html>".into()),
        Reply::Misbehave(act) => panic!("{act:?} is for the service to do"),
    }
}

fn response(status: u16, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}

/// The kinds of keys that the services have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    Rsa2048,
    Rsa4096,
}

/// A private key in a service.
pub(crate) struct ServiceKey {
    pub(crate) kind: Kind,
    pair: Pair,
}

enum Pair {
    Ecdsa(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl ServiceKey {
    pub(crate) fn generate(kind: Kind) -> Self {
        let ecdsa = |algorithm| Pair::Ecdsa(Box::new(EcdsaKeyPair::generate(algorithm).unwrap()));
        let rsa = |size| Pair::Rsa(Box::new(RsaKeyPair::generate(size).unwrap()));
        let pair = match kind {
            Kind::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Kind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Kind::Rsa2048 => rsa(KeySize::Rsa2048),
            Kind::Rsa4096 => rsa(KeySize::Rsa4096),
        };
        Self { kind, pair }
    }

    /// DER SubjectPublicKeyInfo.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der().unwrap(),
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap(),
        };
        der.as_ref().to_vec()
    }

    pub(crate) fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_der())
    }

    /// The coordinates of an elliptic curve key, or modulus and exponent.
    pub(crate) fn numbers(&self) -> (Vec<u8>, Vec<u8>) {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(if self.kind == Kind::P384 {
                    48
                } else {
                    32
                });
                (x.to_vec(), y.to_vec())
            }
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let bytes = |number: &[u8]| number.to_vec();
                (
                    bytes(key.modulus().big_endian_without_leading_zero()),
                    bytes(key.exponent().big_endian_without_leading_zero()),
                )
            }
        }
    }

    /// PKCS #8, of an RSA key.
    pub(crate) fn private_pem(&self) -> String {
        let Pair::Rsa(pair) = &self.pair else { panic!("not an RSA key") };
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        pem("PRIVATE KEY", der.as_ref())
    }

    /// RSA-OAEP with SHA-256, of an RSA key.
    pub(crate) fn encrypt(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let key = PublicEncryptingKey::from_der(&self.public_der()).ok()?;
        let key = OaepPublicEncryptingKey::new(key).ok()?;
        let mut ciphertext = vec![0; key.ciphertext_size()];
        let sealed = key.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut ciphertext, None);
        Some(sealed.ok()?.to_vec())
    }

    pub(crate) fn decrypt(&self, ciphertext: &[u8]) -> Option<Vec<u8>> {
        let Pair::Rsa(pair) = &self.pair else { return None };
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let key = PrivateDecryptingKey::from_pkcs8(der.as_ref()).ok()?;
        let key = OaepPrivateDecryptingKey::new(key).ok()?;
        let mut plaintext = vec![0; key.min_output_size()];
        let opened = key.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut plaintext, None);
        Some(opened.ok()?.to_vec())
    }

    /// Signs a hash, with PKCS #1 v1.5 where it is RSA: DER, or the octets. `None` where the hash
    /// has not the length that the algorithm wants.
    pub(crate) fn sign(&self, hash: &[u8]) -> Option<Vec<u8>> {
        self.sign_padded(hash, &RSA_PKCS1_SHA256)
    }

    /// As [`Self::sign`], with PSS where it is RSA.
    pub(crate) fn sign_pss(&self, hash: &[u8]) -> Option<Vec<u8>> {
        self.sign_padded(hash, &RSA_PSS_SHA256)
    }

    fn sign_padded(&self, hash: &[u8], padding: &'static dyn RsaEncoding) -> Option<Vec<u8>> {
        let digest = Digest::import_less_safe(hash, self.hash()).ok()?;
        match &self.pair {
            Pair::Ecdsa(pair) => Some(pair.sign_digest(&digest).unwrap().as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &digest, &mut signature).unwrap();
                Some(signature)
            }
        }
    }

    /// Signs as `act` says: with this key, with another one, or the hash of the hash.
    pub(crate) fn sign_as(&self, act: Act, hash: &[u8]) -> Option<Vec<u8>> {
        match act {
            Act::OtherKey => Self::generate(self.kind).sign(hash),
            Act::HashTwice => self.sign(digest::digest(self.hash(), hash).as_ref()),
            _ => self.sign(hash),
        }
    }

    fn hash(&self) -> &'static digest::Algorithm {
        if self.kind == Kind::P384 { &digest::SHA384 } else { &digest::SHA256 }
    }
}

/// A symmetric key in a service.
pub(crate) struct SymmetricKey(LessSafeKey);

impl SymmetricKey {
    pub(crate) fn generate() -> Self {
        let mut random = [0; 32];
        aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut random).unwrap();
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &random).unwrap()))
    }

    pub(crate) fn encrypt(&self, plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut nonce).unwrap();
        let mut sealed = plaintext.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(unique, Aad::from(aad), &mut sealed).unwrap();
        [&nonce[..], &sealed].concat()
    }

    pub(crate) fn decrypt(&self, ciphertext: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ciphertext.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?;
        Some(opened.to_vec())
    }
}

/// ECDSA as raw `r || s`, which some services answer; what is no ECDSA stays as it is.
pub(crate) fn raw(kind: Kind, signature: Vec<u8>) -> Vec<u8> {
    match kind {
        Kind::P256 => p256::ecdsa::Signature::from_der(&signature).unwrap().to_vec(),
        Kind::P384 => p384::ecdsa::Signature::from_der(&signature).unwrap().to_vec(),
        Kind::Rsa2048 | Kind::Rsa4096 => signature,
    }
}

/// In lines of 64 columns.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
    let body = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A credential that nobody guesses, with a prefix that shows where it turns up.
pub(crate) fn credential(prefix: &str) -> String {
    let mut random = [0; 16];
    aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut random).unwrap();
    format!("{prefix}{}", hex::encode(random))
}
