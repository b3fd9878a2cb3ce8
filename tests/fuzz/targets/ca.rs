//! Possession of a key.

use std::sync::OnceLock;

use mayfly::{
    identity::Identity,
    proof::{self, Possession},
};

use super::{
    world::{self, Issuers},
    x509,
};

/// The length of a key in two bytes, the key, and a signature; or a CSR, if the length is 0.
pub(crate) fn possession(input: &[u8]) -> bool {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    let identity = IDENTITY.get_or_init(|| {
        let issuers = Issuers::golden();
        let token = issuers.verify(world::good_token()).expect("a good token");
        issuers.profiles.derive(token).expect("with an identity")
    });
    let Some((key_bytes, rest)) = input.split_first_chunk() else { return false };
    let possession = match usize::from(u16::from_be_bytes(*key_bytes)) {
        0 => Possession::Csr(rest.to_vec()),
        key_bytes => {
            let (public_key, signature) = rest.split_at(key_bytes.min(rest.len()));
            Possession::Signature { public_key: public_key.to_vec(), signature: signature.to_vec() }
        }
    };
    match proof::check(&possession, identity) {
        Ok(proven) => {
            x509::check_key(proven.key());
            true
        }
        Err(error) => {
            let _ = error.fault();
            assert!(error.to_string().len() < 1024);
            false
        }
    }
}
