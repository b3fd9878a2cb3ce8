//! A private key on a token, and its public half.
//!
//! In: a session that is logged in, and what the key is called. Out: the key's handle and public
//! key. Knows nothing of tokens and PINs.

use const_oid::{ObjectIdentifier, db::rfc5912};
use cryptoki::{
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use der::{Decode, asn1::OctetStringRef};

use super::{Pkcs11Uri, TokenFault};
use crate::keys::{VerifyingKey, spki};

/// What a session calls a private key, and the public key that belongs to it.
pub(super) struct Found {
    pub(super) handle: ObjectHandle,
    pub(super) public_key: VerifyingKey,
}

/// The one private key that the URI names.
pub(super) fn find(session: &Session, uri: &Pkcs11Uri) -> Result<Found, TokenFault> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.clone().map(Attribute::Id));
    let handle = match session.find_objects(&template)?[..] {
        [handle] => handle,
        [] => return Err(TokenFault::NoKey { wanted: wanted(uri) }),
        ref several => {
            return Err(TokenFault::SeveralKeys { wanted: wanted(uri), count: several.len() });
        }
    };
    let private = session.get_attributes(
        handle,
        &[
            AttributeType::Sign,
            AttributeType::AlwaysAuthenticate,
            AttributeType::KeyType,
            AttributeType::Id,
        ],
    )?;
    if private.contains(&Attribute::Sign(false)) {
        return Err(TokenFault::MayNotSign);
    }
    if private.contains(&Attribute::AlwaysAuthenticate(true)) {
        return Err(TokenFault::AlwaysAuthenticate);
    }
    let id = private.iter().find_map(|attribute| match attribute {
        Attribute::Id(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    });
    let kind = private.iter().find_map(|attribute| match attribute {
        Attribute::KeyType(kind) => Some(*kind),
        _ => None,
    });
    let kind = kind.ok_or(TokenFault::Kind)?;
    let public_key = public_half(session, handle, kind, id)?;
    Ok(Found { handle, public_key })
}

/// From the public key object with the same id, or from the private key where it tells: RSA keys
/// do, ECDSA keys of some tokens.
fn public_half(
    session: &Session,
    private: ObjectHandle,
    kind: KeyType,
    id: Option<Vec<u8>>,
) -> Result<VerifyingKey, TokenFault> {
    let mut candidates = Vec::new();
    if let Some(id) = id {
        let class = Attribute::Class(ObjectClass::PUBLIC_KEY);
        let template = [class, Attribute::KeyType(kind), Attribute::Id(id)];
        candidates.extend(session.find_objects(&template)?);
    }
    candidates.push(private);
    for object in candidates {
        let attributes = session.get_attributes(
            object,
            &[
                AttributeType::EcParams,
                AttributeType::EcPoint,
                AttributeType::Modulus,
                AttributeType::PublicExponent,
            ],
        )?;
        let spki_der = match kind {
            KeyType::EC => ec_spki(&attributes)?,
            KeyType::RSA => rsa_spki(&attributes),
            _ => return Err(TokenFault::Kind),
        };
        if let Some(spki_der) = spki_der {
            return VerifyingKey::parse_der(&spki_der)
                .map_err(|source| TokenFault::PublicKey { source });
        }
    }
    Err(TokenFault::NoPublicKey)
}

/// DER SubjectPublicKeyInfo of an elliptic curve key; `None` where the attributes do not tell it.
fn ec_spki(attributes: &[Attribute]) -> Result<Option<Vec<u8>>, TokenFault> {
    let mut params = None;
    let mut point = None;
    for attribute in attributes {
        match attribute {
            Attribute::EcParams(value) => params = Some(value),
            Attribute::EcPoint(value) if !value.is_empty() => point = Some(value),
            _ => {}
        }
    }
    let (Some(params), Some(point)) = (params, point) else { return Ok(None) };
    let curve = ObjectIdentifier::from_der(params).map_err(|_| TokenFault::Kind)?;
    let coordinate_bytes = match curve {
        rfc5912::SECP_256_R_1 => 32,
        rfc5912::SECP_384_R_1 => 48,
        _ => return Err(TokenFault::Kind),
    };
    // CKA_EC_POINT is the point as a DER OCTET STRING (PKCS #11 2.40, 2.3.3); some tokens leave
    // the wrapping out. An uncompressed point begins with 04 as an OCTET STRING does, so the
    // length tells which it is.
    let point = if point.len() == 1 + 2 * coordinate_bytes {
        point.as_slice()
    } else {
        let wrapped: &OctetStringRef =
            Decode::from_der(point).map_err(|_| TokenFault::NoPublicKey)?;
        wrapped.as_bytes()
    };
    Ok(spki::of_ec(curve, point))
}

/// DER SubjectPublicKeyInfo of an RSA key; `None` where the attributes do not tell it.
fn rsa_spki(attributes: &[Attribute]) -> Option<Vec<u8>> {
    let modulus = attributes.iter().find_map(|attribute| match attribute {
        Attribute::Modulus(value) => Some(value),
        _ => None,
    })?;
    let public_exponent = attributes.iter().find_map(|attribute| match attribute {
        Attribute::PublicExponent(value) => Some(value),
        _ => None,
    })?;
    spki::of_rsa(modulus, public_exponent)
}

fn wanted(uri: &Pkcs11Uri) -> String {
    let object = uri.object.as_ref().map(|label| format!("object '{label}'"));
    let id = uri.id.as_ref().map(|id| format!("id {}", hex::encode(id)));
    let wanted: Vec<String> = [object, id].into_iter().flatten().collect();
    if wanted.is_empty() { "any name".to_owned() } else { wanted.join(" and ") }
}

#[cfg(test)]
mod tests {
    use der::{Encode as _, asn1::UintRef};

    use super::*;
    use crate::keys::{SignatureAlgorithm, file};

    fn generated(algorithm: SignatureAlgorithm) -> Vec<u8> {
        file::generate(algorithm).unwrap().signer.public_key_der().to_vec()
    }

    fn octets(spki_der: &[u8]) -> Vec<u8> {
        let spki = ::spki::SubjectPublicKeyInfoRef::from_der(spki_der).unwrap();
        spki.subject_public_key.raw_bytes().to_vec()
    }

    #[test]
    fn a_point_is_understood_with_and_without_its_wrapping() {
        for (algorithm, curve) in [
            (SignatureAlgorithm::EcdsaP256Sha256, rfc5912::SECP_256_R_1),
            (SignatureAlgorithm::EcdsaP384Sha384, rfc5912::SECP_384_R_1),
        ] {
            let known = generated(algorithm);
            let raw = octets(&known);
            let wrapped = OctetStringRef::new(&raw).unwrap().to_der().unwrap();
            for point in [raw, wrapped] {
                let params = Attribute::EcParams(curve.to_der().unwrap());
                let found = ec_spki(&[params, Attribute::EcPoint(point)]).unwrap();
                assert_eq!(found.as_ref(), Some(&known));
            }
        }
    }

    #[test]
    fn other_curves_and_rubbish_are_no_keys() {
        let point = || Attribute::EcPoint(vec![4; 65]);
        const SECP256K1: &str = "1.3.132.0.10";
        let secp256k1 = ObjectIdentifier::new(SECP256K1).unwrap().to_der().unwrap();
        for params in [secp256k1, Vec::new(), vec![5, 0]] {
            let error = ec_spki(&[Attribute::EcParams(params), point()]).unwrap_err();
            assert!(matches!(error, TokenFault::Kind));
        }
        let params = || Attribute::EcParams(rfc5912::SECP_256_R_1.to_der().unwrap());
        assert!(ec_spki(&[params(), Attribute::EcPoint(vec![7; 12])]).is_err());
        assert!(ec_spki(&[params()]).unwrap().is_none());
        assert!(ec_spki(&[params(), Attribute::EcPoint(Vec::new())]).unwrap().is_none());
    }

    #[test]
    fn an_rsa_key_is_put_together_as_others_write_it() {
        let known = generated(SignatureAlgorithm::RsaPkcs1Sha256);
        let key = octets(&known);
        let parts: Vec<UintRef<'_>> = Decode::from_der(&key).unwrap();
        let attributes = [
            Attribute::Modulus(parts[0].as_bytes().to_vec()),
            Attribute::PublicExponent(parts[1].as_bytes().to_vec()),
        ];
        assert_eq!(rsa_spki(&attributes), Some(known));
        assert_eq!(rsa_spki(&attributes[..1]), None);
    }
}
