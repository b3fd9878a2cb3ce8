use crate::time::Timestamp;

/// A parsed certificate of a CA chain, with the fields that issuing, chain checks and trust
/// documents need. (A leaf of our own making is `ca::Issued`.)
#[derive(Clone, Debug)]
pub struct Certificate {}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {}

impl Certificate {
    pub fn parse_der(_der: &[u8]) -> Result<Self, CertificateError> {
        todo!()
    }
    /// All `CERTIFICATE` blocks of a PEM file, in order.
    pub fn parse_pem_chain(_pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        todo!()
    }
    pub fn der(&self) -> &[u8] {
        todo!()
    }
    /// PEM with 64-column lines and a trailing newline.
    pub fn pem(&self) -> &str {
        todo!()
    }
    pub fn spki_der(&self) -> &[u8] {
        todo!()
    }
    pub fn subject_der(&self) -> &[u8] {
        todo!()
    }
    pub fn issuer_der(&self) -> &[u8] {
        todo!()
    }
    /// First O and CN of the subject, for trust documents.
    pub fn organization(&self) -> Option<&str> {
        todo!()
    }
    pub fn common_name(&self) -> Option<&str> {
        todo!()
    }
    pub fn not_before(&self) -> Timestamp {
        todo!()
    }
    pub fn not_after(&self) -> Timestamp {
        todo!()
    }
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        todo!()
    }
    pub fn fingerprint(&self) -> [u8; 32] {
        todo!()
    }
    // + is_ca(), path_len(), key_usage..., eku..., is_signed_by(&Certificate) as chain checks need
}
