//! Connections: accepted, bounded, and ended in good order.
//!
//! In: a listener and the routes. Out: served connections, HTTP/1.1 or HTTP/2 as the client
//! speaks, behind TLS where there is an acceptor. Knows nothing of what is served. Every wait on a
//! client has a limit, so that a slow or silent one costs a place for a bounded time only; where
//! places run out, those that have waited longest go ([`crowd`]); and what belongs to no request is
//! read at a bounded pace only ([`allowance`], [`pace`]) (NT-03).

mod allowance;
mod crowd;
mod detained;
mod framed;
mod pace;
mod watched;

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use rustix::net::{
    listen,
    sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use self::{
    allowance::Metered,
    crowd::{Crowd, Ended, Member, Place},
    detained::{detain, lend},
    watched::Watched,
};

/// What bounds the connections of one port.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// Connections open at once; for a further one, one that waits has to go.
    pub open: usize,
    /// How long a request's header may take, from the end of the request before it.
    pub header_timeout: Duration,
    /// How long a connection may be without a request, or an answer without some of it being taken.
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
    let crowd = Crowd::new(bounds.open);
    if let Err(error) = bound_in_the_kernel(&listener) {
        tracing::warn!(%error, "what the kernel keeps for each connection has its usual bounds");
    }
    let protocols = protocols(bounds);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &crowd, bounds) => accepted,
            _ = stop.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection =
                    Connection { stream, place, tls: tls.clone(), router: router.clone(), bounds };
                tokio::spawn(connection.serve(protocols.clone(), graceful.watcher()));
            }
            // No pause: whoever opens and resets connections would slow everyone else down.
            Err(error) if is_of_one_client(&error) => {
                tracing::debug!(%error, "a client left before it was accepted");
            }
            // Out of file descriptors: the loop must live on (NT-08), and a pause keeps it from
            // spinning while the cause lasts. Those who only wait may well be the cause.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                crowd.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(bounds.stop_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were cut that did not finish in time");
    }
}

/// Inherited by every connection. By itself the kernel keeps megabytes for each of them, of answers
/// that nobody reads, and of what clients send to a server that does not listen any more.
fn bound_in_the_kernel(listener: &TcpListener) -> io::Result<()> {
    set_socket_send_buffer_size(listener, SOCKET_BUFFER_BYTES)?;
    set_socket_recv_buffer_size(listener, RECEIVED_BYTES)?;
    // Where newcomers find the queue full, they try again after a second at the earliest.
    Ok(listen(listener, NEWCOMERS_IN_THE_KERNEL)?)
}

/// Accepts before there is a place: only a client that is there is worth another's.
async fn accept(
    listener: &TcpListener,
    crowd: &Arc<Crowd>,
    bounds: ConnectionBounds,
) -> io::Result<(TcpStream, Place)> {
    crowd.may_come().await;
    let (stream, _) = listener.accept().await?;
    // Who came and went is still handed out, and would cost as much as a client. Whatever the kernel
    // holds against this connection is nobody else's trouble.
    if !matches!(stream.take_error(), Ok(None)) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    // An answer is one small write: waiting to fill a segment would only delay it. It fails only
    // where the client is gone already, which the first read finds out.
    let _gone = stream.set_nodelay(true);
    Ok((stream, crowd.admit(bounds.header_timeout).await?))
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
        .max_local_error_reset_streams(ERRORS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADER_LIMIT_BYTES)
        .keep_alive_interval(bounds.header_timeout)
        .keep_alive_timeout(bounds.header_timeout);
    protocols
}

struct Connection {
    stream: TcpStream,
    place: Place,
    tls: Option<TlsAcceptor>,
    router: Router,
    bounds: ConnectionBounds,
}

impl Connection {
    async fn serve(self, protocols: auto::Builder<TokioExecutor>, watcher: Watcher) {
        let member = Arc::clone(self.place.member());
        // hyper waits without limit for the bytes that tell HTTP/1.1 from HTTP/2, and for a
        // client that does not read its answer: the stream itself has to bound both.
        let mut stream = TimeoutStream::new(self.stream);
        stream.set_read_timeout(Some(self.bounds.idle_timeout));
        stream.set_write_timeout(Some(self.bounds.idle_timeout));
        let (stream, returned) = lend(Box::pin(stream));
        let stream = Metered::new(stream, Arc::clone(&member));
        let routes = Watched::new(self.router, Arc::clone(&member));
        let served = async {
            match self.tls {
                None => talk(stream, routes, &protocols, watcher, &member).await,
                Some(tls) => match timeout(self.bounds.header_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => talk(stream, routes, &protocols, watcher, &member).await,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a TLS handshake failed");
                        Conduct::Kept
                    }
                    Err(_) => {
                        tracing::debug!("a TLS handshake took too long");
                        Conduct::Kept
                    }
                },
            }
        };
        let conduct = tokio::select! {
            conduct = served => conduct,
            reason = member.ended(self.bounds.idle_timeout) => {
                tracing::debug!(%reason, "a connection was closed");
                match reason {
                    Ended::HeldTooMuch => Conduct::BrokeABound,
                    Ended::PlaceNeeded | Ended::Idle => Conduct::Kept,
                }
            }
        };
        if conduct == Conduct::BrokeABound {
            member.found_out();
            if let Ok(stream) = returned.await {
                detain(stream, &member, self.bounds.header_timeout).await;
            }
        }
        drop(self.place);
    }
}

/// How a client behaved until its connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Kept,
    BrokeABound,
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Watched,
    protocols: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
    member: &Arc<Member>,
) -> Conduct {
    let stream = framed::counted(stream, Arc::clone(member));
    let connection = protocols.serve_connection(TokioIo::new(stream), routes);
    match watcher.watch(connection).await {
        Ok(()) => Conduct::Kept,
        Err(error) => {
            tracing::debug!(error = %error, "a connection ended early");
            conduct(&*error)
        }
    }
}

/// What cannot be read as HTTP/1.1, came too late or ended in the midst has cost little, and the
/// client of the first two has its answer; one that finds fault with us goes by itself. What is left
/// is HTTP/2 that breaks its rules, and more bytes than requests need.
fn conduct(error: &(dyn std::error::Error + 'static)) -> Conduct {
    let causes = || std::iter::successors(Some(error), |error| error.source());
    let is_harmless = |error: &hyper::Error| {
        error.is_parse() || error.is_timeout() || error.is_incomplete_message()
    };
    let has_left = |error: &io::Error| {
        is_of_one_client(error)
            || matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::UnexpectedEof
            )
    };
    let finds_fault = |error: &h2::Error| error.is_remote();
    let kept = causes().any(|cause| {
        cause.downcast_ref().is_some_and(is_harmless)
            || cause.downcast_ref().is_some_and(has_left)
            || cause.downcast_ref().is_some_and(finds_fault)
    });
    if kept { Conduct::Kept } else { Conduct::BrokeABound }
}

/// Tokens may take 32 KiB of a header; the rest is for everything else.
const HEADER_LIMIT_BYTES: u32 = 64 * 1024;
const STREAMS_PER_CONNECTION: u32 = 128;
/// Streams that break the protocol, before the connection does.
const ERRORS_PER_CONNECTION: usize = 64;
/// What a client may send of one body, and of all, before somebody reads it. A request is some 3 KB.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// The largest answer, a tile of 256 entries, in two or three turns; the kernel takes it twice, for
/// what it keeps beside it.
const SOCKET_BUFFER_BYTES: usize = 128 << 10;
/// A body of the largest size, in four turns.
const RECEIVED_BYTES: usize = 64 << 10;
/// The kernel allows no more than net.core.somaxconn.
const NEWCOMERS_IN_THE_KERNEL: i32 = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
