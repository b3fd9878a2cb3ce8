//! `type: kubernetes`: a service account of a cluster.

use super::{IdentityError, Name, NameOrigin, UnusableClaim, claim};
use crate::{oidc::VerifiedToken, x509::SubjectAltName};

/// `https://kubernetes.io/namespaces/NS/serviceaccounts/SA`, from the object that a cluster puts
/// into its tokens. Two clusters give one service account the same name; the issuer tells them
/// apart.
///
/// The reference writes whatever stands there, an absent namespace as nothing. Here both must be
/// there and be such names as Kubernetes gives, so that no slash moves one into the other's place.
pub(super) fn name(token: &VerifiedToken) -> Result<Name, IdentityError> {
    let cluster = token.claims().value("kubernetes.io");
    let namespace = cluster.and_then(|cluster| cluster.get("namespace"));
    let namespace = claim::text(NAMESPACE, namespace)?;
    if !is_label(namespace) {
        return Err(claim::unusable(NAMESPACE, UnusableClaim::NotAKubernetesName));
    }
    let account = cluster.and_then(|cluster| cluster.get("serviceaccount")?.get("name"));
    let account = claim::text(ACCOUNT, account)?;
    if account.len() > MAX_SUBDOMAIN_BYTES || !account.split('.').all(is_label) {
        return Err(claim::unusable(ACCOUNT, UnusableClaim::NotAKubernetesName));
    }
    let uri = format!("https://kubernetes.io/namespaces/{namespace}/serviceaccounts/{account}");
    let san = SubjectAltName::uri(&uri)
        .map_err(|reason| IdentityError::Name { origin: NameOrigin::ServiceAccount, reason })?;
    Ok(Name::alone(san, token))
}

/// RFC 1123, 2.1, in lower case: what Kubernetes asks of a namespace, and of each part of the name
/// of a service account.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

const NAMESPACE: &str = "kubernetes.io.namespace";
const ACCOUNT: &str = "kubernetes.io.serviceaccount.name";
const MAX_SUBDOMAIN_BYTES: usize = 253;
