//! AWS KMS by others: MiniStack, which checks signatures of requests and IAM policies, and moto,
//! which signs the wrong thing.
//!
//! In: which keys and users there are. Out: their names, URIs of the keys, the environment that
//! gives a process a user's credentials. tests/peers/aws.py sets things up; tests/run installs all.
use std::{
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    peers::venv,
    process::{Process, free_port, run},
};

/// A key service that is on; gone when dropped.
#[derive(Debug)]
pub(crate) struct AwsKms {
    process: Process,
    kind: Kind,
    port: u16,
    directory: TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    MiniStack,
    Moto,
}

/// A key as the service describes it.
#[derive(Clone, Debug)]
pub(crate) struct AwsKey {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) alias_arn: String,
}

/// An access key of an IAM user.
#[derive(Clone, Debug)]
pub(crate) struct AwsUser {
    pub(crate) name: String,
    pub(crate) access_key: String,
    pub(crate) secret: String,
}

impl AwsKms {
    /// MiniStack with its checks of credentials and policies on. It keeps keys and users over a
    /// restart.
    pub(crate) fn ministack() -> Self {
        Self::start(Kind::MiniStack)
    }

    /// moto: hashes a hash once more before it signs.
    pub(crate) fn moto() -> Self {
        Self::start(Kind::Moto)
    }

    fn start(kind: Kind) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let process = kind.start(port, &directory);
        Self { process, kind, port, directory }
    }

    /// kill -9: nobody listens any more.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// A stop in good order, which writes down what there is.
    pub(crate) fn stop(&mut self) {
        self.process.terminate();
    }

    /// Starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.process = self.kind.start(self.port, &self.directory);
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URI of a key, by its id, alias or ARN.
    pub(crate) fn uri(&self, key: &str) -> String {
        uri_at(&self.address(), key)
    }

    /// Makes a key with the alias `alias/NAME`; `spec` is one of AWS.
    pub(crate) fn create_key(&self, spec: &str, usage: &str, name: &str) -> AwsKey {
        let made = self.call("kms", "create_key", json!({"KeySpec": spec, "KeyUsage": usage}));
        let made = &made["KeyMetadata"];
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let (id, arn) = (text("KeyId"), text("Arn"));
        let alias_arn = arn.replace(&format!("key/{id}"), &format!("alias/{name}"));
        let key = AwsKey { id, arn, alias_arn };
        self.alias(name, &key);
        key
    }

    /// A key that signs.
    pub(crate) fn create_signing_key(&self, spec: &str, name: &str) -> AwsKey {
        self.create_key(spec, "SIGN_VERIFY", name)
    }

    /// Gives a key a name.
    pub(crate) fn alias(&self, name: &str, key: &AwsKey) {
        let alias = json!({"AliasName": format!("alias/{name}"), "TargetKeyId": key.id});
        self.call("kms", "create_alias", alias);
    }

    /// Moves a name to another key.
    pub(crate) fn move_alias(&self, name: &str, key: &AwsKey) {
        let alias = json!({"AliasName": format!("alias/{name}"), "TargetKeyId": key.id});
        self.call("kms", "update_alias", alias);
    }

    /// DER SubjectPublicKeyInfo.
    pub(crate) fn public_key_der(&self, key: &AwsKey) -> Vec<u8> {
        let answer = self.call("kms", "get_public_key", json!({"KeyId": key.id}));
        BASE64_STANDARD.decode(answer["PublicKey"].as_str().unwrap()).unwrap()
    }

    /// A user who may do `actions` with `key`, and nothing else.
    pub(crate) fn create_user(&self, name: &str, actions: &[&str], key: &AwsKey) -> AwsUser {
        let named = json!({"UserName": name});
        let calls = json!([["iam", "create_user", named], ["iam", "create_access_key", named]]);
        let made = &self.calls(&calls)[1]["AccessKey"];
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let (access_key, secret) = (text("AccessKeyId"), text("SecretAccessKey"));
        let user = AwsUser { name: name.to_owned(), access_key, secret };
        self.permit(&user, actions, key);
        user
    }

    /// Changes what a user may do.
    pub(crate) fn permit(&self, user: &AwsUser, actions: &[&str], key: &AwsKey) {
        // AWS asks about the key that an alias names; MiniStack about the alias.
        let resources = [&key.arn, &key.alias_arn];
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": resources});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let policy = json!({"UserName": user.name, "PolicyName": "p", "PolicyDocument": policy});
        self.call("iam", "put_user_policy", policy);
    }

    /// Takes a user's access key out of use, or puts it back.
    pub(crate) fn set_active(&self, user: &AwsUser, active: bool) {
        let status = if active { "Active" } else { "Inactive" };
        let change =
            json!({"UserName": user.name, "AccessKeyId": user.access_key, "Status": status});
        self.call("iam", "update_access_key", change);
    }

    /// One call of botocore's.
    pub(crate) fn call(&self, service: &str, operation: &str, parameters: Value) -> Value {
        self.calls(&json!([[service, operation, parameters]]))[0].take()
    }

    fn calls(&self, calls: &Value) -> Value {
        let (url, calls) = (format!("http://{}", self.address()), calls.to_string());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/aws.py");
        let arguments = [script.to_str().unwrap(), &url, REGION, &calls];
        serde_json::from_str(&run(venv("python3"), &arguments).success()).unwrap()
    }
}

impl AwsUser {
    /// The account's root, who may do everything.
    pub(crate) fn root() -> Self {
        let text = |text: &str| text.to_owned();
        Self { name: text("root"), access_key: text("test"), secret: text("not-looked-at") }
    }

    /// The environment that gives a process these credentials.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("AWS_ACCESS_KEY_ID", PathBuf::from(&self.access_key)),
            ("AWS_SECRET_ACCESS_KEY", PathBuf::from(&self.secret)),
            // There is none here, and it takes time to find that out.
            ("AWS_EC2_METADATA_DISABLED", PathBuf::from("true")),
        ]
    }
}

/// The URI of a key of the service at `address`.
pub(crate) fn uri_at(address: &str, key: &str) -> String {
    let region = if key.starts_with("arn:") { "" } else { "?region=eu-west-1" };
    format!("awskms://{address}/{key}{region}")
}

impl Kind {
    fn start(self, port: u16, directory: &TempDir) -> Process {
        let state = directory.path().join("state");
        let mut command = Command::new(venv("python3"));
        let name = match self {
            Self::MiniStack => {
                command.args(["-m", "ministack"]).env("GATEWAY_PORT", port.to_string()).envs([
                    ("BIND_HOST", "127.0.0.1"),
                    ("AUTH", "true"),
                    // It would listen on a port of its own for MQTT.
                    ("IOT_MTLS_ENABLED", "0"),
                    ("PERSIST_STATE", "1"),
                    ("STATE_DIR", state.to_str().unwrap()),
                ]);
                "ministack"
            }
            Self::Moto => {
                let port = port.to_string();
                command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
                "moto"
            }
        };
        let mut process = Process::start(name, &mut command, directory.path());
        let healthy = match self {
            Self::MiniStack => "_ministack/health",
            Self::Moto => "moto-api/",
        };
        process.wait_for_answer(&format!("http://127.0.0.1:{port}/{healthy}"));
        process
    }
}

/// Where all keys of the tests are.
pub(crate) const REGION: &str = "eu-west-1";
