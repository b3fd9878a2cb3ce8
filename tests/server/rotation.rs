//! The whole life of an authority under load: it signs, another takes over, its last certificate and
//! then its chain expires. The service's clock runs sixty times as fast as the machine's.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use mayfly::{
    cli::ca::{self, CaArguments},
    config::LoadOptions,
    keys::SignatureAlgorithm,
    serve::{self, Running, follow::Followed},
    time::{Clock, SystemClock, Timestamp},
    x509::Certificate,
};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    token::{IssuerKey, email_claims, with},
    world::{Answer, answer, furnish, signing_request, write_authority_for},
};

/// A minute passes in a second.
#[derive(Debug)]
struct FastClock {
    from: Timestamp,
    since: Instant,
}

impl FastClock {
    fn minute(&self, minutes: u64) -> Timestamp {
        self.from.plus_ms(minutes * 60_000)
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let elapsed_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap();
        self.from.plus_ms(elapsed_ms * 60)
    }
}

#[derive(Parser)]
struct CaCommandLine {
    #[command(flatten)]
    arguments: CaArguments,
}

/// `mayfly ca rotate`, by the service's clock.
async fn rotate(folder: &Path, clock: &Arc<FastClock>, more: &[&str]) {
    let config = folder.join("mayfly.yaml");
    let config = config.to_str().unwrap();
    let next = ["--key", "file:next.pem", "--chain", "next-chain.pem"];
    let words = [&["ca", "rotate", "--config", config], &next[..], more].concat();
    let CaCommandLine { arguments } = CaCommandLine::parse_from(words);
    let mut said = Vec::new();
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    ca::run(arguments, clock, &mut said).await.unwrap();
}

/// Follows the files until `end`.
async fn follow(running: &Running, followed: &mut Followed, clock: &FastClock, end: Timestamp) {
    while clock.now() < end {
        tokio::select! {
            cause = followed.changed() => followed.reload(running, cause).await,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

/// One request: when, and the chain that came.
struct Issued {
    sent: Timestamp,
    answered: Timestamp,
    chain: Vec<Certificate>,
}

async fn client(
    url: String,
    key: Arc<IssuerKey>,
    clock: Arc<FastClock>,
    stop: Arc<AtomicBool>,
) -> Vec<Issued> {
    let client = reqwest::Client::new();
    let mut issued = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let sent = clock.now();
        let second = sent.unix_seconds();
        let times = json!({ "iat": second, "exp": second + 300 });
        let token = key.sign(&with(email_claims(), times));
        let body = signing_request(&token, "jane@example.com").to_string();
        let answer = answer(client.post(format!("{url}/api/v2/signingCert")).body(body)).await;
        issued.push(Issued { sent, answered: clock.now(), chain: answer.chain() });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    issued
}

/// A trust bundle, and between which times it was taken.
struct Bundle {
    sent: Timestamp,
    answered: Timestamp,
    issuing: Vec<Certificate>,
}

async fn bundle(client: &reqwest::Client, url: &str, clock: &FastClock) -> Bundle {
    let sent = clock.now();
    let answer: Answer = answer(client.get(format!("{url}/api/v2/trustBundle"))).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let first = |chain: &Value| {
        let pem = chain["certificates"][0].as_str().unwrap();
        Certificate::parse_pem_chain(pem.as_bytes()).unwrap().remove(0)
    };
    let issuing = body["chains"].as_array().unwrap().iter().map(first).collect();
    Bundle { sent, answered: clock.now(), issuing }
}

async fn read(url: String, clock: Arc<FastClock>, stop: Arc<AtomicBool>) -> Vec<Bundle> {
    let client = reqwest::Client::new();
    let mut bundles = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        bundles.push(bundle(&client, &url, &clock).await);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    bundles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_43_nt_46_an_intermediate_expires_under_load_and_nobody_notices() {
    let (folder, issuer_key) = furnish(|yaml| yaml).await;
    let p256 = SignatureAlgorithm::EcdsaP256Sha256;
    for file in ["issuing.pem", "issuing-chain.pem"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    // From a minute ago until the twentieth minute from now.
    write_authority_for(folder.path(), "issuing", p256, 21 * 60).await;
    write_authority_for(folder.path(), "next", SignatureAlgorithm::EcdsaP384Sha384, 86_400).await;
    let clock = Arc::new(FastClock { from: SystemClock.now(), since: Instant::now() });
    let path = folder.path().join("mayfly.yaml");
    let (config, mut followed) = Followed::load(&path, LoadOptions { dev: false }).unwrap();
    let running = serve::start(config, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
    let url = format!("http://{}", running.public_address());
    let stop = Arc::new(AtomicBool::new(false));
    let first = bundle(&reqwest::Client::new(), &url, &clock).await;
    let reader = tokio::spawn(read(url.clone(), Arc::clone(&clock), Arc::clone(&stop)));
    let issuer_key = Arc::new(issuer_key);
    let start =
        |_| client(url.clone(), Arc::clone(&issuer_key), Arc::clone(&clock), Arc::clone(&stop));
    let clients: Vec<_> = (0..4).map(start).map(tokio::spawn).collect();

    // Without a time to retire it is trusted until its chain ends.
    let activate = clock.minute(8);
    rotate(folder.path(), &clock, &["--keep", "--activate", &activate.to_string()]).await;
    follow(&running, &mut followed, &clock, clock.minute(22)).await;

    stop.store(true, Ordering::SeqCst);
    let mut bundles = vec![first];
    bundles.extend(reader.await.unwrap());
    let mut signed = [0, 0];
    let of = |name: &str| {
        let pem = fs::read(folder.path().join(format!("{name}-chain.pem"))).unwrap();
        Certificate::parse_pem_chain(&pem).unwrap()
    };
    let chains = [of("issuing"), of("next")];
    for client in clients {
        for issued in client.await.unwrap() {
            let which = chains.iter().position(|chain| chain[..] == issued.chain[1..]).unwrap();
            let before = issued.sent < activate;
            assert!(if which == 0 { before } else { issued.answered >= activate });
            check(&issued, &bundles);
            signed[which] += 1;
        }
    }
    assert!(signed[0] > 0 && signed[1] > 0, "{signed:?}");
    let old = &chains[0][0];
    assert!(old.not_after() < clock.minute(20));
    for Bundle { sent, answered, issuing } in &bundles {
        match (old.is_valid_at(*sent), old.is_valid_at(*answered)) {
            (true, true) => assert!(issuing.contains(old), "{sent}"),
            (false, false) => assert!(!issuing.contains(old), "{sent}"),
            _ => {}
        }
    }
    assert!(!old.is_valid_at(bundles.last().unwrap().sent));
    running.shutdown().await;
}

/// By another's reading of X.509: it verifies under the chain that came with it. And that chain was
/// in the bundle of its minute, before it and as long as it lived.
fn check(issued: &Issued, bundles: &[Bundle]) {
    let ders: Vec<&[u8]> = issued.chain.iter().map(Certificate::der).collect();
    let chain: Vec<X509Certificate<'_>> =
        ders.iter().map(|der| X509Certificate::from_der(der).unwrap().1).collect();
    let [leaf, issuing, root] = &chain[..] else { panic!("{} certificates", chain.len()) };
    leaf.verify_signature(Some(issuing.public_key())).unwrap();
    issuing.verify_signature(Some(root.public_key())).unwrap();
    root.verify_signature(None).unwrap();
    let until = |certificate: &X509Certificate<'_>| certificate.validity().not_after.timestamp();
    assert!(until(leaf) <= until(issuing) && until(issuing) <= until(root));
    let life = issued.chain[0].not_after();
    let before = bundles.iter().rposition(|bundle| bundle.answered <= issued.sent).unwrap();
    let in_its_life = bundles[before..].iter().take_while(|bundle| bundle.answered <= life);
    assert!(in_its_life.clone().count() > 0);
    for Bundle { sent, issuing, .. } in in_its_life {
        assert!(issuing.contains(&issued.chain[1]), "{sent}: issued at {}", issued.sent);
    }
}
