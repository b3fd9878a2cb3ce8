//! The making of CA certificates: a root that signs itself, and an issuing CA below it.
//!
//! In: signers, names, times, serials. Out: [`Certificate`]s as clients demand them of a CA
//! (docs: certificate profile). Knows nothing of files. Not on any request's path, so rcgen
//! writes these certificates.

use std::cell::RefCell;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData, SerialNumber, SigningKey,
};

use super::Serial;
use crate::{
    keys::{SignError, SignatureAlgorithm, Signer},
    time::Timestamp,
    x509::{Certificate, PublicKey, certificate::CertificateError, public_key::KeyError},
};

/// A CA certificate to be made.
#[derive(Clone, Debug)]
pub struct NewCa<'a> {
    /// O of the subject.
    pub organization: &'a str,
    /// CN of the subject. An issuing CA that replaces another needs another one: some clients
    /// find an issuer by its name alone.
    pub common_name: &'a str,
    /// Valid from here.
    pub now: Timestamp,
    /// For so long.
    pub lifetime_seconds: u64,
    /// Its number.
    pub serial: Serial,
}

/// Why no CA certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    #[error("key {key} is RSA: clients take CA keys on P-256 and P-384 only")]
    Rsa { key: String },
    #[error("the public key of {key} cannot be used")]
    PublicKey {
        key: String,
        #[source]
        source: KeyError,
    },
    #[error("organization and common name of a CA must not be empty")]
    EmptyName,
    #[error("the certificate would be valid until {not_after}, but its issuer only until {issuer}")]
    OutlivesIssuer { not_after: Timestamp, issuer: Timestamp },
    #[error(
        "the subject of the issuer ({issuer}) is not written as Mayfly writes one (O, then CN, \
         both UTF8String): a certificate below it would not be found by its name"
    )]
    IssuerName { issuer: String },
    #[error("the issuer has no subject key identifier")]
    NoKeyId,
    #[error("key {key} is not the key of {issuer}")]
    OtherKey { key: String, issuer: String },
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the certificate could not be written")]
    Write {
        #[source]
        source: rcgen::Error,
    },
    #[error("the certificate that was written cannot be read back")]
    Unreadable(#[from] CertificateError),
    #[error("the signature on the certificate that was written does not verify")]
    Signature,
}

/// Makes a self-signed root, below which there may be one level of issuing CAs.
///
/// # Errors
/// The key cannot sign for a CA, or the names are empty.
pub async fn create_root(
    signer: &dyn Signer,
    new: &NewCa<'_>,
) -> Result<Certificate, CeremonyError> {
    let params = ca_params(new, 1)?;
    let root = sign_with(signer, |key| params.self_signed(key).map(|made| made.der().to_vec()));
    let root = Certificate::parse_der(&root.await?)?;
    if root.is_self_signed() { Ok(root) } else { Err(CeremonyError::Signature) }
}

/// Makes an issuing CA for `subject_key`, for code signing only and with no CA below it.
///
/// # Errors
/// The issuer's key does not sign or is not the certificate's, the issuer's name cannot be
/// repeated, or the certificate would outlive its issuer.
pub async fn create_intermediate(
    issuer: &Certificate,
    issuer_signer: &dyn Signer,
    subject_key: &dyn Signer,
    new: &NewCa<'_>,
) -> Result<Certificate, CeremonyError> {
    if issuer.spki_der() != issuer_signer.public_key_der() {
        return Err(CeremonyError::OtherKey {
            key: issuer_signer.name().to_owned(),
            issuer: issuer.subject().to_owned(),
        });
    }
    let not_after = new.now.unix_seconds().saturating_add(new.lifetime_seconds);
    let not_after = Timestamp::from_unix_seconds(not_after);
    if not_after > issuer.not_after() {
        let issuer = issuer.not_after();
        return Err(CeremonyError::OutlivesIssuer { not_after, issuer });
    }
    let mut params = ca_params(new, 0)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.use_authority_key_identifier_extension = true;
    let issuer_params = params_of(issuer)?;
    let subject_key = PublicHalf::of(subject_key)?;
    let made = sign_with(issuer_signer, |key| {
        let issuer = rcgen::Issuer::from_params(&issuer_params, key);
        params.signed_by(&subject_key, &issuer).map(|made| made.der().to_vec())
    });
    let made = Certificate::parse_der(&made.await?)?;
    if made.issuer_der() != issuer.subject_der() {
        return Err(CeremonyError::IssuerName { issuer: issuer.subject().to_owned() });
    }
    if made.is_signed_by(issuer) { Ok(made) } else { Err(CeremonyError::Signature) }
}

/// What every CA certificate has: critical basicConstraints with cA, critical keyUsage for
/// signing certificates and revocation lists, a subject key identifier.
fn ca_params(new: &NewCa<'_>, path_len: u8) -> Result<CertificateParams, CeremonyError> {
    if new.organization.is_empty() || new.common_name.is_empty() {
        return Err(CeremonyError::EmptyName);
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = name(new.organization, new.common_name);
    params.serial_number = Some(SerialNumber::from_slice(new.serial.as_bytes()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let first_second = std::time::Duration::from_secs(new.now.unix_seconds());
    params.not_before = epoch + first_second;
    params.not_after = params.not_before + std::time::Duration::from_secs(new.lifetime_seconds);
    Ok(params)
}

/// The issuer's name and key identifier, as far as they go into certificates below it.
fn params_of(issuer: &Certificate) -> Result<CertificateParams, CeremonyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name =
        name(issuer.organization().unwrap_or_default(), issuer.common_name().unwrap_or_default());
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key_id = issuer.subject_key_id().ok_or(CeremonyError::NoKeyId)?;
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id.to_vec());
    Ok(params)
}

fn name(organization: &str, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    name.push(DnType::CommonName, common_name);
    name
}

/// Writes a certificate with a key that signs asynchronously, which rcgen does not know: once to
/// learn which bytes are to be signed, and again with the signature in hand.
async fn sign_with(
    signer: &dyn Signer,
    write: impl Fn(&CeremonyKey) -> Result<Vec<u8>, rcgen::Error>,
) -> Result<Vec<u8>, CeremonyError> {
    let mut key = CeremonyKey {
        public: PublicHalf::of(signer)?,
        signature: Vec::new(),
        asked_to_sign: RefCell::default(),
    };
    write(&key).map_err(|source| CeremonyError::Write { source })?;
    let to_sign = key.asked_to_sign.take();
    key.signature = signer.sign(&to_sign).await?;
    // Should the two writings differ, the signature does not verify, and the caller finds out.
    write(&key).map_err(|source| CeremonyError::Write { source })
}

/// A public key as rcgen sees it.
struct PublicHalf {
    algorithm: &'static rcgen::SignatureAlgorithm,
    key_octets: Vec<u8>,
}

/// A key as rcgen sees it: notes what it is asked to sign, answers with what it was given.
struct CeremonyKey {
    public: PublicHalf,
    signature: Vec<u8>,
    asked_to_sign: RefCell<Vec<u8>>,
}

impl PublicHalf {
    fn of(signer: &dyn Signer) -> Result<Self, CeremonyError> {
        let key = || signer.name().to_owned();
        let algorithm = match signer.algorithm() {
            SignatureAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            SignatureAlgorithm::RsaPkcs1Sha256 => return Err(CeremonyError::Rsa { key: key() }),
        };
        let public_key = PublicKey::parse_der(signer.public_key_der())
            .map_err(|source| CeremonyError::PublicKey { key: key(), source })?;
        Ok(Self { algorithm, key_octets: public_key.key_octets().to_vec() })
    }
}

impl PublicKeyData for PublicHalf {
    fn der_bytes(&self) -> &[u8] {
        &self.key_octets
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

impl PublicKeyData for CeremonyKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl SigningKey for CeremonyKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.asked_to_sign.replace(message.to_vec());
        Ok(self.signature.clone())
    }
}

#[cfg(test)]
#[path = "ceremony_tests.rs"]
mod tests;
