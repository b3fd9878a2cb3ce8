//! TLS on the public port: every protocol on it, no old version, and a certificate that follows
//! its files.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use mayfly::{serve, serve::StartError, time::SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::{Channel, ClientTlsConfig};

use crate::{
    grpc::{self, v2::ca_client::CaClient},
    token::email_claims,
    world::{World, furnish, load},
};

/// A certificate for `localhost` that signs itself, and its key.
struct Pair {
    cert: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut parameters);
        let cert = parameters.self_signed(&key).unwrap();
        Self { cert: cert.pem(), key: key.serialize_pem() }
    }

    fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("tls.crt"), &self.cert).unwrap();
        fs::write(folder.join("tls.key"), &self.key).unwrap();
    }

    /// A client that believes this certificate alone.
    fn client(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.cert.as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).no_proxy()
    }
}

/// `tls/` is mounted as Kubernetes mounts a secret: each file a link into `..data`, which is a
/// link to the folder of one version.
fn mount(tls: &Path, pair: &Pair) {
    pair.write(&tls.join("..1"));
    symlink("..1", tls.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), tls.join(name)).unwrap();
    }
}

/// All files at once, and none of them written to.
fn swap(tls: &Path, version: &str, pair: &Pair) {
    pair.write(&tls.join(version));
    symlink(version, tls.join("..data_tmp")).unwrap();
    fs::rename(tls.join("..data_tmp"), tls.join("..data")).unwrap();
}

/// A world with a certificate of its own, and a client that believes no other.
pub(crate) async fn world() -> World {
    start(&Pair::new()).await
}

async fn start(pair: &Pair) -> World {
    let (folder, issuer_key) = furnish(|yaml| format!("{yaml}{TLS}")).await;
    mount(&folder.path().join("tls"), pair);
    let config = load(folder.path()).unwrap();
    let running = serve::start(config, Arc::new(SystemClock)).await.unwrap();
    World { folder, issuer_key, running, client: pair.client().build().unwrap() }
}

fn url(world: &World, path: &str) -> String {
    format!("https://localhost:{}{path}", world.running.public_address().port())
}

/// Whether a new connection is one that who believes `pair` accepts.
async fn proves_itself_with(world: &World, pair: &Pair) -> bool {
    let client = pair.client().build().unwrap();
    client.get(url(world, "/healthz")).send().await.is_ok_and(|answer| answer.status() == 200)
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn failed_reloads(world: &World) -> usize {
    let lines = world.audit_lines();
    lines.iter().filter(|line| line["event"] == "reload" && line["error"].is_string()).count()
}

#[tokio::test]
async fn http_1_http_2_and_grpc_are_on_one_port() {
    let pair = Pair::new();
    let world = start(&pair).await;
    let first = pair.client().http1_only().build().unwrap();
    let answer = first.get(url(&world, "/api/v2/trustBundle")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_11, 200));
    let answer = world.client.get(url(&world, "/api/v2/trustBundle")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));

    let root = tonic::transport::Certificate::from_pem(&pair.cert);
    let tls = ClientTlsConfig::new().ca_certificate(root).domain_name("localhost");
    let endpoint = Channel::from_shared(url(&world, "")).unwrap().tls_config(tls).unwrap();
    let mut client = CaClient::new(endpoint.connect().await.unwrap());
    let token = world.issuer_key.sign(&email_claims());
    let request = grpc::request(&token, "jane@example.com");
    let answer = client.create_signing_certificate(request).await.unwrap();
    assert_eq!(grpc::chain_of(answer.into_inner()).len(), 3);
}

#[tokio::test]
async fn nt_63_tls_1_2_is_the_oldest_that_is_spoken() {
    let pair = Pair::new();
    let world = start(&pair).await;
    for version in [reqwest::tls::Version::TLS_1_2, reqwest::tls::Version::TLS_1_3] {
        let client = pair.client().tls_version_min(version).tls_version_max(version);
        let answer = client.build().unwrap().get(url(&world, "/healthz")).send().await;
        assert_eq!(answer.unwrap().status(), 200, "{version:?}");
    }
    for (minor, name) in [(0, "SSL 3.0"), (1, "TLS 1.0"), (2, "TLS 1.1")] {
        let answer = answer_to(&world, &client_hello(minor)).await;
        assert_eq!(&answer[..1], [ALERT], "{name}");
        assert_eq!(&answer[5..7], [FATAL, PROTOCOL_VERSION], "{name}");
    }
    // The same greeting of TLS 1.2 is at least no matter of its version.
    let answer = answer_to(&world, &client_hello(3)).await;
    assert_ne!((answer[0], answer[6]), (ALERT, PROTOCOL_VERSION));
    // And plain HTTP is no TLS.
    let plain = answer_to(&world, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_ne!(plain.first(), Some(&b'H'));
}

#[tokio::test]
async fn nt_63_a_new_certificate_is_used_when_the_links_are_swapped() {
    let (old, new) = (Pair::new(), Pair::new());
    let world = start(&old).await;
    assert!(proves_itself_with(&world, &old).await);
    assert!(!proves_itself_with(&world, &new).await);
    let kept = world.client.get(url(&world, "/healthz")).send().await.unwrap();
    assert_eq!(kept.status(), 200);
    swap(&world.path("tls"), "..2", &new);
    eventually("the new one is used", async || proves_itself_with(&world, &new).await).await;
    assert!(!proves_itself_with(&world, &old).await);
    let kept = world.client.get(url(&world, "/healthz")).send().await.unwrap();
    assert_eq!(kept.status(), 200, "an open connection goes on");
    assert_eq!(failed_reloads(&world), 0);
}

#[tokio::test]
async fn nt_63_a_bad_pair_keeps_the_old_one_and_is_told_once() {
    let (old, other) = (Pair::new(), Pair::new());
    let expired = Pair::with(|parameters| {
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let world = start(&old).await;
    let bad = [
        ("the key of another", Pair { cert: other.cert.clone(), key: old.key.clone() }),
        ("no key", Pair { cert: other.cert.clone(), key: String::new() }),
        ("no certificate", Pair { cert: String::new(), key: other.key.clone() }),
        ("garbage", Pair { cert: "-----BEGIN".to_owned(), key: "-----BEGIN".to_owned() }),
        ("expired", expired),
    ];
    for (index, (what, pair)) in bad.iter().enumerate() {
        swap(&world.path("tls"), &format!("..bad{index}"), pair);
        eventually(what, async || failed_reloads(&world) == index + 1).await;
        let warning = tls_warning(&world).await;
        assert!(warning.is_some_and(|text| text.contains("its files was refused: tls:")), "{what}");
        assert!(proves_itself_with(&world, &old).await, "{what}");
    }
    fs::remove_file(world.path("tls/tls.key")).unwrap();
    eventually("no file", async || failed_reloads(&world) == bad.len() + 1).await;
    // Two more looks at what is still wrong.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(failed_reloads(&world), bad.len() + 1, "once for each change");
    assert!(proves_itself_with(&world, &old).await);

    symlink("..data/tls.key", world.path("tls/tls.key")).unwrap();
    swap(&world.path("tls"), "..good", &other);
    eventually("a good one", async || proves_itself_with(&world, &other).await).await;
    assert_eq!(tls_warning(&world).await, None);
}

/// What readiness says of the certificate.
async fn tls_warning(world: &World) -> Option<String> {
    let address = world.running.private_address().unwrap();
    let ready = reqwest::get(format!("http://{address}/readyz")).await.unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
    let warnings = ready["warnings"].as_array().unwrap();
    let of_tls = warnings.iter().find(|warning| warning["part"] == "tls");
    of_tls.map(|warning| warning["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_reload_takes_the_certificate_at_once_or_nothing_at_all() {
    let (old, new) = (Pair::new(), Pair::new());
    let world = start(&old).await;
    swap(&world.path("tls"), "..2", &Pair { cert: new.cert.clone(), key: old.key.clone() });
    let refused = world.running.reload(load(world.folder.path()).unwrap()).await;
    assert!(matches!(refused, Err(StartError::Tls(_))), "{refused:?}");
    assert!(proves_itself_with(&world, &old).await);
    swap(&world.path("tls"), "..3", &new);
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    assert!(proves_itself_with(&world, &new).await);
}

#[tokio::test]
async fn a_server_without_a_good_pair_does_not_start() {
    let (folder, _) = furnish(|yaml| format!("{yaml}{TLS}")).await;
    let start = async || {
        let config = load(folder.path()).unwrap();
        serve::start(config, Arc::new(SystemClock)).await.err().map(|error| error.to_string())
    };
    assert!(start().await.unwrap().starts_with("tls: cannot read"));
    let pair = Pair { key: Pair::new().key, ..Pair::new() };
    mount(&folder.path().join("tls"), &pair);
    assert!(start().await.unwrap().contains("is not the key of"));
}

#[tokio::test]
async fn nt_03_a_handshake_that_never_ends_is_cut() {
    let pair = Pair::new();
    let (folder, issuer_key) =
        furnish(|yaml| format!("{yaml}{TLS}limits:\n  header-timeout: 200ms\n")).await;
    mount(&folder.path().join("tls"), &pair);
    let config = load(folder.path()).unwrap();
    let running = serve::start(config, Arc::new(SystemClock)).await.unwrap();
    let world = World { folder, issuer_key, running, client: pair.client().build().unwrap() };
    let started = Instant::now();
    let hello = client_hello(3);
    assert_eq!(answer_to(&world, &hello[..hello.len() - 1]).await, b"");
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Half of a first message, and a whole one with nothing after it, from a thousand connections for
/// 256 places; each comes back when it is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_03_half_handshakes_on_every_place_lock_nobody_out() {
    let pair = Pair::new();
    let (folder, issuer_key) =
        furnish(|yaml| format!("{yaml}{TLS}limits:\n  connections: 256\n")).await;
    mount(&folder.path().join("tls"), &pair);
    let config = load(folder.path()).unwrap();
    let running = serve::start(config, Arc::new(SystemClock)).await.unwrap();
    let client = pair.client().pool_max_idle_per_host(0).build().unwrap();
    let world = World { folder, issuer_key, running, client };
    let address = world.running.public_address();
    let mut attackers = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let mut hello = client_hello(3);
        hello.truncate(if number % 2 == 0 { hello.len() } else { 20 });
        attackers.spawn(async move {
            loop {
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                let mut answer = Vec::new();
                if stream.write_all(&hello).await.is_ok() {
                    let _ended = stream.read_to_end(&mut answer).await;
                }
            }
        });
    }
    for _ in 0..8 {
        let asked = world.client.get(url(&world, "/api/v2/trustBundle")).send();
        let answer = tokio::time::timeout(Duration::from_secs(60), asked).await;
        assert_eq!(answer.expect("locked out").unwrap().status(), 200);
    }
    assert_eq!(attackers.len(), 1000);
    attackers.shutdown().await;
}

/// What the server says to some bytes until it ends the connection.
async fn answer_to(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(world.running.public_address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too; what came before it is in `answer`.
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    let _ended = read.await.unwrap();
    answer
}

/// The first message of a client whose newest version is 3.`minor` (RFC 4346, section 7.4.1.2).
fn client_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    // No session; ECDHE-ECDSA-AES128-SHA, ECDHE-ECDSA-AES128-GCM-SHA256, AES128-SHA; no compression.
    body.extend([0, 0, 6, 0xc0, 0x09, 0xc0, 0x2b, 0x00, 0x2f, 1, 0]);
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..], // supported_groups: P-256
        &[0, 11, 0, 2, 1, 0],            // ec_point_formats: uncompressed
        &[0, 13, 0, 4, 0, 2, 4, 3],      // signature_algorithms: ECDSA with SHA-256
    ]
    .concat();
    body.extend([0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut message = vec![22, 3, minor.min(1), 0, length + 4, 1, 0, 0, length];
    message.extend(body);
    message
}

const TLS: &str = "tls:\n  cert: tls/tls.crt\n  key: tls/tls.key\n";
// RFC 8446, section 6.
const ALERT: u8 = 21;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;
