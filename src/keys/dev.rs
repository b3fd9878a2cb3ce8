//! The development keys, which everybody has.
//!
//! In: a path or a public key. Out: whether it is one of those under `keys-dev/`. The private
//! halves are published with the source, so a server that signed with them would be anybody's: the
//! binary refuses them unless it was started with `--dev`. Known are the folder by its name and
//! the keys by their hash, so that a copied file is refused too.

use std::path::Path;

use aws_lc_rs::digest;

/// A development key was to be used in earnest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} is a development key whose private half is public; only with --dev may it be used")]
pub struct DevelopmentKeyRefused {
    /// The key's name, without secrets.
    pub what: String,
}

/// Refuses a key that is one of the development keys, or lies in a folder `keys-dev`, unless
/// `dev` is said.
///
/// # Errors
/// It is one, and `dev` is not said.
pub fn refuse(
    name: &str,
    path: Option<&Path>,
    spki_der: &[u8],
    dev: bool,
) -> Result<(), DevelopmentKeyRefused> {
    if !dev && (is_development_key(spki_der) || path.is_some_and(is_development_path)) {
        return Err(DevelopmentKeyRefused {
            what: name.to_owned(),
        });
    }
    Ok(())
}

/// Whether a DER SubjectPublicKeyInfo is one of the keys under `keys-dev/`.
pub fn is_development_key(spki_der: &[u8]) -> bool {
    let hash = hex::encode(digest::digest(&digest::SHA256, spki_der));
    SPKI_SHA256.iter().any(|(_, known)| *known == hash)
}

/// Whether a path leads through a folder `keys-dev`.
pub fn is_development_path(path: &Path) -> bool {
    let through = |path: &Path| path.components().any(|part| part.as_os_str() == FOLDER);
    // A link to the folder is the folder; a path that does not exist fails when it is opened.
    through(path) || path.canonicalize().is_ok_and(|real| through(&real))
}

const FOLDER: &str = "keys-dev";

/// SHA-256 of the SubjectPublicKeyInfo of each key whose private half is, or was, in the folder.
const SPKI_SHA256: [(&str, &str); 3] = [
    (
        "root",
        "a797d24824106ca8736238d1762a1340b26ff8f27057bfd3505c4be9fb3a58a0",
    ),
    (
        "issuing",
        "aa873f4a613500703ae4b3ede68ee68799db69400d46234dad63cf91e9960ca4",
    ),
    (
        "log",
        "2b074c4408e0da0b0771dfeb4fba4b25d5fea0de9805ef71a26068a608c6ca21",
    ),
];
