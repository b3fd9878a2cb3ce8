//! Rotation under load (NT-46): clients ask without pause while the next CA key takes over, files are
//! swapped for good ones and bad ones, the port's certificate is renewed and an old intermediate
//! expires.
//!
//! Nobody is refused anything, each certificate verifies under the chain that came with it, and each
//! chain stood in the trust bundle before its first certificate and as long as the test ran. What a
//! rotation goes [from and to](Key) is any key URI, so that each kind of key service is tried by
//! naming two of its keys.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mayfly::{
    ca::{Serial, ceremony},
    keys::{self, SignatureAlgorithm},
    time::{Clock, SystemClock, Timestamp},
    x509::Certificate,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::support::{
    aws::{AwsKms, AwsUser},
    clients::{PlainClient, certificates, openssl},
    http::{self, Answer},
    issuers,
    mayfly::binary,
    peers::CiOidc,
    process::{Outcome, Process, free_port, run},
    softhsm::{self, SoftHsm},
};

#[test]
fn nt_46_from_a_key_file_to_an_hsm_nobody_notices() {
    let hsm = SoftHsm::new();
    hsm.generate("EC:prime256v1", "ca", "01");
    let from = Key { new: Some("p256"), ..Key::of("file:from.key") };
    rotate_under_load(&from, &on_token(&hsm, "ca"), &[(softhsm::VARIABLE, hsm.configuration())]);
}

#[test]
fn nt_46_from_one_key_on_an_hsm_to_another_nobody_notices() {
    let hsm = SoftHsm::new();
    hsm.generate("EC:prime256v1", "first", "01");
    hsm.generate("EC:secp384r1", "second", "02");
    let [from, to] = ["first", "second"].map(|object| on_token(&hsm, object));
    rotate_under_load(&from, &to, &[(softhsm::VARIABLE, hsm.configuration())]);
}

#[test]
fn nt_46_from_one_key_in_a_kms_to_another_nobody_notices() {
    let kms = AwsKms::ministack();
    kms.create_signing_key("ECC_NIST_P256", "first");
    kms.create_signing_key("ECC_NIST_P384", "second");
    let [from, to] = ["alias/first", "alias/second"].map(|alias| Key::of(&kms.uri(alias)));
    rotate_under_load(&from, &to, &AwsUser::root().environment());
}

#[test]
fn nt_46_from_a_key_in_a_kms_to_an_hsm_nobody_notices() {
    let (kms, hsm) = (AwsKms::ministack(), SoftHsm::new());
    kms.create_signing_key("ECC_NIST_P384", "first");
    hsm.generate("EC:prime256v1", "second", "01");
    let mut environment = AwsUser::root().environment();
    environment.push((softhsm::VARIABLE, hsm.configuration()));
    let from = Key::of(&kms.uri("alias/first"));
    rotate_under_load(&from, &on_token(&hsm, "second"), &environment);
}

/// A CA key as configurations name it.
struct Key {
    uri: String,
    passphrase: Option<String>,
    /// Of which kind one is made; `None`: it is there.
    new: Option<&'static str>,
}

impl Key {
    fn of(uri: &str) -> Self {
        Self { uri: uri.to_owned(), passphrase: None, new: None }
    }

    fn passphrase_arguments(&self) -> Vec<&str> {
        self.passphrase.iter().flat_map(|source| ["--passphrase", source]).collect()
    }
}

fn on_token(hsm: &SoftHsm, object: &str) -> Key {
    let pin = format!("file:{}", hsm.pin_file().display());
    Key { passphrase: Some(pin), ..Key::of(&softhsm::uri(object)) }
}

/// `environment` is what the keys need of it.
fn rotate_under_load(from: &Key, to: &Key, environment: &[(&str, PathBuf)]) {
    let oidc = CiOidc::start();
    let mut site = Site::furnish(from, to, environment, oidc.url());
    site.serve();
    let load = Load::start(&site, &oidc);

    // The old intermediate is in the bundle until it expires; then it is in nobody's way.
    assert!(load.bundle_holds(&site, "old.pem"));
    let activate = site.now().plus_ms(ACTIVATE_IN_MS);
    let activate_text = activate.to_string();
    let next = ["--key", &to.uri, "--chain", "mounted/chain.pem", "--activate", &activate_text];
    let rotate = [&["ca", "rotate", "--config", "mayfly.yaml"], &next[..]].concat();
    site.command(&[rotate, to.passphrase_arguments()].concat()).success();
    site.wait_for("the file's change", || site.counts("config", "ok") >= 1);
    assert!(load.bundle_holds(&site, "to.pem"));

    site.reload_good_and_bad();
    site.renew_tls_good_and_bad();
    site.wait_for("the activation", || site.now() > activate.plus_ms(1000));
    site.wait_for("the old intermediate's end", || !load.bundle_holds(&site, "old.pem"));
    site.remove_what_expired();
    // Some certificates of the time after all this.
    thread::sleep(Duration::from_secs(2));

    let seen = load.end();
    seen.check(&site, activate);
    site.check_what_is_left();
}

/// When the next key takes over: time enough to see its chain in the bundle before.
const ACTIVATE_IN_MS: u64 = 8_000;
/// The old intermediate's last seconds; the next key is configured and signs by then, for nothing
/// can be added to a configuration with an expired chain.
const OLD_LIVES_MS: u64 = 20_000;

/// A folder with a service's keys, chains and configuration, and what serves it.
struct Site {
    folder: TempDir,
    environment: Vec<(String, PathBuf)>,
    public: String,
    private: String,
    process: Option<Process>,
    tls: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Site {
    fn furnish(from: &Key, to: &Key, environment: &[(&str, PathBuf)], issuer: &str) -> Self {
        let owned = |(name, value): &(&str, PathBuf)| ((*name).to_owned(), value.clone());
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: environment.iter().map(owned).collect(),
            public: format!("127.0.0.1:{}", free_port()),
            private: format!("127.0.0.1:{}", free_port()),
            process: None,
            tls: tls_authority(),
        };
        let now = site.now();
        let old_is_from = now.minus_ms(3_600_000);
        Runtime::new().unwrap().block_on(root_and_old(site.folder.path(), old_is_from, now));
        site.chain(from, "from");
        site.chain(to, "to");
        site.mount("mounted", "1", &[("chain.pem", &site.read("to.pem"))]);
        site.mount("tls", "1", &site.tls_pair());
        fs::write(site.path("issuers.yaml"), issuers::email(issuer)).unwrap();
        fs::write(site.path("mayfly.yaml"), site.configuration(from, now)).unwrap();
        let log_key = keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        log_key.write_new(&site.path("log.key")).unwrap();
        site.command(&["log", "init", "--config", "mayfly.yaml"]).success();
        site
    }

    fn configuration(&self, from: &Key, now: Timestamp) -> String {
        let Self { public, private, .. } = self;
        let Key { uri, passphrase, .. } = from;
        let pin = passphrase.iter().map(|source| format!("\n    passphrase: {source}"));
        let pin: String = pin.collect();
        // As late as it may, so that its last certificate ends with its chain.
        let old_until = Timestamp::from_unix_seconds(now.plus_ms(OLD_LIVES_MS).unix_seconds());
        let old_retired = old_until.minus_ms(600_000);
        format!(
            "listen: {public}\nprivate: {private}\nurl: https://{public}\nissuers: issuers.yaml\n\
             tls:\n  cert: tls/tls.crt\n  key: tls/tls.key\n\
             authorities:\n  \
               - key: file:old.key\n    chain: old.pem\n    retire: {old_retired}\n  \
               # The one that signs.\n  \
               - key: {uri}{pin}\n    chain: from.pem\n    activate: {old_retired}\n\
             log:\n  data: log\n  origin: log.example.com/2026\n  key: file:log.key\n\
             audit: audit.jsonl\n"
        )
    }

    /// A chain below the root for a key, by the ceremony: `NAME.pem`.
    fn chain(&self, key: &Key, name: &str) {
        let out = format!("{name}.pem");
        let common_name = format!("Test {name}");
        let mut arguments = vec!["ca", "create", "intermediate", "--key", &key.uri];
        arguments.extend(key.new.iter().flat_map(|kind| ["--new-key", kind]));
        arguments.extend(key.passphrase_arguments());
        arguments.extend(["--issuer-cert", "root.pem", "--issuer-key", "file:root.key"]);
        arguments.extend(["--organization", "Mayfly Tests", "--common-name", &common_name]);
        arguments.extend(["--lifetime", "1d", "--out", &out]);
        self.command(&arguments).success();
    }

    fn serve(&mut self) {
        let mut command = Command::new(binary());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).args(["serve", "--config", "mayfly.yaml"]);
        let mut process = Process::start("mayfly", &mut command, self.folder.path());
        process.wait_for_line("ready on ");
        self.process = Some(process);
    }

    /// SIGHUP, a broken configuration, a chain that is another key's, and each time the old again.
    fn reload_good_and_bad(&self) {
        let good = self.counts("config", "ok");
        self.hang_up();
        self.wait_for("SIGHUP's reload", || self.counts("config", "ok") > good);

        let text = self.read("mayfly.yaml");
        fs::write(self.path("mayfly.yaml"), &text[..text.len() / 2]).unwrap();
        self.hang_up();
        self.wait_for("its refusal", || self.counts("config", "refused") == 1);
        let good = self.counts("config", "ok");
        fs::write(self.path("mayfly.yaml"), &text).unwrap();
        self.wait_for("the mended file", || self.counts("config", "ok") > good);

        let (right, wrong) = (self.read("to.pem"), self.read("from.pem"));
        let refused = self.counts("config", "refused");
        self.swap("mounted", "2", &[("chain.pem", &wrong)]);
        self.wait_for("its refusal", || self.counts("config", "refused") > refused);
        let good = self.counts("config", "ok");
        self.swap("mounted", "3", &[("chain.pem", &right)]);
        self.wait_for("the right chain", || self.counts("config", "ok") > good);
    }

    /// Another pair, half of a pair, and another pair.
    fn renew_tls_good_and_bad(&self) {
        let pair = self.tls_pair();
        self.swap("tls", "2", &pair);
        self.wait_for("the renewal", || self.counts("tls", "ok") == 1);
        let [cert, _] = self.tls_pair();
        self.swap("tls", "3", &[cert, pair[1].clone()]);
        self.wait_for("its refusal", || self.counts("tls", "refused") == 1);
        self.swap("tls", "4", &self.tls_pair());
        self.wait_for("the next renewal", || self.counts("tls", "ok") == 2);
    }

    /// A configuration with an expired chain is refused, and good again without it.
    fn remove_what_expired(&self) {
        let refused = self.counts("config", "refused");
        self.hang_up();
        self.wait_for("the refusal", || self.counts("config", "refused") > refused);
        let told = self.private("/readyz");
        assert!(told.contains("expired at") && told.contains("remove this authority"), "{told}");
        let text = self.read("mayfly.yaml");
        let (before, rest) = text.split_once("  - key: file:old.key\n").unwrap();
        let after = &rest[rest.find("  # The one").unwrap()..];
        let good = self.counts("config", "ok");
        fs::write(self.path("mayfly.yaml"), format!("{before}{after}")).unwrap();
        self.wait_for("the reload without it", || self.counts("config", "ok") > good);
    }

    /// In the configuration nothing but what was asked for; in the audit log each intent's end.
    fn check_what_is_left(&self) {
        let text = self.read("mayfly.yaml");
        assert!(text.contains("  # The one that signs.\n"), "{text}");
        let audit = self.read("audit.jsonl");
        let audit: Vec<Value> =
            audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let count = |event: &str| audit.iter().filter(|line| line["event"] == event).count();
        assert_eq!((count("refused"), count("failed")), (0, 0));
        assert_eq!(count("intent"), count("issued"));
        assert!(count("issued") > 0);
        let file = fs::File::open(self.path("audit.jsonl")).unwrap();
        mayfly::audit::verify_chain(file).unwrap();
        self.command(&["ca", "plan", "--config", "mayfly.yaml"]).success();
    }

    fn hang_up(&self) {
        self.process.as_ref().unwrap().hang_up();
    }

    /// How often files of a kind were read again, with this result.
    fn counts(&self, of: &str, result: &str) -> u64 {
        let series = format!("mayfly_{of}_reloads_total{{result=\"{result}\"}} ");
        let metrics = self.private("/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    }

    fn private(&self, path: &str) -> String {
        http::get(&format!("http://{}{path}", self.private)).unwrap().text
    }

    fn wait_for(&self, what: &str, mut there: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !there() {
            let log = || self.process.as_ref().unwrap().log();
            assert!(Instant::now() < deadline, "never: {what}\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self, arguments: &[&str]) -> Outcome {
        let folder = self.folder.path().display().to_string();
        let mut words = vec!["--chdir".to_owned(), folder];
        let set =
            self.environment.iter().map(|(name, value)| format!("{name}={}", value.display()));
        words.extend(set);
        words.push(binary().display().to_string());
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        run("env", &words)
    }

    /// A folder as Kubernetes mounts it: links into `..data`, a link to one version's folder.
    fn mount(&self, name: &str, version: &str, files: &[(&str, impl AsRef<str>)]) {
        fs::create_dir(self.path(name)).unwrap();
        self.swap(name, version, files);
        for (file, _) in files {
            symlink(format!("..data/{file}"), self.path(name).join(file)).unwrap();
        }
    }

    /// All its files at once, none of them written to.
    fn swap(&self, name: &str, version: &str, files: &[(&str, impl AsRef<str>)]) {
        let mounted = self.path(name);
        let version = format!("..{version}");
        fs::create_dir(mounted.join(&version)).unwrap();
        for (file, text) in files {
            fs::write(mounted.join(&version).join(file), text.as_ref()).unwrap();
        }
        symlink(version, mounted.join("..data_tmp")).unwrap();
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    }

    fn tls_pair(&self) -> [(&'static str, String); 2] {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let parameters = rcgen::CertificateParams::new(names).unwrap();
        let cert = parameters.signed_by(&key, &self.tls).unwrap().pem();
        [("tls.crt", cert), ("tls.key", key.serialize_pem())]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// Whom the clients believe as to the port; the server's certificates change under it.
fn tls_authority() -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap()
}

/// `root.key`, `root.pem`, and `old.key` with a chain in `old.pem` that ends soon.
async fn root_and_old(folder: &Path, from: Timestamp, now: Timestamp) {
    let p384 = SignatureAlgorithm::EcdsaP384Sha384;
    let [root_key, old_key] = [p384, p384].map(|kind| keys::file::generate(kind).unwrap());
    let until = now.plus_ms(OLD_LIVES_MS).unix_seconds();
    let new = |common_name, serial, lifetime_seconds| ceremony::NewCa {
        organization: "Mayfly Tests",
        common_name,
        now: from,
        lifetime_seconds,
        serial: Serial::from_random([serial; 20]),
    };
    let root = new("Test Root", 1, 30 * 86_400);
    let root = ceremony::create_root(&*root_key.signer, &root).await.unwrap();
    let old = new("Test old", 2, until - from.unix_seconds());
    let old = ceremony::create_intermediate(&root, &*root_key.signer, &*old_key.signer, &old);
    let old = old.await.unwrap();
    root_key.write_new(&folder.join("root.key")).unwrap();
    old_key.write_new(&folder.join("old.key")).unwrap();
    fs::write(folder.join("root.pem"), root.pem()).unwrap();
    fs::write(folder.join("old.pem"), format!("{}{}", old.pem(), root.pem())).unwrap();
}

/// Clients that ask without pause, and one that reads the trust bundle.
struct Load {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Asked>>>,
    reader: JoinHandle<Vec<Bundle>>,
    http: reqwest::Client,
}

/// One request, and when it was sent and answered.
struct Asked {
    sent: Timestamp,
    answered: Timestamp,
    answer: Result<Answer, String>,
}

/// A trust bundle, and when it was asked for and had.
struct Bundle {
    sent: Timestamp,
    answered: Timestamp,
    chains: BTreeSet<Vec<String>>,
}

impl Load {
    /// Half of the clients keep their connections, half make one for each request.
    fn start(site: &Site, oidc: &CiOidc) -> Self {
        let runtime = Runtime::new().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let url = format!("https://{}", site.public);
        let root = reqwest::Certificate::from_pem(site.tls.pem().as_bytes()).unwrap();
        let http = |kept| {
            let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root.clone()]);
            builder.pool_max_idle_per_host(kept).timeout(Duration::from_secs(20)).build().unwrap()
        };
        let claims =
            json!({"sub": "jane", "aud": "sigstore", "email": EMAIL, "email_verified": true});
        let token = oidc.token(&claims);
        let first = runtime.block_on(bundle(&http(1), &url));
        let clients = (0..CLIENTS).map(|number| {
            let request = PlainClient::new().request(&token, EMAIL);
            let url = format!("{url}/api/v2/signingCert");
            runtime.spawn(ask(http(number % 2), url, request, Arc::clone(&stop)))
        });
        let clients = clients.collect();
        let reader = runtime.spawn(read(http(1), url, first, Arc::clone(&stop)));
        let http = http(1);
        Self { runtime, stop, clients, reader, http }
    }

    /// Whether the bundle of this moment has the chain of a file.
    fn bundle_holds(&self, site: &Site, file: &str) -> bool {
        let bundle = self.runtime.block_on(bundle(&self.http, &format!("https://{}", site.public)));
        bundle.chains.contains(&chain(&site.path(file)))
    }

    fn end(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let asked =
            self.clients.into_iter().flat_map(|client| self.runtime.block_on(client).unwrap());
        let asked = asked.collect();
        Seen { asked, bundles: self.runtime.block_on(self.reader).unwrap() }
    }
}

async fn ask(
    client: reqwest::Client,
    url: String,
    request: Value,
    stop: Arc<AtomicBool>,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let sent = SystemClock.now();
        let answer = http::post_with(&client, &url, &request).await;
        let answer = answer.map_err(|error| format!("{error:?}"));
        asked.push(Asked { sent, answered: SystemClock.now(), answer });
        // Two cores are shared with the server, and with other tests.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asked
}

async fn read(
    client: reqwest::Client,
    url: String,
    first: Bundle,
    stop: Arc<AtomicBool>,
) -> Vec<Bundle> {
    let mut bundles = vec![first];
    while !stop.load(Ordering::SeqCst) {
        bundles.push(bundle(&client, &url).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bundles
}

async fn bundle(client: &reqwest::Client, url: &str) -> Bundle {
    let sent = SystemClock.now();
    let answer = client.get(format!("{url}/api/v2/trustBundle")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let pem = |pem: &Value| pem.as_str().unwrap().trim().to_owned();
    let chains = body["chains"].as_array().unwrap().iter();
    let chains =
        chains.map(|chain| chain["certificates"].as_array().unwrap().iter().map(pem).collect());
    Bundle { sent, answered: SystemClock.now(), chains: chains.collect() }
}

/// What the clients and the reader saw.
struct Seen {
    asked: Vec<Asked>,
    bundles: Vec<Bundle>,
}

impl Seen {
    fn check(&self, site: &Site, activate: Timestamp) {
        let mut leaves: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        let [from, to] = ["from.pem", "to.pem"].map(|file| chain(&site.path(file)));
        for Asked { sent, answered, answer } in &self.asked {
            let answer = answer.as_ref().unwrap_or_else(|error| panic!("{sent}: {error}"));
            let mut certificates = certificates(answer).into_iter();
            let leaf = certificates.next().unwrap();
            let chain: Vec<String> = certificates.map(|pem| pem.trim().to_owned()).collect();
            // The clock alone says who signs.
            if chain == from {
                assert!(*sent < activate, "{sent}: the old key signed after {activate}");
            } else {
                assert_eq!(chain, to);
                assert!(*answered >= activate, "{answered}: the next key signed before {activate}");
            }
            self.check_bundles(&chain, *sent);
            leaves.entry(chain).or_default().push(leaf);
        }
        assert_eq!(leaves.len(), 2, "both keys signed");
        for (chain, leaves) in &leaves {
            openssl_verifies(site, chain, leaves);
        }
    }

    /// It was in the last bundle before the request, and in every one from then on: all of this
    /// takes less than the ten minutes that a certificate lives.
    fn check_bundles(&self, chain: &Vec<String>, sent: Timestamp) {
        let before = self.bundles.iter().rposition(|bundle| bundle.answered <= sent).unwrap();
        for Bundle { sent: at, chains, .. } in &self.bundles[before..] {
            assert!(chains.contains(chain), "{at}: not in the bundle, but issued at {sent}");
        }
    }
}

/// Each leaf under the chain that came with it and nothing else.
fn openssl_verifies(site: &Site, chain: &[String], leaves: &[String]) {
    let [issuing, root] = chain else { panic!("{chain:?}") };
    let judged = tempfile::tempdir_in(site.folder.path()).unwrap();
    let write = |name: &str, pem: &str| {
        let path = judged.path().join(name);
        fs::write(&path, format!("{pem}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (issuing, root) = (write("issuing", issuing), write("root", root));
    let rules = ["verify", "-x509_strict", "-check_ss_sig", "-purpose", "any"];
    let rules = [&rules[..], &["-CAfile", &root, "-untrusted", &issuing]].concat();
    for (batch, leaves) in leaves.chunks(500).enumerate() {
        let files = leaves.iter().enumerate();
        let files: Vec<String> =
            files.map(|(index, pem)| write(&format!("{batch}-{index}"), pem)).collect();
        let files = files.iter().map(String::as_str);
        let said = openssl(&rules.iter().copied().chain(files).collect::<Vec<_>>()).success();
        assert_eq!(said.matches(": OK").count(), leaves.len(), "{said}");
    }
}

/// The certificates of a file, as answers write them.
fn chain(path: &Path) -> Vec<String> {
    let chain = Certificate::parse_pem_chain(&fs::read(path).unwrap()).unwrap();
    chain.iter().map(|ca| ca.pem().trim().to_owned()).collect()
}

const EMAIL: &str = "jane@example.com";
const CLIENTS: usize = 6;
