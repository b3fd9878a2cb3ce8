use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::advance,
};

use super::*;
use crate::api::http::server::crowd::{Crowd, Place};

const PATIENCE: Duration = Duration::from_secs(10);

/// A client's end, ours, and the place that keeps the connection.
async fn connection() -> (DuplexStream, Metered<DuplexStream>, Place) {
    let crowd = Crowd::new(1);
    let place = crowd.admit(PATIENCE).await.unwrap();
    let (client, server) = duplex(1 << 20);
    let metered = Metered::new(server, Arc::clone(place.member()));
    (client, metered, place)
}

/// Reads until nothing comes or the connection breaks. With paused time, a wait is over as soon as
/// nothing else happens.
async fn read_for(stream: &mut Metered<DuplexStream>, time: Duration) -> (usize, bool) {
    let (mut read_bytes, mut chunk) = (0, [0; 1024]);
    let until = Instant::now() + time;
    loop {
        match tokio::time::timeout_at(until, stream.read(&mut chunk)).await {
            Err(_) => return (read_bytes, false),
            Ok(Err(_)) => return (read_bytes, true),
            Ok(Ok(some)) => read_bytes += some,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nt_03_what_belongs_to_no_request_is_read_slowly_and_then_not_at_all() {
    let (mut client, mut server, _place) = connection().await;
    client.write_all(&[0; 1 << 20]).await.unwrap();
    let began = Instant::now();
    let (at_once, broken) = read_for(&mut server, Duration::from_millis(1)).await;
    let burst = usize::try_from(BURST_BYTES).unwrap();
    assert!(!broken && (burst..burst + 1024).contains(&at_once), "{at_once}");
    let (then, broken) = read_for(&mut server, Duration::from_secs(60)).await;
    assert!(broken, "a connection that only makes noise is ended");
    assert!(began.elapsed() < PATIENCE + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(then <= 2 * 1024 * 11, "{then} bytes in {PATIENCE:?}");
}

/// A hundred floods, and in their midst requests: small ones at once, large ones a little later.
#[tokio::test(start_paused = true)]
async fn nt_03_all_floods_together_are_read_no_faster_than_a_few() {
    let crowd = Crowd::new(101);
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let place = crowd.admit(PATIENCE).await.unwrap();
        floods.spawn(async move {
            let (mut client, server) = duplex(1 << 20);
            client.write_all(&[0; 1 << 20]).await.unwrap();
            let mut metered = Metered::new(server, Arc::clone(place.member()));
            read_for(&mut metered, Duration::from_secs(1)).await.0
        });
    }
    advance(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    let place = crowd.admit(PATIENCE).await.unwrap();
    let allowance = &place.member().allowance;
    for _ in 0..1000 {
        assert!(matches!(allowance.may_read(Instant::now(), Waker::noop()), Verdict::Read));
        allowance.take(4000);
        allowance.give_back(4000);
    }
    // A header with a large token is in their midst, and comes through.
    let (mut client, server) = duplex(1 << 20);
    client.write_all(&[0; 40 << 10]).await.unwrap();
    let mut large = Metered::new(server, Arc::clone(place.member()));
    let began = Instant::now();
    large.read_exact(&mut [0; 40 << 10]).await.unwrap();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let read_bytes: usize = floods.join_all().await.into_iter().sum();
    // What each may read at once, and what all share: at the start, and in a second.
    let (at_once, together) = (100 * (9 << 10), 5 << 20);
    assert!(read_bytes > together / 2 && read_bytes < at_once + together, "{read_bytes}");
}

#[tokio::test(start_paused = true)]
async fn what_requests_carry_is_read_without_a_pause() {
    let (mut client, mut server, place) = connection().await;
    let began = Instant::now();
    for _ in 0..10_000 {
        client.write_all(&[0; 1000]).await.unwrap();
        let mut request = [0; 1000];
        server.read_exact(&mut request).await.unwrap();
        place.member().allowance.give_back(700);
        place.member().allowance.answered(4000);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_goes_on_as_soon_as_a_request_is_known() {
    let (mut client, mut server, place) = connection().await;
    client.write_all(&[0; 1 << 20]).await.unwrap();
    read_for(&mut server, Duration::from_millis(1)).await;
    let began = Instant::now();
    let reading = tokio::spawn(async move {
        let mut some = [0; 1];
        server.read_exact(&mut some).await
    });
    tokio::task::yield_now().await;
    place.member().allowance.give_back(10_000);
    reading.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nt_03_a_request_that_is_taken_back_counts() {
    let (_client, _server, place) = connection().await;
    let allowance = &place.member().allowance;
    let waker = Waker::noop();
    let mut resets = 0;
    while matches!(allowance.may_read(Instant::now(), waker), Verdict::Read) {
        allowance.take(60);
        allowance.give_back(100);
        allowance.take(100 + 256);
        resets += 1;
    }
    assert!(resets < 300, "{resets}");
}

/// HPACK: some octets can say that a header is of the largest size.
#[tokio::test(start_paused = true)]
async fn nt_03_a_compressed_header_gives_back_what_it_took_up_and_no_more() {
    let (_client, _server, place) = connection().await;
    let allowance = &place.member().allowance;
    let mut requests = 0;
    while matches!(allowance.may_read(Instant::now(), Waker::noop()), Verdict::Read) {
        allowance.take(40 + 1000);
        allowance.has_headers(40);
        assert_eq!(allowance.give_back_header(56_000), 40);
        allowance.answered(100);
        requests += 1;
    }
    assert!(requests < 200, "{requests} requests with 1000 bytes of something else each");
    // One that says no more than it took up is given back whole, with the next at the latest.
    allowance.has_headers(300);
    assert_eq!((allowance.give_back_header(200), allowance.give_back_header(200)), (200, 100));
}

#[tokio::test(start_paused = true)]
async fn an_allowance_fills_up_again_but_never_beyond_its_burst() {
    let (mut client, mut server, _place) = connection().await;
    client.write_all(&[0; 1 << 20]).await.unwrap();
    read_for(&mut server, Duration::from_millis(1)).await;
    advance(Duration::from_secs(3600)).await;
    let (read_bytes, broken) = read_for(&mut server, Duration::from_millis(1)).await;
    let burst = usize::try_from(BURST_BYTES).unwrap();
    assert!(!broken && read_bytes < burst + 1024, "{read_bytes}");
}
