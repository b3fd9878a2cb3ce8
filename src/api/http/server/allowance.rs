//! How much a connection may send that belongs to no request.
//!
//! In: bytes as they are read, and which of them were a request's. Out: a stream that is read only
//! as fast as that allows. Knows nothing of protocols, and so holds for all of their floods alike:
//! PING, SETTINGS, WINDOW_UPDATE, PRIORITY and empty frames, streams opened only to be reset, bodies
//! in chunks of one byte, empty TLS records (NT-03).
//!
//! What a request's header and body carry is given back as they are read, and each answer gives
//! something for the frames that an honest client sends beside them. Only the rest counts, so a
//! client or proxy that sends many requests over one connection is never held up. Beyond what a
//! usual request may owe before it is known for one, all connections share a pace: a thousand floods
//! together are read no faster than a few.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{crowd::Member, pace::Pace};

/// What one connection may still send.
#[derive(Debug)]
pub(super) struct Allowance {
    state: Mutex<State>,
    patience: Duration,
    /// Of all connections.
    shared: Arc<Pace>,
}

#[derive(Debug)]
struct State {
    left_bytes: i64,
    counted_at: Instant,
    /// Since when it has been used up, without an answer in between.
    used_up_at: Option<Instant>,
    reader: Option<Waker>,
    /// In HTTP/2's frames of headers, and not given back yet.
    header_bytes: usize,
}

enum Verdict {
    Read,
    WaitUntil(Instant),
    TooMuch,
}

impl Allowance {
    /// A full one. A connection that has used it up, and is not answered anything for `patience`, is
    /// no client.
    pub(super) fn new(now: Instant, patience: Duration, shared: Arc<Pace>) -> Self {
        let state = State {
            left_bytes: BURST_BYTES,
            counted_at: now,
            used_up_at: None,
            reader: None,
            header_bytes: 0,
        };
        Self { state: Mutex::new(state), patience, shared }
    }

    /// So many bytes turned out to be a request's.
    pub(super) fn give_back(&self, bytes: usize) {
        self.add(&mut self.state(), i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So many of the bytes that were read are of HTTP/2's headers.
    pub(super) fn has_headers(&self, bytes: usize) {
        if bytes > 0 {
            self.state().header_bytes += bytes;
        }
    }

    /// A header turned out to be a request's, and says so much. How many bytes of it are given back:
    /// never more than there were.
    pub(super) fn give_back_header(&self, said_bytes: usize) -> usize {
        let mut state = self.state();
        let bytes = said_bytes.min(state.header_bytes);
        state.header_bytes -= bytes;
        self.add(&mut state, i64::try_from(bytes).unwrap_or(i64::MAX));
        bytes
    }

    /// A request of the client was answered.
    pub(super) fn answered(&self, answer_bytes: usize) {
        let acknowledged = i64::try_from(answer_bytes / ACKNOWLEDGED_SHARE).unwrap_or(i64::MAX);
        let mut state = self.state();
        state.used_up_at = None;
        self.add(&mut state, BESIDE_AN_ANSWER_BYTES.saturating_add(acknowledged));
    }

    /// What was given back for a request is taken again: it was given up before its answer.
    pub(super) fn take(&self, bytes: usize) {
        let mut state = self.state();
        let before_bytes = state.shared_debt_bytes();
        state.left_bytes =
            state.left_bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.shared.take(state.shared_debt_bytes() - before_bytes);
    }

    fn add(&self, state: &mut State, bytes: i64) {
        let before_bytes = state.shared_debt_bytes();
        state.add(bytes);
        self.shared.give_back(before_bytes - state.shared_debt_bytes());
        state.wake();
    }

    fn may_read(&self, now: Instant, reader: &Waker) -> Verdict {
        let mut state = self.state();
        state.refill(now);
        if state.shared_debt_bytes() == 0 || state.left_bytes > 0 && !self.shared.is_used_up(now) {
            return Verdict::Read;
        }
        state.reader = Some(reader.clone());
        if state.left_bytes > 0 {
            return Verdict::WaitUntil(now + REFILL_INTERVAL);
        }
        let used_up_at = *state.used_up_at.get_or_insert(now);
        if now >= used_up_at + self.patience {
            return Verdict::TooMuch;
        }
        Verdict::WaitUntil(now + REFILL_INTERVAL)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked while holding it left a number.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What it owes beyond what anyone may owe at any time: that much is a matter for all.
    fn shared_debt_bytes(&self) -> i64 {
        let owed_bytes = BURST_BYTES.saturating_sub(self.left_bytes);
        owed_bytes.saturating_sub(AT_ONCE_BYTES).max(0)
    }

    fn add(&mut self, bytes: i64) {
        self.left_bytes = self.left_bytes.saturating_add(bytes).min(BURST_BYTES);
        if self.left_bytes > BURST_BYTES / 2 {
            self.used_up_at = None;
        }
    }

    fn refill(&mut self, now: Instant) {
        let intervals = now.saturating_duration_since(self.counted_at).as_millis()
            / REFILL_INTERVAL.as_millis();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        if intervals > 0 {
            self.counted_at = now;
            self.add(REFILL_BYTES * i64::from(intervals));
        }
    }

    fn wake(&mut self) {
        if self.left_bytes > 0
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }
}

/// A stream that is read as fast as its connection's allowance lets it be.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    member: Arc<Member>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, member: Arc<Member>) -> Self {
        Self { stream, member, pause: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let allowance = &this.member.allowance;
        loop {
            match allowance.may_read(Instant::now(), context.waker()) {
                Verdict::Read => break,
                Verdict::TooMuch => return Poll::Ready(Err(io::Error::other(TooMuch))),
                Verdict::WaitUntil(then) => {
                    let pause = this.pause.insert(Box::pin(sleep_until(then)));
                    ready!(pause.as_mut().poll(context));
                }
            }
        }
        this.pause = None;
        let before_bytes = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        allowance.take(buffer.filled().len() - before_bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more was sent than requests need")]
struct TooMuch;

/// A header of the largest size is not known for one before it is whole; the rest is for a TLS
/// handshake, and the frames around it.
const BURST_BYTES: i64 = 80 << 10;
/// A request of the usual size, its body included, or a TLS handshake.
const AT_ONCE_BYTES: i64 = 8 << 10;
/// 2 KiB a second, some 120 PING frames: ten times what the busiest keep-alive sends.
const REFILL_BYTES: i64 = 512;
const REFILL_INTERVAL: Duration = Duration::from_millis(250);
/// The frames of a request and its answer: SETTINGS, WINDOW_UPDATE, PING, TLS records.
const BESIDE_AN_ANSWER_BYTES: i64 = 512;
/// A WINDOW_UPDATE for the stream and one for the connection, 26 bytes, for each KiB taken.
const ACKNOWLEDGED_SHARE: usize = 32;

#[cfg(test)]
#[path = "allowance_tests.rs"]
mod tests;
