//! The walk through an issuance: act as a client, check everything, say it in plain words.
//!
//! In: a running service and what a verifier knows of it beforehand. Out: a certificate that was
//! checked from every side, and lines that tell a newcomer what happened.

use std::{io::Write, time::Duration};

use reqwest::Url;
use tokio::time::Instant;

use super::{DemoError, home::Home, issuer::DevIssuer, narrate::Narrator};
use crate::{
    cli::{
        client::{Answer, ClientKey, Http, KeyAlgorithm, ProofStyle, endpoint},
        verify::{
            chain,
            inclusion::{self, KnownLog},
            presented::Presented,
            sct::{self, Promise},
        },
    },
    secret::Secret,
    time::Clock,
    tlog::TreeHead,
};

/// Where the walk goes.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) base: &'a Url,
    pub(super) home: &'a Home,
    pub(super) issuer: &'a DevIssuer,
    pub(super) clock: &'a dyn Clock,
}

impl Walk<'_> {
    /// Gets one certificate over HTTP and verifies it as a stranger would.
    pub(super) async fn run<W: Write + ?Sized>(
        &self,
        say: &mut Narrator<'_, W>,
    ) -> Result<(), DemoError> {
        let http = Http::to(self.base)?;
        let token = self.token(&http, say).await?;
        let key =
            ClientKey::generate(KeyAlgorithm::P256).map_err(|e| DemoError::Client(e.into()))?;
        say.step("Make a key pair for this one signature")?;
        say.detail("ECDSA P-256, in memory only. Signing the e-mail address with it proves that")?;
        say.detail("whoever holds the token holds the key as well.")?;

        let asked = Instant::now();
        let answer =
            http.request_certificate(self.base, &token, &key, ProofStyle::Signature).await?;
        tell_certificate(&answer, asked.elapsed(), say)?;

        say.step("Check it as a stranger would, believing only the root and the log's key")?;
        let promise = self.check_certificate(&answer, say)?;
        let head = self.check_log(&http, &promise, say).await?;
        say.good(&format!(
            "the log kept it: entry {} is in the tree of {} that the log signed",
            promise.index.get(),
            entries(head.size),
        ))?;
        say.detail(&format!("root hash {}", head.root))
    }

    async fn token<W: Write + ?Sized>(
        &self,
        http: &Http,
        say: &mut Narrator<'_, W>,
    ) -> Result<Secret, DemoError> {
        let url = self.issuer.token_url(EMAIL);
        let url: Url = url.parse().map_err(|_| DemoError::Url { url: url.clone() })?;
        let token = Secret::new(http.fetch(url).await?);
        say.step("Sign in")?;
        say.detail(&format!("the identity provider says: this is {EMAIL}"))?;
        say.detail("It says so in a token, which is good for ten minutes.")?;
        Ok(token)
    }

    fn check_certificate<W: Write + ?Sized>(
        &self,
        answer: &Answer,
        say: &mut Narrator<'_, W>,
    ) -> Result<Promise, DemoError> {
        let now = self.clock.now();
        let parsed: Result<Vec<_>, _> =
            answer.ca_chain_der.iter().map(|der| Presented::parse(der)).collect();
        let above = parsed.map_err(|source| DemoError::Unreadable { source })?;
        let root = Presented::parse(self.home.root.der())
            .map_err(|source| DemoError::Unreadable { source })?;
        chain::verify(&answer.leaf, &above, &root, now)?;
        say.good("the chain holds: root, issuing CA, certificate; each signed the next")?;
        let issuer = above.first().ok_or(chain::ChainFault::Empty)?;
        let promise = sct::verify(&answer.leaf, issuer, &self.home.log_spki_der, now)?;
        say.good(&format!(
            "the log promised to publish it: entry {}, at {}, under the log's signature",
            promise.index.get(),
            promise.timestamp,
        ))?;
        if answer.leaf.identities() != [EMAIL] {
            return Err(DemoError::OtherIdentity { found: answer.leaf.identities().join(", ") });
        }
        Ok(promise)
    }

    async fn check_log<W: Write + ?Sized>(
        &self,
        http: &Http,
        promise: &Promise,
        say: &mut Narrator<'_, W>,
    ) -> Result<TreeHead, DemoError> {
        let log = KnownLog {
            origin: self.home.log_origin.clone(),
            spki_der: self.home.log_spki_der.clone(),
        };
        let fetch = async |path: String| {
            http.fetch(endpoint(self.base, &format!("{LOG_PREFIX}{path}"))).await
        };
        let head = inclusion::verify(promise, &log, fetch).await?;
        say.good(&format!("the log's checkpoint of {} is signed by the log", head.timestamp))?;
        Ok(head)
    }
}

fn tell_certificate<W: Write + ?Sized>(
    answer: &Answer,
    took: Duration,
    say: &mut Narrator<'_, W>,
) -> Result<(), DemoError> {
    let leaf = &answer.leaf;
    say.step("Send token, public key and proof; receive a certificate")?;
    say.detail(&format!("for      {}", leaf.identities().join(", ")))?;
    say.detail(&format!("says so  {}", leaf.oidc_issuer().unwrap_or_default()))?;
    say.detail(&format!("valid    {} to {}", leaf.not_before(), leaf.not_after()))?;
    say.detail(&format!("serial   {}", leaf.fields().serial_number()))?;
    say.detail(&format!(
        "It took {:.1} ms, its entry in the transparency log included.",
        took.as_secs_f64() * 1000.0
    ))
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// Who signs in at the demo.
pub(super) const EMAIL: &str = "you@example.com";
/// Below the CA's URL (docs/log.md).
pub(super) const LOG_PREFIX: &str = "/log/";
