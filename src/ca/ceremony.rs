//! The making of CA certificates: a root that signs itself, issuing CAs below it, and the request
//! for one.
//!
//! In: signers, names, times, serials. Out: [`Certificate`]s as clients demand them of a CA
//! (docs: certificate profile), each held against that profile before its key signs. Knows nothing of files. Not on any request's path, so rcgen
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
    x509::{
        Certificate, ClientKeyAlgorithm, Csr, PublicKey, Validity,
        ca_lint::{self, BrokenCaRule, CaPlace},
        certificate::CertificateError,
        csr::CsrError,
        leaf::LeafError,
        pem,
        public_key::KeyError,
        template,
        validity::TimeOutOfRange,
    },
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
    #[error("the key to be certified is {kind}: clients take CA keys on P-256 and P-384 only")]
    SubjectKeyKind { kind: ClientKeyAlgorithm },
    #[error("organization and common name of a CA must not be empty")]
    EmptyName,
    #[error("the certificate would be valid until {not_after}, but its issuer only until {issuer}")]
    OutlivesIssuer { not_after: Timestamp, issuer: Timestamp },
    #[error("the certificate would be valid too long")]
    Time(#[from] TimeOutOfRange),
    #[error(
        "the subject of the issuer ({issuer}) is not written as Mayfly writes one (O, then CN, \
         both UTF8String): a certificate below it would not be found by its name"
    )]
    IssuerName { issuer: String },
    #[error("the issuer has no subject key identifier")]
    NoKeyId,
    #[error("key {key} is not the key of {issuer}")]
    OtherKey { key: String, issuer: String },
    #[error("the certificate would break the profile: {}", told(.rules))]
    Profile { rules: Vec<BrokenCaRule> },
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the certificate could not be written")]
    Write {
        #[source]
        source: rcgen::Error,
    },
    #[error("the certificate that was written cannot be read back")]
    Unreadable(#[from] CertificateError),
    #[error("what is to be signed cannot be read back")]
    UnreadableDraft(#[from] LeafError),
    #[error("the signature on the certificate that was written does not verify")]
    Signature,
    #[error("the request that was written cannot be read back")]
    Request(#[from] CsrError),
}

/// Makes a self-signed root, below which there may be one level of issuing CAs.
///
/// # Errors
/// As [`create_root_above`].
pub async fn create_root(
    signer: &dyn Signer,
    new: &NewCa<'_>,
) -> Result<Certificate, CeremonyError> {
    create_root_above(signer, new, 1).await
}

/// Makes a self-signed root, below which there may be `path_len` levels of CAs.
///
/// # Errors
/// The key cannot sign for a CA, or names, lifetime or `path_len` are not those of a root.
pub async fn create_root_above(
    signer: &dyn Signer,
    new: &NewCa<'_>,
    path_len: u8,
) -> Result<Certificate, CeremonyError> {
    let params = ca_params(new, path_len, &PublicHalf::of(signer)?)?;
    let write = |key: &CeremonyKey| params.self_signed(key).map(|made| made.der().to_vec());
    let root = sign_certificate(signer, write, CaPlace::Root).await?;
    if root.is_self_signed() { Ok(root) } else { Err(CeremonyError::Signature) }
}

/// Makes an issuing CA for `subject_key`, for code signing only and with no CA below it.
///
/// # Errors
/// As [`certify`].
pub async fn create_intermediate(
    issuer: &Certificate,
    issuer_signer: &dyn Signer,
    subject_key: &dyn Signer,
    new: &NewCa<'_>,
) -> Result<Certificate, CeremonyError> {
    let subject_key = PublicHalf::of(subject_key)?;
    certify_half(issuer, issuer_signer, &subject_key, new, Purpose::CodeSigning(0)).await
}

/// Makes a Precertificate Signing Certificate for `subject_key` (RFC 6962, 3.1): it signs nothing
/// but precertificates of `issuer`, whose key the final certificates are signed with.
///
/// # Errors
/// As [`certify`]; also if `issuer` does not say that no CA may stand below it.
pub async fn create_precertificate_signer(
    issuer: &Certificate,
    issuer_signer: &dyn Signer,
    subject_key: &dyn Signer,
    new: &NewCa<'_>,
) -> Result<Certificate, CeremonyError> {
    let subject_key = PublicHalf::of(subject_key)?;
    certify_half(issuer, issuer_signer, &subject_key, new, Purpose::Precertificates).await
}

/// Makes a CA certificate for code signing, below which there may be `path_len` levels of CAs, for
/// a key of which only the public half is here.
///
/// # Errors
/// The issuer's key does not sign or is not the certificate's, the issuer's name cannot be
/// repeated, or the certificate would outlive its issuer or break another rule of the profile.
pub async fn certify(
    issuer: &Certificate,
    issuer_signer: &dyn Signer,
    subject_key: &PublicKey,
    new: &NewCa<'_>,
    path_len: u8,
) -> Result<Certificate, CeremonyError> {
    let subject_key = PublicHalf::of_public(subject_key)?;
    certify_half(issuer, issuer_signer, &subject_key, new, Purpose::CodeSigning(path_len)).await
}

/// What a CA below another is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// With so many levels of CAs below.
    CodeSigning(u8),
    Precertificates,
}

async fn certify_half(
    issuer: &Certificate,
    issuer_signer: &dyn Signer,
    subject_key: &PublicHalf,
    new: &NewCa<'_>,
    purpose: Purpose,
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
    let issuer_params = params_of(issuer)?;
    if !repeats_name(&issuer_params, issuer)? {
        return Err(CeremonyError::IssuerName { issuer: issuer.subject().to_owned() });
    }
    let (path_len, usage, place) = match purpose {
        Purpose::CodeSigning(path_len) => {
            (path_len, ExtendedKeyUsagePurpose::CodeSigning, CaPlace::Below(issuer))
        }
        Purpose::Precertificates => {
            let usage = ExtendedKeyUsagePurpose::Other(PRECERTIFICATE_SIGNING.to_vec());
            (0, usage, CaPlace::ForPrecertificates(issuer))
        }
    };
    let mut params = ca_params(new, path_len, subject_key)?;
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let write = |key: &CeremonyKey| {
        let issuer = rcgen::Issuer::from_params(&issuer_params, key);
        params.signed_by(subject_key, &issuer).map(|made| made.der().to_vec())
    };
    let made = sign_certificate(issuer_signer, write, place).await?;
    if made.is_signed_by(issuer) { Ok(made) } else { Err(CeremonyError::Signature) }
}

/// Asks for a CA certificate (PKCS #10, RFC 2986), as PEM: name, key and the extensions of a CA,
/// which are a wish; whoever signs decides.
///
/// # Errors
/// The key cannot sign for a CA, or the names are empty.
pub async fn create_request(
    signer: &dyn Signer,
    organization: &str,
    common_name: &str,
) -> Result<String, CeremonyError> {
    let mut params = named_params(organization, common_name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let der = sign_with(
        signer,
        |key| params.serialize_request(key).map(|made| made.der().to_vec()),
        |_| Ok(()),
    );
    let pem = pem::encode("CERTIFICATE REQUEST", &der.await?);
    // What an offline root would look at: does it parse, and does its key sign it?
    Csr::parse_and_verify(pem.as_bytes())?;
    Ok(pem)
}

/// What every CA certificate has: critical basicConstraints with cA, critical keyUsage for
/// signing certificates and revocation lists, a subject key identifier.
fn ca_params(
    new: &NewCa<'_>,
    path_len: u8,
    subject_key: &PublicHalf,
) -> Result<CertificateParams, CeremonyError> {
    // rcgen's arithmetic panics past the year 9999.
    Validity::starting_at(new.now, new.lifetime_seconds)?;
    let mut params = named_params(new.organization, new.common_name)?;
    params.serial_number = Some(SerialNumber::from_slice(new.serial.as_bytes()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    // As in leaves; rcgen's own identifier is by none of the methods of RFC 7093.
    let key_id = template::key_id(&subject_key.key_octets).to_vec();
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let first_second = std::time::Duration::from_secs(new.now.unix_seconds());
    params.not_before = epoch + first_second;
    params.not_after = params.not_before + std::time::Duration::from_secs(new.lifetime_seconds);
    Ok(params)
}

fn named_params(organization: &str, common_name: &str) -> Result<CertificateParams, CeremonyError> {
    if organization.is_empty() || common_name.is_empty() {
        return Err(CeremonyError::EmptyName);
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = name(organization, common_name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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

/// Whether rcgen writes the issuer's name as it stands in its certificate, octet by octet: found out
/// before anything is signed, with a throw-away certificate that nobody keeps.
fn repeats_name(params: &CertificateParams, issuer: &Certificate) -> Result<bool, CeremonyError> {
    let trial = |source| CeremonyError::Write { source };
    let key = rcgen::KeyPair::generate().map_err(trial)?;
    let written = params.self_signed(&key).map_err(trial)?;
    Ok(Certificate::parse_der(written.der())?.subject_der() == issuer.subject_der())
}

/// Signs a certificate that keeps to the profile; one that does not is never signed.
async fn sign_certificate(
    signer: &dyn Signer,
    write: impl Fn(&CeremonyKey) -> Result<Vec<u8>, rcgen::Error>,
    place: CaPlace<'_>,
) -> Result<Certificate, CeremonyError> {
    let kept = |rules: Vec<BrokenCaRule>| {
        if rules.is_empty() { Ok(()) } else { Err(CeremonyError::Profile { rules }) }
    };
    let lint = |tbs: &[u8]| kept(ca_lint::broken_by_tbs(tbs, place)?);
    let der = sign_with(signer, write, lint).await?;
    kept(ca_lint::broken_by_certificate(&der, place)?)?;
    Ok(Certificate::parse_der(&der)?)
}

/// Writes a document with a key that signs asynchronously, which rcgen does not know: once to
/// learn which bytes are to be signed, and, where `lint` has nothing against them, again with the
/// signature in hand.
async fn sign_with(
    signer: &dyn Signer,
    write: impl Fn(&CeremonyKey) -> Result<Vec<u8>, rcgen::Error>,
    lint: impl FnOnce(&[u8]) -> Result<(), CeremonyError>,
) -> Result<Vec<u8>, CeremonyError> {
    let mut key = CeremonyKey {
        public: PublicHalf::of(signer)?,
        signature: Vec::new(),
        asked_to_sign: RefCell::default(),
    };
    write(&key).map_err(|source| CeremonyError::Write { source })?;
    let to_sign = key.asked_to_sign.take();
    lint(&to_sign)?;
    key.signature = signer.sign(&to_sign).await?;
    // Should the two writings differ, the signature does not verify, and the caller finds out.
    write(&key).map_err(|source| CeremonyError::Write { source })
}

fn told(rules: &[BrokenCaRule]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
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
        if signer.algorithm() == SignatureAlgorithm::RsaPkcs1Sha256 {
            return Err(CeremonyError::Rsa { key: key() });
        }
        let public_key = PublicKey::parse_der(signer.public_key_der())
            .map_err(|source| CeremonyError::PublicKey { key: key(), source })?;
        Self::of_public(&public_key)
    }

    fn of_public(public_key: &PublicKey) -> Result<Self, CeremonyError> {
        let algorithm = match public_key.algorithm() {
            ClientKeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            ClientKeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            kind @ (ClientKeyAlgorithm::EcdsaP521
            | ClientKeyAlgorithm::Rsa { .. }
            | ClientKeyAlgorithm::Ed25519) => {
                return Err(CeremonyError::SubjectKeyKind { kind });
            }
        };
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

/// RFC 6962, 3.1.
const PRECERTIFICATE_SIGNING: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 4];

#[cfg(test)]
#[path = "ceremony_tests.rs"]
mod tests;
