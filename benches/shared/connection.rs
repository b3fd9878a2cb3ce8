//! One connection of a load client that costs little: HTTP/1.1 by hand, keep-alive, one prepared
//! request, answers checked for their status only.
//!
//! A repeated body is fair: the server does the whole work again and makes a new certificate.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One request, ready to be sent, to one address.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) request: Arc<[u8]>,
}

impl Target {
    /// A POST of JSON to `path`.
    pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Self {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { address, request: request.into_bytes().into() }
    }
}

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Arc<[u8]>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request: Arc::clone(&target.request), buffer: vec![0; 64 << 10] })
    }

    /// Sends the request and reads the whole answer, which must be 200.
    pub(crate) async fn ask(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.request).await?;
        let mut filled = 0;
        loop {
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = self.stream.read(room).await?;
            if read == 0 {
                return Err(io::Error::other(
                    "the server closed the connection, or answered too much",
                ));
            }
            filled += read;
            if answer_is_complete(&self.buffer[..filled])? {
                return Ok(());
            }
        }
    }
}

/// Whether `received` is one whole answer with status 200.
fn answer_is_complete(received: &[u8]) -> io::Result<bool> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = String::from_utf8_lossy(&received[..end]);
    if !head.starts_with("HTTP/1.1 200 ") {
        let told = String::from_utf8_lossy(received).into_owned();
        return Err(io::Error::other(format!("the server answered: {told}")));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or_else(|| io::Error::other("the answer has no content-length"))?;
    Ok(received.len() >= end + 4 + length)
}

/// Of latencies in their order.
pub(crate) fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}
