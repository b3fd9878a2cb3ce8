//! The port of this machine that the browser comes back to.
//!
//! In: HTTP requests of whoever finds the port. Out: the first answer on the one path, right or
//! wrong: a wrong one ends the sign-in, a request for anything else does not. No input is ever
//! reflected (NT-64): there are three pages, all fixed.

use std::{
    convert::Infallible,
    io::ErrorKind,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use openidconnect::{AuthorizationCode, RedirectUrl};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    callback::{CallbackError, Expected},
    error::LoginError,
};

/// A bound port and the address that leads to it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    redirect: RedirectUrl,
}

type Outcome = Result<AuthorizationCode, CallbackError>;

impl Listener {
    /// Listens on `port` of 127.0.0.1, or on a free one for 0.
    pub(super) async fn bind(port: u16) -> Result<Self, LoginError> {
        let failed = |source| LoginError::Listen { source };
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        // `localhost` and this path are what Sigstore's clients are registered with; providers
        // leave the port out of the comparison (RFC 8252, section 7.3).
        let redirect = RedirectUrl::new(format!("http://localhost:{port}{PATH}"))
            .map_err(|_| failed(ErrorKind::InvalidData.into()))?;
        Ok(Self { socket, redirect })
    }

    pub(super) fn redirect_url(&self) -> &RedirectUrl {
        &self.redirect
    }

    /// Waits for the browser. Connections are served side by side: browsers open some that they
    /// do not use.
    pub(super) async fn code(&self, expected: Expected) -> Result<AuthorizationCode, LoginError> {
        let expected = Arc::new(expected);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept(), if connections.len() < MAX_CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(serve(stream, Arc::clone(&expected)));
                        }
                        // One that its maker gave up again.
                        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                        Err(source) => return Err(LoginError::Listen { source }),
                    }
                }
                Some(ended) = connections.join_next() => {
                    if let Ok(Some(outcome)) = ended {
                        return Ok(outcome?);
                    }
                }
            }
        }
    }
}

/// One connection, one request. The outcome is told when its page is on its way.
async fn serve(stream: TcpStream, expected: Arc<Expected>) -> Option<Outcome> {
    let found = Mutex::new(None);
    let service = service_fn(|request| {
        let (page, outcome) = answer(&request, &expected);
        if let (Some(outcome), Ok(mut found)) = (outcome, found.lock()) {
            *found = Some(outcome);
        }
        async move { Ok::<_, Infallible>(page) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // However the connection ended, what it brought counts.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
    found.into_inner().ok().flatten()
}

fn answer(request: &Request<Incoming>, expected: &Expected) -> (Page, Option<Outcome>) {
    if request.uri().path() != PATH {
        return (page(StatusCode::NOT_FOUND, NOTHING_HERE), None);
    }
    if request.method() != Method::GET {
        return (page(StatusCode::METHOD_NOT_ALLOWED, NOTHING_HERE), None);
    }
    let outcome = expected.code_in(request.uri().query().unwrap_or_default());
    let page = match &outcome {
        Ok(_) => page(StatusCode::OK, WELCOME),
        Err(_) => page(StatusCode::BAD_REQUEST, FAILED),
    };
    (page, Some(outcome))
}

type Page = Response<Full<Bytes>>;

fn page(status: StatusCode, text: &'static str) -> Page {
    let mut page = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        // The address of this page holds the code.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    page
}

const PATH: &str = "/auth/callback";
const WELCOME: &str = "<!doctype html><title>mayfly</title><p>Signed in at your provider. \
    The terminal has the rest; this page can be closed.</p>\n";
const FAILED: &str = "<!doctype html><title>mayfly</title><p>You are not signed in. \
    The terminal says why; this page can be closed.</p>\n";
const NOTHING_HERE: &str = "<!doctype html><title>mayfly</title><p>There is nothing here.</p>\n";
const MAX_CONNECTIONS: usize = 16;
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// hyper's smallest; a code and a state have some hundred bytes.
const MAX_HEADER_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use openidconnect::CsrfToken;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn expected() -> Expected {
        Expected {
            state: CsrfToken::new("right".to_owned()),
            issuer: "https://id.example.com".to_owned(),
            names_itself: false,
        }
    }

    /// What came back, be it nothing: a server that gives up early may end the connection hard.
    async fn ask(port: u16, head: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let request = format!("{head} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut answer = Vec::new();
        if stream.write_all(request.as_bytes()).await.is_ok() {
            let _ = stream.read_to_end(&mut answer).await;
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn stray_requests_and_idle_connections_do_not_end_the_wait() {
        let listener = Listener::bind(0).await.unwrap();
        let port = listener.redirect_url().url().port().unwrap();
        let wait = tokio::spawn(async move { listener.code(expected()).await });
        let _idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        assert!(ask(port, "GET /favicon.ico").await.starts_with("HTTP/1.1 404 "));
        assert!(ask(port, "POST /auth/callback?code=x&state=right").await.contains(" 405 "));
        assert!(ask(port, "GET /auth/callback/?code=x&state=right").await.contains(" 404 "));
        let welcome = ask(port, "GET /auth/callback?code=abc&state=right").await;
        assert!(welcome.starts_with("HTTP/1.1 200 "), "{welcome}");
        assert_eq!(wait.await.unwrap().unwrap().secret(), "abc");
    }

    #[tokio::test]
    async fn nt_64_a_wrong_answer_ends_the_wait_and_none_of_it_is_reflected() {
        let listener = Listener::bind(0).await.unwrap();
        let port = listener.redirect_url().url().port().unwrap();
        let wait = tokio::spawn(async move { listener.code(expected()).await });
        let refused =
            ask(port, "GET /auth/callback?code=x&state=wrong&error=%3Cscript%3Ealert").await;
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
        assert!(refused.contains("x-content-type-options: nosniff"), "{refused}");
        for word in ["script", "alert", "wrong"] {
            assert!(!refused.contains(word), "{refused}");
        }
        let error = wait.await.unwrap().unwrap_err();
        assert!(matches!(error, LoginError::Callback(CallbackError::OtherState)), "{error}");
    }

    #[tokio::test]
    async fn a_head_without_end_is_cut_off() {
        let listener = Listener::bind(0).await.unwrap();
        let port = listener.redirect_url().url().port().unwrap();
        let wait = tokio::spawn(async move { listener.code(expected()).await });
        let long = format!("GET /auth/callback?state=right&code={}", "x".repeat(MAX_HEADER_BYTES));
        assert!(!ask(port, &long).await.contains(" 200 "));
        ask(port, "GET /auth/callback?code=abc&state=right").await;
        assert_eq!(wait.await.unwrap().unwrap().secret(), "abc");
    }
}
