//! `mayfly request`: gets a certificate as a signing client would.
//!
//! In: a CA's URL, and a token or a way to get one. Out: a certificate and its chain, and where it
//! is asked for the private key, as PEM files or on standard output. The token is read, sent and
//! forgotten; it is never printed. What a person must read goes to standard error.

mod files;
mod token;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args};
use reqwest::Url;
use serde_json::json;

use self::{
    files::{NewFiles, read_small},
    token::TokenArguments,
};
use super::{
    CliError,
    client::{Answer, ClientKey, Http, KeyAlgorithm, ProofStyle, unsafe_reason},
};
use crate::secret::Secret;

/// Get a certificate as a client would: a token, proof of a key, a checked answer
///
/// The token comes from --token-file or --token-env, from the person who signs in with --login, or
/// without any of these from the CI system or cloud that this runs on (see below). The key is made
/// for the certificate and written where --key-out says, or is the one in --key. Without --cert-out
/// and --chain-out the certificate and its chain go to standard output. Only the shape of the answer
/// and its key are checked; `mayfly demo` checks everything.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
// A certificate for a key that nobody has is of no use to anybody.
#[command(group = ArgGroup::new("private key").args(["key", "key_out"]).required(true))]
pub struct RequestArguments {
    /// The CA, such as `https://ca.example.com`
    #[arg(long, value_name = "URL")]
    url: Url,
    #[command(flatten)]
    token: TokenArguments,
    /// Send a certificate signing request instead of key and signature
    #[arg(long)]
    csr: bool,
    /// The private key to get the certificate for: PKCS #8 PEM, not encrypted, of a kind below
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The kind of key to make
    #[arg(
        long,
        value_name = "ALGORITHM",
        value_enum,
        default_value = "p256",
        conflicts_with = "key"
    )]
    key_algorithm: KeyAlgorithm,
    /// Make a key and write it to this new file, readable by its owner only, or with - to standard
    /// output
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
    /// Write the certificate to this new file
    #[arg(long, value_name = "FILE")]
    cert_out: Option<PathBuf>,
    /// Write the CA certificates to this new file, issuing CA first, root last
    #[arg(long, value_name = "FILE")]
    chain_out: Option<PathBuf>,
    /// Send the token over plain http to another machine, where everyone between can take it
    #[arg(long)]
    allow_http: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// No token, no key, no answer, an answer that is not for our key, or a file that exists.
pub async fn run(arguments: RequestArguments, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(reason) = unsafe_reason(&arguments.url, arguments.allow_http) {
        return Err(CliError::UnsafeUrl {
            url: arguments.url.origin().ascii_serialization(),
            reason,
        });
    }
    let key = arguments.client_key()?;
    // The files come first: a certificate whose key could not be kept is of no use, and nobody
    // should sign in for it.
    let mut files = NewFiles::create(&arguments)?;
    let got = tokio::select! {
        got = get(&arguments, &key, &mut files) => got,
        // Whoever gives up waiting for a person or a CA finds the way free the next time.
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    };
    match got {
        Ok(text) => out.write_all(text.expose()).map_err(|source| CliError::Output { source }),
        Err(error) => {
            files.remove();
            Err(error)
        }
    }
}

/// Fills the files; answers with what is to be printed.
async fn get(
    arguments: &RequestArguments,
    key: &ClientKey,
    files: &mut NewFiles,
) -> Result<Secret, CliError> {
    let answer = ask(arguments, key).await?;
    let private_pem = key.private_pem().map_err(|e| CliError::Client { source: e.into() })?;
    files.write(&answer, &private_pem)?;
    Ok(arguments.text(&answer, &private_pem))
}

async fn ask(arguments: &RequestArguments, key: &ClientKey) -> Result<Answer, CliError> {
    let failed = |source| CliError::Client { source };
    let http = Http::to(&arguments.url).map_err(failed)?;
    let token = arguments.token.obtain(arguments.allow_http, &mut anstream::stderr()).await?;
    let style = if arguments.csr { ProofStyle::SigningRequest } else { ProofStyle::Signature };
    http.request_certificate(&arguments.url, &token, key, style).await.map_err(failed)
}

impl RequestArguments {
    fn client_key(&self) -> Result<ClientKey, CliError> {
        let Some(path) = &self.key else {
            return ClientKey::generate(self.key_algorithm)
                .map_err(|e| CliError::Client { source: e.into() });
        };
        let text = read_small(path)?;
        ClientKey::from_pem(&text)
            .map_err(|source| CliError::ClientKey { path: path.clone(), source })
    }

    /// Whether the key is to be printed: only where that was said in so many words.
    fn prints_key(&self) -> bool {
        self.key_out.as_deref() == Some(Path::new(STANDARD_OUTPUT))
    }

    /// What goes to standard output.
    fn text(&self, answer: &Answer, private_pem: &Secret) -> Secret {
        let [leaf, above @ ..] = answer.pem_chain.as_slice() else {
            return Secret::new(Vec::new());
        };
        if self.json {
            return self.json_text(answer, leaf, above, private_pem);
        }
        let mut text = Vec::new();
        if self.prints_key() {
            text.extend_from_slice(private_pem.expose());
        }
        if self.cert_out.is_none() {
            text.extend_from_slice(leaf.as_bytes());
        }
        if self.chain_out.is_none() {
            text.extend_from_slice(above.concat().as_bytes());
        }
        Secret::new(text)
    }

    fn json_text(
        &self,
        answer: &Answer,
        leaf: &str,
        above: &[String],
        private_pem: &Secret,
    ) -> Secret {
        let private_key = self.prints_key().then(|| private_pem.expose_text());
        let value = json!({
            "certificate": leaf,
            "chain": above,
            "privateKey": private_key,
            "identities": answer.leaf.identities(),
            "oidcIssuer": answer.leaf.oidc_issuer(),
            "notBefore": answer.leaf.not_before().to_string(),
            "notAfter": answer.leaf.not_after().to_string(),
        });
        Secret::from(format!("{value:#}\n"))
    }
}

const STANDARD_OUTPUT: &str = "-";

const AFTER_HELP: &str = "\
Example, for a person at a desk:
  mayfly request --url https://ca.example.com --login https://id.example.com \\
    --key-out key.pem --cert-out cert.pem --chain-out chain.pem
and in a CI job, for a key that is there:
  mayfly request --url https://ca.example.com --key key.pem --cert-out cert.pem

Without a token and --login, the first of these that is there is asked: SIGSTORE_ID_TOKEN, GitHub
Actions, GitLab CI, Buildkite, CircleCI, Google Cloud, /var/run/sigstore/cosign/oidc-token.

Exit code: 0 a certificate for our key came, 1 the CA or the provider refused, 2 could not tell.";
