//! What the world is told of each failure: HTTP status, gRPC code, text, and a label.
//!
//! In: an [`issue::Error`] or a [`Malformed`] request. Out: a [`Status`]. One exhaustive match for
//! all protocols. The text begins with the reference's own words, which clients' tests match,
//! then a colon and the reason that concerns the caller's own input. Of our own failures it says
//! only which part failed: the cause goes to the process's log.

use http::StatusCode;

use crate::{
    identity::IdentityError,
    issue::{self, Stage},
    log::SubmitError,
    policy::Refusal,
    proof::{ProofError, ProofFault},
};

/// One answer to a failed request, in every protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The HTTP status.
    pub http: StatusCode,
    /// The gRPC status code (`google.rpc.Code`), which the JSON body carries too.
    pub grpc: u8,
    /// What the caller reads.
    pub message: String,
    /// A name from a closed set, for metrics and log lines (NT-61).
    pub label: &'static str,
}

impl Status {
    /// Whether the caller may try the same request again in a moment.
    pub fn is_overload(&self) -> bool {
        self.http == StatusCode::TOO_MANY_REQUESTS
    }
}

/// A request that is answered without an [`issue::Request`].
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The body is no JSON object of the API's form.
    #[error("the request body is not as the API says: {fault} at line {line}, column {column}")]
    Body {
        /// What is wrong.
        fault: BodyFault,
        /// Where, from 1.
        line: usize,
        /// Where in that line, from 1.
        column: usize,
    },
    /// Bodies take up all the room there is for them.
    #[error("too many requests are under way")]
    Overloaded,
    /// Neither body nor header carries a token.
    #[error(
        "no token was given: put it into credentials.oidcIdentityToken or an Authorization \
         header with the scheme Bearer"
    )]
    NoToken,
    /// The `Authorization` header is of another scheme.
    #[error("the Authorization header is not of the form 'Bearer TOKEN'")]
    NotBearer,
    /// Neither key nor CSR.
    #[error("neither a public key nor a certificate signing request was given")]
    NoKey,
    /// The body of a gRPC call is not the method's message.
    #[error("the message is not as the API says: {fault}")]
    Message {
        /// What is wrong.
        fault: MessageFault,
    },
    /// The body is larger than the limit.
    #[error("the request body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit in effect.
        limit_bytes: usize,
    },
    /// The body did not arrive in time.
    #[error("the request body did not arrive within {limit_ms} ms")]
    TooSlow {
        /// The limit in effect.
        limit_ms: u128,
    },
    /// The connection ended within the body.
    #[error("the request body ended early")]
    Truncated,
    /// A gRPC message that says that it is compressed, which is not taken either. "Compression" of
    /// the gRPC specification: UNIMPLEMENTED, and the answer names what is taken.
    #[error("the message encoding '{encoding}' is not taken: send messages as they are")]
    MessageEncoded {
        /// What the call named.
        encoding: String,
    },
    /// Compressed bodies are not taken (NT-04): what they unpack to has no bound.
    #[error("the Content-Encoding '{encoding}' is not taken: send the body as it is")]
    Encoded {
        /// What the request named.
        encoding: String,
    },
    /// The log's store does not give what it should have.
    #[error("the log cannot be read now")]
    LogUnreadable,
    /// No such path.
    #[error("Not Found")]
    UnknownPath,
    /// gRPC has a code of its own for a path that is not served.
    #[error("this server has no such method")]
    UnknownMethod,
    /// The health of a service that is not served was asked for.
    #[error("this server has no such service")]
    UnknownService,
    /// The path is served, but not for this method.
    #[error("Method Not Allowed")]
    WrongMethod,
}

/// What is wrong with a request's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// No JSON at all.
    #[error("it is not JSON")]
    NotJson,
    /// JSON, as far as it goes.
    #[error("it ends too early")]
    EndsEarly,
    /// JSON of another shape.
    #[error("a member is of the wrong type, stands there twice, or is not base64")]
    Member,
}

/// What is wrong with the body of a gRPC call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    #[error("the body is not one message behind its length")]
    Frame,
    #[error("it is not protobuf of this method's type")]
    Protobuf,
}

impl From<&Malformed> for Status {
    fn from(malformed: &Malformed) -> Self {
        let reason = malformed.to_string();
        let (http, grpc, message, label) = match malformed {
            Malformed::Body { .. } => (400, INVALID_ARGUMENT, reason, "malformed_body"),
            Malformed::Overloaded => (429, RESOURCE_EXHAUSTED, reason, "overloaded"),
            Malformed::NoToken | Malformed::NotBearer => {
                (400, INVALID_ARGUMENT, explain(TOKEN, &reason), "token")
            }
            Malformed::NoKey => (400, INVALID_ARGUMENT, explain(KEY, &reason), "key_unparsable"),
            Malformed::Message { .. } => (400, INVALID_ARGUMENT, reason, "malformed_body"),
            Malformed::TooLarge { .. } => (413, RESOURCE_EXHAUSTED, reason, "body_too_large"),
            Malformed::TooSlow { .. } => (408, DEADLINE_EXCEEDED, reason, "body_too_slow"),
            Malformed::Truncated => (400, INVALID_ARGUMENT, reason, "body_truncated"),
            Malformed::Encoded { .. } => (415, INVALID_ARGUMENT, reason, "content_encoding"),
            Malformed::MessageEncoded { .. } => (415, UNIMPLEMENTED, reason, "content_encoding"),
            Malformed::LogUnreadable => (503, UNAVAILABLE, reason, "log_unreadable"),
            Malformed::UnknownPath => (404, NOT_FOUND, reason, "unknown_path"),
            Malformed::UnknownMethod => (404, UNIMPLEMENTED, reason, "unknown_path"),
            Malformed::UnknownService => (404, NOT_FOUND, reason, "unknown_service"),
            Malformed::WrongMethod => (501, UNIMPLEMENTED, reason, "wrong_method"),
        };
        Self::new(http, grpc, message, label)
    }
}

impl From<&issue::Error> for Status {
    fn from(error: &issue::Error) -> Self {
        use issue::Error;
        let (http, grpc, message, label) = match error {
            Error::Overloaded => (429, RESOURCE_EXHAUSTED, error.to_string(), "overloaded"),
            Error::TokenNotText => {
                (400, INVALID_ARGUMENT, explain(TOKEN, "it is not ASCII text"), "token")
            }
            Error::Token(cause) if cause.is_unavailable() => {
                (503, UNAVAILABLE, explain(TOKEN, &cause.to_string()), "issuer_unavailable")
            }
            Error::Token(cause) => {
                (400, INVALID_ARGUMENT, explain(TOKEN, &cause.to_string()), "token")
            }
            Error::Identity(IdentityError::NoProfile { .. }) => {
                (500, INTERNAL, INTERNAL_TEXT.to_owned(), "internal")
            }
            Error::Identity(cause) => {
                (400, INVALID_ARGUMENT, explain(TOKEN, &cause.to_string()), "identity")
            }
            Error::Proof(cause) => return proof_status(cause),
            Error::Refused(refusal @ Refusal::Algorithm { .. }) => {
                (400, INVALID_ARGUMENT, explain(ALGORITHM, &refusal.to_string()), "algorithm")
            }
            Error::Refused(refusal @ Refusal::Rule { .. }) => {
                (403, PERMISSION_DENIED, refusal.to_string(), "policy")
            }
            Error::Ca(cause) if cause.is_unavailable() => {
                (503, UNAVAILABLE, explain(CA, "the key did not sign"), "ca_unavailable")
            }
            Error::Ca(_) => (500, INTERNAL, CA.to_owned(), "ca"),
            Error::Log(SubmitError::UnknownIssuer { .. }) => (500, INTERNAL, LOG.to_owned(), "log"),
            Error::Log(_) => {
                (503, UNAVAILABLE, explain(LOG, "the log takes no entries now"), "log_unavailable")
            }
            Error::Audit(_) => {
                (503, UNAVAILABLE, "the audit log takes no lines now".to_owned(), "audit")
            }
            Error::Deadline { stage: Stage::Token } => {
                (503, UNAVAILABLE, explain(TOKEN, &error.to_string()), "token_deadline")
            }
            Error::Deadline { stage: Stage::Signing } => {
                (503, UNAVAILABLE, explain(CA, &error.to_string()), "signing_deadline")
            }
            Error::Randomness | Error::Aborted => {
                (500, INTERNAL, INTERNAL_TEXT.to_owned(), "internal")
            }
        };
        Self::new(http, grpc, message, label)
    }
}

/// A key or proof is the caller's alone: all are 400, and the text says which step refused it.
fn proof_status(cause: &ProofError) -> Status {
    let (upstream_text, label) = match cause.fault() {
        ProofFault::KeyMalformed => (KEY, "key_unparsable"),
        ProofFault::KeyInsecure => (KEY_INSECURE, "key_insecure"),
        ProofFault::AlgorithmNotPermitted => (ALGORITHM, "algorithm"),
        ProofFault::SignatureWrong => (PROOF, "proof"),
        ProofFault::CsrMalformed => (CSR, "csr_unparsable"),
    };
    Status::new(400, INVALID_ARGUMENT, explain(upstream_text, &cause.to_string()), label)
}

impl Status {
    fn new(http: u16, grpc: u8, message: String, label: &'static str) -> Self {
        // Every number above is a valid status; a test walks through all of them.
        let http = StatusCode::from_u16(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { http, grpc, message, label }
    }
}

fn explain(upstream_text: &str, reason: &str) -> String {
    format!("{upstream_text}: {reason}")
}

// The reference's texts, which clients match.
const TOKEN: &str = "There was an error processing the identity token";
const KEY: &str = "The public key supplied in the request could not be parsed";
const KEY_INSECURE: &str = "The public key supplied in the request is insecure";
const PROOF: &str = "The signature supplied in the request could not be verified";
const CSR: &str = "The certificate signing request could not be parsed";
const ALGORITHM: &str = "signing algorithm not permitted";
const CA: &str = "error communicating with CA backend";
const INTERNAL_TEXT: &str = "internal error";
const LOG: &str = "Error entering certificate in CTL";

// google.rpc.Code
const INVALID_ARGUMENT: u8 = 3;
const DEADLINE_EXCEEDED: u8 = 4;
const NOT_FOUND: u8 = 5;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
