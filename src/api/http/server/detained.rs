//! What becomes of a connection whose client broke a bound.
//!
//! In: a client's stream, lent to whoever serves it, and come back when that has ended. Out: nothing;
//! the stream stays open for a while, unread. Knows nothing of why.
//!
//! A client that is cut off comes back at once, and everything it did can be done again: with a
//! thousand of them the server does nothing else. One that is left without a word for as long as it
//! would have been waited for anyway comes back that much later. What is kept meanwhile is the
//! socket and its place, which it leaves as soon as another needs it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::sleep,
};

use super::crowd::Member;

/// Lends a stream out. It comes back when what was lent is dropped.
pub(super) fn lend<S>(stream: S) -> (Lent<S>, oneshot::Receiver<S>) {
    let (owner, returned) = oneshot::channel();
    (Lent { stream: Some(stream), owner: Some(owner) }, returned)
}

/// Keeps the stream of a client that broke a bound, for so long or until its place is needed.
pub(super) async fn detain<S>(stream: S, member: &Member, patience: Duration) {
    tokio::select! {
        () = sleep(patience) => {}
        () = member.detained() => {}
    }
    drop(stream);
}

/// A stream that goes back to its owner.
#[derive(Debug)]
pub(super) struct Lent<S> {
    /// `None` only once it has gone back.
    stream: Option<S>,
    owner: Option<oneshot::Sender<S>>,
}

impl<S: Unpin> Lent<S> {
    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut S>> {
        let stream = self.get_mut().stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(stream))
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let (Some(stream), Some(owner)) = (self.stream.take(), self.owner.take()) {
            // An owner that did not wait for it has no use for it.
            let _unwanted = owner.send(stream);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    /// Nothing is ended here: whoever owns the stream ends it by dropping it, or keeps the client
    /// waiting for just that.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
