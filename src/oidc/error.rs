//! Why a token was refused.
//!
//! In: facts. Out: texts for the caller, labels for metrics. Knows nothing of HTTP status codes.

use std::fmt;

use super::algorithm::TokenAlgorithm;
use super::source::FetchError;

/// Why a token was not verified. Every text names the fault in the caller's own token; none
/// repeats the token, its payload or anything of ours.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Longer than [`super::MAX_TOKEN_BYTES`].
    #[error("the token is {bytes} bytes long, more than the {max} that are read")]
    TooLong { bytes: usize, max: usize },
    /// A JWE, a JSON serialisation, or no token at all.
    #[error("the token is not a signed JWT: it must be three parts with two dots between them")]
    NotThreeParts,
    /// A part is not base64url without padding (RFC 7515, section 2).
    #[error("the token's {part} is not base64url without padding")]
    Base64 { part: TokenPart },
    /// Header or payload is not a JSON object as we take them.
    #[error("the token's {part} {fault}")]
    Json { part: TokenPart, fault: JsonFault },
    /// A header member that changes what the signature means, and which we do not implement.
    #[error("the token's header contains '{member}', which is not supported")]
    HeaderMember { member: &'static str },
    /// `alg`, `typ` or `kid` is not of the type or form that RFC 7515 gives it.
    #[error("the token's header member '{member}' must be {expected}")]
    HeaderValue { member: &'static str, expected: &'static str },
    /// `none`, HMAC, or an algorithm that nobody knows.
    #[error("the token's 'alg' is not one of {}", TokenAlgorithm::NAMES)]
    UnsupportedAlgorithm,
    /// A claim that must be there is not.
    #[error("the token has no '{claim}' claim")]
    ClaimMissing { claim: &'static str },
    /// A claim is of the wrong JSON type, or empty.
    #[error("the token's '{claim}' claim must be {expected}")]
    ClaimValue { claim: &'static str, expected: &'static str },
    /// No issuer of that exact text is configured.
    #[error("the token's issuer '{issuer}' is not one that this service accepts")]
    UnknownIssuer {
        /// `iss`, cut short, in printable ASCII.
        issuer: String,
    },
    /// `aud` does not contain the client id.
    #[error("the token's 'aud' claim does not contain '{expected}'")]
    Audience { expected: String },
    /// `exp` has come. There is no leeway.
    #[error("the token expired {seconds_ago} s ago")]
    Expired { seconds_ago: u64 },
    /// `nbf` is further ahead than clocks differ.
    #[error("the token is not valid before {seconds_ahead} s from now")]
    NotYetValid { seconds_ahead: u64 },
    /// `iat` is further ahead than clocks differ.
    #[error("the token was issued {seconds_ahead} s in the future")]
    IssuedInFuture { seconds_ahead: u64 },
    /// Older than the issuer's `max_age_seconds`.
    #[error("the token was issued {age_seconds} s ago; at most {max_age_seconds} s are accepted")]
    TooOld { age_seconds: u64, max_age_seconds: u64 },
    /// `exp` is further ahead than any identity token should be good for.
    #[error("the token expires {seconds_ahead} s from now; at most {max_seconds} s are accepted")]
    LivesTooLong { seconds_ahead: u64, max_seconds: u64 },
    /// The issuer does not advertise that algorithm.
    #[error("the token is signed with {algorithm}, which its issuer does not advertise")]
    AlgorithmNotAdvertised { algorithm: TokenAlgorithm },
    /// The issuer has no such key, or none that fits the algorithm.
    #[error(
        "the token's issuer has no {algorithm} key that the token's 'kid' names, or the token names \
         none and they are too many to try"
    )]
    NoSuchKey { algorithm: TokenAlgorithm },
    /// Not signed by that key, or not these bytes.
    #[error("the token's signature does not verify")]
    Signature,
    /// The replay guard has seen this token before.
    #[error("the token was used before, and its issuer's tokens are accepted once only")]
    Replayed,
    /// The replay guard remembers as many tokens as it may. Nobody's fault but ours.
    #[error("too many tokens of this issuer are in use; try again later")]
    ReplayGuardFull,
    /// We have no usable keys of this issuer and could not get them: not the caller's fault.
    #[error("the keys of the token's issuer could not be obtained; try again later")]
    Unavailable {
        #[source]
        source: FetchError,
    },
}

impl TokenError {
    /// Whether the same token may well be accepted later (503), or is at fault itself (400).
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::ReplayGuardFull => true,
            Self::TooLong { .. }
            | Self::NotThreeParts
            | Self::Base64 { .. }
            | Self::Json { .. }
            | Self::HeaderMember { .. }
            | Self::HeaderValue { .. }
            | Self::UnsupportedAlgorithm
            | Self::ClaimMissing { .. }
            | Self::ClaimValue { .. }
            | Self::UnknownIssuer { .. }
            | Self::Audience { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::IssuedInFuture { .. }
            | Self::TooOld { .. }
            | Self::LivesTooLong { .. }
            | Self::AlgorithmNotAdvertised { .. }
            | Self::NoSuchKey { .. }
            | Self::Signature
            | Self::Replayed => false,
        }
    }

    /// One word from a closed set, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "token_too_long",
            Self::NotThreeParts => "token_not_three_parts",
            Self::Base64 { .. } => "token_base64",
            Self::Json { .. } => "token_json",
            Self::HeaderMember { .. } | Self::HeaderValue { .. } => "token_header",
            Self::UnsupportedAlgorithm => "token_algorithm_unsupported",
            Self::ClaimMissing { .. } => "token_claim_missing",
            Self::ClaimValue { .. } => "token_claim_value",
            Self::UnknownIssuer { .. } => "token_issuer_unknown",
            Self::Audience { .. } => "token_audience",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::IssuedInFuture { .. } => "token_issued_in_future",
            Self::TooOld { .. } => "token_too_old",
            Self::LivesTooLong { .. } => "token_lives_too_long",
            Self::AlgorithmNotAdvertised { .. } => "token_algorithm_not_advertised",
            Self::NoSuchKey { .. } => "token_no_such_key",
            Self::Signature => "token_signature",
            Self::Replayed => "token_replayed",
            Self::ReplayGuardFull => "token_replay_guard_full",
            Self::Unavailable { .. } => "token_issuer_unavailable",
        }
    }
}

/// A part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPart {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

impl fmt::Display for TokenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// What is wrong with a piece of JSON. Reads on after "the token's header".
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum JsonFault {
    /// Not JSON, or not only JSON.
    #[error("is not valid JSON")]
    Syntax,
    /// Some other JSON value.
    #[error("is not a JSON object")]
    NotAnObject,
    /// A name that stands twice in one object.
    #[error("contains the same name twice in one object")]
    DuplicateKey,
    /// More levels than we read.
    #[error("is nested too deeply")]
    TooDeep,
    /// More values than we read.
    #[error("contains too many values")]
    TooManyValues,
}
