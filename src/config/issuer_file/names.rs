//! What may stand as the name of an issuer: a URL, or a pattern of URLs.

use std::net::IpAddr;

use crate::config::{DomainFault, UrlFault, server_file::is_this_machine};

/// Checks the URL of a listed issuer, which `iss` will be compared with byte for byte.
pub(super) fn check_url(text: &str, allow_http: bool) -> Result<(), UrlFault> {
    if text.contains('*') {
        return Err(UrlFault::Wildcard);
    }
    let url = parse(text)?;
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_http || is_this_machine(&url) => Ok(()),
        _ => Err(UrlFault::NotHttpsIssuer),
    }
}

/// Checks the pattern of a meta-issuer. That each `*` stays between dots and slashes when tokens
/// come in is for `oidc` to see to; here stands what no operator can have meant.
pub(super) fn check_pattern(text: &str) -> Result<(), UrlFault> {
    if !text.contains('*') {
        return Err(UrlFault::NoWildcard);
    }
    let rest = text.strip_prefix("https://").ok_or(UrlFault::NotHttps)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    if port.contains('*') {
        return Err(UrlFault::WildcardPlace);
    }
    // With a letter in place of each `*` it must be a URL like any other.
    let url = parse(&text.replace('*', "x"))?;
    let labels: Vec<&str> = host.split('.').collect();
    if !matches!(url.host(), Some(url::Host::Domain(_))) || labels.len() < 2 {
        return Err(UrlFault::WildcardHost);
    }
    let registrable = labels.len().saturating_sub(registrable_labels(&labels));
    if labels[registrable..].iter().any(|label| label.contains('*')) {
        return Err(UrlFault::WildcardRegistrable);
    }
    Ok(())
}

/// Checks an origin: scheme, host and port alone.
pub(super) fn check_origin(text: &str, allow_http: bool) -> Result<(), UrlFault> {
    check_url(text, allow_http)?;
    if text.matches('/').count() > 2 {
        return Err(UrlFault::Path);
    }
    Ok(())
}

/// Checks that an issuer may speak for `subject_host`: a host and its issuer belong to one owner if
/// they are equal, or if they share more of their ends than anyone may register.
/// `issuer` is the issuer's URL or pattern; no `*` of a pattern stands in what is shared, since none
/// stands in what its owner registered.
pub(super) fn check_speaks_for(issuer: &str, subject_host: &str) -> Result<(), DomainFault> {
    let issuer_host = host(issuer);
    if issuer_host == subject_host {
        return Ok(());
    }
    let labels: Vec<&str> = issuer_host.split('.').collect();
    let shared = labels.iter().rev().zip(subject_host.rsplit('.'));
    let shared = shared.take_while(|(ours, theirs)| *ours == theirs && !ours.contains('*')).count();
    // The ends of addresses say nothing of who owns them.
    if issuer_host.parse::<IpAddr>().is_ok() || shared < registrable_labels(&labels) {
        return Err(DomainFault::Host);
    }
    Ok(())
}

/// The host of a URL, a pattern or an origin, as it is written there.
pub(super) fn host(url: &str) -> &str {
    let (_scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.find(']') {
        Some(end_of_address) => &authority[..=end_of_address],
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// How many labels at the end anyone may register. Two, and three where the last two look like a
/// registry's own (`co.uk`, `com.au`): without the list of public suffixes this is a guess, and it
/// guesses towards refusing.
fn registrable_labels(labels: &[&str]) -> usize {
    match labels {
        [.., second, top] if top.len() == 2 && second.len() <= 3 => 3,
        _ => 2,
    }
}

fn parse(text: &str) -> Result<url::Url, UrlFault> {
    let url = url::Url::parse(text).map_err(|_| UrlFault::NotAbsolute)?;
    if !url.has_host() {
        return Err(UrlFault::NotAbsolute);
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err(UrlFault::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(UrlFault::QueryOrFragment);
    }
    // What the URL reader would change, `iss` could not equal, or could equal in two ways. The one
    // change it always makes is the slash of an empty path.
    let normal = url.as_str();
    if normal != text && normal.strip_suffix('/') != Some(text) || text.contains('%') {
        return Err(UrlFault::NotNormal);
    }
    if url.host_str().is_some_and(|host| host.ends_with('.')) {
        return Err(UrlFault::NotNormal);
    }
    Ok(url)
}
