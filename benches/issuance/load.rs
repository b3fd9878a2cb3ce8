//! A load client that costs little: HTTP/1.1 by hand, keep-alive, one prepared request per
//! connection, answers counted and checked for their status only.
//!
//! A repeated body is fair: the server does the whole work again and makes a new certificate.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
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

/// Closed loop: each of `connections` sends its next request when the last was answered, until
/// `total` were answered. Gives the time it took.
pub(crate) async fn closed_loop(
    target: &Target,
    connections: usize,
    total: u64,
) -> io::Result<Duration> {
    let taken = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (target, taken) = (target.clone(), Arc::clone(&taken));
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            while taken.fetch_add(1, Ordering::Relaxed) < total {
                connection.ask().await?;
            }
            io::Result::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(begun.elapsed())
}

/// Open loop: requests begin at fixed times, `per_second` of them, whether earlier ones were
/// answered or not. Latency counts from when a request should have begun, so that a server that
/// stalls cannot hide it. Gives all latencies, sorted.
pub(crate) async fn open_loop(
    target: &Target,
    connections: usize,
    per_second: f64,
    total: u64,
) -> io::Result<Vec<Duration>> {
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now() + Duration::from_millis(100);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (target, next) = (target.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            let mut latencies = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= total {
                    return io::Result::Ok(latencies);
                }
                let due = begun + Duration::from_secs_f64(nth as f64 / per_second);
                sleep_until(due).await;
                connection.ask().await?;
                latencies.push(due.elapsed());
            }
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.append(&mut ended??);
    }
    all.sort_unstable();
    Ok(all)
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
