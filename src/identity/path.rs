//! What may stand behind the host of a name.
//!
//! In: values of claims. Out: text of a URI's path, or why not. Knows nothing of where the values
//! come from.

use super::UnusableClaim;

/// Appends a value to a name, where it can be neither control character, white space other than the
/// plain space, `\`, `?` nor `%`. Other characters that a URI cannot hold there are percent-encoded;
/// as `%` itself is refused, two values never meet in one name.
///
/// `#` stands in names of branches (`fix#1`). As `%23` it is part of the path; as it is, it would
/// make the rest a fragment, which no name may have (NT-34).
pub(super) fn push(uri: &mut String, value: &str) -> Result<(), UnusableClaim> {
    for c in value.chars() {
        match c {
            c if c.is_control() => return Err(UnusableClaim::ControlCharacter),
            '\\' | '?' | '%' => return Err(UnusableClaim::UriDelimiter),
            // A plain space stands in names of projects and files, and becomes `%20`.
            c if c.is_whitespace() && c != ' ' => return Err(UnusableClaim::UriDelimiter),
            c => push_encoded(uri, c),
        }
    }
    Ok(())
}

/// Appends a character, as it is or percent-encoded as UTF-8 (RFC 3986, 2.1 and 3.3).
pub(super) fn push_encoded(uri: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || PUNCTUATION.contains(c) {
        uri.push(c);
        return;
    }
    let mut utf8 = [0; 4];
    for byte in c.encode_utf8(&mut utf8).bytes() {
        uri.push_str(&format!("%{byte:02X}"));
    }
}

/// Whether a verifier that normalises paths would read another name. It would take `%2e` for a dot
/// too (RFC 3986, 6.2.2.2).
pub(super) fn has_dot_segment(uri: &str) -> bool {
    let (path, _query) = uri.split_once('?').unwrap_or((uri, ""));
    path.split('/').any(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    })
}

/// Whether a verifier that joins paths would read another name.
pub(super) fn has_empty_segment(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(_, behind_scheme)| behind_scheme.contains("//"))
}

/// `pchar` of RFC 3986, 3.3, and the slash, without letters, digits and percent-encoding.
const PUNCTUATION: &str = "-._~!$&'()*+,;=:@/";
