//! The one name a leaf carries.
//!
//! In: text from verified claims. Out: a [`SubjectAltName`] that every client can read, or why
//! not. Knows nothing of tokens and of which kind of issuer gives which kind of name.
//!
//! A name is compared by verifiers as a string, and by some after parsing. So a name is taken only
//! if there is one way to read it: ASCII, no comments, quotes or escapes of mail addresses, no
//! userinfo or fragment in a URI. Nothing is normalised: what stands in the token stands in the
//! certificate, or there is no certificate.

use std::net::Ipv6Addr;

use super::tlv;

/// The one GeneralName of a leaf (RFC 5280, 4.2.1.6). Made only by [`SubjectAltName::email`],
/// [`SubjectAltName::uri`] and [`SubjectAltName::username`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubjectAltName {
    kind: NameKind,
    text: String,
}

/// Which alternative of GeneralName.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// rfc822Name: a mailbox.
    Email,
    /// uniformResourceIdentifier: an absolute URI.
    Uri,
    /// otherName 1.3.6.1.4.1.57264.1.7: UTF8String `subject!domain`.
    Username,
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("it has {bytes} bytes, more than {limit_bytes}")]
    TooLong { bytes: usize, limit_bytes: usize },
    #[error("it contains {character:?} at byte {at}, which is not allowed there")]
    Character { character: char, at: usize },
    #[error("it has no '@'")]
    NoAt,
    #[error("the part before '@' is empty, longer than 64 bytes or has a misplaced dot")]
    LocalPart,
    #[error("the domain '{domain}' is not a host name")]
    Domain { domain: String },
    #[error("the domain '{domain}' has no dot, so it names another machine wherever it is read")]
    LocalDomain { domain: String },
    #[error("it is not an absolute URI: 'scheme://host' is missing")]
    NotAbsolute,
    #[error("it contains user information before '@' in its authority")]
    UserInfo,
    #[error("the host '{host}' is not a host name or address")]
    Host { host: String },
    #[error("the port '{port}' is not a number up to 65535")]
    Port { port: String },
    #[error("it contains a fragment ('#')")]
    Fragment,
    #[error("'%' at byte {at} is not followed by two hexadecimal digits")]
    PercentEncoding { at: usize },
    #[error("the user name contains '{character}', which is reserved")]
    ReservedInUsername { character: char },
}

impl SubjectAltName {
    /// A mailbox as RFC 5321 (4.1.2) has it, with a domain that is fully qualified (2.3.5), without
    /// quoted local parts and address literals.
    /// Internationalised domains are taken in their ASCII form (`xn--`) only; letter case is kept.
    ///
    /// # Errors
    /// Which rule the text breaks.
    pub fn email(address: &str) -> Result<Self, NameError> {
        bounded(address, MAX_EMAIL_BYTES)?;
        // The last '@', so that one inside a quoted local part is found to be misplaced.
        let (local, domain) = address.rsplit_once('@').ok_or(NameError::NoAt)?;
        only(local, 0, |c| is_atext(c) || c == '.')?;
        if local.len() > 64 || local.split('.').any(str::is_empty) {
            return Err(NameError::LocalPart);
        }
        only(domain, local.len() + 1, |c| is_host_character(c) && c != '_')?;
        host_name(domain, |domain| NameError::Domain { domain })?;
        if !domain.contains('.') {
            return Err(NameError::LocalDomain { domain: domain.to_owned() });
        }
        Ok(Self { kind: NameKind::Email, text: address.to_owned() })
    }

    /// An `absolute-URI` (RFC 3986, 4.3) with an authority: `scheme://host[:port][/path][?query]`.
    ///
    /// That production has no fragment, and a verifier that parses the name would not see one, so
    /// `#` is refused; a `#` that belongs to a name must arrive as `%23`.
    ///
    /// # Errors
    /// Which rule the text breaks.
    pub fn uri(uri: &str) -> Result<Self, NameError> {
        bounded(uri, MAX_URI_BYTES)?;
        if uri.contains('#') {
            return Err(NameError::Fragment);
        }
        only(uri, 0, is_uri_character)?;
        percent_encoding(uri)?;
        let (scheme, rest) = uri.split_once("://").ok_or(NameError::NotAbsolute)?;
        let mut scheme_characters = scheme.chars();
        if !scheme_characters.next().is_some_and(|c| c.is_ascii_alphabetic())
            || !scheme_characters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        {
            return Err(NameError::NotAbsolute);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        check_authority(authority)?;
        Ok(Self { kind: NameKind::Uri, text: uri.to_owned() })
    }

    /// `subject!domain`, for issuers of type `username`.
    ///
    /// # Errors
    /// `subject` contains the separator, looks like a mail address, or is not printable ASCII; or
    /// `domain` is no host name.
    pub fn username(subject: &str, domain: &str) -> Result<Self, NameError> {
        bounded(subject, MAX_USERNAME_BYTES)?;
        if let Some(character) = subject.chars().find(|c| matches!(c, '!' | '@')) {
            return Err(NameError::ReservedInUsername { character });
        }
        only(subject, 0, |c| c.is_ascii_graphic())?;
        host_name(domain, |domain| NameError::Domain { domain })?;
        Ok(Self { kind: NameKind::Username, text: format!("{subject}!{domain}") })
    }

    /// Which alternative of GeneralName this is.
    pub fn kind(&self) -> NameKind {
        self.kind
    }

    /// The name as text, without its kind.
    pub fn value(&self) -> &str {
        &self.text
    }

    /// Octets that [`Self::write_general_names`] appends.
    pub fn general_names_bytes(&self) -> usize {
        tlv::element_bytes(self.general_name_bytes())
    }

    /// Appends `GeneralNames ::= SEQUENCE OF GeneralName` with this one name: the content of the
    /// extension's OCTET STRING.
    pub fn write_general_names(&self, out: &mut Vec<u8>) {
        tlv::push_header(tlv::TAG_SEQUENCE, self.general_name_bytes(), out);
        let text = self.text.as_bytes();
        match self.kind {
            NameKind::Email => tlv::push_element(TAG_RFC822_NAME, text, out),
            NameKind::Uri => tlv::push_element(TAG_URI, text, out),
            NameKind::Username => {
                let explicit_bytes = tlv::element_bytes(text.len());
                tlv::push_header(TAG_OTHER_NAME, other_name_content_bytes(text.len()), out);
                tlv::push_element(tlv::TAG_OID, &USERNAME_OID, out);
                tlv::push_header(TAG_OTHER_NAME_VALUE, explicit_bytes, out);
                tlv::push_element(tlv::TAG_UTF8_STRING, text, out);
            }
        }
    }

    fn general_name_bytes(&self) -> usize {
        match self.kind {
            NameKind::Email | NameKind::Uri => tlv::element_bytes(self.text.len()),
            NameKind::Username => tlv::element_bytes(other_name_content_bytes(self.text.len())),
        }
    }
}

fn other_name_content_bytes(text_bytes: usize) -> usize {
    tlv::element_bytes(USERNAME_OID.len()) + tlv::element_bytes(tlv::element_bytes(text_bytes))
}

fn bounded(text: &str, limit_bytes: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        bytes if bytes > limit_bytes => Err(NameError::TooLong { bytes, limit_bytes }),
        _ => Ok(()),
    }
}

/// Every character of `part`, which begins at byte `offset` of the whole, is `allowed`.
fn only(part: &str, offset: usize, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    match part.char_indices().find(|(_, character)| !allowed(*character)) {
        Some((at, character)) => Err(NameError::Character { character, at: offset + at }),
        None => Ok(()),
    }
}

/// `[host][:port]` without user information (RFC 3986, 3.2).
fn check_authority(authority: &str) -> Result<(), NameError> {
    if authority.contains('@') {
        return Err(NameError::UserInfo);
    }
    let (host, port) = if authority.starts_with('[') {
        match authority.split_once(']') {
            Some((address, port)) => (&authority[..=address.len()], port),
            None => {
                return Err(NameError::Host { host: authority.to_owned() });
            }
        }
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    if !port.is_empty() {
        let digits = port.strip_prefix(':').unwrap_or_default();
        if !digits.chars().all(|c| c.is_ascii_digit()) || digits.parse::<u16>().is_err() {
            return Err(NameError::Port { port: digits.to_owned() });
        }
    }
    match host.strip_prefix('[') {
        // Zone identifiers (RFC 6874) name an interface of one machine, so they are refused.
        Some(address) => match address.trim_end_matches(']').parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(NameError::Host { host: host.to_owned() }),
        },
        None => host_name(host, |host| NameError::Host { host }),
    }
}

/// Labels of letters, digits, hyphens and (as SPIFFE allows) underscores, 253 bytes at most;
/// no wildcard, no empty label, no final dot.
fn host_name(host: &str, refuse: impl Fn(String) -> NameError) -> Result<(), NameError> {
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| is_host_character(c) && c != '.')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() <= 253 && host.split('.').all(label_is_fine) {
        Ok(())
    } else {
        Err(refuse(host.to_owned()))
    }
}

fn percent_encoding(uri: &str) -> Result<(), NameError> {
    for (at, _) in uri.match_indices('%') {
        let digits = uri.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NameError::PercentEncoding { at });
        }
    }
    Ok(())
}

/// RFC 5322, 3.2.3.
fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character)
}

fn is_host_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._".contains(character)
}

/// unreserved, reserved and `%` of RFC 3986, section 2.
fn is_uri_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(character)
}

/// RFC 5321, 4.5.3.1.3: a path has 256 octets with its two angle brackets.
const MAX_EMAIL_BYTES: usize = 254;
/// Ours: four times the longest workflow reference seen; a certificate is no place for more.
const MAX_URI_BYTES: usize = 2048;
/// Ours, as long as a mailbox.
const MAX_USERNAME_BYTES: usize = 254;

/// GeneralName `[1]` IMPLICIT IA5String.
const TAG_RFC822_NAME: u8 = 0x81;
/// GeneralName `[6]` IMPLICIT IA5String.
const TAG_URI: u8 = 0x86;
/// GeneralName `[0]` IMPLICIT OtherName, constructed.
const TAG_OTHER_NAME: u8 = 0xa0;
/// OtherName.value `[0]` EXPLICIT.
const TAG_OTHER_NAME_VALUE: u8 = 0xa0;
/// Content of OBJECT IDENTIFIER 1.3.6.1.4.1.57264.1.7.
const USERNAME_OID: [u8; 10] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x07];

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
