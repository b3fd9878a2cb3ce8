//! A request's body: bounded in size, in time, and together with all others in memory.
//!
//! In: a body as it arrives. Out: its bytes, with the room that they take up, or why it was not
//! read. Knows nothing of what the bytes say.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, HttpBody};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::status::Malformed;

/// What bounds the bodies of one port.
#[derive(Debug)]
pub(super) struct BodyBounds {
    limit_bytes: usize,
    timeout: Duration,
    /// Bytes that bodies may take up together. Requests count against the bound on issuances only
    /// once they are whole, and one HTTP/2 connection can begin a hundred of them at once.
    room: Arc<Semaphore>,
}

/// A whole body. The room it takes up is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    room: OwnedSemaphorePermit,
}

impl BodyBounds {
    /// Bodies of at most so many bytes, each of which arrives within `timeout`.
    pub(super) fn new(limit_bytes: usize, timeout: Duration) -> Self {
        Self { limit_bytes, timeout, room: Arc::new(Semaphore::new(ROOM_BYTES)) }
    }

    /// Reads a body to its end.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Received, Malformed> {
        let announced_bytes = body.size_hint().lower();
        if headers.contains_key(header::EXPECT) && announced_bytes > self.limit_bytes as u64 {
            // The client asked first (RFC 9110, 10.1.1): it need not send what will be refused.
            return Err(Malformed::TooLarge { limit_bytes: self.limit_bytes });
        }
        let limit_ms = self.timeout.as_millis();
        let too_slow = |_| Malformed::TooSlow { limit_ms };
        tokio::time::timeout(self.timeout, self.collect(body)).await.map_err(too_slow)?
    }

    async fn collect(&self, mut body: Body) -> Result<Received, Malformed> {
        let mut received = Received { bytes: Vec::new(), room: self.room(0)? };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Malformed::Truncated)?;
            // Trailers say nothing that is asked for.
            let Ok(chunk) = frame.into_data() else { continue };
            if received.bytes.len() + chunk.len() > self.limit_bytes {
                drop(received);
                discard(body).await;
                return Err(Malformed::TooLarge { limit_bytes: self.limit_bytes });
            }
            received.room.merge(self.room(chunk.len())?);
            received.bytes.extend_from_slice(&chunk);
        }
        Ok(received)
    }

    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Malformed> {
        let bytes = u32::try_from(bytes).map_err(|_| Malformed::Overloaded)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        room.map_err(|_| Malformed::Overloaded)
    }
}

/// Reads on for a while: a client that is cut off while it sends may never read the answer.
async fn discard(mut body: Body) {
    let mut left_bytes = DISCARDED_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let chunk_bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
        match left_bytes.checked_sub(chunk_bytes) {
            Some(rest) => left_bytes = rest,
            None => return,
        }
    }
}

/// Some 16,000 requests of the usual size, or 256 of the largest.
const ROOM_BYTES: usize = 64 << 20;
const DISCARDED_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> BodyBounds {
        BodyBounds::new(1000, Duration::from_secs(1))
    }

    async fn receive(bounds: &BodyBounds, bytes: usize) -> Result<Received, Malformed> {
        bounds.receive(&HeaderMap::new(), Body::from(vec![0; bytes])).await
    }

    #[tokio::test]
    async fn a_body_of_the_limit_is_read_and_one_byte_more_is_not() {
        let bounds = bounds();
        assert_eq!(receive(&bounds, 1000).await.unwrap().bytes.len(), 1000);
        assert!(matches!(receive(&bounds, 1001).await, Err(Malformed::TooLarge { .. })));
        assert_eq!(bounds.room.available_permits(), ROOM_BYTES, "the room is free again");
    }

    #[tokio::test]
    async fn nt_03_bodies_together_take_up_no_more_than_their_room() {
        let bounds = bounds();
        let all_but_999 = bounds.room(ROOM_BYTES - 999).unwrap();
        assert!(matches!(receive(&bounds, 1000).await, Err(Malformed::Overloaded)));
        let held = receive(&bounds, 600).await.unwrap();
        assert!(matches!(receive(&bounds, 400).await, Err(Malformed::Overloaded)));
        drop(held);
        receive(&bounds, 999).await.unwrap();
        drop(all_but_999);
        receive(&bounds, 1000).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nt_03_a_body_that_never_ends_is_given_up() {
        let silent = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, String>>());
        let refused = bounds().receive(&HeaderMap::new(), silent).await;
        assert!(matches!(refused, Err(Malformed::TooSlow { limit_ms: 1000 })));
    }
}
