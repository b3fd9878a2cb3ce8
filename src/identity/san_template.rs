//! The template of a subject alternative name, and what no claim may do to it.
//!
//! A verifier trusts `https://host/…` for the host. Claims are signed by the issuer, but often
//! written by its users (branches, pipelines, projects), so one rule holds for the host:
//! **exactly one part of the template decides scheme and host, and which one shows at load.**
//!
//! | template begins with | scheme and host come from |
//! | --- | --- |
//! | `https://host/` | the template; no claim can change them |
//! | `https://{{ .claim }}` then `/` or the end | that claim, which must begin with a plain host |
//! | `{{ .claim }}` then `/` or the end | that claim or its default: must begin `https://host` |
//!
//! Anything else (`https://{{ .a }}.example.com/`, `https://host{{ .path }}`) is refused at load.
//! A claim may stand in for a default of the same name, also here: the reference merges so, and
//! issuers with regional or on-premises hosts rely on it. Every other value lands behind the
//! slash, where it can be neither empty, nor control character, white space other than the plain
//! space, `\`, `?` or `%`, nor make a segment `.` or `..`. Other characters that a URI cannot
//! hold are percent-encoded as UTF-8 (RFC 3986, 2.1), as the reference does; as `%` itself is
//! refused, two values never meet in one name.

use super::{
    IdentityError, Template, TemplateError, UnusableClaim, claim,
    error::{NameOrigin, RenderedPlace},
    path,
    template::{Part, Piece, Values},
};
use crate::x509::SubjectAltName;

/// A template whose scheme and host have one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanTemplate {
    template: Template,
    host_from: HostFrom,
}

/// Why a template cannot make names.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SanTemplateError {
    /// Outside the subset.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It has no claim, so all tokens would get one name.
    #[error("no claim stands in it, so that every token would get the same name")]
    SameForAll,
    /// Text and claims, or several claims, would share in the host.
    #[error(
        "it must begin with 'https://host/', with 'https://{{{{ .claim }}}}/' or with \
         '{{{{ .claim }}}}/', so that one part alone decides the host"
    )]
    Authority,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostFrom {
    Text,
    /// The first value, behind a literal scheme.
    ValueAfterScheme,
    /// The first value, scheme included.
    Value,
}

impl SanTemplate {
    /// Compiles a template for names.
    ///
    /// # Errors
    /// Outside the subset, without any claim, or without one source for its host.
    pub fn parse(text: &str) -> Result<Self, SanTemplateError> {
        let template = Template::parse(text)?;
        if !template.has_values() {
            return Err(SanTemplateError::SameForAll);
        }
        let host_from = host_from(&template.parts).ok_or(SanTemplateError::Authority)?;
        Ok(Self { template, host_from })
    }

    /// The name for these values.
    pub(super) fn render(&self, values: &dyn Values) -> Result<SubjectAltName, IdentityError> {
        let mut uri = String::new();
        let mut host_pending = self.host_from != HostFrom::Text;
        self.template.render(values, &mut |piece| {
            match piece {
                Piece::Text(text) => uri.push_str(text),
                Piece::Value { claim: name, value } => {
                    let behind_host = if std::mem::take(&mut host_pending) {
                        self.push_host(&mut uri, &value)
                    } else if value.is_empty() {
                        Err(UnusableClaim::Empty)
                    } else {
                        Ok(value.as_str())
                    };
                    behind_host
                        .and_then(|value| path::push(&mut uri, value))
                        .map_err(|reason| claim::unusable(name, reason))?;
                }
            }
            within_limit(&uri)
        })?;
        if path::has_dot_segment(&uri) {
            return Err(IdentityError::DotSegment);
        }
        SubjectAltName::uri(&uri)
            .map_err(|reason| IdentityError::Name { origin: NameOrigin::Template, reason })
    }

    /// Takes scheme and host off the value that decides them, and returns what is left: a path.
    fn push_host<'v>(&self, uri: &mut String, value: &'v str) -> Result<&'v str, UnusableClaim> {
        let (scheme, rest, reason) = if self.host_from == HostFrom::Value {
            let reason = UnusableClaim::NotAnOrigin;
            let (scheme, rest) = split_scheme(value).ok_or(reason)?;
            (scheme, rest, reason)
        } else {
            ("", value, UnusableClaim::NotAHost)
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !is_plain_authority(authority) {
            return Err(reason);
        }
        uri.push_str(scheme);
        uri.push_str(authority);
        Ok(path)
    }
}

fn host_from(parts: &[Part]) -> Option<HostFrom> {
    let ends_host = |next: Option<&Part>| match next {
        None => true,
        Some(Part::Text(text)) => text.starts_with('/'),
        Some(Part::Value(_) | Part::Choice { .. }) => false,
    };
    match parts {
        [Part::Value(_), rest @ ..] => ends_host(rest.first()).then_some(HostFrom::Value),
        [Part::Text(text), rest @ ..] => {
            let (_, after_scheme) = split_scheme(text)?;
            match (after_scheme, rest) {
                ("", [Part::Value(_), rest @ ..]) => {
                    ends_host(rest.first()).then_some(HostFrom::ValueAfterScheme)
                }
                _ => {
                    let (authority, _) = after_scheme.split_once('/')?;
                    is_plain_authority(authority).then_some(HostFrom::Text)
                }
            }
        }
        _ => None,
    }
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let end = ["https://", "http://"].into_iter().find(|s| text.starts_with(s))?.len();
    Some(text.split_at(end))
}

/// `host` or `host:port`; no user information, no address literal, no percent-encoding.
fn is_plain_authority(authority: &str) -> bool {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let port_fits =
        port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty());
    !host.is_empty() && host.bytes().all(plain) && port_fits
}

fn within_limit(uri: &str) -> Result<(), IdentityError> {
    if uri.len() > MAX_SAN_BYTES {
        let place = RenderedPlace::SubjectAltName;
        return Err(IdentityError::TooLong { place, limit_bytes: MAX_SAN_BYTES });
    }
    Ok(())
}

/// Longer than any honest name; verifiers keep names in logs and policies.
const MAX_SAN_BYTES: usize = 2048;
