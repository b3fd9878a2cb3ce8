//! One entry of `oidc-issuers` or `meta-issuers`.

use std::path::Path;

use super::{Issuer, metadata::Providers, names};
use crate::{
    config::{
        DomainFault, Fault, Position,
        document::{Key, Node},
        fields::{Fields, Located, Mistakes, Spelling, closest, items_of, text_of},
        read_bounded,
    },
    identity::{
        Email, FixedCi, IssuerClaim, IssuerType, Profile, PublishedIssuer, PublishedName, Spiffe,
        Uri, Username,
    },
    oidc::{IssuerSettings, KeyOrigin},
    x509::Certificate,
};

/// Under which of the two tables an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// `oidc-issuers`: one issuer, by its URL.
    Listed,
    /// `meta-issuers`: a pattern of issuers.
    Pattern,
}

/// `None` if anything is missing; what and why is among the mistakes.
pub(super) fn read(
    entry: Entry,
    name: &Key,
    node: &Node,
    providers: &Providers,
    mistakes: &mut Mistakes,
) -> Option<Issuer> {
    let fields = Fields::of(node, "an issuer", Spelling::KebabOrPascal, mistakes)?;
    let mut reader = Reader { entry, name, fields, mistakes };
    reader.issuer_url();
    let settings = reader.settings();
    let kind = reader.kind();
    let challenge = reader.challenge();
    let facts = kind.and_then(|kind| reader.facts(kind, providers));
    // For people, and for the tools that choose which issuers to deploy: of no effect here.
    for key in ["description", "contact", "environment"] {
        reader.fields.text(key, reader.mistakes);
    }
    reader.refuse_rest(kind);
    let (kind, settings, facts) = (kind?, settings?, facts?);
    let published = PublishedIssuer {
        name: match entry {
            Entry::Listed => PublishedName::Url(name.text.clone()),
            Entry::Pattern => PublishedName::Wildcard(name.text.clone()),
        },
        audience: settings.client_id.clone(),
        challenge_claim: challenge.unwrap_or_else(|| kind.default_challenge_claim().to_owned()),
        spiffe_trust_domain: facts.spiffe_trust_domain,
        issuer_type: kind,
        subject_domain: facts.subject_domain,
        skip_email_verification: facts.skip_email_verification,
    };
    Some(Issuer { at: name.at, settings, published, profile: facts.profile })
}

struct Reader<'a> {
    entry: Entry,
    name: &'a Key,
    fields: Fields,
    mistakes: &'a mut Mistakes,
}

/// What the fields of one type come to.
struct Facts {
    profile: Profile,
    spiffe_trust_domain: String,
    subject_domain: String,
    skip_email_verification: bool,
}

impl Facts {
    fn of(profile: Profile) -> Self {
        let (spiffe_trust_domain, subject_domain) = (String::new(), String::new());
        Self { profile, spiffe_trust_domain, subject_domain, skip_email_verification: false }
    }

    fn of_fixed(provider: FixedCi) -> Self {
        Self::of(Profile::FixedCi(provider))
    }
}

impl Reader<'_> {
    /// The URL stands twice in Fulcio's format, as key and as value: never with two meanings.
    fn issuer_url(&mut self) {
        let url = match self.entry {
            Entry::Listed => self.fields.required_text("issuer-url", self.mistakes),
            Entry::Pattern => self.fields.text("issuer-url", self.mistakes),
        };
        if let Some(Located { at, value: url }) = url
            && url != self.name.text
        {
            let key = self.name.text.clone();
            self.mistakes.add(at, Fault::IssuerUrlDiffers { url, key });
        }
    }

    fn settings(&mut self) -> Option<IssuerSettings> {
        let client_id = self.fields.required_text("client-id", self.mistakes);
        self.only_listed("allow-http", "a pattern is always https");
        let allow_http = self.fields.truth("allow-http", self.mistakes).unwrap_or(false);
        let checked = match self.entry {
            Entry::Listed => names::check_url(&self.name.text, allow_http),
            Entry::Pattern => names::check_pattern(&self.name.text),
        };
        if let Err(reason) = checked {
            self.mistakes.add(self.name.at, Fault::Url { key: self.name.text.clone(), reason });
        }
        let keys = self.keys();
        let allowed_key_origins = self.key_origins(allow_http);
        let max_age_seconds = self.max_token_age();
        let replay_guard = self.fields.truth("replay-guard", self.mistakes).unwrap_or(false);
        Some(IssuerSettings {
            name: self.name.text.clone(),
            client_id: client_id?.value,
            keys: keys?,
            allow_http,
            allowed_key_origins,
            max_age_seconds,
            replay_guard,
        })
    }

    fn keys(&mut self) -> Option<KeyOrigin> {
        self.only_listed("jwks", "one key set cannot be that of many issuers");
        let jwks = self.fields.text("jwks", self.mistakes);
        let ca_cert = self.fields.text("ca-cert", self.mistakes);
        match (jwks, ca_cert) {
            (Some(Located { at, .. }), Some(_)) => {
                let (first, second) = ("jwks", "ca-cert");
                self.mistakes.add(at, Fault::Contradiction { first, second });
                None
            }
            (Some(Located { at, value }), None) => {
                let read = self.key_set(value);
                let jwks_json = self.mistakes.keep(at, read)?;
                Some(KeyOrigin::Static { jwks_json })
            }
            (None, Some(Located { at, value })) => {
                let pem = value.into_bytes();
                let holds_some =
                    Certificate::parse_pem_chain(&pem).is_ok_and(|chain| !chain.is_empty());
                let checked = if holds_some { Ok(pem) } else { Err(Fault::CaCert) };
                let ca_cert_pem = Some(self.mistakes.keep(at, checked)?);
                Some(KeyOrigin::Discovery { ca_cert_pem })
            }
            (None, None) => Some(KeyOrigin::Discovery { ca_cert_pem: None }),
        }
    }

    /// A JWKS document, or the path of one. What its keys are good for is for `oidc` to say.
    fn key_set(&mut self, text: String) -> Result<Vec<u8>, Fault> {
        let json = if text.trim_start().starts_with('{') {
            text.into_bytes()
        } else {
            let path = self.mistakes.file().parent().unwrap_or(Path::new("")).join(text);
            self.mistakes.depend_on([path.clone()]);
            read_bounded(&path).map_err(|source| Fault::UnreadablePart { path, source })?
        };
        let document: serde_json::Value =
            serde_json::from_slice(&json).map_err(|_| Fault::KeySet)?;
        if document.get("keys").is_none_or(|keys| !keys.is_array()) {
            return Err(Fault::KeySet);
        }
        Ok(json)
    }

    fn key_origins(&mut self, allow_http: bool) -> Vec<String> {
        let Some(node) = self.fields.take("key-origins", self.mistakes) else {
            return Vec::new();
        };
        let items = items_of("key-origins", &node, self.mistakes).unwrap_or_default();
        let mut origins = Vec::new();
        for item in items {
            let Some(origin) = text_of("key-origins", &item, self.mistakes) else {
                continue;
            };
            let checked = names::check_origin(&origin.value, allow_http)
                .map_err(|reason| Fault::Url { key: origin.value.clone(), reason });
            self.mistakes.keep(origin.at, checked);
            origins.push(origin.value);
        }
        origins
    }

    fn max_token_age(&mut self) -> Option<u64> {
        let age = self.fields.duration_ms("max-token-age", self.mistakes)?;
        if !(1000..=MAX_TOKEN_AGE_MS).contains(&age.value) || !age.value.is_multiple_of(1000) {
            let range = "whole seconds, 1s to 24h".to_owned();
            let key = "max-token-age".to_owned();
            self.mistakes.add(age.at, Fault::OutOfRange { key, range });
        }
        Some(age.value / 1000)
    }

    fn only_listed(&mut self, key: &'static str, reason: &'static str) {
        if self.entry == Entry::Pattern && self.fields.has(key) {
            let at = self.fields.at();
            self.mistakes.add(at, Fault::KeyNotForPattern { key, reason });
        }
    }

    fn kind(&mut self) -> Option<IssuerType> {
        let Located { at, value } = self.fields.required_text("type", self.mistakes)?;
        let parsed = value.parse::<IssuerType>().map_err(|unknown| Fault::NotOneOf {
            key: "type".to_owned(),
            suggestion: closest(&unknown.text, IssuerType::ALL.iter().map(|kind| kind.as_str())),
            text: unknown.text,
            expected: "an issuer type",
        });
        let kind = self.mistakes.keep(at, parsed)?;
        if kind == IssuerType::Spiffe && self.entry == Entry::Pattern {
            self.mistakes.add(at, Fault::SpiffePattern);
        }
        Some(kind)
    }

    /// Only published; clients can sign nothing but these two.
    fn challenge(&mut self) -> Option<String> {
        let Located { at, value } = self.fields.text("challenge-claim", self.mistakes)?;
        if value != "sub" && value != "email" {
            let expected = "'sub' or 'email'";
            let key = "challenge-claim".to_owned();
            self.mistakes.add(at, Fault::Expected { key, expected });
        }
        Some(value)
    }

    fn facts(&mut self, kind: IssuerType, providers: &Providers) -> Option<Facts> {
        match kind {
            IssuerType::Email => self.email(),
            IssuerType::CiProvider => self.ci_provider(providers),
            IssuerType::Uri => self.uri(),
            IssuerType::Username => self.username(),
            IssuerType::Spiffe => self.spiffe(),
            IssuerType::Kubernetes => Some(Facts::of(Profile::Kubernetes)),
            IssuerType::ChainguardIdentity => Some(Facts::of(Profile::Chainguard)),
            IssuerType::GithubWorkflow => Some(Facts::of_fixed(FixedCi::github_workflow())),
            IssuerType::GitlabPipeline => Some(Facts::of_fixed(FixedCi::gitlab_pipeline())),
            IssuerType::BuildkiteJob => Some(Facts::of_fixed(FixedCi::buildkite_job())),
            IssuerType::CodefreshWorkflow => Some(Facts::of_fixed(FixedCi::codefresh_workflow())),
        }
    }

    fn uri(&mut self) -> Option<Facts> {
        let Located { at, value } = self.fields.required_text("subject-domain", self.mistakes)?;
        let uri = Uri::new(&value).map_err(|source| Fault::SubjectOrigin { source });
        let uri = self.mistakes.keep(at, uri)?;
        let scheme = |url: &str| url.split_once("://").map(|(scheme, _)| scheme.to_owned());
        let same_scheme = scheme(&value) == scheme(&self.name.text);
        let host = names::host(&value);
        let speaks = if same_scheme { self.speaks_for(host) } else { Err(DomainFault::Scheme) };
        self.subject_domain(at, value.clone(), speaks, Profile::Uri(uri))
    }

    fn username(&mut self) -> Option<Facts> {
        let Located { at, value } = self.fields.required_text("subject-domain", self.mistakes)?;
        let username = Username::new(&value).map_err(|source| Fault::SubjectHost { source });
        let username = self.mistakes.keep(at, username)?;
        let speaks = self.speaks_for(&value);
        self.subject_domain(at, value, speaks, Profile::Username(username))
    }

    fn speaks_for(&self, host: &str) -> Result<(), DomainFault> {
        names::check_speaks_for(&self.name.text, host)
    }

    fn subject_domain(
        &mut self,
        at: Position,
        subject: String,
        speaks: Result<(), DomainFault>,
        profile: Profile,
    ) -> Option<Facts> {
        let checked =
            speaks.map_err(|reason| Fault::SubjectDomain { subject: subject.clone(), reason });
        self.mistakes.keep(at, checked)?;
        Some(Facts { subject_domain: subject, ..Facts::of(profile) })
    }

    fn spiffe(&mut self) -> Option<Facts> {
        let domain = self.fields.required_text("spiffe-trust-domain", self.mistakes)?;
        let spiffe = Spiffe::new(&domain.value).map_err(|source| Fault::TrustDomain { source });
        let spiffe = self.mistakes.keep(domain.at, spiffe)?;
        Some(Facts { spiffe_trust_domain: domain.value, ..Facts::of(Profile::Spiffe(spiffe)) })
    }

    fn email(&mut self) -> Option<Facts> {
        let skip = self.fields.truth("skip-email-verification", self.mistakes).unwrap_or(false);
        let issuer_claim = match self.fields.text("issuer-claim", self.mistakes) {
            Some(Located { at, value }) => {
                let parsed = value.parse::<IssuerClaim>();
                let parsed = parsed.map_err(|source| Fault::IssuerClaim { source });
                Some(self.mistakes.keep(at, parsed)?)
            }
            None => None,
        };
        let email = Email { issuer_claim, skip_email_verification: skip };
        let facts = Facts::of(Profile::Email(email));
        Some(Facts { skip_email_verification: skip, ..facts })
    }

    fn ci_provider(&mut self, providers: &Providers) -> Option<Facts> {
        let Located { at, value: name } =
            self.fields.required_text("ci-provider", self.mistakes)?;
        let Some(provider) = providers.get(&name) else {
            let suggestion = closest(&name, providers.keys().map(String::as_str));
            self.mistakes.add(at, Fault::UnknownProvider { name, suggestion });
            return None;
        };
        provider.clone().map(|provider| Facts::of(Profile::CiProvider(provider)))
    }

    /// What is left is unknown, or belongs to another type.
    fn refuse_rest(mut self, kind: Option<IssuerType>) {
        for key in OF_SOME_TYPES {
            if !self.fields.has(key) {
                continue;
            }
            // Without a type nobody can say whose key it is: the type is the mistake.
            let node = self.fields.take(key, self.mistakes);
            if let (Some(node), Some(kind)) = (node, kind) {
                self.mistakes.add(node.at, Fault::KeyNotForType { key, kind });
            }
        }
        self.fields.refuse_rest(self.mistakes);
    }
}

/// Keys that belong to some types only.
const OF_SOME_TYPES: [&str; 5] = [
    "ci-provider",
    "issuer-claim",
    "skip-email-verification",
    "spiffe-trust-domain",
    "subject-domain",
];

/// A day: a token that is older is not short-lived.
const MAX_TOKEN_AGE_MS: u64 = 24 * 3_600_000;
