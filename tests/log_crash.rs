//! kill -9 under load: every SCT that anyone saw is in the log afterwards.
//!
//! The test starts itself again as a child, which submits and prints each SCT once it has it, and
//! kills it in the middle of that.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use mayfly::{
    ct::{Entry, EntryKind, LeafIndex, TileLeaves},
    keys::{self, SignatureAlgorithm, VerifyingKey},
    log::{Log, LogSettings},
    time::{SystemClock, Timestamp},
    tlog::{Hash, KeyName, TILE_WIDTH, Tile, Tree, TreeHead, TreeHeadKey, leaf_hash},
};

const ROUNDS: u32 = 10;
const SUBMITTERS: u32 = 24;
const DIRECTORY: &str = "MAYFLY_TEST_LOG_CRASH_DIRECTORY";
const ROUND: &str = "MAYFLY_TEST_LOG_CRASH_ROUND";

#[test]
fn every_sct_that_was_given_survives_a_killed_process() {
    if let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) {
        submit_until_killed(Path::new(&directory), round.parse().unwrap());
    }
    let started = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let key = keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    std::fs::write(directory.path().join("key.der"), key.pkcs8.expose()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Log::init(&settings(directory.path()))).unwrap();
    let mut promises = BTreeMap::new();
    for round in 0..ROUNDS {
        let before = promises.len();
        promises.extend(run_and_kill(directory.path(), round));
        assert!(promises.len() > before, "round {round}: killed before the first SCT");
        runtime.block_on(check(directory.path(), &promises));
    }
    assert!(promises.len() > 1000, "too little load: {} SCTs", promises.len());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// What the child printed, by entry number.
type Promises = BTreeMap<u32, Promise>;

/// An SCT's index, timestamp in milliseconds, and signature.
type Promise = (u64, u64, Vec<u8>);

fn settings(directory: &Path) -> LogSettings {
    LogSettings {
        data: directory.join("log"),
        origin: "log.example.com/crash".to_owned(),
        signer: keys::file::open(&directory.join("key.der"), None).unwrap(),
        clock: Arc::new(SystemClock),
    }
}

/// As large as a real entry.
fn entry(number: u32) -> Entry {
    let filling = number.to_be_bytes().repeat(150);
    let kind = EntryKind::Precert {
        issuer_key_hash: [7; 32],
        tbs_certificate: filling.clone(),
        precertificate: filling,
    };
    Entry::new(kind, Vec::new()).unwrap()
}

fn submit_until_killed(directory: &Path, round: u32) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let log = runtime.block_on(Log::open(settings(directory))).unwrap();
    runtime.block_on(async {
        let submitters = (0..SUBMITTERS).map(|submitter| {
            let log = log.clone();
            tokio::spawn(async move {
                for count in 0.. {
                    let number = round << 24 | submitter << 18 | count;
                    let promise = log.submit(entry(number)).await.unwrap();
                    let sct = promise.sct();
                    let (at_ms, signature) = (sct.timestamp.unix_ms(), hex::encode(&sct.signature));
                    let line = format!("SCT {number} {} {at_ms} {signature}\n", promise.index());
                    // Past the test harness, which would keep it in a buffer.
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        futures_util::future::join_all(submitters.collect::<Vec<_>>()).await
    });
    unreachable!("the submitters never end");
}

fn run_and_kill(directory: &Path, round: u32) -> Promises {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_sct_that_was_given_survives_a_killed_process", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (first, got_first) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut promises = Promises::new();
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).unwrap() > 0 {
            if let Some((number, promise)) = parse(&line) {
                promises.insert(number, promise);
                let _ = first.send(());
            }
            line.clear();
        }
        promises
    });
    let waited = got_first.recv_timeout(Duration::from_secs(20));
    let after_ms = RandomState::new().hash_one(round) % 900;
    std::thread::sleep(Duration::from_millis(after_ms));
    kill(&mut child);
    waited.expect("the child gives SCTs");
    reader.join().unwrap()
}

/// SIGKILL, wherever it is.
fn kill(child: &mut Child) {
    assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A line that the kill cut off was not given to anyone.
fn parse(line: &str) -> Option<(u32, Promise)> {
    let mut words = line.strip_suffix('\n')?.strip_prefix("SCT ")?.split(' ');
    let number = words.next()?.parse().ok()?;
    let index = words.next()?.parse().ok()?;
    let at_ms = words.next()?.parse().ok()?;
    Some((number, (index, at_ms, hex::decode(words.next()?).ok()?)))
}

/// Opens the log as after any crash, and looks for each promise under the signed checkpoint.
async fn check(directory: &Path, promises: &Promises) {
    let settings = settings(directory);
    let key = VerifyingKey::parse_der(settings.signer.public_key_der()).unwrap();
    let origin = KeyName::new(&settings.origin).unwrap();
    let log = Log::open(settings).await.unwrap();
    let head = TreeHeadKey::new(origin, &log.id().0)
        .open(&log.checkpoint(), |message, signature| key.verifies(message, signature))
        .unwrap();
    let (entries, tree) = read_all(&log, &head).await;
    assert_eq!((tree.size(), tree.root()), (head.size, head.root));
    for (number, (index, at_ms, signature)) in promises {
        let (found, timestamp) = &entries[usize::try_from(*index).unwrap()];
        assert_eq!(found, &entry(*number), "entry {number} is not at {index}");
        assert_eq!(timestamp.unix_ms(), *at_ms);
        let extensions = LeafIndex::new(*index).unwrap().into();
        assert!(key.verifies(&found.sct_signed_data(*timestamp, &extensions), signature));
    }
    log.shutdown().await;
}

async fn read_all(log: &Log, head: &TreeHead) -> (Vec<(Entry, Timestamp)>, Tree) {
    let (mut entries, mut leaves) = (Vec::new(), Vec::<Hash>::new());
    let width = u64::from(TILE_WIDTH);
    for index in 0..head.size.div_ceil(width) {
        let entries_in_tile = u16::try_from((head.size - index * width).min(width)).unwrap();
        let path = Tile::entries(index, entries_in_tile).unwrap().to_string();
        let tile = log.read(&path).await.unwrap().expect("a tile of the checkpoint");
        for leaf in TileLeaves::new(&tile.bytes) {
            let leaf = leaf.unwrap();
            let entry = leaf.to_entry().unwrap();
            let timestamp = leaf.timestamped_entry.timestamp;
            leaves.push(leaf_hash(&entry.merkle_tree_leaf(timestamp, leaf.index)));
            entries.push((entry, timestamp));
        }
    }
    (entries, leaves.into_iter().collect())
}
