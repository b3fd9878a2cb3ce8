use super::public_key::PublicKey;

/// A PKCS #10 request whose self-signature verified. Only its key counts (NT-41).
#[derive(Clone, Debug)]
pub struct Csr {}

#[derive(Debug, thiserror::Error)]
pub enum CsrError {}

impl Csr {
    /// PEM `CERTIFICATE REQUEST` or `NEW CERTIFICATE REQUEST`; checks the signature.
    pub fn parse_and_verify(_pem: &[u8]) -> Result<Self, CsrError> {
        todo!()
    }
    pub fn into_public_key(self) -> PublicKey {
        todo!()
    }
}
