//! What may stand as the name of an issuer: a URL, or a pattern of URLs.

use crate::config::{UrlFault, server_file::is_this_machine};

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
