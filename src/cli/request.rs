//! `mayfly request`: gets a certificate as a signing client would.
//!
//! In: a CA's URL and a token. Out: a private key, a certificate for it and its chain, as PEM
//! files or on standard output. The token is read, sent and forgotten; it is never printed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use reqwest::Url;
use serde_json::json;

use super::{
    CliError, FileAction,
    client::{Answer, ClientKey, Http, KeyAlgorithm, ProofStyle, is_loopback},
};
use crate::secret::Secret;

/// Get a certificate as a client would: fresh key, proof of possession, checked answer
///
/// The token comes from --token-file, --token-env or, without either, from the environment variable
/// SIGSTORE_ID_TOKEN. Without --key-out, --cert-out and --chain-out the PEM blocks go to standard
/// output. Only the shape of the answer and its key are checked; `mayfly demo` checks everything.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct RequestArguments {
    /// The CA, such as `https://ca.example.com`
    #[arg(long, value_name = "URL")]
    url: Url,
    #[command(flatten)]
    token: TokenArguments,
    /// Send a certificate signing request instead of key and signature
    #[arg(long)]
    csr: bool,
    /// The kind of key to make
    #[arg(long, value_name = "ALGORITHM", value_enum, default_value = "p256")]
    key_algorithm: KeyAlgorithm,
    /// Write the certificate to this new file
    #[arg(long, value_name = "FILE")]
    cert_out: Option<PathBuf>,
    /// Write the private key to this new file, readable by its owner only
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
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

#[derive(Debug, Args)]
#[group(multiple = false)]
struct TokenArguments {
    /// The token itself; discouraged, because other users of the machine can read it
    #[arg(long, value_name = "TOKEN", value_parser = parse_secret)]
    token: Option<Arc<Secret>>,
    /// Read the token from this file, or from standard input with -
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Read the token from this environment variable
    #[arg(long, value_name = "VARIABLE")]
    token_env: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// No token, no key, no answer, an answer that is not for our key, or a file that exists.
pub async fn run(arguments: RequestArguments, out: &mut dyn Write) -> Result<(), CliError> {
    check_url(&arguments.url, arguments.allow_http)?;
    let token = arguments.token.read()?;
    let failed = |source| CliError::Client { source };
    let key = ClientKey::generate(arguments.key_algorithm).map_err(|e| failed(e.into()))?;
    let style = if arguments.csr { ProofStyle::SigningRequest } else { ProofStyle::Signature };
    // The files come first: a certificate whose key could not be kept is of no use.
    let mut files = NewFiles::create(&arguments)?;
    let http = Http::to(&arguments.url).map_err(failed)?;
    let asked = http.request_certificate(&arguments.url, &token, &key, style).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(source) => {
            files.remove();
            return Err(failed(source));
        }
    };
    let private_pem = key.private_pem().map_err(|e| failed(e.into()))?;
    files.write(&answer, &private_pem)?;
    let text = if arguments.json {
        json_text(&answer, &private_pem, &arguments)
    } else {
        pem_text(&answer, &private_pem, &arguments)
    };
    out.write_all(text.expose()).map_err(|source| CliError::Output { source })
}

/// A token is worth as much as the identity in it: plain http only where no network is crossed.
fn check_url(url: &Url, allow_http: bool) -> Result<(), CliError> {
    let reason = match url.scheme() {
        "https" => return Ok(()),
        "http" if allow_http || is_loopback(url) => return Ok(()),
        "http" => "plain http shows the token to the network (--allow-http if that is meant)",
        _ => "it is neither https nor http",
    };
    Err(CliError::UnsafeUrl { url: url.origin().ascii_serialization(), reason })
}

impl TokenArguments {
    fn read(&self) -> Result<Arc<Secret>, CliError> {
        if let Some(token) = &self.token {
            return Ok(Arc::clone(token));
        }
        if let Some(path) = &self.token_file {
            return read_token_file(path).map(Arc::new);
        }
        let variable = self.token_env.as_deref().unwrap_or(DEFAULT_TOKEN_VARIABLE);
        match std::env::var(variable) {
            Ok(token) if !token.trim().is_empty() => Ok(Arc::new(Secret::from(token))),
            Ok(_) => Err(CliError::NoToken { reason: format!("{variable} is empty") }),
            Err(std::env::VarError::NotPresent) => Err(CliError::NoToken {
                reason: format!(
                    "{variable} is not set; use --token-file, --token-env or set {variable}"
                ),
            }),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(CliError::NoToken { reason: format!("{variable} is not text") })
            }
        }
    }
}

fn read_token_file(path: &Path) -> Result<Secret, CliError> {
    let failed =
        |source| CliError::File { action: FileAction::Read, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let mut reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    reader.by_ref().take(MAX_TOKEN_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.trim_ascii().is_empty() {
        return Err(CliError::NoToken { reason: format!("{} is empty", path.display()) });
    }
    Ok(Secret::new(bytes))
}

/// The files that were asked for, created before the request and filled after it.
#[derive(Debug, Default)]
struct NewFiles {
    key: Option<(PathBuf, File)>,
    certificate: Option<(PathBuf, File)>,
    chain: Option<(PathBuf, File)>,
}

impl NewFiles {
    fn create(arguments: &RequestArguments) -> Result<Self, CliError> {
        let mut files = Self::default();
        let created = files.create_each(arguments);
        match created {
            Ok(()) => Ok(files),
            Err(error) => {
                files.remove();
                Err(error)
            }
        }
    }

    fn create_each(&mut self, arguments: &RequestArguments) -> Result<(), CliError> {
        for (path, slot, mode) in [
            (&arguments.key_out, &mut self.key, OWNER_ONLY),
            (&arguments.cert_out, &mut self.certificate, READABLE),
            (&arguments.chain_out, &mut self.chain, READABLE),
        ] {
            if let Some(path) = path {
                *slot = Some((path.clone(), create_new(path, mode)?));
            }
        }
        Ok(())
    }

    fn write(&mut self, answer: &Answer, private_pem: &Secret) -> Result<(), CliError> {
        let [leaf, above @ ..] = answer.pem_chain.as_slice() else {
            return Ok(());
        };
        for (slot, content) in [
            (&mut self.key, private_pem.expose()),
            (&mut self.certificate, leaf.as_bytes()),
            (&mut self.chain, above.concat().as_bytes()),
        ] {
            let Some((path, file)) = slot else { continue };
            let written = file.write_all(content).and_then(|()| file.sync_all());
            let failed =
                |source| CliError::File { action: FileAction::Create, path: path.clone(), source };
            written.map_err(failed)?;
        }
        Ok(())
    }

    /// Nothing came of it: the empty files that this run made go again.
    fn remove(self) {
        for (path, file) in [self.key, self.certificate, self.chain].into_iter().flatten() {
            drop(file);
            // The refusal that led here is what the caller must hear, not this one.
            let _ = fs::remove_file(path);
        }
    }
}

/// Creates `path`, which must not exist: no file of the caller is ever overwritten.
pub(super) fn create_new(path: &Path, mode: u32) -> Result<File, CliError> {
    use std::os::unix::fs::OpenOptionsExt;

    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    created.map_err(|source| CliError::File {
        action: FileAction::Create,
        path: path.to_owned(),
        source,
    })
}

fn pem_text(answer: &Answer, private_pem: &Secret, arguments: &RequestArguments) -> Secret {
    let [leaf, above @ ..] = answer.pem_chain.as_slice() else {
        return Secret::new(Vec::new());
    };
    let mut text = Vec::new();
    if arguments.key_out.is_none() {
        text.extend_from_slice(private_pem.expose());
    }
    if arguments.cert_out.is_none() {
        text.extend_from_slice(leaf.as_bytes());
    }
    if arguments.chain_out.is_none() {
        text.extend_from_slice(above.concat().as_bytes());
    }
    Secret::new(text)
}

fn json_text(answer: &Answer, private_pem: &Secret, arguments: &RequestArguments) -> Secret {
    let [leaf, above @ ..] = answer.pem_chain.as_slice() else {
        return Secret::new(Vec::new());
    };
    let private_key = arguments.key_out.is_none().then(|| private_pem.expose_text());
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

fn parse_secret(text: &str) -> Result<Arc<Secret>, std::convert::Infallible> {
    Ok(Arc::new(Secret::from(text.to_owned())))
}

const DEFAULT_TOKEN_VARIABLE: &str = "SIGSTORE_ID_TOKEN";
/// Twice what a server takes: enough to let it refuse, little enough to hold.
const MAX_TOKEN_BYTES: u64 = 64 << 10;
const OWNER_ONLY: u32 = 0o600;
const READABLE: u32 = 0o644;

const AFTER_HELP: &str = "\
Example, with a token in token.txt:
  mayfly request --url https://ca.example.com --token-file token.txt \\
    --key-out key.pem --cert-out cert.pem --chain-out chain.pem

Exit code: 0 a certificate for our key came, 1 the CA refused, 2 could not tell.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_60_a_token_crosses_no_network_in_the_clear_unless_told_so() {
        let check = |url: &str, allow| check_url(&url.parse().unwrap(), allow);
        assert!(check("https://ca.example.com", false).is_ok());
        assert!(check("http://127.0.0.1:5555", false).is_ok());
        assert!(check("http://ca.example.com", false).is_err());
        assert!(check("http://ca.example.com", true).is_ok());
        assert!(check("ftp://ca.example.com", true).is_err());
    }

    #[test]
    fn no_file_is_ever_overwritten_and_a_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.pem");
        create_new(&path, OWNER_ONLY).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create_new(&path, OWNER_ONLY), Err(CliError::File { .. })));
    }

    #[test]
    fn an_empty_token_file_is_no_token() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        fs::write(&path, " \n").unwrap();
        assert!(matches!(read_token_file(&path), Err(CliError::NoToken { .. })));
        fs::write(&path, "a.b.c\n").unwrap();
        assert_eq!(read_token_file(&path).unwrap().expose(), b"a.b.c\n");
    }
}
