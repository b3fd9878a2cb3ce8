//! Detection over given environments, and the questions that are asked over HTTP.

use std::collections::BTreeMap;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// What `detect` finds where only `variables` and `files` are there.
fn found(
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
    audience: &str,
) -> Result<Option<Ambient>, AmbientError> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let environment = Environment {
        variable: &|name| variables.get(name).map(|value| (*value).to_owned()),
        file: &|path| files.get(path.to_str()?).map(|content| content.as_bytes().to_vec()),
    };
    detect(environment, audience)
}

fn name_of(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Option<String> {
    found(variables, files, "sigstore").unwrap().map(|ambient| ambient.name().to_owned())
}

const GITHUB: [(&str, &str); 3] = [
    ("GITHUB_ACTIONS", "true"),
    (GITHUB_URL, "https://token.example.com/x?api-version=2.0"),
    (GITHUB_TOKEN, "may-ask"),
];

#[test]
fn every_system_is_known_by_its_own_signs() {
    assert_eq!(name_of(&[], &[]), None);
    assert_eq!(name_of(&[("CI", "true"), ("BUILDKITE", "")], &[]), None);
    assert_eq!(name_of(&[(HANDED_OVER, "a.b.c")], &[]).as_deref(), Some(HANDED_OVER));
    assert_eq!(name_of(&GITHUB, &[]).as_deref(), Some("GitHub Actions"));
    assert_eq!(name_of(&[("BUILDKITE", "true")], &[]).as_deref(), Some("Buildkite"));
    assert_eq!(name_of(&[("CIRCLECI", "true")], &[]).as_deref(), Some("CircleCI"));
    let gce = [(PRODUCT_NAME_FILE, "Google Compute Engine\n")];
    assert_eq!(name_of(&[], &gce).as_deref(), Some("Google Cloud"));
    assert_eq!(name_of(&[], &[(PRODUCT_NAME_FILE, "Googlish\n")]), None);
    assert_eq!(name_of(&[], &[(TOKEN_FILE, "a.b.c\n")]).as_deref(), Some(TOKEN_FILE));
    assert_eq!(name_of(&[], &[(TOKEN_FILE, "\n")]), None);
}

#[test]
fn what_a_person_set_goes_before_what_the_machine_has() {
    let both = [&GITHUB[..], &[(HANDED_OVER, "a.b.c")]].concat();
    assert_eq!(name_of(&both, &[]).as_deref(), Some(HANDED_OVER));
    let files = [(PRODUCT_NAME_FILE, "Google"), (TOKEN_FILE, "a.b.c")];
    assert_eq!(name_of(&GITHUB, &files).as_deref(), Some("GitHub Actions"));
    assert_eq!(name_of(&[], &files).as_deref(), Some("Google Cloud"));
}

#[test]
fn a_github_job_without_the_permission_is_told_its_name() {
    for variables in [&GITHUB[..1], &GITHUB[..2], &[GITHUB[2]]] {
        let error = found(variables, &[], "sigstore").unwrap_err();
        assert!(error.to_string().contains("id-token: write"), "{error}");
    }
}

#[test]
fn nt_60_the_right_to_ask_github_is_not_sent_in_the_clear() {
    for url in ["http://token.example.com/", "ftp://127.0.0.1/", "token"] {
        let variables = [(GITHUB_URL, url), (GITHUB_TOKEN, "may-ask")];
        let error = found(&variables, &[], "sigstore").unwrap_err();
        assert!(matches!(error, AmbientError::UnsafeUrl { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("may-ask"));
    }
}

#[test]
fn a_gitlab_job_is_told_the_stanza_for_its_audience() {
    for (audience, variable) in [
        ("sigstore", "SIGSTORE_ID_TOKEN"),
        ("http://test.audience", "HTTP___TEST_AUDIENCE_ID_TOKEN"),
        ("1st", "_ST_ID_TOKEN"),
    ] {
        let error = found(&[("GITLAB_CI", "true")], &[], audience).unwrap_err();
        let stanza = format!("id_tokens: {{ {variable}: {{ aud: {audience} }} }}");
        assert!(error.to_string().contains(&stanza), "{error}");
        let given = found(&[("GITLAB_CI", "true"), (variable, "a.b.c")], &[], audience);
        assert_eq!(given.unwrap().unwrap().name(), variable);
    }
}

#[test]
fn nt_62_the_name_of_another_google_account_stays_one_segment_of_the_path() {
    let variables = [(GOOGLE_OTHER_ACCOUNT, "ci@example.com/../x?y#z")];
    let found = found(&variables, &[(PRODUCT_NAME_FILE, "Google")], "sigstore").unwrap().unwrap();
    let Ambient::GoogleAs { machine, account } = found else { panic!("{found:?}") };
    assert_eq!(
        machine.as_str(),
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
    );
    assert_eq!(
        account.as_str(),
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/\
         ci@example.com%2F..%2Fx%3Fy%23z:generateIdToken"
    );
}

/// Answers one request with `answer` and hands back the request.
async fn one_request(answer: String) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(request).unwrap();
        let length = head
            .split_once("content-length: ")
            .map_or("0", |(_, rest)| rest.split("\r\n").next().unwrap());
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        head + std::str::from_utf8(&body).unwrap()
    });
    (address, served)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn ask(variables: &[(&str, &str)]) -> Result<String, AmbientError> {
    let ambient = found(variables, &[], "sigstore").unwrap().unwrap();
    let token = ambient.token("a b&c").await?;
    Ok(token.expose_text().unwrap().to_owned())
}

#[tokio::test]
async fn google_is_asked_with_its_header_and_the_escaped_audience() {
    let (address, served) = one_request(ok("a.b.c")).await;
    assert_eq!(ask(&[(GOOGLE_HOST, &address)]).await.unwrap(), "a.b.c");
    let head = served.await.unwrap();
    let path = "GET /computeMetadata/v1/instance/service-accounts/default/identity\
                ?audience=a+b%26c&format=full HTTP/1.1\r\n";
    assert!(head.starts_with(path), "{head}");
    assert!(head.contains("metadata-flavor: Google\r\n"), "{head}");
}

#[tokio::test]
async fn another_google_account_is_asked_for_in_the_machines_name() {
    let (metadata, right_asked) = one_request(ok(r#"{"access_token":"right"}"#)).await;
    let (credentials, token_asked) = one_request(ok(r#"{"token":"a.b.c"}"#)).await;
    let ambient = Ambient::GoogleAs {
        machine: format!("http://{metadata}/token").parse().unwrap(),
        account: format!("http://{credentials}/ci:generateIdToken").parse().unwrap(),
    };
    assert_eq!(ambient.token("sigstore").await.unwrap().expose(), b"a.b.c");
    let asked = right_asked.await.unwrap();
    let scope = "GET /token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform ";
    assert!(asked.starts_with(scope), "{asked}");
    assert!(asked.contains("metadata-flavor: Google\r\n"), "{asked}");
    let asked = token_asked.await.unwrap();
    assert!(asked.starts_with("POST /ci:generateIdToken HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer right\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"audience":"sigstore","includeEmail":true}"#), "{asked}");
}

#[tokio::test]
async fn nt_60_the_right_to_ask_does_not_follow_a_redirect() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = elsewhere.local_addr().unwrap();
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{target}/\r\ncontent-length: 0\r\n\r\n");
    let (address, served) = one_request(redirect).await;
    let url = format!("http://{address}/token?x=1");
    let error = ask(&[(GITHUB_URL, &url), (GITHUB_TOKEN, "may-ask")]).await.unwrap_err();
    assert!(matches!(error, AmbientError::Asked { .. }), "{error}");
    assert!(served.await.unwrap().contains("authorization: bearer may-ask\r\n"));
    let accepted = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await;
    assert!(accepted.is_err(), "the redirect was followed");
}

#[tokio::test]
async fn an_answer_without_a_token_is_none() {
    for body in ["{}", r#"{"value":""}"#, r#"{"value":7}"#, "a.b.c"] {
        let (address, served) = one_request(ok(body)).await;
        let url = format!("http://{address}/");
        let error = ask(&[(GITHUB_URL, &url), (GITHUB_TOKEN, "may-ask")]).await.unwrap_err();
        assert!(matches!(error, AmbientError::NoToken { .. }), "{body}: {error}");
        served.await.unwrap();
    }
}
