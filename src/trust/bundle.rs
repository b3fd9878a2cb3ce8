//! The trust bundle: every chain a verifier must know, as PEM.

use serde::Serialize;

use crate::x509::Certificate;

/// Answer of `GET /api/v2/trustBundle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrustBundle {
    chains: Vec<PemChain>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PemChain {
    certificates: Vec<String>,
}

/// One chain per authority, issuing CA first, root last, each PEM with its last line end.
pub fn trust_bundle(chains: &[&[Certificate]]) -> TrustBundle {
    let pem_chain = |chain: &&[Certificate]| PemChain {
        certificates: chain.iter().map(|certificate| certificate.pem().to_owned()).collect(),
    };
    TrustBundle { chains: chains.iter().map(pem_chain).collect() }
}

/// All chains in one PEM file.
pub fn trust_bundle_pem(chains: &[&[Certificate]]) -> String {
    chains.iter().copied().flatten().map(Certificate::pem).collect()
}
