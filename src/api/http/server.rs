//! Connections: accepted, bounded, and ended in good order.
//!
//! In: a listener and the routes. Out: served connections, HTTP/1.1 or HTTP/2 as the client
//! speaks, behind TLS where there is an acceptor. Knows nothing of what is served. Every wait on a client has a limit, so that a slow or
//! silent one costs a connection slot for a bounded time only (NT-03).

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// What bounds the connections of one port.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// Connections open at once; further ones wait in the kernel's queue.
    pub open: usize,
    /// How long a request's header may take, from the end of the request before it.
    pub header_timeout: Duration,
    /// How long a connection may be without a byte moving.
    pub idle_timeout: Duration,
    /// How long requests under way may take to finish once the server stops.
    pub stop_timeout: Duration,
}

/// Accepts and serves until `stop` becomes true, then lets what began finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    bounds: ConnectionBounds,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(bounds.open));
    let protocols = protocols(bounds);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            _ = stop.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, slot)) => {
                let connection =
                    Connection { stream, slot, tls: tls.clone(), router: router.clone(), bounds };
                tokio::spawn(connection.serve(protocols.clone(), graceful.watcher()));
            }
            // No pause: whoever opens and resets connections would slow everyone else down.
            Err(error) if is_of_one_client(&error) => {
                tracing::debug!(%error, "a client left before it was accepted");
            }
            // Out of file descriptors: the loop must live on (NT-08), and a pause keeps it from
            // spinning while the cause lasts.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(bounds.stop_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were cut that did not finish in time");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // An answer is one small write: waiting to fill a segment would only delay it. It fails only
    // where the client is gone already, which the first read finds out.
    let _gone = stream.set_nodelay(true);
    Ok((stream, slot))
}

fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn protocols(bounds: ConnectionBounds) -> auto::Builder<TokioExecutor> {
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    protocols
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(HEADER_LIMIT_BYTES as usize);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(HEADER_LIMIT_BYTES)
        .keep_alive_interval(bounds.header_timeout)
        .keep_alive_timeout(bounds.header_timeout);
    protocols
}

struct Connection {
    stream: TcpStream,
    slot: OwnedSemaphorePermit,
    tls: Option<TlsAcceptor>,
    router: Router,
    bounds: ConnectionBounds,
}

impl Connection {
    async fn serve(self, protocols: auto::Builder<TokioExecutor>, watcher: Watcher) {
        // hyper waits without limit for the bytes that tell HTTP/1.1 from HTTP/2, and for a
        // client that does not read its answer: the stream itself has to bound both.
        let mut stream = TimeoutStream::new(self.stream);
        stream.set_read_timeout(Some(self.bounds.idle_timeout));
        stream.set_write_timeout(Some(self.bounds.idle_timeout));
        let stream = Box::pin(stream);
        match self.tls {
            None => talk(stream, self.router, &protocols, watcher).await,
            Some(tls) => match timeout(self.bounds.header_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => talk(stream, self.router, &protocols, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            },
        }
        drop(self.slot);
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    protocols: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
) {
    let connection =
        protocols.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

/// Tokens may take 32 KiB of a header; the rest is for everything else.
const HEADER_LIMIT_BYTES: u32 = 64 * 1024;
const STREAMS_PER_CONNECTION: u32 = 128;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
