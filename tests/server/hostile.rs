//! Many hostile connections at once, and honest clients who must not notice.
//!
//! Nothing here measures time: what a test waits for has to come at all, within a minute that only
//! a broken bound uses up. Latencies are `benches/hostile`'s.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    attacks::{ATTACKS, Attack},
    token::email_claims,
    world::{World, answer, signing_request},
};

/// Bounds that a test can wait for, and fewer places than attackers.
const HASTY: &str = "limits:\n  header-timeout: 300ms\n  idle-timeout: 1s\n";
const CROWDED: &str = "limits:\n  connections: 256\n";

/// A certificate, over a connection of its own.
async fn issue(world: &World) {
    let client = reqwest::Client::new();
    let token = world.issuer_key.sign(&email_claims());
    let body = signing_request(&token, "jane@example.com").to_string();
    let request = client.post(world.url("/api/v2/signingCert")).body(body);
    timeout(A_MINUTE, answer(request)).await.expect("locked out").chain();
}

/// A log with a tile that is worth asking for, and not worth reading.
async fn fill_a_tile(world: &World) {
    let token = world.issuer_key.sign(&email_claims());
    for _ in 0..8 {
        let requests = (0..32).map(|_| world.request(&token, "jane@example.com"));
        for answer in futures_util::future::join_all(requests).await {
            answer.chain();
        }
    }
    let tile = async || world.client.get(world.url("/log/tile/data/000")).send().await.unwrap();
    timeout(A_MINUTE, async { while tile().await.status() != 200 {} }).await.expect("a full tile");
}

/// Keeps so many connections of one kind open, each anew when it is ended.
fn besiege(attack: Attack, address: SocketAddr, connections: usize) -> JoinSet<()> {
    let mut attackers = JoinSet::new();
    for _ in 0..connections {
        attackers.spawn(async move {
            loop {
                let _ended = attack.mount(address).await;
            }
        });
    }
    attackers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_03_every_attack_is_ended_while_honest_clients_are_served() {
    let world = World::start_with(HASTY).await;
    fill_a_tile(&world).await;
    let address = world.running.public_address();
    for attack in ATTACKS.iter().filter(|attack| attack.breaks_a_bound) {
        let mut attack = *attack;
        attack.pause /= 50;
        let mut attackers: JoinSet<_> =
            (0..100).map(|_| async move { attack.mount(address).await }).collect();
        for _ in 0..8 {
            issue(&world).await;
        }
        let all_ended = async { while attackers.join_next().await.is_some() {} };
        let ended = timeout(A_MINUTE, all_ended).await;
        ended.unwrap_or_else(|_| panic!("{}: {} go on for ever", attack.name, attackers.len()));
        issue(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_03_honest_clients_are_served_while_a_thousand_connections_take_every_place() {
    let world = World::start_with(CROWDED).await;
    for name in ["silence", "slow headers", "slow bodies", "h2 never a request", "h2 slow bodies"] {
        let attack = ATTACKS.iter().find(|attack| attack.name == name).unwrap();
        let mut attackers = besiege(*attack, world.running.public_address(), 1000);
        for _ in 0..4 {
            issue(&world).await;
        }
        assert_eq!(attackers.len(), 1000);
        attackers.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_03_connections_that_stay_open_and_silent_lock_nobody_out() {
    let world = World::start_with(CROWDED).await;
    let address = world.running.public_address();
    let mut silent = Vec::new();
    for number in 0..1000 {
        silent.push(TcpStream::connect(address).await.unwrap());
        if number % 50 == 0 {
            issue(&world).await;
        }
    }
    issue(&world).await;
    // Neither is a client told at once that it was closed, nor does the test see it at once.
    let open = || silent.iter().filter(|stream| stream.try_read(&mut [0; 1]).is_err()).count();
    let closed = async {
        while open() > 256 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(A_MINUTE, closed).await.expect("there are more connections than places");
    assert!(open() >= 192, "there are places, and yet only {} connections are kept", open());
}

/// The room for bodies is for all: 300 bodies of 250 KiB that are never whole would fill it, and
/// whoever comes then would be told that the server is busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_03_bodies_that_are_never_whole_cannot_use_up_the_room_for_bodies() {
    let world = World::start().await;
    let attack = ATTACKS.iter().find(|attack| attack.name == "bodies all but whole").unwrap();
    let mut attackers = besiege(*attack, world.running.public_address(), 400);
    for _ in 0..50 {
        issue(&world).await;
    }
    attackers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_connection_may_carry_as_many_requests_as_it_likes() {
    let world = World::start_with(HASTY).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let token = world.issuer_key.sign(&email_claims());
    for _ in 0..10 {
        let requests = (0..100).map(|number| {
            // Tokens in the header are the largest honest headers there are.
            let body = signing_request("", "jane@example.com").to_string();
            let request = client.post(world.url("/api/v2/signingCert")).bearer_auth(&token);
            answer(request.header("x-number", number).body(body))
        });
        for answer in futures_util::future::join_all(requests).await {
            answer.chain();
        }
    }
    let mut pipeline = TcpStream::connect(world.running.public_address()).await.unwrap();
    let many = "GET /api/v2/trustBundle HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2000);
    let last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let (mut reader, mut writer) = pipeline.split();
    let mut answers = Vec::new();
    let (written, read) = tokio::join!(
        async { writer.write_all(format!("{many}{last}").as_bytes()).await },
        tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answers),
    );
    written.unwrap();
    read.unwrap();
    assert_eq!(String::from_utf8(answers).unwrap().matches("HTTP/1.1 200").count(), 2001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_clients_that_come_and_go_leave_nothing_behind() {
    let world = World::start_with(CROWDED).await;
    let address = world.running.public_address();
    for _ in 0..10 {
        let coming = (0..100).map(|_| async move { drop(TcpStream::connect(address).await) });
        futures_util::future::join_all(coming).await;
        issue(&world).await;
    }
    // Every place is free again, or 250 clients at once would not be kept.
    let mut kept = Vec::new();
    for _ in 0..250 {
        kept.push(TcpStream::connect(address).await.unwrap());
    }
    sleep(Duration::from_millis(100)).await;
    assert!(kept.iter().all(|stream| stream.try_read(&mut [0; 1]).is_err()));
}

const A_MINUTE: Duration = Duration::from_secs(60);

/// The kernel hands such connections out with an error of their own, which is no reason to pause or
/// to send others away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_08_connections_that_end_before_they_are_accepted_cost_nobody_a_place() {
    let world = World::start().await;
    let address = world.running.public_address();
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    issue(&world).await;
    for _ in 0..500 {
        let mut gone = TcpStream::connect(address).await.unwrap();
        gone.shutdown().await.unwrap();
        gone.set_zero_linger().unwrap();
        drop(gone);
    }
    issue(&world).await;
    let closed = |stream: &&TcpStream| stream.try_read(&mut [0; 1]).is_ok();
    assert_eq!(idle.iter().filter(closed).count(), 0);
}

/// The last frames, of which the client is told why, are all it gets: the connection is kept, unread,
/// until the time is over that any client is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_03_a_flood_of_http_2_is_told_goaway_and_then_left_alone() {
    let world = World::start_with(HASTY).await;
    let attack = ATTACKS.iter().find(|attack| attack.name == "h2 rapid reset").unwrap();
    let mut stream = TcpStream::connect(world.running.public_address()).await.unwrap();
    stream.write_all(&[(attack.begin)(), (attack.again)(0)].concat()).await.unwrap();
    let (code, told_at) = timeout(A_MINUTE, goaway(&mut stream)).await.expect("no GOAWAY");
    assert_eq!(code, ENHANCE_YOUR_CALM);
    let mut rest = Vec::new();
    // A reset is an end too: what was sent last was never read.
    let _reset = timeout(A_MINUTE, stream.read_to_end(&mut rest)).await.expect("no end");
    assert!(told_at.elapsed() >= Duration::from_millis(200), "cut off at once");
    assert_eq!(rest, b"");
}

/// The error code of the first GOAWAY (RFC 9113, 6.8), and when it came.
async fn goaway(stream: &mut TcpStream) -> (u32, Instant) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == GOAWAY {
            let code: [u8; 4] = payload[4..8].try_into().unwrap();
            return (u32::from_be_bytes(code), Instant::now());
        }
    }
}

const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;
