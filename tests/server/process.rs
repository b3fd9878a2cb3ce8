//! `mayfly serve` as a process: signals, limits of the system, and what it says.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    attacks::ATTACKS,
    token::{IssuerKey, email_claims},
    unlogged::without_log,
    world::{Answer, answer, furnish, mayfly_yaml, signing_request, write_authority},
};

pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    pub(crate) folder: TempDir,
    issuer_key: IssuerKey,
    client: reqwest::Client,
}

impl Process {
    /// `limits` are commands of the shell that starts the process.
    pub(crate) async fn start(limits: &str, change: impl FnOnce(String) -> String) -> Self {
        let (folder, issuer_key) = furnish(change).await;
        let errors = File::create(folder.path().join("stderr")).unwrap();
        let script = format!("{limits} exec \"$0\" serve --config mayfly.yaml");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_mayfly")])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.strip_prefix("ready on ").and_then(|rest| rest.split(' ').next());
        let errors = || fs::read_to_string(folder.path().join("stderr")).unwrap();
        let address = address.unwrap_or_else(|| panic!("{ready}{}", errors())).parse().unwrap();
        Self { child, address, folder, issuer_key, client: reqwest::Client::new() }
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn issue(&self) -> Answer {
        let token = self.issuer_key.sign(&email_claims());
        let body = signing_request(&token, "jane@example.com").to_string();
        let url = format!("http://{}/api/v2/signingCert", self.address);
        answer(self.client.post(url).body(body)).await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn wait_for(&mut self, what: &str, mut there: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !there(self) {
            assert!(Instant::now() < deadline, "{what} does not come: {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let mut code = None;
        self.wait_for("the end", |process| {
            let ended = process.child.try_wait().unwrap();
            code = ended.map(|status| status.code());
            ended.is_some()
        })
        .await;
        code.flatten()
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("it said: {}", self.stderr());
        }
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn reloads(process: &Process) -> Vec<Value> {
    process.audit().into_iter().filter(|line| line["event"] == "reload").collect()
}

#[tokio::test]
async fn nt_65_hang_up_reloads_and_a_bad_file_keeps_the_old_and_alarms() {
    let mut process = Process::start("", |yaml| yaml).await;
    let before = process.issue().await.chain();
    let yaml = process.folder.path().join("mayfly.yaml");

    for (count, bad) in [
        mayfly_yaml("issuing", "unknown-key: 1\n"),
        String::new(),
        mayfly_yaml("missing", ""),
        mayfly_yaml("issuing", "").replace("log.example.com/test", "log.example.com/other"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&yaml, bad).unwrap();
        process.signal(Signal::HUP);
        let alarms = |process: &mut Process| {
            process.stderr().matches("configuration not reloaded").count() == count + 1
        };
        process.wait_for("the alarm", alarms).await;
        assert_eq!(process.issue().await.chain()[1].der(), before[1].der());
    }

    write_authority(
        process.folder.path(),
        "next",
        mayfly::keys::SignatureAlgorithm::EcdsaP256Sha256,
    )
    .await;
    fs::write(&yaml, mayfly_yaml("next", "")).unwrap();
    process.signal(Signal::HUP);
    process
        .wait_for("the reload", |process| process.stderr().contains("configuration reloaded"))
        .await;
    assert_ne!(process.issue().await.chain()[1].der(), before[1].der());
    let reloads = reloads(&process);
    assert_eq!(reloads.len(), 5, "each attempt stands in the audit log: {reloads:?}");
    assert!(reloads[..4].iter().all(|line| line["error"].is_string()));
    assert!(reloads[4]["error"].is_null());

    process.signal(Signal::TERM);
    assert_eq!(process.exit_code().await, Some(0));
    let audit = File::open(process.folder.path().join("audit.jsonl")).unwrap();
    mayfly::audit::verify_chain(audit).unwrap();
}

#[tokio::test]
async fn nt_65_a_process_that_nobody_signals_follows_its_files() {
    let mut process = Process::start("", |yaml| yaml).await;
    let before = process.issue().await.chain();
    let yaml = process.folder.path().join("mayfly.yaml");
    fs::write(&yaml, "listen: [").unwrap();
    let alarm = |process: &mut Process| process.stderr().contains("configuration not reloaded");
    process.wait_for("the alarm", alarm).await;
    let algorithm = mayfly::keys::SignatureAlgorithm::EcdsaP256Sha256;
    write_authority(process.folder.path(), "next", algorithm).await;
    // As editors and `ca rotate` do it.
    let beside = process.folder.path().join(".mayfly.yaml.new");
    fs::write(&beside, mayfly_yaml("next", "")).unwrap();
    fs::rename(beside, yaml).unwrap();
    let reloaded = |process: &mut Process| process.stderr().contains("its files changed");
    process.wait_for("the reload", reloaded).await;
    let good = |process: &mut Process| reloads(process).last().unwrap()["error"].is_null();
    process.wait_for("the good reload", good).await;
    assert_ne!(process.issue().await.chain()[1].der(), before[1].der());
}

#[tokio::test]
async fn nt_58_running_without_a_log_is_said_loudly_and_no_log_is_trusted() {
    let process = Process::start("", without_log).await;
    assert_eq!(process.issue().await.chain().len(), 3);
    let said = process.stderr();
    assert!(said.contains("log: none") && said.contains("WARN"), "{said}");
    let root = Command::new(env!("CARGO_BIN_EXE_mayfly"))
        .args(["trust", "root", "--config", "mayfly.yaml"])
        .current_dir(process.folder.path())
        .output()
        .unwrap();
    assert!(root.status.success(), "{}", String::from_utf8_lossy(&root.stderr));
    let root: Value = serde_json::from_slice(&root.stdout).unwrap();
    assert_eq!(root.get("ctlogs").map_or(0, |logs| logs.as_array().unwrap().len()), 0);
    assert_eq!(root["certificateAuthorities"].as_array().unwrap().len(), 1);
}

fn flood(address: SocketAddr, connections: usize) -> Vec<TcpStream> {
    // The kernel completes handshakes that the process has not accepted, up to a number of its own.
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
    (0..connections).filter_map(connect).collect()
}

/// Without a reserve, connections of strangers would leave the log no descriptor for its tiles, and
/// a log that cannot write a tile stops.
#[tokio::test]
async fn nt_08_idle_connections_cannot_take_the_logs_file_descriptors() {
    let process = Process::start("ulimit -n 128;", |yaml| yaml).await;
    assert!(process.stderr().contains("limit on open files"), "{}", process.stderr());
    assert_eq!(process.issue().await.status, 200);
    let flood = flood(process.address, 100);
    assert!(flood.len() >= 64, "{}", flood.len());
    // On the connection that was open before; 300 entries are a full tile, which is a new file.
    for _ in 0..300 {
        process.issue().await.chain();
    }
    drop(flood);
    let client = reqwest::Client::new();
    let health = answer(client.get(format!("http://{}/healthz", process.address))).await;
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn nt_08_the_accept_loop_survives_running_out_of_descriptors() {
    // Too few even for the reserve.
    let mut process = Process::start("ulimit -n 26;", |yaml| yaml).await;
    let flood = flood(process.address, 60);
    let noticed = |process: &mut Process| process.stderr().contains("could not be accepted");
    process.wait_for("the shortage", noticed).await;
    drop(flood);
    let health = format!("http://{}/healthz", process.address);
    assert_eq!(answer(process.client.get(health)).await.status, 200);
}

/// Without a disk there is no audit log, and without that no certificate and no process.
#[tokio::test]
async fn nt_05_a_full_disk_under_the_audit_log_ends_the_process() {
    // `ulimit -f` counts in 512 bytes or in 1024, as the shell likes: the file is filled by hand.
    let mut process = Process::start("trap '' XFSZ; ulimit -f 8192;", |yaml| yaml).await;
    let mut issued = 0;
    let refused = loop {
        // Long refused requests fill it: 8 MiB at most.
        let body = json!({ "credentials": { "oidcIdentityToken": "e30.e30.e30" } });
        let url = format!("http://{}/api/v2/signingCert", process.address);
        let requests = (0..64).map(|_| {
            answer(
                process
                    .client
                    .post(&url)
                    .header("content-encoding", "x".repeat(40))
                    .body(body.to_string()),
            )
        });
        let answers = futures_util::future::join_all(requests).await;
        if let Some(refused) = answers.into_iter().find(|answer| answer.status == 503) {
            break refused;
        }
        issued += 1;
        assert!(issued < 2000, "the disk never fills up");
    };
    assert!(refused.message().contains("audit log"), "{}", refused.body);
    assert_eq!(process.exit_code().await, Some(2));
}

#[tokio::test]
async fn nt_05_a_log_that_stops_ends_the_process() {
    let mut process = Process::start("RUST_LOG=error", |yaml| yaml).await;
    let tile = process.folder.path().join("log/static/tile/data/000");
    fs::create_dir_all(tile.parent().unwrap()).unwrap();
    fs::write(tile, "not the tile that the log will write").unwrap();
    let url = format!("http://{}/api/v2/signingCert", process.address);
    let token = process.issuer_key.sign(&email_claims());
    // Until the connection breaks: what it answers before that is a certificate or 503.
    for sent in 0.. {
        assert!(sent < 2000, "the process goes on over a damaged tile");
        let body = signing_request(&token, "jane@example.com").to_string();
        let Ok(response) = process.client.post(&url).body(body).send().await else { break };
        assert!(matches!(response.status().as_u16(), 200 | 503), "{}", response.status());
    }
    assert_eq!(process.exit_code().await, Some(2));
    assert!(process.stderr().contains("the log stopped"), "{}", process.stderr());
    let audit = process.audit();
    let count = |event: &str| audit.iter().filter(|line| line["event"] == event).count();
    assert_eq!(count("intent"), count("issued") + count("failed"), "every intent has its end");
}

#[tokio::test]
async fn nt_60_the_process_logs_no_token_however_much_it_logs() {
    let process = Process::start("RUST_LOG=trace", |yaml| yaml).await;
    let url = format!("http://{}/api/v2/signingCert", process.address);
    let token = process.issuer_key.sign(&email_claims());
    let wrong = format!("{}x", process.issuer_key.sign(&json!({ "iss": "https://x.org" })));
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for client in [&process.client, &http2] {
        for token in [&token, &wrong] {
            let in_body = signing_request(token, "jane@example.com").to_string();
            answer(client.post(&url).body(in_body)).await;
            let in_header = signing_request("", "jane@example.com").to_string();
            answer(client.post(&url).bearer_auth(token).body(in_header)).await;
        }
    }
    let said = process.stderr();
    assert!(said.contains("TRACE"), "it logs everything");
    for part in token.split('.').chain(wrong.split('.')) {
        assert!(!said.contains(part), "a part of a token is in the log lines");
    }
}

#[tokio::test]
async fn refused_requests_do_not_make_the_process_grow() {
    let process = Process::start("RUST_LOG=warn", |yaml| yaml).await;
    let refuse = async |requests: usize| {
        let url = format!("http://{}/api/v2/signingCert", process.address);
        let refused = async |number: usize| {
            // Every text is new, so that nothing of it may be remembered.
            let claims =
                json!({ "iss": format!("https://a{number}.wild.example.org/id/{number}") });
            let token = process.issuer_key.sign_raw(r#"{"alg":"ES256"}"#, &claims.to_string());
            let body = json!({
                "credentials": { "oidcIdentityToken": token },
                "publicKeyRequest": { "publicKey": { "content": "x" } },
            });
            let answer = process.client.post(&url).body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 400);
        };
        for first in (0..requests).step_by(32) {
            futures_util::future::join_all((first..first + 32).map(refused)).await;
        }
    };
    refuse(4_000).await;
    let before = process.resident_bytes();
    refuse(REFUSED_REQUESTS).await;
    let grown = process.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes after {REFUSED_REQUESTS} refused requests");
}

/// More than any cache or pool needs to fill; 200,000 were tried by hand.
const REFUSED_REQUESTS: usize = 20_000;

/// A full tile has 256 entries, here of 1 KB or so: 40 connections with 128 streams that nobody reads
/// ask for more than a gigabyte of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nt_03_answers_that_nobody_reads_do_not_make_the_process_grow() {
    // Memory without a bound ends the process, and not the machine.
    let process = Process::start("ulimit -v 4000000; export RUST_LOG=warn;", |yaml| yaml).await;
    for _ in 0..280 {
        process.issue().await.chain();
    }
    let address = process.address;
    let attack = ATTACKS.iter().find(|attack| attack.name == "h2 never-read streams").unwrap();
    let mut attackers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        attackers.spawn(async move {
            loop {
                let _ended = attack.mount(address).await;
            }
        });
    }
    let mut most = 0;
    for _ in 0..40 {
        process.issue().await.chain();
        most = most.max(process.resident_bytes());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    attackers.shutdown().await;
    assert!(most < 256 << 20, "{most} bytes");
}
