//! Clients that are slow, silent, greedy or odd, byte by byte.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    token::email_claims,
    world::{World, answer, signing_request},
};

const HASTY: &str = "limits:\n  header-timeout: 300ms\n  idle-timeout: 1s\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.running.public_address()).await.unwrap()
}

/// Everything until the server closes the connection, which it must.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    // A reset is an end too.
    let _reset = ended.expect("the server never ends the connection");
    String::from_utf8(bytes).unwrap()
}

/// One answer with its body, of a connection that stays open.
async fn one(stream: &mut TcpStream) -> (String, String) {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                assert_eq!(body.len(), length, "one answer and nothing more");
                return (head.to_owned(), body.to_owned());
            }
        }
        let mut some = [0; 4096];
        let read = timeout(Duration::from_secs(5), stream.read(&mut some)).await;
        let read = read.expect("no answer").unwrap();
        assert!(read > 0, "closed: {text}");
        text.push_str(std::str::from_utf8(&some[..read]).unwrap());
    }
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /api/v2/signingCert HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}")
}

fn code(text: &str) -> u64 {
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{text}"));
    body["code"].as_u64().unwrap()
}

#[tokio::test]
async fn nt_03_a_silent_connection_is_closed() {
    let world = World::start_with(HASTY).await;
    let started = Instant::now();
    let mut silent = connect(&world).await;
    assert_eq!(rest(&mut silent).await, "");
    let mut half_http2 = connect(&world).await;
    half_http2.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    rest(&mut half_http2).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nt_03_a_header_that_trickles_in_is_cut_off() {
    let world = World::start_with(HASTY).await;
    let mut slow = connect(&world).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let (mut reader, mut writer) = slow.into_split();
    let trickle = tokio::spawn(async move {
        while writer.write_all(b"a: b\r\n").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut bytes = Vec::new();
    let ended = timeout(Duration::from_secs(3), reader.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "the header may take for ever");
    assert!(!String::from_utf8_lossy(&bytes).contains("200 OK"));
    trickle.abort();
}

#[tokio::test]
async fn nt_03_a_body_that_trickles_in_is_answered_408() {
    let world = World::start_with(HASTY).await;
    let mut slow = connect(&world).await;
    slow.write_all(post("content-length: 1000\r\n", "{").as_bytes()).await.unwrap();
    let started = Instant::now();
    let (head, body) = one(&mut slow).await;
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.contains("300 ms"), "{body}");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(world.audit_lines().last().unwrap()["event"], "refused");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_a_while_and_not_for_ever() {
    let world = World::start_with(HASTY).await;
    let mut kept = connect(&world).await;
    for _ in 0..3 {
        kept.write_all(HEALTH.as_bytes()).await.unwrap();
        assert!(one(&mut kept).await.0.starts_with("HTTP/1.1 200"));
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rest(&mut kept).await, "");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_however_it_is_framed() {
    let world = World::start().await;
    let large = "x".repeat(300 * 1024);
    let framed = format!("content-length: {}\r\n", large.len());
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for (headers, body) in [(framed.as_str(), &large), ("transfer-encoding: chunked\r\n", &chunked)]
    {
        let mut stream = connect(&world).await;
        stream.write_all(post(headers, body).as_bytes()).await.unwrap();
        let (head, body) = one(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 413"), "{head}");
        assert!(body.contains("262144") && body.contains("\"code\":8"), "{body}");
    }
}

#[tokio::test]
async fn an_endless_chunked_body_is_ended() {
    let world = World::start().await;
    let stream = connect(&world).await;
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(post("transfer-encoding: chunked\r\n", "").as_bytes()).await.unwrap();
    let endless = tokio::spawn(async move {
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let mut sent = 0_u64;
        while writer.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len() as u64;
        }
        sent
    });
    let mut bytes = Vec::new();
    let _reset = timeout(Duration::from_secs(5), reader.read_to_end(&mut bytes)).await.unwrap();
    drop(reader);
    let sent = timeout(Duration::from_secs(5), endless).await.unwrap().unwrap();
    assert!(sent < 32 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_or_refused_at_once() {
    let world = World::start().await;
    let mut asks = connect(&world).await;
    let headers = "content-length: 2\r\nexpect: 100-continue\r\n";
    asks.write_all(post(headers, "").as_bytes()).await.unwrap();
    let (head, _) = one(&mut asks).await;
    assert!(head.starts_with("HTTP/1.1 100"), "{head}");
    asks.write_all(b"{}").await.unwrap();
    let (head, _) = one(&mut asks).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");

    let mut asks = connect(&world).await;
    let headers = "content-length: 300000\r\nexpect: 100-continue\r\n";
    asks.write_all(post(headers, "").as_bytes()).await.unwrap();
    let text = rest(&mut asks).await;
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    assert_eq!(code(&text), 8);
}

#[tokio::test]
async fn requests_in_a_pipeline_are_answered_in_their_order() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let body = signing_request(&token, "jane@example.com").to_string();
    let issue = post(&format!("content-length: {}\r\n", body.len()), &body);
    let last = "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut stream = connect(&world).await;
    stream.write_all(format!("{issue}{HEALTH}{issue}{last}").as_bytes()).await.unwrap();
    let text = rest(&mut stream).await;
    let answers: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|each| &each[..3]).collect();
    assert_eq!(answers, ["200", "200", "200", "404"], "{text}");
    assert_eq!(world.log_size().await, 2);
}

#[tokio::test]
async fn nt_03_too_many_or_too_large_headers_are_refused() {
    let world = World::start().await;
    let many: String = (0..10_000).map(|number| format!("h{number}: x\r\n")).collect();
    let large = format!("authorization: Bearer {}\r\n", "t".repeat(100 * 1024));
    for headers in [&many, &large] {
        let mut stream = connect(&world).await;
        // The server may hang up before it has read everything.
        let _cut = stream.write_all(post(headers, "").as_bytes()).await;
        let text = rest(&mut stream).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    }
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(world.audit_lines().len(), 1, "they were no requests");
}

#[tokio::test]
async fn nt_01_a_token_of_60_kib_in_the_header_is_refused_by_its_length() {
    let world = World::start().await;
    let body = signing_request("", "jane@example.com").to_string();
    let token = "t".repeat(60 * 1024);
    let headers = format!("authorization: Bearer {token}\r\ncontent-length: {}\r\n", body.len());
    let mut stream = connect(&world).await;
    stream.write_all(post(&headers, &body).as_bytes()).await.unwrap();
    let (head, body) = one(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 400") && body.contains("32768"), "{head}{body}");
}

#[tokio::test]
async fn two_lengths_or_a_length_and_chunks_are_no_request() {
    let world = World::start().await;
    for headers in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: x\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: chunked, x\r\n",
    ] {
        let mut stream = connect(&world).await;
        stream.write_all(post(headers, "{}").as_bytes()).await.unwrap();
        let text = rest(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 400"), "{headers}: {text}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_to_those_who_begin_with_it() {
    let world = World::start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let token = world.issuer_key.sign(&email_claims());
    let requests = (0..40).map(|_| {
        let body = signing_request(&token, "jane@example.com").to_string();
        answer(client.post(world.url("/api/v2/signingCert")).body(body))
    });
    for answer in futures_util::future::join_all(requests).await {
        answer.chain();
    }
    assert_eq!(world.log_size().await, 40);
    let large = client.post(world.url("/api/v2/signingCert")).body("x".repeat(300 * 1024));
    assert_eq!(answer(large).await.status, 413);
    let headers = client.get(world.url("/healthz")).header("x", "x".repeat(100 * 1024)).send();
    assert!(headers.await.map_or(true, |answer| answer.status() == 431));
    assert_eq!(answer(client.get(world.url("/healthz"))).await.status, 200);
}

#[tokio::test]
async fn a_web_page_may_ask_from_anywhere() {
    let world = World::start().await;
    let url = world.url("/api/v2/signingCert");
    let preflight = world.client.request(reqwest::Method::OPTIONS, &url);
    let preflight = preflight
        .header("origin", "https://page.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,authorization");
    let answer = answer(preflight).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let allowed = answer.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
    let health = world.client.get(world.url("/healthz")).header("origin", "https://x.org");
    let health = crate::world::answer(health).await;
    assert_eq!(health.headers["access-control-allow-origin"], "*");
    assert!(health.headers.get("access-control-allow-credentials").is_none());
}

#[tokio::test]
async fn nt_03_a_client_that_never_reads_its_answers_is_cut_off() {
    let world = World::start_with(HASTY).await;
    let stream = connect(&world).await;
    let (reader, mut writer) = stream.into_split();
    let asking = async {
        let many = "GET /api/v2/trustBundle HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
        while writer.write_all(many.as_bytes()).await.is_ok() {}
    };
    timeout(Duration::from_secs(10), asking).await.expect("it is served for ever");
    drop(reader);
    assert_eq!(world.get("/healthz").await.status, 200);
}
