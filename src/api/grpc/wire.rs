//! gRPC over HTTP/2, for calls of one message each way.
//!
//! In: a body, whole. Out: its message's bytes; and answers with their trailers. Knows nothing of
//! what messages say.
//!
//! It is ours, not a framework's, because bodies have been read by then: under the same bounds in
//! size, time and memory as those of HTTP, and every refusal on the same record. What is left of
//! the protocol is a prefix of five bytes and two trailers.

use std::fmt::Write as _;

use axum::{body::Body, extract::Request, response::Response};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use prost::Message;

use crate::api::status::{Malformed, MessageFault, Status};

/// What a call that was answered with a status other than OK would have been told over HTTP, whose
/// own status says 200: for the log line and the metrics.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct GrpcFailure {
    pub(in crate::api) http: StatusCode,
}

/// Whether a request is a gRPC call: HTTP/2, and of the content type with any suffix that still
/// means protobuf.
pub(in crate::api) fn is_grpc(request: &Request) -> bool {
    let Some(content_type) = request.headers().get(header::CONTENT_TYPE) else { return false };
    let suffix = content_type.as_bytes().strip_prefix(APPLICATION_GRPC.as_bytes());
    let of_grpc = suffix.is_some_and(|suffix| {
        matches!(suffix, b"" | b"+proto")
            || suffix.starts_with(b";")
            || suffix.starts_with(b"+proto;")
    });
    of_grpc && request.version() == Version::HTTP_2
}

/// The one message of a body.
pub(super) fn message<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<&'a [u8], Malformed> {
    let frame = Malformed::Message { fault: MessageFault::Frame };
    let Some(([compressed, length @ ..], message)) = body.split_first_chunk::<PREFIX_BYTES>()
    else {
        return Err(frame);
    };
    match compressed {
        0 if u32::from_be_bytes(*length) as usize == message.len() => Ok(message),
        // No encoding is announced, so none may be used (NT-04).
        1 => {
            let encoding = headers.get(GRPC_ENCODING).and_then(|value| value.to_str().ok());
            let encoding = encoding.unwrap_or("?").chars().take(40).collect();
            Err(Malformed::MessageEncoded { encoding })
        }
        _ => Err(frame),
    }
}

/// An answer with status OK.
pub(super) fn answer(message: &impl Message) -> Response {
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(PREFIX_BYTES + length);
    body.put_u8(0);
    // A chain of certificates is some KiB.
    body.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    body.put(message.encode_to_vec().as_slice());
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(body.freeze()).with_trailers(async { Some(Ok(trailers)) });
    with_type(Body::new(body))
}

/// An answer that is a status alone. HTTP's own status is 200 even so.
pub(super) fn fail(status: &Status) -> Response {
    let mut response = with_type(Body::from(Bytes::new()));
    response.extensions_mut().insert(GrpcFailure { http: status.http });
    let headers = response.headers_mut();
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status.grpc)));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&status.message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

fn with_type(body: Body) -> Response {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(APPLICATION_GRPC);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// "gRPC over HTTP2", `Percent-Encoded`: everything but printable ASCII, and the percent sign.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            // Writing into a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

/// A flag and the length of the message that follows.
const PREFIX_BYTES: usize = 5;
const APPLICATION_GRPC: &str = "application/grpc";
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_whole_message() {
        let read = |body: &[u8]| message(&HeaderMap::new(), body).map(<[u8]>::to_vec);
        assert!(read(&[0, 0, 0, 0, 0]).unwrap().is_empty());
        assert_eq!(read(&[0, 0, 0, 0, 2, 7, 8]).unwrap(), [7, 8]);
        for broken in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 1, 7, 8],
            &[0, 0xff, 0xff, 0xff, 0xff, 7],
            &[2, 0, 0, 0, 0],
        ] {
            let fault = read(broken).unwrap_err();
            assert!(matches!(fault, Malformed::Message { fault: MessageFault::Frame }));
        }
    }

    #[test]
    fn nt_04_a_compressed_message_is_not_unpacked() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
        let refused = message(&headers, &[1, 0, 0, 0, 1, 7]).unwrap_err();
        assert!(matches!(refused, Malformed::MessageEncoded { encoding } if encoding == "gzip"));
    }

    #[test]
    fn nt_05_a_message_breaks_out_of_no_header() {
        assert_eq!(percent_encoded("a 100% sure\r\nx: ü"), "a 100%25 sure%0D%0Ax: %C3%BC");
    }
}
