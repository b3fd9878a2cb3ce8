//! Where an issuer's documents may come from.
//!
//! In: the issuer's URL and what the operator allows. Out: the URLs that may be asked, and how far
//! their hosts are trusted. Knows nothing of HTTP.

use url::{Host, Origin, Url};

/// Who chose a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChosenBy {
    /// The operator wrote it out: it may be private.
    Operator,
    /// A token or a document named it: it must be public.
    Stranger,
}

/// The rules for one issuer.
#[derive(Clone, Debug)]
pub(super) struct KeyOrigins {
    issuer: Url,
    chosen_by: ChosenBy,
    listed: Vec<Origin>,
}

impl KeyOrigins {
    /// For an issuer that the operator lists, together with further origins of keys.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub(super) fn of_listed(
        issuer: &str,
        allow_http: bool,
        key_origins: &[String],
    ) -> Result<Self, &'static str> {
        let issuer = issuer_url(issuer)?;
        if issuer.scheme() == "http" && !allow_http && !is_loopback(&issuer) {
            return Err("plain http is for loopback hosts, or needs allow-http");
        }
        let listed = key_origins.iter().map(|text| listed_origin(text, allow_http));
        let listed = listed.collect::<Result<_, _>>()?;
        Ok(Self { issuer, chosen_by: ChosenBy::Operator, listed })
    }

    /// For an issuer that a token named, by way of the operator's wildcard.
    pub(super) fn of_stranger(issuer: &str, listed: Vec<Origin>) -> Result<Self, &'static str> {
        let issuer = issuer_url(issuer)?;
        if issuer.scheme() != "https" {
            return Err("a wildcard issuer is reached by https");
        }
        Ok(Self { issuer, chosen_by: ChosenBy::Stranger, listed })
    }

    /// OpenID Connect Discovery, section 4: the well-known path after the issuer's own.
    pub(super) fn discovery_url(&self) -> Result<(Url, ChosenBy), &'static str> {
        let base = self.issuer.as_str();
        let base = base.strip_suffix('/').unwrap_or(base);
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration"));
        let url = url.map_err(|_| "it is not a URL")?;
        check_host(&url, self.chosen_by)?;
        Ok((url, self.chosen_by))
    }

    /// Whether a discovery document may send us to this `jwks_uri`: to the issuer's own origin, to
    /// one that the operator listed, or to one of [`KNOWN_ELSEWHERE`].
    pub(super) fn admit(&self, jwks_uri: &str) -> Result<(Url, ChosenBy), &'static str> {
        let url = Url::parse(jwks_uri).map_err(|_| "it is not a URL")?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err("it is not an https URL");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it contains a user name or password");
        }
        let origin = url.origin();
        let chosen_by = if origin == self.issuer.origin() {
            self.chosen_by
        } else if self.listed.contains(&origin) {
            ChosenBy::Operator
        } else if self.is_known_elsewhere(&url) {
            ChosenBy::Stranger
        } else {
            return Err(
                "it is neither at the issuer's own origin nor at one of allowed-key-origins",
            );
        };
        check_host(&url, chosen_by)?;
        Ok((url, chosen_by))
    }

    fn is_known_elsewhere(&self, url: &Url) -> bool {
        let issuer = self.issuer.origin().ascii_serialization();
        KNOWN_ELSEWHERE
            .iter()
            .any(|(known, keys)| issuer == *known && url.as_str().starts_with(keys))
    }
}

/// Public issuers whose keys are known to live on another host: the issuer's origin, and how its
/// `jwks_uri` begins. Everybody else is for the operator to list.
const KNOWN_ELSEWHERE: [(&str, &str); 2] = [
    ("https://accounts.google.com", "https://www.googleapis.com/oauth2/"),
    ("https://securetoken.google.com", "https://www.googleapis.com/service_accounts/v1/jwk/"),
];

/// An origin that the operator lists: scheme, host and port, nothing more.
pub(super) fn listed_origin(text: &str, allow_http: bool) -> Result<Origin, &'static str> {
    let url = Url::parse(text).map_err(|_| "a key origin is not a URL")?;
    let origin = url.origin();
    let bare = origin.ascii_serialization();
    let plain = text == bare || text.strip_suffix('/') == Some(&bare);
    if !plain || !matches!(url.scheme(), "https" | "http") {
        return Err("a key origin is written like https://keys.example.com, without a path");
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err("a key origin with plain http is for loopback hosts, or needs allow-http");
    }
    Ok(origin)
}

/// An issuer's name as a URL: what OpenID Connect Core, section 2, makes of `iss`, and nothing that
/// two readers could take for different hosts or paths.
fn issuer_url(text: &str) -> Result<Url, &'static str> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\%?#@\"<>^`{|}*".contains(&b);
    if !text.bytes().all(plain) {
        return Err("an issuer is an ASCII URL without user, query, fragment and escapes");
    }
    let url = Url::parse(text).map_err(|_| "it is not a URL")?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("an issuer is an https URL");
    }
    let Some((_, rest)) = text.split_once("://") else {
        return Err("it is not a URL");
    };
    let path = rest.find('/').map_or("", |slash| &rest[slash..]);
    // The parser resolves `..`, so that another path would be asked than the name says.
    if url.path() != path && !(path.is_empty() && url.path() == "/") {
        return Err("an issuer's path contains neither . nor .. segments");
    }
    if url.host_str().is_none_or(|host| host.ends_with('.')) {
        return Err("an issuer has a host that does not end in a dot");
    }
    Ok(url)
}

fn check_host(url: &Url, chosen_by: ChosenBy) -> Result<(), &'static str> {
    match (url.host(), chosen_by) {
        (None, _) => Err("it has no host"),
        (Some(_), ChosenBy::Operator) => Ok(()),
        (Some(_), ChosenBy::Stranger) if url.scheme() != "https" => Err("it is not an https URL"),
        // The resolver sees names only, so addresses are stopped here; no public issuer has one.
        (Some(Host::Domain(_)), ChosenBy::Stranger) => Ok(()),
        (Some(_), ChosenBy::Stranger) => Err("its host is an address, not a name"),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // RFC 6761, section 6.3.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(issuer: &str) -> KeyOrigins {
        KeyOrigins::of_listed(issuer, false, &[]).expect(issuer)
    }

    fn stranger() -> KeyOrigins {
        KeyOrigins::of_stranger("https://a.example.com/x", Vec::new()).unwrap()
    }

    #[test]
    fn the_well_known_path_follows_the_issuers_own() {
        for (issuer, expected) in [
            ("https://a.example", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/b", "https://a.example/b/.well-known/openid-configuration"),
            ("https://a.example/b/", "https://a.example/b/.well-known/openid-configuration"),
        ] {
            assert_eq!(listed(issuer).discovery_url().unwrap().0.as_str(), expected);
        }
    }

    #[test]
    fn nt_10_names_that_two_readers_could_read_differently_are_refused() {
        for issuer in [
            "",
            "a.example",
            "https://",
            "https://user@a.example",
            "https://user:pw@a.example",
            "https://a.example?x",
            "https://a.example/#x",
            "https://a.example/%2f",
            "https://a.example/b/../c",
            "https://a.example/./b",
            "https://a.example./",
            "https://a.example/ ",
            " https://a.example",
            "https://a.exam\nple",
            "https:\\\\a.example",
            "https://b\u{fc}cher.example",
            "file:///etc/passwd",
            "ftp://a.example",
            "https:a.example",
            "http://a.example",
            "http://10.0.0.1:8080",
        ] {
            assert!(KeyOrigins::of_listed(issuer, false, &[]).is_err(), "{issuer:?}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_or_for_those_who_ask_for_it() {
        for issuer in ["http://localhost:8080", "http://127.0.0.1:1/x", "http://[::1]:1"] {
            assert!(KeyOrigins::of_listed(issuer, false, &[]).is_ok(), "{issuer}");
        }
        assert!(KeyOrigins::of_listed("http://a.example", true, &[]).is_ok());
        assert!(KeyOrigins::of_listed("http://127.0.0.1.evil.com", false, &[]).is_err());
        assert!(KeyOrigins::of_listed("http://localhost.evil.com", false, &[]).is_err());
        assert!(KeyOrigins::of_stranger("http://localhost:8080", Vec::new()).is_err());
    }

    #[test]
    fn nt_13_keys_elsewhere_are_refused() {
        let issuer = listed("https://a.example.com");
        for uri in [
            "",
            "keys",
            "/keys",
            "https://b.example.com/keys",
            "https://example.com/keys",
            "https://a.example.com.evil.com/keys",
            "https://a.example.com:8443/keys",
            "https://a.example.com@evil.com/keys",
            "https://user@a.example.com/keys",
            "http://a.example.com/keys",
            "http://169.254.169.254/latest/meta-data",
            "https://169.254.169.254/keys",
            "https://[::1]/keys",
            "file:///etc/passwd",
            "data:application/json,{}",
            "ftp://a.example.com/keys",
        ] {
            assert!(issuer.admit(uri).is_err(), "{uri}");
        }
        assert_eq!(issuer.admit("https://a.example.com/keys").unwrap().1, ChosenBy::Operator);
        assert_eq!(issuer.admit("https://a.example.com:443/keys").unwrap().1, ChosenBy::Operator);
    }

    #[test]
    fn nt_13_origins_that_the_operator_lists_are_admitted() {
        let origins = ["https://10.0.0.7:6443".to_owned(), "https://keys.example.com/".to_owned()];
        let issuer = KeyOrigins::of_listed("https://a.example.com", false, &origins).unwrap();
        assert_eq!(issuer.admit("https://10.0.0.7:6443/k").unwrap().1, ChosenBy::Operator);
        assert_eq!(issuer.admit("https://keys.example.com/k").unwrap().1, ChosenBy::Operator);
        assert!(issuer.admit("https://10.0.0.7/k").is_err());
        for origin in [
            "https://a.example/path",
            "keys.example.com",
            "https://u@a.example",
            "*",
            "",
            "http://a",
        ] {
            let refused = KeyOrigins::of_listed("https://a.example", false, &[origin.to_owned()]);
            assert!(refused.is_err(), "{origin}");
        }
    }

    #[test]
    fn nt_13_an_issuer_that_a_token_named_has_public_names_only() {
        assert_eq!(stranger().admit("https://a.example.com/k").unwrap().1, ChosenBy::Stranger);
        assert_eq!(stranger().discovery_url().unwrap().1, ChosenBy::Stranger);
        for issuer in ["https://127.0.0.1/x", "https://[::1]/x", "https://2130706433/x"] {
            let origins = KeyOrigins::of_stranger(issuer, Vec::new()).unwrap();
            assert!(origins.discovery_url().is_err(), "{issuer}");
        }
    }

    #[test]
    fn googles_keys_are_found_where_google_keeps_them() {
        let google = listed("https://accounts.google.com");
        let keys = google.admit("https://www.googleapis.com/oauth2/v3/certs").unwrap();
        assert_eq!(keys.1, ChosenBy::Stranger);
        assert!(google.admit("https://www.googleapis.com/storage/v1/b/x").is_err());
        assert!(listed("https://a.example").admit(keys.0.as_str()).is_err());
    }
}
