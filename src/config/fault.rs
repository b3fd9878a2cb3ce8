use std::{fmt, path::PathBuf};

use crate::{
    identity::{
        IssuerClaimError, IssuerType, SanTemplateError, TemplateError, TrustDomainError,
        UriOriginError,
    },
    keys::KeyUriError,
    oidc::IssuerTableError,
    policy::ClientAlgorithmError,
    time::InvalidTimestamp,
    x509::{certificate::CertificateError, names::NameError},
};

/// Every mistake of a configuration, never an empty list. `Display` has one line for each:
/// `file:line:column: what is wrong - what may have been meant`.
#[derive(Debug)]
pub struct ConfigErrors {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) files: Vec<PathBuf>,
}

impl ConfigErrors {
    /// In the order in which they were found, which is the order of the files.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Every file that was read, or was to be: a change in one of them may mend it.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One mistake and where it stands.
#[derive(Debug)]
pub struct Mistake {
    /// The file it stands in, as it was named.
    pub file: PathBuf,
    /// Where in the file; `None` if the file could not be read.
    pub at: Option<Position>,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column }) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// A place in a file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// ` - did you mean 'x'?`, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion(pub(super) Option<String>);

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(meant) => write!(f, " - did you mean '{meant}'?"),
            None => Ok(()),
        }
    }
}

/// An error and what caused it on one line, as a list of mistakes needs it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("cannot be read: {source}")]
    Unreadable { source: std::io::Error },
    #[error("'{}' cannot be read: {source}", path.display())]
    UnreadablePart { path: PathBuf, source: std::io::Error },
    #[error("is larger than {limit_bytes} bytes")]
    FileTooLarge { limit_bytes: usize },
    #[error("the file is empty")]
    Empty,
    #[error("is not text in UTF-8")]
    NotUtf8,
    #[error("not YAML: {problem}")]
    Syntax { problem: String },
    #[error("a second document ('---') in one file")]
    SecondDocument,
    #[error("nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("more than {limit} values, those behind an alias counted wherever it stands")]
    TooManyValues { limit: usize },
    #[error("'*{anchor}' names no anchor '&{anchor}' above it")]
    UnknownAnchor { anchor: String },
    #[error("the tag '{tag}' is not supported")]
    Tag { tag: String },
    #[error("the merge key '<<' is not supported: write the entries out")]
    MergeKey,
    #[error("a key must be text")]
    KeyNotText,
    #[error("the key '{key}' stands here a second time, first in line {first_line}")]
    DuplicateKey { key: String, first_line: usize },
    #[error("unknown key '{key}' in {place}{suggestion}")]
    UnknownKey { key: String, place: &'static str, suggestion: Suggestion },
    #[error("{place} needs the key '{key}'{hint}")]
    MissingKey { place: &'static str, key: &'static str, hint: &'static str },
    #[error("'{key}' must be {expected}")]
    Expected { key: String, expected: &'static str },
    #[error("'{key}' is '{text}', which is not {expected}{suggestion}")]
    NotOneOf { key: String, text: String, expected: &'static str, suggestion: Suggestion },
    #[error("'{key}' is out of range: {range}")]
    OutOfRange { key: String, range: String },
    #[error("{what} is not built in this version of mayfly")]
    NotBuilt { what: &'static str },
    #[error("'{key}' is not a time: {source}")]
    Time { key: &'static str, source: InvalidTimestamp },
    #[error("'retire' is not after 'activate'")]
    RetiredBeforeActive,
    #[error("key: {source}")]
    Key { source: KeyUriError },
    #[error("'{key}' lists '{item}' a second time, first in line {first_line}")]
    ListedTwice { key: &'static str, item: String, first_line: usize },
    #[error("'{name}' cannot be permitted: {source}")]
    ClientAlgorithm { name: String, source: ClientAlgorithmError },
    #[error("'{key}' is the key of two entries; the first is in line {first_line}")]
    KeyUsedTwice { key: String, first_line: usize },
    #[error("a development key, which everyone has; make your own, or start with --dev")]
    DevelopmentKey,
    #[error("the certificates in '{}' cannot be used: {}", path.display(), with_causes(source))]
    Chain { path: PathBuf, source: CertificateError },
    #[error("'{}' holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("'{key}' is not a URL that can stand here: {reason}")]
    Url { key: String, reason: UrlFault },
    #[error("'issuer-url' is '{url}', but the entry is for '{key}'; they must be equal")]
    IssuerUrlDiffers { url: String, key: String },
    #[error("no issuer is configured, so nobody could ever get a certificate")]
    NoIssuer,
    #[error("{}", with_causes(source))]
    IssuerTable { source: IssuerTableError },
    #[error("an issuer of type '{kind}' cannot have '{key}'")]
    KeyNotForType { key: &'static str, kind: IssuerType },
    #[error("a meta-issuer cannot have '{key}': {reason}")]
    KeyNotForPattern { key: &'static str, reason: &'static str },
    #[error("a meta-issuer of type 'spiffe' would let many issuers speak for one trust domain")]
    SpiffePattern,
    #[error("'ci-provider' is '{name}', but ci-issuer-metadata has no such entry{suggestion}")]
    UnknownProvider { name: String, suggestion: Suggestion },
    #[error("'subject-domain' is no origin such as https://example.com: {source}")]
    SubjectOrigin { source: UriOriginError },
    #[error("'subject-domain' is no host name such as example.com: {source}")]
    SubjectHost { source: NameError },
    #[error("'subject-domain' is {subject}, which the issuer cannot speak for: {reason}")]
    SubjectDomain { subject: String, reason: DomainFault },
    #[error("'spiffe-trust-domain': {source}")]
    TrustDomain { source: TrustDomainError },
    #[error("issuer-claim: {source}")]
    IssuerClaim { source: IssuerClaimError },
    #[error("template: {source}")]
    Template { source: TemplateError },
    #[error("template: {source}")]
    SanTemplate { source: SanTemplateError },
    #[error("'ca-cert' holds no certificate in PEM")]
    CaCert,
    #[error("'jwks' is not a JSON object with a member 'keys'")]
    KeySet,
    #[error("'{first}' and '{second}' contradict each other")]
    Contradiction { first: &'static str, second: &'static str },
}

/// Why an issuer cannot speak for a domain.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DomainFault {
    #[error("its scheme is not the issuer's")]
    Scheme,
    #[error("it shares no more of its end with the issuer's host than anyone may register")]
    Host,
}

/// What is wrong with a URL or a pattern.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlFault {
    #[error("it is not an absolute URL")]
    NotAbsolute,
    #[error("it must begin with https:// (http:// only for this machine)")]
    NotHttps,
    #[error("it must begin with https:// (http:// only for this machine, or with allow-http)")]
    NotHttpsIssuer,
    #[error("it contains user information")]
    UserInfo,
    #[error("it contains a query or a fragment")]
    QueryOrFragment,
    #[error("it contains a path, which some clients would drop")]
    Path,
    #[error("it is not written in its normal form: lower-case host, no default port, no '..'")]
    NotNormal,
    #[error("it contains '*'; patterns belong under meta-issuers")]
    Wildcard,
    #[error("it contains no '*'; issuers without one belong under oidc-issuers")]
    NoWildcard,
    #[error("'*' cannot stand in the scheme or the port")]
    WildcardPlace,
    #[error("'*' cannot stand in the part of the host that anyone may register")]
    WildcardRegistrable,
    #[error("'*' needs a host name with a domain, not an address or a single word")]
    WildcardHost,
}
