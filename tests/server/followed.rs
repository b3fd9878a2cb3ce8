//! Files of the configuration that change while the service runs, in all the ways in which files
//! are changed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use mayfly::{
    config::LoadOptions,
    keys::SignatureAlgorithm,
    serve::follow::{Cause, Followed},
    x509::Certificate,
};
use serde_json::Value;

use crate::{
    operations::private,
    token::email_claims,
    world::{World, mayfly_yaml, write_authority},
};

/// A service and who follows its files.
struct Service {
    world: World,
    followed: Followed,
}

impl Service {
    async fn start() -> Self {
        let world = World::start().await;
        let path = world.path("mayfly.yaml");
        let (_, followed) = Followed::load(&path, LoadOptions { dev: false }).unwrap();
        Self { world, followed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    /// Waits for the next change, and reloads.
    async fn follow(&mut self) {
        let change = tokio::time::timeout(Duration::from_secs(20), self.followed.changed());
        assert_eq!(change.await.expect("the change is seen"), Cause::FilesChanged);
        self.followed.reload(&self.world.running, Cause::FilesChanged).await;
    }

    /// Some more looks find nothing to do.
    async fn is_at_rest(&mut self) {
        let change = tokio::time::timeout(Duration::from_millis(3500), self.followed.changed());
        change.await.expect_err("it is told once");
    }

    /// The issuing certificate of a fresh answer.
    async fn issuing(&self) -> Certificate {
        let token = self.world.issuer_key.sign(&email_claims());
        let chain = self.world.request(&token, "jane@example.com").await.chain();
        assert!(chain[0].is_signed_by(&chain[1]));
        chain[1].clone()
    }

    /// Of each reload, why it was refused.
    fn reloads(&self) -> Vec<Option<String>> {
        let lines = self.world.audit_lines().into_iter();
        let reloads = lines.filter(|line| line["event"] == "reload");
        reloads.map(|line| line["error"].as_str().map(str::to_owned)).collect()
    }

    async fn warnings(&self) -> Value {
        private(&self.world, "/readyz").await.json()["warnings"].clone()
    }

    async fn says(&self, line: &str) -> bool {
        let metrics = private(&self.world, "/metrics").await.body;
        metrics.lines().any(|told| told == line)
    }
}

/// `NAME/ca.pem` and `NAME/chain.pem`, links into `NAME/..data`, as Kubernetes mounts a secret.
fn mount(folder: &Path, name: &str, authority: &str) {
    fs::create_dir(folder.join(name)).unwrap();
    version(folder, name, authority);
    symlink(format!("..{authority}"), folder.join(name).join("..data")).unwrap();
    for file in ["ca.pem", "chain.pem"] {
        symlink(format!("..data/{file}"), folder.join(name).join(file)).unwrap();
    }
}

/// All files at once, and none of them written to.
fn swap(folder: &Path, name: &str, authority: &str) {
    version(folder, name, authority);
    let mounted = folder.join(name);
    symlink(format!("..{authority}"), mounted.join("..data_tmp")).unwrap();
    fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
}

fn version(folder: &Path, name: &str, authority: &str) {
    let version = folder.join(name).join(format!("..{authority}"));
    fs::create_dir(&version).unwrap();
    fs::copy(folder.join(format!("{authority}.pem")), version.join("ca.pem")).unwrap();
    fs::copy(folder.join(format!("{authority}-chain.pem")), version.join("chain.pem")).unwrap();
}

#[tokio::test]
async fn nt_65_key_and_chain_follow_a_swap_of_links_and_a_bad_one_is_told_once() {
    let mut service = Service::start().await;
    let folder = service.world.folder.path().to_owned();
    for name in ["next", "other"] {
        write_authority(&folder, name, SignatureAlgorithm::EcdsaP256Sha256).await;
    }
    mount(&folder, "mounted", "issuing");
    let yaml = mayfly_yaml("issuing", "")
        .replace("file:issuing.pem", "file:mounted/ca.pem")
        .replace("issuing-chain.pem", "mounted/chain.pem");
    let before = service.issuing().await;
    fs::write(service.path("mayfly.yaml"), yaml).unwrap();
    service.follow().await;
    assert_eq!(service.issuing().await.der(), before.der(), "the same files elsewhere");

    swap(&folder, "mounted", "next");
    service.follow().await;
    let next = service.issuing().await;
    assert_ne!(next.der(), before.der());
    assert_eq!(service.reloads(), [None, None]);

    // The key of another.
    fs::copy(service.path("issuing.pem"), service.path("other.pem")).unwrap();
    swap(&folder, "mounted", "other");
    service.follow().await;
    service.is_at_rest().await;
    assert_eq!(service.issuing().await.der(), next.der());
    let reloads = service.reloads();
    assert_eq!(reloads.len(), 3);
    assert!(reloads[2].as_ref().unwrap().contains("is not the key of"), "{reloads:?}");
    let warnings = service.warnings().await.to_string();
    assert!(warnings.contains("the last reload was refused: chain"), "{warnings}");
    assert!(service.says("mayfly_config_last_reload_successful 0").await);
    assert!(service.says("mayfly_config_reloads_total{result=\"refused\"} 1").await);

    fs::rename(folder.join("mounted/..data"), folder.join("mounted/..was")).unwrap();
    symlink("..next", folder.join("mounted/..data")).unwrap();
    service.follow().await;
    assert_eq!(service.reloads().len(), 4);
    let warnings = service.warnings().await;
    assert!(!warnings.to_string().contains("\"config\""), "{warnings}");
    assert!(service.says("mayfly_config_last_reload_successful 1").await);
    assert!(service.says("mayfly_config_reloads_total{result=\"ok\"} 3").await);
}

#[tokio::test]
async fn nt_65_a_file_that_comes_after_the_configuration_that_names_it_mends_the_reload() {
    let mut service = Service::start().await;
    let folder = service.world.folder.path().to_owned();
    let before = service.issuing().await;
    fs::write(service.path("mayfly.yaml"), mayfly_yaml("next", "")).unwrap();
    service.follow().await;
    assert!(service.reloads()[0].as_ref().unwrap().contains("next-chain.pem' cannot be read"));
    assert_eq!(service.issuing().await.der(), before.der());

    // The key is written first, as the ceremony does it.
    write_authority(&folder, "next", SignatureAlgorithm::EcdsaP384Sha384).await;
    service.follow().await;
    assert_eq!(service.reloads().last(), Some(&None));
    assert_ne!(service.issuing().await.der(), before.der());
}

#[tokio::test]
async fn the_issuer_file_is_followed_and_a_broken_one_keeps_the_issuers() {
    let mut service = Service::start().await;
    let file = fs::read_to_string(service.path("issuers.yaml")).unwrap();
    for (text, refused) in [
        (&file[..file.len() / 2], true),
        ("", true),
        (&file.replace("max-token-age: 10m", "max-token-age: 9m"), false),
    ] {
        fs::write(service.path("issuers.yaml"), text).unwrap();
        service.follow().await;
        assert_eq!(service.reloads().last().unwrap().is_some(), refused, "{:?}", service.reloads());
        service.issuing().await;
    }
    fs::remove_file(service.path("issuers.yaml")).unwrap();
    service.follow().await;
    assert!(service.reloads().last().unwrap().is_some());
    service.issuing().await;
    // What was there before is good again, although it is what was in effect all the time.
    fs::write(service.path("issuers.yaml"), file).unwrap();
    service.follow().await;
    assert!(service.says("mayfly_config_last_reload_successful 1").await);
    service.is_at_rest().await;
}
