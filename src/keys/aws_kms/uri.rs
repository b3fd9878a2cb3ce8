//! `awskms:` URIs: a key of AWS KMS, by the forms that AWS takes for its `KeyId`.
//!
//! In: the text after `awskms:`. Out: an [`AwsKmsUri`], or what is wrong with the text. Asks
//! nobody.

use std::{fmt, str::FromStr};

use url::Host;

/// Which key, and how its service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKmsUri {
    /// `HOST` or `HOST:PORT`, in place of the region's own endpoint.
    pub(super) endpoint: Option<Endpoint>,
    /// Key id, key ARN, alias name or alias ARN.
    pub(super) key_id: String,
    /// From the ARN, or as it stands in `region`.
    pub(super) region: Option<String>,
    /// A profile of the shared configuration files.
    pub(super) profile: Option<String>,
}

/// A host that speaks for KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    text: String,
    is_loopback: bool,
}

/// Why a text names no key of AWS KMS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsKmsUriError {
    #[error(
        "'awskms:' is followed by '///' and the key, such as 'awskms:///alias/ca', or by '//', a \
         host, '/' and the key"
    )]
    Form,
    #[error("'awskms:': '{text}' is no HOST or HOST:PORT")]
    Endpoint { text: String },
    #[error(
        "'awskms:': '{text}' is no key id (1234abcd-12ab-34cd-56ef-1234567890ab), no alias \
         (alias/NAME) and no ARN of either (arn:aws:kms:REGION:ACCOUNT:key/ID)"
    )]
    Key { text: String },
    #[error(
        "'awskms:': '{name}' is no parameter that is understood here; 'region' and 'profile' are"
    )]
    Parameter { name: String },
    #[error("'awskms:': the parameter '{name}' stands twice")]
    Twice { name: &'static str },
    #[error("'awskms:': the value of '{name}' must be {expected}")]
    Value { name: &'static str, expected: &'static str },
    #[error("'awskms:': the ARN names the region {arn}, and 'region' another: leave it out")]
    TwoRegions { arn: String },
}

impl Endpoint {
    /// Plain HTTP never leaves the machine.
    pub(super) fn url(&self) -> String {
        let scheme = if self.is_loopback { "http" } else { "https" };
        format!("{scheme}://{}", self.text)
    }
}

impl FromStr for AwsKmsUri {
    type Err = AwsKmsUriError;

    fn from_str(text: &str) -> Result<Self, AwsKmsUriError> {
        let (place, query) = match text.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (text, None),
        };
        let (host, key) = place
            .strip_prefix("//")
            .and_then(|place| place.split_once('/'))
            .ok_or(AwsKmsUriError::Form)?;
        let endpoint = if host.is_empty() { None } else { Some(host.parse()?) };
        let arn_region = key_region(key)
            .ok_or_else(|| AwsKmsUriError::Key { text: key.to_owned() })?
            .map(str::to_owned);
        let mut uri = Self { endpoint, key_id: key.to_owned(), region: None, profile: None };
        for parameter in query.into_iter().flat_map(|query| query.split('&')) {
            uri.set(parameter)?;
        }
        match (arn_region, &uri.region) {
            (Some(arn), Some(region)) if arn != *region => Err(AwsKmsUriError::TwoRegions { arn }),
            // Written once, so that a key has one text.
            (Some(arn), _) => Ok(Self { region: Some(arn), ..uri }),
            (None, _) => Ok(uri),
        }
    }
}

impl AwsKmsUri {
    fn set(&mut self, parameter: &str) -> Result<(), AwsKmsUriError> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, slot, expected, good): (_, _, _, fn(&str) -> bool) = match name {
            "region" => {
                ("region", &mut self.region, "the name of a region, such as eu-west-1", is_region)
            }
            "profile" => (
                "profile",
                &mut self.profile,
                "the name of a profile, of letters, digits and '-._@+'",
                is_profile,
            ),
            other => return Err(AwsKmsUriError::Parameter { name: other.to_owned() }),
        };
        if !good(value) {
            return Err(AwsKmsUriError::Value { name, expected });
        }
        if slot.replace(value.to_owned()).is_some() {
            return Err(AwsKmsUriError::Twice { name });
        }
        Ok(())
    }
}

impl FromStr for Endpoint {
    type Err = AwsKmsUriError;

    fn from_str(text: &str) -> Result<Self, AwsKmsUriError> {
        let wrong = || AwsKmsUriError::Endpoint { text: text.to_owned() };
        // After the last colon stands the port, unless that colon is part of an IPv6 address.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        if let Some(port) = port {
            let number: u16 = port.parse().map_err(|_| wrong())?;
            if number == 0 || number.to_string() != port {
                return Err(wrong());
            }
        }
        let parsed = Host::parse(host).map_err(|_| wrong())?;
        // One text for one host: no capitals, no other spellings of an address.
        if parsed.to_string() != host {
            return Err(wrong());
        }
        let is_loopback = match parsed {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        Ok(Self { text: text.to_owned(), is_loopback })
    }
}

impl fmt::Display for AwsKmsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map_or("", |endpoint| &endpoint.text);
        write!(f, "awskms://{endpoint}/{}", self.key_id)?;
        let region = self.region.as_deref().filter(|_| !self.key_id.starts_with(ARN));
        let parameters = [("region", region), ("profile", self.profile.as_deref())];
        let mut separator = '?';
        for (name, value) in parameters {
            if let Some(value) = value {
                write!(f, "{separator}{name}={value}")?;
                separator = '&';
            }
        }
        Ok(())
    }
}

/// The region that a KeyId tells; the outer `None` is no KeyId.
fn key_region(text: &str) -> Option<Option<&str>> {
    let Some(arn) = text.strip_prefix(ARN) else {
        return is_key_or_alias(text, is_key_id(text)).then_some(None);
    };
    let mut parts = arn.splitn(5, ':');
    let (partition, service) = (parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let key = resource.strip_prefix("key/").is_some_and(is_key_id);
    let good = partition.starts_with("aws")
        && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && service == "kms"
        && is_region(region)
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && is_key_or_alias(resource, key);
    good.then_some(Some(region))
}

fn is_key_or_alias(text: &str, is_key: bool) -> bool {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    let is_alias = text
        .strip_prefix("alias/")
        .is_some_and(|name| (1..=250).contains(&name.len()) && name.bytes().all(permitted));
    is_key || is_alias
}

/// A UUID, or the id of a key in several regions.
fn is_key_id(text: &str) -> bool {
    let hexadecimal = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if let Some(multi_region) = text.strip_prefix("mrk-") {
        return hexadecimal(multi_region, 32);
    }
    let groups: Vec<&str> = text.split('-').collect();
    groups.len() == 5
        && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, length)| hexadecimal(group, length))
}

fn is_region(text: &str) -> bool {
    let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (4..=32).contains(&text.len()) && text.contains('-') && text.bytes().all(permitted)
}

fn is_profile(text: &str) -> bool {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"-._@+".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(permitted)
}

const ARN: &str = "arn:";

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn parsed(text: &str) -> AwsKmsUri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_form_of_a_key_id_is_taken_and_told_as_it_was_written() {
        for text in [
            "///alias/ca",
            "///alias/prod/issuing_CA-1",
            &format!("///{ID}"),
            "///mrk-1234abcd12ab34cd56ef1234567890ab",
            &format!("///arn:aws:kms:eu-west-1:111122223333:key/{ID}"),
            "///arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/ca",
            "//localhost:4566/alias/ca?region=eu-west-1",
            "//[::1]:4566/alias/ca",
            "//vpce-0a1b.kms.eu-west-1.vpce.amazonaws.com/alias/ca",
            "///alias/ca?region=eu-west-1&profile=signing",
        ] {
            let uri = parsed(text);
            assert_eq!(uri.to_string(), format!("awskms:{text}"));
            assert_eq!(parsed(text), uri);
        }
    }

    #[test]
    fn the_region_is_that_of_the_arn_or_of_the_parameter() {
        let arn = "///arn:aws:kms:eu-west-1:111122223333:alias/ca";
        for (text, region) in [
            (arn, Some("eu-west-1")),
            (&format!("{arn}?region=eu-west-1"), Some("eu-west-1")),
            ("///alias/ca?region=us-east-2", Some("us-east-2")),
            ("///alias/ca", None),
        ] {
            assert_eq!(parsed(text).region.as_deref(), region, "{text}");
        }
        let two = format!("{arn}?region=us-east-1").parse::<AwsKmsUri>();
        assert_eq!(two, Err(AwsKmsUriError::TwoRegions { arn: "eu-west-1".to_owned() }));
    }

    #[test]
    fn only_a_loopback_endpoint_is_spoken_to_without_tls() {
        for (text, url) in [
            ("//localhost:4566/alias/ca", "http://localhost:4566"),
            ("//127.0.0.2:80/alias/ca", "http://127.0.0.2:80"),
            ("//[::1]/alias/ca", "http://[::1]"),
            ("//10.0.0.1:4566/alias/ca", "https://10.0.0.1:4566"),
            ("//localhost.example.com/alias/ca", "https://localhost.example.com"),
            ("//127.0.0.1.example.com:443/alias/ca", "https://127.0.0.1.example.com:443"),
        ] {
            assert_eq!(parsed(text).endpoint.unwrap().url(), url);
        }
    }

    #[test]
    fn what_names_no_key_is_told() {
        for (text, message) in [
            ("alias/ca", "'awskms:' is followed by '///'"),
            ("/alias/ca", "'awskms:' is followed by '///'"),
            ("//", "'awskms:' is followed by '///'"),
            ("///", "'' is no key id"),
            ("///ca", "'ca' is no key id"),
            ("//alias/ca", "'ca' is no key id"),
            ("///alias/", "is no key id"),
            ("///alias/c a", "is no key id"),
            (&format!("///{}", ID.to_uppercase()), "is no key id"),
            ("///1234abcd", "is no key id"),
            ("///mrk-1234", "is no key id"),
            (&format!("///arn:aws:s3:eu-west-1:111122223333:key/{ID}"), "is no key id"),
            (&format!("///arn:aws:kms::111122223333:key/{ID}"), "is no key id"),
            (&format!("///arn:aws:kms:eu-west-1:1:key/{ID}"), "is no key id"),
            ("///arn:aws:kms:eu-west-1:111122223333:ca", "is no key id"),
            ("//user@host/alias/ca", "'user@host' is no HOST or HOST:PORT"),
            ("//http://localhost:1/alias/ca", "is no HOST or HOST:PORT"),
            ("//HOST:1/alias/ca", "is no HOST or HOST:PORT"),
            ("//host:0/alias/ca", "is no HOST or HOST:PORT"),
            ("//host:080/alias/ca", "is no HOST or HOST:PORT"),
            ("//host:65536/alias/ca", "is no HOST or HOST:PORT"),
            ("//0x7f.1/alias/ca", "is no HOST or HOST:PORT"),
            ("///alias/ca?region", "the value of 'region' must be"),
            ("///alias/ca?region=eu%2dwest-1", "the value of 'region' must be"),
            ("///alias/ca?profile=a/b", "the value of 'profile' must be"),
            ("///alias/ca?", "'' is no parameter"),
            ("///alias/ca?secret=hidden", "'secret' is no parameter"),
            ("///alias/ca?profile=a&profile=a", "'profile' stands twice"),
        ] {
            let error = text.parse::<AwsKmsUri>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
