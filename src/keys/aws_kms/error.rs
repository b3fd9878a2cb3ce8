//! What can be wrong with a key of AWS KMS, and what may help.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::keys::{
    SignatureAlgorithm, VerifyingKeyError,
    remote::{Fault, FaultKind},
};

/// A key of AWS KMS does not open.
#[derive(Debug, thiserror::Error)]
#[error("key {key}: {fault}")]
pub struct OpenAwsKeyError {
    /// Which.
    pub key: String,
    /// Why.
    pub fault: Box<AwsKeyFault>,
}

/// What is wrong. No variant carries a secret.
#[derive(Debug, thiserror::Error)]
pub enum AwsKeyFault {
    #[error("a passphrase is configured, but AWS's own credentials open this key: remove it")]
    Passphrase,
    #[error(
        "no region is known; add '?region=NAME' to the key, name it by its ARN, or set AWS_REGION"
    )]
    NoRegion,
    #[error("AWS KMS did not answer within {seconds} seconds")]
    Hangs { seconds: u64 },
    #[error("{0}")]
    Call(Fault),
    #[error(
        "its usage is {usage}; only keys of usage SIGN_VERIFY sign, and a key's usage is for good: \
         create another"
    )]
    Usage { usage: String },
    #[error(
        "its kind ({spec}) is not permitted; ECC_NIST_P256, ECC_NIST_P384, RSA_2048, RSA_3072 and \
         RSA_4096 are: {source}"
    )]
    Kind { spec: String, source: VerifyingKeyError },
    #[error("AWS KMS does not offer {algorithm} for this key")]
    Algorithm { algorithm: SignatureAlgorithm },
    #[error("AWS KMS answered GetPublicKey without {part}")]
    Incomplete { part: &'static str },
}

/// What an attempt says that failed. `action` is what IAM calls it: `kms:Sign`.
pub(super) fn fault_of<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let operation = action.trim_start_matches("kms:");
    let fault = |kind, code: String| Fault { kind, operation, code };
    if let Some((kind, code)) = credentials_fault(error) {
        return fault(kind, code.to_owned());
    }
    let SdkError::ServiceError(service) = error else {
        return fault(FaultKind::Transient, connection_fault(error).to_owned());
    };
    let status = service.raw().status();
    let Some(code) = service.err().code().filter(|code| is_code(code)) else {
        let kind =
            if status.is_server_error() { FaultKind::Transient } else { FaultKind::Permanent };
        return fault(kind, format!("status {}", status.as_u16()));
    };
    let kind = kind_of(code, status.is_server_error());
    match advice(code) {
        Some(Advice::Permission) => fault(
            kind,
            format!(
                "{code}: allow {action} on this key, in the policy of these credentials or its own"
            ),
        ),
        Some(Advice::Text(advice)) => fault(kind, format!("{code}: {advice}")),
        None => fault(kind, code.to_owned()),
    }
}

/// A name of an exception, and not what else a stranger may put into an answer.
fn is_code(code: &str) -> bool {
    (1..=80).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The names are those of AWS KMS's API reference, `Errors` and `CommonErrors`.
fn kind_of(code: &str, by_server: bool) -> FaultKind {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "LimitExceededException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded" => FaultKind::Throttled,
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired"
        | "NotAuthorized"
        | "OptInRequired" => FaultKind::Unauthorized,
        "KMSInternalException"
        | "DependencyTimeoutException"
        | "KeyUnavailableException"
        | "InternalFailure"
        | "ServiceUnavailable" => FaultKind::Transient,
        _ if by_server => FaultKind::Transient,
        _ => FaultKind::Permanent,
    }
}

enum Advice {
    Permission,
    Text(&'static str),
}

fn advice(code: &str) -> Option<Advice> {
    let text = match code {
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => {
            return Some(Advice::Permission);
        }
        "NotFoundException" => "no such key or alias in this region and account",
        "DisabledException" => "the key is disabled; enable it",
        "KMSInvalidStateException" => {
            "the key is pending deletion or import, or otherwise not usable"
        }
        "UnsupportedOperationException" => "the key is not of a kind that does this",
        "InvalidKeyUsageException" => "the key is not of a usage that does this",
        "IncorrectKeyException" => "it was encrypted under another key",
        "InvalidCiphertextException" => {
            "it was not encrypted by this service for this public key, or was changed"
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" => {
            "AWS does not know the credentials, or not any more"
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "the secret access key is not that of the access key id, or the clock is wrong"
        }
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
            "the credentials have expired, or the clock is wrong"
        }
        _ => return None,
    };
    Some(Advice::Text(text))
}

/// What the chain of credentials says, wherever the SDK puts it.
fn credentials_fault(error: &(dyn Error + 'static)) -> Option<(FaultKind, &'static str)> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return Some(match error {
                CredentialsError::CredentialsNotLoaded(_) => (
                    FaultKind::Unauthorized,
                    "no AWS credentials were found: not in the environment, a profile, a web \
                     identity, a container or an instance",
                ),
                CredentialsError::InvalidConfiguration(_) => (
                    FaultKind::Unauthorized,
                    "what AWS's configuration files or environment say about credentials is not \
                     valid",
                ),
                CredentialsError::ProviderTimedOut(_) => {
                    (FaultKind::Transient, "the source of AWS credentials did not answer in time")
                }
                _ => (
                    FaultKind::Transient,
                    "the source of AWS credentials gave none; 'aws sts get-caller-identity' in \
                     the same environment says why",
                ),
            });
        }
        cause = error.source();
    }
    None
}

fn connection_fault<E>(error: &SdkError<E, HttpResponse>) -> &'static str {
    match error {
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "no connection in time",
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            "no connection to the endpoint, or it was cut"
        }
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::ResponseError(_) => "the answer is not one of AWS KMS",
        _ => "the request could not be sent",
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::{
        error::{ConnectorError, ErrorMetadata},
        operation::sign::SignError,
    };

    use super::*;

    fn told(code: &str, status: u16) -> Fault {
        let metadata = ErrorMetadata::builder().code(code).message("arn:of:someone").build();
        let response = HttpResponse::new(status.try_into().unwrap(), "".into());
        let error = SdkError::service_error(SignError::generic(metadata), response);
        fault_of("kms:Sign", &error)
    }

    #[test]
    fn each_code_of_aws_says_what_may_help() {
        for (kind, codes) in [
            (FaultKind::Throttled, &["ThrottlingException", "LimitExceededException"][..]),
            (
                FaultKind::Unauthorized,
                &[
                    "AccessDeniedException",
                    "UnrecognizedClientException",
                    "InvalidSignatureException",
                    "ExpiredTokenException",
                    "IncompleteSignature",
                ],
            ),
            (
                FaultKind::Permanent,
                &[
                    "DisabledException",
                    "KMSInvalidStateException",
                    "NotFoundException",
                    "InvalidKeyUsageException",
                    "ValidationException",
                ],
            ),
            (
                FaultKind::Transient,
                &["KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"],
            ),
        ] {
            for code in codes {
                let fault = told(code, 400);
                assert_eq!(fault.kind, kind, "{code}");
                let text = fault.to_string();
                assert!(text.starts_with(&format!("Sign: {code}")), "{text}");
                assert!(!text.contains("arn:of:someone"), "{text}");
            }
        }
        let denied = told("AccessDeniedException", 400).to_string();
        assert!(denied.contains("allow kms:Sign on this key"), "{denied}");
    }

    #[test]
    fn what_has_no_name_of_aws_is_judged_by_its_status() {
        for (code, status, kind, text) in [
            ("", 500, FaultKind::Transient, "Sign: status 500"),
            ("<html>", 502, FaultKind::Transient, "Sign: status 502"),
            ("", 404, FaultKind::Permanent, "Sign: status 404"),
            ("New", 503, FaultKind::Transient, "Sign: New"),
            ("New", 400, FaultKind::Permanent, "Sign: New"),
        ] {
            let fault = told(code, status);
            assert_eq!((fault.kind, fault.to_string().as_str()), (kind, text));
        }
    }

    #[test]
    fn a_source_of_credentials_that_is_away_and_one_that_has_none_are_told_apart() {
        for (error, kind, text) in [
            (
                CredentialsError::not_loaded("nowhere"),
                FaultKind::Unauthorized,
                "Sign: no AWS credentials were found",
            ),
            (
                CredentialsError::invalid_configuration("s3cr3t in a line"),
                FaultKind::Unauthorized,
                "Sign: what AWS's configuration files or environment say",
            ),
            (
                CredentialsError::provider_timed_out(std::time::Duration::from_secs(1)),
                FaultKind::Transient,
                "Sign: the source of AWS credentials did not answer in time",
            ),
            (
                CredentialsError::provider_error("s3cr3t"),
                FaultKind::Transient,
                "Sign: the source of AWS credentials gave none",
            ),
        ] {
            let connector = ConnectorError::other(Box::new(error), None);
            let error: SdkError<SignError, HttpResponse> = SdkError::dispatch_failure(connector);
            let fault = fault_of("kms:Sign", &error);
            assert_eq!(fault.kind, kind);
            let told = fault.to_string();
            assert!(told.starts_with(text) && !told.contains("s3cr3t"), "{told}");
        }
    }

    #[test]
    fn a_connection_that_fails_is_worth_another_attempt() {
        for connector in
            [ConnectorError::io("refused".into()), ConnectorError::timeout("slow".into())]
        {
            let error: SdkError<SignError, HttpResponse> = SdkError::dispatch_failure(connector);
            let fault = fault_of("kms:Sign", &error);
            assert_eq!(fault.kind, FaultKind::Transient);
            assert!(fault.code.starts_with("no connection"), "{fault}");
        }
    }
}
