//! Mayfly: a short-lived certificate authority, from an OIDC token to a logged certificate.
//!
//! # The flow, held by types
//!
//! ```text
//! token text            --oidc::IssuerTable::verify-->  VerifiedToken
//! VerifiedToken         --identity::Profiles::derive--> Identity      one SAN, Fulcio extensions, challenges
//! key + proof | CSR     --proof::check(&Identity)-->    ProvenKey
//! Identity + ProvenKey  --policy::Policy::decide-->     Approved      or a Refusal
//! Approved + now+serial --ca::Issuer::precertify-->     Precert       consumes Approved, keeps the issuer
//! its log entry         --log::Log::submit-->           LoggedSct     committed first, then signed and verified
//! Precert + LoggedSct   --ca::Precert::finish-->        Issued        compared with what was logged
//! Issued                --api-->                        the answer
//! ```
//!
//! Fields are private and each of these types has exactly one maker, so that "authenticated",
//! "possessed", "allowed" and "logged" are facts of the type. [`issue`] is the page on which all of
//! it can be read; begin there.
//!
//! # The layers
//!
//! A module uses only what stands below it; `tests/layering.rs` fails otherwise.
//!
//! | layer | modules | they turn |
//! | --- | --- | --- |
//! | 10 | [`cli`] | a command line into one of the calls below |
//! | 9 | [`serve`] | a configuration into a running service; the only composition root |
//! | 8 | [`config`] | files into values |
//! | 7 | [`api`] | bytes into requests, and certificates or errors into bytes |
//! | 6 | [`issue`], [`trust`] | a request into a certificate; chains and keys into trust documents |
//! | 5 | [`ca`] | what was approved into a precertificate, and that into a certificate |
//! | 4 | [`policy`] | an identity and a key into an approval |
//! | 3 | [`proof`], [`log`] | a signature into a proven key; an entry into a promise that was kept |
//! | 2 | [`identity`], [`keys`] | a verified token into an identity; a key URI into a signer |
//! | 1 | [`oidc`], [`x509`] | token text into a verified token; values into DER and back |
//! | 0 | [`ct`], [`tlog`], [`audit`], [`telemetry`], [`files`], [`time`], [`secret`] | the bytes of RFC 6962; hashes into trees |
//!
//! Traits stand only where the outside begins: [`keys::Signer`], [`oidc::KeySource`],
//! [`log::coordinator::Coordinator`], [`log::tiles::TileStore`] and [`time::Clock`].
//!
//! # What each store is trusted with
//!
//! The log's database holds the one head of the log; its tiles, and everything else, can be made
//! again from committed entries and are checked when they are read back. The audit log must take a
//! line before anything is signed. Keys are read once, at start. `docs/security-model.md` says what
//! an attacker gains who holds one of them.

pub mod api;
pub mod audit;
pub mod ca;
pub mod cli;
pub mod config;
pub mod ct;
pub mod files;
pub mod identity;
pub mod issue;
pub mod keys;
pub mod log;
pub mod oidc;
pub mod policy;
pub mod proof;
pub mod secret;
pub mod serve;
pub mod telemetry;
pub mod time;
pub mod tlog;
pub mod trust;
pub mod x509;
