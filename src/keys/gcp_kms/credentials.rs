//! Access tokens for Google Cloud, as Google's own tools come by them.
//!
//! In: a file of credentials, or the standard chain (`GOOGLE_APPLICATION_CREDENTIALS`, gcloud's
//! own file, the metadata server). Out: an access token. Knows nothing of keys.
//!
//! Google's library does the protocols, keeps the token and renews it. It keeps one also after a
//! service refused it, and stops for good after a refusal of its own: then it is made anew here,
//! from what the file says by then.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use google_cloud_auth::credentials::{
    AccessTokenCredentials, Builder, external_account, impersonated, service_account, user_account,
};
use serde_json::Value;

use crate::{
    keys::{
        remote::{Fault, FaultKind},
        service::{ServiceFault, TokenSource, fault, read_file, told},
    },
    secret::Secret,
};

/// Who we are at Google.
#[derive(Debug)]
pub(super) struct GoogleCredentials {
    file: Option<PathBuf>,
    current: Mutex<AccessTokenCredentials>,
}

impl GoogleCredentials {
    pub(super) fn new(file: Option<PathBuf>) -> Result<Self, ServiceFault> {
        let current = Mutex::new(made(file.as_ref())?);
        Ok(Self { file, current })
    }

    /// What cannot be made leaves the old in place, which then says why.
    fn renew(&self) {
        match made(self.file.as_ref()) {
            Ok(new) => *self.current.lock().unwrap_or_else(PoisonError::into_inner) = new,
            Err(fault) => tracing::warn!(%fault, "the credentials for Google cannot be read"),
        }
    }
}

impl TokenSource for GoogleCredentials {
    async fn current(&self) -> Result<Arc<Secret>, Fault> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match current.access_token().await {
            Ok(token) => Ok(Arc::new(Secret::from(token.token))),
            Err(error) => {
                let kind = if error.is_transient() {
                    FaultKind::Transient
                } else {
                    // It has given up for good.
                    self.renew();
                    FaultKind::Unauthorized
                };
                Err(fault(kind, OPERATION, words(&error)))
            }
        }
    }

    async fn instead_of(&self, refused: &Arc<Secret>) -> Result<Arc<Secret>, Fault> {
        let token = self.current().await?;
        if token.expose() != refused.expose() {
            // Someone else had it replaced in the meantime.
            return Ok(token);
        }
        self.renew();
        self.current().await
    }
}

fn made(file: Option<&PathBuf>) -> Result<AccessTokenCredentials, ServiceFault> {
    let Some(path) = file else {
        let builder = Builder::default().with_scopes([SCOPE]);
        return builder.build_access_token_credentials().map_err(|error| unusable(&error));
    };
    let content = read_file(path)?;
    let json: Value = serde_json::from_slice(content.expose()).map_err(|_| unknown(path))?;
    let built = match json["type"].as_str() {
        Some("service_account") => {
            let scopes = service_account::AccessSpecifier::from_scopes([SCOPE]);
            service_account::Builder::new(json)
                .with_access_specifier(scopes)
                .build_access_token_credentials()
        }
        Some("external_account") => external_account::Builder::new(json)
            .with_scopes([SCOPE])
            .build_access_token_credentials(),
        Some("impersonated_service_account") => {
            impersonated::Builder::new(json).with_scopes([SCOPE]).build_access_token_credentials()
        }
        Some("authorized_user") => {
            user_account::Builder::new(json).with_scopes([SCOPE]).build_access_token_credentials()
        }
        _ => return Err(unknown(path)),
    };
    built.map_err(|error| unusable(&error))
}

fn unknown(path: &std::path::Path) -> ServiceFault {
    ServiceFault::Setting {
        name: format!("the content of '{}'", path.display()),
        expected: "credentials in JSON whose 'type' is service_account, external_account, \
                   impersonated_service_account or authorized_user",
    }
}

fn unusable(error: &dyn std::error::Error) -> ServiceFault {
    fault(FaultKind::Unauthorized, OPERATION, words(error)).into()
}

/// What the library says last: the causes above repeat it at length. It may quote a file or an
/// answer whole, and in that may be a token: words as long as one are left out.
fn words(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    without_long_words(&told(&last.to_string(), &[]))
}

fn without_long_words(text: &str) -> String {
    let of_tokens =
        |character: char| character.is_ascii_alphanumeric() || "-_.+=".contains(character);
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = of_tokens(first);
        let end = rest.find(|character| of_tokens(character) != is_word).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        shown.push_str(if is_word && part.len() > LONGEST_WORD_BYTES { "…" } else { part });
        rest = after;
    }
    shown
}

/// How faults call what this does.
pub(super) const OPERATION: &str = "credentials";
/// Everything that the account may: its roles limit it.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Longer than the words that help, shorter than any token.
const LONGEST_WORD_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_60_words_as_long_as_a_token_are_left_out() {
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl_-", "abc123".repeat(9));
        for (text, shown) in [
            (format!("subject token \"{token}\" is stale"), "subject token \"…\" is stale"),
            (
                "[404] for projects/p/serviceAccounts/mayfly@p.iam.gserviceaccount.com".to_owned(),
                "[404] for projects/p/serviceAccounts/mayfly@p.iam.gserviceaccount.com",
            ),
            ("é".repeat(50), &"é".repeat(50)),
        ] {
            assert_eq!(without_long_words(&text), shown);
        }
    }
}
