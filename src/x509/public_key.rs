/// A client's public key, parsed and of a permitted kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKeyAlgorithm {
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Rsa { bits: u32 },
    Ed25519,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {}

impl PublicKey {
    /// PEM (lenient: any line length, no trailing newline) or raw DER SubjectPublicKeyInfo.
    pub fn parse(_pem_or_der: &[u8]) -> Result<Self, KeyError> {
        todo!()
    }
    pub fn algorithm(&self) -> ClientKeyAlgorithm {
        todo!()
    }
    /// Canonical DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        todo!()
    }
    /// Verifies with the key's default algorithm (WIRE 1.2): P-256/SHA-256, P-384/SHA-384,
    /// P-521/SHA-512 as ASN.1, RSA PKCS #1 v1.5 with SHA-256, Ed25519 pure.
    pub fn verifies(&self, _message: &[u8], _signature: &[u8]) -> bool {
        todo!()
    }
}
