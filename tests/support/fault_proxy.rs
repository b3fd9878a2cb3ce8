//! Between Mayfly and a key service: a proxy of our own that does to answers what networks and
//! sick services do.
//!
//! In: the address of a service that speaks HTTP/1.1 without TLS, and what to do. Out: an address
//! that takes its place. Requests go on unchanged, so that signatures over them stay good.
use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use p256::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner as _};
use serde_json::{Value, json};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The service answers.
    Pass,
    /// `ThrottlingException`, as AWS says it.
    Throttle,
    /// The same, `0` times; then it passes.
    ThrottleTimes(usize),
    /// Nothing, for longer than anybody waits.
    Hang,
    /// The connection is cut.
    Cut,
    /// A good signature over the right hash, by a P-256 key of the proxy's own.
    SignWithAnotherKey,
    /// An answer without a signature.
    Empty,
}

/// Listens until the process ends.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    address: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    act: Mutex<Act>,
    requests: AtomicUsize,
}

impl FaultProxy {
    /// In front of `upstream`, `HOST:PORT`. All passes.
    pub(crate) fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            act: Mutex::new(Act::Pass),
            requests: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                // Who hung up is not told more.
                thread::spawn(move || stream.and_then(|stream| state.serve(stream)));
            }
        });
        Self { address, state }
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From the next request on.
    pub(crate) fn act(&self, act: Act) {
        *self.state.act.lock().unwrap() = act;
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        while let Some(request) = read_message(&mut client)? {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let act = self.next_act();
            match act {
                Act::Pass => client.write_all(&self.forward(&request)?)?,
                Act::Throttle | Act::ThrottleTimes(_) => {
                    client.write_all(&answer(400, &json!({"__type": "ThrottlingException"})))?;
                }
                Act::Hang => thread::sleep(Duration::from_secs(60)),
                Act::Cut => return Ok(()),
                Act::SignWithAnotherKey => client.write_all(&sign_with_another_key(&request))?,
                Act::Empty => client.write_all(&answer(200, &json!({})))?,
            }
        }
        Ok(())
    }

    fn next_act(&self) -> Act {
        let mut act = self.act.lock().unwrap();
        let now = *act;
        match now {
            Act::ThrottleTimes(0) => Act::Pass,
            Act::ThrottleTimes(times) => {
                *act = Act::ThrottleTimes(times - 1);
                now
            }
            now => now,
        }
    }

    fn forward(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut service = TcpStream::connect(&self.upstream)?;
        service.write_all(request)?;
        read_message(&mut service)?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

/// One request or answer as it came; `None` at the end.
fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(None);
        }
        message.extend_from_slice(&buffer[..read]);
        let Some(end) = message.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if message.len() >= end + 4 + length {
            return Ok(Some(message));
        }
    }
}

fn sign_with_another_key(request: &[u8]) -> Vec<u8> {
    let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let request: Value = serde_json::from_slice(&request[body..]).unwrap();
    let digest = BASE64_STANDARD.decode(request["Message"].as_str().unwrap()).unwrap();
    let key = SigningKey::from_slice(&[0x5a; 32]).unwrap();
    let signature: Signature = key.sign_prehash(&digest).unwrap();
    let signature = BASE64_STANDARD.encode(signature.to_der().as_bytes());
    let (key, algorithm) = (&request["KeyId"], &request["SigningAlgorithm"]);
    answer(200, &json!({"KeyId": key, "SigningAlgorithm": algorithm, "Signature": signature}))
}

fn answer(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
