//! How many bytes the headers of requests really took up.
//!
//! In: a connection's bytes as they are read, after TLS. Out: the same bytes, with a count of those in
//! HTTP/2's frames of headers. Of HTTP/1.1 nothing needs to be counted: a header there is as long as
//! its text.
//!
//! HPACK makes the difference (RFC 7541): one octet can stand for 4 KB of a header that came before,
//! and a thousand of them for a header of the largest size. Were such a header taken for what it says,
//! a few requests would pay for a flood of anything else.

use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio_util::io::InspectReader;

use super::crowd::Member;

/// The same stream, whose frames of headers are counted for `member`, if it has frames.
pub(super) fn counted<S: AsyncRead>(
    stream: S,
    member: Arc<Member>,
) -> InspectReader<S, impl FnMut(&[u8])> {
    let mut frames = Frames::Preface { seen: 0 };
    InspectReader::new(stream, move |read: &[u8]| {
        member.allowance.has_headers(frames.header_bytes_in(read));
    })
}

/// Where in the sequence of frames the stream is.
#[derive(Debug)]
enum Frames {
    /// So much of HTTP/2's first bytes has been seen.
    Preface { seen: usize },
    /// So much of a frame's own header (RFC 9113, 4.1).
    Head { octets: [u8; HEAD_BYTES], seen: usize },
    /// So much is missing of what follows it.
    Payload { left_bytes: usize, of_headers: bool },
    /// It is not HTTP/2.
    None,
}

impl Frames {
    /// Goes on by `bytes`; how many of them are of frames of headers.
    fn header_bytes_in(&mut self, mut bytes: &[u8]) -> usize {
        let mut header_bytes = 0;
        while let Some((&octet, rest)) = bytes.split_first() {
            match self {
                Self::None => return header_bytes,
                Self::Preface { seen } => {
                    if PREFACE.get(*seen) != Some(&octet) {
                        *self = Self::None;
                        return header_bytes;
                    }
                    *seen += 1;
                    bytes = rest;
                    if *seen == PREFACE.len() {
                        *self = Self::HEAD;
                    }
                }
                Self::Head { octets, seen } => {
                    if let Some(place) = octets.get_mut(*seen) {
                        *place = octet;
                    }
                    *seen += 1;
                    bytes = rest;
                    if *seen == HEAD_BYTES {
                        let [a, b, c, kind, ..] = *octets;
                        let left_bytes = u32::from_be_bytes([0, a, b, c]) as usize;
                        let of_headers = [HEADERS, CONTINUATION].contains(&kind);
                        header_bytes += if of_headers { HEAD_BYTES } else { 0 };
                        *self = Self::after_head(left_bytes, of_headers);
                    }
                }
                Self::Payload { left_bytes, of_headers } => {
                    let here_bytes = (*left_bytes).min(bytes.len());
                    header_bytes += if *of_headers { here_bytes } else { 0 };
                    bytes = bytes.get(here_bytes..).unwrap_or_default();
                    *self = Self::after_head(*left_bytes - here_bytes, *of_headers);
                }
            }
        }
        header_bytes
    }

    fn after_head(left_bytes: usize, of_headers: bool) -> Self {
        if left_bytes == 0 { Self::HEAD } else { Self::Payload { left_bytes, of_headers } }
    }

    const HEAD: Self = Self::Head { octets: [0; HEAD_BYTES], seen: 0 };
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// Kinds of frames (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload_bytes: u8) -> Vec<u8> {
        let head = [0, 0, payload_bytes, kind, 0, 0, 0, 0, 1];
        [&head[..], &vec![0xbe; usize::from(payload_bytes)]].concat()
    }

    #[test]
    fn headers_are_counted_with_their_frames_and_nothing_else_is_however_it_arrives() {
        let sent = [
            PREFACE.to_vec(),
            frame(4, 0),
            frame(HEADERS, 40),
            frame(6, 8),
            frame(CONTINUATION, 0),
            frame(0, 200),
            frame(HEADERS, 1),
        ]
        .concat();
        for chunk in 1..sent.len() {
            let mut frames = Frames::Preface { seen: 0 };
            let counted: usize = sent.chunks(chunk).map(|it| frames.header_bytes_in(it)).sum();
            assert_eq!(counted, (9 + 40) + 9 + (9 + 1), "in chunks of {chunk}");
        }
    }

    #[test]
    fn what_is_not_http_2_has_no_frames() {
        let mut frames = Frames::Preface { seen: 0 };
        assert_eq!(frames.header_bytes_in(b"PRI * HTTP/1.1\r\n\r\n"), 0);
        assert_eq!(frames.header_bytes_in(&frame(HEADERS, 40)), 0);
    }
}
