//! The command line as a script sees it: help texts, exit codes, files, and what is never printed.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use clap::CommandFactory;
use mayfly::cli::Cli;

/// A token of the right form that nobody signed.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2VjcmV0LXNpZ25hdHVyZQ";

fn mayfly(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mayfly"))
        .args(arguments)
        .env_remove("SIGSTORE_ID_TOKEN")
        .output()
        .unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A whole installation, as the demo leaves it.
fn demo_home(directory: &Path) -> String {
    let home = directory.join("home");
    let data = home.to_str().unwrap();
    let demo = mayfly(&["demo", "--once", "--listen", "127.0.0.1:0", "--data", data]);
    assert_eq!(demo.status.code(), Some(0), "{demo:?}");
    home.join("mayfly.yaml").to_str().unwrap().to_owned()
}

#[test]
fn the_command_tree_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_with_an_example_and_its_exit_codes() {
    fn check(command: &clap::Command, path: &str) {
        let mut command = command.clone();
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{path}: {help}");
        assert!(help.contains("Exit code: 0"), "{path}: {help}");
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            check(below, &format!("{path} {}", below.get_name()));
        }
    }
    check(&Cli::command(), "mayfly");
}

#[test]
fn commands_of_later_versions_are_not_offered() {
    for command in ["policy", "issuers"] {
        assert_eq!(mayfly(&[command]).status.code(), Some(2), "{command}");
    }
}

#[test]
fn the_demo_verifies_itself_and_removes_what_it_made() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = Command::new(env!("CARGO_BIN_EXE_mayfly"))
        .args(["demo", "--once", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let text = String::from_utf8(demo.stdout).unwrap();
    assert_eq!(demo.status.code(), Some(0), "{text}");
    assert_eq!(text.matches("ok  ").count(), 4, "{text}");
    assert!(text.ends_with("Everything verified.\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours belong on a terminal: {text}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_serves_nobody_but_this_machine() {
    let (code, told) = said(&mayfly(&["demo", "--once", "--listen", "0.0.0.0:0"]));
    assert_eq!(code, Some(1));
    assert!(told.contains("not a loopback address"), "{told}");
}

#[test]
fn the_demo_touches_no_directory_with_something_in_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter"), "dear").unwrap();
    let data = directory.path().to_str().unwrap();
    let refused = mayfly(&["demo", "--once", "--listen", "127.0.0.1:0", "--data", data]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn the_demo_says_what_to_do_where_its_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, told) = said(&mayfly(&["demo", "--once", "--listen", &address]));
    assert_eq!(code, Some(2));
    assert!(told.contains("--listen 127.0.0.1:0"), "{told}");
}

#[test]
fn a_demo_leaves_an_installation_that_the_other_commands_take() {
    let directory = tempfile::tempdir().unwrap();
    let config = demo_home(directory.path());

    let checked = mayfly(&["config", "check", "--config", &config, "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let understood: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(understood["issuers"][0]["type"], "email");
    assert_eq!(understood["authorities"][0]["keyAlgorithm"], "ECDSA P-384");
    assert_eq!(understood["log"]["id"].as_str().unwrap().len(), 64);
    assert_eq!(understood["problems"], serde_json::json!([]));

    let root = mayfly(&["trust", "root", "--config", &config]);
    assert_eq!(root.status.code(), Some(0), "{root:?}");
    let root: serde_json::Value = serde_json::from_slice(&root.stdout).unwrap();
    let chain = &root["certificateAuthorities"][0]["certChain"]["certificates"];
    assert_eq!(chain.as_array().unwrap().len(), 2);
    assert_eq!(root["ctlogs"].as_array().unwrap().len(), 1);

    let out = directory.path().join("trust.json");
    let written = mayfly(&["trust", "config", "--config", &config, "--out", out.to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    let document: serde_json::Value = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
    assert_eq!(document["trustedRoot"], root);
    assert_eq!(document["signingConfig"]["caUrls"][0]["majorApiVersion"], 1);

    let again = mayfly(&["log", "init", "--config", &config]);
    let (code, told) = said(&again);
    assert_eq!(code, Some(1), "a log is never begun a second time: {told}");
}

#[test]
fn a_key_that_is_not_its_chains_is_a_problem_and_not_hidden() {
    let directory = tempfile::tempdir().unwrap();
    let config = demo_home(directory.path());
    let keys = directory.path().join("home/keys");
    fs::copy(keys.join("log.pem"), keys.join("issuing.pem")).unwrap();
    let checked = mayfly(&["config", "check", "--config", &config, "--json"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let understood: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(understood["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn a_tls_pair_is_shown_and_one_that_does_not_load_is_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    let config = demo_home(directory.path());
    let text = fs::read_to_string(&config).unwrap();
    let url = text.lines().find(|line| line.starts_with("url: http:")).unwrap();
    let text = text.replace(url, &url.replace("http:", "https:"));
    fs::write(&config, format!("{text}tls:\n  cert: tls.crt\n  key: tls.key\n")).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["ca.example.com".to_owned(), "192.0.2.7".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let home = directory.path().join("home");
    fs::write(home.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(home.join("tls.key"), key.serialize_pem()).unwrap();
    let checked = mayfly(&["config", "check", "--config", &config]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("for ca.example.com, 192.0.2.7, valid to 4096-01-01"), "{text}");
    assert!(text.contains("tls.crt, key "), "{text}");

    fs::write(home.join("tls.key"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let checked = mayfly(&["config", "check", "--config", &config, "--json"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(told["tlsCertificate"], serde_json::Value::Null);
    let problems = told["problems"].as_array().unwrap();
    assert!(problems.len() == 1 && problems[0].as_str().unwrap().contains("is not the key of"));
}

/// People write the passphrase itself where its variable's name belongs.
#[test]
fn nt_60_a_checked_configuration_shows_no_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let config = demo_home(directory.path());
    let text = fs::read_to_string(&config).unwrap();
    let chain = text.lines().find(|line| line.trim_start().starts_with("chain:")).unwrap();
    let indent = &chain[..chain.len() - chain.trim_start().len()];
    let with_passphrase = format!("{chain}\n{indent}passphrase: env:hunter2");
    fs::write(&config, text.replace(chain, &with_passphrase)).unwrap();
    for json in [&[][..], &["--json"]] {
        let arguments = [&["config", "check", "--config", &config], json].concat();
        let checked = mayfly(&arguments);
        assert_eq!(checked.status.code(), Some(1), "{checked:?}");
        let said = format!("{checked:?}");
        assert!(said.contains("passphrase") && !said.contains("hunter2"), "{said}");
    }
    let checked = mayfly(&["config", "check", "--config", &config, "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(told["authorities"][0]["passphrase"], "env");
}

#[test]
fn mistakes_in_a_configuration_come_with_their_lines() {
    let directory = tempfile::tempdir().unwrap();
    let config = demo_home(directory.path());
    let text = fs::read_to_string(&config).unwrap().replace("audit:", "audits:");
    fs::write(&config, text).unwrap();
    let checked = mayfly(&["config", "check", "--config", &config, "--json"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(told["mistakes"][0]["line"].as_u64().unwrap() > 1, "{told}");
    assert!(told.to_string().contains("did you mean 'audit'?"), "{told}");
    for command in [&["serve"][..], &["log", "init"], &["trust", "root"]] {
        let arguments = [command, &["--config", &config]].concat();
        assert_eq!(mayfly(&arguments).status.code(), Some(1), "{command:?}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_says_nothing_about_it() {
    for command in [&["config", "check"][..], &["serve"], &["trust", "config"], &["log", "init"]] {
        let arguments = [command, &["--config", "/nowhere/mayfly.yaml"]].concat();
        assert_eq!(mayfly(&arguments).status.code(), Some(2), "{command:?}");
    }
}

#[test]
fn nt_60_a_refused_request_shows_no_token_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let key = directory.path().join("key.pem");
    // A port that was free a moment ago: nobody answers.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let request = mayfly(&[
        "request",
        "--url",
        &format!("http://{address}"),
        "--token-file",
        token.to_str().unwrap(),
        "--key-out",
        key.to_str().unwrap(),
    ]);
    let (code, told) = said(&request);
    assert_eq!(code, Some(2), "{told}");
    assert!(request.stdout.is_empty());
    for part in TOKEN.split('.') {
        assert!(!told.contains(part), "{told}");
    }
    assert!(!key.exists());
}

#[test]
fn a_request_overwrites_nothing_and_sends_nothing_before_it_knows_so() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.pem");
    fs::write(&key, "precious").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let request =
        mayfly(&["request", "--url", &url, "--token", TOKEN, "--key-out", key.to_str().unwrap()]);
    assert_eq!(request.status.code(), Some(2), "{request:?}");
    assert_eq!(fs::read_to_string(&key).unwrap(), "precious");
    assert!(listener.accept().is_err(), "nothing was sent");
}

#[test]
fn nt_60_a_token_is_not_sent_in_the_clear() {
    let request =
        mayfly(&["request", "--url", "http://ca.example.com", "--token", TOKEN, "--key-out", "-"]);
    let (code, told) = said(&request);
    assert_eq!(code, Some(1));
    assert!(told.contains("plain http"), "{told}");
}

#[test]
fn a_request_without_a_token_says_where_to_put_one() {
    let request = Command::new(env!("CARGO_BIN_EXE_mayfly"))
        .args(["request", "--url", "https://ca.example.com", "--key-out", "-"])
        .env_clear()
        .env("GITLAB_CI", "true")
        .output()
        .unwrap();
    let (code, told) = said(&request);
    assert_eq!(code, Some(2));
    assert!(told.contains("id_tokens: { SIGSTORE_ID_TOKEN: { aud: sigstore } }"), "{told}");
    for second in [["--token-file", "b"], ["--token-env", "B"], ["--login", "https://b"]] {
        let both = ["request", "--url", "https://ca.example.com", "--key-out", "-", "--token", "a"];
        let (code, told) = said(&mayfly(&[&both[..], &second].concat()));
        assert_eq!(code, Some(2), "{second:?}");
        assert!(told.contains("cannot be used with"), "{told}");
    }
}

#[test]
fn a_request_says_whose_key_it_is_before_anything_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let request = ["request", "--url", &url, "--token", TOKEN];
    let neither = mayfly(&request);
    let (code, told) = said(&neither);
    assert_eq!(code, Some(2));
    assert!(told.contains("--key <FILE>") && told.contains("--key-out <FILE>"), "{told}");
    let both = mayfly(&[&request[..], &["--key", "a", "--key-out", "b"]].concat());
    assert_eq!(both.status.code(), Some(2));
    let no_key = mayfly(&[&request[..], &["--key", "Cargo.toml"]].concat());
    assert_eq!(no_key.status.code(), Some(1), "{no_key:?}");
    assert!(listener.accept().is_err(), "nothing was sent");
}

#[test]
fn the_files_of_a_demo_are_for_their_owner() {
    let directory = tempfile::tempdir().unwrap();
    demo_home(directory.path());
    let home = directory.path().join("home");
    let mode = |path: &str| fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("keys/issuing.pem"), 0o600);
    assert_eq!(mode("keys/log.pem"), 0o600);
}
