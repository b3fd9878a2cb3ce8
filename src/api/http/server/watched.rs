//! The routes, and beside them the word to the [`Crowd`](super::crowd::Crowd) of where each request is.
//!
//! In: a connection's requests. Out: their answers, unchanged, with a count of what each request
//! brought, whether it waits for its client or for us, and how much of its answer was taken. Knows
//! nothing of what is asked.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    service::Service,
};
use hyper_util::service::TowerToHyperService;

use super::crowd::Member;
use crate::api::status::Malformed;

/// The routes as one connection sees them.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    routes: TowerToHyperService<Router>,
    member: Arc<Member>,
}

impl Watched {
    pub(super) fn new(routes: Router, member: Arc<Member>) -> Self {
        Self { routes: TowerToHyperService::new(routes), member }
    }
}

impl Service<Request<Incoming>> for Watched {
    type Response = Response<Departing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let may_be_asked_again = request.method() == Method::GET;
        let asked = Arc::new(Asked::new(
            Arc::clone(&self.member),
            request.version(),
            header_bytes(&request),
        ));
        // Before the work of answering, and again with what was the answer's size.
        if !asked.has_room || may_be_asked_again && !self.member.has_room() {
            return Box::pin(async move { Ok(asked.refuse()) });
        }
        if request.body().is_end_stream() {
            asked.is_whole();
        }
        let body = |body| Body::new(Arriving { body, asked: Arc::clone(&asked) });
        let answering = self.routes.call(request.map(body));
        Box::pin(async move {
            let answer = answering.await?;
            let answer_bytes = answer.body().size_hint().exact().unwrap_or(0);
            let answer_bytes = usize::try_from(answer_bytes).unwrap_or(usize::MAX);
            asked.member.begins_to_take();
            let (taken, has_room) = Taken::of(Arc::clone(&asked.member), answer_bytes);
            if may_be_asked_again && !has_room {
                return Ok(asked.refuse());
            }
            asked.is_answered(answer_bytes);
            Ok(answer.map(|body| Departing::of(body, taken)))
        })
    }
}

/// About what the header took up on the wire; with HTTP/2 it was less, for it is compressed.
fn header_bytes(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    let target_bytes = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    LINE_BYTES + target_bytes + fields.sum::<usize>()
}

/// A request from its header to its answer.
#[derive(Debug)]
struct Asked {
    member: Arc<Member>,
    header_bytes: usize,
    has_room: bool,
    body_bytes: AtomicUsize,
    whole: AtomicBool,
    answered: AtomicBool,
}

impl Asked {
    fn new(member: Arc<Member>, version: Version, said_bytes: usize) -> Self {
        let header_bytes = if version == Version::HTTP_2 {
            member.allowance.give_back_header(said_bytes)
        } else {
            member.allowance.give_back(said_bytes);
            said_bytes
        };
        let has_room = member.begin_request();
        let (whole, answered) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { member, header_bytes, has_room, body_bytes: AtomicUsize::new(0), whole, answered }
    }

    fn has_got(&self, bytes: usize) {
        if bytes > 0 {
            self.member.allowance.give_back(bytes + bytes / RECORDS_SHARE);
            self.body_bytes.fetch_add(bytes, Ordering::Relaxed);
            // The room for bodies refuses what does not fit.
            let _has_room = self.member.hold(bytes);
        }
    }

    fn refuse(&self) -> Response<Departing> {
        self.is_answered(0);
        let (nothing, _has_room) = Taken::of(Arc::clone(&self.member), 0);
        crate::api::http::refuse(&Malformed::Overloaded).map(|body| Departing::of(body, nothing))
    }

    fn is_whole(&self) {
        if !self.answered.load(Ordering::Relaxed) && !self.whole.swap(true, Ordering::Relaxed) {
            self.member.begin_work();
        }
    }

    fn is_answered(&self, answer_bytes: usize) {
        self.answered.store(true, Ordering::Relaxed);
        self.member.allowance.answered(answer_bytes);
        self.leave_work();
    }

    fn leave_work(&self) {
        if self.whole.swap(false, Ordering::Relaxed) {
            self.member.end_work();
        } else {
            self.member.moved();
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.member.release(*self.body_bytes.get_mut());
        self.member.end_request();
        if !*self.answered.get_mut() {
            // Asked and taken back at once, again and again, is a flood (CVE-2023-44487).
            self.member.allowance.take(self.header_bytes + TAKEN_BACK_BYTES);
        }
        if *self.whole.get_mut() {
            self.member.end_work();
        }
    }
}

/// A request's body on its way in.
#[derive(Debug)]
struct Arriving {
    body: Incoming,
    asked: Arc<Asked>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            this.asked.has_got(frame.data_ref().map_or(0, Bytes::len));
        }
        if frame.is_none() || this.body.is_end_stream() {
            this.asked.is_whole();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body on its way out, in pieces.
#[derive(Debug)]
pub(super) struct Departing {
    body: Body,
    rest: Bytes,
    taken: Arc<Taken>,
}

impl Departing {
    fn of(body: Body, taken: Taken) -> Self {
        Self { body, rest: Bytes::new(), taken: Arc::new(taken) }
    }
}

impl HttpBody for Departing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => this.rest = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
        let bytes = this.rest.split_to(PIECE_BYTES.min(this.rest.len()));
        let piece = Piece { bytes, taken: Arc::clone(&this.taken) };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest_bytes = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut both = SizeHint::new();
        both.set_lower(body.lower() + rest_bytes);
        if let Some(upper) = body.upper() {
            both.set_upper(upper + rest_bytes);
        }
        both
    }
}

/// Some of an answer, until it has been written to the client's socket.
struct Piece {
    bytes: Bytes,
    taken: Arc<Taken>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.taken.member.took();
    }
}

/// The whole answer: its memory is one block, free when the last piece was taken.
#[derive(Debug)]
struct Taken {
    member: Arc<Member>,
    bytes: usize,
}

impl Taken {
    /// And whether there is room for it.
    fn of(member: Arc<Member>, answer_bytes: usize) -> (Self, bool) {
        let bytes = answer_bytes.saturating_add(STREAM_BYTES);
        let has_room = member.hold(bytes);
        (Self { member, bytes }, has_room)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.member.release(self.bytes);
    }
}

/// `: ` and the line's end.
const FIELD_BYTES: usize = 4;
/// The method, the protocol, and the empty line.
const LINE_BYTES: usize = 32;
/// What a frame of HEADERS and one of RST_STREAM have around them, and what opening and closing a
/// stream cost beyond that.
const TAKEN_BACK_BYTES: usize = 256;
/// A TLS record, a frame or a chunk around each KiB at most.
const RECORDS_SHARE: usize = 32;
/// What an answer that is not taken costs beside its body: 128,000 HTTP/2 streams that waited with
/// a refusal each took up 838 MiB.
const STREAM_BYTES: usize = 6 << 10;
const PIECE_BYTES: usize = 16 << 10;
