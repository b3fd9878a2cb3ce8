//! PEM, keys, requests and certificates.

use der::{Decode as _, Encode as _};
use mayfly::{
    cli::verify::presented::Presented,
    x509::{Certificate, ClientKeyAlgorithm, Csr, Leaf, PublicKey, lint, pem},
};
use spki::SubjectPublicKeyInfoRef;
use x509_cert::request::CertReq;

/// PEM of anything.
pub(crate) fn pem(input: &[u8]) -> bool {
    let blocks = match pem::blocks(input) {
        Ok(blocks) => blocks,
        // At most a label of 64 bytes, twice, stands in it.
        Err(error) => {
            assert!(error.to_string().len() < 256);
            return false;
        }
    };
    assert!(pem::looks_like_pem(input) && !blocks.is_empty());
    assert!(blocks.iter().map(|block| block.der.len()).sum::<usize>() <= input.len());
    let again: String = blocks.iter().map(|block| pem::encode(&block.label, &block.der)).collect();
    let again = pem::blocks(again.as_bytes()).expect("what we write is PEM");
    assert_eq!(again.len(), blocks.len());
    for (block, again) in blocks.iter().zip(&again) {
        assert_eq!((&block.label, &*block.der), (&again.label, &*again.der));
    }
    true
}

/// A client's public key, as PEM or as DER.
pub(crate) fn spki(input: &[u8]) -> bool {
    match PublicKey::parse(input) {
        Ok(key) => {
            match pem::blocks(input) {
                Ok(blocks) => assert_eq!(key.spki_der(), &**blocks[0].der),
                Err(_) => assert_eq!(key.spki_der(), input),
            }
            check_key(&key);
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 512);
            false
        }
    }
}

/// A certification request, as PEM.
pub(crate) fn csr(input: &[u8]) -> bool {
    match Csr::parse_and_verify(input) {
        Ok(csr) => {
            let blocks = pem::blocks(input).expect("what is taken is PEM");
            let request = CertReq::from_der(&blocks[0].der).expect("of a request");
            let spki = request.info.public_key.to_der().expect("with a key");
            assert_eq!(csr.public_key().spki_der(), spki);
            check_key(csr.public_key());
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 1024);
            false
        }
    }
}

/// A chain in PEM, or a certificate in DER, of an authority.
pub(crate) fn certificate(input: &[u8]) -> bool {
    let chain = match Certificate::parse_der(input) {
        Ok(certificate) => {
            assert_eq!(certificate.der(), input);
            vec![certificate]
        }
        Err(_) => match Certificate::parse_pem_chain(input) {
            Ok(chain) => chain,
            Err(error) => {
                assert!(error.to_string().len() < 512);
                return false;
            }
        },
    };
    assert!(!chain.is_empty());
    for certificate in &chain {
        let again = Certificate::parse_pem_chain(certificate.pem().as_bytes());
        assert_eq!(again.expect("what we write is PEM"), std::slice::from_ref(certificate));
        let der = certificate.der();
        for part in [certificate.subject_der(), certificate.issuer_der(), certificate.spki_der()] {
            assert!(der.windows(part.len()).any(|window| window == part), "not as it was read");
        }
        let _ = (certificate.key_algorithm(), certificate.is_self_signed(), certificate.path_len());
        assert!(format!("{certificate:?}").len() < 8 * der.len() + 256);
        let (from, until) = (certificate.not_before(), certificate.not_after());
        assert_eq!(certificate.is_valid_at(from), from <= until);
    }
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
        let _ = certificate.is_signed_by(issuer);
    }
    true
}

/// A leaf certificate, by the reader of the server and by that of the client, who share no code.
pub(crate) fn leaf(input: &[u8]) -> bool {
    let presented = Presented::parse(input);
    if let Ok(presented) = &presented {
        assert_eq!(presented.der(), input);
        let _ = (presented.identities(), presented.oidc_issuer(), presented.subject());
        let _ = presented.critical_extensions().count();
    }
    if let Ok(leaf) = Leaf::parse_tbs(input) {
        assert_eq!(leaf.tbs, input);
    }
    let Ok(leaf) = Leaf::parse_certificate(input) else { return false };
    for stage in [lint::Stage::Precertificate, lint::Stage::Certificate, lint::Stage::Unlogged] {
        let _ = lint::check(&leaf, stage, 600);
    }
    if let Ok(public_key) = PublicKey::parse_der(leaf.public_key) {
        let origin = lint::Origin {
            issuer: leaf.issuer,
            issuer_key_id: &[],
            issuer_valid_until: leaf.not_after,
            algorithm: leaf.algorithm,
            public_key: &public_key,
        };
        let _ = lint::check_origin(&leaf, &origin);
    }
    let logged = leaf.logged_tbs();
    if let Ok(logged) = &logged {
        let again = Leaf::parse_tbs(logged).expect("what we write can be read");
        assert!(again.sct_list().is_err());
        assert_eq!(again.extensions.len() + 1, leaf.extensions.len());
    }
    if let (Ok(presented), Ok(logged)) = (presented, logged) {
        assert_eq!(presented.tbs_der(), leaf.tbs);
        assert_eq!(presented.not_before(), leaf.not_before);
        assert_eq!(presented.not_after(), leaf.not_after);
        assert_eq!(presented.tbs_without_sct_list().expect("it has one"), logged);
        assert_eq!(presented.sct_list().ok().as_deref(), leaf.sct_list().ok());
    }
    true
}

/// What every key promises that is taken: it has one encoding, and nobody can sign for it who
/// does not hold it.
pub(crate) fn check_key(key: &PublicKey) {
    let spki = SubjectPublicKeyInfoRef::from_der(key.spki_der()).expect("a SPKI");
    assert_eq!(spki.to_der().expect("a SPKI"), key.spki_der());
    assert_eq!(spki.subject_public_key.as_bytes(), Some(key.key_octets()));
    assert_eq!(PublicKey::parse_der(key.spki_der()).as_ref(), Ok(key));
    let wrapped = pem::encode("PUBLIC KEY", key.spki_der());
    assert_eq!(PublicKey::parse(wrapped.as_bytes()).as_ref(), Ok(key));
    let signature_bytes = match key.algorithm() {
        ClientKeyAlgorithm::Rsa { bits } => bits as usize / 8,
        ClientKeyAlgorithm::Ed25519 => 64,
        // r and s are 1: a signature in form, and of nobody.
        _ => return assert!(!key.verifies(b"a challenge", &[0x30, 6, 2, 1, 1, 2, 1, 1])),
    };
    for byte in [0, 1, 0xff] {
        assert!(!key.verifies(b"a challenge", &vec![byte; signature_bytes]));
    }
}
