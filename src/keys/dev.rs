//! The development keys, which everybody has.
//!
//! In: a path or a public key. Out: whether it is one of those under `keys-dev/`. The private
//! halves are published with the source, so a server that signed with them would be anybody's: the
//! binary refuses them unless it was started with `--dev`. Known are the folder by its name and
//! the keys by their hash, so that a copied file is refused too.

use std::path::Path;

use aws_lc_rs::digest;

use super::KeyUri;

/// A development key was to be used in earnest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{key} is a development key whose private half is public; only with --dev may it be used")]
pub struct DevelopmentKeyRefused {
    /// Where it lies.
    pub key: KeyUri,
}

/// Refuses a key that is one of the development keys, or lies in a folder `keys-dev`, unless
/// `dev` is said.
///
/// # Errors
/// It is one, and `dev` is not said.
pub fn refuse(key: &KeyUri, spki_der: &[u8], dev: bool) -> Result<(), DevelopmentKeyRefused> {
    let in_folder = matches!(key, KeyUri::File(path) if is_development_path(path));
    if !dev && (is_development_key(spki_der) || in_folder) {
        return Err(DevelopmentKeyRefused { key: key.clone() });
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
    ("root", "a797d24824106ca8736238d1762a1340b26ff8f27057bfd3505c4be9fb3a58a0"),
    ("issuing", "aa873f4a613500703ae4b3ede68ee68799db69400d46234dad63cf91e9960ca4"),
    ("log", "2b074c4408e0da0b0771dfeb4fba4b25d5fea0de9805ef71a26068a608c6ca21"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::file, x509::Certificate};

    fn development_keys() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
        let mut keys = Vec::new();
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            match name.as_str() {
                "README.md" => {}
                "chain.pem" => {
                    let chain = Certificate::parse_pem_chain(&std::fs::read(path).unwrap());
                    for certificate in chain.unwrap() {
                        let name = certificate.subject().to_owned();
                        keys.push((name, certificate.spki_der().to_vec()));
                    }
                }
                _ => {
                    let signer = file::open(&path, None).unwrap();
                    keys.push((name, signer.public_key_der().to_vec()));
                }
            }
        }
        keys
    }

    #[test]
    fn every_key_in_the_folder_is_known_and_every_known_key_is_there() {
        let keys = development_keys();
        for (name, spki_der) in &keys {
            assert!(is_development_key(spki_der), "{name} is missing in SPKI_SHA256");
        }
        let mut hashes: Vec<String> = keys
            .iter()
            .map(|(_, spki_der)| hex::encode(digest::digest(&digest::SHA256, spki_der)))
            .collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), SPKI_SHA256.len());
    }

    #[test]
    fn a_development_key_is_refused_wherever_it_lies_unless_dev_is_said() {
        let (_, known) = development_keys().swap_remove(0);
        let elsewhere = KeyUri::File("/etc/mayfly/ca.pem".into());
        let error = refuse(&elsewhere, &known, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "file:/etc/mayfly/ca.pem is a development key whose private half is public; only \
             with --dev may it be used"
        );
        assert_eq!(refuse(&elsewhere, &known, true), Ok(()));
    }

    #[test]
    fn any_key_in_the_folder_is_refused_and_a_key_of_ones_own_is_not() {
        let own = file::generate(crate::keys::SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let own = own.signer.public_key_der();
        let refused = |path: &str| refuse(&KeyUri::File(path.into()), own, false).is_err();
        assert!(refused("keys-dev/mine.pem") && refused("/src/mayfly/keys-dev/sub/mine.pem"));
        assert!(!refused("keys/mine.pem") && !refused("/etc/my-keys-dev/mine.pem"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_into_the_folder_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("k.pem"), "x").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(is_development_path(&link.join("k.pem")));
    }
}
