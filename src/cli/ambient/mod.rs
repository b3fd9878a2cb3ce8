//! The identity token that a CI system or a cloud gives to what runs on it.
//!
//! In: the environment, an audience. Out: the token of the first system that says it is here.
//! [`detect`] is a pure function of what it is given; [`Ambient::token`] asks. A system that is
//! here but gives no token is an error that names what to set, never a reason to try the next one:
//! the certificate would be for somebody else.
//!
//! Taken are the systems that cosign and the `id` package of PyPI take, by the variables, programs
//! and addresses that those systems document.

mod error;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use reqwest::Url;
use tokio::{io::AsyncReadExt, process::Command};

pub use self::error::AmbientError;
use super::client::{Http, printable, unsafe_reason};
use crate::secret::Secret;

/// What is looked at. Both answer `None` for what is not there.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "two functions have nothing to show")]
pub struct Environment<'a> {
    /// An environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The content of a small file.
    pub file: &'a dyn Fn(&Path) -> Option<Vec<u8>>,
}

/// Where a token is to be had.
#[derive(Debug)]
pub enum Ambient {
    /// It is there already.
    Variable {
        /// Which variable.
        name: String,
        /// Its value.
        token: Secret,
    },
    /// GitHub Actions: an address and the right to ask there.
    GitHub {
        /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: Url,
        /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        request_token: Secret,
    },
    /// Buildkite: its agent.
    Buildkite,
    /// CircleCI: its command line.
    CircleCi,
    /// Google Cloud: the metadata server.
    Google {
        /// Its address.
        url: Url,
    },
    /// Google Cloud, for another account than the machine's, which the machine's may speak for.
    GoogleAs {
        /// The metadata server, which gives the machine's own right to ask.
        machine: Url,
        /// Where the other account's token is to be had.
        account: Url,
    },
    /// A file that something else keeps fresh, such as a projected Kubernetes volume.
    File {
        /// Where.
        path: PathBuf,
        /// Its content.
        token: Secret,
    },
}

/// The first system that says it is here, in the order of [`SYSTEMS`]; `None` where none does.
///
/// # Errors
/// A system is here, and what it needs to give a token is not.
pub fn detect(
    environment: Environment<'_>,
    audience: &str,
) -> Result<Option<Ambient>, AmbientError> {
    for system in SYSTEMS {
        if let Some(found) = system(environment, audience)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

type System = fn(Environment<'_>, &str) -> Result<Option<Ambient>, AmbientError>;

/// What a person set by hand goes first, what a machine has by itself last.
const SYSTEMS: [System; 7] = [handed_over, github, gitlab, buildkite, circleci, google, token_file];

impl Ambient {
    /// What a person calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Variable { name, .. } => name,
            Self::GitHub { .. } => "GitHub Actions",
            Self::Buildkite => "Buildkite",
            Self::CircleCi => "CircleCI",
            Self::Google { .. } | Self::GoogleAs { .. } => GOOGLE,
            Self::File { .. } => TOKEN_FILE,
        }
    }

    /// Asks for the token; `audience` is what its `aud` is to be, where that can be chosen.
    ///
    /// # Errors
    /// The system does not answer, refuses, or answers with something else than a token.
    pub async fn token(self, audience: &str) -> Result<Secret, AmbientError> {
        match self {
            Self::Variable { token, .. } | Self::File { token, .. } => Ok(token),
            Self::GitHub { url, request_token } => ask_github(url, &request_token, audience).await,
            Self::Buildkite => {
                let arguments = ["oidc", "request-token", "--audience", audience];
                ask_program("Buildkite", "buildkite-agent", &arguments).await
            }
            Self::CircleCi => {
                let claims = serde_json::json!({ "aud": audience }).to_string();
                let arguments = ["run", "oidc", "get", "--claims", &claims];
                ask_program("CircleCI", "circleci", &arguments).await
            }
            Self::Google { url } => ask_google(url, audience).await,
            Self::GoogleAs { machine, account } => ask_google_as(machine, account, audience).await,
        }
    }
}

/// The variable that Sigstore's clients read, and GitLab's `id_tokens` usually set.
fn handed_over(
    environment: Environment<'_>,
    _audience: &str,
) -> Result<Option<Ambient>, AmbientError> {
    Ok(variable(environment, HANDED_OVER))
}

fn variable(environment: Environment<'_>, name: &str) -> Option<Ambient> {
    let token = set(environment, name)?;
    Some(Ambient::Variable { name: name.to_owned(), token: Secret::from(token) })
}

fn set(environment: Environment<'_>, name: &str) -> Option<String> {
    (environment.variable)(name).filter(|value| !value.trim().is_empty())
}

fn github(environment: Environment<'_>, _audience: &str) -> Result<Option<Ambient>, AmbientError> {
    let url = set(environment, GITHUB_URL);
    let request_token = set(environment, GITHUB_TOKEN);
    if url.is_none() && request_token.is_none() && set(environment, "GITHUB_ACTIONS").is_none() {
        return Ok(None);
    }
    let missing = |variable| AmbientError::GitHubPermission { variable };
    let url = url.ok_or(missing(GITHUB_URL))?;
    let request_token = request_token.ok_or(missing(GITHUB_TOKEN))?;
    let unsafe_url = |reason| AmbientError::UnsafeUrl { variable: GITHUB_URL, reason };
    let url: Url = url.trim().parse().map_err(|_| unsafe_url("it is no URL"))?;
    match unsafe_reason(&url, false) {
        Some(_) => Err(unsafe_url("it is neither https nor on this machine")),
        None => Ok(Some(Ambient::GitHub { url, request_token: Secret::from(request_token) })),
    }
}

/// A job has a token only under the name that its `id_tokens` gives it; the name that is looked
/// for is that of the `id` package.
fn gitlab(environment: Environment<'_>, audience: &str) -> Result<Option<Ambient>, AmbientError> {
    if set(environment, "GITLAB_CI").is_none() {
        return Ok(None);
    }
    let name = gitlab_variable(audience);
    match variable(environment, &name) {
        Some(found) => Ok(Some(found)),
        None => Err(AmbientError::GitLab { variable: name, audience: printable(audience) }),
    }
}

/// `sigstore` gives `SIGSTORE_ID_TOKEN`; whatever cannot stand in a name becomes `_`.
fn gitlab_variable(audience: &str) -> String {
    let mut name: String = audience
        .chars()
        .flat_map(char::to_uppercase)
        .map(|c| if c.is_ascii_uppercase() || c.is_ascii_digit() { c } else { '_' })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.replace_range(..1, "_");
    }
    name + "_ID_TOKEN"
}

fn buildkite(
    environment: Environment<'_>,
    _audience: &str,
) -> Result<Option<Ambient>, AmbientError> {
    Ok(set(environment, "BUILDKITE").map(|_| Ambient::Buildkite))
}

fn circleci(
    environment: Environment<'_>,
    _audience: &str,
) -> Result<Option<Ambient>, AmbientError> {
    Ok(set(environment, "CIRCLECI").map(|_| Ambient::CircleCi))
}

fn google(environment: Environment<'_>, _audience: &str) -> Result<Option<Ambient>, AmbientError> {
    let host = set(environment, GOOGLE_HOST);
    let metadata = |path| {
        let host = host.as_deref().map_or(GOOGLE_DEFAULT_HOST, str::trim);
        Url::parse(&format!("http://{host}{GOOGLE_ACCOUNT_PATH}{path}"))
            .map_err(|_| AmbientError::UnsafeUrl { variable: GOOGLE_HOST, reason: "it is no host" })
    };
    // Whoever sets this means another account than the machine's.
    if let Some(name) = set(environment, GOOGLE_OTHER_ACCOUNT) {
        let account = google_account(name.trim())?;
        return Ok(Some(Ambient::GoogleAs { machine: metadata("token")?, account }));
    }
    let product = (environment.file)(Path::new(PRODUCT_NAME_FILE)).unwrap_or_default();
    let on_google = GOOGLE_PRODUCTS.contains(&String::from_utf8_lossy(&product).trim());
    if host.is_none() && !on_google {
        return Ok(None);
    }
    Ok(Some(Ambient::Google { url: metadata("identity")? }))
}

/// The name becomes one segment of the path, whatever is in it (NT-62).
fn google_account(name: &str) -> Result<Url, AmbientError> {
    let no_name =
        AmbientError::UnsafeUrl { variable: GOOGLE_OTHER_ACCOUNT, reason: "it is no account" };
    let Ok(mut url) = Url::parse(GOOGLE_CREDENTIALS) else { return Err(no_name) };
    match url.path_segments_mut() {
        Ok(mut path) => path.push(&format!("{name}:generateIdToken")),
        Err(()) => return Err(no_name),
    };
    Ok(url)
}

fn token_file(
    environment: Environment<'_>,
    _audience: &str,
) -> Result<Option<Ambient>, AmbientError> {
    let path = Path::new(TOKEN_FILE);
    let found = (environment.file)(path).filter(|content| !content.trim_ascii().is_empty());
    Ok(found.map(|content| Ambient::File { path: path.to_owned(), token: Secret::new(content) }))
}

async fn ask_github(
    mut url: Url,
    request_token: &Secret,
    audience: &str,
) -> Result<Secret, AmbientError> {
    let failed = |source| AmbientError::Asked { system: "GitHub Actions", source };
    url.query_pairs_mut().append_pair("audience", audience);
    let bearer = format!("bearer {}", request_token.expose_text().unwrap_or_default().trim());
    let http = Http::to(&url).map_err(failed)?;
    let body = http.fetch_with(url, "authorization", &bearer).await.map_err(failed)?;
    let answer: GitHubAnswer = serde_json::from_slice(&body)
        .map_err(|_| AmbientError::NoToken { system: "GitHub Actions" })?;
    text_token("GitHub Actions", answer.value)
}

async fn ask_google(mut url: Url, audience: &str) -> Result<Secret, AmbientError> {
    url.query_pairs_mut().append_pair("audience", audience).append_pair("format", "full");
    let text = String::from_utf8(ask_metadata(url).await?);
    text_token(GOOGLE, text.map_err(|_| AmbientError::NoToken { system: GOOGLE })?)
}

/// The machine's account asks for the other's token.
async fn ask_google_as(
    mut machine: Url,
    account: Url,
    audience: &str,
) -> Result<Secret, AmbientError> {
    let failed = |source| AmbientError::Asked { system: GOOGLE, source };
    let no_token = |_| AmbientError::NoToken { system: GOOGLE };
    machine.query_pairs_mut().append_pair("scopes", GOOGLE_SCOPE);
    let right: GoogleRight =
        serde_json::from_slice(&ask_metadata(machine).await?).map_err(no_token)?;
    let right = Secret::from(right.access_token);
    let bearer = right.expose_text().unwrap_or_default();
    let wish = serde_json::json!({ "audience": audience, "includeEmail": true });
    let http = Http::to(&account).map_err(failed)?;
    let body = http.post_as(account, bearer, &wish).await.map_err(failed)?;
    let answer: GoogleAnswer = serde_json::from_slice(&body).map_err(no_token)?;
    text_token(GOOGLE, answer.token)
}

async fn ask_metadata(url: Url) -> Result<Vec<u8>, AmbientError> {
    let failed = |source| AmbientError::Asked { system: GOOGLE, source };
    // On the machine's own link: a proxy has no business there.
    let http = Http::direct(&url).map_err(failed)?;
    http.fetch_with(url, "metadata-flavor", "Google").await.map_err(failed)
}

/// Runs the program that the CI system puts on the path, and takes what it prints.
async fn ask_program(
    system: &'static str,
    program: &'static str,
    arguments: &[&str],
) -> Result<Secret, AmbientError> {
    let failed = |source| AmbientError::Program { system, program, source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let whole = async {
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return child.wait().await;
        };
        let (mut stdout, mut stderr) = (stdout.take(MAX_TOKEN_BYTES), stderr.take(MAX_TOKEN_BYTES));
        let read = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
        read.0.and(read.1)?;
        child.wait().await
    };
    let ended = tokio::time::timeout(PROGRAM_TIMEOUT, whole)
        .await
        .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?;
    let status = ended.map_err(failed)?;
    // What it wrote to standard output may be a token all the same: not told.
    let out = Secret::new(out);
    if !status.success() {
        let said = printable(String::from_utf8_lossy(&err).trim());
        return Err(AmbientError::ProgramRefused { system, program, said });
    }
    text_token(system, out.expose_text().unwrap_or_default().to_owned())
}

fn text_token(system: &'static str, text: String) -> Result<Secret, AmbientError> {
    if text.trim().is_empty() {
        return Err(AmbientError::NoToken { system });
    }
    Ok(Secret::from(text))
}

#[derive(serde::Deserialize)]
struct GitHubAnswer {
    value: String,
}

#[derive(serde::Deserialize)]
struct GoogleRight {
    access_token: String,
}

#[derive(serde::Deserialize)]
struct GoogleAnswer {
    token: String,
}

/// What Sigstore's clients read, whatever set it.
pub(super) const HANDED_OVER: &str = "SIGSTORE_ID_TOKEN";
const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// Google's own libraries read it too.
const GOOGLE_HOST: &str = "GCE_METADATA_HOST";
const GOOGLE_OTHER_ACCOUNT: &str = "GOOGLE_SERVICE_ACCOUNT_NAME";
const GOOGLE_DEFAULT_HOST: &str = "metadata.google.internal";
const GOOGLE: &str = "Google Cloud";
const GOOGLE_ACCOUNT_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/";
const GOOGLE_CREDENTIALS: &str =
    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const PRODUCT_NAME_FILE: &str = "/sys/class/dmi/id/product_name";
const GOOGLE_PRODUCTS: [&str; 2] = ["Google", "Google Compute Engine"];
/// Where cosign looks: pods mount a projected service account token there.
const TOKEN_FILE: &str = "/var/run/sigstore/cosign/oidc-token";
const MAX_TOKEN_BYTES: u64 = 64 << 10;
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
