//! Where the token of a request comes from.
//!
//! In: what the command line says, else the environment. Out: the token, or what to do to have
//! one. The environment is asked only where the command line says nothing.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;

use super::files::read_small;
use crate::{
    cli::{
        CliError,
        ambient::{self, Environment},
        login::{self, Login},
    },
    secret::Secret,
};

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// The token itself; discouraged, because other users of the machine can read it
    #[arg(long, value_name = "TOKEN", value_parser = parse_secret, group = "source")]
    token: Option<Arc<Secret>>,
    /// Read the token from this file, or from standard input with -
    #[arg(long, value_name = "FILE", group = "source")]
    token_file: Option<PathBuf>,
    /// Read the token from this environment variable
    #[arg(long, value_name = "VARIABLE", group = "source")]
    token_env: Option<String>,
    /// Sign in at this OpenID provider: with the browser, or where there is none on another device
    #[arg(long, value_name = "ISSUER", group = "source")]
    login: Option<String>,
    /// The client that the provider knows
    #[arg(long, value_name = "ID", default_value = "sigstore", requires = "login")]
    client_id: String,
    /// The client's password, in a file, for a provider that takes no clients without one
    #[arg(long, value_name = "FILE", requires = "login")]
    client_secret_file: Option<PathBuf>,
    /// What to ask the provider for
    #[arg(long, value_name = "SCOPES", default_value = "openid email", requires = "login")]
    scope: String,
    /// Sign in on another device even where there is a browser
    #[arg(long, requires = "login")]
    device: bool,
    /// The port of 127.0.0.1 that the browser comes back to; 0 is a free one, which most providers
    /// take
    #[arg(long, value_name = "PORT", default_value_t = 0, requires = "login")]
    login_port: u16,
    /// How long signing in may take
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        requires = "login",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    login_timeout: u64,
    /// What the CI system or cloud is to put into the token's `aud`
    #[arg(long, value_name = "AUDIENCE", default_value = "sigstore", conflicts_with = "source")]
    audience: String,
}

impl TokenArguments {
    /// Reads the token, signs a person in or asks the system that this runs on. What a person must
    /// read goes to `told`.
    pub(super) async fn obtain(
        &self,
        allow_http: bool,
        told: &mut dyn Write,
    ) -> Result<Arc<Secret>, CliError> {
        if let Some(token) = &self.token {
            return Ok(Arc::clone(token));
        }
        if let Some(path) = &self.token_file {
            return read_token_file(path).map(Arc::new);
        }
        if let Some(name) = &self.token_env {
            return read_token_variable(name).map(Arc::new);
        }
        if let Some(issuer) = &self.login {
            let login = self.login(issuer, allow_http)?;
            let signed_in = login::sign_in(&login, &variable, told).await;
            return signed_in.map(Arc::new).map_err(|source| CliError::Login { source });
        }
        self.ambient(told).await.map(Arc::new)
    }

    fn login(&self, issuer: &str, allow_http: bool) -> Result<Login, CliError> {
        let secret_file = self.client_secret_file.as_deref();
        let client_secret = secret_file.map(read_client_secret).transpose()?;
        // The library adds `openid` itself.
        let scopes = self.scope.split_whitespace().filter(|scope| *scope != "openid");
        Ok(Login {
            issuer: issuer.to_owned(),
            client_id: self.client_id.clone(),
            client_secret,
            scopes: scopes.map(str::to_owned).collect(),
            device: self.device,
            port: self.login_port,
            patience: Duration::from_secs(self.login_timeout),
            allow_http,
        })
    }

    async fn ambient(&self, told: &mut dyn Write) -> Result<Secret, CliError> {
        let failed = |source| CliError::Ambient { source };
        let environment = Environment { variable: &variable, file: &small_file };
        let found = ambient::detect(environment, &self.audience).map_err(failed)?;
        let Some(found) = found else {
            return Err(CliError::NoToken {
                reason: format!(
                    "{} is not set, and this is no CI system or cloud that gives tokens; \
                     use --login, --token-file or --token-env",
                    ambient::HANDED_OVER
                ),
            });
        };
        let line = format!("Using the identity token of {}.\n", found.name());
        told.write_all(line.as_bytes()).map_err(|source| CliError::Output { source })?;
        found.token(&self.audience).await.map_err(failed)
    }
}

fn read_token_file(path: &Path) -> Result<Secret, CliError> {
    let token = read_small(path)?;
    if token.expose().trim_ascii().is_empty() {
        return Err(CliError::NoToken { reason: format!("{} is empty", path.display()) });
    }
    Ok(token)
}

/// An empty one would sign in as a public client, which is another thing than what was asked for.
fn read_client_secret(path: &Path) -> Result<Secret, CliError> {
    let secret = read_small(path)?;
    if secret.expose_text().is_none_or(|text| text.trim().is_empty()) {
        let reason = format!("{} holds no client password", path.display());
        return Err(CliError::NoToken { reason });
    }
    Ok(secret)
}

fn read_token_variable(name: &str) -> Result<Secret, CliError> {
    match std::env::var(name) {
        Ok(token) if !token.trim().is_empty() => Ok(Secret::from(token)),
        Ok(_) => Err(CliError::NoToken { reason: format!("{name} is empty") }),
        Err(std::env::VarError::NotPresent) => {
            Err(CliError::NoToken { reason: format!("{name} is not set") })
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(CliError::NoToken { reason: format!("{name} is not text") })
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn small_file(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_end(&mut content).ok()?;
    Some(content)
}

fn parse_secret(text: &str) -> Result<Arc<Secret>, std::convert::Infallible> {
    Ok(Arc::new(Secret::from(text.to_owned())))
}

const MAX_FILE_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
