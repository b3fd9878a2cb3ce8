//! `gcpkms://projects/…/cryptoKeyVersions/N?…`: a version of a key in Google Cloud KMS.
//!
//! In: the text after `gcpkms:`. Out: a [`GcpKmsUri`], or what is wrong with the text. Reads
//! nothing else.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::keys::service::{Endpoint, Query, ServiceUriError, authority_and_query};

/// Which version of which key, and what of the way to it the environment does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpKmsUri {
    /// `projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N`. Of a key that encrypts
    /// others, the version may be left out.
    pub name: String,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) credentials: Option<PathBuf>,
}

impl GcpKmsUri {
    pub(super) fn has_version(&self) -> bool {
        self.name.contains("/cryptoKeyVersions/")
    }

    /// The same key with relative paths taken from `directory`.
    #[must_use]
    pub fn resolved_in(self, directory: &Path) -> Self {
        Self { credentials: self.credentials.map(|path| directory.join(path)), ..self }
    }
}

impl FromStr for GcpKmsUri {
    type Err = ServiceUriError;

    fn from_str(text: &str) -> Result<Self, ServiceUriError> {
        let form = || ServiceUriError::Form { scheme: SCHEME, expected: FORM };
        let (name, query) = authority_and_query(text).ok_or_else(form)?;
        let name = canonical(name).ok_or_else(form)?;
        let mut query = Query::parse(SCHEME, query, PARAMETERS)?;
        let endpoint = query.take_as("endpoint", Endpoint::EXPECTED, Endpoint::parse)?;
        let credentials = query.take_as("credentials", "file:PATH", |text| {
            text.strip_prefix("file:").filter(|path| !path.is_empty()).map(PathBuf::from)
        })?;
        Ok(Self { name, endpoint, credentials })
    }
}

impl fmt::Display for GcpKmsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}", self.name)
    }
}

/// The name as Google writes it; other Sigstore tools also take `versions` for its last part.
fn canonical(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('/').collect();
    let ([projects, project, locations, location, rings, ring, keys, key], version) =
        parts.split_first_chunk()?;
    let version = match version {
        [] => None,
        [versions, version] if ["cryptoKeyVersions", "versions"].contains(versions) => {
            Some(version.parse::<u64>().ok().filter(|version| *version > 0)?)
        }
        _ => return None,
    };
    let words = [*projects, *locations, *rings, *keys];
    let words = words == ["projects", "locations", "keyRings", "cryptoKeys"];
    // A project may be of a domain: `example.com:project`.
    let is_id = |text: &str, more: &str| {
        let good = |byte: u8| {
            byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || more.as_bytes().contains(&byte)
        };
        !text.is_empty() && text.bytes().all(good)
    };
    let ids = is_id(project, ".:")
        && !project.starts_with('.')
        && [location, ring, key].iter().all(|id| is_id(id, ""));
    (words && ids).then(|| {
        let key =
            format!("projects/{project}/locations/{location}/keyRings/{ring}/cryptoKeys/{key}");
        version.map_or(key.clone(), |version| format!("{key}/cryptoKeyVersions/{version}"))
    })
}

const SCHEME: &str = "gcpkms";
const FORM: &str = "'//projects/…/locations/…/keyRings/…/cryptoKeys/…/cryptoKeyVersions/N'";
const PARAMETERS: &[&str] = &["endpoint", "credentials"];

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "//projects/p-1/locations/global/keyRings/r/cryptoKeys/ca";

    #[test]
    fn a_version_of_a_key_is_named_as_google_names_it() {
        for text in [format!("{KEY}/cryptoKeyVersions/3"), format!("{KEY}/versions/3")] {
            let uri: GcpKmsUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), format!("gcpkms:{KEY}/cryptoKeyVersions/3"));
        }
        let uri: GcpKmsUri =
            "//projects/example.com:p/locations/eu/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1?\
             endpoint=https://cloudkms.eu.rep.googleapis.com&credentials=file:sa.json"
                .parse()
                .unwrap();
        let uri = uri.resolved_in(Path::new("/etc/mayfly"));
        assert_eq!(uri.credentials.as_deref(), Some(Path::new("/etc/mayfly/sa.json")));
        assert_eq!(
            uri.endpoint.as_ref().map(Endpoint::as_str),
            Some("https://cloudkms.eu.rep.googleapis.com")
        );
    }

    #[test]
    fn mistakes_are_explained() {
        for text in [
            format!("{KEY}/cryptoKeyVersions"),
            format!("{KEY}/cryptoKeyVersions/latest"),
            format!("{KEY}/cryptoKeyVersions/0"),
            format!("{KEY}/cryptoKeyVersions/1/more"),
            format!("{}/cryptoKeyVersions/1", KEY.replace("p-1", "..")),
            format!("{}/cryptoKeyVersions/1", KEY.replace("/r/", "//")),
            KEY.replace("//", ""),
        ] {
            let error = text.parse::<GcpKmsUri>().unwrap_err().to_string();
            assert!(error.starts_with("'gcpkms:' is not followed by '//projects/"), "{error}");
        }
        let bad = format!("{KEY}/cryptoKeyVersions/1?credentials=ya29.secret");
        let error = bad.parse::<GcpKmsUri>().unwrap_err().to_string();
        assert_eq!(error, "'gcpkms:': 'credentials' must be file:PATH");
    }
}
