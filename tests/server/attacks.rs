//! What hostile clients do to connections, as a table: `hostile.rs` here holds it against the
//! server's bounds, and `benches/hostile` measures what honest clients notice of it.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::sleep,
};

/// One way to be a nuisance on one connection.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Sent first.
    pub(crate) begin: fn() -> Vec<u8>,
    /// Then this, again and again.
    pub(crate) again: fn(u32) -> Vec<u8>,
    /// The pause after each, where the attack does not live on its speed.
    pub(crate) pause: Duration,
    reads: bool,
    /// Resets the connection as soon as it stands.
    leaves: bool,
    /// Whether it breaks a bound, and so has to be ended; else it is a request like others.
    pub(crate) breaks_a_bound: bool,
}

pub(crate) const ATTACKS: [Attack; 17] = [
    slow("silence", Vec::new, |_| Vec::new()),
    slow("slow headers", || b"GET /healthz HTTP/1.1\r\nhost: x\r\na: ".to_vec(), |_| b"b".to_vec()),
    slow("slow bodies", || post(200_000, 1), |_| b"x".to_vec()),
    slow(
        "bodies all but whole",
        || post(FULL_BODY_BYTES, FULL_BODY_BYTES - 1000),
        |_| b"x".to_vec(),
    ),
    slow("h2 never a request", preface, |_| alive()),
    slow("h2 slow headers", || [preface(), frame(HEADERS, 0, 1, &[0, 1])].concat(), |_| Vec::new()),
    slow("h2 slow bodies", || [preface(), open(1, POST)].concat(), |_| frame(DATA, 0, 1, b"x")),
    slow("h2 never-read streams", never_read_streams, |_| alive()),
    Attack { reads: false, ..fast("never-read answers", Vec::new, |_| TILE.repeat(50)) },
    fast("h2 rapid reset", preface, rapid_reset),
    fast(
        "h2 CONTINUATION",
        || [preface(), frame(HEADERS, 0, 1, &header_block(POST))].concat(),
        |_| frame(CONTINUATION, 0, 1, &header_block(&[("a", "b")]).repeat(1000)),
    ),
    fast(
        "h2 empty DATA",
        || [preface(), open(1, POST)].concat(),
        |_| frame(DATA, 0, 1, &[]).repeat(FRAMES),
    ),
    fast("h2 SETTINGS", preface, |_| frame(SETTINGS, 0, 0, &[]).repeat(FRAMES)),
    fast("h2 PING", preface, |_| frame(PING, 0, 0, &[0; 8]).repeat(FRAMES)),
    fast("h2 WINDOW_UPDATE", preface, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(FRAMES)),
    Attack { leaves: true, breaks_a_bound: false, ..fast("come and go", Vec::new, |_| Vec::new()) },
    Attack {
        breaks_a_bound: false,
        ..fast("garbage of 250 KiB", Vec::new, |_| post(FULL_BODY_BYTES, FULL_BODY_BYTES))
    },
];

const fn slow(name: &'static str, begin: fn() -> Vec<u8>, again: fn(u32) -> Vec<u8>) -> Attack {
    let pause = Duration::from_secs(1);
    Attack { name, begin, again, pause, reads: true, leaves: false, breaks_a_bound: true }
}

const fn fast(name: &'static str, begin: fn() -> Vec<u8>, again: fn(u32) -> Vec<u8>) -> Attack {
    Attack { pause: Duration::ZERO, ..slow(name, begin, again) }
}

impl Attack {
    /// Goes on until the server ends it.
    ///
    /// # Errors
    /// There was no connection.
    pub(crate) async fn mount(&self, address: SocketAddr) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        if !self.reads {
            // The kernel takes little for a client that does not.
            socket.set_recv_buffer_size(4096)?;
        }
        let stream = socket.connect(address).await?;
        if self.leaves {
            // A reset leaves no port of the attacker in TIME_WAIT.
            return stream.set_zero_linger();
        }
        let (mut reader, mut writer) = stream.into_split();
        let sending = async {
            writer.write_all(&(self.begin)()).await?;
            for round in 0.. {
                writer.write_all(&(self.again)(round)).await?;
                sleep(self.pause).await;
            }
            io::Result::Ok(())
        };
        let reading = async {
            let mut some = vec![0; 16 << 10];
            while let Ok(1..) = reader.read(&mut some).await {}
        };
        // Whoever does not read learns of the end when it can send no more.
        tokio::select! {
            () = reading, if self.reads => {}
            _ended = sending => {}
        }
        Ok(())
    }
}

fn post(announced_bytes: usize, sent_bytes: usize) -> Vec<u8> {
    let head = format!(
        "POST /api/v2/signingCert HTTP/1.1\r\nhost: x\r\ncontent-length: {announced_bytes}\r\n\r\n"
    );
    [head.into_bytes(), vec![b'x'; sent_bytes]].concat()
}

fn preface() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The answer to the PING with which the server asks whether anybody is there: what it always is.
fn alive() -> Vec<u8> {
    frame(PING, ACK, 0, &[0x3b, 0x7c, 0xdb, 0x7a, 0x0b, 0x87, 0x16, 0xb4])
}

fn open(stream: u32, request: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &header_block(request))
}

/// As many requests as may be open, and a window of zero for their answers.
fn never_read_streams() -> Vec<u8> {
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let mut bytes = [PREFACE, &no_window].concat();
    for stream in (1..256).step_by(2) {
        let request = header_block(GET_TILE);
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &request));
    }
    bytes
}

fn rapid_reset(round: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..100 {
        let stream = (round * 100 + number) * 2 + 1;
        bytes.extend(open(stream, POST));
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    bytes
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    let mut frame = length[5..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK: literals without indexing.
fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.extend((text.len() as u64).to_be_bytes().last());
            block.extend(text.as_bytes());
        }
    }
    block
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TILE: &[u8] = b"GET /log/tile/data/000 HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_TILE: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/log/tile/data/000"),
    (":authority", "x"),
];
const POST: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/api/v2/signingCert"),
    (":authority", "x"),
];
const FULL_BODY_BYTES: usize = 250 << 10;
/// Of a flood, with one write.
const FRAMES: usize = 100;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
