use std::{io, path::PathBuf, sync::Arc};

use super::*;
use crate::{
    audit::AuditError,
    ca::CaError,
    identity::IdentityError,
    issue::Error,
    keys::SignError,
    log::{StopReason, tiles::TileStoreError},
    oidc::{FetchError, TokenError},
    policy::{ClientAlgorithms, Refusal},
    proof::ProofError,
    time::Timestamp,
    x509::{
        csr::CsrError,
        public_key::{ClientKeyAlgorithm, Hash, KeyError, SignatureScheme},
    },
};

/// Stands wherever an error can carry something of the inside.
const INTERNAL_VALUE: &str = "internal-value";

type Row = (u16, u8, &'static str, &'static str);

const TOKEN_TEXT: &str = "There was an error processing the identity token: ";

/// Every failure of the pipeline and what the world is told: status, code, label, text.
fn issue_table() -> Vec<(Error, Row)> {
    let mut rows = caller_rows();
    rows.extend(ca_rows());
    rows.extend(log_rows());
    rows.extend(own_rows());
    rows
}

#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
fn caller_rows() -> Vec<(Error, Row)> {
    let key = |error| Error::Proof(ProofError::Key(error));
    let csr = |error| Error::Proof(ProofError::Csr(error));
    let malformed = || KeyError::Malformed { fault: crate::x509::public_key::MalformedKey::Empty };
    let not_permitted = || KeyError::NotPermitted { kind: "DSA".to_owned() };
    let wrong = ProofError::WrongSignature { challenges: vec!["jane".to_owned()] };
    vec![
        (
            Error::TokenNotText,
            (400, 3, "token", "There was an error processing the identity token: it is not ASCII"),
        ),
        (
            Error::Token(TokenError::Expired { seconds_ago: 5 }),
            (
                400,
                3,
                "token",
                "There was an error processing the identity token: the token expired 5 s ago",
            ),
        ),
        (Error::Identity(IdentityError::DotSegment), (400, 3, "identity", TOKEN_TEXT)),
        (
            key(malformed()),
            (
                400,
                3,
                "key_unparsable",
                "The public key supplied in the request could not be parsed: it is empty",
            ),
        ),
        (
            key(KeyError::Weak { weakness: crate::x509::public_key::WeakKey::RsaEvenModulus }),
            (400, 3, "key_insecure", "The public key supplied in the request is insecure: "),
        ),
        (
            key(not_permitted()),
            (400, 3, "algorithm", "signing algorithm not permitted: DSA; permitted are at most"),
        ),
        (
            Error::Proof(ProofError::SignatureTooLong { bytes: 9000 }),
            (
                400,
                3,
                "proof",
                "The signature supplied in the request could not be verified: the signature has 9000",
            ),
        ),
        (
            Error::Proof(wrong),
            (
                400,
                3,
                "proof",
                "The signature supplied in the request could not be verified: it is not a signature by this key over 'jane'",
            ),
        ),
        (
            csr(CsrError::Der),
            (
                400,
                3,
                "csr_unparsable",
                "The certificate signing request could not be parsed: it is not a PKCS #10",
            ),
        ),
        (
            csr(CsrError::WrongSignature),
            (400, 3, "proof", "The signature supplied in the request could not be verified: "),
        ),
        (
            csr(CsrError::Key(not_permitted())),
            (400, 3, "algorithm", "signing algorithm not permitted: "),
        ),
        (
            Error::Refused(Refusal::Algorithm {
                key: ClientKeyAlgorithm::EcdsaP384,
                scheme: SignatureScheme::Ecdsa(Hash::Sha256),
                permitted: ClientAlgorithms::new(vec!["ed25519".parse().unwrap()]),
            }),
            (
                400,
                3,
                "algorithm",
                "signing algorithm not permitted: ECDSA P-384 with SHA-256; permitted are ed25519",
            ),
        ),
        (
            Error::Refused(Refusal::Rule {
                rule: "r1".to_owned(),
                message: "only main".to_owned(),
            }),
            (403, 7, "policy", "refused by policy rule 'r1': only main"),
        ),
        (Error::Overloaded, (429, 8, "overloaded", "too many requests are under way")),
    ]
}

fn ca_rows() -> Vec<(Error, Row)> {
    let key = || format!("file:/{INTERNAL_VALUE}/ca.pem");
    let source = || Some(Box::from(format!("connect 10.0.0.7 {INTERNAL_VALUE}")));
    let at = Timestamp::from_unix_seconds(1_800_000_000);
    let expiring = CaError::IssuerExpiring { valid_from: at, valid_until: at, now: at };
    let unavailable = SignError::Unavailable { key: key(), source: source() };
    let ca = (500, 13, "ca", "error communicating with CA backend");
    let row = |error: CaError| (Error::Ca(error), ca);
    let oid = crate::x509::leaf::SCT_LIST;
    vec![
        (
            Error::Ca(unavailable.into()),
            (
                503,
                14,
                "ca_unavailable",
                "error communicating with CA backend: the key did not sign",
            ),
        ),
        row(SignError::BadSignature { key: key() }.into()),
        row(SignError::Failed { key: key() }.into()),
        row(CaError::NoneActive),
        row(expiring),
        row(crate::x509::validity::TimeOutOfRange { unix_seconds: 1 }.into()),
        row(crate::ct::OutOfBounds { field: INTERNAL_VALUE, length_bytes: 1 }.into()),
        row(CaError::OtherEntry),
        row(CaError::NotAsLogged),
        row(crate::x509::lint::BrokenRule::Extension { name: INTERNAL_VALUE }.into()),
        row(crate::x509::leaf::LeafError::NotOnce { oid, count: 2 }.into()),
    ]
}

fn log_rows() -> Vec<(Error, Row)> {
    let storage = || crate::log::StopReason::Panicked { task: INTERNAL_VALUE };
    let sign = SignError::Failed { key: format!("file:/{INTERNAL_VALUE}/log.pem") };
    let unavailable = (
        503,
        14,
        "log_unavailable",
        "Error entering certificate in CTL: the log takes no entries now",
    );
    let row = |error: SubmitError| (Error::Log(error), unavailable);
    vec![
        row(SubmitError::Overloaded),
        row(SubmitError::Contended),
        row(SubmitError::ShuttingDown),
        row(SubmitError::Stopped(Arc::<StopReason>::new(storage()))),
        row(SubmitError::ClockJump { behind_ms: 20_000 }),
        row(SubmitError::Full),
        row(SubmitError::Sign(Arc::new(sign))),
        row(SubmitError::Tiles(Arc::new(TileStoreError::Differs {
            path: INTERNAL_VALUE.to_owned(),
        }))),
        (
            Error::Log(SubmitError::UnknownIssuer { fingerprint: INTERNAL_VALUE.to_owned() }),
            (500, 13, "log", "Error entering certificate in CTL"),
        ),
    ]
}

fn own_rows() -> Vec<(Error, Row)> {
    let path = || PathBuf::from(format!("/{INTERNAL_VALUE}/audit.jsonl"));
    let source = || io::Error::other(INTERNAL_VALUE);
    let audit = (503, 14, "audit", "the audit log takes no lines now");
    let unreachable = FetchError::Unreachable {
        url: format!("https://10.0.0.8/{INTERNAL_VALUE}"),
        reason: INTERNAL_VALUE.to_owned(),
    };
    vec![
        (
            Error::Token(TokenError::Unavailable { source: unreachable }),
            (
                503,
                14,
                "issuer_unavailable",
                "There was an error processing the identity token: the keys of the token's issuer could not be obtained",
            ),
        ),
        (Error::Token(TokenError::ReplayGuardFull), (503, 14, "issuer_unavailable", TOKEN_TEXT)),
        (
            Error::Identity(IdentityError::NoProfile { configured_as: INTERNAL_VALUE.to_owned() }),
            (500, 13, "internal", "internal error"),
        ),
        (Error::Audit(AuditError::Open { path: path(), source: source() }), audit),
        (Error::Audit(AuditError::NoFile { path: path() }), audit),
        (Error::Audit(AuditError::InUse { path: path() }), audit),
        (Error::Audit(AuditError::Write { path: path(), source: source() }), audit),
        (Error::Audit(AuditError::Broken { path: path() }), audit),
        (
            Error::Deadline { stage: Stage::Token },
            (
                503,
                14,
                "token_deadline",
                "There was an error processing the identity token: out of time while verifying",
            ),
        ),
        (
            Error::Deadline { stage: Stage::Signing },
            (
                503,
                14,
                "signing_deadline",
                "error communicating with CA backend: out of time while signing and logging",
            ),
        ),
        (Error::Randomness, (500, 13, "internal", "internal error")),
        (Error::Aborted, (500, 13, "internal", "internal error")),
    ]
}

/// A new variant does not compile here, and then is missing in the table.
fn variant(error: &Error) -> usize {
    match error {
        Error::Overloaded => 0,
        Error::TokenNotText => 1,
        Error::Token(_) => 2,
        Error::Identity(_) => 3,
        Error::Proof(_) => 4,
        Error::Refused(_) => 5,
        Error::Ca(_) => 6,
        Error::Log(_) => 7,
        Error::Audit(_) => 8,
        Error::Deadline { stage: Stage::Token } => 9,
        Error::Deadline { stage: Stage::Signing } => 10,
        Error::Randomness => 11,
        Error::Aborted => 12,
    }
}
const VARIANTS: usize = 13;

fn check(what: &str, status: &Status, (http, grpc, label, text): Row) {
    assert_eq!(status.http.as_u16(), http, "{what}");
    assert_eq!(status.grpc, grpc, "{what}");
    assert_eq!(status.label, label, "{what}");
    assert!(status.message.starts_with(text), "{what}: {}", status.message);
    assert!(!status.message.contains(INTERNAL_VALUE), "{what}: {}", status.message);
    let documented = include_str!("../../docs/api.md").lines().any(|line| {
        line.starts_with(&format!("| {http} | {grpc} |"))
            && line.ends_with(&format!("| `{label}` |"))
    });
    assert!(documented, "{what}: not in docs/api.md");
    // Ours alone never says more than which part failed.
    if http == 500 {
        assert_eq!(status.message, text, "{what}");
    }
}

#[test]
fn nt_05_every_failure_of_the_pipeline_has_its_status_code_label_and_text() {
    let mut seen = [false; VARIANTS];
    for (error, row) in issue_table() {
        seen[variant(&error)] = true;
        check(&format!("{error:?}"), &Status::from(&error), row);
    }
    assert_eq!(seen, [true; VARIANTS], "each variant stands in the table");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
fn every_malformed_request_has_its_status_code_label_and_text() {
    let body = |fault| Malformed::Body { fault, line: 3, column: 7 };
    let rows: Vec<(Malformed, Row)> = vec![
        (
            body(BodyFault::NotJson),
            (
                400,
                3,
                "malformed_body",
                "the request body is not as the API says: it is not JSON at line 3, column 7",
            ),
        ),
        (body(BodyFault::EndsEarly), (400, 3, "malformed_body", "the request body is not")),
        (body(BodyFault::Member), (400, 3, "malformed_body", "the request body is not")),
        (Malformed::NoToken, (400, 3, "token", TOKEN_TEXT)),
        (Malformed::NotBearer, (400, 3, "token", TOKEN_TEXT)),
        (
            Malformed::NoKey,
            (
                400,
                3,
                "key_unparsable",
                "The public key supplied in the request could not be parsed: neither",
            ),
        ),
        (Malformed::Overloaded, (429, 8, "overloaded", "too many requests are under way")),
        (
            Malformed::TooLarge { limit_bytes: 9 },
            (413, 8, "body_too_large", "the request body is larger than 9 bytes"),
        ),
        (
            Malformed::TooSlow { limit_ms: 9 },
            (408, 4, "body_too_slow", "the request body did not arrive within 9 ms"),
        ),
        (Malformed::Truncated, (400, 3, "body_truncated", "the request body ended early")),
        (
            Malformed::Encoded { encoding: "br".to_owned() },
            (415, 3, "content_encoding", "the Content-Encoding 'br' is not taken"),
        ),
        (
            Malformed::MessageEncoded { encoding: "gzip".to_owned() },
            (415, 12, "content_encoding", "the message encoding 'gzip' is not taken"),
        ),
        (Malformed::LogUnreadable, (503, 14, "log_unreadable", "the log cannot be read now")),
        (
            Malformed::Message { fault: MessageFault::Frame },
            (400, 3, "malformed_body", "the message is not as the API says: the body is not one"),
        ),
        (
            Malformed::Message { fault: MessageFault::Protobuf },
            (400, 3, "malformed_body", "the message is not as the API says: it is not protobuf"),
        ),
        (Malformed::UnknownMethod, (404, 12, "unknown_path", "this server has no such method")),
        (Malformed::UnknownService, (404, 5, "unknown_service", "this server has no such service")),
        (Malformed::UnknownPath, (404, 5, "unknown_path", "Not Found")),
        (Malformed::WrongMethod, (501, 12, "wrong_method", "Method Not Allowed")),
    ];
    let mut seen = [false; MALFORMED_VARIANTS];
    for (malformed, row) in rows {
        seen[malformed_variant(&malformed)] = true;
        check(&format!("{malformed:?}"), &Status::from(&malformed), row);
    }
    assert_eq!(seen, [true; MALFORMED_VARIANTS], "each variant stands in the table");
}

fn malformed_variant(malformed: &Malformed) -> usize {
    match malformed {
        Malformed::Body { fault: BodyFault::NotJson, .. } => 0,
        Malformed::Body { fault: BodyFault::EndsEarly, .. } => 1,
        Malformed::Body { fault: BodyFault::Member, .. } => 2,
        Malformed::NoToken => 3,
        Malformed::NotBearer => 4,
        Malformed::NoKey => 5,
        Malformed::Overloaded => 6,
        Malformed::TooLarge { .. } => 7,
        Malformed::TooSlow { .. } => 8,
        Malformed::Truncated => 9,
        Malformed::Encoded { .. } => 10,
        Malformed::LogUnreadable => 11,
        Malformed::UnknownPath => 12,
        Malformed::WrongMethod => 13,
        Malformed::Message { fault: MessageFault::Frame } => 14,
        Malformed::Message { fault: MessageFault::Protobuf } => 15,
        Malformed::UnknownMethod => 16,
        Malformed::UnknownService => 17,
        Malformed::MessageEncoded { .. } => 18,
    }
}
const MALFORMED_VARIANTS: usize = 19;

#[test]
fn only_overload_asks_to_come_again_at_once() {
    for (error, (http, ..)) in issue_table() {
        assert_eq!(Status::from(&error).is_overload(), http == 429);
    }
}
